"""The verb `sweep`: a grid of fleets."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.api.asked import asked_grid
from capacity.api.work import at_work
from capacity.doors import door
from capacity.question import parse
from capacity.question.arguments import Asked, many

if TYPE_CHECKING:
    from capacity.answers.sweep import SweepAnswer
    from capacity.question.grid import Grid


@door("sweep")
def sweep(asked: Asked) -> "SweepAnswer":
    """A grid of rates, plans and profiles, one row each.

    Raises:
        InputError: an argument that cannot be read, or too many cells.
    """
    limit_s = asked.limit  # read before any work
    return replace(swept(asked_grid(asked), asked, asked.output), limit_s=limit_s)


def swept(grid: "Grid[Any]", asked: Asked, output: Any = None) -> "SweepAnswer":
    """The rows of a grid, of which a file may hold some already.

    Args:
        output: file that holds the rows; None for the answer alone.
    """
    from capacity.answer.sweep import SweepTable, check_file, kept_rows
    from capacity.traffic.workload import remarks_of
    from capacity.units import QUANTILES

    quantiles, effort = parse.read_quantiles(many(asked["quantile"]), QUANTILES), asked.effort
    for remark in remarks_of(grid.workloads[0]):
        asked.progress(f"note: {remark}")
    cells = list(grid.cells())
    table = SweepTable(
        form=grid.settings.rows,
        quantiles=quantiles,
        seed=effort.seed,
        confidence=effort.confidence,
        scale=grid.scale,
        is_in_failure=grid.is_in_failure,
        is_scaled=grid.autoscaler is not None,
    )
    path = None if output is None else Path(output)
    if path is not None:
        check_file(path)
    how = {name: asked[name] for name in ("confidence", "precision", "requests_max", "seed")}
    settings = grid.document(**how, quantiles=quantiles)
    from capacity.answers.sweep import SweepAnswer
    from simulations.simulate import Countdown, answers, load_of

    with (
        kept_rows(path, settings, table.columns, len(cells), fresh=bool(asked.get("fresh"))) as rows,
        at_work(effort, asked.progress) as work,
    ):
        left = cells[len(rows) :]
        found = answers(left, work.simulate(quantiles))
        countdown = Countdown(len(cells), len(rows), work.report)
        for cell, answer in zip(left, found, strict=True):
            rows.append(table.row(cell, answer, load_of(cell, answer)))
            countdown.tick()
    return SweepAnswer(grid=grid, table=table, cells=tuple(rows), path=path)
