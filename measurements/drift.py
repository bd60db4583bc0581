"""Drift: how much slower the second half of the samples was than the first, beyond what chance explains."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from capacity.performance import Interval
from measurements.mean_interval import sections, student_t, variance, widened

SAMPLES_MIN = 20  # of both halves together, below which there is no telling
_SECTIONS = 10  # of a half
# A drift that is certain and smaller than this is smaller than what else a profile leaves open.
SHIFT_OF_NOTE = 0.02


def drift(samples_s: Sequence[float], confidence: float) -> Interval | None:
    """Relative shift from the first half to the second, 0.05 where that took 5 % longer; None of a few.

    Logarithms are compared, by Welch (1938), Biometrika 29, so that a shift is a ratio: of medians, which a
    few batches that stalled do not move, and over sections, since slow spells that come and go are noise, of
    which each half has its share; what is left of them from section to section widens the interval.
    """
    if len(samples_s) < SAMPLES_MIN:
        return None
    middle = len(samples_s) // 2
    first, second = (_levels(half) for half in (samples_s[:middle], samples_s[middle:]))
    parts = [variance(half) / len(half) for half in (first, second)]
    shift = math.fsum(second) / len(second) - math.fsum(first) / len(first)
    spread = math.fsum(parts)
    if spread == 0.0:
        return Interval.exact(math.expm1(shift))
    freedom = spread**2 / math.fsum(
        part**2 / (len(half) - 1) for part, half in zip(parts, (first, second), strict=True)
    )
    reach = student_t(confidence, freedom) * math.sqrt(spread)
    if middle >= 2 * _SECTIONS:  # else they are single batches, and too few to tell how alike neighbours are
        reach *= _widened(first, second)
    return Interval(value=math.expm1(shift), low=math.expm1(shift - reach), high=math.expm1(shift + reach))


def _widened(*halves: Sequence[float]) -> float:
    """How much longer the interval is as sections resemble their neighbours, by both halves."""
    apart = [[level - math.fsum(half) / len(half) for level in half] for half in halves]
    squares = math.fsum(one * one for half in apart for one in half)
    products = math.fsum(one * other for half in apart for one, other in pairwise(half))
    return widened(products / squares, min(map(len, halves)))


def _levels(samples_s: Sequence[float]) -> list[float]:
    """Logarithm of the usual batch of each section."""
    return [math.log(median(section)) for section in sections(samples_s, _SECTIONS)]


def family_confidence(confidence: float, sizes: int) -> float:
    """Confidence of each of several intervals that shall hold together, by Bonferroni's inequality."""
    return 1.0 - (1.0 - confidence) / sizes


def is_of_note(shift: Interval | None) -> bool:
    """Whether it is a drift, beyond what chance explains and large enough to matter."""
    if shift is None or abs(shift.value) < SHIFT_OF_NOTE:
        return False
    return shift.low > 0.0 or shift.high < 0.0
