"""Exports of perf_analyzer, written by the shape that its source has; nothing here is a file of its own."""

from typing import Any

import pytest
from reading import load_test, only_run, refusal

from capacity.formats.load_test import Loop

START = 1_700_000_000_000_000_003  # more digits than a float holds


def request(sent_ns: int, *took_ns: int) -> dict[str, Any]:
    return {
        "timestamp": START + sent_ns,
        "request_inputs": {"x": 1},
        "response_timestamps": [START + sent_ns + one for one in took_ns],
    }


def experiment(mode: str, value: float, *requests: dict[str, Any]) -> dict[str, Any]:
    return {"experiment": {"mode": mode, "value": value}, "requests": list(requests), "window_boundaries": []}


def export(*experiments: dict[str, Any]) -> dict[str, Any]:
    return {"experiments": list(experiments), "version": "2.59", "service_kind": "triton", "endpoint": ""}


STREAMED = experiment(
    "concurrency",
    2,
    request(2_000_000, 5_000_000),
    request(0, 1_000_000, 9_000_000),
    request(3, 4_000_000),
    request(9),
)
EXAMPLES = {"export": export(STREAMED, experiment("request_rate", 5.5, request(0, 1000)))}


def test_each_request_is_a_sample() -> None:
    run = only_run(export(STREAMED))
    assert (run.loop, run.users, run.succeeded, run.failed) == (Loop.CLOSED, 2.0, 3, 1)
    assert run.samples.sent_s == pytest.approx([0.0, 3e-9, 0.002])  # in the order of sending
    assert run.samples.response_s == pytest.approx([0.009, 0.004, 0.005])  # until the last response
    assert run.mean_s == pytest.approx(0.006)
    assert run.quantiles_s[0.5].value == pytest.approx(0.005)
    assert run.throughput_rps == pytest.approx(3 / 0.009)


REFUSED = [
        (export(), "holds no run"),
        (export(experiment("concurrency", 1, request(0))), "has no answered request"),
        (export(experiment("concurrency", 1, request(0, -5))), "requests[0] was answered before it was sent"),
        (export(experiment("concurrency", 1, request(0, 1) | {"timestamp": "x"})), "timestamp must be a number"),
        (export({"experiment": {"mode": "concurrency"}, "requests": [request(0, 1)]}), "experiment has no value"),
        (export({"experiment": 1, "requests": [request(0, 1)]}), "experiment must be an object"),
    ]  # fmt: skip


def test_the_number_of_requests_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.formats.perf_analyzer_export.ROWS_MAX", 5)
    one = experiment("request_rate", 5.5, request(0, 1000))
    assert len(load_test(export(STREAMED, one)).runs) == 2
    said = refusal(export(STREAMED, one, one))
    assert "has more than 5 requests; export fewer experiments at a time" in said


def test_a_run_is_named_by_its_mode_and_load() -> None:
    assert only_run(export(experiment("request_rate", 5.5, request(0, 1000)))).name == ("request rate 5.5")
    assert only_run(export(experiment("x" * 81, 5.5, request(0, 1000)))).name == "x" * 80
