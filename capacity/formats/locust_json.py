"""The JSON of `locust --json`: for each endpoint, counts of rounded response times; milliseconds.

Unlike Locust's CSV it has a histogram, and the requests of each second. Rounding is as in
`capacity.formats.locust_csv`.
"""

from capacity.errors import InputError
from capacity.files import located, printable
from capacity.formats.document import Document, Part, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop, Moment
from capacity.formats.locust_csv import bucket_s

NAME = "locust --json"
_KEYS = {"name", "method", "num_requests", "response_times", "num_reqs_per_sec"}
_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


def recognises(document: Document) -> bool:
    """Whether it is a list whose first object has Locust's counts."""
    if not document.head.startswith("["):
        return False
    try:
        first = document.parts[:1]
    except InputError:
        return False
    return any(all(key in one for key in _KEYS) for one in first)


def read_load_test(document: Document) -> LoadTest:
    """A run for each endpoint that got requests.

    Raises:
        InputError: keys or values that Locust does not write.

    Source:
        Locust 2.47, locust/stats.py, `StatsEntry.serialize`.
    """
    found = tuple(_run(one) for one in document.parts if one.whole("num_requests"))
    return LoadTest(tool="locust", name=document.name, runs=found)


def _run(one: Part) -> LoadRun:
    requests, failed = one.whole("num_requests"), one.whole("num_failures")
    if failed > requests:
        raise InputError(f"{one.where} has {failed} failures of {requests} requests; is the file complete?")
    histogram = _histogram(one.part("response_times"))
    duration_s = one.number("last_request_timestamp") - one.number("start_time")
    timed = requests - (one.whole("num_none_requests") if "num_none_requests" in one else 0)
    return LoadRun(
        name=printable(f"{one.text('method')} {one.text('name')}".strip()),
        loop=Loop.CLOSED,
        duration_s=duration_s,
        throughput_rps=requests / duration_s if duration_s > 0.0 else None,
        succeeded=requests - failed,
        failed=failed,
        mean_s=one.number("total_response_time") / timed / 1e3 if timed > 0 else None,
        min_s=one.number("min_response_time") / 1e3 if "min_response_time" in one else None,
        max_s=one.number("max_response_time") / 1e3,
        quantiles_s={q: histogram.quantile(q) for q in _QUANTILES} if histogram.total else {},
        histogram=histogram,
        history=_history(one.part("num_reqs_per_sec")),
    )


def _histogram(times: Part) -> Histogram:
    """Histogram of the ranges that are rounded to each key, with empty buckets in the gaps."""
    seen = sorted((parsed(key, f"{times.where} key"), times.number(key)) for key in times.keys)
    edges, counts = [0.0], list[float]()
    for rounded_ms, count in seen:
        bucket = bucket_s(rounded_ms)
        if bucket.low > edges[-1]:
            edges.append(bucket.low)
            counts.append(0.0)
        edges.append(bucket.high)
        counts.append(count)
    return located(times.where, lambda: Histogram(edges_s=tuple(edges), counts=tuple(counts)))


def _history(per_second: Part) -> tuple[Moment, ...]:
    """Moments for the seconds since 1970 in which there were requests."""
    seen = sorted((parsed(key, f"{per_second.where} key"), per_second.number(key)) for key in per_second.keys)
    return tuple(Moment(t_s=second, rate_rps=count) for second, count in seen)


READERS = {"load-test": read_load_test}
