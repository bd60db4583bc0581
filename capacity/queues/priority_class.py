"""Priority class: one class of requests, or all of them, in a system whose servers all classes share."""

import math
from dataclasses import dataclass, field

from capacity.numerics.tail import quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.domain import QUANTILES, before_zero, require_quantile
from capacity.queues.priority_wait import PriorityWait


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityClass:
    """The steady state of one class of `Priority`, or of all requests together; `Priority` makes it.

    Arrivals, waits, responses and mean numbers are those of the class; load, utilization and the
    probability that the system is empty are the whole system's.

    Attributes:
        load: of the whole system.
        wait_probability: P(W > 0), the same for every class.
        wait: the law of a wait that is not 0.
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    load: float
    wait_probability: float
    empty_probability: float
    wait_mean_s: float
    wait: PriorityWait = field(repr=False)

    @property
    def offered_load(self) -> float:
        """Arrival rate of the class x mean service time. [erlang]"""
        return self.arrival_rate_rps / self.service_rate_rps

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy, with any class."""
        return self.load

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return self.wait_mean_s + 1.0 / self.service_rate_rps

    @property
    def queue_length_mean(self) -> float:
        """Mean number of the class waiting."""
        return self.arrival_rate_rps * self.wait_mean_s

    @property
    def in_system_mean(self) -> float:
        """Mean number of the class waiting or in service."""
        return self.queue_length_mean + self.offered_load

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]

        >>> from capacity.queues.priority import Priority
        >>> first, second = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2).classes
        >>> round(first.wait_tail(0.5), 4), round(second.wait_tail(0.5), 4)
        (0.1434, 0.4195)
        """
        return 1.0 if before_zero(time_s) else self._wait_tail(self.service_rate_rps * time_s)

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        >>> from capacity.queues.priority import Priority
        >>> first, second = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2).classes
        >>> round(first.response_tail(0.5), 4), round(second.response_tail(0.5), 4)
        (0.554, 0.6844)
        """
        return 1.0 if before_zero(time_s) else self._response_tail(self.service_rate_rps * time_s)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of the class stays within; 0.0 where so many need none. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> from capacity.queues.priority import Priority
        >>> first, second = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2).classes
        >>> round(first.wait_quantile_s(0.99), 4), round(second.wait_quantile_s(0.99), 4)
        (1.3878, 5.9751)
        """
        require_quantile(quantile)
        if self.wait_probability <= 1.0 - quantile:
            return 0.0
        scale = self.wait_mean_s * self.service_rate_rps
        return quantile_of(self._wait_tail, quantile, scale) / self.service_rate_rps

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of the class stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> from capacity.queues.priority import Priority
        >>> first, second = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2).classes
        >>> round(first.response_quantile_s(0.99), 4), round(second.response_quantile_s(0.99), 4)
        (2.6966, 6.5841)
        """
        require_quantile(quantile)
        scale = self.response_mean_s * self.service_rate_rps
        return quantile_of(self._response_tail, quantile, scale) / self.service_rate_rps

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this class as the answer that simulation and measurement give too."""
        return Performance(
            kind=Kind.EXACT,
            load=self.load,
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

    def _wait_tail(self, time: float) -> float:
        return self.wait_probability * self.wait.tail(self.servers * time)

    def _response_tail(self, time: float) -> float:
        if time == math.inf:
            return 0.0
        return math.exp(-time) + self.wait_probability * self.wait.in_service_tail(time, self.servers)
