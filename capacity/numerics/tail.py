"""Tail: from a survival function P(X > t) to quantiles, atoms included."""

import math
from collections.abc import Callable, Iterable

from capacity.errors import DomainError

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

    False position on log P (Illinois), which an exponential tail makes nearly straight, with a
    bisection whenever it has not halved the bracket: at most about 100 calls, usually 8 to 12. The
    returned end always has P(X > t) <= 1 - q.

    Args:
        tail: non-increasing survival function; any positive scale of time.
        quantile: q in (0, 1), not checked here.
        scale: a time of the order of the answer, to begin with.
        atoms: times that have a probability of their own; the answer is one of them exactly where
            P falls below 1 - q there.
        relative_width: of the last bracket.

    Source:
        Dowell & Jarratt (1971), BIT 11, "A modified regula falsi method".

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
    for atom in sorted(atoms):
        if low <= atom <= high and excess(atom) <= rounding:  # also where a doubling met it by chance
            if excess(math.nextafter(atom, 0.0)) > rounding:
                return atom
            high, at_high = atom, min(0.0, excess(atom))
            break
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
    """The bracket's upper end once it is narrow enough."""
    side, stalled, before = 0, 0, high - low
    while high - low > width * high:
        middle = low + (high - low) / 2.0 if stalled == 2 else _crossing(low, high, at_low, at_high, width)
        if not low < middle < high:  # adjacent doubles
            break
        at_middle = excess(middle)
        if at_middle > 0.0:
            low, at_low, at_high = middle, at_middle, at_high / 2.0 if side == 1 else at_high
            side = 1
        else:
            high, at_high, at_low = middle, at_middle, at_low / 2.0 if side == -1 else at_low
            side = -1
        stalled = 0 if high - low <= before / 2.0 or stalled == 2 else stalled + 1
        before = high - low if stalled == 0 else before
    return high


def _crossing(low: float, high: float, at_low: float, at_high: float, width: float) -> float:
    """Where the line between the ends crosses 0, but off the ends; the middle where one is infinite."""
    if math.isinf(at_low) or math.isinf(at_high) or at_low <= at_high:
        return low + (high - low) / 2.0
    crossing = low + (high - low) * (at_low / (at_low - at_high))
    off = 0.75 * width * high
    return min(max(crossing, low + off), high - off)
