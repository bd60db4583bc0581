"""Plausibility: what in a profile's figures is more likely a slip than a measurement."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from capacity.profile import BatchTiming, ServiceProfile
from capacity.units import SECONDS_PER_UNIT

# A batch is seldom faster than the one, and hardly waited for if slower than the other.
_FAST_S, _SLOW_S = 50e-6, 60.0
# The unit that makes such a figure usual again: the next larger one of a fast batch, the smaller of a slow.
_LARGER_UNIT, _SMALLER_UNIT = {"ms": "s"}, {"s": "ms", "ms": "us"}
# A larger batch is faster if its mean is lower by so many standard errors, and by at least such a share: of
# samples the usual precision of an answer, of summaries, whose errors are unknown, a few per cent.
_ERRORS, _SHARE, _SUMMARY_SHARE = 4.0, 0.02, 0.05
_SAMPLES_MIN = 20  # fewer do not tell their own scatter
_ALIKE_MAX = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDoubt:
    """A column whose times are out of the usual, and would be usual in another unit.

    Attributes:
        column: as it stands in the file; `renamed` as it would be in the other unit.
        batch_size: whose mean is out of the usual.
        value: that mean as it stands in the file, in the unit of `column`.
        read_s, meant_s: that mean as it was read, and in the other unit. [s]
        limit_s: what it lies beyond. [s]
    """

    column: str
    renamed: str
    batch_size: int
    value: float
    read_s: float
    meant_s: float
    limit_s: float

    @property
    def unit(self) -> str:
        """The unit in the column's name."""
        return self.column.rpartition("_")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dip:
    """A batch that took less time in all than the next smaller one that was measured. [s]"""

    smaller: int
    larger: int
    smaller_mean_s: float
    larger_mean_s: float

    @property
    def share(self) -> float:
        """By which the larger was faster."""
        return 1.0 - self.larger_mean_s / self.smaller_mean_s


def unit_doubt(profile: ServiceProfile) -> UnitDoubt | None:
    """Whether the times of a file look as if they were in another unit than their column says."""
    if profile.timings_column is None:
        return None
    fastest, slowest = (pick(profile.timings, key=_mean_s) for pick in (min, max))
    unit = profile.timings_column.rpartition("_")[2]
    if _mean_s(fastest) < _FAST_S and unit in _LARGER_UNIT:
        return _doubt(profile.timings_column, fastest, _FAST_S, _LARGER_UNIT[unit])
    if _mean_s(slowest) > _SLOW_S and unit in _SMALLER_UNIT:
        return _doubt(profile.timings_column, slowest, _SLOW_S, _SMALLER_UNIT[unit])
    return None


def _doubt(column: str, timing: BatchTiming, limit_s: float, other: str) -> UnitDoubt:
    name, _, unit = column.rpartition("_")
    value = _mean_s(timing) / float(SECONDS_PER_UNIT[unit])
    return UnitDoubt(
        column=column,
        renamed=f"{name}_{other}",
        batch_size=timing.batch_size,
        value=value,
        read_s=_mean_s(timing),
        meant_s=value * float(SECONDS_PER_UNIT[other]),
        limit_s=limit_s,
    )


def dips(profile: ServiceProfile) -> Iterator[Dip]:
    """Batches that were faster than the next smaller ones, by more than chance explains.

    Means of samples are compared by their standard errors (Welch 1947, Biometrika 34); few samples tell no
    error and are passed over.
    """
    for smaller, larger in pairwise(profile.timings):
        dip = Dip(
            smaller=smaller.batch_size,
            larger=larger.batch_size,
            smaller_mean_s=_mean_s(smaller),
            larger_mean_s=_mean_s(larger),
        )
        if _is_of_note(dip, smaller, larger):
            yield dip


def _is_of_note(dip: Dip, *timings: BatchTiming) -> bool:
    samples = [timing.samples_s for timing in timings if timing.samples_s]
    if dip.share <= (_SHARE if len(samples) == len(timings) else _SUMMARY_SHARE):
        return False
    if any(len(one) < _SAMPLES_MIN for one in samples):
        return False
    error_s = math.hypot(*(_standard_error_s(one) for one in samples))
    return dip.smaller_mean_s - dip.larger_mean_s > _ERRORS * error_s


def _mean_s(timing: BatchTiming) -> float:
    return fmean(timing.samples_s) if timing.mean_s is None else timing.mean_s


def _standard_error_s(samples_s: Sequence[float]) -> float:
    """Of a mean of samples in their order, wider where neighbours are alike, as in slow spells. [s]

    By sqrt((1 + r)/(1 - r)) for a correlation r > 0 of neighbours (Box, Jenkins & Reinsel 1994, Time Series
    Analysis, sec. 2.1.6); the sample's r is low by (1 + 3r)/n (Marriott & Pope 1954, Biometrika 41).
    """
    count, mean_s = len(samples_s), fmean(samples_s)
    apart_s = [sample_s - mean_s for sample_s in samples_s]
    squares = math.fsum(one * one for one in apart_s)
    if squares == 0.0:
        return 0.0
    alike = math.fsum(one * other for one, other in pairwise(apart_s)) / squares
    alike = min(max(0.0, (alike + 1.0 / count) / (1.0 - 3.0 / count)), _ALIKE_MAX)
    return math.sqrt(squares / (count - 1) / count * (1.0 + alike) / (1.0 - alike))
