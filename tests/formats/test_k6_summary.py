"""Summaries of k6 in its three shapes, written here by shape; nothing is a file of k6's own."""

import json
from typing import Any

import pytest
from reading import load_test

from capacity.formats.document import Document
from capacity.formats.k6_summary import recognises
from capacity.formats.load_test import Loop

TOOK = {"avg": 21.5, "min": 4.0, "med": 15.5, "max": 230.0, "p(90)": 40.0, "p(99.9)": 200.0}
GOOD = {"avg": 22.0, "min": 6.0, "med": 16.0, "max": 230.0, "p(90)": 41.0, "p(99.9)": 200.0}
GOOD_NAME = "http_req_duration{expected_response:true}"
SUMMARY = {
    "root_group": {"name": "", "groups": [], "checks": []},
    "options": {"summaryTimeUnit": "s"},
    "state": {"testRunDurationMs": 20_000.0},
    "metrics": {
        "http_req_duration": {
            "type": "trend",
            "contains": "time",
            "values": TOOK,
            "thresholds": {"p(90)<30": {"ok": False}, "max<1000": {"ok": True}},
        },
        "http_req_duration{expected_response:true}": {"type": "trend", "contains": "time", "values": GOOD},
        "http_reqs": {"type": "counter", "contains": "default", "values": {"count": 400, "rate": 20.0}},
        "http_req_failed": {"type": "rate", "values": {"rate": 0.025, "passes": 10, "fails": 390}},
        "iterations": {"type": "counter", "values": {"count": 400, "rate": 20.0}},
        "vus_max": {"type": "gauge", "values": {"value": 12, "min": 8, "max": 12}},
    },
}
EXPORT = {
    "root_group": SUMMARY["root_group"],
    "metrics": {
        "http_req_duration": TOOK | {"thresholds": {"p(90)<30": True, "max<1000": False}},
        "http_req_duration{expected_response:true}": GOOD,
        "http_reqs": {"count": 400, "rate": 20.0},
        "http_req_failed": {"passes": 10, "fails": 390, "value": 0.025, "thresholds": {"rate<0.1": False}},
        "iterations": {"count": 400, "rate": 20.0},
        "vus_max": {"value": 12, "min": 8, "max": 12},
    },
}
MACHINE_READABLE = {
    "version": "1.0.0",
    "metadata": {"k6Version": "2.0.0"},
    "config": {"duration": 20.0, "execution": "local"},
    "results": {
        "metrics": [
            {"name": "http_req_duration", "type": "trend", "contains": "time", "values": TOOK},
            {
                "name": "http_req_duration{expected_response:true}",
                "type": "trend",
                "contains": "time",
                "values": GOOD,
            },
            {"name": "http_reqs", "type": "counter", "values": {"count": 400}},
            {
                "name": "http_req_failed",
                "type": "rate",
                "values": {"matches": 10, "rate": 0.025, "total": 400},
            },
            {"name": "vus_max", "type": "gauge", "values": {"value": 12, "min": 8, "max": 12}},
        ]
    },
}
SHAPES = {"handle_summary": SUMMARY, "summary_export": EXPORT, "machine_readable": MACHINE_READABLE}
EXAMPLES = SHAPES


def with_metrics(**others: Any) -> str:
    metrics = {name: one for name, one in (SUMMARY["metrics"] | others).items() if one is not None}
    return json.dumps(SUMMARY | {"metrics": metrics})


def test_dropped_iterations_tell_of_an_open_loop() -> None:
    found = load_test(
        with_metrics(dropped_iterations={"type": "counter", "values": {"count": 7, "rate": 0.3}})
    )
    assert (found.runs[0].loop, found.runs[0].dropped) == (Loop.OPEN, 7)
    assert "give --loop closed" in found.runs[0].loop_because


def test_a_count_of_none_that_was_dropped_tells_of_an_open_loop() -> None:
    """k6 has the metric then only for a threshold on it, such as a script of ours has."""
    none = {"type": "counter", "values": {"count": 0, "rate": 0.0}}
    run = load_test(with_metrics(dropped_iterations=none)).runs[0]
    assert (run.loop, run.dropped) == (Loop.OPEN, 0)


def test_without_failures_the_good_requests_are_all_requests() -> None:
    none = {"type": "rate", "values": {"rate": 0.0, "passes": 0, "fails": 400}}
    (run,) = load_test(with_metrics(http_req_failed=none)).runs
    assert (run.mean_s, run.answered_mean_s) == (0.0215, None)


def test_a_part_that_the_test_asked_for_is_a_run() -> None:
    found = load_test(with_metrics(**{"http_req_duration{name:login}": {"type": "trend", "values": TOOK}}))
    assert [run.name for run in found.runs] == ["http_req_duration", "http_req_duration{name:login}"]
    assert found.whole == "http_req_duration"


REFUSED = [
    (with_metrics(**{GOOD_NAME: None}, **others), said)
    for others, said in [
        ({"http_req_duration": None}, "has no http_req_duration; only tests of HTTP"),
        ({"http_req_duration": {"values": {"med": "1"}}}, "http_req_duration.values.med must be a number"),
        ({"http_req_duration": {"values": {"med": -1.0}}}, "no response takes less than 0 s"),
        ({"http_req_duration": {"values": {"p(900)": 1.0}}}, "quantiles are from 0 to 1"),
        ({"http_req_duration": {"values": {"p(9.9.9)": 1.0}}}, "p(9.9.9) must be a number"),
        ({"http_req_failed": {"values": {"passes": 401}}}, "401 requests failed of 400"),
        ({"http_reqs": 4}, "metrics.http_reqs must be an object"),
    ]
]


@pytest.mark.parametrize(
    ("names", "is_k6"),
    [
        ((), False),
        (("iterations",), False),
        (("iterations", "vus_max"), True),
        (("a", "b", "c", "d", "e"), False),
        (("iterations", "iteration_duration", "data_received", "vus_max", "http_reqs", "http_req_duration"), True),
    ],
)  # fmt: skip
def test_two_metrics_of_every_run_tell_k6(names: tuple[str, ...], is_k6: bool) -> None:
    for document in (
        {"metrics": {name: {} for name in names}},
        {"results": {"metrics": [{"name": name} for name in names]}},
    ):
        assert recognises(Document("f", json.dumps(document))) is is_k6
    assert not recognises(Document("f", '{"metrics": ["iterations", "vus_max"]}'))


def test_a_run_without_a_rate_has_no_length() -> None:
    """By count and rate 20 s, and by neither alone."""
    for requests, duration_s, rate_rps in (
        ({"count": 400, "rate": 20.0}, 20.0, 20.0),
        ({"count": 400}, None, None),
        ({"count": 0, "rate": 0.0}, None, 0.0),
    ):
        metrics = EXPORT["metrics"] | {"http_reqs": requests, "http_req_failed": {"passes": 0, "fails": 0}}
        run = load_test(json.dumps(EXPORT | {"metrics": metrics})).runs[0]
        assert (run.duration_s, run.throughput_rps) == (duration_s, rate_rps)
