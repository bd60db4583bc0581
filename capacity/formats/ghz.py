"""The JSON of `ghz -O json`: nanoseconds, but for the marks of its histogram, in seconds.

`details` has each request, stamped when it ended. Workers wait for an answer before they send again, so the loop is
closed, unless ghz runs with `--async`. Statistics are of requests that succeeded.
"""

from collections.abc import Iterator
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop
from capacity.formats.request_log import Request, Requests, instant_ns, nanoseconds, read_all, runs, trace
from capacity.performance import Interval
from capacity.traffic.workload import TraceArrivals

NAME = "ghz -O json"
_KEYS = {"endReason", "statusCodeDistribution", "latencyDistribution", "rps", "fastest"}
_OK = "OK"


def recognises(document: Document) -> bool:
    """Whether it has ghz's totals."""
    return document.keys >= _KEYS


def read_load_test(document: Document) -> LoadTest:
    """The one run, with single requests if all of them are there.

    Raises:
        InputError: no requests, or a value that cannot be.

    Source:
        ghz at d6acd43, web/test/SayHello/report1.json; runner/stats_handler.go for what a time stamp is.
    """
    report = Part(document.name, document.object)
    count = report.whole("count")
    if not count:
        raise InputError(f"{document.name} has no requests; run the load test again")
    options = report.part("options") if "options" in report else Part(report.where, {})
    requests = _requests(report)
    is_whole = len(requests) == count
    others = {"loop": Loop.OPEN if options.is_true("async") else Loop.CLOSED, **_settings(options)}
    run = LoadRun(**(_of_details(requests) if is_whole else {}) | others | _totals(report, count))
    note = f"details has only {len(requests)} of {count} requests, so it is left out"
    notes = () if is_whole or not requests else (note,)
    return LoadTest(tool="ghz", name=document.name, runs=(run,), notes=notes)


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests were sent, failed ones too.

    Raises:
        InputError: not all requests are there, or a value that cannot be.
    """
    report = Part(document.name, document.object)
    requests, count = _requests(report), report.whole("count")
    if len(requests) < count:
        raise InputError(
            f"{document.name} has only {len(requests)} details of {count} requests; give the complete report"
        )
    return trace(requests, document.name)


def _settings(options: Part) -> dict[str, Any]:
    """Settings of ghz, as far as they are there."""
    rate_rps = options.number("rps") if "rps" in options else 0.0
    return {
        "users": options.number("concurrency" if "concurrency" in options else "c")
        if "concurrency" in options or "c" in options
        else None,
        "rate_asked_rps": rate_rps or None,
    }


def _totals(report: Part, count: int) -> dict[str, Any]:
    good = report.part("statusCodeDistribution")
    succeeded = good.whole(_OK) if _OK in good else 0
    if succeeded > count:
        raise InputError(f"{good.where} has {succeeded} requests of {count}; is the report complete?")
    return {
        "name": "ghz",
        "duration_s": report.number("total") / 1e9,
        "throughput_rps": report.number("rps"),
        "rate_sent_rps": report.number("rps"),
        "succeeded": succeeded,
        "failed": count - succeeded,
        "mean_s": report.number("average") / 1e9,
        "min_s": report.number("fastest") / 1e9,
        "max_s": report.number("slowest") / 1e9,
        "quantiles_s": dict(_quantiles(report)),
        "histogram": _histogram(report),
    }


def _quantiles(report: Part) -> Iterator[tuple[float, Interval]]:
    for one in report.parts("latencyDistribution"):
        q = round(one.number("percentage") / 100.0, 12)
        yield q, Interval.exact(one.number("latency") / 1e9)


def _histogram(report: Part) -> Histogram | None:
    """Counts up to each mark; None if all responses took the same, which leaves no width."""
    marks = [(one.number("mark"), one.whole("count")) for one in report.parts("histogram")]
    if len({mark for mark, _ in marks}) < max(2, len(marks)):
        return None
    return located(f"{report.where}.histogram", lambda: Histogram.up_to(marks))


def _requests(report: Part) -> Requests:
    return read_all(_request, report.parts("details"))


def _request(detail: Part) -> Request:
    sent_ns = instant_ns(detail.text("timestamp"), f"{detail.where}.timestamp")
    took_ns = nanoseconds(detail.whole("latency"), 1, f"{detail.where}.latency")
    return Request(sent_ns=sent_ns - took_ns, took_ns=took_ns, is_good=detail.text("status") == _OK)


def _of_details(requests: Requests) -> dict[str, Any]:
    """The single requests that succeeded."""
    (run,) = runs(requests)
    return {"samples": run.samples}


READERS = {"load-test": read_load_test, "workload": read_workload}
