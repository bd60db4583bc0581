"""`capacity agreement`: the simulator held against theory."""

from typing import Annotated

import typer

from capacity.commands.options import (
    EngineOption,
    FormatOption,
    JsonOption,
    SeedOption,
    WorkersOption,
    option,
)
from capacity.commands.output import Format, emit_pieces, workbench
from capacity.question.parse import read_choice


def agreement(
    grid: Annotated[
        str, option("--grid", help="short (one or two queues of each law) or full.", metavar="GRID")
    ] = "short",
    seed: SeedOption = 0,
    requests_max: Annotated[
        int, option("--requests-max", help="Most requests to simulate for one queue.", metavar="N")
    ] = 200_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Hold the simulator against theory, queue by queue; exit 4 where they disagree.

    Examples:
      capacity agreement
    """
    from capacity.question.budget import Effort
    from simulations.replication import Engine
    from simulations.validation.agreement import compare, rows_document, rows_tables, verdict_exit_code
    from simulations.validation.grid import Grid, systems

    chosen, played = read_choice(Grid, grid, "--grid"), read_choice(Engine, engine, "--engine")
    rows = []
    effort = Effort(seed=seed, requests_max=requests_max, engine=engine, workers=workers)
    with workbench(effort) as work:
        for system in systems(chosen):
            work.report(f"simulating {system.name}")
            rows.extend(compare(system, seed, requests_max, work.mapper, played))
    emit_pieces(
        output,
        as_json=as_json,
        document=lambda: rows_document(rows, seed),
        tables=lambda: rows_tables(rows),
    )
    raise typer.Exit(verdict_exit_code(rows))
