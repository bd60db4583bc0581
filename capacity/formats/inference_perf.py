"""Reports of inference-perf: `stage_N_` and `summary_lifecycle_metrics.json`, and those of Prometheus, in seconds.

The first are the load generator's: how it sent, and what it got back. `request_latency` begins when a request was
sent, which may be long after it was due: `schedule_delay` must be added. The second are the server's own metrics over
about the same time.
"""

from functools import partial

from capacity.errors import InputError
from capacity.formats.document import Document, Part, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.performance import Interval
from capacity.profile.llm_loads import SeenLoad, spread_lengths

NAME = "inference-perf (stage_N_lifecycle_metrics.json, summary_lifecycle_metrics.json)"
_LATE_S = 0.01  # mean delay of sending from which it is reported


def recognises(document: Document) -> bool:
    """Whether it has the three parts that every report has."""
    return {"load_summary", "successes", "failures"} <= document.keys


def read_load_test(document: Document) -> LoadTest:
    """The one run: response times from when requests were sent, and how late that was.

    Raises:
        InputError: no request succeeded, or numbers that cannot be.

    Source:
        kubernetes-sigs/inference-perf, inference_perf/reportgen/base.py, `summarize_requests` and
        `summarize_prometheus_metrics`.
    """
    report = Part(document.name, document.object)
    successes = report.part("successes")
    if not successes.whole("count"):
        raise InputError(f"{document.name} has no request that succeeded; see its failures, and run it again")
    is_of_server = "latency" not in successes
    run = placed(document, document.name, partial(_of_server if is_of_server else _of_client, report))
    return LoadTest(tool="inference-perf", name=document.name, runs=(run,), notes=_notes(run, is_of_server))


def read_loads(document: Document) -> tuple[SeenLoad, ...]:
    """The one load as its client saw it. Its times per token are of lines, and are left out.

    "Constant" load is exponential gaps rescaled to the stage, so requests come at random whatever it is called.

    Raises:
        InputError: a report of the server's metrics, no lengths, or numbers that cannot be.

    Source:
        kubernetes-sigs/inference-perf, inference_perf/loadgen/load_timer.py.
    """
    report = Part(document.name, document.object)
    if "latency" not in report.part("successes"):
        raise InputError(
            f"{document.name} has the server's metrics, not those of its clients; give stage_N_lifecycle_metrics.json"
        )
    return (placed(document, document.name, partial(_load, report)),)


def _load(report: Part) -> SeenLoad:
    load, successes = report.part("load_summary"), report.part("successes")
    count, users = successes.whole("count"), _optional(load, "concurrency")
    latency = successes.part("latency")
    figures = {
        f"{name}_{'p50' if key == 'median' else key}": latency.part(measure).number(key)
        for name, measure in (("ttft", "time_to_first_token"), ("e2e", "request_latency"))
        if measure in latency
        for key in ("mean", "median", "p90", "p95", "p99")
        if key in latency.part(measure)
    }
    rate_rps = _optional(load, "requested_rate")
    given, got = (_lengths(successes.part(f"{what}_len"), count) for what in ("prompt", "output"))
    return SeenLoad(
        name=report.where,
        requests=count,
        input_tokens=given,
        output_tokens=got,
        figures=figures,
        rate_rps=None if users else rate_rps,
        users=None if not users else int(users),
    )


def _lengths(metric: Part, count: int) -> tuple[int, ...]:
    quantiles = {q: one.value for q, one in _quantiles(metric).items()}
    quantiles |= {level: metric.number(key) for key, level in (("min", 0.0), ("max", 1.0)) if key in metric}
    return spread_lengths(quantiles or {0.5: metric.number("mean")}, count, len(metric.where))


def _of_client(report: Part) -> LoadRun:
    load, successes = report.part("load_summary"), report.part("successes")
    latency = successes.part("latency").part("request_latency")
    delay = load.part("schedule_delay") if "schedule_delay" in load else None
    asked_rps, users = _optional(load, "requested_rate"), _optional(load, "concurrency")
    succeeded = successes.whole("count")
    rate_rps = (
        _optional(successes.part("throughput"), "requests_per_sec") if "throughput" in successes else None
    )
    return LoadRun(
        name="requests",
        loop=Loop.CLOSED if users else Loop.UNKNOWN if asked_rps is None else Loop.OPEN,
        users=users or None,
        rate_asked_rps=asked_rps,
        rate_sent_rps=_optional(load, "achieved_rate"),
        throughput_rps=rate_rps,
        duration_s=succeeded / rate_rps if rate_rps else _optional(load, "send_duration"),
        succeeded=succeeded,
        failed=_failed(report),
        mean_s=latency.number("mean"),
        min_s=_optional(latency, "min"),
        max_s=_optional(latency, "max"),
        quantiles_s=_quantiles(latency),
        schedule_delay_mean_s=_optional(delay, "mean") if delay else None,
        schedule_delay_p99_s=_optional(delay, "p99") if delay else None,
    )


def _of_server(report: Part) -> LoadRun:
    successes = report.part("successes")
    latency = successes.part("request_latency")
    return LoadRun(
        name="server's metrics",
        loop=Loop.SERVED,
        throughput_rps=_optional(successes, "rate"),
        succeeded=successes.whole("count"),
        mean_s=latency.number("mean"),
        quantiles_s=_quantiles(latency),
    )


def _notes(run: LoadRun, is_of_server: bool) -> tuple[str, ...]:  # noqa: FBT001
    if is_of_server:
        return (
            "these are the server's metrics over a window that may hold requests of other stages; its percentiles "
            "are interpolated within buckets",
        )
    if (run.schedule_delay_mean_s or 0.0) > _LATE_S:
        return (
            f"requests were sent {run.schedule_delay_mean_s:.3g} s late on average: a user's response is "
            "schedule_delay and request_latency together",
        )
    return ()


def _failed(report: Part) -> int | None:
    failures = report.part("failures")
    return failures.whole("count") if "count" in failures else None


def _quantiles(figures: Part) -> dict[float, Interval]:
    """Quantiles by probability, from keys such as `median`, `p99` and `p99.9`."""
    found = {"median": 0.5} | {
        f"p{percent}": percent / 100.0 for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)
    }
    found |= {"p0.1": 0.001, "p99.9": 0.999}
    return {q: Interval.exact(figures.number(key)) for key, q in found.items() if key in figures}


def _optional(part: Part, key: str) -> float | None:
    return part.number(key) if key in part else None


READERS = {"loads": read_loads, "load-test": read_load_test}
