"""Beta: shares and quantiles of the beta distribution, of which those of the binomial and of Student's t are made.

They stand here because they are all that most plans need of scipy.special, whose import takes 0.1 s and more.
"""

import math
from collections.abc import Callable
from functools import lru_cache

_SERIES_FROM = 16.0  # from here on the Stirling series is exact to rounding
_TERMS_MAX = 10_000_000
_ROUNDING = 2.0**-51


def beta_shares(a: float, b: float, x: float, y: float) -> tuple[float, float]:
    """Shares of a beta distribution below x and above it, where y is 1 - x; the smaller has full relative accuracy.

    Args:
        a, b: parameters of the distribution, above 0.
        x, y: a value in [0, 1] and what it lacks of 1, each with all its digits.

    Source:
        Didonato & Morris (1992), ACM Trans. Math. Softw. 18(3), 360-373, eq. 9: the even part of the continued
        fraction DLMF 8.17.22, here by the method of Lentz (1976), Applied Optics 15(3), 668-671.

    >>> beta_shares(2.0, 2.0, 0.5, 0.5)
    (0.5, 0.5)
    """
    if x <= 0.0 or y <= 0.0:
        return (0.0, 1.0) if x <= 0.0 else (1.0, 0.0)
    if x > (a + 1.0) / (a + b + 2.0):
        above, below = beta_shares(b, a, y, x)
        return below, above
    below = binomial(a, a + b, x, y) * b / (a + b) * _fraction(a, b, x, y)
    return below, 1.0 - below


@lru_cache(maxsize=1024)
def beta_quantile(a: float, b: float, share: float) -> float:
    """The value that a share of the beta distribution lies below.

    >>> round(beta_quantile(2.0, 3.0, 0.26171875), 12)
    0.25
    """

    def law(x: float) -> tuple[float, float, float]:
        y = 1.0 - x
        return *beta_shares(a, b, x, y), binomial(a, a + b, x, y) * a * b / ((a + b) * x * y)

    return quantile_of(law, share, a / (a + b), 1.0)


def quantile_of(
    law: Callable[[float], tuple[float, float, float]], share: float, start: float, end: float
) -> float:
    """The value between 0 and `end` that a share lies below, by Newton's method, halving where that leaves its bounds.

    Args:
        law: shares below a value and above it, and the density there.
        share: that wanted, in (0, 1).
        start, end: where to begin, and the largest value, which may be infinite.
    """
    low, high, at = 0.0, end, start
    while True:
        below, above, density = law(at)
        error = below - share if below < above else (1.0 - share) - above
        low, high = (low, at) if error > 0.0 else (at, high)
        following = at - error / density if density > 0.0 else low
        if abs(following - at) <= _ROUNDING * at or low >= high * (1.0 - _ROUNDING):
            return min(max(following, low), high)
        at = following if low < following < high else min(2.0 * at, 0.5 * (low + high))


def binomial(happened: float, count: float, share: float, other: float) -> float:
    """P(N = happened) of `count` trials that each happen with `share`, and not with `other`; also between integers.

    Source:
        Loader (2000), Fast and accurate computation of binomial probabilities: Stirling's formula with what it lacks,
        and the deviance, so that nothing large cancels.

    >>> round(binomial(2, 4, 0.5, 0.5), 12), binomial(0, 3, 0.5, 0.5)
    (0.375, 0.125)
    """
    if not 0.0 < share < 1.0 or happened in (0.0, count):
        return float(share**happened * other ** (count - happened))
    rest = count - happened
    remainder = _stirling_error(count) - _stirling_error(happened) - _stirling_error(rest)
    apart = happened - count * share if share < other else count * other - rest  # by the one with more digits
    deviance = _deviance(happened, count * share, apart) + _deviance(rest, count * other, -apart)
    return math.sqrt(count / (2.0 * math.pi * happened * rest)) * math.exp(remainder - deviance)


def _fraction(a: float, b: float, x: float, y: float) -> float:
    """The continued fraction of the incomplete beta function, for x below the mean, where y is 1 - x."""
    rest = (a - (a + b) * x if x < y else (a + b) * y - b) + 1.0  # by the one with more digits
    under = 1.0 / (a / (a + 1.0) * rest)
    over, value = math.inf, under
    for n in range(1, _TERMS_MAX):
        at = n * (b - n) * x / (a + 2 * n - 1.0)
        term = (a + n - 1.0) * (a + b + n - 1.0) * x / (a + 2 * n - 1.0) * at
        whole = n + at + (a + n) / (a + 2 * n + 1.0) * (rest + n * (1.0 + y))
        under = 1.0 / (whole + term * under)
        over = whole + term / over
        value *= over * under
        if abs(over * under - 1.0) <= _ROUNDING / 2.0:
            break
    return a * value


def _stirling_error(z: float) -> float:
    """What Stirling's formula lacks of ln Gamma(z + 1)."""
    if z < _SERIES_FROM:
        return math.lgamma(z + 1.0) - (z + 0.5) * math.log(z) + z - 0.5 * math.log(2.0 * math.pi)
    s = 1.0 / (z * z)
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - (1 / 1188 - s * 691 / 360360) * s) * s) * s) * s) / z


def _deviance(value: float, mean: float, apart: float) -> float:
    """value ln(value / mean) - apart, for a value that is `apart` from its mean, also where these nearly cancel."""
    ratio = apart / (value + mean)
    if abs(ratio) >= 0.1:
        return value * math.log(value / mean) - apart
    total, power, odd = apart * ratio, 2.0 * value * ratio, 1
    while True:
        power *= ratio * ratio
        odd += 2
        following = total + power / odd
        if following == total:
            return total
        total = following
