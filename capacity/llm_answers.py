"""Answers about language models: what `plan` and `simulate` return for a profile of kind llm."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
    caveat_documents,
    dumps,
    performance_document,
    picked,
    plain,
    workload_document,
)
from capacity.answers import Answer
from capacity.errors import InputError
from capacity.files import check_target, write_whole
from capacity.performance import Interval, TokenPerformance
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.profile.llm_formats import llm_profile_to_document
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.caveat import Caveat
from capacity.question.tokens import TokenCandidate, TokenPlan, TokenQuestion, TokenScenario
from capacity.search.recommendation import Headroom
from capacity.search.tokens import TokenRates, TokenRecommendation
from capacity.traffic.lengths import AnyLengths, LengthRows
from capacity.units import quantile_name

if TYPE_CHECKING:
    from capacity.render.plot import Plot
    from simulations.draws.tokens import TokenDraws, TokenRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmPlanAnswer(Answer):
    """A recommendation for a language model."""

    question: TokenQuestion
    effort: Effort
    recommendation: TokenRecommendation

    @property
    def verdict(self) -> Verdict:
        """Whether a plan meets the objective."""
        return self.recommendation.verdict

    @property
    def plan(self) -> TokenPlan | None:
        """The cheapest plan that meets the objective; None where none does."""
        return self.recommendation.plan

    @property
    def performance(self) -> TokenPerformance | None:
        """Of the plan."""
        return self.recommendation.performance

    @property
    def headroom(self) -> Headroom | None:
        """How far the rate may rise."""
        return self.recommendation.headroom

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None where the profile has none. [USD/h]"""
        return self.recommendation.hourly_usd

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What the answer does not say by itself."""
        return self.recommendation.caveats

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """`capacity plan --json`."""
        found, headroom = self.recommendation, self.headroom
        return {
            "verdict": found.verdict.value,
            "exit_code": found.verdict.exit_code,
            "recommendation": plain(found.plan),
            "performance": plain(found.performance),
            "objective": plain(found.objective),
            "workload": workload_document(self.question.workload) | _lengths_document(self.question.lengths),
            "saturation": plain(found.saturation),
            "headroom": None
            if headroom is None
            else {
                "arrival_rate_max_rps": headroom.accepted_rps,
                "arrival_rate_refused_rps": headroom.refused_rps,
            },
            "cost": None if found.hourly_usd is None else {"hourly_usd": found.hourly_usd},
            "changes": plain(found.changes),
            "candidates": plain(found.tally),
            "considered": _considered(found.considered),
            "caveats": caveat_documents(found.caveats),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int = 80, *, verbose: bool = False) -> Iterator[RenderableType]:
        """The tables that people see."""
        from capacity.render.tokens import token_tables

        yield from token_tables(self.recommendation, self.question, self.effort.confidence, verbose=verbose)

    def rows(self) -> list[dict[str, Any]]:
        """One row a candidate."""
        return [
            _plan_row(one.plan) | {"verdict": one.verdict.value} | _performance_row(one.performance)
            for one in self.recommendation.considered
        ]

    def plot(self) -> "Plot":
        """There is no figure of these yet.

        Raises:
            InputError: always.
        """
        raise InputError("a plan for a language model has no figure yet; use to_frame()")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSimulationAnswer(Answer):
    """The performance of one plan for a language model.

    Attributes:
        served: of a replay, the requests and what became of each; else None.
    """

    scenario: TokenScenario
    performance: TokenPerformance
    caveats: tuple[Caveat, ...]
    effort: Effort
    served: "tuple[TokenDraws, TokenRecords] | None" = None

    @property
    def plan(self) -> TokenPlan:
        """What was asked about."""
        return self.scenario.plan

    def document(self) -> Document:
        """`capacity simulate --json`."""
        return {
            "plan": plain(self.plan),
            "workload": workload_document(self.scenario.workload) | _lengths_document(self.scenario.lengths),
            "performance": plain(self.performance),
            "caveats": caveat_documents(self.caveats),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int = 80, *, verbose: bool = False) -> Iterator[RenderableType]:
        """The tables that people see."""
        from capacity.render.tables import caveat_lines
        from capacity.render.tokens import simulation_tables

        yield from simulation_tables(self.plan, self.performance, self.effort.confidence, verbose=verbose)
        yield from caveat_lines(self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row; of a replay, one a request."""
        if self.served is None:
            return [_plan_row(self.plan) | _performance_row(self.performance)]
        return list(_request_rows(self))

    def write_requests(self, path: Path) -> None:
        """The requests of a replay as CSV, a row each.

        Raises:
            InputError: this is not a replay, or the file cannot be written.
        """
        if self.served is None:
            raise InputError("only a replay knows each request; give --replay with --arrivals trace:FILE")
        check_target(path, "requests", (".csv",))
        lines = [",".join(_COLUMNS)]
        lines += [",".join(_cell(row[name]) for name in _COLUMNS) for row in _request_rows(self)]
        write_whole(path, ("\n".join(lines) + "\n").encode())

    def plot(self) -> "Plot":
        """There is no figure of these yet.

        Raises:
            InputError: always.
        """
        raise InputError("a simulation of a language model has no figure yet; use to_frame()")


def _considered(candidates: Iterable[TokenCandidate]) -> list[Document]:
    return [picked(one, "plan", "accepted", "verdict", "performance", "rejection") for one in candidates]


_COLUMNS = (
    "t_s",
    "input_tokens",
    "output_tokens",
    "ttft_s",
    "tpot_s",
    "response_s",
    "preemptions",
    "replica",
)


def _cell(value: object) -> str:
    return "" if value is None else repr(value)


def _request_rows(answer: LlmSimulationAnswer) -> Iterator[dict[str, Any]]:
    assert answer.served is not None  # noqa: S101  (the caller looked)
    draws, records = answer.served
    overhead = answer.scenario.profile.overhead
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


def _lengths_document(lengths: AnyLengths) -> Document:
    moments = lengths.moments
    name = {"lengths": lengths.name} if isinstance(lengths, LengthRows) else {}
    return {**name, "input_tokens_mean": moments.input, "output_tokens_mean": moments.output}


def _plan_row(plan: TokenPlan) -> dict[str, Any]:
    return {one.name: getattr(plan, one.name) for one in fields(plan)}


def _performance_row(found: TokenPerformance | None) -> dict[str, Any]:
    """Scalars by name, and quantiles with their ends."""
    if found is None:
        return {}
    row = {name: value for name, value in performance_document(found).items() if not isinstance(value, dict)}
    for name in ("ttft", "tpot", "itl", "response"):
        known: dict[float, Interval] = getattr(found, f"{name}_quantiles_s")
        for q, interval in known.items():
            short = f"{name}_{quantile_name(q)}"
            row |= {
                f"{short}_s": interval.value,
                f"{short}_low_s": interval.low,
                f"{short}_high_s": interval.high,
            }
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmProfileAnswer(Answer):
    """A profile of a language model that was worked out from sweeps.

    Attributes:
        checked_rps: what its steps give in the saturated run that it is checked by; None without one. [requests/s]
    """

    profile: LlmProfile
    checked_rps: float | None
    caveats: tuple[Caveat, ...]

    def document(self) -> Document:
        """`capacity import --json` of such files, and `capacity profile --llm --json`."""
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

    def tables(self, width: int = 80, *, verbose: bool = False) -> Iterator[RenderableType]:
        """The tables that people see."""
        from capacity.render.tables import caveat_lines
        from capacity.render.tokens import check_table, llm_profile_pieces

        yield from llm_profile_pieces(self.profile)
        yield check_table(self.profile, self.checked_rps)
        yield from caveat_lines(self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row a step."""
        return [asdict(step) for step in self.profile.steps]

    def write_profile(self, path: Path) -> None:
        """The profile as a .json file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        check_target(path, "a profile", (".json",))
        write_whole(path, (dumps(llm_profile_to_document(self.profile)) + "\n").encode())

    def plot(self) -> "Plot":
        """There is no figure of these yet.

        Raises:
            InputError: always.
        """
        raise InputError("the profile of a language model has no figure yet; use to_frame()")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRatesAnswer(Answer):
    """Up to which rate a fleet of a language model meets its objective."""

    rates: TokenRates
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
        rates, scenario = self.rates, self.rates.scenario
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "plan": plain(scenario.plan),
            "objective": plain(scenario.objective),
            "workload": {"arrivals": workload_document(scenario.workload)["arrivals"]}
            | _lengths_document(scenario.lengths),
            "saturation": plain(rates.saturation),
            "rates": {
                "arrival_rate_max_rps": rates.accepted_rps,
                "arrival_rate_refused_rps": rates.refused_rps,
            },
            "curve": [
                {"arrival_rate_rps": rate_rps, **picked(one, "verdict", "performance", "rejection")}
                for rate_rps, one in rates.points
            ],
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int = 80, *, verbose: bool = False) -> Iterator[RenderableType]:
        """The tables that people see."""
        from capacity.render.tokens import rates_tables

        yield from rates_tables(self.rates, self.effort.confidence)

    def rows(self) -> list[dict[str, Any]]:
        """One row a rate."""
        return [
            {"arrival_rate_rps": rate_rps, "verdict": one.verdict.value} | _performance_row(one.performance)
            for rate_rps, one in self.rates.points
        ]

    def plot(self) -> "Plot":
        """There is no figure of these yet.

        Raises:
            InputError: always.
        """
        raise InputError("the rates of a language model have no figure yet; use to_frame()")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmCheckAnswer(Answer):
    """A saved plan for a language model, judged again.

    Attributes:
        scenario: what it was judged under.
    """

    scenario: TokenScenario
    found: TokenCandidate
    effort: Effort

    @property
    def verdict(self) -> Verdict:
        """Whether the plan meets its objective."""
        return self.found.verdict

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """`capacity check --json`."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "plan": plain(self.scenario.plan),
            "objective": plain(self.scenario.objective),
            "workload": workload_document(self.scenario.workload) | _lengths_document(self.scenario.lengths),
            **picked(self.found, "performance", "rejection"),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int = 80, *, verbose: bool = False) -> Iterator[RenderableType]:
        """The tables that people see."""
        from capacity.render.tokens import check_tables

        scenario = self.scenario
        yield from check_tables(
            scenario.plan, self.found, scenario.objective, scenario.workload.arrival_rate_rps
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row."""
        return [
            _plan_row(self.scenario.plan)
            | {"verdict": self.verdict.value}
            | _performance_row(self.found.performance)
        ]

    def plot(self) -> "Plot":
        """There is no figure of these yet.

        Raises:
            InputError: always.
        """
        raise InputError("the check of a plan for a language model has no figure; use to_frame()")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmExplanationAnswer(Answer):
    """Why a saved plan for a language model is as it is."""

    recommendation: TokenRecommendation
    question: TokenQuestion
    effort: Effort

    def document(self) -> Document:
        """`capacity explain --json`."""
        found = self.recommendation
        return {
            "plan": plain(found.plan),
            "saturation": plain(found.saturation),
            "considered": _considered(found.considered),
            "changes": plain(found.changes),
        }

    def tables(self, width: int = 80, *, verbose: bool = False) -> Iterator[RenderableType]:
        """The tables that people see."""
        from capacity.render.tokens import explanation_tables

        yield from explanation_tables(self.recommendation, self.question)

    def rows(self) -> list[dict[str, Any]]:
        """One row a setting that was tried."""
        return [
            {"what": one.what, "saturation_rps": one.saturation.rate_rps, "verdict": one.verdict.value}
            | _performance_row(one.performance)
            for one in self.recommendation.changes
        ]

    def plot(self) -> "Plot":
        """There is no figure of these yet.

        Raises:
            InputError: always.
        """
        raise InputError("the explanation of a plan for a language model has no figure; use to_frame()")
