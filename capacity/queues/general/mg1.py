"""M/G/1: Poisson arrivals, one server, service times of any law."""

from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from capacity.errors import DomainError
from capacity.performance import Interval, Kind, Performance
from capacity.queues.durations import Duration
from capacity.queues.general.mg1_wait import Empirical, Road, road_for, tail_bounds
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.tail import quantile_of
from capacity.units import QUANTILES, before_zero, require_count, require_positive, require_quantile

_STEPS_MAX = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class MG1:
    """M/G/1 in steady state; what cannot reach one is refused with the smallest mend.

    The means are Pollaczek and Khinchine's. The law of the wait is a closed mixture of exponentials
    for exponential and hyper-exponential service, Franx's sum of positive terms for deterministic
    service, and a Fourier series for gamma, Erlang, lognormal and measured service, which is right to
    about ten digits or more down to tails of 1e-6 (`roads`, `smooth`, `rough`). `wait_bounds` gives
    proved bounds beside it.

    Raises:
        DomainError: a rate that is not positive and finite, a service that is no law.
        UnstableError: utilization >= 1, up to the rounding of rate and mean.

    Source:
        Pollaczek (1930), Mathematische Zeitschrift 32; Khinchine (1932), Matematicheskii Sbornik 39;
        Kleinrock (1975), Queueing Systems vol. 1, ch. 5.

    Assumes:
        Poisson arrivals, independent service times, FIFO, unlimited queue, steady state.

    >>> from capacity.queues.durations import Family
    >>> service = Duration(family=Family.LOGNORMAL, mean_s=0.1, scv=2.0)
    >>> queue = MG1(arrival_rate_rps=8.0, service=service)
    >>> round(queue.wait_mean_s, 6), round(queue.response_quantile_s(0.99), 4)
    (0.6, 4.0024)
    """

    arrival_rate_rps: float
    service: Duration | Empirical
    utilization: float = field(init=False, repr=False, compare=False)
    _spare: float = field(init=False, repr=False, compare=False)
    _road: Road = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.service, (Duration, Empirical)):
            raise DomainError(f"service must be a Duration or an Empirical, got {self.service!r}")
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_stable(self.arrival_rate_rps, 1.0 / self.service.mean_s, 1)
        exact = Fraction(self.arrival_rate_rps) * Fraction(self.service.mean_s)
        rho, spare = float(exact), float(1 - exact)
        for name, value in (
            ("utilization", rho),
            ("_spare", spare),
            ("_road", road_for(self.service, rho, spare)),
        ):
            object.__setattr__(self, name, value)

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.utilization

    @property
    def empty_probability(self) -> float:
        """P(N = 0)."""
        return self._spare

    @property
    def wait_probability(self) -> float:
        """P(W > 0): Poisson arrivals see the server busy as often as it is (PASTA, Wolff 1982)."""
        return self.utilization

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without the one in service."""
        return self.utilization * self._wait_mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.utilization * (1.0 + self._wait_mean)

    @property
    def wait_mean_s(self) -> float:
        """Mean wait lambda E S^2 / (2 (1 - rho)): Pollaczek and Khinchine."""
        return self._wait_mean * self.service.mean_s

    @property
    def wait_squared_mean_s2(self) -> float:
        """E W^2 = 2 (E W)^2 + lambda E S^3 / (3 (1 - rho)); Kleinrock (1975), sec. 5.7. [s^2]"""
        third = self.service.moment(3) / self.service.mean_s**3
        square = 2.0 * self._wait_mean**2 + self.utilization * third / (3.0 * self._spare)
        return square * self.service.mean_s**2

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return (1.0 + self._wait_mean) * self.service.mean_s

    @property
    def _wait_mean(self) -> float:
        return self.utilization * (1.0 + self.service.variability) / (2.0 * self._spare)

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        >>> from capacity.queues.durations import Family
        >>> service = Duration(family=Family.DETERMINISTIC, mean_s=1.0)
        >>> round(MG1(arrival_rate_rps=0.5, service=service).wait_tail(1.0), 4)
        0.1756
        """
        return self._road.wait_tail(time_s / self.service.mean_s) if not before_zero(time_s) else 1.0

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        Source:
            Brill & Posner (1977), Operations Research 25(4): P(T > t) = P(W > t) + w(t) / lambda.

        >>> from capacity.queues.durations import Family
        >>> service = Duration(family=Family.EXPONENTIAL, mean_s=0.1)
        >>> round(MG1(arrival_rate_rps=8.0, service=service).response_tail(1.0), 4)
        0.1353
        """
        return self._road.response_tail(time_s / self.service.mean_s) if not before_zero(time_s) else 1.0

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> from capacity.queues.durations import Family
        >>> queue = MG1(arrival_rate_rps=5.0, service=Duration(family=Family.GAMMA, mean_s=0.1, scv=2.0))
        >>> queue.wait_quantile_s(0.5), round(queue.wait_quantile_s(0.99), 4)
        (0.0, 1.2302)
        """
        require_quantile(quantile)
        # near the atom at 0 the density is rho (1 - rho), and the answer may be far below the mean
        above = max(1e-16, 1.0 - (1.0 - quantile) / self.utilization)
        scale = min(above, (1.0 + self.service.variability) / 2.0) / self._spare
        return quantile_of(self._road.wait_tail, quantile, scale) * self.service.mean_s

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Where the service law has masses, the answer may be one of them exactly.

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Returns:
            Seconds, scalar.

        Raises:
            DomainError: quantile is not in (0, 1).

        Source:
            Kleinrock (1975), Queueing Systems vol. 1, sec. 5.7; Brill & Posner (1977).

        Assumes:
            Poisson arrivals, independent service times, FIFO, steady state.

        >>> from capacity.profile.distribution import from_samples
        >>> queue = MG1(arrival_rate_rps=1.0, service=Empirical(law=from_samples([0.1, 0.1, 0.3])))
        >>> queue.response_quantile_s(0.5), round(queue.response_quantile_s(0.99), 4)
        (0.1, 0.552)
        """
        require_quantile(quantile)
        tail, atoms = self._road.response_tail, self._road.atoms
        reached = bisect_left(atoms, 1, key=lambda atom: int(tail(float(atom)) <= 1.0 - quantile))
        near = [float(atom) for atom in atoms[reached : reached + 1]]
        return quantile_of(tail, quantile, 1.0 + self._wait_mean, atoms=near) * self.service.mean_s

    def wait_bounds(self, time_s: float, steps: int = 2**14) -> tuple[float, float]:
        """Proved lower and upper bound of P(W > t), a share of about 1 / steps apart. [dimensionless]

        Independent of `wait_tail`: the residual service times are rounded down and up to a lattice of
        t / steps, and their geometric sum is found by one fast Fourier transform.

        Args:
            steps: lattice steps from 0 to t, 1 at least.

        Raises:
            DomainError: steps is not an integer from 1 to 2^20.

        Source:
            Dufresne & Gerber (1989), ASTIN Bulletin 19(1), 71-90.

        >>> from capacity.queues.durations import Family
        >>> queue = MG1(arrival_rate_rps=8.0, service=Duration(family=Family.EXPONENTIAL, mean_s=0.1))
        >>> low, high = queue.wait_bounds(1.0)
        >>> low < queue.wait_tail(1.0) < high, high - low < 1e-3
        (True, True)
        """
        require_count("steps", steps, most=_STEPS_MAX)
        if before_zero(time_s):
            return 1.0, 1.0
        lattice = np.asarray(np.arange(steps + 2) * (time_s / self.service.mean_s / steps))
        return tail_bounds(self._road.residual_tail(lattice), self.utilization)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> from capacity.queues.durations import Family
        >>> service = Duration(family=Family.DETERMINISTIC, mean_s=0.1)
        >>> MG1(arrival_rate_rps=5.0, service=service).performance().response_mean_s
        0.15000000000000002
        """
        return Performance(
            kind=Kind.EXACT,
            load=self.utilization,
            utilization=self.utilization,
            offered_load=self.offered_load,
            throughput_rps=self.arrival_rate_rps,
            wait_probability=self.wait_probability,
            empty_probability=self.empty_probability,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
            wait_mean_s=self.wait_mean_s,
            response_mean_s=self.response_mean_s,
            wait_quantiles_s={q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles},
            response_quantiles_s={q: Interval.exact(self.response_quantile_s(q)) for q in quantiles},
        )
