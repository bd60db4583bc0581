"""ServiceLaw: the distribution of the time of a batch, as a piecewise linear quantile function.

One shape serves raw samples (steps), a summary (lines through its percentiles) and sizes between two measured ones
(their weighted mean, quantile by quantile). Its value at a uniform number is a draw: Devroye (1986), Non-Uniform
Random Variate Generation, sec. II.2.1.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, pairwise

from capacity.errors import InputError

# Nothing was measured beyond the last percentile. The mean beyond it may be this many times that percentile; a mean
# that needs more contradicts its own percentiles.
TAIL_MEAN_RATIO_MAX = 2.0
# Durations that differ by less than this share of the mean differ by rounding only.
_ROUNDING = 1e-12
# Steepest piece between two percentiles: nearly a jump at the upper one.
_RISE_MIN = 0.02


@dataclass(frozen=True, kw_only=True)
class ServiceLaw:
    """A monotone quantile function through `(probabilities[i], durations_s[i])`, jumps allowed.

    Its moments are kept, as a law through samples has thousands of knots and is asked for them again and again.

    Attributes:
        probabilities: shape `(knots,)`, from 0 to 1, not falling; two equal ones are a jump.
        durations_s: shape `(knots,)`, positive, not falling. [s]
        tail_ratio: mean beyond the last percentile over that percentile, if the mean left no other room; None if
            the ordinary rule for the tail applied.
    """

    probabilities: tuple[float, ...]
    durations_s: tuple[float, ...]
    tail_ratio: float | None = None

    def quantile_s(self, probability: float) -> float:
        """Smallest duration that a share `probability` of the batches stays within. [s]"""
        right = max(1, bisect_left(self.probabilities, probability))
        u0, u1 = self.probabilities[right - 1 : right + 1]
        x0, x1 = self.durations_s[right - 1 : right + 1]
        if probability == u1:  # a given percentile comes back to the last digit
            return x1
        return min(x1, x0 + (x1 - x0) * ((probability - u0) / (u1 - u0)))

    @cached_property
    def mean_s(self) -> float:
        """Mean duration: the area under the quantile function. [s]"""
        knots = pairwise(zip(self.probabilities, self.durations_s, strict=True))
        return math.fsum((u1 - u0) * (x0 + x1) / 2.0 for (u0, x0), (u1, x1) in knots)

    @cached_property
    def scv(self) -> float:
        """Squared coefficient of variation: variance over squared mean. [dimensionless]"""
        knots = pairwise(zip(self.probabilities, self.durations_s, strict=True))
        mean_s = self.mean_s
        squares = ((u1 - u0) * ((x0 - mean_s) ** 2 + (x0 - mean_s) * (x1 - mean_s) + (x1 - mean_s) ** 2)
                   for (u0, x0), (u1, x1) in knots)  # fmt: skip
        return math.fsum(squares) / 3.0 / mean_s**2

    @property
    def is_deterministic(self) -> bool:
        """Whether every batch takes equally long."""
        return self.durations_s[0] == self.durations_s[-1]


def constant(duration_s: float) -> ServiceLaw:
    """The law of a batch that always takes `duration_s`."""
    return ServiceLaw(probabilities=(0.0, 1.0), durations_s=(duration_s, duration_s))


def from_samples(samples_s: Sequence[float]) -> ServiceLaw:
    """Empirical quantiles: each of n samples holds for 1/n of the probability.

    Args:
        samples_s: measured durations, shape `(samples,)`, in any order. [s]

    >>> from_samples([3.0, 1.0]).quantile_s(0.5)
    1.0
    """
    return ServiceLaw(probabilities=_steps(len(samples_s)), durations_s=_twice(sorted(samples_s)))


@lru_cache(maxsize=16)
def _steps(count: int) -> tuple[float, ...]:
    """Where each of this many equal steps begins and ends."""
    return _twice([place / count for place in range(count + 1)])[1:-1]


def _twice(values: list[float]) -> tuple[float, ...]:
    """Each value two times in a row."""
    return tuple(chain.from_iterable(zip(values, values, strict=True)))


def from_summary(mean_s: float, percentiles_s: dict[float, float]) -> ServiceLaw:
    """Lines through the given percentiles, with exactly the given mean.

    Above the last percentile p, the ordinary rule draws a line whose mean excess is that of the exponential tail
    through the last two percentiles, Δ/ln((1-p')/(1-p)); with one percentile it is flat. Between percentiles the line
    is straight, and below the first it is placed so that the mean is right. If that would put the body below half of
    the first percentile, the pieces between percentiles stay low and rise late, all by the same share of their
    length. If even a flat body leaves the mean short, the pieces rise early and stay high, all alike; and if that is
    not enough either, the tail is stretched, by `TAIL_MEAN_RATIO_MAX` at most.

    Args:
        mean_s: mean duration. [s]
        percentiles_s: duration by probability in (0, 1), any number of them. [s]

    Raises:
        InputError: percentiles that fall, or a mean that contradicts them.
    """
    if not percentiles_s:
        return constant(mean_s)
    knots = sorted(percentiles_s.items())
    _check_rising(knots)
    first_u, first_x = knots[0]
    tail_mean_s = knots[-1][1] + _tail_excess_s(knots)
    rise = _rise(mean_s, knots, tail_mean_s)
    middle = _middle_area(knots, rise)
    body_mean_s = (mean_s - middle - tail_mean_s * (1.0 - knots[-1][0])) / first_u
    tail_ratio = None
    if abs(body_mean_s - first_x) <= _ROUNDING * mean_s:
        body_mean_s = first_x
    elif body_mean_s > first_x:
        body_mean_s = first_x
        rise = -_early_rise(mean_s, knots, tail_mean_s)
        if rise == -_RISE_MIN:
            tail_mean_s = _stretched_tail_s(mean_s, knots)
            tail_ratio = tail_mean_s / knots[-1][1]
    if body_mean_s <= 0.0:
        raise InputError(
            f"mean {mean_s:g} s is too small for its percentiles {_shown(knots)}; "
            "check the columns, or give raw samples"
        )
    end = (1.0, 2.0 * tail_mean_s - knots[-1][1])
    pieces = [*_body(first_u, first_x, body_mean_s), *_middle(knots, rise), end]
    return ServiceLaw(
        probabilities=tuple(u for u, _ in pieces),
        durations_s=tuple(x for _, x in pieces),
        tail_ratio=tail_ratio,
    )


def later(law: ServiceLaw, extra_s: float) -> ServiceLaw:
    """The law of durations that are always `extra_s` longer."""
    if extra_s == 0.0:
        return law
    return replace(law, durations_s=tuple(x + extra_s for x in law.durations_s))


def between(low: ServiceLaw, high: ServiceLaw, weight: float) -> ServiceLaw:
    """The law whose every quantile lies a share `weight` of the way from `low` to `high`."""
    if weight == 0.0:
        return low
    union = sorted(set(low.probabilities) | set(high.probabilities))
    knots = [knot for u in union for knot in _sides(low, high, weight, u)]
    return ServiceLaw(probabilities=tuple(u for u, _ in knots), durations_s=tuple(x for _, x in knots))


def _check_rising(knots: list[tuple[float, float]]) -> None:
    for (_, x0), (_, x1) in pairwise(knots):
        if x1 < x0:
            raise InputError(f"percentiles must not fall: {_shown(knots)}; check the columns")


def _shown(knots: list[tuple[float, float]]) -> str:
    return ", ".join(f"P{100.0 * u:g} = {x:g} s" for u, x in knots)


def _tail_excess_s(knots: list[tuple[float, float]]) -> float:
    """Mean excess beyond the last percentile of the exponential through the last two."""
    if len(knots) < 2:
        return 0.0
    (u0, x0), (u1, x1) = knots[-2:]
    excess_s = (x1 - x0) / math.log((1.0 - u0) / (1.0 - u1))
    return min(excess_s, (TAIL_MEAN_RATIO_MAX - 1.0) * x1)


def _rise(mean_s: float, knots: list[tuple[float, float]], tail_mean_s: float) -> float:
    """Share of each piece between percentiles over which it rises: 1 if straight lines do.

    It is smaller if that brings the body's mean to half of the first percentile, but never below `_RISE_MIN`.
    """
    first_u, first_x = knots[0]
    rest = mean_s - tail_mean_s * (1.0 - knots[-1][0]) - first_u * first_x / 2.0
    flat = math.fsum((u1 - u0) * x0 for (u0, x0), (u1, _) in pairwise(knots))
    straight = _middle_area(knots, 1.0)
    if rest >= straight or straight == flat:
        return 1.0
    return max(_RISE_MIN, (rest - flat) / (straight - flat))


def _early_rise(mean_s: float, knots: list[tuple[float, float]], tail_mean_s: float) -> float:
    """Share of each piece over which it rises at its beginning, so that a flat body gives the mean."""
    first_u, first_x = knots[0]
    wanted = mean_s - tail_mean_s * (1.0 - knots[-1][0]) - first_u * first_x
    high = math.fsum((u1 - u0) * x1 for (u0, _), (u1, x1) in pairwise(knots))
    straight = _middle_area(knots, 1.0)
    if high == straight:
        return _RISE_MIN
    return max(_RISE_MIN, (high - wanted) / (high - straight))


def _middle_area(knots: list[tuple[float, float]], rise: float) -> float:
    """Contribution to the mean of the part between the first and the last percentile."""
    area = 0.0
    for (u0, x0), (u1, x1) in pairwise(knots):
        ramp = (x1 - x0) * abs(rise) / 2.0
        area += (u1 - u0) * (x0 + ramp if rise > 0.0 else x1 - ramp)
    return area


def _middle(knots: list[tuple[float, float]], rise: float) -> list[tuple[float, float]]:
    """The percentiles, with knots between them where a late rise begins or an early one (< 0) ends."""
    if rise == 1.0:
        return knots
    if rise > 0.0:
        bends = [(u1 - rise * (u1 - u0), x0) for (u0, x0), (u1, _) in pairwise(knots)]
    else:
        bends = [(u0 - rise * (u1 - u0), x1) for (u0, _), (u1, x1) in pairwise(knots)]
    return sorted([*knots, *bends])


def _stretched_tail_s(mean_s: float, knots: list[tuple[float, float]]) -> float:
    """Tail mean that gives the mean when the body is as long as it can be."""
    first_u, first_x = knots[0]
    last_u, last_x = knots[-1]
    tail_mean_s = (mean_s - first_u * first_x - _middle_area(knots, -_RISE_MIN)) / (1.0 - last_u)
    ratio = tail_mean_s / last_x
    if ratio > TAIL_MEAN_RATIO_MAX:
        raise InputError(
            f"mean {mean_s:g} s contradicts {_shown(knots)}: the slowest {100.0 * (1.0 - last_u):g} % would "
            f"have to average {ratio:.3g} x P{100.0 * last_u:g}, more than {TAIL_MEAN_RATIO_MAX:g} x; "
            "measure again, or give raw samples"
        )
    return tail_mean_s


def _body(first_u: float, first_x: float, body_mean_s: float) -> list[tuple[float, float]]:
    """Knots below the first percentile: a line, or a flat part and a line if a line is too long.

    The shortest duration is at least half of the body's mean, so that a draw stays positive.
    """
    if body_mean_s * 3.0 >= first_x * 2.0:
        return [(0.0, 2.0 * body_mean_s - first_x)]
    shortest_s = body_mean_s / 2.0
    flat_u = first_u - first_u * 2.0 * (body_mean_s - shortest_s) / (first_x - shortest_s)
    return [(0.0, shortest_s), (flat_u, shortest_s)] if flat_u > 0.0 else [(0.0, shortest_s)]


def _sides(low: ServiceLaw, high: ServiceLaw, weight: float, u: float) -> list[tuple[float, float]]:
    """The one or two values at a knot of the union: below and above a jump."""
    ends = [_limits(law, u) for law in (low, high)]
    below, above = ((1.0 - weight) * a + weight * b for a, b in zip(*ends, strict=True))
    return [(u, below)] if below == above else [(u, below), (u, above)]


def _limits(law: ServiceLaw, u: float) -> tuple[float, float]:
    """Quantile just below and just above `u`."""
    first, last = bisect_left(law.probabilities, u), bisect_right(law.probabilities, u) - 1
    if first <= last:
        return law.durations_s[first], law.durations_s[last]
    value = law.quantile_s(u)
    return value, value
