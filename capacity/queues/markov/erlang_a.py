"""M/M/c+M (Erlang A): requests that wait lose patience and leave, after an exponential time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.errors import DomainError
from capacity.queues.law import LawAtRate, settle
from capacity.queues.markov.departures import exact_log
from capacity.queues.markov.erlang import SERVERS_MAX, blocking, bounded_load, ready_sum
from capacity.queues.numerics.mills import above, curve, excess_above, integral, peak_density, up_to
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count, require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedWait:
    """The part of the law above 0; all times are in mean patiences.

    Its density is x P(N = c) e^(y(1 - e^-t) - xt), that of a Poisson law of mean y e^-t at the real
    count x, so its tail is P(N = c) times that law's tail. A request that is served has outlasted it.

    Attributes:
        servers: c.
        arrivals: y, the arrivals in a mean patience.
        departures: x, those of c busy servers in a mean patience.
        growth: y - x, rounded once.
        log_load: log(y / x), rounded once.
        slack: growth of one server less, x - x/c - y, rounded once.
        scale: P(N = c) if y <= x; else P(N = c) over the density at x of a Poisson law of mean y,
            which alone may underflow.

    Source:
        Baccelli & Hebuterne (1981), "On queues with impatient customers", Performance '81, for the
        density; Zeltyn & Mandelbaum (2005), Queueing Systems 51, sec. 4.
    """

    servers: int
    arrivals: float
    departures: float
    growth: float
    log_load: float
    slack: float
    scale: float

    def served_tail(self, time: float) -> float:
        """P(V > t and patience > V)."""
        density, ratio, full = self._poisson(time)
        late = full - density * ratio if full > 0.0 else density * ratio
        return late * (self.departures / self.arrivals)

    def served_mean(self) -> float:
        """E(V; patience > V)."""
        hump = _Hump(arrivals=self.arrivals, falling=self.departures + 1.0, slope=1.0 - self.growth)
        peak = hump.peak(math.inf)
        height = math.exp(self._log_density(peak) - peak)
        return self.departures * height * hump.area(math.inf, weight=lambda time: time)

    def in_service_tail(self, time: float) -> float:
        """P(V <= t < V + S and patience > V) for an exponential service S of mean c/x.

        The integral over 0 < v < t of the served density times e^(-(t-v)x/c).
        """
        service_rate = self.departures / self.servers
        falling = self.departures - service_rate + 1.0
        hump = _Hump(arrivals=self.arrivals, falling=falling, slope=self.slack + 1.0)
        peak = hump.peak(time)
        log_height = self._log_density(peak) - peak - service_rate * (time - peak)
        return self.departures * math.exp(log_height) * hump.area(time)

    def _poisson(self, time: float) -> tuple[float, float, float]:
        """Scaled density at x, tail over density and, for the lower tail, the whole."""
        x, arrivals = self.departures, self.arrivals * math.exp(-time)
        density = math.exp(self._log_density(time))
        if time < self.log_load and arrivals > 1.0:  # below, the upper tail is little of the whole
            return density, up_to(arrivals, x, -x * math.expm1(self.log_load - time)), self.scale
        spare = x * -math.expm1(self.log_load - time)
        if self.growth <= 0.0:  # both positive
            spare = -self.growth - self.arrivals * math.expm1(-time)
        return density, above(arrivals, x, spare), 0.0

    def _log_density(self, time: float) -> float:
        """log of the scaled Poisson density."""
        if self.scale == 0.0:
            return -math.inf
        if self.growth <= 0.0:
            return math.log(self.scale) + self.growth * time - self.arrivals * curve(time)
        exponent = -self.departures * curve(time - self.log_load)
        return math.log(self.scale * peak_density(self.departures)) + exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hump:
    """e^(y(1 - e^-v) - falling v) on v > 0, with falling >= 1 and slope = falling - y rounded once."""

    arrivals: float
    falling: float
    slope: float

    @property
    def top(self) -> float:
        """Place of the largest value on the whole line: log(y / falling)."""
        ratio = self.slope / self.arrivals
        return -math.log1p(ratio) if ratio > -0.5 else math.log(self.arrivals / self.falling)

    def peak(self, end: float) -> float:
        """Place of the largest value on (0, end)."""
        return min(end, max(0.0, self.top))

    def area(self, end: float, weight: Callable[[float], float] | None = None) -> float:
        """Integral of weight times it over (0, end), over its value at the peak: to either side of that."""
        peak = self.peak(end)
        slope, bend = self.slope, self.arrivals * math.exp(-peak)
        if peak > 0.0:  # 0 inside; negative where it still rises at the end
            slope = min(0.0, self.falling * -math.expm1(self.top - end))
        after = weight and (lambda s: weight(peak + s))
        before = weight and (lambda s: weight(peak - s))
        right = integral(slope, bend, end - peak, weight=after) if end > peak else 0.0
        left = integral(-slope, bend, peak, mirrored=True, weight=before) if peak > 0.0 else 0.0
        return right + left


def solve(load: Fraction, servers: int, patience: Fraction) -> tuple[float, float, float, OfferedWait]:
    """P(N < c), P(N >= c), the mean number waiting, and the offered wait of M/M/c+M.

    A(x, y) = 1 + y/(x+1) + y^2/((x+1)(x+2)) + ... sums P(N = c + j) / P(N = c), with x departures
    and y arrivals in a mean patience. In overload all is multiplied by the density d of a Poisson
    law of mean y at x, of which A d is the upper tail: A alone may overflow.

    Args:
        load: lambda / mu.
        patience: its mean in mean services.

    Source:
        Palm (1957), "Research on telephone traffic carried by full availability groups", for A.
    """
    x, y, growth = (float(rate * patience) for rate in (servers, load, load - servers))
    log_load = exact_log(load / servers)
    if growth <= 0.0:
        ready, waiting, queue = 1.0, 1.0 + above(y, x, -growth), excess_above(y, x, -growth)
    else:
        ready = math.exp(-x * curve(-log_load)) * peak_density(x)
        waiting = 1.0 + ready - ready * up_to(y, x, -growth)
        queue = growth * waiting + x * ready
    # P(N = c) / P(N < c)
    step = float(load / servers) * blocking(load, servers - 1, float(servers - 1 - load))
    total = ready + step * waiting
    offered = OfferedWait(
        servers=servers,
        arrivals=y,
        departures=x,
        growth=growth,
        log_load=log_load,
        slack=float((servers - 1 - load) * patience),
        scale=step / total,
    )
    return ready / total, offered.scale * waiting, offered.scale * queue, offered


_PATIENCE_MAX = 1e30  # [mean services]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErlangA(LawAtRate):
    """M/M/c+M in steady state, which it reaches at any load.

    `wait_mean_s` and `wait_probability` are over all requests, served or not; the laws and quantiles
    of wait and response, and `response_mean_s`, are those of served requests. A request served at once
    has waited 0.

    Attributes:
        patience_mean_s: mean time that a request waits before it leaves unserved.

    Raises:
        DomainError: a rate or the patience is not positive and finite; servers not an integer in
            1..5e9; a patience of less than 1e-30 or more than 1e30 mean services.

    Source:
        Palm (1957); Garnett, Mandelbaum & Reiman (2002), Manufacturing & Service Operations
        Management 4(3), sec. 2; Zeltyn & Mandelbaum (2005), Queueing Systems 51, sec. 4.

    Assumes:
        Poisson arrivals, exponential service and patience, FIFO, no request leaves once in service.

    >>> queue = ErlangA(arrival_rate_rps=12.0, service_rate_rps=5.0, servers=2, patience_mean_s=0.5)
    >>> round(queue.abandon_probability, 4), round(queue.wait_mean_s, 4)
    (0.2797, 0.1399)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    patience_mean_s: float
    offered_load: float = field(init=False, repr=False, compare=False)
    load: float = field(init=False, repr=False, compare=False)
    queue_length_mean: float = field(init=False, repr=False, compare=False)
    wait_probability: float = field(init=False, repr=False, compare=False)
    _ready: float = field(init=False, repr=False, compare=False)
    _offered: OfferedWait = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=int(SERVERS_MAX))
        require_positive("patience_mean_s", self.patience_mean_s)
        a, c = bounded_load(self.arrival_rate_rps, self.service_rate_rps), self.servers
        patience = Fraction(self.service_rate_rps) * Fraction(self.patience_mean_s)
        if not 1 / _PATIENCE_MAX <= patience <= _PATIENCE_MAX:
            raise DomainError(
                f"patience_mean_s must be from 1e-30 to 1e30 mean services, got {self.patience_mean_s!r} "
                f"at service_rate_rps {self.service_rate_rps!r}; use MMc for endless patience"
            )
        ready, waiting, queue, offered = solve(a, c, patience)
        settle(
            self,
            offered_load=float(a),
            load=float(a / c),
            wait_probability=waiting,
            queue_length_mean=queue,
            _ready=ready,
            _offered=offered,
        )

    @property
    def utilization(self) -> float:
        """Mean share of the servers that is busy; with N < c it is a (1 - B(c - 1)) / c."""
        a, c = bounded_load(self.arrival_rate_rps, self.service_rate_rps), self.servers
        full = blocking(a, c - 1, float(c - 1 - a))
        return self._ready * self.load * (1.0 - full) + self.wait_probability

    @property
    def abandon_probability(self) -> float:
        """Share of requests that leave unserved: theta E(queue) = lambda P(leave)."""
        return self.queue_length_mean / self._offered.arrivals

    @property
    def served_share(self) -> float:
        """1 - `abandon_probability`, with its digits where nearly all leave."""
        return self.utilization / self.load

    @property
    def throughput_rps(self) -> float:
        """Rate of served requests."""
        return self.utilization * self.servers * self.service_rate_rps

    @property
    def empty_probability(self) -> float:
        """P(N = 0) = P(N < c) / sum of a^k/k! over k < c."""
        return self._ready / ready_sum(self.offered_load, self.servers)

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.queue_length_mean + self.servers * self.utilization

    @property
    def _wait_mean(self) -> float:
        """Mean wait over all requests, served or not, in mean services."""
        return self.queue_length_mean / self.offered_load

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service of served requests."""
        return (1.0 + self._served_wait_mean) / self.service_rate_rps

    def _wait_quantile(self, quantile: float) -> float:
        if self._wait_tail(0.0) <= 1.0 - quantile:
            return 0.0
        return quantile_of(self._wait_tail, quantile, self._served_wait_mean)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._response_tail, quantile, 1.0 + self._served_wait_mean)

    def _in_patiences(self, time: float) -> float:
        return time * self.servers / self._offered.departures

    @property
    def _served_wait_mean(self) -> float:
        """Mean wait of served requests, in mean services."""
        return self._offered.served_mean() / self._in_patiences(1.0) / self.served_share

    def _wait_tail(self, time: float) -> float:
        """P(W > t) of served requests; below `wait_probability` even at t = 0, as a waiting request may leave."""
        if time == math.inf:
            return 0.0
        return self._offered.served_tail(self._in_patiences(time)) / self.served_share

    def _response_tail(self, time: float) -> float:
        """P(S > t, no wait) + P(W > t) + P(W <= t < W + S) of served requests."""
        if time == math.inf:
            return 0.0
        offered, patiences = self._offered, self._in_patiences(time)
        waited = offered.served_tail(patiences) + offered.in_service_tail(patiences)
        return (self._ready * math.exp(-time) + waited) / self.served_share
