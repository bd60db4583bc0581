"""The CSV results (JTL) of Apache JMeter: a row for each sample, with or without a header; milliseconds.

`timeStamp` is when a sample started, or when it ended if `sampleresult.timestamp.start` is false. The file does not
say which, but its threads may show it. A row of a transaction controller, which sums up others, is skipped.
"""

import re
from array import array
from collections.abc import Iterator

import numpy as np

from capacity.errors import InputError, quoted
from capacity.formats.document import Document, Row
from capacity.formats.load_test import Loop
from capacity.formats.request_log import Log, Request, Requests, instant_ns, log_readers, nanoseconds

NAME = "JMeter, as CSV"
TRANSACTION = "Number of samples in transaction"
_RESOLUTION_S = 0.001
_CLOCK_NS = 2 * 10**6  # two whole milliseconds, each of which may be truncated
_STARTS = (
    "time stamps are taken as starts, JMeter's default; with sampleresult.timestamp.start=false they are ends"
)
_ENDS = "time stamps are taken as ends: as starts, a thread would have run two samples at once"
_NEEDED = {"timeStamp", "elapsed", "success"}
_FIRST = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName", "dataType", "success",
          "failureMessage", "bytes", "sentBytes", "grpThreads", "allThreads")  # fmt: skip
_LAST = ("Latency", "IdleTime", "Connect")
_WITHOUT_HEADER = {16: (*_FIRST, *_LAST), 17: (*_FIRST, "URL", *_LAST)}
_EPOCH_MS = re.compile(r"[0-9]{12,14}")


def recognises(document: Document) -> bool:
    """Whether it has JMeter's columns, or no header and the cells of JMeter's default columns."""
    return set(document.columns) >= _NEEDED or bool(_names(document))


class Samples:
    """Samples of JMeter with their threads, collected while a file of either format is read.

    A thread runs one sample at a time. If samples of a thread overlap when the stamps are taken as starts, and do not
    when they are taken as ends, they are ends.
    """

    def __init__(self) -> None:
        self._stamped = Requests()
        self._thread = array("i")
        self._threads: dict[str, int] = {"": 0}
        self._users: float | None = None

    def add(self, where: str, stamped: Request, thread: str, users: float | None) -> None:
        """Add a sample whose `sent_ns` is its stamp. Raises InputError: a negative duration, or too many samples."""
        if stamped.took_ns < 0:
            raise InputError(f"{where} has a duration below 0; fix or drop the line")
        self._stamped.add(stamped)
        self._thread.append(self._threads.setdefault(thread, len(self._threads)))
        if users is not None:
            self._users = max(users, self._users or 0.0)

    @property
    def log(self) -> Log:
        """Samples by label, from their starts."""
        known = {"loop": Loop.CLOSED, "users": self._users, "resolution_s": _RESOLUTION_S}
        ended = self._stamped.earlier()
        if self._overlap(self._stamped) and not self._overlap(ended):
            return Log(ended, (_ENDS,), known)
        return Log(self._stamped, (_STARTS,), known)

    def _overlap(self, requests: Requests) -> bool:
        """Whether a thread has two samples at once, beyond what the resolution of the clock explains."""
        thread, sent_ns = np.array(self._thread), requests.sent_ns
        order = np.lexsort((sent_ns, thread))
        thread, sent_ns, ended_ns = thread[order], sent_ns[order], (sent_ns + requests.took_ns)[order]
        is_same = (thread[1:] == thread[:-1]) & (thread[1:] > 0)
        return bool((is_same & (ended_ns[:-1] > sent_ns[1:] + _CLOCK_NS)).any())


def read_log(document: Document) -> Log:
    """Samples by label.

    Raises:
        InputError: a cell that cannot be.

    Source:
        JMeter 5.6 user's manual, "Listeners", CSV log format; bin/jmeter.properties.
    """
    samples = Samples()
    for row in _rows(document):
        users = row.number("allThreads") if "allThreads" in row else None
        thread = row.text("threadName") if "threadName" in row else ""
        samples.add(row.where, _stamped(row), thread, users)
    return samples.log


def _names(document: Document) -> tuple[str, ...]:
    """Names for the columns of a file without a header, in JMeter's default order; else empty."""
    cells = document.columns
    names = _WITHOUT_HEADER.get(len(cells), ())
    is_sample = bool(names) and cells[1].isdecimal() and cells[7] in ("true", "false")
    return names if is_sample and _EPOCH_MS.fullmatch(cells[0]) else ()


def _rows(document: Document) -> Iterator[Row]:
    """All rows except those of transaction controllers."""
    for row in document.rows(_names(document), unread=_LAST):
        if "responseMessage" not in row or not row.text("responseMessage").startswith(TRANSACTION):
            yield row


def _stamped(row: Row) -> Request:
    return Request(
        sent_ns=_stamp_ns(row),
        took_ns=nanoseconds(row.whole("elapsed"), 1e6, row.place("elapsed")),
        is_good=is_success(row.text("success"), row.place("success")),
        name=row.text("label") if "label" in row else "",
    )


def _stamp_ns(row: Row) -> int:
    """Nanoseconds since 1970 of a stamp: milliseconds, or a date and time if `timestamp_format` is set to one."""
    text, where = row.text("timeStamp"), row.place("timeStamp")
    if _EPOCH_MS.fullmatch(text):
        return int(text) * 10**6
    what = f"milliseconds since 1970, or a date and time, got {quoted(text)}"
    return instant_ns(text.replace("/", "-"), where, what)


def is_success(text: str, where: str) -> bool:
    """Whether a sample succeeded, by JMeter's true or false. Raises InputError: neither; names its place."""
    if text.lower() not in ("true", "false"):
        raise InputError(f"{where} must be true or false, got {quoted(text)}")
    return text.lower() == "true"


READERS = log_readers("jmeter", read_log)
