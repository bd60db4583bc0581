"""OpenTelemetry metrics as JSON (OTLP), such as the collector's file exporter writes: an object, or one a line.

Explicit and exponential histograms of times are read. Whole numbers of 64 bits are written as texts. Counts are since
the last export (delta) or since the start (cumulative); of cumulative ones the last of each start counts, so that
restarts add up.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from capacity.errors import InputError, quoted
from capacity.formats.buckets import SINCE_START, count, from_counts, label, run_of
from capacity.formats.document import SECONDS_PER, Document, Part, number, placed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest

NAME = "OpenTelemetry metrics (OTLP JSON)"
_POINTS_MAX = 200_000
_BUCKETS_MAX = 2000
_SCALES = (-10, 20)
_TEMPORALITY = {1: "delta", 2: "cumulative", "AGGREGATION_TEMPORALITY_DELTA": "delta",
                "AGGREGATION_TEMPORALITY_CUMULATIVE": "cumulative"}  # fmt: skip


Buckets = tuple[tuple[float, ...], tuple[float, ...]]  # upper bounds, the last infinite, and counts


class _Point(NamedTuple):
    """A histogram of one export."""

    start_ns: int
    time_ns: int
    sum: float | None
    buckets: Buckets


class _Series(NamedTuple):
    """A metric with its attributes."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    unit_s: float
    temporality: str

    @property
    def name(self) -> str:
        """Its name in messages and as a run."""
        return label(self.metric, dict(self.labels))


def recognises(document: Document) -> bool:
    """Whether it is metrics of resources, or its first line is."""
    return "resourceMetrics" in document.keys or (
        document.head.startswith("{") and "resourceMetrics" in document.first_line
    )


def read_load_test(document: Document) -> LoadTest:
    """A run for each histogram whose unit is one of time.

    Raises:
        InputError: no such histogram that counted anything, or counts that contradict each other.

    Source:
        opentelemetry-proto 1.x, metrics/v1/metrics.proto; OTLP specification, JSON Protobuf Encoding.
    """
    points: dict[_Series, list[_Point]] = defaultdict(list)
    left = _POINTS_MAX
    for metric in _metrics(document):
        for series, point in placed(document, document.name, partial(_points, metric)):
            points[series].append(point)
            left -= 1
        if left < 0:
            raise InputError(f"{document.name} has more than {_POINTS_MAX} points; keep a shorter time")
    runs = placed(
        document, document.name, lambda: tuple(filter(None, (_run(*one) for one in points.items())))
    )
    if not runs:
        raise InputError(
            f"{document.name} has no histogram with a unit of time (s, ms, us, ns) that counted anything; export "
            "http.server.request.duration or the like"
        )
    notes = (SINCE_START,) if any(one.temporality == "cumulative" for one in points) else ()
    return LoadTest(tool="opentelemetry", name=document.name, runs=runs, notes=notes)


def _metrics(document: Document) -> Iterator[Part]:
    whole = [(document.name, document.object)] if document.keys else document.lines()
    for where, found in whole:
        for resource in Part(where, found).parts("resourceMetrics"):
            for scope in resource.parts("scopeMetrics"):
                yield from scope.parts("metrics")


def _points(metric: Part) -> list[tuple[_Series, _Point]]:
    """Points of a metric's histogram; empty if it is of another kind or unit."""
    unit_s = SECONDS_PER.get(metric.text("unit")) if "unit" in metric else None
    kind = next((one for one in ("histogram", "exponentialHistogram") if one in metric), None)
    if unit_s is None or kind is None:
        return []
    data = metric.part(kind)
    temporality = _TEMPORALITY.get(data.scalar("aggregationTemporality"))
    if temporality is None:
        raise InputError(f"{data.where}.aggregationTemporality must be 1 (delta) or 2 (cumulative)")
    read = _explicit if kind == "histogram" else _exponential
    return [
        (
            _Series(metric.text("name"), tuple(sorted(_attributes(part).items())), unit_s, temporality),
            _point(part, read),
        )
        for part in data.parts("dataPoints")
    ]


def _attributes(point: Part) -> dict[str, str]:
    """Attributes with values of any kind, as texts."""
    found = {}
    for attribute in point.parts("attributes"):
        value = attribute.part("value") if "value" in attribute else None
        kinds = ("stringValue", "intValue", "doubleValue", "boolValue")
        known = [value.scalar(kind) for kind in kinds if kind in value] if value else []
        found[attribute.text("key")] = str(known[0]) if known else "?"
    return found


def _point(part: Part, read: Callable[[Part], Buckets]) -> _Point:
    total = count(_int(part, "count"), f"{part.where}.count") if "count" in part else 0
    buckets = read(part) if total else ((math.inf,), (0.0,))
    if math.fsum(buckets[1]) != total:
        raise InputError(f"{part.where}.count is {total:g}, but its buckets hold {math.fsum(buckets[1]):g}")
    return _Point(
        start_ns=_int(part, "startTimeUnixNano") if "startTimeUnixNano" in part else 0,
        time_ns=_int(part, "timeUnixNano"),
        sum=part.number("sum") if "sum" in part else None,
        buckets=buckets,
    )


def _explicit(part: Part) -> Buckets:
    bounds = [_real(one, f"{part.where}.explicitBounds") for one in part.values("explicitBounds")]
    counts = [_count(one, f"{part.where}.bucketCounts") for one in part.values("bucketCounts")]
    if len(counts) != len(bounds) + 1:
        raise InputError(
            f"{part.where} has {len(counts)} bucketCounts for {len(bounds)} explicitBounds; there must be one more"
        )
    return (*bounds, math.inf), tuple(counts)


def _exponential(part: Part) -> Buckets:
    """Bounds and counts; bucket i is above base^i and up to base^(i + 1), base = 2^(2^-scale)."""
    scale = _int(part, "scale") if "scale" in part else 0
    if not _SCALES[0] <= scale <= _SCALES[1]:
        raise InputError(f"{part.where}.scale must be from {_SCALES[0]} to {_SCALES[1]}, got {scale}")
    if "negative" in part and any(
        _count(one, part.where) for one in part.part("negative").values("bucketCounts")
    ):
        raise InputError(f"{part.where} counts durations below 0; is it a histogram of times?")
    zero = _count(part.scalar("zeroCount"), f"{part.where}.zeroCount") if "zeroCount" in part else 0.0
    threshold = part.number("zeroThreshold") if "zeroThreshold" in part else 0.0
    positive = part.part("positive") if "positive" in part else None
    counts = [_count(one, part.where) for one in positive.values("bucketCounts")] if positive else []
    if len(counts) > _BUCKETS_MAX:
        raise InputError(f"{part.where} has {len(counts)} buckets; there are {_BUCKETS_MAX} at most")
    offset = _int(positive, "offset") if positive and "offset" in positive else 0
    edges = [_power(offset + at, scale, part.where) for at in range(len(counts) + 1)]
    upper = [max(threshold, edges[0]) if counts else max(threshold, 1e-12), *edges[1:], math.inf]
    return tuple(upper), (zero, *counts, 0.0)


def _power(index: int, scale: int, where: str) -> float:
    exponent = index * 2.0**-scale
    if not -1000.0 < exponent < 1000.0:
        raise InputError(
            f"{where} has a bucket at 2^{exponent:.0f}, which is no time; check offset and scale"
        )
    return float(2.0**exponent)


def _run(series: _Series, points: Sequence[_Point]) -> LoadRun | None:
    kept = points if series.temporality == "delta" else _last_of_each_start(points)
    if len({point.buckets[0] for point in kept if sum(point.buckets[1])}) > 1:
        raise InputError(f"{series.name} changed its buckets between exports; keep a shorter time")
    sums = [point.sum for point in kept]
    total = None if any(one is None for one in sums) else math.fsum(one for one in sums if one is not None)
    histogram = _added(series, [point.buckets for point in kept if sum(point.buckets[1])])
    if histogram is None:
        return None
    sum_s = None if total is None else total * series.unit_s
    return run_of(series.name, histogram, sum_s, duration_s=_counted_s(series, kept))


def _counted_s(series: _Series, points: Sequence[_Point]) -> float | None:
    """Time over which deltas were counted; None for totals since a start, which may include idle time. [s]"""
    if series.temporality != "delta" or not all(0 < one.start_ns < one.time_ns for one in points):
        return None
    return (max(one.time_ns for one in points) - min(one.start_ns for one in points)) / 1e9


def _last_of_each_start(points: Sequence[_Point]) -> list[_Point]:
    last: dict[int, _Point] = {}
    for point in sorted(points, key=lambda one: one.time_ns):
        last[point.start_ns] = point
    return list(last.values())


def _added(series: _Series, buckets: Sequence[Buckets]) -> Histogram | None:
    if not buckets:
        return None
    counts = [math.fsum(column) for column in zip(*(one for _, one in buckets), strict=True)]
    return from_counts(buckets[0][0], counts, series.unit_s, series.name)


def _int(part: Part, key: str) -> int:
    """A whole number of 64 bits, which JSON writes as a text."""
    raw = part.scalar(key)
    try:
        found = int(raw) if isinstance(raw, str) and len(raw) <= 20 else part.whole(key)
    except ValueError:
        raise InputError(f"{part.where}.{key} must be a whole number, got {quoted(raw)}") from None
    return found


def _count(raw: Any, where: str) -> float:
    return count(_real(raw, where), where)


def _real(raw: Any, where: str) -> float:
    try:
        return float(raw) if isinstance(raw, str) else number(raw, where)
    except ValueError:
        raise InputError(f"{where} must be a number, got {quoted(raw)}") from None


READERS = {"load-test": read_load_test}
