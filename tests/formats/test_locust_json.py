"""Locust's JSON, as Locust 2.47.0 wrote one of its endpoints for three users and 6 seconds."""

import json
from typing import Any

import pytest
from reading import load_test, refusal

from capacity.formats.document import Document
from capacity.formats.locust_json import recognises

TIMES = {
    "19": 4, "39": 1, "15": 3, "12": 4, "25": 1, "90": 1, "100": 1, "42": 1, "13": 4, "10": 6, "9": 1, "11": 5,
    "38": 1, "7": 2, "16": 3, "33": 1, "21": 4, "17": 2, "20": 1, "6": 2, "18": 1, "5": 2, "4": 2, "14": 2,
}  # fmt: skip
ENDPOINT = {
    "name": "/predict",
    "method": "GET",
    "last_request_timestamp": 1795873473.8736207,
    "start_time": 1795873468.9687185,
    "num_requests": 55,
    "num_none_requests": 0,
    "num_failures": 2,
    "total_response_time": 987.831076978182,
    "max_response_time": 99.86264699546155,
    "min_response_time": 4.385549000289757,
    "total_content_length": 110,
    "response_times": TIMES,
    "num_reqs_per_sec": {"1795873468": 3, "1795873469": 10, "1795873470": 10, "1795873471": 12},
    "num_fail_per_sec": {"1795873468": 1},
}


def changed(**others: Any) -> str:
    return json.dumps([ENDPOINT | others], indent=4)


EXAMPLES = {
    "json": changed(),
    "all failed": changed(num_failures=55, response_times={"5": 20, "4": 30, "7": 5}, min_response_time=None),
}


def test_quantiles_are_those_of_locust_and_hold_what_rounding_leaves_open() -> None:
    """Beside the CSV of the same run, which had 13 ms, 33 ms and 42 ms."""
    (run,) = load_test(changed()).runs
    for q, seen_s in ((0.5, 0.013), (0.9, 0.033), (0.95, 0.042)):
        assert run.quantiles_s[q].low <= seen_s <= run.quantiles_s[q].high
    top = run.quantiles_s[0.999]
    assert top.low <= run.max_s <= top.high


def test_an_endpoint_without_requests_is_passed_over() -> None:
    idle = ENDPOINT | {"num_requests": 0, "response_times": {}}
    assert len(load_test(json.dumps([ENDPOINT, idle])).runs) == 1
    assert "no run with a measurement" in refusal(json.dumps([idle]))


REFUSED = [
    (changed(**others), said)
    for others, said in [
        ({"num_failures": 56}, "[0] has 56 failures of 55 requests"),
        ({"response_times": {"fast": 1}}, "[0].response_times key must be a number, got 'fast'"),
        ({"response_times": {"4": "1"}}, "[0].response_times.4 must be a number"),
        ({"response_times": {"4": -1}}, "never below 0"),
        ({"response_times": []}, "[0].response_times must be an object"),
        ({"max_response_time": None}, "has no max_response_time"),
        ({"start_time": 1e99}, "duration_s must be finite and not below 0"),
    ]
]


def test_a_rate_is_of_all_requests_and_a_mean_of_those_with_a_time() -> None:
    """Of 55 requests in 5 s, 11 had no time of their own."""
    given = {"start_time": 10.0, "last_request_timestamp": 15.0, "total_response_time": 880.0}
    (run,) = load_test(changed(num_none_requests=11, **given)).runs
    assert (run.duration_s, run.throughput_rps, run.mean_s) == (5.0, 11.0, 0.02)
    short = {"start_time": 10.0, "last_request_timestamp": 10.5, "num_none_requests": None}
    (run,) = load_test(changed(**short)).runs
    assert run.throughput_rps == 110.0
    assert run.mean_s == pytest.approx(0.987831076978182 / 55)
    (run,) = load_test(changed(start_time=10.0, last_request_timestamp=10.0, num_none_requests=55)).runs
    assert (run.throughput_rps, run.mean_s) == (None, None)


def test_a_list_that_is_no_json_is_not_locusts() -> None:
    assert not recognises(Document("stats.json", '[{"name": '))
    assert not recognises(Document("stats.json", json.dumps([{"name": "/predict"}])))
    assert recognises(Document("stats.json", json.dumps([ENDPOINT])))
