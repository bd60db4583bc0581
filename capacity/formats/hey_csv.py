"""The CSV of `hey -o csv`: a row for each request that was answered; seconds with four decimals.

`offset` is when a request was sent. A worker of hey waits for an answer before it sends again, even with `-q`, so
the loop is closed and there is no schedule. A request without an answer has no row.
"""

from capacity.errors import InputError
from capacity.formats.document import Document, Row
from capacity.formats.load_test import Loop
from capacity.formats.request_log import Log, Request, log_readers, nanoseconds, read_all

NAME = "hey -o csv"
RESOLUTION_S = 1e-4
_COLUMNS = {"response-time", "DNS+dialup", "status-code"}
_FAILED_FROM = 400
_UNANSWERED = "hey writes no row for a request without an answer, so failures may be missing"


def recognises(document: Document) -> bool:
    """Whether it has hey's columns."""
    return set(document.columns) >= _COLUMNS


def read_log(document: Document) -> Log:
    """The requests that were answered.

    Raises:
        InputError: no column of offsets, or a cell that cannot be.

    Source:
        hey 0.1.4, requester/print.go, `csvTmpl`.
    """
    if "offset" not in document.columns:
        raise InputError(f"{document.name} has no column offset; write it by hey 0.1.4 or newer")
    known = {"whole": "hey", "loop": Loop.CLOSED, "resolution_s": RESOLUTION_S}
    return Log(read_all(_request, document.rows()), (_UNANSWERED,), known)


def _request(row: Row) -> Request:
    return Request(
        sent_ns=nanoseconds(row.number("offset"), 1e9, row.place("offset")),
        took_ns=nanoseconds(row.number("response-time"), 1e9, row.place("response-time")),
        is_good=row.whole("status-code") < _FAILED_FROM,
    )


READERS = log_readers("hey", read_log)
