"""The JSON of a run of aiperf, written here by shape; nothing is a file of its own."""

import json
from typing import Any

import pytest
from reading import load_test, refusal

from capacity.formats.load_test import Loop


def report(*phases: dict[str, Any], **others: Any) -> str:
    latency = {
        "unit": "ms",
        "avg": 450.0,
        "p50": 440.0,
        "p99": 600.0,
        "min": 300.0,
        "max": 660.0,
        "std": 57.0,
    }
    return json.dumps(
        {
            "schema_version": "1.4",
            "aiperf_version": "0.13.0",
            "request_throughput": {"unit": "requests/sec", "avg": 8.75},
            "request_latency": latency,
            "request_count": {"unit": "requests", "avg": 240.0},
            "benchmark_duration": {"unit": "sec", "avg": 27.5},
            "credit_to_start_latency": {"unit": "ms", "avg": 0.9, "p99": 3.3},
            "input_config": {"phases": list(phases)},
            "was_cancelled": False,
            **others,
        }
    )


WARM_UP = {"name": "warm", "kind": "warmup", "type": "concurrency", "concurrency": 1}
OPEN = report(WARM_UP, {"kind": "profiling", "type": "poisson", "requests": 240, "rate": 8.0})
CLOSED = report({"kind": "profiling", "type": "concurrency", "requests": 240, "concurrency": 4})
EXAMPLES = {
    "open": OPEN,
    "closed": CLOSED,
    "cancelled": report(error_request_count={"unit": "requests", "avg": 12.0}, was_cancelled=True),
}


def test_its_settings_say_what_decided_when_requests_were_sent() -> None:
    (run,) = load_test(OPEN).runs
    assert (run.loop, run.rate_asked_rps, run.users) == (Loop.OPEN, 8.0, None)
    assert (run.schedule_delay_mean_s, run.schedule_delay_p99_s) == pytest.approx((0.0009, 0.0033))
    (run,) = load_test(CLOSED).runs
    assert (run.loop, run.rate_asked_rps, run.users) == (Loop.CLOSED, None, 4.0)
    for text in (report(), report(WARM_UP), report({"rate": 1.0}, {"rate": 2.0}), report({"type": "trace"})):
        assert load_test(text).runs[0].loop is Loop.UNKNOWN


def test_failures_are_counted_and_units_are_checked() -> None:
    text = report(error_request_count={"unit": "requests", "avg": 12.0}, was_cancelled=True)
    test = load_test(text)
    assert (test.runs[0].failed, test.notes) == (12, ("aiperf says that the run was cancelled",))
    assert "request_throughput has the unit 'requests/min'" in refusal(
        OPEN.replace("requests/sec", "requests/min")
    )
    assert "request_latency has the unit 'h'" in refusal(
        OPEN.replace('"unit": "ms", "avg": 450.0', '"unit": "h", "avg": 450.0')
    )
