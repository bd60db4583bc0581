"""Poisson: tails of a Poisson law over its density, for real counts of any size, without a cancellation."""

import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import cache

Number = float | Fraction
SUMMED_MAX = 400.0  # to here the sums have a few hundred terms at most; above, the integrals take over
_SIXTY_DIGITS = Context(prec=60, traps=[])
_NEGLIGIBLE = 1e-20  # of the sum so far; the whole rest is then below 1e-16 of it
_LOG_NEGLIGIBLE = 42.0
_NODES = 64
_SERIES = tuple(1.0 / math.factorial(k) for k in range(18, 1, -1))


def curve(s: float) -> float:
    """e^-s - 1 + s, which is s^2/2 near 0, without cancelling."""
    if not -1.0 < s < 1.0:
        return math.expm1(-s) + s
    total = 0.0
    for coefficient in _SERIES:
        total = coefficient - s * total
    return total * s * s


def log_density(load: Number, count: float) -> float:
    """log(e^-a a^n / n!) for a real n >= 0.

    The exponent is a small difference of large numbers, 1e-9 off in doubles at n = 1e6; sixty
    decimals mend that in microseconds, and also its own rounding, 1e-13 at e^-700.

    Source:
        Loader (2000), "Fast and accurate computation of binomial probabilities", on the problem.

    >>> round(log_density(1.0, 0.0), 12), round(log_density(3.0, 2.0), 12)
    (-1.0, -1.495922603224)
    """
    if count == 0.0:
        return -float(load)
    with localcontext(_SIXTY_DIGITS):
        n, a = Decimal(count), _decimal(load)
        exponent = n * (a / n).ln() + (n - a)
    return float(exponent) + math.log(peak_density(count))


def density(load: Number, count: float) -> float:
    """e^-a a^n / n!, right to the last digits; 0.0 below 1e-308."""
    if count == 0.0:
        return math.exp(-load)
    with localcontext(_SIXTY_DIGITS):
        n, a = Decimal(count), _decimal(load)
        exponent = n * (a / n).ln() + (n - a)
        return float(exponent.exp()) * peak_density(count) if exponent > -800 else 0.0


def peak_density(count: float) -> float:
    """e^-n n^n / n!, the density of a count n at the load n."""
    if count <= 140.0:  # neither n^n nor n! overflows; pow is right to the last digit
        return math.exp(-count) * math.pow(count, count) / math.gamma(count + 1.0)
    n = 1.0 / (count * count)  # Stirling's error; the rest is below 1e-18
    return math.exp(-(1 / 12 - n * (1 / 360 - n * (1 / 1260 - n / 1680))) / count) / math.sqrt(
        2.0 * math.pi * count
    )


def above_over_density(load: float, count: float, spare: float) -> float:
    """P(N > n) / P(N = n), for spare = n - a >= 0."""
    if count > SUMMED_MAX:
        return load * integral(spare + 1.0, load)
    total, term, at = 0.0, 1.0, count
    while term > _NEGLIGIBLE * total:
        at += 1.0
        term *= load / at
        total += term
    return total


def overshoot_over_density(load: float, count: float, spare: float) -> float:
    """E (N - n)+ / P(N = n) over the states n + 1, n + 2, ..., for spare = n - a >= 0."""
    if count > SUMMED_MAX:
        return load * integral(spare + 1.0, load, weight=lambda s: 1.0 - load * math.expm1(-s))
    total, term, steps = 0.0, 1.0, 0
    while term > _NEGLIGIBLE * total:
        steps += 1
        term *= load / (count + steps)
        total += steps * term
    return total


def below_over_density(load: float, count: float, spare: float) -> float:
    """P(N <= n) / P(N = n), for spare = n - a <= 0.

    The sum 1 + n/a (1 + (n-1)/a (...)) goes down to the fraction that is left of n, or to nothing.
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
    return total + (term * _fraction_below_over_density(load, left) if left > 0.0 else term)


def _fraction_below_over_density(load: float, count: float) -> float:
    """The same for a count below 1, by Legendre's continued fraction of the incomplete gamma function.

    Abramowitz & Stegun (1964), 6.5.31 contracted; it is slow at small loads, where the sum is fast.
    """
    if load < 2.0:
        return 1.0 / density(load, count) - above_over_density(load, count, count - load)
    rest = 0.0
    for k in range(60, 0, -1):
        rest = k * (k - 1.0 - count) / (load + 2.0 * k - count - rest)
    return load / (load - count - rest)


def integral(
    slope: float,
    bend: float,
    end: float = math.inf,
    *,
    mirrored: bool = False,
    weight: Callable[[float], float] | None = None,
) -> float:
    """Integral over 0 < s < end of weight(s) exp(-slope s - bend curve(s)), or curve(-s) if mirrored.

    Both of Jagerman's integrals take this form once 1 - z, or 1 + t, is written e^-s, or e^s: nothing
    in the exponent cancels, and Gauss's rule needs no more nodes at 1e9 erlangs than at 1e3.

    Args:
        slope: at least -1; bend: >= 0; one of them well above 0.
        end: of the range, which is cut where the integrand is negligible.
        weight: a smooth factor.

    Source:
        Jagerman (1974), Bell System Technical Journal 53(3), theorem 3, for the integrals.

    >>> round(integral(2.0, 0.0), 14)
    0.5
    """
    half = min(end, _reach(slope, bend, mirrored=mirrored)) / 2.0
    sign = -1.0 if mirrored else 1.0
    total = 0.0
    for node, share in gauss_legendre(_NODES):
        s = half * (1.0 + node)
        term = share * math.exp(-slope * s - bend * curve(sign * s))
        total += term * weight(s) if weight else term
    return half * total


def _reach(slope: float, bend: float, *, mirrored: bool) -> float:
    """An s beyond which the integrand is negligible, from bounds of the curve that are quadratic."""
    if mirrored:  # curve(-s) >= s^2/2, and e^s - 1 - s >= q at s = 1 + log(1 + q)
        room = _LOG_NEGLIGIBLE + 10.0
        quadratic = 2.0 * room / (slope + math.sqrt(slope * slope + 2.0 * room * bend)) if slope > 0.0 else (
            (-slope + math.sqrt(slope * slope + 2.0 * room * bend)) / bend
        )
        return min(quadratic, 1.0 + math.log1p(room / bend)) if bend > 0.0 else quadratic
    # curve(s) >= s^2 / (2 + s)
    linear = 2.0 * slope - _LOG_NEGLIGIBLE
    root = math.sqrt(linear * linear + 8.0 * _LOG_NEGLIGIBLE * (slope + bend))
    if linear > 0.0:
        return 4.0 * _LOG_NEGLIGIBLE / (linear + root)
    return (root - linear) / (2.0 * (slope + bend))


@cache
def gauss_legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Nodes in (-1, 1) and weights of Gauss's rule, by Newton's method on Legendre's polynomial.

    >>> round(math.fsum(weight * math.exp(node) for node, weight in gauss_legendre(12)), 14)
    2.35040238728760
    """
    rule = []
    for i in range(count):
        node = math.cos(math.pi * (i + 0.75) / (count + 0.5))
        for _ in range(6):
            last, this = 1.0, node
            for k in range(2, count + 1):
                last, this = this, ((2 * k - 1) * node * this - (k - 1) * last) / k
            slope = count * (last - node * this) / (1.0 - node * node)
            node -= this / slope
        rule.append((node, 2.0 / ((1.0 - node * node) * slope * slope)))
    return tuple(rule)


def _decimal(value: Number) -> Decimal:
    if isinstance(value, Fraction):
        return Decimal(value.numerator) / Decimal(value.denominator)
    return Decimal(value)
