"""Offered wait: how long M/M/c+M would keep a request waiting that never gave up, never cancelling."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from capacity.numerics.mills import above, curve, excess_above, integral, peak_density, up_to
from capacity.queues.departures import exact_log
from capacity.queues.erlang import blocking


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedWait:
    """The part of the law above 0; all times are in mean patiences.

    Its density is x P(N = c) e^(y(1 - e^-t) - xt), that of a Poisson law of mean y e^-t at the real
    count x, so that its tail is P(N = c) times that law's tail. Who is served has outlasted it.

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

    def tail(self, time: float) -> float:
        """P(V > t)."""
        density, ratio, full = self._poisson(time)
        return full - density * (ratio - 1.0) if full > 0.0 else density * (ratio + 1.0)

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
        """Scaled density at x, tail over density and, where that is the lower tail, the whole."""
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
        """Where it is largest on the whole line: log(y / falling)."""
        ratio = self.slope / self.arrivals
        return -math.log1p(ratio) if ratio > -0.5 else math.log(self.arrivals / self.falling)

    def peak(self, end: float) -> float:
        """Where it is largest on (0, end)."""
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
