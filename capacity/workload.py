"""Workload: how requests arrive."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from capacity.errors import DomainError, InputError
from capacity.objective import TIERS as TIERS  # what is promised belongs to what is asked
from capacity.objective import LatencyObjective as LatencyObjective


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonArrivals:
    """Independent users: exponential gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeterministicArrivals:
    """A metronome: equal gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaArrivals:
    """Renewal arrivals with gamma gaps of the given coefficient of variation (1 is Poisson)."""

    cv: float

    def __post_init__(self) -> None:
        if not 0.0 < self.cv <= 20.0:
            raise DomainError(f"cv of the gaps must be above 0 and at most 20, got {self.cv:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceArrivals:
    """Recorded instants, one path that happened once.

    Attributes:
        instants_s: rising instants from any origin, shape `(requests,)`. [s]
        name: what to call the trace.
    """

    instants_s: tuple[float, ...] = field(repr=False)
    name: str = "trace"

    def __post_init__(self) -> None:
        if len(self.instants_s) < 2:
            raise InputError(f"{self.name} has {len(self.instants_s)} arrivals; a rate needs at least 2")
        if not all(a <= b for a, b in pairwise(self.instants_s)):  # also refuses NaN
            raise InputError(f"{self.name} is not sorted by time; sort it")
        if not self.duration_s > 0.0 or math.isinf(self.duration_s):
            raise InputError(f"{self.name} has no duration: its arrivals share one instant")

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last. [s]"""
        return self.instants_s[-1] - self.instants_s[0]

    @property
    def rate_rps(self) -> float:
        """Gaps over duration."""
        return (len(self.instants_s) - 1) / self.duration_s


RenewalArrivals = PoissonArrivals | DeterministicArrivals | GammaArrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgingArrivals:
    """Renewal arrivals whose rate is multiplied, once and for all, from the arrival of one request on.

    Attributes:
        before: requests that arrive at the workload's rate; the next gap is the first of the shorter ones.
        factor: what the rate is multiplied by.
    """

    base: RenewalArrivals
    before: int
    factor: float

    def __post_init__(self) -> None:
        if self.before < 1:
            raise DomainError(f"before must be >= 1, got {self.before}")
        if not 0.0 < self.factor < math.inf:
            raise DomainError(f"factor must be positive and finite, got {self.factor}")


ArrivalProcess = RenewalArrivals | TraceArrivals | SurgingArrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An arrival rate and the process that the arrivals follow; a trace is sped up or slowed to the rate."""

    arrival_rate_rps: float
    arrivals: ArrivalProcess = field(default_factory=PoissonArrivals)

    def __post_init__(self) -> None:
        if not 0.0 < self.arrival_rate_rps < math.inf:
            raise DomainError(f"arrival rate must be positive and finite, got {self.arrival_rate_rps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPopulation:
    """A closed load test: users who each wait for the answer, think, and ask again.

    Attributes:
        users: how many; each has at most one request in the system.
        think_time_s: mean of the exponential time from an answer to the next request. [s]
    """

    users: int
    think_time_s: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.users, bool) or not isinstance(self.users, int) or self.users < 1:
            raise DomainError(f"users must be a whole number >= 1, got {self.users!r}")
        if not 0.0 <= self.think_time_s < math.inf:
            raise DomainError(f"think_time_s must be >= 0 and finite, got {self.think_time_s}")


Demand = Workload | ClosedPopulation
