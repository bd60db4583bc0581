"""The CSV results (JTL) of Apache JMeter: a row for each sample, with or without a header; milliseconds.

`timeStamp` is when a sample started, unless `sampleresult.timestamp.start` is false, which the file does not say.
A transaction controller adds a row that sums up those of others, and is passed over here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, Row
from capacity.formats.load_test import LoadTest
from capacity.formats.request_log import Request, nanoseconds, read_all, runs, trace, whole_of
from capacity.traffic.trace import parse_stamp
from capacity.traffic.workload import TraceArrivals

NAME = "JMeter, as CSV"
TRANSACTION = "Number of samples in transaction"
RESOLUTION_S = 0.001
STARTS = "time stamps are taken as starts, as JMeter is set up; with sampleresult.timestamp.start=false they are ends"
_NEEDED = {"timeStamp", "elapsed", "success"}
_FIRST = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName", "dataType", "success",
          "failureMessage", "bytes", "sentBytes", "grpThreads", "allThreads")  # fmt: skip
_LAST = ("Latency", "IdleTime", "Connect")
_WITHOUT_HEADER = {16: (*_FIRST, *_LAST), 17: (*_FIRST, "URL", *_LAST)}
_EPOCH_MS = re.compile(r"[0-9]{12,14}")


def recognises(document: Document) -> bool:
    """Whether it has JMeter's columns, or without a header cells as of them."""
    return set(document.columns) >= _NEEDED or bool(_names(document))


def read_load_test(document: Document) -> LoadTest:
    """The samples by their label, and all of them.

    Raises:
        InputError: no samples, or a cell that cannot be.

    Source:
        JMeter 5.6 user's manual, "Listeners", CSV log format; bin/jmeter.properties.
    """
    rows = list(_samples(document))
    users = [row.number("allThreads") for row in rows if "allThreads" in row]
    found = runs(_requests(rows), users=max(users, default=None), resolution_s=RESOLUTION_S)
    return LoadTest(tool="jmeter", name=document.name, runs=found, whole=whole_of(found), notes=(STARTS,))


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which samples started, failed ones too.

    Raises:
        InputError: fewer than two, or a cell that cannot be.
    """
    return trace(_requests(list(_samples(document))), document.name, (STARTS,))


def _names(document: Document) -> tuple[str, ...]:
    """Names of the columns of a file without a header, which JMeter writes in one order; else none."""
    cells = document.columns
    names = _WITHOUT_HEADER.get(len(cells), ())
    is_sample = bool(names) and cells[1].isdecimal() and cells[7] in ("true", "false")
    return names if is_sample and _EPOCH_MS.fullmatch(cells[0]) else ()


def _samples(document: Document) -> Iterator[Row]:
    """Rows, but for those of transaction controllers."""
    for row in document.rows(_names(document)):
        if "responseMessage" not in row or not row.text("responseMessage").startswith(TRANSACTION):
            yield row


def _requests(rows: list[Row]) -> list[Request]:
    return read_all(_request, iter(rows))


def _request(row: Row) -> Request:
    return Request(
        sent_ns=_stamp_ns(row),
        took_ns=nanoseconds(row.whole("elapsed"), 1e6, row.place("elapsed")),
        is_good=is_success(row.text("success"), row.place("success")),
        name=row.text("label") if "label" in row else "",
    )


def _stamp_ns(row: Row) -> int:
    """Milliseconds since 1970, or a date and time where `timestamp_format` is set to one."""
    text, where = row.text("timeStamp"), row.place("timeStamp")
    if _EPOCH_MS.fullmatch(text):
        return int(text) * 10**6
    stamp = parse_stamp(text.replace("/", "-"), where)
    if stamp.zone is None:
        raise InputError(f"{where} must be milliseconds since 1970, or a date and time, got {text[:40]!r}")
    return int(stamp.value * 10**9)


def is_success(text: str, where: str) -> bool:
    """JMeter's true or false. Raises InputError: neither, by its place."""
    if text.lower() not in ("true", "false"):
        raise InputError(f"{where} must be true or false, got {text[:40]!r}")
    return text.lower() == "true"


READERS: Mapping[str, Callable[[Document], Any]] = {
    "load-test": read_load_test,
    "workload": read_workload,
}
