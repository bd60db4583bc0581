"""The JSON of `fortio load -json`: a histogram with exact counts; seconds, but for `ActualDuration`, in nanoseconds.

A thread of fortio waits for an answer before it sends again, even with `-qps`, so the loop is closed.
`DurationHistogram` has all requests, and `ErrorsDurationHistogram` the failed ones among them.
"""

from collections.abc import Iterator

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop
from capacity.performance import Interval

NAME = "fortio load -json"
_KEYS = {"RequestedQPS", "ActualQPS", "ActualDuration", "DurationHistogram"}
_NO_RATE = ("max", "-1", "0")
_OK = {"OK", "SERVING", *map(str, range(200, 400))}  # of HTTP, and of gRPC's health check


def recognises(document: Document) -> bool:
    """Whether it has fortio's rates and histogram."""
    return document.keys >= _KEYS


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: no requests, or a value that cannot be.

    Source:
        fortio at 45e1871, README; periodic/periodic.go, `RunnerResults`; stats/stats.go, `HistogramData`.
    """
    report = Part(document.name, document.object)
    durations = report.part("DurationHistogram")
    requests = durations.whole("Count")
    if not requests:
        raise InputError(f"{document.name} has no requests; run the load test again")
    failed, notes = _failed(report, requests)
    histogram = _histogram(durations)
    threads = report.number("NumThreads") if "NumThreads" in report else None
    run = LoadRun(
        name="fortio",
        loop=Loop.CLOSED,
        users=threads,
        rate_asked_rps=_asked_rps(report),
        throughput_rps=report.number("ActualQPS"),
        duration_s=report.number("ActualDuration") / 1e9,
        succeeded=requests - failed,
        failed=failed,
        mean_s=durations.number("Avg"),
        min_s=durations.number("Min"),
        max_s=durations.number("Max"),
        quantiles_s=dict(_quantiles(durations, histogram)),
        histogram=histogram,
    )
    return LoadTest(tool="fortio", name=document.name, runs=(run,), notes=notes)


def _asked_rps(report: Part) -> float | None:
    """Target rate in `"40"`, perhaps with words after it; None if fortio was to send as many as possible."""
    asked = report.text("RequestedQPS").split(" ")[0]
    return None if asked in _NO_RATE else parsed(asked, f"{report.where}.RequestedQPS")


def _failed(report: Part, requests: int) -> tuple[int, tuple[str, ...]]:
    """Requests that failed, and a note that durations include theirs."""
    if "ErrorsDurationHistogram" in report:
        failed = report.part("ErrorsDurationHistogram").whole("Count")
    else:
        codes = report.part("RetCodes")
        failed = sum(codes.whole(code) for code in codes.keys if code not in _OK)
    if not 0 <= failed <= requests:
        raise InputError(
            f"{report.where} has {failed} failures of {requests} requests; is the file complete?"
        )
    note = f"durations are of all {requests} requests, including {failed} that failed"
    return failed, (note,) if failed else ()


def _histogram(durations: Part) -> Histogram:
    """Buckets above `Start` and up to `End`; fortio leaves out empty ones."""
    edges, counts = list[float](), list[float]()
    for bucket in durations.parts("Data"):
        start_s, end_s = bucket.number("Start"), bucket.number("End")
        if not edges:
            edges.append(min(start_s, end_s * (1.0 - 1e-9)))  # equal responses have a bucket of no width
        elif start_s > edges[-1]:
            edges.append(start_s)
            counts.append(0.0)
        edges.append(end_s)
        counts.append(bucket.whole("Count"))
    if not edges:
        raise InputError(f"{durations.where} has no Data; write the JSON by fortio load -json")
    return located(f"{durations.where}.Data", lambda: Histogram(edges_s=tuple(edges), counts=tuple(counts)))


def _quantiles(durations: Part, histogram: Histogram) -> Iterator[tuple[float, Interval]]:
    """Quantiles; fortio interpolates within a bucket, so the true one may be anywhere in it."""
    for one in durations.parts("Percentiles"):
        q, value = round(one.number("Percentile") / 100.0, 12), one.number("Value")
        if not 0.0 <= q <= 1.0:
            raise InputError(f"{one.where}.Percentile must be from 0 to 100")
        ends = histogram.quantile(q)
        yield q, Interval(value=value, low=min(ends.low, value), high=max(ends.high, value))


READERS = {"load-test": read_load_test}
