"""M/M^[1,B]/c: Poisson arrivals in one queue, c servers that take up to B at once, in exponential time."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.queues.batch.chain import exact_batch_load, log_inverse_ratio
from capacity.queues.law import settle
from capacity.queues.markov.erlang import SERVERS_MAX, erlang_b, ready_sum
from capacity.queues.markov.mmc import ExponentialWait
from capacity.units import require_count

_COUNT_MAX = int(SERVERS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkMarkov(ExponentialWait):
    """Greedy batches whose exponential time does not depend on their size, in steady state.

    A free server takes the waiting requests, B at most; no request joins a running batch. While fewer than c
    servers are busy, no request waits and p_k = p_0 a^k/k!, a = lambda s, as without batches: each cut
    between k and k + 1 is passed by one arrival and by one of k + 1 completions. Behind c busy servers
    the cut between q and q + 1 waiting is passed downwards from q + 1, ..., q + B, so the queue is
    geometric with the root r of c mu (r + ... + r^B) = lambda. A wait that finds q waiting ends with
    completion number floor(q/B) + 1, again geometric: it is exponential with rate c mu (1 - r^B).

    r is kept as x = -ln r, solved from the spare share 1 - lambda s/(c B), which is rounded once from
    exact rationals: 1 - r would otherwise lose its digits near saturation.

    Args:
        service_time_s: mean time of a batch, whatever its size. [s]

    Raises:
        DomainError: a rate or time that is not positive and finite; a count not an integer in 1..1e9.
        UnstableError: arrival_rate_rps >= servers x batch_size_max / service_time_s, up to rounding.

    Source:
        One server: Bailey (1954), JRSS B 16(1), 80-87; Gross, Shortle, Thompson & Harris (2008),
        Fundamentals of Queueing Theory, sec. 3.2 (partial batches). More servers: the cuts above.

    Assumes:
        Poisson arrivals, FIFO, one unlimited queue in front of all servers, steady state.

    >>> queue = BulkMarkov(arrival_rate_rps=3.0, service_time_s=1.0, batch_size_max=2, servers=2)
    >>> round(queue.wait_probability, 6), round(queue.response_mean_s, 6)
    (0.863973, 2.337934)
    """

    arrival_rate_rps: float
    service_time_s: float
    batch_size_max: int
    servers: int
    offered_load: float = field(init=False, repr=False, compare=False)
    load: float = field(init=False, repr=False, compare=False)
    _root: float = field(init=False, repr=False, compare=False)
    _ready_odds: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("batch_size_max", self.batch_size_max, most=_COUNT_MAX)
        require_count("servers", self.servers, most=_COUNT_MAX)
        share = exact_batch_load(
            self.arrival_rate_rps, self.service_time_s, self.batch_size_max, self.servers
        )
        root = log_inverse_ratio(share, self.batch_size_max)
        odds = -math.expm1(-root) * _ready_over_full(share * self.batch_size_max * self.servers, self.servers)
        settle(
            self,
            offered_load=float(share * self.batch_size_max * self.servers),
            load=float(share),
            _root=root,
            _ready_odds=odds,
        )

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy: a (1 - C)/c + r C, the mean number busy over c."""
        ready = self.offered_load / self.servers * self._ready_probability
        return ready + math.exp(-self._root) * self.wait_probability

    @property
    def batch_size_mean(self) -> float:
        """Mean over batches: arrivals over batches started, lambda s / (busy servers)."""
        return self.offered_load / self.servers / self.utilization

    @property
    def wait_probability(self) -> float:
        """P(W > 0) = C = F / (sum of a^k/k! over k < c, + F), F = a^c/c! / (1 - r)."""
        return 1.0 / (1.0 + self._ready_odds)

    @property
    def _ready_probability(self) -> float:
        """1 - C, without the subtraction."""
        return 1.0 / (1.0 + 1.0 / self._ready_odds)

    @property
    def empty_probability(self) -> float:
        """P(N = 0) = P(N < c) / sum of a^k/k! over k < c."""
        return self._ready_probability / ready_sum(self.offered_load, self.servers)

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, C r / (1 - r)."""
        return self.wait_probability / math.expm1(self._root)

    @property
    def _service_mean_s(self) -> float:
        return self.service_time_s

    @property
    def _falling(self) -> float:
        """c (1 - r^B): the rate at which a wait's tail falls, per mean service."""
        return self.servers * -math.expm1(-self.batch_size_max * self._root)


def _ready_over_full(load: Fraction, servers: int) -> float:
    """(sum of a^k/k! over k < c) / (a^c/c!) = c / (a B(c - 1)) by Erlang's loss formula."""
    rounded = float(load)
    if servers == 1:
        return 1.0 / rounded
    blocking = erlang_b(rounded, servers - 1)
    # as in M/M/c: d ln B / d ln a turns the rounding of a into 1e-11 of B far above the load
    blocking *= 1.0 + float(load / Fraction(rounded) - 1) * (servers - 1 - rounded + rounded * blocking)
    return servers / rounded / blocking if blocking > 0.0 else math.inf
