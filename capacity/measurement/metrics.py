"""Metrics: histograms of batch times by size, from a server's Prometheus page."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from capacity.errors import DependencyError, quoted
from capacity.files import printable
from capacity.measurement.http import Exchange
from capacity.measurement.url import Page
from capacity.performance import Interval
from capacity.profile.profile import BATCH_SIZE_LIMIT

LINE_LENGTH_MAX = 8192  # the parser takes quadratic time
_COUNT_MAX = 2.0**53  # largest whole number that a float counts to
ENVIRONMENT = "serve_environment_info"
# Names as in the environment of a callable.
_FACTS = ("cores_usable", "threads", "python", "onnxruntime")
_TEXT_MAX = 80
UNTOLD = {"threads": "not told by the server"}
RESTARTED = "the server restarted or counts from more than one process; measure one process without a restart"

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """A server's counters at one instant."""

    samples: Mapping[str, Mapping[Labels, float]]

    def series(self, name: str) -> Mapping[Labels, float]:
        """Values of a metric by labels; empty if there is no such metric."""
        return self.samples.get(name, {})

    def total(self, name: str) -> float | None:
        """Sum over all labels; None if there is no such metric."""
        series = self.series(name)
        return math.fsum(_count(value, name) for value in series.values()) if series else None

    def facts(self) -> dict[str, str]:
        """Threads and versions that the server reports; says so if it reports no threads."""
        for labels in self.series(ENVIRONMENT):
            told = dict(labels)
            found = {name: printable(told[name])[:_TEXT_MAX] for name in _FACTS if told.get(name)}
            if found:
                return UNTOLD | found
        return dict(UNTOLD)


def _count(value: float, name: str) -> float:
    """A counter's value, if it is finite, not negative, and small enough for a float to count."""
    if not 0.0 <= value <= _COUNT_MAX:  # also refuses NaN
        raise DependencyError(
            f"the metric {printable(name)[:80]} is {value}, which is not possible for a counter"
        )
    return value


def gain(before: Scrape, after: Scrape, name: str) -> Mapping[Labels, float]:
    """Increase of each counter of that name, by labels; a new one rose from 0.

    Raises DependencyError: a counter fell or is gone, as after a restart.
    """
    old, new = before.series(name), after.series(name)
    if set(old) - set(new):
        raise DependencyError(
            f"a series of {printable(name)[:80]} is gone from the second scrape: {RESTARTED}"
        )
    rises = {
        labels: _count(value, name) - _count(old.get(labels, 0.0), name) for labels, value in new.items()
    }
    if any(rise < 0.0 for rise in rises.values()):
        raise DependencyError(f"a counter of {printable(name)[:80]} fell between the scrapes: {RESTARTED}")
    return rises


def read_page(page: bytes) -> Scrape:
    """A page in Prometheus' text format.

    Raises DependencyError: another format, a line too long to read, or a series twice.
    """
    try:
        text = page.decode("utf-8")
    except UnicodeDecodeError:
        raise DependencyError("the metrics are not UTF-8 text; check --metrics") from None
    if max(map(len, text.split("\n"))) > LINE_LENGTH_MAX:
        raise DependencyError(
            f"the metrics have a line of more than {LINE_LENGTH_MAX} characters, as no page of metrics has"
        )
    samples: dict[str, dict[Labels, float]] = {}
    for name, labels, value in _samples(text):
        series = samples.setdefault(name, {})
        if labels in series:
            raise DependencyError(f"the metric {printable(name)[:80]} appears twice with the same labels")
        series[labels] = value
    return Scrape(samples=samples)


def _samples(text: str) -> Iterator[tuple[str, Labels, float]]:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield sample.name, frozenset(sample.labels.items()), float(sample.value)
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        reason = printable(str(error))[:120]
        raise DependencyError(f"the metrics are not in Prometheus' text format ({reason})") from None


def scrape(exchange: Exchange | Page) -> Scrape:
    """The metrics as they are now."""
    return read_page(exchange.ask().body)


# Fewer counts beyond a percentile do not tell where it is.
COUNTS_BEYOND_MIN = 10
# A bucket wider than this share of its percentile does not tell either.
BUCKET_ERROR_MAX = 0.25
_START = "process_start_time_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """Names of a server's batch metrics: histogram of times, label of the size, unit of the times. [s]"""

    metric: str = "serve_batch_seconds"
    label: str = "batch_size"
    unit_s: float = 1.0

    @property
    def totals(self) -> tuple[str, str]:
        """Names of the series without buckets: the sum of the times, and their number."""
        return f"{self.metric}_sum", f"{self.metric}_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Durations known by their sum, their number, and the number up to each bound."""

    bounds_s: tuple[float, ...]  # upper bounds of the buckets, rising, the last one infinite
    counts: tuple[int, ...]  # number in each bucket
    sum_s: float  # sum of all durations
    # sum and number in consecutive parts of the time, if it was scraped in between
    sections: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.bounds_s or self.bounds_s[-1] != math.inf or len(self.bounds_s) != len(self.counts):
            raise DependencyError("a histogram has no bucket up to +Inf, or not a count for each bucket")
        if any(not low < high for low, high in pairwise(self.bounds_s)):  # also refuses NaN
            raise DependencyError("a histogram's bounds must rise")
        if min(self.counts) < 0 or not (math.isfinite(self.sum_s) and self.sum_s >= 0.0):
            raise DependencyError(
                "a histogram's counts must not fall from one bucket to the next, nor its sum be negative"
            )

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float:
        """Mean: exact, as sum over count. [s]"""
        return self.sum_s / self.count

    def percentile_s(self, probability: float) -> Interval | None:
        """Percentile, interpolated within its bucket, with the bucket's ends; None if it is unknown.

        It is unknown with fewer than ten counts beyond it, or in a bucket that is open or wide.
        """
        wanted = probability * self.count
        if self.count - wanted < COUNTS_BEYOND_MIN - 1e-9:  # 1000 - 990 is not 10 in binary
            return None
        upto = list(accumulate(self.counts))
        at = next(k for k, count in enumerate(self.counts) if count and upto[k] >= wanted)
        low_s, high_s, count = (0.0, *self.bounds_s)[at], self.bounds_s[at], self.counts[at]
        if high_s == math.inf:
            return None
        value_s = low_s + (high_s - low_s) * (wanted - (upto[at] - count)) / count
        found = Interval(value=value_s, low=low_s, high=high_s)
        return found if relative_error(found) <= BUCKET_ERROR_MAX else None


def relative_error(percentile: Interval) -> float:
    """Largest relative error of a percentile interpolated within its bucket."""
    return percentile.half_width / percentile.value if percentile.value else math.inf


def gains(before: Scrape, after: Scrape, where: Histograms) -> dict[int, Histogram]:
    """Increase of the histograms by batch size, summed over other labels; sizes without a batch are absent.

    Raises DependencyError: no such histogram, one that contradicts itself, or a restart between the scrapes.
    """
    if before.total(_START) != after.total(_START):
        raise DependencyError(f"{_START} changed between the scrapes: {RESTARTED}")
    shown = printable(where.metric)[:80]
    if not after.series(f"{where.metric}_bucket"):
        raise DependencyError(f"the server has no histogram {shown}; check --metric")
    cumulative = _by_size_and_bound(gain(before, after, f"{where.metric}_bucket"), where.label)
    sums, numbers = (_by_size(gain(before, after, name), where.label) for name in where.totals)
    if not set(cumulative) == set(numbers) == set(sums):
        raise DependencyError(f"{shown} has buckets, _count and _sum of different batch sizes")
    found = {}
    for size, upto in sorted(cumulative.items()):
        bounds = sorted(upto)
        counts = tuple(upto[high] - upto.get(low, 0) for low, high in pairwise([0.0, *bounds]))
        try:
            one = Histogram(
                bounds_s=tuple(bound * where.unit_s for bound in bounds),
                counts=counts,
                sum_s=sums[size] * where.unit_s,
            )
        except DependencyError as error:
            raise DependencyError(f"{shown} at batch size {size}: {error}") from None
        if one.count != _whole(numbers[size]):
            raise DependencyError(
                f"{shown} at batch size {size}: _count gained {numbers[size]:g}, its buckets {one.count}"
            )
        if one.count:
            found[size] = one
    return found


def sectioned(
    gained: Mapping[int, Histogram], scrapes: Sequence[Scrape], where: Histograms
) -> dict[int, Histogram]:
    """The same histograms, with the increase between consecutive scrapes."""
    parts = [
        tuple(_by_size(gain(before, after, name), where.label) for name in where.totals)
        for before, after in pairwise(scrapes)
    ]
    return {
        size: replace(
            one,
            sections=tuple(
                (sums.get(size, 0.0) * where.unit_s, counts.get(size, 0.0)) for sums, counts in parts
            ),
        )
        for size, one in gained.items()
    }


def _by_size_and_bound(rises: Mapping[Labels, float], label: str) -> dict[int, dict[float, int]]:
    found: dict[int, dict[float, int]] = defaultdict(lambda: defaultdict(int))
    for labels, rise in rises.items():
        found[_size(labels, label)][_bound(dict(labels).get("le", ""))] += _whole(rise)
    return found


def _by_size(rises: Mapping[Labels, float], label: str) -> dict[int, float]:
    found: dict[int, float] = defaultdict(float)
    for labels, rise in rises.items():
        found[_size(labels, label)] += rise
    return found


def _size(labels: Labels, label: str) -> int:
    text = dict(labels).get(label)
    if text is None:
        raise DependencyError(f"a histogram has no label {printable(label)[:80]}; check --label")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= BATCH_SIZE_LIMIT):
        raise DependencyError(f"label {printable(label)[:80]} is {quoted(text)}, which is not a batch size")
    return int(text)


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if not bound > 0.0:
        raise DependencyError(f"a bucket's bound is {quoted(text)}, which is not a duration")
    return bound


def _whole(value: float) -> int:
    if value != int(value):
        raise DependencyError(f"a histogram counts {value}, which is not a whole number")
    return int(value)
