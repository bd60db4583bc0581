"""The JSON of oha, written here by its schema; nothing is a file of oha's own."""

import json
from typing import Any

import pytest
from reading import load_test, refusal

from capacity.formats.load_test import Loop

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


EXAMPLES = {"json": changed().encode()}


def test_the_run() -> None:
    found = load_test(changed())
    (run,) = found.runs
    assert (run.loop, run.duration_s, run.throughput_rps) == (Loop.UNKNOWN, 4.0, 25.0)
    assert (run.mean_s, run.min_s, run.max_s) == (0.02, 0.01, 0.05)
    assert {q: one.value for q, one in run.quantiles_s.items()} == {
        0.1: 0.011,
        0.5: 0.018,
        0.99: 0.045,
        0.999: 0.05,
    }
    assert run.histogram.edges_s == (0.0, 0.01, 0.03, 0.05)
    assert run.histogram.counts == (1, 89, 10)
    assert found.notes == ()


def test_what_the_deadline_cut_off_did_not_fail() -> None:
    (run,) = load_test(changed()).runs
    assert (run.succeeded, run.failed) == (94, 6)


def test_a_histogram_of_an_older_version_is_left_out_with_a_word() -> None:
    found = load_test(changed(responseTimeHistogram={"0.02": 90, "0.04": 10}))
    assert found.runs[0].histogram is None
    assert "is left out" in found.notes[0]


def test_a_run_without_an_answer() -> None:
    summary = REPORT["summary"] | {"slowest": None, "fastest": None, "average": None}
    text = changed(
        summary=summary, latencyPercentiles={"p50": None}, responseTimeHistogram={}, statusCodeDistribution={}
    )
    (run,) = load_test(text).runs
    assert (run.mean_s, run.quantiles_s, run.succeeded, run.failed) == (None, {}, 0, 2)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"summary": {"total": 4.0}}, "summary has no requestsPerSec"),
        ({"statusCodeDistribution": {"ok": 1}}, "statusCodeDistribution key must be a number, got 'ok'"),
        ({"latencyPercentiles": {"p50": "18ms"}}, "latencyPercentiles.p50 must be a number"),
        ({"responseTimeHistogram": {"0.01": 1.5}}, "responseTimeHistogram.0.01 must be a whole number"),
        ({"responseTimeHistogram": []}, "responseTimeHistogram must be an object"),
    ],
)
def test_what_cannot_be_is_refused(others: dict[str, Any], said: str) -> None:
    assert said in refusal(changed(**others))


@pytest.mark.parametrize("end", ["fastest", "slowest"])
def test_a_histogram_without_both_ends_is_left_out(end: str) -> None:
    found = load_test(changed(summary=REPORT["summary"] | {end: None}))
    assert (found.runs[0].histogram, found.notes) == (None, ())


def test_requests_that_oha_aborted_at_its_deadline_did_not_fail() -> None:
    errors = {"a timeout": 2, "aborted due to deadline": 30, "connection refused": 5}
    assert load_test(changed(errorDistribution=errors)).runs[0].failed == 4 + 2 + 5  # 4 by status
