"""The JSON of oha, written here by its schema; nothing is a file of oha's own."""

import json
from typing import Any

from reading import load_test

REPORT: dict[str, Any] = {
    "summary": {
        "successRate": 1.0,
        "total": 4.0,
        "slowest": 0.05,
        "fastest": 0.01,
        "average": 0.02,
        "requestsPerSec": 25.0,
        "totalData": 200,
        "sizePerRequest": 2,
        "sizePerSec": 50.0,
    },
    "metrics": {"success_rate": 1.0, "requests_per_sec": 25.0, "latency_ms": {"p50": 18.0}},
    "responseTimeHistogram": {"0.01": 1, "0.03": 89, "0.05": 10},
    "latencyPercentiles": {"p10": 0.011, "p50": 0.018, "p99": 0.045, "p99.9": 0.05, "p99.99": None},
    "firstByteHistogram": {},
    "rps": {"mean": 25.0},
    "statusCodeDistribution": {"200": 94, "503": 4},
    "errorDistribution": {"connection refused": 2, "aborted due to deadline": 3},
}


def changed(**others: Any) -> str:
    return json.dumps(REPORT | others)


EXAMPLES = {
    "json": changed(),
    "older": changed(responseTimeHistogram={"0.02": 90, "0.04": 10}),
    "no fastest": changed(summary=REPORT["summary"] | {"fastest": None}),
    "no slowest": changed(summary=REPORT["summary"] | {"slowest": None}),
    "several errors": changed(
        errorDistribution={"a timeout": 2, "aborted due to deadline": 30, "connection refused": 5}
    ),
}


def test_a_run_without_an_answer() -> None:
    summary = REPORT["summary"] | {"slowest": None, "fastest": None, "average": None}
    text = changed(
        summary=summary, latencyPercentiles={"p50": None}, responseTimeHistogram={}, statusCodeDistribution={}
    )
    (run,) = load_test(text).runs
    assert (run.mean_s, run.quantiles_s, run.succeeded, run.failed) == (None, {}, 0, 2)


REFUSED = [
    (changed(**others), said)
    for others, said in [
        ({"summary": {"total": 4.0}}, "summary has no requestsPerSec"),
        ({"statusCodeDistribution": {"ok": 1}}, "statusCodeDistribution key must be a number, got 'ok'"),
        ({"latencyPercentiles": {"p50": "18ms"}}, "latencyPercentiles.p50 must be a number"),
        ({"responseTimeHistogram": {"0.01": 1.5}}, "responseTimeHistogram.0.01 must be a whole number"),
        ({"responseTimeHistogram": []}, "responseTimeHistogram must be an object"),
    ]
]
