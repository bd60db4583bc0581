"""Answers of the verbs; each can be read as attributes, a dict, a DataFrame, a figure or text."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.check import Finding, GateAnswer
from capacity.answer.documents import (
    Document,
    considered_documents,
    dumps,
    explanation_document,
    like_it_document,
    performance_document,
    plain,
    rates_document,
    recommendation_document,
    saturation_document,
    schedule_document,
    simulation_document,
    versioned,
    workload_document,
)
from capacity.answer.plan_like import as_path, require_plan
from capacity.answer.saved_parts import is_named_only
from capacity.answer.saved_plan import (
    SavedPlan,
    check_plan_target,
    plan_file_document,
    read_plan_file_document,
    write_plan_file,
)
from capacity.answer.sweep import (
    SweepTable,
    outcome_document,
    sweep_document,
    sweep_exit_code,
    write_rows,
)
from capacity.autoscaling.cheapest import AutoscaledPlan
from capacity.explanation.explanation import Explanation
from capacity.files import check_target, format_suffix, write_whole
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import ServiceProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Candidate, Verdict
from capacity.question.caveat import Caveat
from capacity.question.comparison import Comparison, Contender, PoissonError
from capacity.question.grid import Grid, Row
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.render.console import as_text, new_console
from capacity.search.batch_caveats import profile_caveats
from capacity.search.by_hour import Schedule
from capacity.search.caveats import day_caveats, outage_caveats, scenario_caveats, sections_caveat
from capacity.search.disturbed_plan import DisturbedPlan
from capacity.search.exact import theory_of
from capacity.search.max_rate import Rates
from capacity.search.recommendation import Headroom, Recommendation
from capacity.search.recovery_plan import RecoveryPlan
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.scale import Scale
from capacity.traffic.workload import Demand, Workload
from capacity.units import format_quantile, quantile_name

if TYPE_CHECKING:
    import pandas as pd

    from capacity.render.figures import ObjectiveCurve
    from capacity.render.plot import Panels, Plot
    from capacity.traffic.description import TraceDescription
    from capacity.traffic.lengths import LengthRows

_WIDTH = 100  # columns of a page in a notebook
# Forms in which an answer is written.
ENDINGS = (".json", ".csv", ".parquet", ".svg", ".png")


class Answer(ABC):
    """An answer of any verb."""

    @abstractmethod
    def document(self) -> Document:
        """The answer as JSON, without its schema version."""

    @abstractmethod
    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables that the command prints on a terminal of that width; `verbose` adds details."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """The rows of `to_frame`; SI, with the unit in the name."""

    @abstractmethod
    def plot(self) -> "Plot | Panels":
        """A figure; `save` writes it as .png or .svg."""

    def to_dict(self) -> dict[str, Any]:
        """What the command prints with --json."""
        return versioned(self.document())

    def save(self, path: str | Path) -> None:
        """Write the answer to a file by its ending: .json, its rows as .csv or .parquet, or its picture.

        A stream such as /dev/stdout, which has no ending, gets JSON.

        Raises:
            InputError: another ending, a path that cannot be written, or nothing to draw.
            DependencyError: a full disk, or .parquet without pyarrow.
        """
        target = as_path(path)
        check_target(target, "an answer", ENDINGS)
        match format_suffix(target, ENDINGS):
            case ".json":
                self._write(target)
            case ".csv" | ".parquet":
                write_rows(target, self.rows())
            case _:
                self.plot().save(target)

    def _write(self, target: Path) -> None:
        """Write the answer as JSON, by default the command's own."""
        write_whole(target, (dumps(self.document()) + "\n").encode())

    def to_frame(self) -> "pd.DataFrame":
        """A pandas DataFrame; needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def explain(self) -> str:
        """The answer in words, as the command prints it."""
        return as_text(self.tables(_WIDTH), _WIDTH)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return 0

    def __str__(self) -> str:
        return self.explain()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        # What IPython shows; a repr with every sample of the profile helps no reader.
        return {"text/plain": self.explain(), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        # Not as Rich does in Jupyter, which displays each part by itself and keeps none.
        console = new_console(_WIDTH, record=True, force_jupyter=False)
        for one in self.tables(_WIDTH):
            console.print(one)
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


@dataclass(frozen=True, slots=True)
class Considered(Sequence[Candidate]):
    """The candidates of a search, accepted and refused."""

    candidates: tuple[Candidate, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.candidates[index]

    def __len__(self) -> int:
        return len(self.candidates)

    def to_frame(self) -> "pd.DataFrame":
        """One row a candidate: the plan, its verdict, its refusal, and its performance."""
        import pandas as pd

        return pd.DataFrame([_candidate_row(one) for one in self.candidates])


# Parts of an answer that are not part of its saved plan, as they are made from it.
_NOT_SAVED = ("explanation",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer(Answer):
    """A recommendation and its optional parts; None for parts that were not asked for, or without a plan."""

    question: Question[Any, Any, Any]
    effort: Effort
    recommendation: Recommendation
    day: Schedule | None = None
    explanation: Explanation | None = None
    recovery: RecoveryPlan | None = None
    disturbed: DisturbedPlan | None = None
    autoscaled: AutoscaledPlan | None = None

    @property
    def verdict(self) -> Verdict:
        """Verdict of the plan, under disturbances too and including its recovery if these were asked for."""
        if self.autoscaled is not None and self.recommendation.verdict is Verdict.MET:
            return self.autoscaled.verdict
        if any(part is not None and part.chosen is None for part in (self.recovery, self.disturbed)):
            return Verdict.MISSED
        return self.recommendation.verdict

    @property
    def plan(self) -> Plan | None:
        """The cheapest plan that meets the objective; None if no plan does."""
        return self.recommendation.plan

    @property
    def performance(self) -> Performance | None:
        """Performance of the plan."""
        return self.recommendation.performance

    @property
    def headroom(self) -> Headroom | None:
        """Room for a higher arrival rate."""
        return self.recommendation.headroom

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None if the profile has none. [USD/h]"""
        return self.recommendation.hourly_usd

    @property
    def sustainable_rate_rps(self) -> float | None:
        """Largest arrival rate below which the queues of the plan do not grow for ever. [requests/s]"""
        if self.plan is None:
            return None
        saturation, profile = self.recommendation.saturation, self.question.profile(self.plan.profile)
        if saturation is not None:
            return self.plan.replicas * saturation.rate_rps
        return theory_of(profile).sustained_rps(profile, self.plan)

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats of the answer."""
        return self.recommendation.caveats

    @property
    def considered(self) -> Considered:
        """All candidates of the search."""
        return Considered(self.recommendation.considered)

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity plan --json`."""
        document = recommendation_document(
            self.recommendation, self.question, seed=self.effort.seed, confidence=self.effort.confidence
        )
        if self.day is not None:
            document["schedule"] = schedule_document(self.day)
        if self.explanation is not None:
            document["explanation"] = explanation_document(self.explanation)
        document |= {"verdict": self.verdict.value, "exit_code": self.exit_code}
        if self.disturbed is not None:
            from capacity.recovery_answers import disturbed_plan_document

            document["disturbed"] = disturbed_plan_document(self.disturbed)
        if self.autoscaled is not None:
            from capacity.autoscale_answers import autoscaled_plan_document

            document["autoscaled"] = autoscaled_plan_document(self.autoscaled)
        if self.recovery is not None:
            from capacity.recovery_answers import recovery_plan_document

            document["recovery"] = recovery_plan_document(self.recovery)
        return document

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity plan`."""
        from capacity.render.charts import objective_chart
        from capacity.render.explanation import explanation_texts
        from capacity.render.plan import recommendation_tables, schedule_tables

        yield from recommendation_tables(
            self.recommendation, self.question, self.effort.confidence, verbose=verbose
        )
        if self.disturbed is not None:
            from capacity.render.recovery.plan import disturbed_plan_lines

            yield from disturbed_plan_lines(
                self.disturbed, cast("BatchPlan | None", self.plan), self.hourly_usd
            )
        if self.recovery is not None:
            from capacity.render.recovery.plan import recovery_plan_lines

            yield from recovery_plan_lines(self.recovery)
        if self.day is not None:
            yield from schedule_tables(self.day)
        if self.autoscaled is not None:
            from capacity.render.autoscaling.plan import autoscaled_plan_tables

            yield from autoscaled_plan_tables(self.autoscaled, width)
        if self.explanation is not None:
            yield from explanation_texts(self.explanation)
            curve = self.curve()
            if curve is not None:
                yield Text(objective_chart(curve, width=width))

    def to_saved(self, name: str = "plan.json") -> SavedPlan:
        """The plan as if it were read from its file; `check`, `explain`, `stress` and others take the answer itself.

        Args:
            name: name of the plan in messages and tables.

        Raises:
            InputError: there is no plan.
        """
        require_plan(self.plan)
        workload = self.question.workload
        trace = workload.arrivals if is_named_only(workload) and isinstance(workload, Workload) else None
        return read_plan_file_document(json.loads(dumps(self._file())), name, trace)

    def _write(self, target: Path) -> None:
        """Write a saved plan, which `check`, `compare` and `explain` read.

        Raises:
            InputError: a question too long for a file.
        """
        check_plan_target(target, self.question)
        write_plan_file(target, self._file())

    def _file(self) -> Document:
        answer = {name: part for name, part in self.document().items() if name not in _NOT_SAVED}
        certificate = self.recommendation.certificate
        return plan_file_document(self.question, self.effort, certificate, answer)

    def rows(self) -> list[dict[str, Any]]:
        """The recommended plan alone; `considered.to_frame()` has all."""
        if self.plan is None:
            return []
        chosen = Candidate(plan=self.plan, verdict=self.verdict, performance=self.performance)
        return [_candidate_row(chosen) | {"hourly_usd": self.hourly_usd}]

    def curve(self) -> "ObjectiveCurve | None":
        """The quantity closest to its limit, against the number of replicas; None without a plan."""
        from capacity.render.figures import plan_curve

        return plan_curve(self.recommendation)

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the number of replicas.

        Raises:
            InputError: there is no plan to draw.
        """
        return drawn(self.curve())

    def explain(self) -> str:
        """The reasons if `explain=True` was asked, else the answer as the command prints it."""
        from capacity.render.explanation import explanation_texts

        return as_text(
            self.tables(_WIDTH) if self.explanation is None else explanation_texts(self.explanation), _WIDTH
        )


class OnePlan(Answer):
    """The performance of one plan, by any method."""

    __slots__ = ()
    scenario: Any
    performance: Performance
    caveats: tuple[Caveat, ...]

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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesAnswer(Answer):
    """The arrival rates, or numbers of users, at which a plan meets its objective."""

    rates: Rates
    effort: Effort

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """The highest accepted rate; None if none is, or if users are scaled. [requests/s]"""
        return self._most("arrival_rate_rps")

    @property
    def users_max(self) -> int | None:
        """The largest accepted number of users; None if none is, or if a rate is scaled."""
        most = self._most("users")
        return None if most is None else round(most)

    @property
    def multiple_max(self) -> float | None:
        """The highest accepted multiple of a trace's recorded speed, or of a day's rates; None without one."""
        most = self.rates.size_max
        return None if most is None else self.rates.scale.times(most)

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
        from capacity.render.charts import objective_chart
        from capacity.render.figures import rate_curve
        from capacity.render.rates import rates_tables

        chart = objective_chart(rate_curve(self.rates), width=width) if self.rates.points else ""
        yield from rates_tables(self.rates, chart, self.effort.confidence)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each size that was tried."""
        scale = self.rates.scale
        return [
            {
                **size_row(scale, point.size),
                **_candidate_row(point.candidate),
                **plan_row(self.rates.scenario.whole),
            }
            for point in self.rates.points
        ]

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the arrival rate."""
        from capacity.render.figures import rate_curve

        return drawn(rate_curve(self.rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonAnswer(Answer):
    """Fleets side by side under the same requests.

    Attributes:
        scenarios: scenario of each fleet, alike but for profile and plan.
    """

    contenders: tuple[Contender[Any, Any], ...]
    scenarios: tuple[Scenario[Any, Any, Any, Any], ...]
    comparison: Comparison
    effort: Effort

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
        return tuple(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer(Answer):
    """Whether a saved plan still meets its objective."""

    answer: GateAnswer
    saved: SavedPlan
    effort: Effort

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return self.answer.verdict

    @property
    def findings(self) -> Sequence[Finding]:
        """The results, one for each thing that was checked."""
        return self.answer.findings

    @property
    def summary(self) -> str:
        """The plan and its verdict on one line."""
        return self.answer.summary

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity check --json`."""
        from capacity.render.check import gate_document

        return gate_document(self.answer, seed=self.effort.seed, confidence=self.effort.confidence)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity check`."""
        from capacity.render.tables import gate_tables

        yield from gate_tables(self.answer)

    def rows(self) -> list[dict[str, Any]]:
        """One row a finding."""
        return [
            {"verdict": one.verdict.value, "what": one.name, "found": one.message}
            for one in self.answer.findings
        ]

    def plot(self) -> "Plot | Panels":
        """Quantiles of the response of the plan as it was checked.

        Raises:
            InputError: nothing was measured or simulated.
        """
        from capacity.errors import InputError

        if self.answer.performance is None:
            raise InputError("the plan was refused before a simulation: there is nothing to draw")
        return quantile_bars([self.answer.performance], [self.saved.plan.profile])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationAnswer(Answer):
    """Why a saved plan is as it is."""

    saved: SavedPlan
    verdict: Verdict
    explanation: Explanation

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity explain --json`."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            **like_it_document(self.explanation.base.like_it),
            "plan": plain(self.saved.plan),
            **self._where_saturation_is_measured(),
            "explanation": explanation_document(self.explanation),
            "seed": self.saved.effort.seed,
            "confidence": self.saved.effort.confidence,
        }

    def _where_saturation_is_measured(self) -> Document:
        """What a replica does while requests always wait, fewer replicas and other settings; else empty."""
        found = self.explanation
        if found.saturation is None:
            return {}
        considered = {"considered": considered_documents(found.fewer)}
        return saturation_document(found.saturation, found.neighbours) | considered

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity explain`."""
        from capacity.render.charts import objective_chart
        from capacity.render.explanation import explanation_texts
        from capacity.render.plan import changes_table

        yield from explanation_texts(self.explanation)
        if self.explanation.saturation is not None:
            yield changes_table(self.explanation.neighbours)
        curve = self.curve()
        if curve is not None:
            yield Text(objective_chart(curve, width=width))

    def rows(self) -> list[dict[str, Any]]:
        """One row for each fleet of fewer replicas that was tried, and where it is measured for each other setting."""
        fewer = [_candidate_row(one) for one in self.explanation.fewer]
        settings = (
            {"what": one.what, "saturation_rps": one.saturation.rate_rps} | _candidate_row(one.candidate)
            for one in self.explanation.neighbours
            if one.saturation is not None
        )
        return [*fewer, *settings]

    def curve(self) -> "ObjectiveCurve | None":
        """The quantity closest to its limit against the number of replicas; None if the plan misses its objective."""
        from capacity.render.figures import replicas_curve

        base, binding = self.explanation.base, self.explanation.binding
        if not base.accepted or base.performance is None or binding is None:
            return None
        return replicas_curve(base, binding.limit, self.explanation.fewer)

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the number of replicas.

        Raises:
            InputError: the plan no longer meets its objective.
        """
        return drawn(self.curve())


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepAnswer(Answer):
    """A grid of fleets, one row each.

    Attributes:
        path: file that holds the rows; None if the answer holds them.
    """

    grid: Grid[Any]
    table: SweepTable
    cells: tuple[Row, ...]
    path: Path | None = None

    @property
    def caveats(self) -> list[Caveat]:
        """Caveats on the profiles and what all rows share."""
        first, quantile_max = next(self.grid.cells()), max(self.table.quantiles)
        found = (
            theory_of(one).grid_caveats(replace(first, profile=one), quantile_max)
            for one in self.grid.profiles
        )
        gone = outage_caveats(self.grid.cells()) if self.grid.is_in_failure else ()
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
        """The highest quantile of a duration against the arrival rate, one line for each fleet.

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
        return draw_sweep(self.table, self.cells, what or self._first)

    @property
    def _first(self) -> str:
        """The duration that users see first."""
        return next(iter(self.table.form.shown.values())).removesuffix("_with_losses")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCurveAnswer(SweepAnswer):
    """One fleet from nearly no load to nearly full load, or from one user to many."""

    plan: Plan

    def points(self) -> list[tuple[float | None, float, Interval]]:
        """Load, size [requests/s, or users] and the quantile with its interval [s], rising; users have no load."""
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
        if points:
            title = f"{name} of {plan.replicas} x {plan.profile}, {plan.size_text}"
            what, sizes = short or "response", [(size, found) for _, size, found in points]
            yield Text(load_chart(sizes, title, what=what, x_title=scale.title, width=width))
        yield from caveat_lines(self.caveats)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadAnswer(Answer):
    """A description of recorded arrivals, and the cost of assuming Poisson.

    Attributes:
        lengths: lengths of a language model's requests, if the trace has them.
    """

    description: "TraceDescription"
    effort: Effort
    error: PoissonError[BatchPlan] | None = None
    profile: ServiceProfile | None = None
    lengths: "LengthRows | None" = None

    @property
    def caveats(self) -> list[Caveat]:
        """Caveats on the profile and the trace, for the plan that was simulated."""
        if self.error is None or self.profile is None:
            return []
        return [
            *profile_caveats(self.profile, self.error.plan.batch_size_max, (self.error.quantile,)),
            sections_caveat(self.error.quantile),
        ]

    def document(self) -> Document:
        """Document of `capacity workload --json`."""
        from capacity.render.trace import description_document, lengths_document

        document = description_document(self.description, self.error, self.caveats, seed=self.effort.seed)
        return document if self.lengths is None else document | {"lengths": lengths_document(self.lengths)}

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity workload`."""
        from capacity.render.trace import description_tables, lengths_table

        if self.lengths is not None:
            yield lengths_table(self.lengths)
        yield from description_tables(self.description, self.error, self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each length of window in which arrivals were counted."""
        counts = self.description.burstiness.counts
        return [{field.name: getattr(one, field.name) for field in fields(one)} for one in counts]

    def plot(self) -> "Plot":
        """Dispersion of the counts against the window's length; a Poisson stream has 1."""
        from capacity.render.plot import new_plot

        counts = self.description.burstiness.counts
        plot = new_plot(
            x_title="window (s)",
            y_title="dispersion of counts",
            title=self.description.trace.name,
            x_log=True,
        )
        plot.theory([one.window_s for one in counts], [one.dispersion for one in counts], "recorded")
        plot.limit(1.0, "Poisson")
        return plot


def size_row(scale: Scale, size: float) -> dict[str, Any]:
    """The first columns of a row: a rate or users, and the multiple of a trace or a day."""
    multiple = {} if scale.multiple is None else {scale.multiple.key: scale.times(size)}
    return {scale.key: size if scale.step == 0.0 else round(size)} | multiple


def quantile_points(
    rows: Iterable[Mapping[str, Any]], name: str, scale: Scale
) -> list[tuple[float | None, float, Interval]]:
    """Load, size and a quantile with its interval [s], from the rows that have it."""
    keys = (f"{name}_s", f"{name}_low_s", f"{name}_high_s")
    return [
        (row["load"], row[scale.key], Interval(value=ends[0], low=ends[1], high=ends[2]))
        for row in rows
        if None not in (ends := [row[key] for key in keys])
    ]


def drawn(curve: "ObjectiveCurve | None") -> "Plot":
    """The figure of a limit.

    Raises:
        InputError: there is none.
    """
    from capacity.errors import InputError
    from capacity.render.figures import draw_objective

    if curve is None:
        raise InputError("no plan meets the objective: there is nothing to draw")
    return draw_objective(curve)


def quantile_bars(performances: Sequence[Performance], names: Sequence[str]) -> "Plot | Panels":
    """A figure of the quantiles of some performances, by name."""
    from capacity.render.figures import draw_quantiles

    return draw_quantiles(performances, names)


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


def plan_row(plan: Any) -> dict[str, Any]:
    """A plan by field, as a row has it."""
    return dict(plain(plan))


def performance_row(performance: Performance | None) -> dict[str, Any]:
    """Numbers by field; a quantile as `response_p99_s` with `response_p99_low_s` and `_high_s`."""
    from capacity.answer.sweep import performance_columns

    return {} if performance is None else performance_columns(performance)


def _candidate_row(candidate: Candidate) -> dict[str, Any]:
    rejection = candidate.rejection
    refused: Mapping[str, Any] = (
        {}
        if rejection is None
        else {
            "rejection": rejection.reason.value,
            "allowed": rejection.allowed,
            "needed": rejection.needed,
        }
    )
    return {
        **plan_row(candidate.plan),
        "verdict": candidate.verdict.value,
        **refused,
        **performance_row(candidate.performance),
    }
