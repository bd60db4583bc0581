"""An answer of Prometheus' HTTP API, `/api/v1/query` or `query_range`: what servers counted, at once or over time.

Values are texts, among them `NaN` and `+Inf`. A classic histogram comes as a series for each bound `le`, a native one
as `histogram` or `histograms` with buckets [which ends belong to it, lower, upper, count]. Over a range, the increase
of the counters is read, with restarts allowed for; at an instant, their totals.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.formats.buckets import SINCE_START, count, from_counts, from_cumulative, label, run_of, unit_of
from capacity.formats.document import Document, Part, number, placed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Moment

NAME = "an answer of Prometheus' HTTP API (api/v1/query or query_range)"
_VALUES_MAX = 2_000_000
_IN_FLIGHT = ("requests_running", "requests_in_progress", "requests_in_flight", "inflight_requests")

Labels = tuple[tuple[str, str], ...]
Bucket = tuple[float, float]
Points = dict[float, float]  # a counter's value by instant


class _Series(NamedTuple):
    """One series: its place, and its values over time."""

    where: str
    metric: str
    labels: Labels
    values: Points
    natives: Sequence[tuple[float, "_Native"]]


class _Native(NamedTuple):
    """A native histogram at one instant."""

    sum: float
    buckets: Mapping[Bucket, float]

    @property
    def total(self) -> float:
        """Sum of the counts."""
        return math.fsum(self.buckets.values())


def recognises(document: Document) -> bool:
    """Whether it is an answer with a status, good or bad."""
    if "status" not in document.keys:
        return False
    data = document.object.get("data")
    return "errorType" in document.keys or (isinstance(data, dict) and "resultType" in data)


def read_load_test(document: Document) -> LoadTest:
    """A run for each histogram of times; else one for each counter of requests or gauge of those in flight.

    Raises:
        InputError: an error instead of an answer, nothing about requests, or counts that contradict each other.

    Source:
        Prometheus 3 documentation, Querying, HTTP API: expression query result formats, native histograms.
    """
    answer = Part(document.name, document.object)
    if answer.text("status") != "success":
        reason = printable(str(answer.text("error") if "error" in answer else "no reason given"))[:200]
        raise InputError(
            f"{document.name} is an error of Prometheus ({reason}); mend the query, and save it again"
        )
    data = answer.part("data")
    kind = data.text("resultType")
    if kind not in ("vector", "matrix"):
        raise InputError(
            f"{data.where} has the resultType {quoted(kind)}; query series of a histogram, which come as "
            "a vector or a matrix"
        )
    series = list(_series(data))
    runs = placed(document, document.name, lambda: (*_classic(series), *_native(series)))
    if not runs:
        runs = placed(document, document.name, lambda: tuple(_counted(series)))
    if not runs:
        raise InputError(_nothing(document.name, series))
    note = (
        SINCE_START
        if kind == "vector"
        else "these are rises of the counters over the range, restarts allowed for"
    )
    return LoadTest(tool="prometheus", name=document.name, runs=runs, notes=(note,))


def _nothing(name: str, series: Sequence[_Series]) -> str:
    if any(dict(one.labels).get("le") and not unit_of(one.metric.removesuffix("_bucket")) for one in series):
        return (
            f"{name} has buckets whose metric names no unit of time; rate() and sum() drop the name, so query "
            "NAME_seconds_bucket itself over a range, which is read with restarts allowed for"
        )
    return (
        f"{name} has no histogram of times, counter of requests or gauge of requests in flight that counted "
        "anything; query NAME_seconds_bucket, or NAME_requests_total over a range"
    )


# ---- Reading series ---------------------------------------------------------------------------


def _series(data: Part) -> Iterator[_Series]:
    left = _VALUES_MAX
    for part in data.parts("result"):
        values, natives = _points(part, "value"), _points(part, "histogram")
        left -= len(values) + len(natives)
        if left < 0:
            raise InputError(f"{data.where} has more than {_VALUES_MAX} values; query with a longer step")
        labels = part.part("metric").texts()
        yield _Series(
            where=part.where,
            metric=labels.pop("__name__", ""),
            labels=tuple(sorted(labels.items())),
            values={t_s: _value(raw, where) for where, t_s, raw in values},
            natives=[(t_s, _native_at(raw, where)) for where, t_s, raw in natives],
        )


def _points(series: Part, key: str) -> list[tuple[str, float, Any]]:
    """Instants and values of one point under `key`, or of several under its plural."""
    if key in series:
        found, places = [series.list(key)], [f"{series.where}.{key}"]
    elif f"{key}s" in series:
        found = list(series.list(f"{key}s"))
        places = [f"{series.where}.{key}s[{at}]" for at in range(len(found))]
    else:
        return []
    for point, where in zip(found, places, strict=True):
        if not isinstance(point, list) or len(point) != 2:
            raise InputError(f"{where} must be an instant and a value")
    read = [(where, number(point[0], where), point[1]) for point, where in zip(found, places, strict=True)]
    seen: set[float] = set()
    for where, t_s, _ in read:
        if t_s in seen:
            raise InputError(
                f"{where} is at {t_s:.15g}, as another is of its series; keep one point an instant"
            )
        seen.add(t_s)
    return read


def _value(raw: Any, where: str) -> float:
    """A value, which Prometheus writes as a text so that it can be NaN or infinite."""
    try:
        return float(raw) if isinstance(raw, str) else number(raw, where)
    except ValueError:
        raise InputError(f"{where} must be a number as a text, got {quoted(raw)}") from None


def _native_at(raw: Any, where: str) -> _Native:
    part = Part(where, raw)
    buckets: dict[Bucket, float] = {}
    for at, bucket in enumerate(part.list("buckets") if "buckets" in part else []):
        place = f"{where}.buckets[{at}]"
        if not isinstance(bucket, list) or len(bucket) != 4:
            raise InputError(f"{place} must be which ends belong to it, lower, upper and count")
        low, high, size = (_value(cell, place) for cell in bucket[1:])
        if not low < high:
            raise InputError(f"{place} must rise from lower to upper, got {low:g} and {high:g}")
        buckets[low, high] = count(size, place)
    return _Native(sum=_value(part.text("sum"), where), buckets=buckets)


# ---- Classic histograms -----------------------------------------------------------------------


def _classic(series: Sequence[_Series]) -> Iterator[LoadRun]:
    """Histograms with a series for each bound."""
    bounds: dict[tuple[str, Labels], dict[float, Points]] = defaultdict(dict)
    sums = {(one.metric, one.labels): one.values for one in series}
    for one in series:
        labels = dict(one.labels)
        metric = one.metric.removesuffix("_bucket")
        if "le" in labels and unit_of(metric):
            bound = _value(labels.pop("le"), f"{one.where}.metric.le")
            bounds[metric, tuple(sorted(labels.items()))][bound] = one.values
    for (metric, others), points in bounds.items():
        name = label(metric, dict(others))
        run = _classic_run(name, unit_of(metric) or 1.0, points, sums.get((f"{metric}_sum", others)))
        if run is not None:
            yield run


def _classic_run(
    name: str, unit_s: float, points: Mapping[float, Points], sums: Points | None
) -> LoadRun | None:
    times = _common_times(name, points)
    steps = {bound: _rises(values, times, points) for bound, values in points.items()}
    rises = {bound: math.fsum(found) for bound, found in steps.items()}
    histogram = from_cumulative(rises, unit_s, name)
    total = None
    if sums is not None and set(times) <= set(sums):
        _require_counter(f"{name}, its sum", sums.values())
        total = unit_s * math.fsum(_rises(sums, times, {**points, -math.inf: sums}))
    return run_of(name, histogram, total, _history(times, steps[math.inf]), times[-1] - times[0])


def _common_times(name: str, points: Mapping[float, Points]) -> list[float]:
    """Instants at which all bounds existed, as a series that starts later has no increase before."""
    if any(not 0.0 <= value < math.inf for values in points.values() for value in values.values()):
        raise InputError(
            f"{name} has a bucket that is no count (NaN or infinite); query the buckets themselves"
        )
    times = sorted(set.intersection(*(set(values) for values in points.values())))
    if not times:
        raise InputError(f"{name} has no instant at which all of its buckets are there; query them together")
    if len(times) == 1 and any(len(values) > 1 for values in points.values()):
        raise InputError(
            f"{name} has one instant at which all of its buckets are there; query a longer range"
        )
    return times


def _require_counter(name: str, values: Iterable[float]) -> None:
    least = min(values, default=0.0)
    if least < 0.0:
        raise InputError(f"{name}: a counter is never below 0, and it is {least:g}; query the counter itself")


def _rises(values: Points, times: Sequence[float], all_of_it: Mapping[float, Points]) -> list[float]:
    """Increase of a counter from each instant to the next; its total if there is one instant.

    If any series of the histogram fell, the server restarted, and all of them count from 0 again.
    """
    if len(times) == 1:
        return [values[times[0]]]
    return [
        values[now]
        if any(one[now] < one[before] for one in all_of_it.values())
        else values[now] - values[before]
        for before, now in pairwise(times)
    ]


def _history(times: Sequence[float], rises: Sequence[float]) -> tuple[Moment, ...]:
    """The rate between each two instants."""
    return tuple(
        Moment(t_s=now, rate_rps=rise / (now - before))
        for (before, now), rise in zip(pairwise(times), rises, strict=False)
    )


# ---- Native histograms ------------------------------------------------------------------------


def _native(series: Sequence[_Series]) -> Iterator[LoadRun]:
    """Histograms that Prometheus keeps whole."""
    for one in series:
        unit_s = unit_of(one.metric)
        if not one.natives or unit_s is None:
            continue
        name = label(one.metric, dict(one.labels))
        points = sorted(one.natives, key=lambda point: point[0])
        steps = [_rise(name, before, now) for (_, before), (_, now) in pairwise(points)]
        found = _together(steps) if steps else points[0][1]
        if not found.buckets or not found.total:
            continue
        rises = [step.total for step in steps]
        run = run_of(
            name,
            _unfolded(found.buckets, unit_s, name),
            unit_s * found.sum if math.isfinite(found.sum) else None,
            _history([t_s for t_s, _ in points], rises),
            points[-1][0] - points[0][0],
        )
        if run is not None:
            yield run


def _rise(name: str, before: _Native, now: _Native) -> _Native:
    """Increase between two instants; after a restart, everything since."""
    if now.total < before.total:
        return now
    buckets = {key: now.buckets.get(key, 0.0) - before.buckets.get(key, 0.0)
               for key in before.buckets.keys() | now.buckets.keys()}  # fmt: skip
    if any(size < 0.0 for size in buckets.values()):
        raise InputError(f"{name} changed its buckets within the range; query a shorter one")
    return _Native(sum=now.sum - before.sum, buckets=buckets)


def _together(steps: Sequence[_Native]) -> _Native:
    buckets: dict[Bucket, float] = defaultdict(float)
    for step in steps:
        for key, size in step.buckets.items():
            buckets[key] += size
    return _Native(sum=math.fsum(step.sum for step in steps), buckets=buckets)


def _unfolded(buckets: Mapping[Bucket, float], unit_s: float, name: str) -> Histogram:
    """A histogram with the empty buckets between those that Prometheus sends."""
    upper: list[float] = []
    counts: list[float] = []
    for (low, high), size in sorted(buckets.items()):
        if upper and low < upper[-1]:
            raise InputError(f"{name} has buckets that overlap; query a shorter range")
        if low > (upper[-1] if upper else 0.0):
            upper.append(low)
            counts.append(0.0)
        upper.append(high)
        counts.append(size)
    return from_counts(upper, counts, unit_s, name)


# ---- Single counters and gauges ---------------------------------------------------------------


def _counted(series: Sequence[_Series]) -> Iterator[LoadRun]:
    """Counters of requests as rates over time, and gauges of requests in flight as users."""
    for one in series:
        points = sorted((t_s, value) for t_s, value in one.values.items() if math.isfinite(value))
        name = label(one.metric, dict(one.labels))
        if len(points) < 2:
            continue
        if one.metric.endswith(_IN_FLIGHT) and all(value >= 0.0 for _, value in points):
            yield LoadRun(name=name, history=tuple(Moment(t_s=t_s, users=value) for t_s, value in points))
        elif "request" in one.metric and one.metric.endswith(("_total", "_count", "_success")):
            _require_counter(name, (value for _, value in points))
            yield _counter_run(name, points)


def _counter_run(name: str, points: Sequence[tuple[float, float]]) -> LoadRun:
    times = [t_s for t_s, _ in points]
    values = dict(points)
    rises = _rises(values, times, {0.0: values})
    total = count(math.fsum(rises), name)
    duration_s = times[-1] - times[0]
    return LoadRun(
        name=name,
        counted=int(total),
        duration_s=duration_s,
        throughput_rps=total / duration_s,
        history=_history(times, rises),
    )


READERS = {"load-test": read_load_test}
