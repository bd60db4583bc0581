"""Workload: an arrival process and its rate, or a closed population of users."""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.traffic.clients import Clients
from capacity.traffic.daily import DailyCurve

MMPP_RATIO_MAX = 1e6
# From what no clock resolves to thirty years.
MMPP_MEAN_MIN_S, MMPP_MEAN_MAX_S = 1e-9, 1e9
# Phases that switch this often between two arrivals look Poisson, and take ages to draw.
MMPP_SWITCHES_MAX = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonArrivals:
    """Poisson arrivals: exponential gaps, as from many independent users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeterministicArrivals:
    """Equal gaps between arrivals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaArrivals:
    """Renewal arrivals with gamma gaps of the given coefficient of variation (1 is Poisson)."""

    cv: float

    def __post_init__(self) -> None:
        if not 0.0 < self.cv <= 20.0:
            raise DomainError(f"cv of the gaps must be above 0 and at most 20, got {self.cv:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MmppArrivals:
    """Poisson arrivals whose rate switches at random times: bursts between calm stretches, MMPP(2).

    Bursts and calm stretches last exponential times, independent of the rate.

    Attributes:
        ratio: arrival rate in a burst over that in a calm stretch.
        burst_mean_s, calm_mean_s: mean length of each. [s]

    Source:
        Fischer & Meier-Hellstern (1993), Performance Evaluation 18(2), 149-171, "The Markov-modulated
        Poisson process (MMPP) cookbook".

    >>> bursty = MmppArrivals(ratio=5.0, burst_mean_s=100.0, calm_mean_s=100.0)
    >>> [round(rate_rps, 12) for rate_rps in bursty.rates_rps(0.9)], round(bursty.dispersion_index(0.9), 12)
    ([1.5, 0.3], 41.0)
    """

    ratio: float
    burst_mean_s: float
    calm_mean_s: float

    def __post_init__(self) -> None:
        if not 1.0 < self.ratio <= MMPP_RATIO_MAX:
            raise DomainError(
                f"ratio of mmpp must be above 1 and at most {MMPP_RATIO_MAX:g}, got {self.ratio:g}"
            )
        for name, mean_s in (("burst", self.burst_mean_s), ("calm", self.calm_mean_s)):
            if not MMPP_MEAN_MIN_S <= mean_s <= MMPP_MEAN_MAX_S:
                raise DomainError(
                    f"{name} of mmpp must last {MMPP_MEAN_MIN_S:g} to {MMPP_MEAN_MAX_S:g} s on average, "
                    f"got {mean_s:g} s"
                )

    @property
    def burst_share(self) -> float:
        """Share of time in bursts."""
        return self.burst_mean_s / (self.burst_mean_s + self.calm_mean_s)

    @property
    def switching_per_s(self) -> float:
        """Rate at which the phase is forgotten: the sum of both switching rates. [1/s]"""
        return 1.0 / self.burst_mean_s + 1.0 / self.calm_mean_s

    def rates_rps(self, arrival_rate_rps: float) -> tuple[float, float]:
        """Rates in a burst and in a calm stretch whose mean over time is the given rate."""
        calm_rps = arrival_rate_rps / (1.0 + self.burst_share * (self.ratio - 1.0))
        return self.ratio * calm_rps, calm_rps

    def dispersion_index(self, arrival_rate_rps: float, window_s: float = math.inf) -> float:
        """Variance over mean of the number of arrivals in a window; 1 is Poisson. [-]

        Args:
            window_s: length of the window; longer ones hold more of a burst.
        """
        burst, calm = self.rates_rps(1.0)
        spread = self.burst_share * (1.0 - self.burst_share) * (burst - calm) ** 2
        forgotten = window_s * self.switching_per_s
        held = 1.0 if math.isinf(forgotten) else 1.0 + math.expm1(-forgotten) / forgotten
        return 1.0 + 2.0 * spread * (arrival_rate_rps / self.switching_per_s) * held


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceArrivals:
    """Recorded instants: one path that happened once.

    Attributes:
        instants_s: rising instants from any origin, shape `(requests,)`. [s]
        name: name of the trace.
        remarks: what its reader decided, a clause each; they change no answer.
        path: path of its file as given; None without a file.
    """

    instants_s: tuple[float, ...] = field(repr=False)
    name: str = "trace"
    remarks: tuple[str, ...] = field(default=(), repr=False, compare=False)
    path: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.instants_s) < 2:
            found = "1 arrival" if self.instants_s else "no arrivals"
            raise InputError(f"{self.name} has {found}; a rate needs at least 2")
        if not all(a <= b for a, b in pairwise(self.instants_s)):  # also refuses NaN
            raise InputError(f"{self.name} is not sorted by time; sort it")
        if math.isinf(self.duration_s):
            raise InputError(f"{self.name} lasts too long to compute with; is the unit right?")
        if not self.duration_s > 0.0:
            raise InputError(f"{self.name} has no duration: its arrivals share one instant")

    @property
    def duration_s(self) -> float:
        """Time from the first arrival to the last. [s]"""
        return self.instants_s[-1] - self.instants_s[0]

    @property
    def rate_rps(self) -> float:
        """Number of gaps over the duration."""
        return (len(self.instants_s) - 1) / self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitArrivals:
    """Gamma or regular arrivals as one of several replicas gets them that are chosen at random.

    Each of its gaps is a geometric number of theirs, so that they are independent again.

    Attributes:
        base: the arrivals before the split.
        count: number of replicas, each as likely.

    Source:
        Cox (1962), Renewal Theory, sec. 8.3 (random selection from a renewal process).
    """

    base: DeterministicArrivals | GammaArrivals
    count: int

    def __post_init__(self) -> None:
        if self.count < 2:
            raise DomainError(f"a split is over 2 replicas or more, got {self.count}")

    @property
    def base_cv(self) -> float:
        """Coefficient of variation of the gaps before the split."""
        return self.base.cv if isinstance(self.base, GammaArrivals) else 0.0

    @property
    def scv(self) -> float:
        """Squared coefficient of variation of the gaps at one replica."""
        return 1.0 + (self.base_cv**2 - 1.0) / self.count


RenewalArrivals = PoissonArrivals | DeterministicArrivals | GammaArrivals | SplitArrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgingArrivals:
    """Renewal arrivals whose rate is multiplied, for good, from one request on.

    Attributes:
        before: number of requests that arrive at the workload's rate; the next gap is the first shorter one.
        factor: multiplier of the rate.
    """

    base: RenewalArrivals
    before: int
    factor: float

    def __post_init__(self) -> None:
        if self.before < 1:
            raise DomainError(f"before must be >= 1, got {self.before}")
        if not 0.0 < self.factor < math.inf:
            raise DomainError(f"factor must be positive and finite, got {self.factor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModulatedArrivals:
    """Bursty arrivals as one of several replicas sees them, in spells that may be cut short.

    Attributes:
        base: the arrivals within a burst and within a calm stretch, each at its own rate.
        spells_max_s: longest burst and calm stretch; infinite if uncut. The workload's rate stays the mean of the
            uncut process. [s]
    """

    bursts: MmppArrivals
    base: RenewalArrivals = field(default_factory=PoissonArrivals)
    spells_max_s: tuple[float, float] = (math.inf, math.inf)

    def __post_init__(self) -> None:
        if not min(self.spells_max_s) > 0.0:
            raise DomainError(f"spells must last longer than 0 s, got {self.spells_max_s}")


ArrivalProcess = RenewalArrivals | MmppArrivals | TraceArrivals | SurgingArrivals | ModulatedArrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An arrival rate and the process that arrivals follow, and the clients who send the requests.

    A trace is sped up or slowed down to the rate, which is that of requests, however often each is tried.

    Attributes:
        day: rates over a day, of which this is the highest, or the highest of a day that is scaled; None without one.
    """

    arrival_rate_rps: float
    arrivals: ArrivalProcess = field(default_factory=PoissonArrivals)
    day: DailyCurve | None = None
    clients: Clients = field(default_factory=Clients)

    def __post_init__(self) -> None:
        if not 0.0 < self.arrival_rate_rps < math.inf:
            raise DomainError(f"arrival rate must be positive and finite, got {self.arrival_rate_rps}")
        if self.switches_per_arrival > MMPP_SWITCHES_MAX:
            raise DomainError(
                f"mmpp switches {self.switches_per_arrival:.3g} times between two arrivals, above "
                f"{MMPP_SWITCHES_MAX:g}; use poisson, which is the same in practice, or longer bursts"
            )

    @property
    def size(self) -> float:
        """How much there is: the arrival rate. [requests/s]"""
        return self.arrival_rate_rps

    def sized(self, size: float) -> Self:
        """The same process at another rate; a trace is sped up or slowed down. [requests/s]"""
        return replace(self, arrival_rate_rps=size)

    @property
    def switches_per_arrival(self) -> float:
        """Mean number of rate switches between two arrivals."""
        if not isinstance(self.arrivals, MmppArrivals):
            return 0.0
        cycle_s = self.arrivals.burst_mean_s + self.arrivals.calm_mean_s
        return 2.0 / cycle_s / self.arrival_rate_rps


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPopulation:
    """A closed loop of users: each waits for the answer, thinks, and sends the next request.

    Attributes:
        users: number of users; each has at most one request in the system.
        think_time_s: mean of the exponential time from an answer to the next request. [s]
    """

    users: int
    think_time_s: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.users, bool) or not isinstance(self.users, int) or self.users < 1:
            raise DomainError(f"users must be a whole number >= 1, got {self.users!r}")
        if not 0.0 <= self.think_time_s < math.inf:
            raise DomainError(f"think_time_s must be >= 0 and finite, got {self.think_time_s}")

    @property
    def size(self) -> float:
        """How much there is: the number of users."""
        return float(self.users)

    def sized(self, size: float) -> Self:
        """The population of another number of users with the same think time."""
        return replace(self, users=round(size))

    def require_thought(self, *, rejects: bool) -> None:
        """Refuse users who send again as soon as a full queue rejects them.

        Args:
            rejects: whether a full queue does.

        Raises:
            DomainError: there is a queue limit and no think time.
        """
        if rejects and self.think_time_s == 0.0:
            raise DomainError(
                "users whom a full queue rejects think before they send again, and without a think time they would "
                "send for ever at one instant; give --think-time, or leave out --queue-limit"
            )

    def lost_min(self, served_rps: float, places: float) -> float:
        """Lower bound of the share of requests that full queues reject.

        Users whom a full queue rejects think and send again. All but those in the system think, so requests come at
        the rate (N - n)/Z at least, and are served at no more than the capacity.

        Args:
            served_rps: capacity of the fleet. [requests/s]
            places: most requests in the system.
        """
        outside = self.users - places
        return max(0.0, 1.0 - served_rps * self.think_time_s / outside) if outside > 0 else 0.0


Demand = Workload | ClosedPopulation


def is_trace(demand: Demand) -> bool:
    """Whether the demand is one recorded path, which cannot be made longer."""
    return isinstance(demand, Workload) and isinstance(demand.arrivals, TraceArrivals)


def remarks_of(demand: Demand) -> tuple[str, ...]:
    """What the reader of a trace decided; empty for other demands."""
    return (
        demand.arrivals.remarks
        if isinstance(demand, Workload) and isinstance(demand.arrivals, TraceArrivals)
        else ()
    )


def is_patient(demand: Demand) -> bool:
    """Whether every request is tried once and waited for; users in a closed loop always wait."""
    return isinstance(demand, ClosedPopulation) or demand.clients.is_patient
