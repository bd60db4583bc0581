"""`capacity agreement`: the simulator held against theory."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.api import _at_work
from capacity.commands.options import (
    EngineOption,
    FormatOption,
    JsonOption,
    SeedOption,
    WorkersOption,
    option,
)
from capacity.commands.output import Format, check_effort, emit
from capacity.question.parse import read_choice

if TYPE_CHECKING:
    pass


def agreement(
    grid: Annotated[str, option("--grid", help="short (one or two queues of each law) or full.")] = "short",
    seed: SeedOption = 0,
    requests_max: Annotated[
        int, option("--requests-max", help="Requests to simulate for one queue at most.")
    ] = 200_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Hold the simulator against theory; exit 4 where they disagree or a row proves nothing."""
    from simulations.replication import Engine
    from simulations.validation.agreement import compare, rows_document, rows_tables, verdict_exit_code
    from simulations.validation.grid import Grid, systems

    chosen, played = read_choice(Grid, grid, "--grid"), read_choice(Engine, engine, "--engine")
    check_effort(confidence=0.95, precision=0.02, requests_max=requests_max, seed=seed)
    rows = []
    with _at_work(played, workers) as (mapper, report):
        for system in systems(chosen):
            report(f"simulating {system.name}")
            rows.extend(compare(system, seed, requests_max, mapper, played))
    emit(
        output,
        as_json=as_json,
        document=lambda: rows_document(rows, seed),
        tables=lambda: rows_tables(rows),
    )
    raise typer.Exit(verdict_exit_code(rows))
