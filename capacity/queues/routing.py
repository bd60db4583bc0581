"""Routing: laws of fleets with a queue for each replica, for routers that do not look at queues.

Routers that do look, `PowerOfChoices` and `ShortestQueue`, are named here too.
"""

import math
from dataclasses import dataclass, field

from capacity.queues.durations import Duration, Family
from capacity.queues.general.gimc import GIMc
from capacity.queues.law import LawAtRate, settle
from capacity.queues.markov.erlang import exact_load, require_stable
from capacity.queues.markov.mmc import ExponentialWait
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.shortest_queue import ShortestQueue
from capacity.units import require_count

__all__ = ["PowerOfChoices", "RandomSplit", "RoundRobin", "ShortestQueue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSplit(LawAtRate):
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
        settle(self, utilization=float(exact), _spare_share=float(1 - exact))

    @property
    def wait_probability(self) -> float:
        """P(W > 0)."""
        return self.utilization

    @property
    def empty_probability(self) -> float:
        """P(all replicas are empty)."""
        return self._spare_share**self.replicas

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
        return self._response_mean / self.service_rate_rps

    @property
    def _response_mean(self) -> float:
        """Mean response, in mean services."""
        return 1.0 / self._spare_share

    @property
    def _wait_mean(self) -> float:
        return self.utilization / self._spare_share

    def _wait_tail(self, time: float) -> float:
        return self.utilization * self._response_tail(time)

    def _response_tail(self, time: float) -> float:
        return math.exp(-self._spare_share * time)

    def _wait_quantile(self, quantile: float) -> float:
        return max(0.0, math.log(self.utilization) - math.log1p(-quantile)) * self._response_mean

    def _response_quantile(self, quantile: float) -> float:
        return -math.log1p(-quantile) * self._response_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin(ExponentialWait, LawAtRate):
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
        settle(self, _replica=GIMc(arrival=gap, service_rate_rps=self.service_rate_rps, servers=1))

    @property
    def utilization(self) -> float:
        """Share of time that a replica is busy."""
        return self._replica.utilization

    @property
    def wait_probability(self) -> float:
        """P(W > 0) = sigma."""
        return self._replica.wait_probability

    @property
    def _falling(self) -> float:
        return self._replica._falling
