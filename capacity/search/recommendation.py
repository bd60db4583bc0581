"""Recommendation: the cheapest accepted plan, or why there is none, with everything considered."""

import math
from dataclasses import dataclass, field
from typing import Generic, Self

from capacity.errors import DomainError
from capacity.performance import Interval, Performance
from capacity.profile.sampling import FloorDoubt
from capacity.question.candidate import Candidate, Doubt, LikeIt, Verdict
from capacity.question.caveat import Caveat
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Saturation
from capacity.question.plan import AnyPlan, Plan
from capacity.question.question import Space
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import Demand, MmppArrivals, Workload

_ATTEMPT_MAX = 1_000_000  # no search confirms as often


def _tokens_per_s(seen: Performance, space: Space) -> dict[str, float]:
    """Tokens of prompts that are computed, those found in the cache, and those of answers. [1/s]"""
    if space.lengths is None or not seen.throughput_rps or not seen.output_tokens_per_s:
        return {}
    prompts_per_s = seen.throughput_rps * space.lengths.moments.input
    cached_per_s = space.cached_share * prompts_per_s
    if seen.hit_share is not None and seen.cached_tokens_per_s:
        prompts_per_s, cached_per_s = seen.cached_tokens_per_s / seen.hit_share.mean, seen.cached_tokens_per_s
    return {
        "input_tokens": prompts_per_s - cached_per_s,
        "cached_tokens": cached_per_s,
        "output_tokens": seen.output_tokens_per_s,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Survived:
    """A confirmed plan in one of the events that it must survive.

    Attributes:
        event: what happened.
        plan: what is left of the plan.
        performance: of what is left, while the event lasts.
    """

    event: str
    plan: Plan
    performance: Performance


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a confirmation depends on in addition to the question and the effort.

    Attributes:
        attempt: which one of its command it was, from 1; its events have the numbers that follow.
        requests_first: requests of its first look.
    """

    attempt: int = 1
    requests_first: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.attempt <= _ATTEMPT_MAX or self.requests_first < 0:
            raise DomainError(
                f"a certificate has a number from 1 to {_ATTEMPT_MAX} and a first look of 0 requests or "
                f"more, got {self.attempt} and {self.requests_first}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many candidates a search has handled, by method.

    Attributes:
        screened: refused or judged by theory alone.
        simulated: judged by simulation, in the whole fleet or in an event.
        certified: judged again, by a law or simulated with their own seeds, accepted or not.
        requests: simulated in all.
    """

    screened: int = 0
    simulated: int = 0
    certified: int = 0
    requests: int = 0


# Shares of a rate, and of its growth, up to which the two ends of a headroom are one answer; and share of a rate from
# which on the distance between them is worth a note.
DECIDED, _OF_GROWTH, _WIDE = 0.02, 0.125, 0.10
# Share of a rate below which there is hardly any headroom.
_THIN = 0.05


def one_answer(rate_rps: float, today_rps: float) -> float:
    """Share of a rate up to which two ends of a headroom are one answer, of which it is the upper one.

    A fiftieth; and an eighth of the growth where that is more, since it is the growth that people act on: whether
    twenty times as much traffic fits, or twenty-one, is one answer.

    Args:
        today_rps: the rate from which growth counts; infinite if there is none.
    """
    return max(DECIDED, _OF_GROWTH * (1.0 - today_rps / rate_rps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The largest rate found accepted, and the smallest above it found refused. [requests/s]

    Attributes:
        today_rps: the rate that was asked about.
        doubt: why rates between the two are open; None if no open one was tried.
    """

    today_rps: float
    accepted_rps: float
    refused_rps: float
    doubt: Doubt | None = None

    @property
    def is_decided(self) -> bool:
        """Whether next to nothing lies between the two."""
        return self.refused_rps <= self.accepted_rps * (1.0 + one_answer(self.refused_rps, self.today_rps))

    @property
    def is_in_doubt(self) -> bool:
        """Whether much lies between the two."""
        wide = max(_WIDE, 2.0 * one_answer(self.refused_rps, self.today_rps))
        return self.doubt is not None and self.refused_rps > self.accepted_rps * (1.0 + wide)

    @property
    def is_thin(self) -> bool:
        """Whether hardly more traffic than today's is accepted."""
        return self.accepted_rps < self.today_rps * (1.0 + _THIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadroomEffort:
    """How finely rates are tried for the headroom, and how many simulated requests that may take.

    Headroom accompanies a plan, and has a budget of its own.

    Attributes:
        first_step: share of today's rate by which the first is above it; doubled until one is not accepted.
        requests_max: of trials that count.
        probes_max: of probes before them, which find where they are worth it; None if every rate gets such a trial.
        probed_to: share of the rate to within which probes find the end.
        leaves_last: whether the highest rate that a probe accepts is left out, being near the end, where a trial takes
            most.
        is_resampled: whether intervals hold the error of the profile's samples.
        leaps: whether the limited quantity only rises with the rate, so that no rate on the way need be tried.
    """

    first_step: float
    requests_max: int
    leaps: bool = False
    is_resampled: bool = False
    probes_max: int | None = None
    probed_to: float = 0.0
    leaves_last: bool = False


# Of the requests of a headroom, the share of those under arrivals in bursts, whose trials are longer.
_BURSTS_SHARE = 0.1


def less_for_bursts(workload: Demand, usual: int) -> int:
    """How many requests may be simulated for the headroom, of the usual number."""
    is_bursty = isinstance(workload, Workload) and isinstance(workload.arrivals, MmppArrivals)
    return int(_BURSTS_SHARE * usual) if is_bursty else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesEffort:
    """Which rates are tried where all at which a plan meets its objective are looked for.

    Attributes:
        loads: shares of the rate that the fleet sustains, rising.
        only_rises: whether the limited quantity was never seen to fall as the rate rises: a coarse grid is enough then.
        careful_max: simulated requests after which confirmations settle no more doubts.
    """

    loads: tuple[float, ...]
    only_rises: bool
    careful_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """Settings that no number of replicas helps, or that a profile's samples leave in doubt.

    Attributes:
        candidates: one replica in each such setting, which stands for any number, by profile and setting.
        doubts: those that samples leave in doubt.
    """

    candidates: dict[tuple[str, int], Candidate] = field(default_factory=dict)
    doubts: dict[tuple[str, int], FloorDoubt] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomRouting:
    """What becomes of a plan under random routing.

    Attributes:
        replicas: that would meet the objective; None if no number within the limits is known to.
        response_p99: of the recommended plan's replicas, counting lost requests as late; None if it has
            none. [s]
        limit: the limit that binds the recommended plan; None if P99 of the response has a limit.
        found: value of what it limits, for the recommended plan's replicas; None if it is not known.
        least: lower end of that, or of the P99, where the runs were too short to know it: a busy fleet is then
            underestimated. None where it is known, or nothing is.
    """

    replicas: int | None
    response_p99: Interval | None
    limit: Limit | None = None
    found: Interval | None = None
    least: float | None = None

    @property
    def binding(self) -> Limit:
        """The limit whose figure is shown; that of P99 of the response allows anything."""
        return self.limit or Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=math.inf)

    @property
    def figure(self) -> Interval | None:
        """The value of what that limits; None if it is not known."""
        return self.response_p99 if self.limit is None else self.found


CHANGE_STEP = 0.1  # of a rate and a service time, for which a sensitivity is stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[AnyPlan]):
    """One thing changed, and what becomes of the plan.

    Attributes:
        what: the thing that is changed: `batch size`, `batch wait`, `rate`, `users`, `service time` or `cv`; of engines
            the flag with its value.
        step: relative change of a quantity that was given; None of a choice.
        shift: relative change of what binds; infinite where the plan becomes unstable, None where in doubt.
        replicas: that would do then, with the same setting; None where not asked, or none was found.
        saturation: what one replica then does while requests always wait; None of those that batch.
    """

    what: str
    plan: AnyPlan
    candidate: Candidate[AnyPlan]
    step: float | None = None
    shift: float | None = None
    replicas: int | None = None
    saturation: Saturation | None = None

    @property
    def shift_per_step(self) -> float:
        """Relative change of the limiting figure for each 10 % of the input."""
        if self.shift is None or not self.step:
            return 0.0
        return abs(self.shift) * CHANGE_STEP / abs(self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation(Generic[AnyPlan]):
    """The answer: the cheapest accepted plan, or why there is none, with everything considered.

    Attributes:
        plan: None where no plan was accepted.
        performance: of the plan, from runs with their own seeds.
        headroom: how far the rate may rise; None if that was not asked, or there is no rate.
        random_routing: what random routing would need; None if the plan says so already.
        hourly_usd: price of the fleet; None if unknown.
        survived: the events that the plan must survive, each with what becomes of it.
        without_survival: the plan that would be enough without failures to survive; None if there are none.
        under_poisson: the plan that would be enough under Poisson arrivals; None if they are Poisson.
        tally: how many candidates were handled.
        certificate: how the plan can be confirmed again, to the byte; None if there is none.
        like_it: what the plan does under traffic like a recorded trace; None without one.
        saturation: what one replica of the plan does while requests always wait; None of those that batch.
        changes: what other settings would do; empty unless that was asked.
        alternatives: the cheapest fleet of each profile, routing or listed setting that was not chosen, by the search;
            of one that has none the closest refused fleet.
        untried: a plan of each such choice that was not tried.
    """

    verdict: Verdict
    objective: Objective
    plan: AnyPlan | None = None
    performance: Performance | None = None
    headroom: Headroom | None = None
    random_routing: RandomRouting | None = None
    hourly_usd: float | None = None
    considered: tuple[Candidate[AnyPlan], ...] = ()
    caveats: tuple[Caveat, ...] = ()
    survived: tuple[Survived, ...] = ()
    without_survival: Self | None = None
    under_poisson: Self | None = None
    tally: Tally = Tally()
    certificate: Certificate | None = None
    like_it: LikeIt | None = None
    saturation: Saturation | None = None
    changes: tuple[Change[AnyPlan], ...] = ()
    alternatives: tuple[Candidate[AnyPlan], ...] = ()
    untried: tuple[AnyPlan, ...] = ()

    def usd_per_million(self, space: Space, day: DailyCurve | None = None) -> dict[str, float]:
        """The whole price over a million of each that the plan serves: requests, and tokens of a language model. [USD]

        Input tokens are those of prompts that are computed, cached tokens those found in the cache. Each is the price
        of the same fleet, so that they do not add up.

        Args:
            space: what requests are like.
            day: the day, or the part of it, for whose highest rate the plan is; the fleet is paid for all of it.
                None for a rate that holds all the time.
        """
        seen = self.performance
        if self.hourly_usd is None or seen is None:
            return {}
        served = {"requests": seen.throughput_rps} | _tokens_per_s(seen, space)
        usd_per_s = self.hourly_usd / 3600.0 * (1.0 if day is None else day.peak_rate_rps / day.part_mean_rps)
        return {what: usd_per_s / per_s * 1e6 for what, per_s in served.items() if per_s}

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """Largest rate tried that the plan still accepts. [requests/s]"""
        return None if self.headroom is None else self.headroom.accepted_rps
