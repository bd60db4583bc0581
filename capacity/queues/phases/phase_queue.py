"""PhaseQueue: what queues with arrivals and services in phases have in common, whatever the phases mean."""

from dataclasses import dataclass, field
from fractions import Fraction

from capacity.errors import DomainError
from capacity.numerics.tail import quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.domain import QUANTILES, before_zero, require_count, require_quantile
from capacity.queues.durations import Duration
from capacity.queues.phases.occupancy import PhaseService
from capacity.queues.phases.qbd import MarkovArrivals, Waits, require_states, solve

RATIO_MAX = 1e100  # of a rate to the service rate and back: products of two fit a double
SERVERS_MAX = 10_000  # some seconds for one phase of service; the states limit more phases before


def require_servers(servers: int) -> None:
    """Refuse numbers of servers whose levels are too many to go through."""
    require_count("servers", servers, most=SERVERS_MAX)


def require_phases(arrival_phases: int, service: Duration, servers: int) -> None:
    """Refuse services without phases and queues with too many of them."""
    if not isinstance(service, Duration):
        raise DomainError(f"service must be a Duration, got {service!r}")
    if service.variability > RATIO_MAX:
        raise DomainError(f"scv must be <= {RATIO_MAX:g}, got {service.variability!r}")
    require_states(arrival_phases, PhaseService.count(service), servers)


def per_service(rate: float, service_rate: Fraction) -> float:
    """A rate in the unit of the service rate."""
    ratio = Fraction(rate) / service_rate
    if ratio != 0 and not 1 / Fraction(RATIO_MAX) <= ratio <= RATIO_MAX:
        raise DomainError(
            f"rates must be within a factor {RATIO_MAX:g} of the service rate, got {rate!r} "
            f"on {float(service_rate):g} per s"
        )
    return float(ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseQueue:
    """Steady state of a queue that its subclass has put into phases.

    Probabilities of a wait are as arrivals meet the queue, `empty_probability` and the mean numbers
    are shares and means over time; the two differ where arrivals are not Poisson.
    """

    offered_load: float = field(init=False, repr=False, compare=False)
    utilization: float = field(init=False, repr=False, compare=False)
    _throughput_rps: float = field(init=False, repr=False, compare=False)
    _service_mean_s: float = field(init=False, repr=False, compare=False)
    _waits: Waits = field(init=False, repr=False, compare=False)

    def _settle(
        self, arrivals: MarkovArrivals, service: Duration, servers: int, load: Fraction, rate_rps: float
    ) -> None:
        """Solve the queue once, with c - a rounded once: 1 - rho would cost digits near 1."""
        for name, value in (
            ("offered_load", float(load)),
            ("utilization", float(load / servers)),
            ("_throughput_rps", rate_rps),
            ("_service_mean_s", service.mean_s),
            ("_waits", solve(arrivals, PhaseService.of(service), servers, float(servers - load))),
        ):
            object.__setattr__(self, name, value)

    @property
    def wait_probability(self) -> float:
        """P(W > 0), as arrivals meet it."""
        return self._waits.wait_probability

    @property
    def empty_probability(self) -> float:
        """P(N = 0), as a share of time."""
        return self._waits.empty_probability

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service, by Little's law."""
        return self._waits.wait_mean * self.offered_load

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return (1.0 + self._waits.wait_mean) * self.offered_load

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return self._waits.wait_mean * self._service_mean_s

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return (1.0 + self._waits.wait_mean) * self._service_mean_s

    def wait_tail(self, time_s: float) -> float:
        """P(W > t) of an arriving request; 1 before t = 0. [dimensionless]

        The wait is of phase type: the age of the oldest request that waits, seen at its start of service.

        Raises:
            DomainError: time_s is NaN.

        Source:
            Sengupta (1989), Advances in Applied Probability 21(1), 159-180; Asmussen & Moller (2001),
            Queueing Systems 37, 9-29.

        >>> from capacity.queues.durations import Family
        >>> from capacity.queues.mphc import MPHc
        >>> service = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0)
        >>> queue = MPHc(arrival_rate_rps=1.6, service=service, servers=2)
        >>> round(queue.wait_tail(3.0), 6)
        0.391578
        """
        return self._waits.wait_tail(time_s / self._service_mean_s) if not before_zero(time_s) else 1.0

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> from capacity.queues.durations import Family
        >>> from capacity.queues.mphc import MPHc
        >>> service = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0)
        >>> queue = MPHc(arrival_rate_rps=1.6, service=service, servers=2)
        >>> queue.wait_quantile_s(0.1), round(queue.wait_quantile_s(0.99), 6)
        (0.0, 28.809933)
        """
        require_quantile(quantile)
        return quantile_of(self._waits.wait_tail, quantile, 1.0) * self._service_mean_s

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        The phases of the request's own service, which knows nothing of its wait, follow those of the wait.

        Raises:
            DomainError: time_s is NaN.

        Source:
            Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, theorem 2.2.2.

        >>> from capacity.queues.durations import Family
        >>> from capacity.queues.mphc import MPHc
        >>> service = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0)
        >>> queue = MPHc(arrival_rate_rps=1.6, service=service, servers=2)
        >>> round(queue.response_tail(3.0), 6)
        0.468161
        """
        return self._waits.response_tail(time_s / self._service_mean_s) if not before_zero(time_s) else 1.0

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        False position on log P(T > t).

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Returns:
            Seconds, scalar.

        Raises:
            DomainError: quantile is not in (0, 1).

        Source:
            As `response_tail`.

        Assumes:
            FIFO, steady state.

        >>> from capacity.queues.durations import Family
        >>> from capacity.queues.mphc import MPHc
        >>> service = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0)
        >>> queue = MPHc(arrival_rate_rps=1.6, service=service, servers=2)
        >>> round(queue.response_quantile_s(0.99), 6)
        30.437232
        """
        require_quantile(quantile)
        return quantile_of(self._waits.response_tail, quantile, 1.0) * self._service_mean_s

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> from capacity.queues.durations import Family
        >>> from capacity.queues.mphc import MPHc
        >>> service = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0)
        >>> queue = MPHc(arrival_rate_rps=1.6, service=service, servers=2)
        >>> round(queue.performance().response_quantiles_s[0.99].value, 6)
        30.437232
        """
        return Performance(
            kind=Kind.EXACT,
            load=self.utilization,
            utilization=self.utilization,
            offered_load=self.offered_load,
            throughput_rps=self._throughput_rps,
            wait_probability=self.wait_probability,
            empty_probability=self.empty_probability,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
            wait_mean_s=self.wait_mean_s,
            response_mean_s=self.response_mean_s,
            wait_quantiles_s={q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles},
            response_quantiles_s={q: Interval.exact(self.response_quantile_s(q)) for q in quantiles},
        )
