"""Histogram: durations counted in buckets, cheap enough for every request, and written without a stall.

That of prometheus_client looks through its buckets one by one and locks each number, some microseconds each
time with a hundred buckets. Only the event loop counts here, so that bisection without a lock is right. To
write two versions with 32 batch sizes each takes it as long as many a request, about 40 ms; where the part of
each line that never changes is kept it is 2 ms.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import accumulate

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

    __slots__ = ("_bounds_s", "_counts", "_heads", "_sum_s", "_tail")

    def __init__(self, name: str, labels: str, bounds_s: Sequence[float]) -> None:
        """Empty.

        Args:
            labels: as they are written, `version="v1.0.0"`.
        """
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0
        before = f"{labels}," if labels else ""
        self._heads = [f'{name}_bucket{{{before}le="{bound}"}} ' for bound in (*bounds_s, "+Inf")]
        shown = f"{{{labels}}}" if labels else ""
        self._tail = f"{name}_count{shown} ", f"{name}_sum{shown} "

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def lines(self) -> list[str]:
        """Its lines; the number of all is the last bucket's, whatever is counted meanwhile."""
        sum_s, counts = self._sum_s, list(accumulate(self._counts.copy()))
        lines = [head + str(count) for head, count in zip(self._heads, counts, strict=True)]
        return [*lines, f"{self._tail[0]}{counts[-1]}", f"{self._tail[1]}{sum_s!r}"]


class HistogramFamily:
    """Series of one name, told apart by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds_s: Sequence[float]) -> None:
        self._name, self._text, self._label_names = name, text, labels
        self._bounds_s = bounds_s
        self._series: dict[tuple[str, ...], Histogram] = {}

    def labels(self, *values: str) -> Histogram:
        """The series with these labels, which must be plain words: nothing in them is escaped."""
        series = self._series.get(values)
        if series is None:
            pairs = zip(self._label_names, values, strict=True)
            labels = ",".join(f'{name}="{value}"' for name, value in pairs)
            series = self._series[values] = Histogram(self._name, labels, self._bounds_s)
        return series

    def keep(self, firsts: Collection[str]) -> None:
        """Drop all series whose first label is none of these."""
        self._series = {labels: series for labels, series in self._series.items() if labels[0] in firsts}

    def text(self) -> str:
        """All series in the text of Prometheus."""
        lines = [f"# HELP {self._name} {self._text}", f"# TYPE {self._name} histogram"]
        for series in list(self._series.values()):
            lines += series.lines()
        return "\n".join(lines) + "\n"
