"""autocannon's JSON, as autocannon 9.0.0 wrote it for two connections and two seconds, without and with `-R 40`.

Tables other than of latencies are cut short.
"""

import json
from typing import Any

import pytest
from reading import load_test

FREE: dict[str, Any] = {
    "url": "http://127.0.0.1:18777/p", "connections": 2, "sampleInt": 1000, "pipelining": 1, "workers": 0,
    "duration": 2.03, "samples": 2, "start": "2026-11-28T13:44:21.764Z", "finish": "2026-11-28T13:44:23.793Z",
    "errors": 0, "timeouts": 0, "mismatches": 0, "non2xx": 3, "resets": 0, "1xx": 0, "2xx": 66, "3xx": 0, "4xx": 0,
    "5xx": 3, "statusCodeStats": {"200": {"count": 66}, "503": {"count": 3}},
    "latency": {
        "average": 56.16, "mean": 56.16, "stddev": 15.13, "min": 16, "max": 131, "p0_001": 16, "p0_01": 16,
        "p0_1": 16, "p1": 16, "p2_5": 43, "p10": 47, "p25": 48, "p50": 51, "p75": 56, "p90": 75, "p97_5": 100,
        "p99": 131, "p99_9": 131, "p99_99": 131, "p99_999": 131, "totalCount": 69,
    },
    "requests": {"average": 34.5, "mean": 34.5, "stddev": 2.5, "min": 32, "max": 37, "total": 69, "sent": 71},
    "throughput": {"average": 3924.5, "mean": 3924.5, "stddev": 273.5, "min": 3650, "max": 4198, "total": 7848},
}  # fmt: skip
PACED = FREE | {
    "2xx": 70, "statusCodeStats": {"200": {"count": 70}, "503": {"count": 3}},
    "latency": {
        "average": 27.73, "mean": 27.73, "stddev": 16.41, "min": 1, "max": 87, "p0_001": 1, "p0_01": 1, "p0_1": 1,
        "p1": 1, "p2_5": 2, "p10": 6, "p25": 14, "p50": 27, "p75": 41, "p90": 49, "p97_5": 59, "p99": 64,
        "p99_9": 84, "p99_99": 87, "p99_999": 87, "totalCount": 3899,
    },
    "requests": {"average": 36.5, "mean": 36.5, "stddev": 1.5, "min": 35, "max": 38, "total": 73, "sent": 113},
}  # fmt: skip
EXAMPLES = {
    "free": FREE,
    "paced": PACED,
    "fewer durations": FREE
    | {"latency": FREE["latency"] | {"totalCount": 68}, "pipelining": 3, "duration": 0},
    "a rounded millisecond": FREE | {"latency": FREE["latency"] | {"p1": 0}},
}


def test_two_connections_wait_as_long_as_the_run_takes() -> None:
    """Little's law of a closed loop without think time: what was measured is all there."""
    (run,) = load_test(EXAMPLES["free"]).runs
    assert run.requests * run.mean_s == pytest.approx(run.users * run.duration_s, rel=0.05)


REFUSED = [
    (json.dumps(FREE | others), said)
    for others, said in [
        ({"requests": {"total": 0}}, "has no answers"),
        ({"latency": {}}, ".latency has no mean"),
        ({"latency": FREE["latency"] | {"p99": "131ms"}}, ".latency.p99 must be a number, got '131ms'"),
        ({"latency": FREE["latency"] | {"p99": -1}}, "no response takes less than 0 s"),
        ({"latency": FREE["latency"] | {"p101": 131}}, "quantiles are from 0 to 1"),
        ({"2xx": 6.5}, ".2xx must be a whole number"),
        ({"connections": None}, "has no connections"),
        ({"duration": -1}, "duration_s must be finite and not below 0"),
    ]
]
