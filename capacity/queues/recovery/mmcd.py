"""M/M/c+D: requests that have waited for a fixed time leave, as when a server drops expired requests."""

import math
from dataclasses import dataclass, field

from capacity.errors import DomainError
from capacity.queues.law import LawAtRate, settle
from capacity.queues.markov.erlang import bounded_load, ready_sum
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count, require_positive

_SERVERS_MAX = 500  # the sum of a^j/j! fits a double
_GROWTH_MAX = 600.0  # of the logarithm of the density of the wait


@dataclass(frozen=True, slots=True, kw_only=True)
class MMcD(LawAtRate):
    """M/M/c+D in steady state, which it reaches at any load.

    The offered wait has the density lambda p e^(dt) up to the patience tau, d = lambda - c mu, and falls like
    e^(-c mu t) after that; p is the probability that just one server is free. `wait_mean_s` and
    `wait_probability` are over all requests, served or not; the laws of wait and response, and
    `response_mean_s`, are those of served requests.

    Attributes:
        patience_s: how long a request waits before it leaves unserved; at that very time it is served.

    Raises:
        DomainError: a rate or the patience that is not positive and finite; servers not an integer in 1..500; an
            excess of arrivals within the patience beyond 600.

    Source:
        Zeltyn & Mandelbaum (2005), Queueing Systems 51, 361-402, sec. 4, for M/M/c+G; with all patiences alike:
        Barrer (1957), Operations Research 5(5), 650-656.

    Assumes:
        Poisson arrivals, exponential service, FIFO, no request leaves once in service.

    >>> queue = MMcD(arrival_rate_rps=4.4, service_rate_rps=1.0, servers=4, patience_s=1.0)
    >>> round(queue.abandon_probability, 6)
    0.180068
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    patience_s: float
    load: float = field(init=False, repr=False, compare=False)
    _one_free: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=_SERVERS_MAX)
        require_positive("patience_s", self.patience_s)
        exact = bounded_load(self.arrival_rate_rps, self.service_rate_rps)
        settle(self, load=float(exact / self.servers))
        if self._excess * self._patience > _GROWTH_MAX:
            raise DomainError(
                f"(arrival rate - servers x service rate) x patience must be <= {_GROWTH_MAX:g}, got "
                f"{self._excess * self._patience:.4g}; such a queue sheds 1 - 1/load of its requests"
            )
        settle(self, _one_free=1.0 / (self._ready_over_one_free + self.offered_load * self._waiting))

    @property
    def _patience(self) -> float:
        """Patience, in mean services."""
        return self.patience_s * self.service_rate_rps

    @property
    def _excess(self) -> float:
        """d, in requests per mean service."""
        return float(bounded_load(self.arrival_rate_rps, self.service_rate_rps) - self.servers)

    @property
    def _ready_over_one_free(self) -> float:
        """P(N < c) / P(N = c - 1): sum of a^j/j! over a^(c-1)/(c-1)!, from the last term down."""
        terms = [1.0]
        for number in range(self.servers - 1, 0, -1):
            terms.append(terms[-1] * number / self.offered_load)
        return math.fsum(terms)

    @property
    def _waiting(self) -> float:
        """J: the integral of e^(dt) up to the patience, and of what falls beyond it."""
        return _area(self._excess, self._patience) + self._beyond

    @property
    def _beyond(self) -> float:
        return math.exp(self._excess * self._patience) / self.servers

    @property
    def wait_probability(self) -> float:
        """P(no server is free), as all requests meet it."""
        return self.offered_load * self._one_free * self._waiting

    @property
    def abandon_probability(self) -> float:
        """Share of requests that leave unserved: P(offered wait > patience)."""
        return self.offered_load * self._one_free * self._beyond

    @property
    def served_share(self) -> float:
        """1 - `abandon_probability`, without the difference."""
        waited = self.offered_load * _area(self._excess, self._patience)
        return self._one_free * (self._ready_over_one_free + waited)

    @property
    def throughput_rps(self) -> float:
        """Rate of served requests."""
        return self.arrival_rate_rps * self.served_share

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.load * self.served_share

    @property
    def empty_probability(self) -> float:
        """P(N = 0)."""
        ready = self._one_free * self._ready_over_one_free
        return ready / ready_sum(self.offered_load, self.servers)

    @property
    def _wait_mean(self) -> float:
        """Mean wait of all requests: those that leave have waited for their patience."""
        served = self.offered_load * self._one_free * _moment(self._excess, self._patience)
        return served + self._patience * self.abandon_probability

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service of served requests."""
        return (1.0 + self._served_wait_mean) / self.service_rate_rps

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.queue_length_mean + self.servers * self.utilization

    @property
    def _served_wait_mean(self) -> float:
        waits = self.offered_load * self._one_free * _moment(self._excess, self._patience)
        return waits / self.served_share

    def _wait_tail(self, time: float) -> float:
        if time >= self._patience:
            return 0.0
        late = math.exp(self._excess * time) * _area(self._excess, self._patience - time)
        return self.offered_load * self._one_free * late / self.served_share

    def _response_tail(self, time: float) -> float:
        """P(S > t, no wait) + P(W > t) + P(W <= t < W + S) of served requests."""
        if time == math.inf:
            return 0.0
        until, excess = min(time, self._patience), self._excess
        in_service = math.exp(-time) * _area(excess + 1.0, until)
        at_once = self._one_free * self._ready_over_one_free * math.exp(-time)
        waited = self.offered_load * self._one_free * in_service
        return min(1.0, (at_once + waited) / self.served_share + self._wait_tail(time))

    def _wait_quantile(self, quantile: float) -> float:
        if self._wait_tail(0.0) <= 1.0 - quantile:
            return 0.0
        return quantile_of(self._wait_tail, quantile, self._patience)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._response_tail, quantile, 1.0 + self._served_wait_mean)


def _area(rate: float, end: float) -> float:
    """Integral of e^(rate t) from 0 to `end`."""
    return end if rate * end == 0.0 else math.expm1(rate * end) / rate


def _moment(rate: float, end: float) -> float:
    """Integral of t e^(rate t) from 0 to `end`; by its series if the terms would cancel."""
    product = rate * end
    if abs(product) < 0.1:
        return end**2 * math.fsum(product**k / (math.factorial(k) * (k + 2)) for k in range(14))
    return (end * math.exp(product) - _area(rate, end)) / rate
