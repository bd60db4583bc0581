"""Plan: one configuration of a fleet, and the values with which it is accepted or refused."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from capacity.caveats import Caveat
from capacity.errors import DomainError
from capacity.objective import LatencyObjective, Measure, Promise
from capacity.performance import Interval, Performance


class Routing(StrEnum):
    """How the load balancer picks the replica for a request; ties go to the lowest index."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_OUTSTANDING = "least-outstanding"
    POWER_OF_TWO = "power-of-two"
    SHARED_QUEUE = "shared-queue"


class BatchTimer(StrEnum):
    """Since when the batch wait counts.

    OLDEST: since the arrival of the oldest waiting request (Triton, TensorFlow Serving).
    OPEN: since an idle replica sees that somebody waits (TorchServe, Ray Serve).
    """

    OLDEST = "oldest"
    OPEN = "open"


# A fleet larger than any; a number beyond it is likely to be a mistake.
REPLICAS_LIMIT = 1_000_000
_ATTEMPT_MAX = 1_000_000  # no search certifies as often


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many replicas, how large a batch, and how long a batch may wait to fill.

    Attributes:
        timer: since when `batch_wait_max_s` counts.
        queue_limit: waiting places of each queue, beside the room for a batch at each free replica; a
            request that finds neither is lost. None is no limit.
    """

    profile: str
    replicas: int
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    routing: Routing = Routing.ROUND_ROBIN
    timer: BatchTimer = BatchTimer.OLDEST
    queue_limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= REPLICAS_LIMIT:
            raise DomainError(f"replicas must be from 1 to {REPLICAS_LIMIT}, got {self.replicas}")
        if self.batch_size_max < 1:
            raise DomainError(f"batch_size_max must be >= 1, got {self.batch_size_max}")
        if not 0.0 <= self.batch_wait_max_s < math.inf:
            raise DomainError(f"batch_wait_max_s must be >= 0 and finite, got {self.batch_wait_max_s}")
        if self.queue_limit is not None and self.queue_limit < 0:
            raise DomainError(f"the queue limit must be 0 or more waiting places, got {self.queue_limit}")


class Limit(StrEnum):
    """What refused a plan."""

    STABILITY = "stability"
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
        """What a broken promise about this measure is called."""
        names = {Measure.WAIT: "wait", Measure.LOSS: "loss", Measure.UTILIZATION: "utilization"}
        return cls(names.get(measure, "latency"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A refusal with its numbers, in the unit of its limit.

    `stability` counts load (1 allowed); `service_floor`, `latency` and `wait` seconds at `quantile`, or
    of the mean where there is none; `loss` and `utilization` shares; `profile_range` requests in a batch;
    `replicas_max` replicas; `budget` simulated requests. `survival` counts in the unit of the promise that
    is broken when replicas are gone.

    Attributes:
        promise: what was broken, where a promise was.
        event: what happened to the fleet when it broke the promise; None for the whole fleet.
        is_loss: whether it counts in shares of lost requests, though the promise may be of a duration.
    """

    limit: Limit
    allowed: float
    needed: float
    promise: Promise | None = None
    event: str | None = None
    is_loss: bool = False

    @classmethod
    def of(cls, promise: Promise, needed: float, limit: Limit | None = None) -> Self:
        """Of a broken promise."""
        limit = limit or Limit.of(promise.measure)
        is_loss = promise.measure is Measure.LOSS
        return cls(limit=limit, allowed=promise.allowed, needed=needed, promise=promise, is_loss=is_loss)

    @classmethod
    def of_losses(cls, promise: Promise, lost: float) -> Self:
        """Of a promise that more requests are lost than it leaves to be late, or allows to be lost.

        Args:
            lost: share of the requests.
        """
        allowed = promise.allowed if promise.quantile is None else 1.0 - promise.quantile
        return cls(limit=Limit.LOSS, allowed=allowed, needed=lost, promise=promise, is_loss=True)

    @property
    def quantile(self) -> float | None:
        """Quantile of the promise that was broken."""
        return None if self.promise is None else self.promise.quantile


class Doubt(StrEnum):
    """Why a verdict is open, and so what would settle it."""

    REQUESTS = "requests"  # too few were simulated
    MARGIN = "margin"  # nearer to its limit than was asked to be told apart
    PROFILE = "profile"  # too few samples are behind the profile
    TRACE = "trace"  # one recording is all there is


class Verdict(StrEnum):
    """Whether the objective is met; what straddles it at the end of the budget is inconclusive."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return {Verdict.MET: 0, Verdict.MISSED: 3, Verdict.INCONCLUSIVE: 4}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plan that was considered, and what became of it.

    Attributes:
        rejection: why it was refused; None where accepted.
        performance: None where theory refused it before a simulation.
        settled: whether the simulation ran past ten relaxation times before it counted. One that did
            not understates a busy fleet: good enough to refuse on, never to accept on. Of a trace:
            whether it holds bursts enough for its interval to be believed of other days.
        doubt: why it is inconclusive; None where it is not.
        batch_size_largest: the largest batch that ever formed; None where unknown. A plan that only
            differs by a larger limit, which was never reached, serves the same batches.
        requests: how many requests were simulated for it; 0 where a law knew.
        is_precise: whether the interval of what binds is as narrow as was asked.
    """

    plan: Plan
    verdict: Verdict
    rejection: Rejection | None = None
    performance: Performance | None = None
    settled: bool = True
    doubt: Doubt | None = None
    batch_size_largest: int | None = None
    requests: int = 0
    is_precise: bool = True

    @property
    def accepted(self) -> bool:
        """Whether the plan keeps every objective, ends of intervals included."""
        return self.verdict is Verdict.MET


@dataclass(frozen=True, slots=True, kw_only=True)
class Survived:
    """A certified plan in one of the events that it must outlive.

    Attributes:
        event: what happened.
        plan: what was left of it.
        performance: of what was left, while the event lasted.
    """

    event: str
    plan: Plan
    performance: Performance


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate's bytes depend on beside the question and the effort.

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
    """How many candidates a search has dealt with, by how.

    Attributes:
        screened: refused or judged by theory alone.
        simulated: judged by simulation, in the whole fleet or in an event.
        certified: judged again, by a law or simulated with seeds of their own, accepted or not.
        requests: simulated in all.
    """

    screened: int = 0
    simulated: int = 0
    certified: int = 0
    requests: int = 0


# Share of a rate from which on what lies between the two ends of its headroom is worth a word.
_WIDE = 0.02
# Share of a rate below which there is next to no headroom.
_THIN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The largest rate found accepted, and the smallest above it found refused. [requests/s]

    Attributes:
        today_rps: the rate that was asked about.
        doubt: why rates between the two are open; None where none was tried that is.
    """

    today_rps: float
    accepted_rps: float
    refused_rps: float
    doubt: Doubt | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Whether much lies between the two."""
        return self.doubt is not None and self.refused_rps > self.accepted_rps * (1.0 + _WIDE)

    @property
    def is_thin(self) -> bool:
        """Whether little more traffic than today's is accepted."""
        return self.accepted_rps < self.today_rps * (1.0 + _THIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomRouting:
    """What a plan comes to where requests go to replicas at random.

    Attributes:
        replicas: that would keep the objective; None where none within the limits is known to.
        response_p99: of the recommended plan's replicas, lost requests counted as late; None where it has
            none. [s]
    """

    replicas: int | None
    response_p99: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer: the cheapest accepted plan, or why there is none, with everything considered.

    Attributes:
        plan: None where no plan was accepted.
        performance: of the plan, from runs with seeds of their own.
        headroom: how far the rate may rise; None where that was not asked, or there is no rate.
        random_routing: what random routing would take; None where that is no news.
        hourly_usd: price of the fleet; None where unknown.
        survived: the events that the plan must outlive, each with what becomes of it.
        without_survival: what would do if nothing had to be outlived; None where nothing has to be.
        under_poisson: what would do if as many requests arrived by chance alone; None where they do.
        tally: how many candidates were dealt with.
        certificate: how the plan can be certified again, to the byte; None where there is none.
    """

    verdict: Verdict
    objective: LatencyObjective
    plan: Plan | None = None
    performance: Performance | None = None
    headroom: Headroom | None = None
    random_routing: RandomRouting | None = None
    hourly_usd: float | None = None
    considered: tuple[Candidate, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    survived: tuple[Survived, ...] = ()
    without_survival: Self | None = None
    under_poisson: Self | None = None
    tally: Tally = Tally()
    certificate: Certificate | None = None

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """Largest rate tried that the plan still accepts. [requests/s]"""
        return None if self.headroom is None else self.headroom.accepted_rps
