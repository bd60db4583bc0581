"""M/D/c: Poisson arrivals share one line in front of c servers that all take the same time."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.numerics.tail import quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.domain import QUANTILES, before_zero, require_count, require_positive, require_quantile
from capacity.queues.erlang import require_stable
from capacity.queues.general.backlog import Backlog

SERVERS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MDc:
    """M/D/c in steady state; what cannot reach one is refused with the smallest mend.

    Those who are in service now are gone one service time later, and nobody who comes meanwhile is:
    the number in the system is a waiting line looked at once a service time (`Backlog`). Everything is
    a sum of positive terms, right to the last digits however rare a wait is.

    Raises:
        DomainError: a rate or a time that is not positive and finite; servers not in 1..20000.
        UnstableError: utilization >= 1, up to the rounding of rate and time.

    Source:
        Crommelin (1932), Post Office Electrical Engineers' Journal 25; Franx (2001), Operations
        Research Letters 29(5), "A simple solution for the M/D/c waiting time distribution".

    Assumes:
        Poisson arrivals, one fixed service time, FIFO, unlimited queue, steady state.

    >>> queue = MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5)
    >>> round(queue.wait_probability, 4), round(queue.response_mean_s, 4)
    (0.5336, 0.6445)
    """

    arrival_rate_rps: float
    service_time_s: float
    servers: int
    offered_load: float = field(init=False, repr=False, compare=False)
    _backlog: Backlog = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_positive("service_time_s", self.service_time_s)
        require_stable(self.arrival_rate_rps, 1.0 / self.service_time_s, self.servers)
        exact = Fraction(self.arrival_rate_rps) * Fraction(self.service_time_s)
        load, spare = float(exact), float(self.servers - exact)
        object.__setattr__(self, "offered_load", load)
        object.__setattr__(self, "_backlog", Backlog(load=load, spare=spare, servers=self.servers))

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.offered_load / self.servers

    @property
    def wait_probability(self) -> float:
        """P(W > 0); Crommelin (1934), Post Office Electrical Engineers' Journal 26."""
        return self._backlog.busy_probability

    @property
    def empty_probability(self) -> float:
        """P(N = 0): nobody was waiting a service time ago, and nobody came since."""
        return self._backlog.none_probability * math.exp(-self.offered_load)

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service."""
        return self._backlog.mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load + self.queue_length_mean

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law from the mean number waiting."""
        return self.queue_length_mean / self.arrival_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return self.service_time_s + self.wait_mean_s

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        With k services ending after t, (k-1) D <= t < k D: a wait outlasts t where those waiting a
        moment k D earlier than its end, and those who came before it in the rest of that time, fill
        k rounds of servers, P(W > t) = P(Y + Poisson(lambda (k D - t)) >= k c).

        Source:
            Franx (2001), theorem 1, its complement.

        >>> round(MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5).wait_tail(0.25), 4)
        0.2243
        """
        return 1.0 if before_zero(time_s) else self._backlog.wait_tail(time_s / self.service_time_s)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> queue = MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5)
        >>> queue.wait_quantile_s(0.4), round(queue.wait_quantile_s(0.99), 4)
        (0.0, 0.9687)
        """
        require_quantile(quantile)
        scale = -math.log1p(-quantile) / self._backlog.decay
        return quantile_of(self._backlog.wait_tail, quantile, scale) * self.service_time_s

    def response_tail(self, time_s: float) -> float:
        """P(T > t), a wait and the fixed service: 1 before t = D. [dimensionless]

        >>> round(MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5).response_tail(0.75), 4)
        0.2243
        """
        if before_zero(time_s) or time_s < self.service_time_s:
            return 1.0
        return self._backlog.wait_tail((time_s - self.service_time_s) / self.service_time_s)

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within, D at the least. [s]

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Returns:
            Seconds, scalar.

        Raises:
            DomainError: quantile is not in (0, 1).

        Source:
            Franx (2001), theorem 1, shifted by the service time.

        Assumes:
            Poisson arrivals, one fixed service time, FIFO, steady state.

        >>> round(MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5).response_quantile_s(0.99), 4)
        1.4687
        """
        return self.service_time_s + self.wait_quantile_s(quantile)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> queue = MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5)
        >>> round(queue.performance().response_quantiles_s[0.99].value, 4)
        1.4687
        """
        waits = {q: self.wait_quantile_s(q) for q in quantiles}
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
            wait_quantiles_s={q: Interval.exact(wait) for q, wait in waits.items()},
            response_quantiles_s={q: Interval.exact(self.service_time_s + wait) for q, wait in waits.items()},
        )
