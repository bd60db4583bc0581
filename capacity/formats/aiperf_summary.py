"""The JSON of a run of aiperf, `profile_export_aiperf.json`, or of genai-perf before it: metrics, each with its unit.

The settings of the client are there too, so it is known what decided when requests were sent; the CSV beside it does
not say so.
"""

import re
from functools import partial
from typing import Any

from capacity.errors import InputError, quoted
from capacity.formats.document import Document, Part, placed, seconds_per
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.performance import Interval
from capacity.profile.llm_loads import SeenLoad, spread_lengths

NAME = "aiperf profile, its profile_export_aiperf.json"
_NEEDED = {"request_latency", "request_throughput", "request_count", "input_config"}
_PER_SECOND = ("requests/sec", "requests/s")
_QUANTILE = re.compile(r"p([0-9]{1,2})")
_WARM_UP = "warmup"


def recognises(document: Document) -> bool:
    """Whether it has aiperf's metrics and settings."""
    return document.keys >= _NEEDED


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: an unknown unit, or a value that cannot be.

    Source:
        aiperf 0.13.0, exporters/metrics_json_exporter.py, and the phases of its configuration.
    """
    report = Part(document.name, document.object)
    run = placed(document, document.name, partial(_run, report))
    notes = ("aiperf says that the run was cancelled",) if report.is_true("was_cancelled") else ()
    return LoadTest(tool="aiperf", name=document.name, runs=(run,), notes=notes)


def read_loads(document: Document) -> tuple[SeenLoad, ...]:
    """The one load, with lengths as the quantiles of prompts and of answers say.

    Raises:
        InputError: an unknown unit, a value that cannot be, or no lengths, rate or times.
    """
    report = Part(document.name, document.object)
    return (placed(document, document.name, partial(_load, report)),)


# What aiperf calls the inter token latency is the mean time per output token of a request.
_MEASURES = {"ttft": "time_to_first_token", "tpot": "inter_token_latency", "e2e": "request_latency"}


def _load(report: Part) -> SeenLoad:
    sending = _sending(report)
    count = _count(report, "request_count") or 0
    figures = {
        f"{name}_{'mean' if key == 'avg' else key}": scale * part.number(key)
        for name, metric in _MEASURES.items()
        if metric in report
        for part in [report.part(metric)]
        for scale in [seconds_per(part.text("unit"), part.where)]
        for key in part.keys
        if key == "avg" or _QUANTILE.fullmatch(key)
    }
    given, got = (_lengths(report.part(f"{what}_sequence_length"), count) for what in ("input", "output"))
    return SeenLoad(
        name=report.where,
        requests=count,
        input_tokens=given,
        output_tokens=got,
        figures=figures,
        rate_rps=sending.get("rate_asked_rps"),
        users=None if sending.get("users") is None else int(sending["users"]),
        is_even=sending.get("is_even", False),
    )


def _lengths(metric: Part, count: int) -> tuple[int, ...]:
    levels = {"min": 0.0, "max": 1.0} | {f"p{at}": at / 100.0 for at in (1, 5, 10, 25, 50, 75, 90, 95, 99)}
    quantiles = {level: metric.number(key) for key, level in levels.items() if key in metric}
    return spread_lengths(quantiles or {0.5: metric.number("avg")}, max(1, count), len(metric.where))


def _run(report: Part) -> LoadRun:
    latency = report.part("request_latency")
    unit_s = seconds_per(latency.text("unit"), latency.where)
    return LoadRun(
        name="requests",
        throughput_rps=_rate_rps(report.part("request_throughput")),
        duration_s=_seconds(report, "benchmark_duration", "avg"),
        succeeded=_count(report, "request_count"),
        failed=_count(report, "error_request_count") or 0,
        mean_s=unit_s * latency.number("avg"),
        min_s=_seconds(report, "request_latency", "min"),
        max_s=_seconds(report, "request_latency", "max"),
        quantiles_s={
            int(found[1]) / 100.0: Interval.exact(unit_s * latency.number(key))
            for key in latency.keys
            if (found := _QUANTILE.fullmatch(key))
        },
        **{name: value for name, value in _sending(report).items() if name != "is_even"},
    )


def _sending(report: Part) -> dict[str, Any]:
    """What decided when requests were sent, if the settings have one phase beside a warm-up."""
    settings = report.part("input_config")
    phases = [one for one in settings.parts("phases") if "kind" not in one or one.text("kind") != _WARM_UP]
    if len(phases) != 1:
        return {}
    (phase,) = phases
    if "rate" in phase:
        return {
            "loop": Loop.OPEN,
            "rate_asked_rps": phase.number("rate"),
            "is_even": "type" in phase and phase.text("type") == "constant",
            "schedule_delay_mean_s": _seconds(report, "credit_to_start_latency", "avg"),
            "schedule_delay_p99_s": _seconds(report, "credit_to_start_latency", "p99"),
        }
    if "concurrency" in phase:
        return {"loop": Loop.CLOSED, "users": phase.number("concurrency")}
    return {}


def _seconds(report: Part, metric: str, statistic: str) -> float | None:
    if metric not in report or statistic not in report.part(metric):
        return None
    found = report.part(metric)
    return found.number(statistic) * seconds_per(found.text("unit"), found.where)


def _rate_rps(metric: Part) -> float:
    if metric.text("unit") not in _PER_SECOND:
        raise InputError(f"{metric.where} has the unit {quoted(metric.text('unit'))}, not {_PER_SECOND[0]}")
    return metric.number("avg")


def _count(report: Part, metric: str) -> int | None:
    return report.part(metric).whole("avg") if metric in report else None


READERS = {"loads": read_loads, "load-test": read_load_test}
