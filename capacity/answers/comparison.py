"""Answer of `compare`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
)
from capacity.answer.sentences import demand
from capacity.answers.answer import Answer, performance_row, plan_row, quantile_bars, response_in_words
from capacity.performance import Performance
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat
from capacity.question.comparison import Comparison, Contender
from capacity.question.scenario import Scenario
from capacity.search.caveats import scenario_caveats
from capacity.traffic.workload import Demand

if TYPE_CHECKING:
    from capacity.render.plot import Panels, Plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ComparisonAnswer(Answer):
    """Fleets side by side under the same requests.

    Attributes:
        scenarios: scenario of each fleet, alike but for profile and plan.
        left_out: caveats on what saved plans have and the comparison leaves out.
    """

    contenders: tuple[Contender[Any, Any], ...]
    scenarios: tuple[Scenario[Any, Any, Any, Any], ...]
    comparison: Comparison
    effort: Effort
    left_out: tuple[Caveat, ...] = ()

    @property
    def summary(self) -> str:
        """The traffic and the P99 of each fleet on one line."""
        found = (
            f"{one.name}: {response_in_words(performance)}"
            for one, performance in zip(self.contenders, self.performances, strict=True)
        )
        return f"the same requests {demand(self.workload)}; {'; '.join(found)}"

    @property
    def scenario(self) -> Scenario[Any, Any, Any, Any]:
        """Scenario of the first fleet, whose requests all share."""
        return self.scenarios[0]

    @property
    def workload(self) -> Demand:
        """Workload of each fleet."""
        workload: Demand = self.scenario.workload
        return workload

    @property
    def performances(self) -> tuple[Performance, ...]:
        """Performance of each fleet, in the order in which they were given."""
        return self.comparison.performances

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats on profiles, requests, loads or the budget, each once."""
        found = zip(self.scenarios, self.performances, self.comparison.widths, strict=True)
        return self.left_out + tuple(
            dict.fromkeys(
                caveat
                for scenario, performance, width in found
                for caveat in scenario_caveats(
                    replace(scenario, quantiles=tuple(performance.response_quantiles_s)),
                    performance,
                    None,
                    width,
                    self.effort.precision,
                )
            )
        )

    def document(self) -> Document:
        """Document of `capacity compare --json`."""
        from capacity.render.compare import comparison_document

        return comparison_document(
            self.contenders,
            self.scenarios,
            self.comparison,
            self.caveats,
            seed=self.effort.seed,
            confidence=self.effort.confidence,
        )

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity compare`."""
        from capacity.render.compare import comparison_tables

        yield from comparison_tables(
            self.contenders, self.scenarios, self.comparison, self.caveats, self.effort.confidence
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a fleet."""
        return [
            {"fleet": one.name, **plan_row(one.plan), **performance_row(found)}
            for one, found in zip(self.contenders, self.performances, strict=True)
        ]

    def plot(self) -> "Plot | Panels":
        """Quantiles of each duration and fleet, with their intervals."""
        return quantile_bars(self.performances, [one.name for one in self.contenders])
