"""Single requests of inference-perf, written by the shape of its report; nothing here is a file of its own."""

import json
from typing import Any

import pytest
from reading import load_test, read_bytes, refusal

from capacity.formats.load_test import Loop
from capacity.formats.registry import Kind


def request(start_s: float, took_s: float, **others: Any) -> dict[str, Any]:
    return {
        "start_time": start_s,
        "end_time": start_s + took_s,
        "request": '{"model": "m", "prompt": "x"}',
        "response": "y",
        "info": {"input_tokens": 200, "output_tokens": 3, "output_token_times": [start_s + 0.1]},
        "error": None,
    } | others


REQUESTS = [request(1000.0 + 0.25 * at, 0.4 + 0.01 * at) for at in range(20)]
FAILED = request(1005.0, 2.0, error={"error_type": "Timeout", "error_msg": "after 2 s"})
EXAMPLES = {
    "requests": json.dumps([*REQUESTS, FAILED]).encode(),
    "indented": json.dumps(REQUESTS, indent=2).encode(),
}


def test_single_requests_are_a_load_test() -> None:
    found = load_test([*REQUESTS, FAILED])
    (run,) = found.runs
    assert (run.loop, run.succeeded, run.failed) == (Loop.UNKNOWN, 20, 1)
    assert run.mean_s == pytest.approx(0.495)
    assert run.rate_sent_rps == pytest.approx(4.0)
    assert run.max_s == pytest.approx(0.59)
    assert "how late they were sent" in found.notes[0]


def test_they_are_a_workload_too() -> None:
    found = read_bytes(REQUESTS, Kind.WORKLOAD)
    assert len(found.instants_s) == 20
    assert found.rate_rps == pytest.approx(4.0, rel=0.06)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([request(1.0, 0.1), {"start_time": 2.0}], "result.bin[1] has no end_time"),
        ([request(1.0, -0.1)], "result.bin[0] ends before it starts"),
        ([request(1.0, 0.1), request(1.0, 0.1, start_time="now")], "[1].start_time must be a number, got 'now'"),
        ([request(1.0, 0.1), 3], "must be an object, got 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(requests: list[Any], said: str) -> None:
    assert said in refusal(requests)


def test_a_request_may_take_no_time() -> None:
    (run,) = load_test([request(1.0, 0.0), request(2.0, 0.0)]).runs
    assert (run.succeeded, run.mean_s) == (2, 0.0)


def test_seconds_are_whole_nanoseconds() -> None:
    (run,) = load_test([request(1000.0, 0.0), request(1500.0, 0.5)]).runs
    assert run.samples.sent_s.tolist() == [0.0, 500.0]
    assert run.samples.response_s.tolist() == [0.0, 0.5]
