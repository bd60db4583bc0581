"""Drain: the time to work off a backlog while requests keep arriving."""

import math
from dataclasses import dataclass

from capacity.queues.markov.erlang import require_stable
from capacity.units import require_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The time until no request waits any more, at servers that are all busy until then.

    Each request less takes a busy period of M/M/1 at the rate of all servers.

    Attributes:
        backlog: requests that wait at first, in addition to those in service.

    Raises:
        DomainError: a rate that is not positive and finite, servers or backlog not an integer from 1.
        UnstableError: arrival rate >= servers x service rate, so that it may never end.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, sec. 5.8-5.9 (moments of the busy period); Wald (1944), Annals of
        Mathematical Statistics 15(3), 283-296.

    Assumes:
        Poisson arrivals, exponential services, no request gives up.

    >>> drain = Drain(arrival_rate_rps=320.0, service_rate_rps=100.0, servers=4, backlog=4000)
    >>> drain.mean_s, round(drain.standard_deviation_s, 2)
    (50.0, 2.37)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    backlog: int

    def __post_init__(self) -> None:
        require_count("servers", self.servers)
        require_count("backlog", self.backlog)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.servers)

    @property
    def _spare_rps(self) -> float:
        return self.servers * self.service_rate_rps - self.arrival_rate_rps

    @property
    def mean_s(self) -> float:
        """Backlog over spare capacity. [s]"""
        return self.backlog / self._spare_rps

    @property
    def standard_deviation_s(self) -> float:
        """Standard deviation of the time, by chance of arrivals and services. [s]"""
        both_rps = self.servers * self.service_rate_rps + self.arrival_rate_rps
        return math.sqrt(self.backlog * both_rps / self._spare_rps) / self._spare_rps
