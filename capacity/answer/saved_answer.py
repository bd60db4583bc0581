"""Saved answer: reads the answer in a saved plan back into the nouns of its search."""

import math
from dataclasses import dataclass, replace
from typing import Any

from capacity.answer.saved_plan import SavedPlan, saved_form
from capacity.errors import InputError
from capacity.files import located
from capacity.json_text import read_as
from capacity.performance import QUANTILE_FIELDS, SCALAR_FIELDS, Interval, Kind, Performance, Share
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat
from capacity.question.objective import Limit, Measure, Objective
from capacity.search.certificate import Trial
from capacity.search.recommendation import Headroom, RandomRouting, Recommendation
from capacity.traffic.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """An interval; `high` is None if it has no upper end."""

    value: float
    low: float
    high: float | None
    known_to: float | None = None

    def interval(self) -> Interval:
        high = math.inf if self.high is None else self.high
        return Interval(value=self.value, low=self.low, high=high, known_to=self.known_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RejectionDocument:
    limit: Reason
    allowed: float
    needed: float | None = None
    measure: Measure | None = None
    quantile: float | None = None
    event: str | None = None

    def rejection(self, where: str, objective: Objective) -> Rejection:
        """The rejection, with the limit of the objective that it names."""
        return Rejection(
            reason=self.limit,
            allowed=self.allowed,
            needed=math.inf if self.needed is None else self.needed,
            limit=None if self.measure is None else self._limit(where, objective),
            event=self.event,
            is_loss=self.limit is Reason.LOSS,
        )

    def _limit(self, where: str, objective: Objective) -> Limit:
        for limit in objective.limits:
            if (limit.measure, limit.quantile) == (self.measure, self.quantile):
                return limit
        raise InputError(f"{where} names a limit that the objective does not have")


@dataclass(frozen=True, slots=True, kw_only=True)
class _CandidateDocument:
    plan: dict[str, Any]
    verdict: Verdict
    rejection: _RejectionDocument | None = None
    performance: dict[str, Any] | None = None
    settled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeadroomDocument:
    arrival_rate_max_rps: float
    arrival_rate_refused_rps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _LimitedDocument:
    measure: Measure
    allowed: float
    quantile: float | None = None
    found: _Ends | None = None
    found_least: float | None = None

    @property
    def limit(self) -> Limit:
        return Limit(measure=self.measure, allowed=self.allowed, quantile=self.quantile)

    @property
    def value(self) -> Interval | None:
        return None if self.found is None else self.found.interval()


@dataclass(frozen=True, slots=True, kw_only=True)
class _RandomDocument:
    replicas: int | None = None
    response_p99: _Ends | None = None
    response_p99_least_s: float | None = None
    limited: _LimitedDocument | None = None

    def routing(self) -> RandomRouting:
        """What random routing would need."""
        p99, limited = self.response_p99, self.limited
        found = RandomRouting(
            replicas=self.replicas,
            response_p99=None if p99 is None else p99.interval(),
            least=self.response_p99_least_s,
        )
        if limited is None:
            return found
        return replace(found, limit=limited.limit, found=limited.value, least=limited.found_least)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CostDocument:
    hourly_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _EasierDocument:
    recommendation: dict[str, Any]
    cost: _CostDocument | None = None
    performance: dict[str, Any] | None = None

    def recommendation_of(self, saved: SavedPlan, where: str) -> Recommendation:
        """The plan that would be enough under easier conditions."""
        return Recommendation(
            verdict=Verdict.MET,
            objective=saved.question.objective,
            plan=saved_form(saved.question).any_plan(self.recommendation, f"{where}.recommendation"),
            performance=None
            if self.performance is None
            else _performance(self.performance, f"{where}.performance"),
            hourly_usd=None if self.cost is None else self.cost.hourly_usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _AnswerDocument:
    """The parts of an answer that are read; a newer version may have more."""

    considered: tuple[_CandidateDocument, ...]
    alternatives: tuple[_CandidateDocument, ...] = ()
    alternatives_untried: tuple[dict[str, Any], ...] = ()
    caveats: tuple[Caveat, ...]
    headroom: _HeadroomDocument | None = None
    random_routing: _RandomDocument | None = None
    without_survival: _EasierDocument | None = None
    under_poisson: _EasierDocument | None = None


def read_recommendation(saved: SavedPlan, trial: Trial) -> Recommendation:
    """The recommendation of a saved plan, with the numbers of a repeated certificate.

    Raises:
        InputError: an answer that another version wrote in another form.
    """
    return located(saved.name, lambda: _recommendation(saved, trial))


def _recommendation(saved: SavedPlan, trial: Trial) -> Recommendation:
    answer = read_as(_AnswerDocument, saved.answer, "answer", ignore_extra=True)
    objective, easier = saved.question.objective, answer.without_survival
    calm, routing = answer.under_poisson, answer.random_routing
    return Recommendation(
        verdict=trial.candidate.verdict,
        objective=objective,
        plan=saved.plan,
        performance=trial.whole.performance,
        headroom=_headroom(saved, answer.headroom),
        random_routing=None if routing is None else routing.routing(),
        hourly_usd=saved.hourly_usd,
        considered=_candidates(answer.considered, "considered", saved),
        alternatives=_candidates(answer.alternatives, "alternatives", saved),
        untried=tuple(
            saved_form(saved.question).any_plan(one, f"answer.alternatives_untried[{place}]")
            for place, one in enumerate(answer.alternatives_untried)
        ),
        caveats=answer.caveats,
        survived=trial.survived,
        without_survival=None
        if easier is None
        else easier.recommendation_of(saved, "answer.without_survival"),
        under_poisson=None if calm is None else calm.recommendation_of(saved, "answer.under_poisson"),
        certificate=saved.certificate,
    )


def read_evaluation(saved: SavedPlan) -> tuple[Performance, Headroom | None]:
    """Performance of a saved plan, and its headroom if that was asked for.

    Raises:
        InputError: no plan, or an answer that another version wrote in another form.
    """
    saved.plan  # noqa: B018  (one that holds no plan is refused by its own words)
    return located(saved.name, lambda: _evaluation(saved))


def _evaluation(saved: SavedPlan) -> tuple[Performance, Headroom | None]:
    answer = read_as(_AnswerDocument, saved.answer, "answer", ignore_extra=True)
    found = read_as(dict[str, Any], saved.answer.get("performance"), "answer.performance")
    return _performance(found, "answer.performance"), _headroom(saved, answer.headroom)


def _headroom(saved: SavedPlan, found: _HeadroomDocument | None) -> Headroom | None:
    workload = saved.question.workload
    if found is None or not isinstance(workload, Workload):
        return None
    return Headroom(
        today_rps=workload.arrival_rate_rps,
        accepted_rps=found.arrival_rate_max_rps,
        refused_rps=found.arrival_rate_refused_rps,
    )


def _candidates(found: tuple[_CandidateDocument, ...], key: str, saved: SavedPlan) -> tuple[Candidate, ...]:
    """The candidates of a list of the answer."""
    return tuple(_candidate(one, f"answer.{key}[{place}]", saved) for place, one in enumerate(found))


def _candidate(found: _CandidateDocument, where: str, saved: SavedPlan) -> Candidate:
    rejection, performance, objective = found.rejection, found.performance, saved.question.objective
    return Candidate(
        plan=saved_form(saved.question).any_plan(found.plan, f"{where}.plan"),
        verdict=found.verdict,
        rejection=None if rejection is None else rejection.rejection(f"{where}.rejection", objective),
        performance=None if performance is None else _performance(performance, f"{where}.performance"),
        settled=found.settled,
    )


def _performance(found: dict[str, Any], where: str) -> Performance:
    known: dict[str, Any] = {
        name: read_as(float, found[name], f"{where}.{name}")
        for name in SCALAR_FIELDS
        if found.get(name) is not None
    }
    kinds: dict[str, Any] = dict.fromkeys(QUANTILE_FIELDS, dict[float, _Ends | None])
    kinds["intervals"] = dict[str, _Ends | None]
    for name, wanted in kinds.items():
        if found.get(name) is not None:
            held: dict[Any, _Ends | None] = read_as(wanted, found[name], f"{where}.{name}")
            known[name] = {key: _interval(ends) for key, ends in held.items()}
    if found.get("hit_share") is not None:
        known["hit_share"] = read_as(Share, found["hit_share"], f"{where}.hit_share")
        by_turn = read_as(
            tuple[float, ...], found.get("hit_share_by_turn") or (), f"{where}.hit_share_by_turn"
        )
        known["hit_share_by_turn"] = by_turn
    return Performance(kind=read_as(Kind, found.get("kind"), f"{where}.kind"), **known)


def _interval(ends: _Ends | None) -> Interval:
    """An interval from its ends; null means infinite, beyond every served request."""
    return Interval.exact(math.inf) if ends is None else ends.interval()
