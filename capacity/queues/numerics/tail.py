"""Tails and counts: quantiles of a falling tail, and sums over Poisson counts."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaincc, gammaln

from capacity.errors import DomainError

Floats = NDArray[np.float64]


Tail = Callable[[float], float]
_DOUBLINGS_MAX = 2100  # from the smallest double to the largest
_ROUNDING = 1e-13  # of a probability: an atom that ends at 1 - q is not missed by its last digits
_LAST_BIT = 2.0**-53  # of q, of which 1 - q is all that is left: 1e-12 of it at P99.99


def first_true(test: Callable[[float], bool], low: float, high: float) -> float:
    """Where a test that is false, then true, turns: bisection down to adjacent doubles."""
    if test(low):
        return low
    while low < (middle := low + (high - low) / 2.0) < high:
        if test(middle):
            high = middle
        else:
            low = middle
    return high


def in_atom(probability: float, quantile: float) -> bool:
    """Whether P(X > 0) <= 1 - q but for rounding, so that the quantile is 0: 0.1 is 1 - 0.9.

    >>> in_atom(0.1, 0.9), 0.1 <= 1.0 - 0.9
    (True, False)
    """
    return probability <= (1.0 - quantile) * (1.0 + _rounding(quantile))


def _rounding(quantile: float) -> float:
    """Of a probability that is held against 1 - q, as a share of it."""
    return _ROUNDING + _LAST_BIT / (1.0 - quantile)


def quantile_of(
    tail: Tail, quantile: float, scale: float, *, atoms: Iterable[float] = (), relative_width: float = 1e-14
) -> float:
    """inf{t >= 0: P(X > t) <= 1 - q}, to a bracket of `relative_width` of itself.

    Chandrupatla's method on log P, which an exponential tail makes nearly straight: inverse parabolas,
    and bisection where they are not to be trusted, usually 8 to 12 calls. The returned end always has
    P(X > t) <= 1 - q.

    Args:
        tail: non-increasing survival function; any positive scale of time.
        quantile: q in (0, 1), not checked here.
        scale: a time of the order of the answer, to begin with.
        atoms: times that have a probability of their own; the answer is one of them exactly where
            P falls below 1 - q there.
        relative_width: of the last bracket.

    Source:
        Chandrupatla (1997), Advances in Engineering Software 28(3), 145-149.

    >>> round(quantile_of(lambda t: math.exp(-t), 0.99, 1.0), 12)
    4.605170185988
    """
    target, rounding = math.log1p(-quantile), _rounding(quantile)

    def excess(time: float) -> float:
        probability = tail(time)
        return math.log(probability) - target if probability > 0.0 else -math.inf

    if excess(0.0) <= rounding:
        return 0.0
    low, high, at_low, at_high = _bracket(excess, scale)
    within = [atom for atom in sorted(atoms) if low <= atom <= high]
    place = bisect_left(within, 1, key=lambda atom: int(excess(atom) <= rounding))  # by chance at an end too
    if place < len(within):
        atom = within[place]
        if excess(math.nextafter(atom, 0.0)) > rounding:
            return atom
        high, at_high = atom, min(0.0, excess(atom))
    if place > 0:
        low, at_low = within[place - 1], excess(within[place - 1])
    return _narrow(excess, low, high, at_low, at_high, relative_width)


def _bracket(excess: Callable[[float], float], scale: float) -> tuple[float, float, float, float]:
    """Times with an excess above 0 and not above 0, a factor of two apart."""
    low, high, at_low, at_high = 0.0, scale, math.inf, excess(scale)
    if at_high <= 0.0:
        for _ in range(_DOUBLINGS_MAX):
            middle = high / 2.0
            at_middle = excess(middle)
            if at_middle > 0.0 or middle == 0.0:
                return middle, high, at_middle, at_high
            high, at_high = middle, at_middle
    for _ in range(_DOUBLINGS_MAX):
        if at_high <= 0.0:
            return low, high, at_low, at_high
        low, at_low, high = high, at_high, 2.0 * high
        if math.isinf(high):
            break
        at_high = excess(high)
    raise DomainError("the tail does not fall to 1 - quantile within the range of a double")


def _narrow(
    excess: Callable[[float], float], low: float, high: float, at_low: float, at_high: float, width: float
) -> float:
    """The bracket's upper end once it is narrow enough.

    Each step leaves the newest point at one end, beside the other end and the point before it. Where
    the three lie on a curve that bends one way, the crossing of its inverse parabola comes next, else the
    middle; the first step follows the line. Next to an end the steps grow until one has crossed.
    """
    newest, at_newest, end, at_end, off = high, at_high, low, at_low, 0.375 * width
    share = at_high / (at_high - at_low) if math.isfinite(at_high - at_low) else 0.5
    while high - low > width * high:
        least = min(0.5, off * high / (high - low))  # of the bracket, so that the other end moves too
        point = newest + min(max(share, least), 1.0 - least) * (end - newest)
        if not low < point < high:  # adjacent doubles, or nearly
            point = low + (high - low) / 2.0
            if not low < point < high:
                break
        at_point = excess(point)
        if (at_point > 0.0) == (at_newest > 0.0):
            before, at_before = newest, at_newest
            off = 16.0 * off if share <= least else 0.375 * width
        else:
            before, at_before, end, at_end = end, at_end, newest, at_newest
            off = 0.375 * width
        newest, at_newest = point, at_point
        low, high = min(newest, end), max(newest, end)
        share = 0.0 if off > width else _crossing(newest, end, before, at_newest, at_end, at_before)
    return high


def _crossing(a: float, b: float, c: float, at_a: float, at_b: float, at_c: float) -> float:
    """Share of the way from a to b at which the inverse parabola through all three is 0, or a half."""
    if not all(map(math.isfinite, (at_a, at_b, at_c))) or at_c in (at_a, at_b):
        return 0.5
    along, up = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
    if not (up * up < along and (1.0 - up) ** 2 < 1.0 - along):
        return 0.5
    line = at_a / (at_b - at_a) * at_c / (at_b - at_c)
    return line + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)


_TABLE_MAX = 1_000_000
_LOG_OF_NOTHING = -1e300


def pmf(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """P(N = k), 0 for k < 0; shapes broadcast. [dimensionless]

    By logarithms, which lose the digits that k ln(mean) has before the point: 1e-13 at a thousand.

    >>> [round(float(p), 6) for p in pmf([-1, 0, 2], 2.0)]
    [0.0, 0.135335, 0.270671]
    """
    k, at = np.asarray(counts), _floats(mean)
    held = np.maximum(k, 0).astype(np.int64)
    with np.errstate(divide="ignore"):
        log_mean = np.maximum(np.log(at), _LOG_OF_NOTHING)  # so that 0 times it is 0
    return np.asarray(np.where(k < 0, 0.0, np.exp(held * log_mean - at - _log_factorials(held))))


def _log_factorials(counts: NDArray[np.int64]) -> Floats:
    """ln k!, read from a table where it is not too long."""
    most = int(counts.max(initial=0))
    if most > _TABLE_MAX:
        return np.asarray(gammaln(counts + 1.0))
    return _table(1 << most.bit_length())[counts]


@cache
def _table(length: int) -> Floats:
    """ln k! for k < length."""
    return np.asarray(gammaln(np.arange(length) + 1.0))


def at_least(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """P(N >= k), 1 for k <= 0; computed directly, however small. [dimensionless]

    >>> [round(float(p), 6) for p in at_least([0, 1, 3], 2.0)]
    [1.0, 0.864665, 0.323324]
    """
    k = _floats(counts)
    return np.asarray(np.where(k <= 0.0, 1.0, gammainc(np.maximum(k, 1.0), _floats(mean))))


def at_least_between(counts: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """P(N(high) >= k) - P(N(low) >= k), k >= 1: the k-th arrival lies between, in time of rate 1.

    From the tails or from their complements, whichever are smaller.

    >>> [round(float(p), 6) for p in at_least_between([1, 3], 1.0, 2.0)]
    [0.232544, 0.243022]
    """
    k, start, end = _floats(counts), _floats(low), _floats(high)
    below = gammainc(k, start)
    near_one = gammaincc(k, start) - gammaincc(k, end)
    return np.asarray(np.where(below > 0.5, near_one, gammainc(k, end) - below))


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
