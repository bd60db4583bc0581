"""Reports and results of vegeta, written here by shape; nothing is a file of vegeta's own."""

import json
from typing import Any

import pytest
from reading import load_test, refusal, workload

from capacity.formats.registry import Kind

REPORT: dict[str, Any] = {
    "latencies": {
        "total": 1_000_000_000,
        "mean": 5_000_000,
        "50th": 4_000_000,
        "90th": 8_000_000,
        "99.9th": 20_000_000,
        "max": 25_000_000,
        "min": 1_000_000,
    },
    "buckets": {"0": 150, "5000000": 40, "10000000": 10},
    "bytes_in": {"total": 0, "mean": 0},
    "earliest": "2026-03-01T08:00:00Z",
    "latest": "2026-03-01T08:00:01.98Z",
    "end": "2026-03-01T08:00:02Z",
    "duration": 1_980_000_000,
    "wait": 20_000_000,
    "requests": 200,
    "rate": 101.01,
    "throughput": 97.5,
    "success": 0.975,
    "status_codes": {"0": 2, "200": 190, "302": 5, "503": 3},
    "errors": ["connection refused"],
}


def result(time: str, latency: int, code: int = 200, error: str = "") -> dict[str, Any]:
    return {
        "attack": "",
        "seq": 0,
        "code": code,
        "timestamp": f"2026-03-01T09:00:0{time}+01:00",
        "latency": latency,
        "bytes_out": 0,
        "bytes_in": 2,
        "error": error,
        "body": None,
        "method": "GET",
        "url": "http://host/",
    }


RESULTS = [
    result("0.5", 2_000_000),
    result("0.000000001", 40_000_000),
    result("1", 1_000_000, 500, "500 Server Error"),
]
LINES = "\n".join(json.dumps(one) for one in RESULTS) + "\n"
CSV = """\
1772352000500000000,200,2000000,0,2,,b2s=,,1,GET,http://host/,Q29udGVudA==
1772352000000000001,200,40000000,0,2,,b2s=,,0,GET,http://host/,Q29udGVudA==
1772352001000000000,500,1000000,0,2,500 Server Error,b2s=,,2,GET,http://host/,Q29udGVudA==
"""
EXAMPLES = {
    "report": json.dumps(REPORT, indent=2),
    "json": LINES,
    "csv": CSV,
    "other buckets": REPORT | {"buckets": {"0": 9000, "5000000": 1000}},
    "older csv": "".join(",".join(line.split(",")[:9]) + "\n" for line in CSV.splitlines()),
    "no length": REPORT | {"duration": 0, "wait": 0},
}


REFUSED = [
    (json.dumps(REPORT | others), said)
    for others, said in [
        ({"status_codes": {"200": 201}}, "status_codes do not add up to 200 requests"),
        ({"status_codes": {"ok": 1}}, "status_codes key must be a number, got 'ok'"),
        ({"latencies": {"max": 1, "mean": "5ms"}}, "latencies.mean must be a number, got '5ms'"),
        ({"wait": None}, "has no wait"),
        ({"buckets": {"0": 201, "5": -1}}, "never below 0"),
    ]
]
REFUSED += [(json.dumps(REPORT), "write single requests by vegeta encode", Kind.WORKLOAD)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINES + "{}", "line 4 has no timestamp"),
        (LINES.replace("2026-03-01T09:00:01+01:00", "17"), "line 3.timestamp must be a date and time"),
        (LINES.replace("40000000", "-4"), "line 2 has a duration below 0"),
        (CSV.replace(",40000000,", ",4e7,"), ""),
        (CSV.replace(",40000000,", ",40ms,"), "line 2 column latency must be a number, got '40ms'"),
        (CSV + "17\n", "line 4 has 1 cells for 12 columns"),
    ],
)
def test_what_a_request_cannot_be_is_refused(text: str, said: str) -> None:
    if said:
        assert said in refusal(text)
    else:
        assert workload(text) == workload(CSV)


@pytest.mark.parametrize(
    ("code", "error", "good"),
    [(199, "", 0), (200, "", 1), (399, "", 1), (400, "", 0), (200, "late", 0), (500, "late", 0)],
)
def test_a_request_is_good_by_its_code_and_without_an_error(code: int, error: str, good: int) -> None:
    line = json.dumps(result("0.5", 2_000_000, code, error))
    row = f"1772352000500000000,{code},2000000,0,2,{error},b2s=,,0\n"
    for text in (line, row):
        (run,) = load_test(text).runs
        assert (run.succeeded, run.failed) == (good, 1 - good)
    report = REPORT | {"status_codes": {str(code): 200}}
    assert load_test(json.dumps(report)).runs[0].succeeded == (200 if 200 <= code < 400 else 0)


def test_a_report_without_a_length_has_no_rate_and_needs_its_keys() -> None:
    (run,) = load_test(json.dumps(REPORT | {"duration": 0, "wait": 0})).runs
    assert (run.duration_s, run.throughput_rps) == (0.0, None)
    bare = {key: value for key, value in REPORT.items() if key != "buckets"}
    found = load_test(json.dumps(bare | {"latencies": {"mean": 1, "max": 2}}))
    (run,) = found.runs
    assert (run.histogram, run.min_s, run.max_s, run.quantiles_s) == (None, None, 2e-9, {})
    assert found.notes == ()


@pytest.mark.parametrize("at", [1, 2, 8])
def test_cells_that_are_no_numbers_are_of_another_tool(at: int) -> None:
    cells = CSV.splitlines()[0].split(",")
    cells[at] = "x"
    assert "of none of the" in refusal(",".join(cells) + "\n")


def test_throughput_counts_answered_requests() -> None:
    """197 of 200 requests were answered within 2 s, including the wait for the last one."""
    (run,) = load_test(json.dumps(REPORT | {"status_codes": {"0": 3, "200": 190, "503": 7}})).runs
    assert (run.throughput_rps, run.succeeded, run.failed) == (98.5, 190, 10)
    (run,) = load_test(json.dumps(REPORT | {"duration": 0, "wait": 0})).runs
    assert run.throughput_rps is None
