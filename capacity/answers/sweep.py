"""Answers of `sweep` and `curve`."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import (
    Document,
)
from capacity.answer.sweep import (
    SweepTable,
    outcome_document,
    sweep_document,
    sweep_exit_code,
)
from capacity.answers.answer import Answer, quantile_points
from capacity.performance import Interval
from capacity.question.caveat import Caveat
from capacity.question.grid import Grid, Row
from capacity.question.plan import Plan
from capacity.search.caveats import day_caveats, outage_caveats
from capacity.search.exact import theory_of
from capacity.units import format_quantile, quantile_name

if TYPE_CHECKING:
    from capacity.render.plot import Plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SweepAnswer(Answer):
    """A grid of fleets, one row each.

    Attributes:
        path: file that holds the rows; None if the answer holds them.
        limit_s: limit of the highest quantile, which the picture marks; None for none. [s]
    """

    grid: Grid[Any]
    table: SweepTable
    cells: tuple[Row, ...]
    path: Path | None = None
    limit_s: float | None = None

    @property
    def summary(self) -> str:
        """The number of rows by outcome, and the profiles, on one line."""
        outcome = [column.name for column in self.table.columns].index("outcome")
        counts = Counter(str(row[outcome]) for row in self.cells)
        found = ", ".join(f"{count} {what}" for what, count in counts.items())
        return f"{len(self.cells)} rows of {', '.join(one.name for one in self.grid.profiles)}: {found}"

    @property
    def caveats(self) -> list[Caveat]:
        """Caveats on the profiles and what all rows share."""
        first, quantile_max = next(self.grid.cells()), max(self.table.quantiles)
        found = (
            theory_of(one).grid_caveats(replace(first, profile=one), quantile_max)
            for one in self.grid.profiles
        )
        gone = outage_caveats(cell.outage for cell in self.grid.cells()) if self.grid.is_in_failure else ()
        return list(dict.fromkeys((*gone, *chain.from_iterable(found), *day_caveats(first))))

    @property
    def exit_code(self) -> int:
        """4 if any cell is inconclusive, else 0."""
        return sweep_exit_code(self.table.columns, self.cells)

    def document(self) -> Document:
        """Document of `capacity sweep --json`."""
        from capacity.answer.documents import caveat_documents

        noted = {"caveats": caveat_documents(self.caveats)} if self.caveats else {}  # a file has rows alone
        return self._outcome() | noted

    def _outcome(self) -> Document:
        if self.path is None:
            return sweep_document(self.table.columns, self.cells)
        return outcome_document(self.table.columns, self.cells, self.path.name)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity sweep`."""
        from capacity.render.tables import caveat_lines, document_table

        yield self.row_table() if self.path is None else document_table(self._outcome())
        yield from caveat_lines(self.caveats)

    def row_table(self) -> RenderableType:
        """Fleet, load, highest quantiles and outcome of each row."""
        from capacity.render.tables import sweep_table

        return sweep_table(self.table, self.cells)

    def rows(self) -> list[dict[str, Any]]:
        """One row a cell."""
        names = [column.name for column in self.table.columns]
        return [dict(zip(names, row, strict=True)) for row in self.cells]

    def plot(self, what: str | None = None) -> "Plot":
        """The highest quantile of a duration: a map of replicas and batches, or lines against the arrival rate.

        It is a map where the replicas and one of the settings vary, and nothing else. A map outlines the fleets whose
        intervals end within the limit, if there is one.

        Args:
            what: ttft, tpot, itl, response or wait, of those that the fleets have; None for the first that users see.

        Raises:
            InputError: another quantity.
        """
        from capacity.errors import InputError
        from capacity.render.figures import draw_sweep

        known = [one for one in self.table.form.durations if not one.endswith("_with_losses")]
        if what is not None and what not in known:
            raise InputError(f"there is no figure of {what!r}; use one of {', '.join(known)}")
        return draw_sweep(self.table, self.cells, what or self._first, self.limit_s)

    @property
    def _first(self) -> str:
        """The duration that users see first."""
        return next(iter(self.table.form.shown.values())).removesuffix("_with_losses")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LoadCurveAnswer(SweepAnswer):
    """One fleet from nearly no load to nearly full load, or from one user to many."""

    plan: Plan

    summary = Answer.summary  # its first sentence

    def points(self) -> list[tuple[float | None, float, Interval]]:
        """Load, size [requests/s, or users] and the quantile with its interval [s], rising; users have no load.

        Lost requests are infinitely late.
        """
        name = f"{self._first}_{quantile_name(max(self.table.quantiles))}"
        return quantile_points(self.rows(), name, self.table.scale)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Sentences on where the response explodes, the table and the chart."""
        from capacity.answer.sentences import fleet_in
        from capacity.render.charts import load_chart
        from capacity.render.rates import load_curve_texts
        from capacity.render.tables import caveat_lines

        plan, points, scale = self.plan, self.points(), self.table.scale
        short = next(iter(self.table.form.shown))
        name = f"{short} {format_quantile(max(self.table.quantiles))}".lstrip()
        yield from map(Text, load_curve_texts(fleet_in(next(self.grid.cells())), name, points, scale))
        yield self.row_table()
        shown = [(size, found) for _, size, found in points if found.high < math.inf]
        if shown:
            title = f"{name} of {plan.replicas} x {plan.profile}, {plan.size_text}"
            yield Text(load_chart(shown, title, what=short or "response", x_title=scale.title, width=width))
        yield from caveat_lines(self.caveats)
