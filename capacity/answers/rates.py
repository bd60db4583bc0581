"""Answer of `max_rate`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
    rates_document,
)
from capacity.answers.answer import OfOneFleet, candidate_row, drawn, plan_row, size_row
from capacity.performance import Performance
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.plan import Plan
from capacity.search.max_rate import Rates

if TYPE_CHECKING:
    from capacity.render.plot import Plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RatesAnswer(OfOneFleet):
    """The arrival rates, or numbers of users, at which a plan meets its objective."""

    rates: Rates
    effort: Effort

    @property
    def plan(self) -> Plan:
        """The plan that was asked about, with all its replicas."""
        whole: Plan = self.rates.scenario.whole
        return whole

    @property
    def performance(self) -> Performance | None:
        """Performance at the highest accepted rate, or number of users; None if none is."""
        most = self.rates.size_max
        return next((one.candidate.performance for one in self.rates.points if one.size == most), None)

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """The highest accepted rate; None if none is, or if users are scaled. [requests/s]"""
        return self._most("arrival_rate_rps")

    @property
    def users_max(self) -> int | None:
        """The largest accepted number of users; None if none is, or if a rate is scaled."""
        most = self._most("users")
        return None if most is None else round(most)

    def _most(self, key: str) -> float | None:
        return self.rates.size_max if self.rates.scale.key == key else None

    @property
    def verdict(self) -> Verdict:
        """Whether some rate is accepted."""
        return self.rates.verdict

    @property
    def exit_code(self) -> int:
        """0 if some rate is accepted, 3 if none is, 4 if that is undecided."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity max-rate --json`."""
        return rates_document(self.rates, seed=self.effort.seed, confidence=self.effort.confidence)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity max-rate`."""
        from capacity.render.rates import rates_details, rates_tables

        yield from rates_tables(self.rates, verbose=verbose)
        if not verbose:
            return
        from capacity.render.charts import objective_chart
        from capacity.render.figures import rate_curve

        chart = objective_chart(rate_curve(self.rates), width=width) if self.rates.points else ""
        yield from rates_details(self.rates, chart, self.effort.confidence)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each size that was tried."""
        scale = self.rates.scale
        return [
            {
                **size_row(scale, point.size),
                **candidate_row(point.candidate),
                **plan_row(self.rates.scenario.whole),
            }
            for point in self.rates.points
        ]

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the arrival rate."""
        from capacity.render.figures import rate_curve

        return drawn(rate_curve(self.rates))
