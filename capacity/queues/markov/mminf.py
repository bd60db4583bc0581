"""M/M/infinity: a server for every request, so that nobody waits."""

import math
from dataclasses import dataclass, field

from capacity.performance import Interval, Kind, Performance
from capacity.queues.markov.erlang import bounded_load
from capacity.units import QUANTILES, before_zero, require_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class MMInf:
    """M/M/infinity in steady state: N is Poisson with the offered load as mean, the response is service.

    It has no largest sustainable rate and no share of busy servers, hence neither load nor
    utilization.

    Raises:
        DomainError: a rate that is not positive and finite.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, sec. 3.4.

    Assumes:
        Poisson arrivals, exponential service (only the response's law depends on that), steady state.

    >>> queue = MMInf(arrival_rate_rps=6.0, service_rate_rps=2.0)
    >>> queue.in_system_mean, round(queue.empty_probability, 4)
    (3.0, 0.0498)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    offered_load: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        load = float(bounded_load(self.arrival_rate_rps, self.service_rate_rps))
        object.__setattr__(self, "offered_load", load)

    @property
    def empty_probability(self) -> float:
        """P(N = 0)."""
        return math.exp(-self.offered_load)

    @property
    def wait_probability(self) -> float:
        """P(W > 0)."""
        return 0.0

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting."""
        return 0.0

    @property
    def in_system_mean(self) -> float:
        """Mean number in service."""
        return self.offered_load

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service."""
        return 0.0

    @property
    def response_mean_s(self) -> float:
        """Mean service."""
        return 1.0 / self.service_rate_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t): 0, but 1 before t = 0. [dimensionless]"""
        return 1.0 if before_zero(time_s) else 0.0

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within: none. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        require_quantile(quantile)
        return 0.0

    def response_tail(self, time_s: float) -> float:
        """P(T > t) = e^-(mu t); 1 before t = 0. [dimensionless]

        >>> round(MMInf(arrival_rate_rps=6.0, service_rate_rps=2.0).response_tail(1.0), 4)
        0.1353
        """
        return 1.0 if before_zero(time_s) else math.exp(-self.service_rate_rps * time_s)

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> round(MMInf(arrival_rate_rps=6.0, service_rate_rps=2.0).response_quantile_s(0.99), 3)
        2.303
        """
        require_quantile(quantile)
        return -math.log1p(-quantile) / self.service_rate_rps

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> MMInf(arrival_rate_rps=6.0, service_rate_rps=2.0).performance().response_mean_s
        0.5
        """
        return Performance(
            kind=Kind.EXACT,
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
