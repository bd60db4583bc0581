"""The points of `k6 run --out csv`: a row for each value of a metric; milliseconds.

As in `k6 --out json`, a row of `http_req_duration` is stamped when the answer has arrived. The stamps are seconds since
1970, unless K6_CSV_TIME_FORMAT asks for a finer unit or for dates.
"""

import re
from functools import partial

from capacity.formats.document import Document, Row
from capacity.formats.k6_loop import TAKEN, Point, Points
from capacity.formats.request_log import Log, instant_ns, log_readers

NAME = "k6 --out csv"
_LAST = ("extra_tags", "metadata")
_VALUE = "metric_value"
_COLUMNS = {"metric_name", "timestamp", _VALUE}
# Digits of seconds, milliseconds, microseconds and nanoseconds since 1970, and nanoseconds in each.
_SECONDS_DIGITS = 10
_NS_BY_DIGITS = {_SECONDS_DIGITS: 10**9, 13: 10**6, 16: 10**3, 19: 1}
_DIGITS = re.compile(r"[0-9]{10,19}")
_WHOLE_SECONDS = (
    "time stamps are whole seconds, so that requests are known to have been sent only to the second; set "
    "K6_CSV_TIME_FORMAT=unix_micro, or write --out json"
)


def recognises(document: Document) -> bool:
    """Whether it has k6's columns."""
    return set(document.columns) >= _COLUMNS


def read_log(document: Document) -> Log:
    """Requests by `name`.

    Raises:
        InputError: no row of an HTTP request, or a cell that cannot be.

    Source:
        k6 1.1.0, internal/output/csv; its documentation, "CSV output".
    """
    points, is_coarse = Points(), False
    for row in document.rows(unread=_LAST):
        metric = row.text("metric_name")
        if metric in TAKEN:
            points.add(metric, _point(row))
            is_coarse = is_coarse or len(row.text("timestamp")) == _SECONDS_DIGITS
    return (
        points.log(document.name, (_WHOLE_SECONDS,), clock_s=1.0) if is_coarse else points.log(document.name)
    )


def _point(row: Row) -> Point:
    return Point(
        where=row.where,
        value_at=row.place(_VALUE),
        value=row.number(_VALUE),
        stamp_ns=partial(_stamp_ns, row),
        tag=lambda name: row.text(name) if name in row else None,
    )


def _stamp_ns(row: Row) -> int:
    text, where = row.text("timestamp"), row.place("timestamp")
    if _DIGITS.fullmatch(text) and len(text) in _NS_BY_DIGITS:
        return int(text) * _NS_BY_DIGITS[len(text)]
    return instant_ns(text, where, "seconds, ms, us or ns since 1970, or a date and time")


READERS = log_readers("k6", read_log)
