"""The JSON of guidellm: several benchmarks, each a run, with the first and the last token of each request.

What it calls time per output token includes the first token, and is not read here. Instants are seconds of the
wall clock, under `info.timings`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part
from capacity.formats.load_test import LoadTest, Loop
from capacity.formats.seen_runs import load_run, load_test
from capacity.profile.llm_loads import SeenLoad, load_of_run
from capacity.profile.llm_runs import SeenRequest, SeenRun

NAME = "guidellm benchmark, as JSON"
_VERSION = 2
_OTHERS = ("incomplete", "errored")
# When a request was sent; one that failed in the generator itself has no start of its own.
_STARTS = ("request_start", "resolve_start")


def recognises(document: Document) -> bool:
    """Whether it has benchmarks, and names its version of guidellm."""
    if not {"metadata", "benchmarks"} <= document.keys:
        return False
    metadata = document.object["metadata"]
    return isinstance(metadata, dict) and "guidellm_version" in metadata


def read_runs(document: Document) -> tuple[SeenRun, ...]:
    """A run for each benchmark.

    Raises:
        InputError: another version of the file, only a sample of the requests, or values that cannot be.

    Source:
        guidellm 0.8.1, guidellm.benchmark.schemas, report version 2.
    """
    report = Part(document.name, document.object)
    version = report.part("metadata").whole("version")
    if version != _VERSION:
        raise InputError(
            f"{document.name} has metadata.version {version}, and {_VERSION} is read here; write it by guidellm 0.8"
        )
    benchmarks = report.parts("benchmarks")
    if not benchmarks:
        raise InputError(f"{document.name} has no benchmarks; run guidellm again")
    return tuple(_run(one) for one in benchmarks)


def read_loads(document: Document) -> tuple[SeenLoad, ...]:
    """The loads, by their single requests.

    Raises:
        InputError: as `read_runs`.
    """
    return tuple(load_of_run(run) for run in read_runs(document))


def read_load_test(document: Document) -> LoadTest:
    """The runs as load tests: closed at a number of streams, open at a rate.

    Raises:
        InputError: as `read_runs`.
    """
    benchmarks = Part(document.name, document.object).parts("benchmarks")
    runs = [
        load_run(run, **_sending(benchmark))
        for run, benchmark in zip(read_runs(document), benchmarks, strict=True)
    ]
    return load_test(NAME, document.name, runs)


def _sending(benchmark: Part) -> dict[str, Any]:
    """What decided when requests were sent, as far as the strategy says."""
    if "config" not in benchmark or "strategy" not in benchmark.part("config"):
        return {}
    strategy = benchmark.part("config").part("strategy")
    kind = strategy.text("type_") if "type_" in strategy else ""
    failed = len(benchmark.part("requests").parts("errored"))
    if kind in ("constant", "poisson", "async") and "rate" in strategy:
        return {
            "loop": Loop.OPEN,
            "rate_asked_rps": strategy.number("rate"),
            "rate_sent_rps": _sent_rps(benchmark),
            "failed": failed,
        }
    if kind == "synchronous":
        return {"loop": Loop.CLOSED, "users": 1.0, "failed": failed}
    if kind == "concurrent":
        users = strategy.number("streams") if "streams" in strategy else None
        return {"loop": Loop.CLOSED, "users": users, "failed": failed}
    return {"failed": failed}


def _sent_rps(benchmark: Part) -> float | None:
    """Rate at which requests of every outcome were sent; None with fewer than two. [requests/s]"""
    timings = [
        one.part("info").part("timings")
        for status in ("successful", *_OTHERS)
        for one in benchmark.part("requests").parts(status)
    ]
    starts = (next((key for key in _STARTS if key in one), None) for one in timings)
    sent_s = [one.number(key) for one, key in zip(timings, starts, strict=True) if key is not None]
    span_s = max(sent_s, default=0.0) - min(sent_s, default=0.0)
    return (len(sent_s) - 1) / span_s if span_s > 0.0 else None


def _run(benchmark: Part) -> SeenRun:
    requests = benchmark.part("requests")
    for status in ("successful", *_OTHERS):
        _require_all(benchmark, status)
    seen = [located(one.where, partial(_request, one)) for one in requests.parts("successful")]
    others = [span for status in _OTHERS for one in requests.parts(status) for span in _span(one)]
    return SeenRun(name=benchmark.where, requests=tuple(seen), others_s=tuple(others), has_stamps=False)


def _require_all(benchmark: Part, status: str) -> None:
    """Refuse a sample: requests in flight are known only if all are there."""
    found = len(benchmark.part("requests").parts(status))
    total = benchmark.part("metrics").part("request_totals").whole(status)
    if found < total:
        raise InputError(
            f"{benchmark.where} holds {found} of {total} {status} requests; run guidellm without a sample size, so "
            "that all are kept"
        )


def _request(one: Part) -> SeenRequest:
    timings, output_tokens = one.part("info").part("timings"), one.whole("output_tokens")
    return SeenRequest(
        input_tokens=one.whole("prompt_tokens"),
        output_tokens=output_tokens,
        start_s=timings.number("request_start"),
        first_s=timings.number("first_token_iteration"),
        last_s=timings.number("last_token_iteration"),
        due_s=timings.number("targeted_start") if "targeted_start" in timings else None,
        events=min(timings.whole("token_iterations"), output_tokens),
    )


def _span(one: Part) -> Iterator[tuple[float, float]]:
    """Start and end of a request without an answer; nothing if it was never sent."""
    timings = one.part("info").part("timings")
    ends = [timings.number(name) for name in ("request_end", "resolve_end") if name in timings]
    if "request_start" in timings and ends:
        yield timings.number("request_start"), ends[0]


READERS = {"runs": read_runs, "loads": read_loads, "load-test": read_load_test}
