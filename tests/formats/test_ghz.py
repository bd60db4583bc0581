"""The JSON of ghz, written here by shape; nothing is a file of ghz's own."""

import json
from typing import Any

import pytest
from reading import load_test, refusal, workload

from capacity.formats.load_test import Loop
from capacity.formats.registry import Kind

DETAILS = [
    {"timestamp": "2026-03-01T08:00:00.100Z", "latency": 100_000_000, "error": "", "status": "OK"},
    {"timestamp": "2026-03-01T08:00:00.350Z", "latency": 300_000_000, "error": "", "status": "OK"},
    {"timestamp": "2026-03-01T08:00:01.000Z", "latency": 10_000_000, "error": "late", "status": "Unavailable"},
]  # fmt: skip
REPORT: dict[str, Any] = {
    "date": "2026-03-01T08:00:01Z",
    "endReason": "normal",
    "options": {"call": "a.B.C", "concurrency": 2, "total": 3, "rps": 3, "async": False},
    "count": 3,
    "total": 1_000_000_000,
    "average": 200_000_000,
    "fastest": 100_000_000,
    "slowest": 300_000_000,
    "rps": 3.0,
    "errorDistribution": {"late": 1},
    "statusCodeDistribution": {"OK": 2, "Unavailable": 1},
    "latencyDistribution": [{"percentage": 50, "latency": 100_000_000}, {"percentage": 99, "latency": 300_000_000}],
    "histogram": [
        {"mark": 0.1, "count": 1, "frequency": 0.5},
        {"mark": 0.2, "count": 0, "frequency": 0.0},
        {"mark": 0.3, "count": 1, "frequency": 0.5},
    ],
    "details": DETAILS,
}  # fmt: skip


def changed(**others: Any) -> str:
    return json.dumps(REPORT | others)


EXAMPLES = {"json": changed().encode()}


def test_the_run() -> None:
    found = load_test(changed())
    (run,) = found.runs
    assert (run.loop, run.users, run.rate_asked_rps, run.throughput_rps) == (Loop.CLOSED, 2, 3.0, 3.0)
    assert (run.duration_s, run.succeeded, run.failed) == (1.0, 2, 1)
    assert (run.mean_s, run.min_s, run.max_s) == (0.2, 0.1, 0.3)
    assert {q: one.value for q, one in run.quantiles_s.items()} == {0.5: 0.1, 0.99: 0.3}
    assert (run.histogram.edges_s, run.histogram.counts) == ((0.0, 0.1, 0.2, 0.3), (1, 0, 1))
    assert found.notes == ()


def test_a_request_was_sent_before_its_time_stamp() -> None:
    (run,) = load_test(changed()).runs
    assert run.samples.sent_s == pytest.approx([0.0, 0.05])
    assert run.samples.response_s == pytest.approx([0.1, 0.3])
    assert workload(changed()).instants_s == pytest.approx((0.0, 0.05, 0.99))


def test_details_that_are_not_whole_are_left_out_with_a_word() -> None:
    text = changed(details=DETAILS[:2])
    assert load_test(text).runs[0].samples is None
    assert load_test(text).notes == ("details has only 2 of 3 requests, so it is left out",)
    assert "has only 2 details of 3 requests" in refusal(text, Kind.WORKLOAD)


def test_only_async_sends_by_the_clock() -> None:
    assert load_test(changed(options={"async": True})).runs[0].loop is Loop.OPEN


def test_equal_responses_have_no_histogram() -> None:
    marks = [{"mark": 0.1, "count": 1}, {"mark": 0.1, "count": 1}]
    assert load_test(changed(histogram=marks)).runs[0].histogram is None


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"count": 0}, "has no requests"),
        ({"count": 1}, "has 2 requests of 1"),
        ({"average": "200ms"}, ".average must be a number"),
        ({"histogram": [{"mark": 2, "count": 1}, {"mark": 1, "count": 1}]}, "bounds of a histogram must rise"),
        ({"details": [DETAILS[0] | {"latency": -1}]}, "details[0] has a duration below 0"),
        ({"details": [DETAILS[0] | {"timestamp": "1"}]}, "details[0].timestamp must be a date and time"),
        ({"details": [{}]}, "details[0] has no timestamp"),
        ({"details": {}}, ".details must be a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(others: dict[str, Any], said: str) -> None:
    assert said in refusal(changed(**others))


def test_more_details_than_requests_are_a_workload_and_no_samples() -> None:
    text = changed(count=2, statusCodeDistribution={"OK": 2})
    assert len(workload(text).instants_s) == 3
    found = load_test(text)
    assert found.runs[0].samples is None
    assert "details has only 3 of 2 requests" in found.notes[0]


def test_a_histogram_of_one_mark_has_no_width() -> None:
    one = {"mark": 0.1, "count": 3}
    for marks in ([one], [one, one], []):
        assert load_test(changed(histogram=marks)).runs[0].histogram is None
