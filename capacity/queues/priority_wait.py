"""Priority wait: the wait of one class where all servers are busy, a mixture of exponential laws."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

_STEP = 0.125  # of the trapezoidal rule: its error is e^-(pi^2 / 2 step), 1e-17
_END = 12.5  # beyond, the integrand falls as e^-3u
_EXPONENT_MAX = 700.0  # the tail is right down to its e-th power
_NEGLIGIBLE_LOAD = 1e-290


@dataclass(frozen=True, slots=True)
class PriorityWait:
    """Rates, in departures of the busy servers, and their probabilities; all positive.

    Who arrives finds a geometric number of requests of its class and above before it, and whoever
    of a higher class comes later goes first: the wait is as many busy periods of the higher classes
    alone. Their transform e has a cut, on which its inverse is elementary: with b = `load`, s =
    `higher`, w = b / sqrt(s), the wait (1 - b) e / (1 - b e) has the tail

        2 (1 - b) / pi x integral over 0 < p < pi of
            sin(p)^2 / (1 - 2 w cos(p) + w^2) x e^-(x t) / x,   x = 1 + s - 2 sqrt(s) cos(p)

    and if w > 1 a pole besides, (b^2 - s) / (b (b - s)) x e^-((1 - b)(1 - s/b) t). Every term is
    positive. With tan(p / 2) = e^u the trapezoidal rule converges exponentially, however many scales
    the integrand has.

    Source:
        Davis (1966), Operations Research 14(1), and Kella & Yechiali (1985), Naval Research Logistics
        Quarterly 32, for the transform; Abate & Whitt (1997), Queueing Systems 25, for the cut, the
        pole and the three kinds of tail.
    """

    rates: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def behind(cls, higher: Fraction, load: Fraction) -> "PriorityWait":
        """Behind the higher classes, `load` with its own class; both per server, so below 1."""
        terms = list(_pole(higher, load))
        if higher > _NEGLIGIBLE_LOAD:
            terms += _cut(higher, load)
        rates, shares = zip(*terms, strict=True)
        return cls(rates, shares)

    @classmethod
    def mixture(cls, waits: Sequence["PriorityWait"], weights: Sequence[float]) -> "PriorityWait":
        """Of requests that are each class's in proportion to its weight."""
        total = math.fsum(weights)
        shares = (
            share * weight / total
            for wait, weight in zip(waits, weights, strict=True)
            for share in wait.shares
        )
        return cls(tuple(rate for wait in waits for rate in wait.rates), tuple(shares))

    def tail(self, departures: float) -> float:
        """P(W > t | W > 0), t in the departures that busy servers have in it."""
        return math.fsum(
            share * math.exp(-rate * departures) for rate, share in zip(self.rates, self.shares, strict=True)
        )

    def in_service_tail(self, time: float, servers: int) -> float:
        """P(W + S > t | W > 0) - P(S > t) for an exponential service S, t in its means: no difference."""
        return time * math.fsum(
            share * _between(servers * rate, time)
            for rate, share in zip(self.rates, self.shares, strict=True)
        )


def _between(rate: float, time: float) -> float:
    """Integral of e^-(t (v rate + 1 - v)) over 0 < v < 1, in which nothing cancels at a rate near 1."""
    apart = abs(rate - 1.0) * time
    return math.exp(-min(rate, 1.0) * time) * (-math.expm1(-apart) / apart if apart > 0.0 else 1.0)


def _pole(higher: Fraction, load: Fraction) -> Iterator[tuple[float, float]]:
    """Rate and share of the exponential term, if there is one."""
    own, bend = load - higher, load * load - higher
    if bend > 0 or higher <= _NEGLIGIBLE_LOAD:
        yield float((1 - load) * own / load), float(bend / (load * own)) if higher > _NEGLIGIBLE_LOAD else 1.0


def _cut(higher: Fraction, load: Fraction) -> Iterator[tuple[float, float]]:
    """Rates and shares of the trapezoidal rule."""
    root = math.sqrt(higher)
    gap = float(1 - higher) / (1.0 + root)  # 1 - sqrt(s)
    ratio = float(load) / root
    off = float((load * load - higher) / higher) / (ratio + 1.0)  # w - 1
    scale = 16.0 * _STEP * float(1 - load) / math.pi
    # Where the far tail, e^-700, comes from; forty e-foldings below, or 13 where it falls as e^3u.
    far = 0.5 * gap / math.sqrt(_EXPONENT_MAX)
    flat = math.log(far) - 39.0
    start = max(flat, math.log(min(far, abs(off))) - 13.0) if off else flat
    for k in range(math.floor(start / _STEP), math.ceil(_END / _STEP)):
        square = math.exp(2.0 * k * _STEP)  # tan(p/2)^2
        half = square / (1.0 + square)  # sin(p/2)^2
        rate = gap * gap + 4.0 * root * half
        area = math.exp(k * _STEP) * half / (1.0 + square) ** 2
        yield rate, scale * area / (rate * (off * off + 4.0 * ratio * half))
