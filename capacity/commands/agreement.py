"""`capacity agreement`: the simulator compared with theory."""

import typer

from capacity.commands.options import flags
from capacity.commands.output import Format, emit_pieces, workbench
from capacity.question.asked import FLAGS
from capacity.question.flag import TEXT, Flag
from capacity.question.parse import read_choice


@flags(
    grid=Flag(TEXT.named("GRID"), "short", "short (one or two queues of each law) or full."),
    requests_max=FLAGS["requests_max"].but(
        default=200_000_000, help="Most requests to simulate for one queue."
    ),
)
def agreement(
    grid: str,
    seed: int,
    requests_max: int,
    engine: str,
    workers: int | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """Compare the simulator with exact theory, queue by queue; exit 4 if they disagree.

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
