"""Access logs of ingress-nginx, written here by its default format; nothing is a file of its own."""

import pytest
from reading import load_test, refusal, workload

from capacity.formats.load_test import Loop
from capacity.formats.registry import Kind


def line(
    second: int, took: str, status: int = 200, upstream: str = "default-predict-80", tail: str = ""
) -> str:
    tail = tail or f"10.0.0.9:8080 105 {took} {status} 4eaed362ae1958b8a369f4e437d40a51"
    return (
        f'192.0.2.1 - - [30/Nov/2026:05:38:{second:02d} +0000] "GET /predict HTTP/1.1" {status} 11 "-" "hey [x] 0.1" '
        f"119 {took} [{upstream}] [] {tail}\n"
    )


AGAIN = "10.0.0.9:8080, 10.0.0.8:8080 0, 105 0.010, 0.020 502, 200 4eaed362ae1958b8a369f4e437d40a51"
LOG = (
    line(21, "0.250")
    + line(22, "1.500")
    + line(23, "0.010", 503)
    + line(23, "0.100", 499)
    + line(24, "0.030", tail=AGAIN)
)
TWO = LOG + line(25, "0.005", upstream="default-other-80")
NO_UPSTREAM = line(21, "0.000", 308, "", "- - - - 4eaed362ae1958b8a369f4e437d40a51") * 2
OLD = LOG.replace("[] ", "").replace("192.0.2.1 - - ", "192.0.2.1 - [192.0.2.1] - - ")
EXAMPLES = {
    "log": LOG.encode(),
    "two": TWO.encode(),
    "no upstream": NO_UPSTREAM.encode(),
    "old": OLD.encode(),
}


@pytest.mark.parametrize("text", [LOG, OLD, LOG.replace("\n", "\r\n")])
def test_a_request_came_its_request_time_before_its_line(text: str) -> None:
    """Ends at 21, 22, 23, 23 and 24 s, less 0.25, 1.5, 0.01, 0.1 and 0.03 s; the second came first."""
    assert workload(text).instants_s == pytest.approx((0.0, 0.25, 2.4, 2.49, 3.47))
    test = load_test(text)
    (run,) = test.runs
    assert (run.loop, run.succeeded, run.failed, run.resolution_s) == (Loop.SERVED, 3, 2, 0.001)
    assert run.samples.response_s == pytest.approx([1.5, 0.25, 0.03])
    assert "whole seconds" in test.notes[0]


def test_upstreams_are_runs() -> None:
    assert [run.name for run in load_test(TWO).runs] == [
        "default-other-80",
        "default-predict-80",
        "all requests",
    ]
    assert load_test(NO_UPSTREAM).runs[0].succeeded == 2


def test_requests_without_an_upstream_are_no_run_of_their_own() -> None:
    found = load_test(TWO + NO_UPSTREAM).runs
    assert [(run.name, run.requests) for run in found] == [
        ("default-other-80", 1),
        ("default-predict-80", 5),
        ("all requests", 8),
    ]


@pytest.mark.parametrize("end", [" [default", " 10.0.0.9", " 105", " 0.030 200"])
def test_a_line_that_was_cut_off_is_refused(end: str) -> None:
    last = line(24, "0.030")
    said = refusal(LOG + last[: last.rindex(end)] + "\n", Kind.WORKLOAD)
    assert "line 6 is not of ingress-nginx's log format, or was cut off" in said
