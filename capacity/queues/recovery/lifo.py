"""LIFO: newest first, with which an overloaded fleet still answers the newest requests in time."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.queues.markov.erlang import SERVERS_MAX, erlang_c, exact_load
from capacity.queues.numerics.fourier import Octave, octave_end
from capacity.units import before_zero, require_count

Complexes = NDArray[np.complex128]
_SIDE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LastInFirstOut:
    """M/M/c that takes the newest request first and interrupts none, at any load.

    A waiting request waits for a busy period: all that come meanwhile go first. In overload a share of 1 - 1/load
    never begins. Then it is served. The law of both together is found by inversion of its transform.

    Raises:
        DomainError: a rate that is not positive and finite, servers not an integer in 1..5e9.

    Source:
        Riordan (1961), Bell System Technical Journal 40(3), 785-793 (last come, first served); Kleinrock
        (1975), Queueing Systems vol. 1, sec. 5.8-5.9, for the busy period.

    Assumes:
        Poisson arrivals, exponential service, unlimited queue, no request gives up; in overload the servers have long
        been busy.

    >>> queue = LastInFirstOut(arrival_rate_rps=2.0, service_rate_rps=1.0, servers=1)
    >>> round(queue.share_within(5.0), 6)
    0.467966
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=int(SERVERS_MAX))
        exact_load(self.arrival_rate_rps, self.service_rate_rps)

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one."""
        return self.arrival_rate_rps / (self.servers * self.service_rate_rps)

    @property
    def wait_probability(self) -> float:
        """Probability that all servers are busy."""
        if self.load >= 1.0:
            return 1.0
        return erlang_c(self.arrival_rate_rps / self.service_rate_rps, self.servers)

    def share_within(self, time_s: float) -> float:
        """Share of requests whose wait and service take at most a time. [dimensionless]

        Raises:
            DomainError: time_s is NaN.
        """
        if before_zero(time_s) or time_s == 0.0:
            return 0.0
        if time_s == math.inf:
            return min(1.0, 1.0 + self.wait_probability * (min(1.0, 1.0 / self.load) - 1.0))
        octave = Octave(last=octave_end(time_s), tilt=0.0, side=_SIDE)
        late = octave.value(octave.coefficients(self._late(octave.nodes())), time_s)
        return min(1.0, max(0.0, 1.0 - late))

    def _late(self, s: Complexes) -> Complexes:
        """Transform of P(T > t)."""
        waits = self.wait_probability
        service = self.service_rate_rps / (self.service_rate_rps + s)
        return np.asarray((1.0 - service * (1.0 - waits + waits * self._busy_period(s))) / s)

    def _busy_period(self, s: Complexes) -> Complexes:
        """Transform of the time until one server more is free, for Re s > 0."""
        come, go = self.arrival_rate_rps, self.servers * self.service_rate_rps
        total, between = come + go + s, 2.0 * math.sqrt(come * go)
        root = np.sqrt(total - between) * np.sqrt(total + between)  # the branch that grows with s
        return np.asarray(2.0 * go / (total + root))
