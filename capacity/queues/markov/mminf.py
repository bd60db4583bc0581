"""M/M/infinity: a server for every request, so no request waits."""

import math
from dataclasses import dataclass, field

from capacity.queues.law import Law
from capacity.queues.markov.erlang import bounded_load


@dataclass(frozen=True, slots=True, kw_only=True)
class MMInf(Law):
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

    def _wait_tail(self, time: float) -> float:
        return 0.0

    def _response_tail(self, time: float) -> float:
        return math.exp(-self.service_rate_rps * time)

    def _wait_quantile(self, quantile: float) -> float:
        return 0.0

    def _response_quantile(self, quantile: float) -> float:
        return -math.log1p(-quantile) / self.service_rate_rps
