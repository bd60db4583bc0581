"""The points of `k6 run --out json`: a JSON object a line, and in them each request; milliseconds.

A point of `http_req_duration` is stamped when the answer has arrived, so the request was sent its value earlier.
"""

from collections.abc import Callable, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, Part
from capacity.formats.k6_run import DROPPED, DURATION, ITERATION, TAKEN, Points, is_expected
from capacity.formats.load_test import LoadTest
from capacity.formats.request_log import Request, nanoseconds, trace
from capacity.traffic.trace import parse_stamp
from capacity.traffic.workload import TraceArrivals

NAME = "k6 --out json"


def recognises(document: Document) -> bool:
    """Whether its first line declares a metric, or is a point of one."""
    return document.first_line.get("type") in ("Metric", "Point") and {"metric", "data"} <= set(
        document.first_line
    )


def read_load_test(document: Document) -> LoadTest:
    """The requests by their `name`, and all of them.

    Raises:
        InputError: no point of an HTTP request, or a value that cannot be.

    Source:
        k6 2.0 documentation, "JSON output"; grafana/k6 issue 1194 for what the time of a point is.
    """
    return _points(document).load_test(document.name)


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests were sent, failed ones too.

    Raises:
        InputError: fewer than two, or a value that cannot be.
    """
    return trace(_points(document).log(document.name), document.name)


def _points(document: Document) -> Points:
    points = Points()
    for where, line in document.each_line(*TAKEN):
        one = Part(where, line)
        metric = one.text("metric")
        if one.text("type") == "Point" and metric in TAKEN:
            _take(points, metric, one.part("data"))
    return points


def _take(points: Points, metric: str, point: Part) -> None:
    if metric == DURATION:
        points.add_request(point.where, _request(point))
    elif metric == ITERATION:
        took_ns = nanoseconds(point.number("value"), 1e6, f"{point.where}.value")
        points.tally.iteration(_stamp_ns(point), took_ns)
    else:
        points.add_count(metric, point.whole("value") if metric == DROPPED else point.number("value"))


def _request(point: Part) -> Request:
    tags = point.part("tags") if "tags" in point else Part(point.where, {})
    took_ns = nanoseconds(point.number("value"), 1e6, f"{point.where}.value")
    return Request(
        sent_ns=_stamp_ns(point) - took_ns,
        took_ns=took_ns,
        is_good=is_expected(
            tags.text("expected_response") if "expected_response" in tags else None,
            tags.text("status") if "status" in tags else None,
        ),
        name=tags.text("name") if "name" in tags else "",
    )


def _stamp_ns(point: Part) -> int:
    where = f"{point.where}.time"
    stamp = parse_stamp(point.text("time"), where)
    if stamp.zone is None:
        raise InputError(f"{where} must be a date and time, such as 2026-01-31T12:00:00.5Z")
    return int(stamp.value * 10**9)


READERS: Mapping[str, Callable[[Document], Any]] = {
    "load-test": read_load_test,
    "workload": read_workload,
}
