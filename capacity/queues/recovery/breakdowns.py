"""Breakdowns: M/M/c whose servers fail independently, and are repaired."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capacity.queues.general.qbd import first_passage
from capacity.queues.law import settle
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.chains import inverse, stationary
from capacity.units import require_count, require_positive

Floats = NDArray[np.float64]
SERVERS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakdownMMc:
    """M/M/c whose servers break down, busy or not, and are all repaired at once.

    An interrupted request resumes at the next free server, before those that wait, so that of n requests min(n,
    servers up) are served; as services have no memory, it is the same whether they resume or start again. The chain
    has a level for each number of requests, and in each the number of servers up.

    Attributes:
        failure_rate_per_s: rate of each server that is up; its mean time between failures is the inverse. [1/s]
        repair_rate_per_s: rate of each server that is down. [1/s]

    Raises:
        DomainError: a rate that is not positive and finite, servers not an integer in 1..200.
        UnstableError: arrival rate >= servers x service rate x share of time that a server is up.

    Source:
        Neuts & Lucantoni (1979), Management Science 25(9), 849-861; one server: White & Christie (1958), Operations
        Research 6(1), 79-95, and Avi-Itzhak & Naor (1963), Operations Research 11(3), 303-320.

    Assumes:
        Poisson arrivals, exponential services, times to failure and repairs, unlimited queue, steady state.

    >>> fleet = BreakdownMMc(
    ...     arrival_rate_rps=2.8, service_rate_rps=1.0, servers=4, failure_rate_per_s=0.01, repair_rate_per_s=0.1
    ... )
    >>> round(fleet.in_system_mean, 6), round(fleet.up_share, 6)
    (6.188182, 0.909091)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    failure_rate_per_s: float
    repair_rate_per_s: float
    in_system_mean: float = field(init=False, repr=False, compare=False)
    empty_probability: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_positive("failure_rate_per_s", self.failure_rate_per_s)
        require_positive("repair_rate_per_s", self.repair_rate_per_s)
        require_positive("service_rate_rps", self.service_rate_rps)
        require_stable(self.arrival_rate_rps, self.service_rate_rps * self.up_share, self.servers)
        mean, empty = self._solved()
        settle(self, in_system_mean=mean, empty_probability=empty)

    @property
    def up_share(self) -> float:
        """Share of time that a server is up."""
        return self.repair_rate_per_s / (self.failure_rate_per_s + self.repair_rate_per_s)

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one."""
        return self.arrival_rate_rps / (self.servers * self.service_rate_rps * self.up_share)

    @property
    def utilization(self) -> float:
        """Share of time that a server serves, of all time, up or down."""
        return self.arrival_rate_rps / (self.servers * self.service_rate_rps)

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service, with the interruptions, by Little's law. [s]"""
        return self.in_system_mean / self.arrival_rate_rps

    def _solved(self) -> tuple[float, float]:
        """Mean number of requests, and the probability of none."""
        servers, up = self.servers, self.arrival_rate_rps * np.eye(self.servers + 1)
        within = self._changes()
        falls = [self._ends(requests) for requests in range(servers + 1)]
        full = falls[servers]
        passage = first_passage(up, within, full)
        arriving = up.sum(axis=1)
        times, detours = list[Floats](), np.zeros_like(up)
        for requests in range(servers):  # levels are left out from the lowest up, as in `qbd`
            times.append(inverse(within + detours, arriving))
            detours = falls[requests + 1] @ times[-1] @ up
        law = stationary(within + up @ passage + detours)
        ratio = up @ inverse(within + up @ passage, full.sum(axis=1))
        above = np.linalg.inv(np.eye(servers + 1) - ratio)
        total = float(law @ above.sum(axis=1))
        weighted = servers * total + float(law @ ratio @ above @ above.sum(axis=1))
        for requests in reversed(range(servers)):
            law = law @ falls[requests + 1] @ times[requests]
            total += float(law.sum())
            weighted += requests * float(law.sum())
        return weighted / total, float(law.sum()) / total

    def _changes(self) -> Floats:
        """Rates between the numbers of servers up, `(servers + 1, servers + 1)`."""
        numbers = np.arange(self.servers + 1.0)
        down = np.diag(numbers[1:] * self.failure_rate_per_s, -1)
        return np.asarray(down + np.diag((self.servers - numbers[:-1]) * self.repair_rate_per_s, 1))

    def _ends(self, requests: int) -> Floats:
        """Rates at which services end."""
        busy = np.minimum(requests, np.arange(self.servers + 1.0))
        return np.asarray(np.diag(busy * self.service_rate_rps))
