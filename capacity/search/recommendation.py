"""Recommendation: the cheapest accepted plan, or why there is none, with everything considered."""

from dataclasses import dataclass
from typing import Self

from capacity.errors import DomainError
from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate, Doubt, LikeIt, Verdict
from capacity.question.caveat import Caveat
from capacity.question.objective import Objective
from capacity.question.plan import Plan

_ATTEMPT_MAX = 1_000_000  # no search confirms as often


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


# Share of a rate up to which the two ends of its headroom are one answer, and from which on the distance between them
# is worth a note.
DECIDED, _WIDE = 0.02, 0.10
# Share of a rate below which there is hardly any headroom.
_THIN = 0.05


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
        return self.refused_rps <= self.accepted_rps * (1.0 + DECIDED)

    @property
    def is_in_doubt(self) -> bool:
        """Whether much lies between the two."""
        return self.doubt is not None and self.refused_rps > self.accepted_rps * (1.0 + _WIDE)

    @property
    def is_thin(self) -> bool:
        """Whether hardly more traffic than today's is accepted."""
        return self.accepted_rps < self.today_rps * (1.0 + _THIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomRouting:
    """What becomes of a plan under random routing.

    Attributes:
        replicas: that would meet the objective; None if no number within the limits is known to.
        response_p99: of the recommended plan's replicas, counting lost requests as late; None if it has
            none. [s]
    """

    replicas: int | None
    response_p99: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
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
    """

    verdict: Verdict
    objective: Objective
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
    like_it: LikeIt | None = None

    @property
    def arrival_rate_max_rps(self) -> float | None:
        """Largest rate tried that the plan still accepts. [requests/s]"""
        return None if self.headroom is None else self.headroom.accepted_rps
