"""Answers about language models, for profiles of kind llm."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.check import NO_MORE, Finding, holds, token_trial_findings, verdict_of
from capacity.answer.documents import (
    Document,
    caveat_documents,
    dumps,
    lengths_document,
    like_it_document,
    picked,
    plain,
    rates_document,
    recommendation_document,
    schedule_document,
    workload_document,
)
from capacity.answer.plan_like import require_plan
from capacity.answer.saved_llm_plan import (
    SavedLlmPlan,
    check_llm_plan_target,
    llm_plan_document,
    read_llm_plan_document,
    write_llm_plan,
)
from capacity.answer.saved_plan import is_named_only
from capacity.answers import (
    Answer,
    RowsAnswer,
    drawn,
    performance_row,
    plan_row,
    quantile_bars,
    quantile_points,
    size_row,
)
from capacity.errors import InputError
from capacity.files import check_target, write_whole
from capacity.performance import Interval, Performance
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.profile.llm_formats import llm_profile_to_document
from capacity.question.budget import Effort
from capacity.question.candidate import Candidate, Verdict
from capacity.question.caveat import Caveat
from capacity.question.grid import Grid
from capacity.search.by_hour import Schedule
from capacity.search.caveats import day_caveats
from capacity.search.certificate import Trial
from capacity.search.engines import length_caveats, llm_profile_caveats
from capacity.search.max_rate import Rates
from capacity.search.recommendation import Change, Headroom, Recommendation
from capacity.search.recovery_plan import RecoveryPlan
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.units import format_quantile, format_rate, quantile_name

if TYPE_CHECKING:
    from capacity.render.figures import ObjectiveCurve
    from capacity.render.plot import Panels, Plot
    from capacity.server.engine.space import EngineQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmPlanAnswer(Answer):
    """A recommendation for a language model."""

    question: "EngineQuestion"
    effort: Effort
    recommendation: Recommendation[TokenPlan]
    recovery: RecoveryPlan | None = None
    day: Schedule | None = None

    @property
    def verdict(self) -> Verdict:
        """Verdict of the plan, including its recovery if that was asked."""
        if self.recovery is not None and self.recovery.chosen is None:
            return Verdict.MISSED
        return self.recommendation.verdict

    @property
    def plan(self) -> TokenPlan | None:
        """The cheapest plan that meets the objective; None where none does."""
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
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats of the answer."""
        return self.recommendation.caveats

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity plan --json`."""
        found, question = self.recommendation, self.question
        seed, confidence = self.effort.seed, self.effort.confidence
        document = recommendation_document(found, question, seed=seed, confidence=confidence) | {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "workload": workload_document(self.question.workload)
            | lengths_document(self.question.space.lengths),
            "saturation": plain(found.saturation),
            "changes": [_change_document(one) for one in found.changes],
            "considered": _considered(found.considered),
        }
        if self.day is not None:
            document["schedule"] = schedule_document(self.day)
        if self.recovery is not None:
            from capacity.recovery_answers import recovery_plan_document

            document["recovery"] = recovery_plan_document(self.recovery)
        return document

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity plan`."""
        from capacity.render.tokens import token_tables

        yield from token_tables(self.recommendation, self.question, self.effort.confidence, verbose=verbose)
        if self.day is not None:
            from capacity.render.plan import schedule_tables

            yield from schedule_tables(self.day)
        if self.recovery is not None:
            from capacity.render.recovery.plan import recovery_plan_lines

            yield from recovery_plan_lines(self.recovery)

    def to_saved(self, name: str = "plan.json") -> SavedLlmPlan:
        """The plan as if it were read from its file; `check`, `explain`, `stress` and others take the answer itself.

        Args:
            name: name of the plan in messages and tables.

        Raises:
            InputError: there is no plan.
        """
        require_plan(self.plan)
        document = llm_plan_document(self.question, self.effort, self.document())
        workload = self.question.workload
        trace = workload.arrivals if is_named_only(workload) else None
        return read_llm_plan_document(json.loads(dumps(document)), name, trace)

    def _write(self, target: Path) -> None:
        """Write a saved plan, which `check`, `compare` and `explain` read.

        Raises:
            InputError: more lengths than a file holds.
        """
        check_llm_plan_target(target, self.question)
        write_llm_plan(target, llm_plan_document(self.question, self.effort, self.document()))

    def rows(self) -> list[dict[str, Any]]:
        """One row a candidate."""
        return [
            plan_row(one.plan) | {"verdict": one.verdict.value} | performance_row(one.performance)
            for one in self.recommendation.considered
        ]

    def curve(self) -> "ObjectiveCurve | None":
        """The quantity closest to its limit, against the number of replicas; None without a plan."""
        from capacity.render.figures import token_plan_curve

        return token_plan_curve(self.recommendation)

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the number of replicas.

        Raises:
            InputError: there is no plan to draw.
        """
        return drawn(self.curve())


def _change_document(change: Change) -> Document:
    """What another setting would do."""
    found = picked(change.candidate, "verdict", "performance", "rejection")
    return {"what": change.what, "plan": plain(change.plan), "saturation": plain(change.saturation), **found}


def _considered(candidates: Iterable[Candidate]) -> list[Document]:
    return [picked(one, "plan", "accepted", "verdict", "performance", "rejection") for one in candidates]


def _replicas(count: int) -> str:
    return f"{count} replica{'s' if count > 1 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmProfileAnswer(Answer):
    """A profile of a language model, derived from sweeps.

    Attributes:
        checked_rps: throughput that its steps give in the saturated run that checks it; None without one.
            [requests/s]
    """

    profile: LlmProfile
    checked_rps: float | None
    caveats: tuple[Caveat, ...]

    def document(self) -> Document:
        """Document of `capacity import --json` for such files, and of `capacity profile --llm --json`."""
        check = self.profile.check
        return {
            "profile": llm_profile_to_document(self.profile),
            "check": None
            if check is None or self.checked_rps is None
            else {
                "measured_rps": check.saturated_throughput_rps,
                "predicted_rps": self.checked_rps,
                "difference": self.checked_rps / check.saturated_throughput_rps - 1.0,
                "allowed": CHECK_SHARE,
            },
            "caveats": caveat_documents(self.caveats),
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of the profile."""
        from capacity.render.tables import caveat_lines
        from capacity.render.tokens import check_table, llm_profile_pieces

        yield from llm_profile_pieces(self.profile)
        yield check_table(self.profile, self.checked_rps)
        yield from caveat_lines(self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row a step."""
        return [asdict(step) for step in self.profile.steps]

    def write_profile(self, path: Path) -> None:
        """Write the profile as a .json file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        check_target(path, "a profile", (".json",))
        write_whole(path, (dumps(llm_profile_to_document(self.profile)) + "\n").encode())

    def plot(self) -> "Plot":
        """Refuse: there is no figure yet.

        Raises:
            InputError: always.
        """
        raise InputError("the profile of a language model has no figure yet; use to_frame()")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRatesAnswer(Answer):
    """Rates at which a fleet of a language model meets its objective."""

    rates: Rates
    effort: Effort

    @property
    def verdict(self) -> Verdict:
        """Whether any rate is accepted."""
        return self.rates.verdict

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """`capacity max-rate --json`."""
        document = rates_document(self.rates, seed=self.effort.seed, confidence=self.effort.confidence)
        scenario = self.rates.scenario
        return document | {
            "workload": document["workload"] | lengths_document(scenario.lengths),
            "saturation": plain(self.rates.saturation),
            "rates": document["rates"] | {"arrival_rate_refused_rps": self.rates.size_open},
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity max-rate`."""
        from capacity.render.tokens import rates_tables

        yield from rates_tables(self.rates, self.effort.confidence)

    def rows(self) -> list[dict[str, Any]]:
        """One row a rate."""
        return [
            size_row(self.rates.scale, one.size)
            | {"verdict": one.verdict.value}
            | performance_row(one.candidate.performance)
            for one in self.rates.points
        ]

    def plot(self) -> "Plot":
        """The limit that ends what the fleet can serve, against the arrival rate."""
        from capacity.render.figures import rate_curve

        return drawn(rate_curve(self.rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSweepAnswer(RowsAnswer):
    """A grid of fleets that serve language models, one row each."""

    grid: Grid[LlmProfile]

    @property
    def caveats(self) -> list[Caveat]:
        """Caveats on profiles and lengths."""
        scenario = next(self.grid.cells())
        found = [note for one in self.grid.profiles for note in llm_profile_caveats(one)]
        return list(dict.fromkeys((*length_caveats(scenario), *found, *day_caveats(scenario.workload))))

    def row_table(self) -> RenderableType:
        """Fleet, load, highest quantile of TTFT and of TPOT, and outcome of each row."""
        from capacity.render.tokens import token_sweep_table

        return token_sweep_table(self.table, self.rows())

    def plot(self, what: str = "ttft") -> "Plot":
        """The highest quantile against the arrival rate, one line for each fleet.

        Args:
            what: ttft, tpot, itl or response.

        Raises:
            InputError: another quantity.
        """
        from capacity.render.figures import TOKEN_TITLES, draw_sweep

        if what not in TOKEN_TITLES:
            raise InputError(f"there is no figure of {what!r}; use one of {', '.join(TOKEN_TITLES)}")
        return draw_sweep(self.table, self.cells, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmLoadCurveAnswer(LlmSweepAnswer):
    """One fleet of a language model from nearly no load to nearly full load."""

    plan: TokenPlan

    def points(self) -> list[tuple[float | None, float, Interval]]:
        """Load, arrival rate [requests/s] and the quantile of TTFT with its interval [s], rising in load."""
        name = f"ttft_{quantile_name(max(self.table.quantiles))}"
        return quantile_points(self.rows(), name, self.table.scale)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Sentences on where the response explodes, the table and the chart."""
        from capacity.render.charts import load_chart
        from capacity.render.load_curve import load_curve_texts
        from capacity.render.tables import caveat_lines

        name, plan = f"TTFT {format_quantile(max(self.table.quantiles))}", self.plan
        fleet = f"{plan.replicas} x {plan.profile}, up to {plan.sequences_max} sequences"
        points = self.points()
        yield from map(Text, load_curve_texts(fleet, name, points, self.table.scale))
        yield self.row_table()
        if points:
            title = f"{name} of {fleet}"
            yield Text(
                load_chart([(rate, found) for _, rate, found in points], title, what="TTFT", width=width)
            )
        yield from caveat_lines(self.caveats)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmCheckAnswer(Answer):
    """A saved plan for a language model, judged again.

    Attributes:
        scenario: the scenario that it was judged under.
        needed: the plan that is needed now; None if nothing has changed.
        notes: what was replaced, in sentences.
        recovery: whether it still recovers in time; None if that was not judged.
    """

    saved: SavedLlmPlan
    scenario: TokenScenario
    trial: Trial
    needed: Recommendation[TokenPlan] | None
    notes: Sequence[str]
    effort: Effort
    recovery: Finding | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings on each limit, on whether more is needed now than the plan has, and on recovery."""
        judged = token_trial_findings(self.trial, self.scenario.objective)
        return (*judged, *self._size_finding(), *([] if self.recovery is None else [self.recovery]))

    @property
    def found(self) -> Candidate[Any]:
        """The whole fleet, before any event."""
        return self.trial.whole

    @property
    def meets_limits(self) -> bool:
        """Whether the plan meets its limits, whatever it would need if it were sized again."""
        return self.trial.candidate.accepted and (
            self.recovery is None or self.recovery.verdict is Verdict.MET
        )

    def _size_finding(self) -> Iterator[Finding]:
        if self.needed is None:
            return
        have, plan = self.saved.plan.replicas, self.needed.plan
        need = have if self.trial.candidate.accepted else None if plan is None else plan.replicas
        name, has = f"{NO_MORE} the plan", f"the plan has {_replicas(have)}"
        if need is None:
            message = f"no fleet that was tried is known to meet the objective; {has}"
            yield Finding(name=name, verdict=self.needed.verdict, message=message)
            return
        verdict = Verdict.MISSED if need > have else Verdict.MET
        yield Finding(name=name, verdict=verdict, message=f"needs {_replicas(need)}, {has}")

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return verdict_of(self.findings)

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    @property
    def summary(self) -> str:
        """The plan and its verdict on one line."""
        plan, told = self.saved.plan, holds(self.verdict, meets_limits=self.meets_limits)
        rate = format_rate(self.scenario.workload.arrival_rate_rps)
        return f"{_replicas(plan.replicas)} of {plan.profile} at {rate}: the plan {told}"

    def document(self) -> Document:
        """Document of `capacity check --json`."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            **like_it_document(self.found.like_it),
            "plan": plain(self.scenario.plan),
            "objective": plain(self.scenario.objective),
            "workload": workload_document(self.scenario.workload) | lengths_document(self.scenario.lengths),
            "findings": plain(self.findings),
            **picked(self.found, "performance", "rejection"),
            "needed": None
            if self.needed is None
            else {"verdict": self.needed.verdict.value, "recommendation": plain(self.needed.plan)},
            "notes": list(self.notes),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity check`."""
        from capacity.render.tables import gate_tables

        yield from gate_tables(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row a finding."""
        return [
            {"verdict": one.verdict.value, "what": one.name, "found": one.message} for one in self.findings
        ]

    def plot(self) -> "Plot | Panels":
        """Quantiles of TTFT, ITL and the response, with their intervals.

        Raises:
            InputError: the plan is unstable, so it has none.
        """
        if self.found.performance is None:
            raise InputError("the plan has no steady state: there is nothing to draw")
        plan = self.scenario.plan
        return quantile_bars([self.found.performance], [f"{plan.replicas} x {plan.profile}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmExplanationAnswer(Answer):
    """Why a saved plan for a language model is as it is."""

    recommendation: Recommendation[TokenPlan]
    question: "EngineQuestion"
    effort: Effort

    def document(self) -> Document:
        """Document of `capacity explain --json`."""
        found = self.recommendation
        return {
            "plan": plain(found.plan),
            "saturation": plain(found.saturation),
            "considered": _considered(found.considered),
            "changes": [_change_document(one) for one in found.changes],
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity explain`."""
        from capacity.render.tokens import explanation_tables

        yield from explanation_tables(self.recommendation, self.question)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each setting that was tried."""
        return [
            {
                "what": one.what,
                "saturation_rps": None if one.saturation is None else one.saturation.rate_rps,
                "verdict": one.candidate.verdict.value,
            }
            | performance_row(one.candidate.performance)
            for one in self.recommendation.changes
        ]

    def plot(self) -> "Plot | Panels":
        """Quantiles of TTFT, ITL and the response under each setting that was tried.

        Raises:
            InputError: none of them has a steady state.
        """
        found = ((one.what, one.candidate.performance) for one in self.recommendation.changes)
        known = [(what, performance) for what, performance in found if performance]
        if not known:
            raise InputError("no other setting was simulated: there is nothing to draw")
        return quantile_bars([found for _, found in known], [what for what, _ in known])
