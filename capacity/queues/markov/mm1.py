"""M/M/1: Poisson arrivals, one exponential server, no limit on the queue."""

import math
from dataclasses import dataclass

from capacity.queues.law import Law
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.tail import in_atom
from capacity.units import require_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class MM1(Law):
    """M/M/1 in steady state; an unstable queue is refused, with the smallest fix.

    Everything is written in the spare rate mu - lambda, which is rounded once, never in 1 - rho.

    Raises:
        DomainError: a rate that is not positive and finite.
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, sec. 3.2; Gross, Shortle, Thompson & Harris (2008),
        Fundamentals of Queueing Theory, sec. 2.2, for the laws.

    Assumes:
        Poisson arrivals, exponential service, FIFO, unlimited queue, steady state.

    >>> queue = MM1(arrival_rate_rps=8.0, service_rate_rps=10.0)
    >>> queue.response_mean_s, round(queue.response_quantile_s(0.99), 3)
    (0.5, 2.303)
    """

    arrival_rate_rps: float
    service_rate_rps: float

    def __post_init__(self) -> None:
        require_stable(self.arrival_rate_rps, self.service_rate_rps, 1)

    @property
    def spare_rate_rps(self) -> float:
        """Service rate minus arrival rate: the rate at which a response time's tail falls."""
        return self.service_rate_rps - self.arrival_rate_rps

    @property
    def utilization(self) -> float:
        """Share of time that the server is busy."""
        return self.arrival_rate_rps / self.service_rate_rps

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one."""
        return self.utilization

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.utilization

    @property
    def empty_probability(self) -> float:
        """P(N = 0)."""
        return self.spare_rate_rps / self.service_rate_rps

    @property
    def wait_probability(self) -> float:
        """P(W > 0): Poisson arrivals see the server busy as often as it is (PASTA, Wolff 1982)."""
        return self.utilization

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without the one in service."""
        return self.utilization * self.in_system_mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.arrival_rate_rps / self.spare_rate_rps

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return self.utilization / self.spare_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return 1.0 / self.spare_rate_rps

    def _wait_tail(self, time: float) -> float:
        return self.utilization * self._response_tail(time)

    def _response_tail(self, time: float) -> float:
        return math.exp(-self.spare_rate_rps * time)

    def _wait_quantile(self, quantile: float) -> float:
        if in_atom(self.utilization, quantile):
            return 0.0
        return (math.log(self.utilization) - math.log1p(-quantile)) / self.spare_rate_rps

    def _response_quantile(self, quantile: float) -> float:
        return -math.log1p(-quantile) / self.spare_rate_rps

    def design_effect(self, quantile: float) -> float:
        """Number of consecutive requests that say as much about the share beyond a quantile as one independent
        response.

        1 + 4 rho / (1 - rho)^2 (1 + p ln p / (1 - p)) with p = 1 - quantile: in a long run of n responses
        the share beyond the quantile has the variance p (1 - p) / n times this. [dimensionless]

        Raises:
            DomainError: quantile is not in (0, 1).

        Source:
            Poisson's equation (Glynn & Meyn 1996, Annals of Probability 24(2), 916-931) of the chain
            T' = (T - A)+ + S, solved here for the indicator of T beyond the quantile. For the mean number in
            the system Whitt (1989), Management Science 35(11), has 4 / (1 - rho)^2 at high load, too.

        >>> queues = [MM1(arrival_rate_rps=rho, service_rate_rps=1.0) for rho in (0.3, 0.9)]
        >>> [round(queue.design_effect(0.99), 1) for queue in queues]
        [3.3, 344.3]
        """
        require_quantile(quantile)
        crowd = self.in_system_mean * (self.service_rate_rps / self.spare_rate_rps)  # rho / (1 - rho)^2
        return 1.0 + 4.0 * crowd * (1.0 + (1.0 - quantile) * math.log1p(-quantile) / quantile)
