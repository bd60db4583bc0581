"""The JSON of `autocannon --json`: whole milliseconds.

A connection of autocannon waits for an answer before it sends again, so the loop is closed. With a rate (`-R`), it
adds the responses that each slow one should have held up; its latencies are then corrected, and cover more responses
than there were requests.
"""

import re
from collections.abc import Iterator

from capacity.errors import InputError
from capacity.formats.document import Document, Part, parsed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.performance import Interval

NAME = "autocannon --json"
_KEYS = {"latency", "requests", "throughput", "connections", "pipelining", "2xx", "non2xx"}
_RESOLUTION_S = 0.001
_QUANTILE = re.compile(r"p([0-9]{1,3}(?:_[0-9]{1,6})?)")


def recognises(document: Document) -> bool:
    """Whether it has autocannon's tables and counts."""
    return document.keys >= _KEYS


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: no requests, or a value that cannot be.

    Source:
        autocannon 8 and 9, README "Command line" and lib/run.js.
    """
    report = Part(document.name, document.object)
    latency, answered = report.part("latency"), report.part("requests").whole("total")
    if not answered:
        raise InputError(f"{document.name} has no answers; run the load test again")
    succeeded = report.whole("2xx")
    counted = latency.whole("totalCount") if "totalCount" in latency else None
    is_corrected = counted is not None and counted > answered
    duration_s = report.number("duration")
    run = LoadRun(
        name="autocannon",
        loop=Loop.CLOSED,
        users=report.number("connections") * report.number("pipelining"),
        duration_s=duration_s,
        throughput_rps=answered / duration_s if duration_s > 0.0 else None,
        succeeded=succeeded,
        failed=report.whole("non2xx") + report.whole("errors"),
        mean_s=latency.number("mean") / 1e3,
        min_s=latency.number("min") / 1e3,
        max_s=latency.number("max") / 1e3,
        quantiles_s=dict(_quantiles(latency)),
        counted=counted if counted != answered else None,
        is_corrected=is_corrected,
        resolution_s=_RESOLUTION_S,
    )
    note = f"latencies are of {counted} durations for {answered} requests: autocannon has added the others"
    return LoadTest(tool="autocannon", name=document.name, runs=(run,), notes=(note,) if is_corrected else ())


def _quantiles(latency: Part) -> Iterator[tuple[float, Interval]]:
    """Quantiles from keys such as `p97_5`. Whether autocannon rounds or truncates is unknown."""
    for key in latency.keys:
        found = _QUANTILE.fullmatch(key)
        if found:
            q = parsed(found[1].replace("_", "."), f"{latency.where}.{key}") / 100.0
            value = latency.number(key) / 1e3
            low = min(value, max(0.0, value - _RESOLUTION_S / 2.0))
            yield round(q, 12), Interval(value=value, low=low, high=value + _RESOLUTION_S)


READERS = {"load-test": read_load_test}
