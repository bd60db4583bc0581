"""Results of vegeta: the JSON report, and single requests as `vegeta encode` writes them in JSON or CSV; nanoseconds.

Vegeta sends by the clock, so the loop is open unless its rate is 0. A status from 200 to 399 is a success. The
report's quantiles are estimates by a t-digest.
"""

import re
from collections.abc import Iterator

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part, Row, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop
from capacity.formats.request_log import Request, Requests, instant_ns, nanoseconds, read_all, runs, trace
from capacity.performance import Interval
from capacity.traffic.workload import TraceArrivals

NAME = "vegeta report -type=json, or vegeta encode"
_REPORT = {"latencies", "earliest", "latest", "wait", "requests", "throughput"}
_RESULT = {"attack", "seq", "code", "timestamp", "latency"}
# Vegeta writes no header. Older versions end after `seq`.
_COLUMNS = ("timestamp", "code", "latency", "bytes_out", "bytes_in", "error", "body", "attack", "seq", "method", "url",
            "headers")  # fmt: skip
_UNREAD = _COLUMNS[7:]  # the attack's number of the request, or its headers
_LENGTHS = (9, 11, 12)
_EPOCH_NS = re.compile(r"[0-9]{18,20}")
_STATUS = re.compile(r"[0-9]{1,3}")
_OK_STATUSES = range(200, 400)
_NO_ANSWER = "0"
_QUANTILE = re.compile(r"([0-9.]{1,12})(?:st|nd|rd|th)")


def recognises(document: Document) -> bool:
    """Whether it has the keys of a report, or the keys or cells of a request."""
    return document.keys >= _REPORT or set(document.first_line) >= _RESULT or _is_csv(document)


def read_load_test(document: Document) -> LoadTest:
    """The one attack.

    Raises:
        InputError: no requests, or a value that cannot be.

    Source:
        vegeta 12 at cf58112, README, "report" and "encode".
    """
    if document.keys >= _REPORT:
        return _of_report(Part(document.name, document.object))
    found = runs(_requests(document), whole="attack", loop=Loop.OPEN)
    return LoadTest(tool="vegeta", name=document.name, runs=found)


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests were sent, failed ones too.

    Raises:
        InputError: a report, which has no single requests; fewer than two; or a value that cannot be.
    """
    if document.keys >= _REPORT:
        raise InputError(f"{document.name} has totals only; write single requests by vegeta encode")
    return trace(_requests(document), document.name)


def _of_report(report: Part) -> LoadTest:
    latencies, requests = report.part("latencies"), report.whole("requests")
    duration_s = (report.number("duration") + report.number("wait")) / 1e9
    statuses = report.part("status_codes")
    good = sum(statuses.whole(code) for code in statuses.keys if _is_good(code, f"{statuses.where} key"))
    answered = requests - (statuses.whole(_NO_ANSWER) if _NO_ANSWER in statuses else 0)
    if not good <= answered <= requests:
        raise InputError(f"{statuses.where} do not add up to {requests} requests; is the report complete?")
    histogram, notes = _histogram(report, requests)
    run = LoadRun(
        name="attack",
        loop=Loop.OPEN,
        duration_s=duration_s,
        rate_sent_rps=report.number("rate"),
        throughput_rps=answered / duration_s if duration_s > 0.0 else None,
        succeeded=good,
        failed=requests - good,
        mean_s=latencies.number("mean") / 1e9,
        min_s=latencies.number("min") / 1e9 if "min" in latencies else None,
        max_s=latencies.number("max") / 1e9,
        quantiles_s=dict(_quantiles(latencies)),
        histogram=histogram,
    )
    return LoadTest(tool="vegeta", name=report.where, runs=(run,), notes=notes)


def _quantiles(latencies: Part) -> Iterator[tuple[float, Interval]]:
    """Quantiles from keys such as `99th`."""
    for key in latencies.keys:
        found = _QUANTILE.fullmatch(key)
        if found:
            q = parsed(found[1], f"{latencies.where}.{key}") / 100.0
            yield round(q, 12), Interval.exact(latencies.number(key) / 1e9)


def _histogram(report: Part, requests: int) -> tuple[Histogram | None, tuple[str, ...]]:
    """Counts from each bound to the next, if they belong to this report's requests."""
    buckets = report.part("buckets") if "buckets" in report else Part(report.where, {})
    counts = sorted((parsed(key, f"{buckets.where} key") / 1e9, buckets.whole(key)) for key in buckets.keys)
    total = sum(count for _, count in counts)
    if not counts or total != requests:
        note = f"the buckets hold {total} requests but the report has {requests}, so they are left out"
        return None, (note,) if counts else ()
    edges_s = (*(bound for bound, _ in counts), float("inf"))
    found = located(
        buckets.where, lambda: Histogram(edges_s=edges_s, counts=tuple(count for _, count in counts))
    )
    return found, ()


def _is_csv(document: Document) -> bool:
    cells = document.columns
    return (
        len(cells) in _LENGTHS
        and bool(_EPOCH_NS.fullmatch(cells[0]))
        and bool(_STATUS.fullmatch(cells[1]))
        and cells[2].isdecimal()
        and cells[8].isdecimal()
    )


def _requests(document: Document) -> Requests:
    if _is_csv(document):
        return read_all(_of_row, document.rows(_COLUMNS[: len(document.columns)], unread=_UNREAD))
    return read_all(_of_line, (Part(where, line) for where, line in document.each_line()))


def _of_row(row: Row) -> Request:
    is_good = _is_good(row.text("code"), row.place("code"))
    return Request(
        sent_ns=nanoseconds(row.whole("timestamp"), 1, row.place("timestamp")),
        took_ns=nanoseconds(row.whole("latency"), 1, row.place("latency")),
        is_good=is_good and "error" not in row,
    )


def _of_line(line: Part) -> Request:
    return Request(
        sent_ns=instant_ns(line.text("timestamp"), f"{line.where}.timestamp"),
        took_ns=nanoseconds(line.whole("latency"), 1, f"{line.where}.latency"),
        is_good=line.whole("code") in _OK_STATUSES and not line.value("error"),
    )


def _is_good(code: str, where: str) -> bool:
    return parsed(code, where) in _OK_STATUSES


READERS = {"load-test": read_load_test, "workload": read_workload}
