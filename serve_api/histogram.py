"""Histogram: durations counted in buckets, cheap enough for every request.

That of prometheus_client looks through its buckets one by one and locks each number, some microseconds each
time with a hundred buckets. Only the event loop counts here, so that bisection without a lock is right.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

_RATIO = 10 ** (1 / 24)  # of neighbouring bounds: 10 % and a little


def logarithmic_bounds_s(low_exponent: int = -4, high_exponent: int = 1) -> tuple[float, ...]:
    """Bounds with 24 to each power of ten, from 0.1 ms to 10 s.

    >>> bounds = logarithmic_bounds_s()
    >>> len(bounds), bounds[0], bounds[1], bounds[24], bounds[-1]
    (121, 0.0001, 0.000110069, 0.001, 10.0)
    """
    steps = range(24 * low_exponent, 24 * high_exponent + 1)
    return tuple(float(f"{_RATIO**step:.6g}") for step in steps)


class Histogram:
    """Counts of one series."""

    __slots__ = ("_bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds


class HistogramFamily(Collector):
    """Series of one name, told apart by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds_s: Sequence[float]) -> None:
        self._name, self._text, self._label_names = name, text, labels
        self._bounds_s = bounds_s
        self._bound_names = [*map(repr, bounds_s), "+Inf"]
        self._series: dict[tuple[str, ...], Histogram] = {}

    def labels(self, *values: str) -> Histogram:
        """The series with these labels."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Histogram(self._bounds_s)
        return series

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All series, as prometheus_client writes them."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._label_names)
        for values, series in list(self._series.items()):
            sum_s, counts = series.sum_s, accumulate(series.counts.copy())
            buckets = list(zip(self._bound_names, map(float, counts), strict=True))
            family.add_metric(values, buckets, sum_s)
        yield family
