"""Histogram: durations counted by bucket, as a server's metrics have them."""

import math
from dataclasses import dataclass
from itertools import pairwise

from capacity.errors import DependencyError
from capacity.performance import Interval

# Fewer counts beyond a percentile do not tell where it is.
COUNTS_BEYOND_MIN = 10
# A bucket wider than this share of the percentile in it does not tell either.
BUCKET_ERROR_MAX = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Durations that are known by their sum, their number, and how many lie up to each bound.

    Attributes:
        bounds_s: upper bounds of the buckets, rising, the last one infinite. [s]
        counts: how many lie in each bucket.
        sum_s: of all durations. [s]
    """

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float

    def __post_init__(self) -> None:
        if not self.bounds_s or self.bounds_s[-1] != math.inf or len(self.bounds_s) != len(self.counts):
            raise DependencyError("a histogram needs a bucket up to +Inf, and a count for each bucket")
        if any(not low < high for low, high in pairwise(self.bounds_s)):  # NaN too
            raise DependencyError("a histogram's bounds must rise")
        if min(self.counts) < 0 or not (math.isfinite(self.sum_s) and self.sum_s >= 0.0):
            raise DependencyError("a histogram's counts and sum must not be negative, nor its sum infinite")

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float:
        """Exact, since it is sum over count. [s]"""
        return self.sum_s / self.count

    def percentile_s(self, probability: float) -> Interval | None:
        """Percentile, by a straight line within its bucket, and the bucket's ends; None where that cannot be.

        It cannot with fewer than ten counts beyond it, or in a bucket that is open or wide.
        """
        wanted = probability * self.count
        if self.count - wanted < COUNTS_BEYOND_MIN - 1e-9:  # 1000 - 990 is not 10 in binary
            return None
        below = 0
        for low_s, high_s, count in zip((0.0, *self.bounds_s), self.bounds_s, self.counts, strict=False):
            if count and below + count >= wanted:
                value_s = low_s + (high_s - low_s) * (wanted - below) / count
                return _told(Interval(value=value_s, low=low_s, high=high_s)) if high_s < math.inf else None
            below += count
        return None

    @property
    def sum_ends_s(self) -> tuple[float, float]:
        """Least and most that the sum may be by the buckets. [s]

        Counted and summed up one after the other, a batch may be in the one and not yet in the other when it
        is looked at; so at both looks together two of the longest may be missing or too many.
        """
        pairs = zip((0.0, *self.bounds_s), self.bounds_s, self.counts, strict=False)
        filled = [(low_s, high_s, count) for low_s, high_s, count in pairs if count]
        longest_s = max((high_s if high_s < math.inf else low_s for low_s, high_s, _ in filled), default=0.0)
        least_s = math.fsum(low_s * count for low_s, _, count in filled)
        most_s = math.fsum(high_s * count for _, high_s, count in filled)
        return max(0.0, least_s - 2.0 * longest_s), most_s + 2.0 * longest_s


def _told(percentile: Interval) -> Interval | None:
    return percentile if relative_error(percentile) <= BUCKET_ERROR_MAX else None


def relative_error(percentile: Interval) -> float:
    """How far the truth may be from what was taken within the bucket, as a share of it."""
    return percentile.half_width / percentile.value if percentile.value else math.inf
