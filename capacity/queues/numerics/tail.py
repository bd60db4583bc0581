"""Tail: the time at which a falling tail crosses a level, and so the quantiles of a law."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable

from capacity.errors import DomainError

Tail = Callable[[float], float]
_DOUBLINGS_MAX = 2100  # from the smallest double to the largest
_ROUNDING = 1e-13  # of a probability: an atom that ends at 1 - q is not missed by its last digits
_LAST_BIT = 2.0**-53  # of q, of which 1 - q is all that is left: 1e-12 of it at P99.99


def first_true(test: Callable[[float], bool], low: float, high: float) -> float:
    """The point at which a test turns from false to true: bisection down to adjacent doubles."""
    if test(low):
        return low
    while low < (middle := low + (high - low) / 2.0) < high:
        if test(middle):
            high = middle
        else:
            low = middle
    return high


def in_atom(probability: float, quantile: float) -> bool:
    """Whether P(X > 0) <= 1 - q up to rounding, so that the quantile is 0: 0.1 is 1 - 0.9."""
    return probability <= (1.0 - quantile) * (1.0 + _rounding(quantile))


def _rounding(quantile: float) -> float:
    """Relative rounding error of a probability that is compared with 1 - q."""
    return _ROUNDING + _LAST_BIT / (1.0 - quantile)


def quantile_of(
    tail: Tail, quantile: float, scale: float, *, atoms: Iterable[float] = (), relative_width: float = 1e-14
) -> float:
    """inf{t >= 0: P(X > t) <= 1 - q}, to a bracket of relative width `relative_width`.

    Chandrupatla's method on log P, which an exponential tail makes nearly straight: inverse parabolas,
    and bisection where they cannot be trusted, usually 8 to 12 calls. The returned end always has
    P(X > t) <= 1 - q.

    Args:
        tail: non-increasing survival function; any positive scale of time.
        quantile: q in (0, 1), not checked here.
        scale: a time of the order of the answer, to begin with.
        atoms: times that have a probability of their own; the answer is one of them exactly where
            P falls below 1 - q there.
        relative_width: relative width of the last bracket.

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
    """Relative position between a and b where the inverse parabola through all three is 0, or a half."""
    if not all(map(math.isfinite, (at_a, at_b, at_c))) or at_c in (at_a, at_b):
        return 0.5
    along, up = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
    if not (up * up < along and (1.0 - up) ** 2 < 1.0 - along):
        return 0.5
    line = at_a / (at_b - at_a) * at_c / (at_b - at_c)
    return line + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
