"""The points of `k6 run --out csv`: a row for each value of a metric; milliseconds.

As in `k6 --out json`, a row of `http_req_duration` is stamped when the answer has arrived. The stamps are seconds since
1970, unless K6_CSV_TIME_FORMAT asks for a finer unit or for dates.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, Row
from capacity.formats.k6_run import DURATION, ITERATION, TAKEN, Points, is_expected
from capacity.formats.load_test import LoadTest
from capacity.formats.request_log import Request, nanoseconds, trace
from capacity.traffic.trace import parse_stamp
from capacity.traffic.workload import TraceArrivals

NAME = "k6 --out csv"
_LAST = ("extra_tags", "metadata")
_COLUMNS = {"metric_name", "timestamp", "metric_value"}
# Digits of seconds, milliseconds, microseconds and nanoseconds since 1970, and nanoseconds of each.
_NS_BY_DIGITS = {10: 10**9, 13: 10**6, 16: 10**3, 19: 1}
_DIGITS = re.compile(r"[0-9]{10,19}")
_WHOLE_SECONDS = (
    "time stamps are whole seconds, so that requests are known to have been sent only to the second; set "
    "K6_CSV_TIME_FORMAT=unix_micro, or write --out json"
)


def recognises(document: Document) -> bool:
    """Whether it has k6's columns."""
    return set(document.columns) >= _COLUMNS


def read_load_test(document: Document) -> LoadTest:
    """The requests by their `name`, and all of them.

    Raises:
        InputError: no row of an HTTP request, or a cell that cannot be.

    Source:
        k6 1.1.0, internal/output/csv; its documentation, "CSV output".
    """
    points, notes = _points(document)
    return points.load_test(document.name, notes, clock_s=1.0 if notes else 0.0)


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests were sent, failed ones too.

    Raises:
        InputError: fewer than two, or a cell that cannot be.
    """
    points, notes = _points(document)
    return trace(points.log(document.name), document.name, notes)


def _points(document: Document) -> tuple[Points, tuple[str, ...]]:
    points, is_coarse = Points(), False
    for row in document.rows(unread=_LAST):
        metric = row.text("metric_name")
        if metric == DURATION:
            points.add_request(row.where, _request(row))
            is_coarse = is_coarse or len(row.text("timestamp")) == 10
        elif metric == ITERATION:
            took_ns = nanoseconds(row.number("metric_value"), 1e6, row.place("metric_value"))
            points.tally.iteration(_stamp_ns(row), took_ns)
        elif metric in TAKEN:
            points.add_count(metric, row.number("metric_value"))
    return points, (_WHOLE_SECONDS,) if is_coarse else ()


def _request(row: Row) -> Request:
    took_ns = nanoseconds(row.number("metric_value"), 1e6, row.place("metric_value"))
    expected = row.text("expected_response") if "expected_response" in row else None
    status = row.text("status") if "status" in row else None
    return Request(
        sent_ns=_stamp_ns(row) - took_ns,
        took_ns=took_ns,
        is_good=is_expected(expected, status),
        name=row.text("name") if "name" in row else "",
    )


def _stamp_ns(row: Row) -> int:
    text, where = row.text("timestamp"), row.place("timestamp")
    if _DIGITS.fullmatch(text) and len(text) in _NS_BY_DIGITS:
        return int(text) * _NS_BY_DIGITS[len(text)]
    stamp = parse_stamp(text, where)
    if stamp.zone is None:
        raise InputError(f"{where} must be seconds, ms, us or ns since 1970, or a date and time")
    return int(stamp.value * 10**9)


READERS: Mapping[str, Callable[[Document], Any]] = {
    "load-test": read_load_test,
    "workload": read_workload,
}
