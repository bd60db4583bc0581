"""Reports of inference-perf, written by the shape of its stages; nothing here is a file of its own."""

from typing import Any

import pytest
from reading import only_run


def figures(mean: float) -> dict[str, float]:
    return {
        "mean": mean,
        "min": mean / 2,
        "p0.1": mean / 2,
        "median": mean,
        "p90": 2 * mean,
        "p99": 3 * mean,
        "p99.9": 4 * mean,
        "max": 5 * mean,
    }


def stage(**load: Any) -> dict[str, Any]:
    return {
        "load_summary": {
            "count": 200,
            "schedule_delay": figures(0.5),
            "send_duration": 9.0,
            "requested_rate": 40.0,
            "achieved_rate": 20.0,
        }
        | load,
        "successes": {
            "count": 190,
            "latency": {"request_latency": figures(0.2), "time_to_first_token": figures(0.1)},
            "throughput": {"requests_per_sec": 19.0},
        },
        "failures": {"count": 10, "request_latency": None},
    }


def of_server() -> dict[str, Any]:
    return {
        "load_summary": {},
        "successes": {
            "count": 500,
            "rate": 25.0,
            "request_latency": {"mean": 0.2, "median": 0.3, "p99": 0.9},
        },
        "failures": {},
    }


EXAMPLES = {
    "lifecycle": stage(),
    "server": of_server(),
    "punctual": stage(schedule_delay=figures(-1e-5)),
    "closed": stage(concurrency=8),
    "unknown": stage(requested_rate=None),
}


REFUSED = [
    (stage() | change, said)
    for change, said in [
        ({"successes": {"count": 0}}, "has no request that succeeded"),
        ({"successes": {}}, "successes has no count"),
        ({"successes": {"count": 1, "latency": {}}}, "latency has no request_latency"),
        (
            {"successes": {"count": 1, "latency": {"request_latency": figures(-1.0)}}},
            "mean_s must be finite and not below 0",
        ),
        ({"failures": {"count": 1.5}}, "failures.count must be a whole number"),
        ({"load_summary": 3}, "load_summary must be an object"),
    ]
]


def test_each_percentile_has_its_probability() -> None:
    """The report of a server's own figures, where P10 is 10 s."""
    percents = (0.1, 1, 5, 10, 25, 75, 90, 95, 99, 99.9)
    report = of_server()
    report["successes"]["request_latency"] = {f"p{one:g}": float(one) for one in percents} | {
        "p50": 50.0,
        "mean": 40.0,
        "p42": 0.0,
    }
    quantiles = only_run(report).quantiles_s
    assert {q: one.value for q, one in quantiles.items()} == pytest.approx(
        {round(one / 100.0, 12): one for one in (*percents, 50)}
    )
    report["successes"]["request_latency"]["median"] = 50.0
    del report["successes"]["request_latency"]["p50"]
    assert only_run(report).quantiles_s[0.5].value == 50.0
