"""Mills: ratios of a Poisson law's tails to its density, for real counts of any size, never cancelling."""

import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import cache

Number = float | Fraction
SUMMED_MAX = 400.0  # up to here the sums have a few hundred terms at most; above, the integrals take over
_FORTY_DIGITS = Context(prec=40, traps=[])
_NEGLIGIBLE = 1e-20  # of the sum so far; the whole rest is then below 1e-16 of it
_LOG_NEGLIGIBLE = 42.0
_NODES = 64
_SERIES = tuple(1.0 / math.factorial(k) for k in range(18, 1, -1))


def density(load: Number, count: float) -> float:
    """P(N = n) = e^-a a^n / n! of N ~ Poisson(a), also for a real n >= 0; 0.0 below 1e-308."""
    if count <= 140.0 and load <= 150.0:  # neither a^n nor n! overflows; pow is right to the last digit
        return math.exp(-load) * math.pow(load, count) / math.gamma(count + 1.0)
    with localcontext(_FORTY_DIGITS):
        exponent = _exponent(load, count)
        return float(exponent.exp()) * peak_density(count) if exponent > -800 else 0.0


def log_density(load: Number, count: float) -> float:
    """log P(N = n), which does not underflow."""
    with localcontext(_FORTY_DIGITS):
        return float(_exponent(load, count)) + math.log(peak_density(count))


def _exponent(load: Number, count: float) -> Decimal:
    """n log(a/n) + n - a, a small difference of large numbers: 1e-9 off in doubles at n = 1e6.

    Loader (2000), "Fast and accurate computation of binomial probabilities", fixes that by a series,
    except the exponent's own rounding, 1e-13 at e^-700; decimals fix that too, in microseconds.
    """
    n = Decimal(count)
    a = Decimal(load.numerator) / Decimal(load.denominator) if isinstance(load, Fraction) else Decimal(load)
    return n * (a / n).ln() + (n - a) if count > 0.0 else -a


def peak_density(count: float) -> float:
    """P(N = n) at the load n, by Stirling's formula if n is large."""
    if count <= 140.0:
        return math.exp(-count) * math.pow(count, count) / math.gamma(count + 1.0)
    n = 1.0 / (count * count)
    stirling_error = (1 / 12 - n * (1 / 360 - n / 1260)) / count  # the rest is below 1e-18
    return math.exp(-stirling_error) / math.sqrt(2.0 * math.pi * count)


def above(load: float, count: float, spare: float) -> float:
    """P(N > n) / P(N = n) = a/(n+1) + a^2/((n+1)(n+2)) + ..., for spare = n - a >= 0."""
    if count > SUMMED_MAX:
        return load * integral(spare + 1.0, load)
    total, term, at = 0.0, 1.0, count
    while term > _NEGLIGIBLE * total:
        at += 1.0
        term *= load / at
        total += term
    return total


def excess_above(load: float, count: float, spare: float) -> float:
    """a/(n+1) + 2 a^2/((n+1)(n+2)) + ...: E(N - n)+ / P(N = n), for spare = n - a >= 0."""
    if count > SUMMED_MAX:
        return load * integral(spare + 1.0, load, weight=lambda s: 1.0 - load * math.expm1(-s))
    total, term, steps = 0.0, 1.0, 0
    while steps * term > _NEGLIGIBLE * total or steps == 0:
        steps += 1
        term *= load / (count + steps)
        total += steps * term
    return total


def up_to(load: float, count: float, spare: float) -> float:
    """P(N <= n) / P(N = n) = 1 + n/a (1 + (n-1)/a (...)), for spare = n - a <= 0.

    The sum goes down to the fraction that is left of n, or to nothing.
    """
    if count > SUMMED_MAX:
        return load * integral(-spare - 1.0, load, mirrored=True)
    total, term, left = 0.0, 1.0, count
    while left >= 1.0:
        total += term
        term *= left / load
        left -= 1.0
        if term < _NEGLIGIBLE * total:
            return total
    return total + term * _up_to_fraction(load, left)


def _up_to_fraction(load: float, count: float) -> float:
    """P(N <= n) / P(N = n) for a count below 1, by Legendre's continued fraction of the incomplete gamma function.

    Abramowitz & Stegun (1964), 6.5.31 contracted; it is slow at small loads, where the sum is fast.
    """
    if count == 0.0:
        return 1.0
    if load < 2.0:
        return 1.0 / density(load, count) - above(load, count, count - load)
    rest = 0.0
    for k in range(60, 0, -1):
        rest = k * (k - 1.0 - count) / (load + 2.0 * k - count - rest)
    return load / (load - count - rest)


def curve(s: float) -> float:
    """e^-s - 1 + s, which is s^2/2 near 0."""
    if not -1.0 < s < 1.0:
        return math.expm1(-s) + s
    total = 0.0
    for coefficient in _SERIES:
        total = coefficient - s * total
    return total * s * s


def second_remainder(x: float, series_to: float = 1.0) -> float:
    """e^x - 1 - x, up to |x| = `series_to` by its series, where the difference would cancel."""
    if abs(x) > series_to:
        return math.expm1(x) - x
    term, total, order = x * x / 2.0, 0.0, 2
    while total + term != total:
        total += term
        order += 1
        term *= x / order
    return total


def integral(
    slope: float,
    bend: float,
    end: float = math.inf,
    *,
    mirrored: bool = False,
    weight: Callable[[float], float] | None = None,
) -> float:
    """Integral over 0 < s < end of weight(s) exp(-slope s - bend curve(s)), or curve(-s) if mirrored.

    P(N > n) / P(N = n) = a x integral of e^(az) (1-z)^n over 0 < z < 1, and P(N <= n) / P(N = n) =
    a x integral of e^(-at) (1+t)^n over t > 0, take this form once 1 - z is written e^-s and 1 + t
    is written e^s: nothing in the exponent cancels, and 64 nodes are enough at any load.

    Args:
        slope: at least -1.
        bend: >= 0; the slope or the bend is at least 1.
        end: of the range, which is cut where the integrand is negligible anyway.
        weight: a smooth factor that grows by less than e^10 over the range.

    Source:
        Jagerman (1974), Bell System Technical Journal 53(3), for the integral of t.

    >>> round(integral(2.0, 0.0), 14)
    0.5
    """
    end = min(end, (_reach_mirrored if mirrored else _reach)(slope, bend))
    pieces = 1 + int(end / 25.0)  # more than one at loads below 1e-8
    sign, half, total = -1.0 if mirrored else 1.0, end / (2.0 * pieces), 0.0
    for piece in range(pieces):
        for node, share in gauss_legendre(_NODES):
            s = half * (2.0 * piece + 1.0 + node)
            term = share * math.exp(-slope * s - bend * curve(sign * s))
            total += term * weight(s) if weight else term
    return half * total


def _reach(slope: float, bend: float) -> float:
    """An s beyond which the integrand is negligible: curve(s) >= s^2 / (2 + s)."""
    linear = 2.0 * slope - _LOG_NEGLIGIBLE
    root = math.hypot(linear, math.sqrt(8.0 * _LOG_NEGLIGIBLE * (slope + bend)))
    return 4.0 * _LOG_NEGLIGIBLE / (linear + root)


def _reach_mirrored(slope: float, bend: float) -> float:
    """An s beyond which the mirrored integrand is negligible: curve(-s) is above s^2 / 2, and above q at 1 + log(1 +
    q)."""
    if bend == 0.0:
        return _LOG_NEGLIGIBLE / slope
    rising = -min(0.0, slope)
    root = math.hypot(slope, math.sqrt(2.0 * _LOG_NEGLIGIBLE * bend))
    quadratic = 2.0 * _LOG_NEGLIGIBLE / (slope + root) if slope > 0.0 else (root - slope) / bend
    room = _LOG_NEGLIGIBLE + rising * (3.0 + math.log1p(_LOG_NEGLIGIBLE / bend))
    return min(quadratic, 1.0 + math.log1p(room / bend))


@cache
def gauss_legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Nodes in (-1, 1) and weights of Gauss's rule, by Newton's method on Legendre's polynomial."""
    rule = []
    for i in range(count):
        node = math.cos(math.pi * (i + 0.75) / (count + 0.5))
        for _ in range(6):
            before, value = 1.0, node
            for k in range(2, count + 1):
                before, value = value, ((2 * k - 1) * node * value - (k - 1) * before) / k
            slope = count * (before - node * value) / (1.0 - node * node)
            node -= value / slope
        rule.append((node, 2.0 / ((1.0 - node * node) * slope * slope)))
    return tuple(rule)
