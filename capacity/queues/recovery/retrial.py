"""Retrials: requests that find all servers busy come again; for ever from an orbit, or a few times, much later."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError, InconclusiveError
from capacity.queues.law import settle
from capacity.queues.markov.erlang import erlang_b, require_stable
from capacity.queues.numerics.chains import banded_stationary
from capacity.units import require_count, require_positive

Floats = NDArray[np.float64]
SERVERS_MAX = 200
_STATES_MAX = 200_000
_LEFT_OUT = 1e-13  # share of the orbit beyond which the chain is cut
_ROUNDS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrial:
    """M/M/c whose queue is an orbit: each request in it retries after exponential times, for ever.

    It is the joint chain of busy servers and orbit, cut where next to nothing is beyond. One server has a closed
    form, E(orbit) = rho (lambda + rho nu) / ((1 - rho) nu).

    Attributes:
        retry_rate_per_s: rate of each request in the orbit; its mean time between two tries is the inverse. [1/s]

    Raises:
        DomainError: a rate that is not positive and finite, servers not an integer in 1..200.
        UnstableError: arrival rate >= servers x service rate; the rate of retries does not matter.
        InconclusiveError: so high a load or so long a time between retries that the chain is too long.

    Source:
        Falin & Templeton (1997), Retrial Queues, sec. 1.2 for one server, ch. 2 for more.

    Assumes:
        Poisson arrivals, exponential service and times between retries, no queue, steady state.

    >>> queue = Retrial(arrival_rate_rps=0.7, service_rate_rps=1.0, servers=1, retry_rate_per_s=0.5)
    >>> round(queue.orbit_mean, 6), round(queue.blocked_probability, 6)
    (4.9, 0.7)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    retry_rate_per_s: float
    _joint: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_positive("retry_rate_per_s", self.retry_rate_per_s)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.servers)
        settle(self, _joint=self._solved())

    def _solved(self) -> Floats:
        """Probabilities of orbit and busy servers, shape `(orbits, servers + 1)`."""
        orbit_max = 64
        while orbit_max * (self.servers + 1) <= _STATES_MAX:
            joint = self._cut(orbit_max)
            orbits = np.arange(len(joint))
            mean = float(joint.sum(axis=1) @ orbits)
            if float(joint[-1].sum()) * orbit_max <= _LEFT_OUT * mean:
                return joint
            orbit_max *= 2
        raise InconclusiveError(
            f"a chain of {_STATES_MAX} states is too short for this orbit; lower the load, or raise retry_rate_per_s"
        )

    def _cut(self, orbit_max: int) -> Floats:
        """The law with at most `orbit_max` in the orbit: one too many is lost."""
        width = self.servers + 1
        last = (orbit_max + 1) * width - 1

        def rates(state: int) -> Floats:
            orbit, busy = divmod(state, width)
            first = max(0, state - width)
            row = np.zeros(state + width - first + 1)
            if busy > 0:
                row[state - 1 - first] = busy * self.service_rate_rps
            if busy < self.servers:
                row[state + 1 - first] = self.arrival_rate_rps
                if orbit > 0:
                    row[state + 1 - width - first] = orbit * self.retry_rate_per_s
            elif orbit < orbit_max:
                row[state + width - first] = self.arrival_rate_rps
            return row

        return banded_stationary(rates, last, width, width).reshape(orbit_max + 1, width)

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one."""
        return self.arrival_rate_rps / (self.servers * self.service_rate_rps)

    @property
    def orbit_mean(self) -> float:
        """Mean number of requests that wait for their next try."""
        return float(self._joint.sum(axis=1) @ np.arange(len(self._joint)))

    @property
    def blocked_probability(self) -> float:
        """Probability that a first try finds all servers busy (PASTA, Wolff 1982)."""
        return float(self._joint[:, -1].sum())

    @property
    def attempts_mean(self) -> float:
        """Mean tries of a request, the first included."""
        return 1.0 + self.retry_rate_per_s * self.orbit_mean / self.arrival_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean time from the first try to the end of service, by Little's law. [s]"""
        return self.orbit_mean / self.arrival_rate_rps + 1.0 / self.service_rate_rps


@dataclass(frozen=True, slots=True, kw_only=True)
class LongBackoff:
    """M/M/c/c whose rejected requests come again after waits that are long beside everything else.

    All tries then arrive as a Poisson process of rate L = lambda (1 + B + ... + B^(n-1)), B = ErlangB(c, L/mu),
    whatever the law of the waits. If several rates solve this, it is the lowest, which a fleet that has been idle
    comes to.

    Attributes:
        attempts: largest number, the first included; None tries for ever.

    Raises:
        DomainError: a rate that is not positive and finite, servers not an integer in 1..5e9, attempts below 1.
        UnstableError: without a limit of attempts, arrival rate >= servers x service rate.
        InconclusiveError: a load at which the rate of tries cannot be found.

    Source:
        Cohen (1957), Philips Telecommunication Review 18(2), 49-100.

    Assumes:
        Poisson arrivals, independent services, no queue, waits much longer than services, steady state.

    >>> fleet = LongBackoff(arrival_rate_rps=2.8, service_rate_rps=1.0, servers=4, attempts=3)
    >>> round(fleet.tries_rps, 6), round(fleet.blocked_probability, 6)
    (3.893222, 0.300273)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    attempts: int | None = None
    tries_rps: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_positive("service_rate_rps", self.service_rate_rps)
        if self.attempts is None:
            require_stable(self.arrival_rate_rps, self.service_rate_rps, self.servers)
        elif self.attempts < 1:
            raise DomainError(f"attempts must be 1 or more, got {self.attempts!r}")
        settle(self, tries_rps=self._lowest())

    def _lowest(self) -> float:
        """The lowest rate of tries that reproduces itself: it rises from the arrival rate up to there."""
        tries = self.arrival_rate_rps
        for _ in range(_ROUNDS_MAX):
            again = self._brought_forth(tries)
            if abs(again - tries) <= 2.0**-50 * again:
                return again
            tries = again
        raise InconclusiveError(
            "the rate of tries is not found at so high a load; lower arrival_rate_rps or add servers"
        )

    def _brought_forth(self, tries_rps: float) -> float:
        blocked = self._blocked(tries_rps)
        if self.attempts is None:
            return self.arrival_rate_rps / (1.0 - blocked)
        return self.arrival_rate_rps * math.fsum(blocked**number for number in range(self.attempts))

    def _blocked(self, tries_rps: float) -> float:
        return erlang_b(tries_rps / self.service_rate_rps, self.servers)

    @property
    def blocked_probability(self) -> float:
        """Probability that a try finds all servers busy."""
        return self._blocked(self.tries_rps)

    @property
    def loss_probability(self) -> float:
        """Share of requests whose tries have all found all servers busy."""
        return 0.0 if self.attempts is None else self.blocked_probability**self.attempts

    @property
    def attempts_mean(self) -> float:
        """Mean tries of a request, the first included."""
        return self.tries_rps / self.arrival_rate_rps
