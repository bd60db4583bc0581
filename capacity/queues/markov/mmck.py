"""M/M/c/K: c exponential servers and room for K requests; others are rejected."""

import math
from dataclasses import dataclass, field

from capacity.errors import DomainError
from capacity.queues.law import LawAtRate, settle
from capacity.queues.markov.departures import Line, exact_log, geometric, ramp
from capacity.queues.markov.erlang import SERVERS_MAX, blocking, bounded_load, ready_sum
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count


@dataclass(frozen=True, slots=True, kw_only=True)
class MMcK(LawAtRate):
    """M/M/c/K in steady state, at any load; waits and responses are those of accepted requests.

    It uses only sums of positive terms: the textbook's (1 - rho) / (1 - rho^(K-c+1)) is 0/0 at rho = 1 and garbage
    near it. Weights are relative to the largest of P(N = c) and P(N = K).

    Attributes:
        capacity: number of places, those in service included.

    Raises:
        DomainError: a rate that is not positive and finite; servers or capacity not an integer in
            1..5e9; fewer places than servers.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, sec. 3.6; Gross, Shortle, Thompson & Harris (2008),
        Fundamentals of Queueing Theory, sec. 2.5.

    Assumes:
        Poisson arrivals, exponential service, FIFO, lost requests do not come back, steady state.

    >>> queue = MMcK(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2, capacity=4)
    >>> round(queue.loss_probability, 4), round(queue.response_mean_s, 4)
    (0.1825, 0.2772)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    capacity: int
    offered_load: float = field(init=False, repr=False, compare=False)
    load: float = field(init=False, repr=False, compare=False)
    _log_load: float = field(init=False, repr=False, compare=False)
    _ready: float = field(init=False, repr=False, compare=False)
    _at_end: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        most = int(SERVERS_MAX)
        require_count("servers", self.servers, most=most)
        require_count("capacity", self.capacity, most=most)
        if self.capacity < self.servers:
            raise DomainError(
                f"capacity must be >= servers: it counts the places in service too, "
                f"got {self.capacity} < {self.servers}"
            )
        exact = bounded_load(self.arrival_rate_rps, self.service_rate_rps)
        load, log_load = float(exact / self.servers), exact_log(exact / self.servers)
        before = blocking(exact, self.servers - 1, float(self.servers - 1 - exact))
        settle(
            self,
            offered_load=float(exact),
            load=load,
            _log_load=log_load,
            # P(N < c), and P(N = c) or P(N = K), whichever is larger, up to one factor
            _ready=math.exp(-max(0.0, log_load) * (self.capacity - self.servers)),
            _at_end=load * before,
        )

    @property
    def _places(self) -> int:
        """Places to wait in."""
        return self.capacity - self.servers

    @property
    def _fading(self) -> float:
        """log of the ratio of neighbours, away from the larger end of the line: at most 0."""
        return -abs(self._log_load)

    @property
    def _waiting(self) -> float:
        """Weight of c <= N < K."""
        steps = geometric(self._fading, self._places)
        return self._at_end * steps * (1.0 if self._log_load <= 0.0 else math.exp(self._fading))

    @property
    def _accepted(self) -> float:
        return self._ready + self._waiting

    @property
    def _lost(self) -> float:
        """Weight of N = K."""
        return self._at_end * math.exp(min(0.0, self._log_load) * self._places)

    @property
    def utilization(self) -> float:
        """Mean share of the servers that is busy."""
        return self.load * self.accepted_share

    @property
    def accepted_share(self) -> float:
        """1 - `loss_probability`, with its digits where nearly all are lost."""
        return self._accepted / (self._accepted + self._lost)

    @property
    def loss_probability(self) -> float:
        """P(N = K): Poisson arrivals see the time average (PASTA, Wolff 1982)."""
        return self._lost / (self._accepted + self._lost)

    @property
    def throughput_rps(self) -> float:
        """Rate of accepted requests, all of which are served."""
        return self.arrival_rate_rps * self.accepted_share

    @property
    def wait_probability(self) -> float:
        """P(W > 0) of accepted requests: P(c <= N < K) / P(N < K)."""
        return self._waiting / self._accepted

    @property
    def empty_probability(self) -> float:
        """P(N = 0) = P(N < c) / sum of a^k/k! over k < c."""
        ready = self._ready / (self._accepted + self._lost)
        return ready / ready_sum(self.offered_load, self.servers)

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service."""
        total, first = ramp(self._fading, self._places + 1)
        filled = first if self._log_load <= 0.0 else self._places * total - first
        return self._at_end * filled / (self._accepted + self._lost)

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.queue_length_mean + self.offered_load * self.accepted_share

    @property
    def _wait_mean(self) -> float:
        """Mean wait of accepted requests by Little's law, in mean services."""
        return self.queue_length_mean / self.offered_load / self.accepted_share

    def _wait_quantile(self, quantile: float) -> float:
        if self.wait_probability <= 1.0 - quantile:
            return 0.0
        return quantile_of(self._wait_tail, quantile, self._wait_mean)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._response_tail, quantile, 1.0 + self._wait_mean)

    def _wait_tail(self, time: float) -> float:
        return self._line.wait_tail(time)

    def _response_tail(self, time: float) -> float:
        """P(S > t, no wait) + P(W > t) + P(W <= t < W + S), time in mean services."""
        line = self._line
        at_once = self._ready / self._accepted * math.exp(-time)
        return at_once + line.wait_tail(time) + line.in_service_tail(time)

    @property
    def _line(self) -> Line:
        """The line that accepted requests find ahead of them."""
        c, a = self.servers, bounded_load(self.arrival_rate_rps, self.service_rate_rps)
        return Line(
            servers=c,
            places=self._places,
            log_load=self._log_load,
            log_load_less=exact_log(a / (c - 1)) if c > 1 else math.inf,
            end_share=self._at_end / self._accepted,
        )
