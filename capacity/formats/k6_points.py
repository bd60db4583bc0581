"""The points of `k6 run --out json`: a JSON object a line, and in them each request; milliseconds.

A point of `http_req_duration` is stamped when the answer has arrived, so the request was sent its value earlier.
"""

from collections.abc import Callable, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, Part
from capacity.formats.k6_loop import Tally
from capacity.formats.load_test import LoadTest
from capacity.formats.request_log import Request, Requests, nanoseconds, runs, trace, whole_of
from capacity.traffic.trace import parse_stamp
from capacity.traffic.workload import TraceArrivals

NAME = "k6 --out json"
_DURATION = "http_req_duration"
_OK_STATUSES = {str(status) for status in range(200, 400)}


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
    points = _Points(document)
    found = runs(points.requests, **points.tally.known(points.requests.sent_ns))
    return LoadTest(tool="k6", name=document.name, runs=found, whole=whole_of(found))


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests were sent, failed ones too.

    Raises:
        InputError: fewer than two, or a value that cannot be.
    """
    return trace(_Points(document).requests, document.name)


class _Points:
    """What is kept of the points while they are read, of which there are some 14 for each request."""

    def __init__(self, document: Document) -> None:
        self.requests = Requests()
        self.tally = Tally()
        for where, line in document.each_line(*_TAKEN):
            one = Part(where, line)
            if one.text("type") == "Point" and one.text("metric") in _TAKEN:
                _TAKEN[one.text("metric")](self, one.part("data"))
        if not len(self.requests):
            raise InputError(f"{document.name} has no point of {_DURATION}; only tests of HTTP are read here")

    def take_request(self, point: Part) -> None:
        """A point of a request's duration. Raises InputError: a value that cannot be, by its place."""
        request = _request(point)
        if request.took_ns < 0:
            raise InputError(f"{point.where} has a duration below 0; fix or drop the line")
        self.requests.add(request)

    def take_iteration(self, point: Part) -> None:
        """A point of an iteration's duration."""
        took_ns = nanoseconds(point.number("value"), 1e6, f"{point.where}.value")
        self.tally.iteration(_stamp_ns(point), took_ns)

    def take_dropped(self, point: Part) -> None:
        """A point of iterations that were dropped."""
        self.tally.drop(point.whole("value"))

    def take_users(self, point: Part) -> None:
        """A point of the number of users in an iteration."""
        self.tally.users(point.number("value"))

    def take_allocated(self, point: Part) -> None:
        """A point of the number of users that are ready."""
        self.tally.allocate(point.number("value"))


_TAKEN = {
    _DURATION: _Points.take_request,
    "iteration_duration": _Points.take_iteration,
    "dropped_iterations": _Points.take_dropped,
    "vus": _Points.take_users,
    "vus_max": _Points.take_allocated,
}


def _request(point: Part) -> Request:
    tags = point.part("tags") if "tags" in point else Part(point.where, {})
    took_ns = nanoseconds(point.number("value"), 1e6, f"{point.where}.value")
    return Request(
        sent_ns=_stamp_ns(point) - took_ns,
        took_ns=took_ns,
        is_good=_is_good(tags),
        name=tags.text("name") if "name" in tags else "",
    )


def _stamp_ns(point: Part) -> int:
    where = f"{point.where}.time"
    stamp = parse_stamp(point.text("time"), where)
    if stamp.zone is None:
        raise InputError(f"{where} must be a date and time, such as 2026-01-31T12:00:00.5Z")
    return int(stamp.value * 10**9)


def _is_good(tags: Part) -> bool:
    """Whether the test expected the response; if k6 does not say, whether its status is no error."""
    if "expected_response" in tags:
        return tags.text("expected_response") == "true"
    return "status" not in tags or tags.text("status") in _OK_STATUSES


READERS: Mapping[str, Callable[[Document], Any]] = {
    "load-test": read_load_test,
    "workload": read_workload,
}
