"""The JSON of fortio, written here by shape; nothing is a file of fortio's own."""

import json
from typing import Any

import pytest
from reading import load_test, refusal

DURATIONS: dict[str, Any] = {
    "Count": 100,
    "Min": 0.0012,
    "Max": 0.031,
    "Sum": 0.4,
    "Avg": 0.004,
    "StdDev": 0.003,
    "Data": [
        {"Start": 0.0012, "End": 0.002, "Percent": 60, "Count": 60},
        {"Start": 0.002, "End": 0.003, "Percent": 95, "Count": 35},
        {"Start": 0.03, "End": 0.031, "Percent": 100, "Count": 5},
    ],
    "Percentiles": [{"Percentile": 50, "Value": 0.0019}, {"Percentile": 99, "Value": 0.0308}],
}
REPORT: dict[str, Any] = {
    "RunType": "HTTP",
    "StartTime": "2026-03-01T08:00:00Z",
    "RequestedQPS": "100",
    "RequestedDuration": "1s",
    "ActualQPS": 99.5,
    "ActualDuration": 1_005_000_000,
    "NumThreads": 4,
    "DurationHistogram": DURATIONS,
    "ErrorsDurationHistogram": {"Count": 3, "Min": 0.03, "Max": 0.031, "Avg": 0.0305, "Data": None},
    "RetCodes": {"200": 97, "503": 3},
    "Sizes": DURATIONS,
}


def changed(**others: Any) -> str:
    return json.dumps(REPORT | others)


def with_durations(**others: Any) -> str:
    return changed(DurationHistogram=DURATIONS | others)


EXAMPLES = {
    "json": changed(),
    "no rate": changed(RequestedQPS="max (no limit)"),
    "older": changed(ErrorsDurationHistogram=None, RetCodes={"200": 90, "-1": 4, "503": 6}),
}


@pytest.mark.parametrize("asked", ["max", "max (no limit)", "0"])
def test_no_rate_is_asked_for(asked: str) -> None:
    assert load_test(changed(RequestedQPS=asked)).runs[0].rate_asked_rps is None


def test_a_single_request_has_a_bucket_without_a_width() -> None:
    data = [{"Start": 0.002, "End": 0.002, "Percent": 100, "Count": 1}]
    durations = DURATIONS | {"Count": 1, "Data": data, "Percentiles": None}
    (run,) = load_test(changed(DurationHistogram=durations, ErrorsDurationHistogram={"Count": 0})).runs
    assert run.histogram.quantile(0.5).value == 0.002


REFUSED = [
    (changed(RequestedQPS="fast"), ".RequestedQPS must be a number, got 'fast'"),
    (changed(RequestedQPS=100), ".RequestedQPS must be a text"),
    (changed(ErrorsDurationHistogram={"Count": 101}), "has 101 failures of 100 requests"),
    (with_durations(Count=0), "has no requests"),
    (with_durations(Data=None), "DurationHistogram has no Data"),
    (with_durations(Data=[{"Start": 1, "End": 0, "Count": 1}]), "bounds of a histogram must rise"),
    (with_durations(Data=[{"Start": 0, "End": 1, "Count": -1}]), "never below 0"),
    (with_durations(Percentiles=[{"Percentile": 101, "Value": 1}]), "Percentile must be from 0 to 100"),
    (with_durations(Percentiles=[{"Percentile": 50, "Value": -1}]), "no response takes less than 0 s"),
    (with_durations(Avg="4ms"), "DurationHistogram.Avg must be a number"),
]


@pytest.mark.parametrize(
    ("code", "failed"),
    [("199", 3), ("200", 0), ("399", 0), ("400", 3), ("2000000", 3), ("²00", 3), ("-1", 3), ("SERVING", 0)],
)
def test_codes_that_are_failures(code: str, failed: int) -> None:
    assert load_test(changed(ErrorsDurationHistogram=None, RetCodes={code: 3})).runs[0].failed == failed


@pytest.mark.parametrize("failed", [0, 100])
def test_all_or_none_may_fail(failed: int) -> None:
    found = load_test(changed(ErrorsDurationHistogram={"Count": failed}))
    assert (found.runs[0].succeeded, found.runs[0].failed) == (100 - failed, failed)
    assert len(found.notes) == (failed > 0)
    assert "has -1 failures" in refusal(changed(ErrorsDurationHistogram={"Count": -1}))
