"""Closed: a fixed number of users who think, send one request and wait for its answer."""

import math
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from capacity.queues.law import Law, settle
from capacity.queues.numerics.chains import pmf_between
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count, require_not_negative, require_positive

Floats = NDArray[np.float64]
_LOG_OF_NOTHING = 746.0  # e^-746 is 0 in doubles


def states(users: int, think: float, servers: int) -> Floats:
    """P(n at the station), n = 0 ... N, from the most probable state outwards: nothing overflows.

    p(n-1) / p(n) = Z min(n, c) / (S (N - n + 1)) rises with n, so it passes 1 at the mode.
    """
    n = np.arange(1, users + 1)
    with np.errstate(over="ignore", under="ignore"):
        falling = think * np.minimum(n, servers) / (users - n + 1)
        mode = int(np.count_nonzero(falling <= 1.0))
        below = np.cumprod(falling[:mode][::-1])[::-1]
        above = np.cumprod(1.0 / falling[mode:])
        law = np.concatenate((below, [1.0], above))
        return np.asarray(law / law.sum())


def unserved(departures: Floats, waiting: Floats, stays: float) -> Floats:
    """P(K > 0, K + G > j), j = 0 ... m, with P(G > i) = q^i; q times the one before from m on.

    The part with K < j follows b(j) = q (b(j-1) + P(K = j-1)).
    """
    if not len(departures):
        return departures
    served = accumulate(departures[:-1].tolist(), lambda b, p: stays * (b + p), initial=0.0)
    return np.concatenate((waiting[:1], waiting + np.fromiter(served, float, len(departures))))


def wait_tail(waiting: Floats, departures: float) -> float:
    """Sum over j of Poisson(j; x) P(K > j).

    A request that meets n >= c waits for K = n + 1 - c departures at rate c/S: a Poisson mixture.
    """
    last = len(waiting)
    if departures > 2.0 * (_LOG_OF_NOTHING + last * math.log(2.0)):  # Chernoff's bound at 1/2
        return 0.0
    first, weights = _poisson(departures)
    inside = weights[: max(0, last - first)]
    return min(1.0, float(inside @ waiting[first : first + len(inside)]))


def response_tail(unserved: Floats, servers: int, services: float) -> float:
    """Sum over j of Poisson(j; c t) P(K > 0, K + G > j).

    Service ends with each event of a Poisson stream of rate c/S with probability 1/c (uniformization:
    Jensen 1953, Skandinavisk Aktuarietidskrift 36), so that K and a geometric G count the events until the
    answer.
    """
    last = len(unserved) - 1
    slack = last * math.log(servers / (servers - 0.5))
    if last < 0 or services > 2.0 * (_LOG_OF_NOTHING + slack + 1.0):  # Chernoff's bound at 1/2
        return 0.0
    stays = 1.0 - 1.0 / servers
    first, weights = _poisson(servers * services)
    split = max(0, last - first)
    inside, beyond = weights[:split], weights[split:]
    steps = np.arange(max(0, first - last), max(0, first - last) + len(beyond))
    with np.errstate(under="ignore"):
        end = float(unserved[last]) * float(beyond @ stays**steps)
    return float(inside @ unserved[first : first + len(inside)]) + end


def _poisson(mean: float) -> tuple[int, Floats]:
    """First index and weights of a Poisson law; less than e^-800 lies below, 1e-21 of it above.

    What is summed with these weights falls, so the upper end may be cut by its share.
    """
    deviation = math.sqrt(mean)
    first = max(0, int(mean - 40.0 * deviation))
    return first, pmf_between(first, int(mean + 12.0 * deviation) + 49, mean)


USERS_MAX = 1_000_000  # arrays have as many entries
SERVERS_MAX = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Law):
    """N users at one station of c exponential servers, M/M/c//N, in steady state.

    Each user thinks for Z on average, sends one request and waits for its answer. Only the mean of
    the think time matters, not its law; the law of service does. No load makes it unstable: at most
    N requests are in flight. For the same reason such a load test cannot overload its target, and
    its P99 is lower than what an open stream of the same mean rate would meet (coordinated
    omission): compare measurements of closed tests with this law, never with M/M/c.

    What a request meets is the state of the system with one user fewer (arrival theorem), so
    response times are sums over that state, and never the difference N/X - Z. There is no load: users
    send no faster than they are answered.

    Attributes:
        think_time_s: mean Z >= 0; with 0 every user has a request in flight at all times.

    Raises:
        DomainError: users not an integer in 1..1e6, servers not one in 1..1e9, a service time that is not
            positive, a think time that is negative, or either not finite.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, sec. 3.8-3.10; the arrival theorem: Lavenberg &
        Reiser (1980), Journal of Applied Probability 17(4); Sevcik & Mitrani (1981), JACM 28(2).

    Assumes:
        Exponential service, FIFO, steady state; think times independent, of any law.

    >>> test = Closed(users=6, think_time_s=20.0, service_time_s=2.0, servers=1)
    >>> round(test.throughput_rps, 4), round(test.response_mean_s, 3)
    (0.2577, 3.279)
    """

    users: int
    think_time_s: float
    service_time_s: float
    servers: int
    wait_probability: float = field(init=False, repr=False, compare=False)
    empty_probability: float = field(init=False, repr=False, compare=False)
    _wait_mean: float = field(init=False, repr=False, compare=False)  # in mean services
    _waiting: Floats = field(init=False, repr=False, compare=False)  # P(K > j), j = 0, 1, ...
    _unserved: Floats = field(init=False, repr=False, compare=False)  # P(K > 0, K + G > j)

    def __post_init__(self) -> None:
        require_count("users", self.users, most=USERS_MAX)
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_not_negative("think_time_s", self.think_time_s)
        require_positive("service_time_s", self.service_time_s)
        think = self.think_time_s / self.service_time_s
        # K = n + 1 - c departures pass before the service of a request that meets n >= c
        met = states(self.users - 1, think, self.servers)
        departures = np.trim_zeros(met[self.servers :], "b")
        waiting = np.cumsum(departures[::-1])[::-1]
        settle(
            self,
            wait_probability=min(1.0, float(waiting[0])) if len(waiting) else 0.0,
            empty_probability=float(states(self.users, think, self.servers)[0]),
            _wait_mean=float(waiting.sum()) / self.servers,
            _waiting=waiting,
            _unserved=unserved(departures, waiting, 1.0 - 1.0 / self.servers),
        )

    @property
    def wait_mean_s(self) -> float:
        """Mean wait before service: a departure every S/c for each request ahead and the first."""
        return self._wait_mean * self.service_time_s

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return (1.0 + self._wait_mean) * self.service_time_s

    @property
    def throughput_rps(self) -> float:
        """Requests served per second, X = N / (Z + R)."""
        return self.users / (self.think_time_s + self.response_mean_s)

    def _users_in(self, part_s: float) -> float:
        """Mean number of users in a part of their cycle, by Little's law."""
        return self.users * (part_s / (self.think_time_s + self.response_mean_s))

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self._users_in(self.response_mean_s)

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service."""
        return self._users_in(self.wait_mean_s)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return min(1.0, self._users_in(self.service_time_s) / self.servers)

    @property
    def throughput_max_rps(self) -> float:
        """Asymptotic bound X <= min(c/S, N / (Z + S)); Denning & Buzen (1978), Computing Surveys 10(3)."""
        alone_s = self.think_time_s + self.service_time_s
        return min(self.servers / self.service_time_s, self.users / alone_s)

    @property
    def response_min_s(self) -> float:
        """Asymptotic bound R >= max(S, N S/c - Z); Denning & Buzen (1978)."""
        saturated_s = self.users * (self.service_time_s / self.servers) - self.think_time_s
        return max(self.service_time_s, saturated_s)

    @property
    def saturation_users(self) -> float:
        """N* = c (Z + S) / S, where the two bounds on throughput meet: beyond it, users certainly queue."""
        return self.servers * (1.0 + self.think_time_s / self.service_time_s)

    def _units(self, time_s: float) -> float:
        return time_s / self.service_time_s

    def _seconds(self, units: float) -> float:
        return units * self.service_time_s

    def _wait_tail(self, time: float) -> float:
        return wait_tail(self._waiting, self.servers * time)

    def _wait_quantile(self, quantile: float) -> float:
        scale = 1.0 + self._wait_mean * self.servers
        return quantile_of(lambda x: wait_tail(self._waiting, x), quantile, scale) / self.servers

    def _response_tail(self, time: float) -> float:
        at_once = (1.0 - self.wait_probability) * math.exp(-time)
        return at_once + response_tail(self._unserved, self.servers, time)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._response_tail, quantile, 1.0 + self._wait_mean)
