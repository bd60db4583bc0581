"""Candidate: a considered plan with its verdict, and the interface of judges."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, Protocol, Self

from capacity.performance import Interval, Performance
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Overload, Saturation, Surge
from capacity.question.plan import AnyPlan
from capacity.question.scenario import AnyScenario


class Reason(StrEnum):
    """The reason why a plan is refused."""

    STABILITY = "stability"
    BISTABLE = "bistable"
    SERVICE_FLOOR = "service_floor"
    LATENCY = "latency"
    WAIT = "wait"
    LOSS = "loss"
    UTILIZATION = "utilization"
    SURVIVAL = "survival"
    PROFILE_RANGE = "profile_range"
    REPLICAS_MAX = "replicas_max"
    BUDGET = "budget"

    @classmethod
    def of(cls, measure: Measure) -> Self:
        """Reason for which a limit on this measure refuses a plan."""
        names = {Measure.WAIT: "wait", Measure.LOSS: "loss", Measure.UTILIZATION: "utilization"}
        return cls(names.get(measure, "latency"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A refusal with its numbers, in the unit of its limit.

    The unit is load for `stability` (1 allowed); turns a second for `bistable`, those that are served from empty caches
    and a backlog and those that come; seconds for `service_floor`, `latency` and `wait`, at `quantile` or
    of the mean; shares for `loss` and `utilization`; requests in a batch for `profile_range`; replicas for
    `replicas_max`; simulated requests for `budget`. For `survival` it is that of the limit that is exceeded when
    replicas are gone.

    Attributes:
        reason: the reason why the plan is refused.
        limit: the limit of the objective that is exceeded, if one is.
        event: the failure of the fleet in which the limit is exceeded; None for the whole fleet.
        is_loss: whether the numbers are shares of lost requests, though the limit may be on a duration.
    """

    reason: Reason
    allowed: float
    needed: float
    limit: Limit | None = None
    event: str | None = None
    is_loss: bool = False

    @classmethod
    def of(cls, limit: Limit, needed: float, reason: Reason | None = None) -> Self:
        """The rejection for a limit that is exceeded."""
        reason = reason or Reason.of(limit.measure)
        is_loss = limit.measure is Measure.LOSS
        return cls(reason=reason, allowed=limit.allowed, needed=needed, limit=limit, is_loss=is_loss)

    @classmethod
    def of_losses(cls, limit: Limit, lost: float) -> Self:
        """The rejection for a limit that is missed because too many requests are lost.

        Args:
            lost: share of the requests.
        """
        allowed = limit.allowed if limit.quantile is None else 1.0 - limit.quantile
        return cls(reason=Reason.LOSS, allowed=allowed, needed=lost, limit=limit, is_loss=True)

    @property
    def quantile(self) -> float | None:
        """Quantile of the limit that is exceeded."""
        return None if self.limit is None else self.limit.quantile


class Doubt(StrEnum):
    """The reason why a verdict is undecided, and so what would settle it."""

    REQUESTS = "requests"  # too few were simulated
    MARGIN = "margin"  # the value is nearer to its limit than the asked precision
    PROFILE = "profile"  # the profile has too few samples


class Verdict(StrEnum):
    """Whether the objective is met; inconclusive if the interval spans the limit when the budget ends."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        return {Verdict.MET: 0, Verdict.MISSED: 3, Verdict.INCONCLUSIVE: 4}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikeIt:
    """Result for traffic like a recorded path, from the path's consecutive sections.

    The verdict on a recorded path is on its own requests, of which only the service is unknown. Other days have other
    bursts, and differ from this one as its sections do from each other.

    Attributes:
        verdict: verdict on the objective; None without one.
        limit: the undecided limit, or else the closest one; without an objective the reported quantile, with an
            infinite limit.
        found: interval from the sections; None if the path has too few bursts for one.
    """

    verdict: Verdict | None
    limit: Limit
    found: Interval | None

    def limited_by(self, verdict: Verdict) -> Self:
        """The result given the verdict on the path itself: other days are not known better than this one."""
        if self.verdict is not Verdict.MET or verdict is Verdict.MET:
            return self
        return replace(self, verdict=Verdict.INCONCLUSIVE)


def worst_of(found: Iterable[LikeIt | None]) -> LikeIt | None:
    """The least favourable result, of the whole fleet and of what failures leave of it."""
    order = (None, Verdict.MET, Verdict.INCONCLUSIVE, Verdict.MISSED)
    return max(
        (one for one in found if one is not None), key=lambda one: order.index(one.verdict), default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[AnyPlan]):
    """A considered plan with its verdict.

    Attributes:
        rejection: its refusal; None if it is accepted.
        performance: None if theory refused it before a simulation.
        settled: whether the simulation ran past ten relaxation times before it counted. One that did not
            underestimates a busy fleet: good enough to refuse, never to accept. For a trace: whether it was run often
            enough with other service times.
        doubt: the reason why it is undecided; None if it is not.
        batch_size_largest: largest batch that occurred; None if unknown. A plan that differs only by a larger limit,
            which was never reached, serves the same batches.
        requests: number of requests simulated for it; 0 if a law answered.
        requests_resampled: number of them under resampled profiles, for the error of the profile's samples.
        is_resampled: whether these are as many as an interval takes, and not only the few that its verdict took.
        is_precise: whether the interval of the binding quantity is as narrow as was asked for.
        like_it: result for traffic like a recorded path; None without a trace, and in a search.
        samples_times: if the profile is in doubt, factor of its samples that would settle it, if they were alike;
            infinite if no number would, None if that is not known.
        further: goes on with a search that was put off while undecided; None if it has ended.
    """

    plan: AnyPlan
    verdict: Verdict
    rejection: Rejection | None = None
    performance: Performance | None = None
    settled: bool = True
    doubt: Doubt | None = None
    batch_size_largest: int | None = None
    requests: int = 0
    requests_resampled: int = 0
    is_resampled: bool = False
    is_precise: bool = True
    like_it: LikeIt | None = None
    samples_times: float | None = None
    further: "Callable[[], Candidate[AnyPlan]] | None" = field(default=None, compare=False, repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the plan meets the objective, with the ends of its intervals."""
        return self.verdict is Verdict.MET

    @property
    def requests_looked(self) -> int:
        """Requests simulated under the measured profile for the verdict, with which a confirmation may begin."""
        return self.requests - self.requests_resampled


def at_last(candidate: Candidate[AnyPlan]) -> Candidate[AnyPlan]:
    """The candidate at the end of its search, however often that was put off."""
    while candidate.further is not None:
        candidate = candidate.further()
    return candidate


def closest(candidates: Sequence[Candidate[AnyPlan]], objective: Objective) -> Candidate[AnyPlan]:
    """The candidate nearest to the objective: simulated ones first, then those refused in an event, then least refused.

    Of candidates with an infinite quantile, since too many requests are lost, it is the one that loses least.
    """

    def distance(candidate: Candidate) -> tuple[int, float, float]:
        if candidate.performance is not None:
            pressure = objective.binding(candidate.performance).pressure(candidate.performance)
            lost = candidate.performance.loss_probability or 0.0
            return 0, math.inf if pressure is None else pressure.value, lost
        assert candidate.rejection is not None  # noqa: S101  (theory refuses with numbers only)
        if candidate.rejection.event is None:
            rank = 3 if candidate.verdict is Verdict.MISSED else 2
        else:
            rank = 1 if candidate.rejection.limit is not None else 2
        return rank, candidate.rejection.needed / candidate.rejection.allowed, 0.0

    refused = [candidate for candidate in candidates if not candidate.accepted]
    return min(refused or candidates, key=distance)


class Judge(Protocol):
    """Judge of plans, with four degrees of care."""

    def search(self, scenario: AnyScenario, attempt: int, *, is_aside: bool = False) -> Candidate[Any]:
        """Candidate judged well enough for a search, which may be put off while it is undecided.

        Args:
            attempt: counts them from 1; later refusals are stricter.
            is_aside: whether the search only stands beside an answer, so that doubt is left sooner.
        """

    def certify(self, scenario: AnyScenario, attempt: int, requests_first: int = 0) -> Candidate[Any]:
        """Candidate judged well enough to recommend: with fresh random numbers, and intervals of the asked precision.

        Args:
            attempt: number of this confirmation in a command, from 1; later ones are stricter.
            requests_first: requests with which the plan was chosen, and with which to begin.
        """

    def accepts(
        self,
        scenario: AnyScenario,
        effort: int = 1,
        requests_max: int | None = None,
        likely: tuple[float, float] = (1.0, 1.0),
    ) -> Candidate[Any]:
        """Candidate judged well enough for a point of the headroom: cheaper, and never met while in doubt.

        Args:
            effort: multiple of the usual budget.
            requests_max: most requests; None for no further limit.
            likely: what the profile's samples are likely to leave open, as ends over the value.
        """

    def probe(self, scenario: AnyScenario, requests_max: int | None = None) -> Candidate[Any]:
        """Candidate judged well enough to tell which point of the headroom is worth `accepts`."""

    def requests_to_settle(self, scenario: AnyScenario) -> float:
        """Fewest requests after which `accepts` may accept."""

    def saturated(self, scenario: AnyScenario) -> Saturation:
        """Saturation of one engine, with requests that always wait; for servers whose capacity no law gives."""


def refuse_overload(one: Overload | Surge, limits: Sequence[Limit]) -> Rejection | None:
    """The limit that bursts, or a spike, exceed most clearly, if any; responses and first tokens wait too."""
    waiting = (Measure.RESPONSE, Measure.WAIT, Measure.TTFT)
    found = [
        Rejection.of(limit, least_s)
        for limit in limits
        if limit.quantile is not None and limit.measure in waiting
        if (least_s := one.wait_min_s(limit.quantile)) > limit.allowed
    ]
    return max(found, key=lambda rejection: rejection.needed / rejection.allowed, default=None)
