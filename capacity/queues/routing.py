"""Routing: what it costs that each replica has its own queue, for routers that look at no queue.

Routers that do look: `PowerOfChoices` and `ShortestQueue`, which are named here, too.
"""

import math
from dataclasses import dataclass, field, replace

from capacity.performance import Interval, Kind, Performance
from capacity.queues.durations import Duration, Family
from capacity.queues.general.gimc import GIMc
from capacity.queues.markov.erlang import exact_load, require_stable
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.shortest_queue import ShortestQueue
from capacity.units import QUANTILES, before_zero, require_count, require_quantile

__all__ = ["PowerOfChoices", "RandomSplit", "RoundRobin", "ShortestQueue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSplit:
    """Each arrival goes to one of N replicas at random: N independent M/M/1.

    Raises:
        DomainError: a rate that is not positive and finite; replicas not an integer >= 1.
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, sec. 3.2; splitting: Kingman (1993), Poisson
        Processes, sec. 5.1.

    Assumes:
        Poisson arrivals, exponential service, FIFO in each queue, steady state.

    >>> queue = RandomSplit(arrival_rate_rps=32.0, service_rate_rps=10.0, replicas=4)
    >>> round(queue.response_mean_s, 12), round(queue.response_quantile_s(0.99), 3)
    (0.5, 2.303)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    replicas: int
    utilization: float = field(init=False, repr=False, compare=False)
    _spare_share: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("replicas", self.replicas)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.replicas)
        exact = exact_load(self.arrival_rate_rps, self.service_rate_rps) / self.replicas
        object.__setattr__(self, "utilization", float(exact))
        object.__setattr__(self, "_spare_share", float(1 - exact))

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.arrival_rate_rps / self.service_rate_rps

    @property
    def wait_probability(self) -> float:
        """P(W > 0)."""
        return self.utilization

    @property
    def empty_probability(self) -> float:
        """P(all replicas are empty)."""
        return self._spare_share**self.replicas

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting in all queues together."""
        return self.utilization * self.in_system_mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service at all replicas together."""
        return self.offered_load / self._spare_share

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return self.utilization * self.response_mean_s

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return 1.0 / self._spare_share / self.service_rate_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]"""
        return 1.0 if before_zero(time_s) else self.utilization * self.response_tail(time_s)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        require_quantile(quantile)
        return max(0.0, math.log(self.utilization) - math.log1p(-quantile)) * self.response_mean_s

    def response_tail(self, time_s: float) -> float:
        """P(T > t); 1 before t = 0. [dimensionless]"""
        if before_zero(time_s):
            return 1.0
        return math.exp(-self._spare_share * (self.service_rate_rps * time_s))

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        require_quantile(quantile)
        return -math.log1p(-quantile) * self.response_mean_s

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this routing as the answer that simulation and measurement give too.

        >>> queue = RandomSplit(arrival_rate_rps=32.0, service_rate_rps=10.0, replicas=4)
        >>> round(queue.performance().in_system_mean, 12)
        16.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin:
    """Arrivals go to N replicas in turn: each is E_N/M/1, as every N-th gap ends there.

    Raises:
        DomainError: a rate that is not positive and finite; replicas not an integer >= 1.
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, ch. 6 (G/M/1) at sigma = (1 + (1 - sigma) / (N rho))^-N.

    Assumes:
        Poisson arrivals, exponential service, FIFO in each queue, steady state.

    >>> queue = RoundRobin(arrival_rate_rps=32.0, service_rate_rps=10.0, replicas=4)
    >>> round(queue.response_mean_s, 4), round(queue.response_quantile_s(0.99), 4)
    (0.3267, 1.5047)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    replicas: int
    _replica: GIMc = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("replicas", self.replicas)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.replicas)
        gap = Duration(
            family=Family.GAMMA,  # Erlang of N stages, but N may pass 10000
            mean_s=self.replicas / self.arrival_rate_rps,
            scv=1.0 / self.replicas,
        )
        object.__setattr__(
            self, "_replica", GIMc(arrival=gap, service_rate_rps=self.service_rate_rps, servers=1)
        )

    @property
    def utilization(self) -> float:
        """Share of time that a replica is busy."""
        return self._replica.utilization

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.arrival_rate_rps / self.service_rate_rps

    @property
    def wait_probability(self) -> float:
        """P(W > 0) = sigma."""
        return self._replica.wait_probability

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting in all queues together."""
        return self.replicas * self._replica.queue_length_mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service at all replicas together."""
        return self.replicas * self._replica.in_system_mean

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return self._replica.wait_mean_s

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return self._replica.response_mean_s

    def wait_tail(self, time_s: float) -> float:
        """P(W > t); 1 before t = 0. [dimensionless]"""
        return self._replica.wait_tail(time_s)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        return self._replica.wait_quantile_s(quantile)

    def response_tail(self, time_s: float) -> float:
        """P(T > t) = e^-mu (1 - sigma) t; 1 before t = 0. [dimensionless]"""
        return self._replica.response_tail(time_s)

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        return self._replica.response_quantile_s(quantile)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this routing as the answer that simulation and measurement give too.

        >>> queue = RoundRobin(arrival_rate_rps=32.0, service_rate_rps=10.0, replicas=4)
        >>> round(queue.performance().wait_probability, 4)
        0.6939
        """
        return replace(
            self._replica.performance(quantiles),
            offered_load=self.offered_load,
            throughput_rps=self.arrival_rate_rps,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
        )
