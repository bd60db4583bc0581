"""Answers of `simulate`, `predict` and `simulate_law`: the performance of one fleet or law."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import (
    Document,
    performance_document,
    plain,
    simulation_document,
    workload_document,
)
from capacity.answer.sentences import demand, fleet_in
from capacity.answers.answer import (
    Answer,
    OfOneFleet,
    performance_row,
    plan_row,
    quantile_bars,
    response_in_words,
)
from capacity.performance import Kind, Performance
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat
from capacity.question.scenario import Scenario
from capacity.search.exact import theory_of
from capacity.server.engine.plan import TokenScenario
from capacity.units import quantile_name

if TYPE_CHECKING:
    from capacity.render.plot import Panels, Plot


class OnePlan(OfOneFleet):
    """The performance of one plan, by any method."""

    __slots__ = ()
    scenario: Any
    performance: Performance
    caveats: tuple[Caveat, ...]

    @property
    def summary(self) -> str:
        """The plan, its traffic and its P99 on one line."""
        return f"{fleet_in(self.scenario)} {demand(self.scenario.workload)}: {response_in_words(self.performance)}"

    @property
    def plan(self) -> Any:
        """The plan that was asked about, with all its replicas."""
        return self.scenario.whole

    @property
    def sustainable_rate_rps(self) -> float | None:
        """Largest arrival rate below which the queues do not grow for ever. [requests/s]"""
        return theory_of(self.scenario.profile).sustained_rps(self.scenario.profile, self.scenario.plan)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of the plan's performance."""
        from capacity.render.tables import caveat_lines, simulation_table

        yield simulation_table(self.scenario, self.performance, verbose=verbose)
        yield from caveat_lines(self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """The performance as one row."""
        return [plan_row(self.plan) | performance_row(self.performance)]

    def plot(self) -> "Plot | Panels":
        """Quantiles of wait and response, with their intervals."""
        return quantile_bars([self.performance], [f"{self.plan.replicas} x {self.plan.profile}"])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PredictionAnswer(OnePlan):
    """The performance of one plan, by its exact law."""

    scenario: Scenario
    performance: Performance
    caveats: tuple[Caveat, ...] = ()

    def document(self) -> Document:
        """The plan and its performance by the law."""
        return {
            "plan": plain(self.plan),
            "workload": workload_document(self.scenario.workload),
            "performance": performance_document(self.performance),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SimulationAnswer(OnePlan):
    """The performance of one plan.

    Attributes:
        served: draws and records of a replay, shape `(requests,)` each, as `simulations` has them; else None.
    """

    scenario: Scenario[Any, Any, Any, Any]
    performance: Performance
    caveats: tuple[Caveat, ...]
    effort: Effort
    served: tuple[Any, Any] | None = None

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity simulate`."""
        from capacity.render.tables import caveat_lines, simulation_table

        yield simulation_table(self.scenario, self.performance, verbose=verbose)
        if self.performance.kind is Kind.REPLAY:
            yield Text(
                "These requests alone, served from an empty fleet; no intervals, since nothing is drawn."
            )
        else:
            yield Text(f"In brackets: {100.0 * self.effort.confidence:g} % intervals.")
        yield from caveat_lines(self.caveats)

    def document(self) -> Document:
        """Document of `capacity simulate --json`."""
        return simulation_document(
            self.scenario,
            self.performance,
            self.caveats,
            seed=self.effort.seed,
            confidence=self.effort.confidence,
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row; for a replay, one row for each request."""
        return OnePlan.rows(self) if self.served is None else list(_request_rows(self))


def _request_rows(answer: SimulationAnswer) -> Iterator[dict[str, Any]]:
    assert answer.served is not None  # noqa: S101  (the caller looked)
    draws, records = answer.served
    overhead = cast("TokenScenario", answer.scenario).profile.overhead
    columns = (draws.arrived_s, draws.input_tokens, draws.output_tokens, records.first_s, records.finished_s)
    others = (records.preemptions, records.replica)
    for row in zip(*(column.tolist() for column in (*columns, *others)), strict=True):
        arrived_s, given, got, first_s, finished_s, preemptions, replica = row
        outside_s = overhead.request_s + overhead.per_input_token_s * given
        yield {
            "t_s": arrived_s,
            "input_tokens": given,
            "output_tokens": got,
            "ttft_s": first_s - arrived_s + outside_s,
            "tpot_s": (finished_s - first_s) / (got - 1) if got > 1 else None,
            "response_s": finished_s - arrived_s + outside_s,
            "preemptions": preemptions,
            "replica": replica,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LawAnswer(Answer):
    """A law compared with a simulation of the queue that it describes.

    Attributes:
        model: name of the law.
        theory: performance by the law.
        performance: performance in the simulation.
    """

    model: str
    theory: Performance
    performance: Performance
    effort: Effort

    @property
    def summary(self) -> str:
        """The response by theory and in the simulation, on one line."""
        by_theory, simulated = map(response_in_words, (self.theory, self.performance))
        return f"{self.model}: by theory {by_theory}; in the simulation {simulated}"

    def document(self) -> Document:
        """Theory and simulation, by method."""
        return {
            "model": self.model,
            "theory": performance_document(self.theory),
            "simulation": performance_document(self.performance),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Theory compared with simulation, quantity by quantity."""
        from capacity.render.tables import table

        shown = (
            (row["quantity"], *("" if row[end] is None else f"{row[end]:.4g}" for end in _SEEN))
            for row in self.rows()
        )
        yield table(("<quantity", *_SEEN), shown, title=self.model)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each quantity that both have, with the ends of its interval if they are known."""
        return [*self._scalars(), *self._quantiles()]

    def _scalars(self) -> Iterator[dict[str, Any]]:
        for name in _COMPARED:
            theory, found = getattr(self.theory, name), getattr(self.performance, name)
            ends = self.performance.intervals.get(name)
            low, high = (None, None) if ends is None else (ends.low, ends.high)
            if theory is not None and found is not None:
                yield dict(zip(("quantity", *_SEEN), (name, theory, found, low, high), strict=True))

    def _quantiles(self) -> Iterator[dict[str, Any]]:
        for what in ("wait", "response"):
            theory = getattr(self.theory, f"{what}_quantiles_s")
            for quantile, found in getattr(self.performance, f"{what}_quantiles_s").items():
                seen = (theory[quantile].value, found.value, found.low, found.high)
                name = f"{what}_{quantile_name(quantile)}_s"
                yield dict(zip(("quantity", *_SEEN), (name, *seen), strict=True))

    def plot(self) -> "Plot | Panels":
        """Quantiles by theory and by simulation."""
        return quantile_bars([self.theory, self.performance], ["theory", "simulation"])


_SEEN = ("theory", "simulation", "low", "high")


_COMPARED = (
    "utilization",
    "throughput_rps",
    "batch_size_mean",
    "wait_probability",
    "queue_length_mean",
    "in_system_mean",
    "loss_probability",
    "wait_mean_s",
    "response_mean_s",
)
