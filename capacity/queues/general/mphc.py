"""M/PH/c: Poisson arrivals share one queue in front of c servers whose service has phases."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from capacity.queues.durations import Duration
from capacity.queues.general.qbd import (
    MarkovArrivals,
    PhaseQueue,
    per_service,
    require_phases,
    require_servers,
)
from capacity.queues.markov.erlang import require_stable
from capacity.units import require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class MPHc(PhaseQueue):
    """M/PH/c in steady state; an unstable queue is refused, with the smallest fix.

    Attributes:
        service: exponential, Erlang, or hyper-exponential with balanced means.

    Raises:
        DomainError: a rate that is not positive and finite; servers not an integer in 1..10000; a service
            without phases; more than 1000 ways to spread the servers over them.
        UnstableError: utilization >= 1, up to the rounding of the rates.

    Source:
        Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, ch. 3; Ramaswami & Lucantoni
        (1985), Stochastic Models 1(3), 393-417.

    Assumes:
        Poisson arrivals, independent services of phase type, FIFO, unlimited queue, steady state.

    >>> from capacity.queues.durations import Family
    >>> service = Duration(family=Family.ERLANG, mean_s=0.1, scv=0.5)
    >>> queue = MPHc(arrival_rate_rps=45.0, service=service, servers=5)
    >>> round(queue.wait_probability, 6), round(queue.wait_mean_s, 6)
    (0.758402, 0.115331)
    """

    arrival_rate_rps: float
    service: Duration
    servers: int

    def __post_init__(self) -> None:
        require_servers(self.servers)
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_phases(1, self.service, self.servers)
        require_stable(self.arrival_rate_rps, 1.0 / self.service.mean_s, self.servers)
        service_rate = 1 / Fraction(self.service.mean_s)
        rate = per_service(self.arrival_rate_rps, service_rate)
        poisson = MarkovArrivals(hidden=np.zeros((1, 1)), marked=np.array([[rate]]))
        load = Fraction(self.arrival_rate_rps) / service_rate
        self._settle(poisson, self.service, self.servers, load, self.arrival_rate_rps)
