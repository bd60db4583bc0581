"""What ApacheBench prints, written here in its shape; nothing is a file of its own."""

import pytest
from reading import example, load_test, refusal

from capacity.formats.load_test import Loop

TABLE = example("apache_bench_table.txt")
RESULT = f"""\
This is ApacheBench, Version 2.3 <$Revision: 1913912 $>
Copyright 1996 Adam Twiss, Zeus Technology Ltd, http://www.zeustech.net/
Licensed to The Apache Software Foundation, http://www.apache.org/

Benchmarking 192.0.2.1 (be patient)
Completed 100 requests
Finished 1000 requests


Server Software:        demo/1.0
Server Hostname:        192.0.2.1
Server Port:            8080

Document Path:          /predict
Document Length:        11 bytes

Concurrency Level:      3
Time taken for tests:   2.080 seconds
Complete requests:      1000
Failed requests:        0
Total transferred:      106000 bytes
HTML transferred:       11000 bytes
Requests per second:    480.77 [#/sec] (mean)
Time per request:       6.240 [ms] (mean)
Time per request:       2.080 [ms] (mean, across all concurrent requests)
Transfer rate:          49.77 [Kbytes/sec] received

{TABLE}"""
FAILING = RESULT.replace(
    "Failed requests:        0\n",
    "Failed requests:        320\n"
    "   (Connect: 0, Receive: 5, Length: 315, Exceptions: 0)\n"
    "Non-2xx responses:      300\n",
)
QUIET = RESULT[RESULT.index("Server Software") :]
WITHOUT_SPREAD = RESULT.replace("min  mean[+/-sd] median   max", "min   avg   max").replace(
    "Total:          2    6   1.5      6      20", "Total:          2     6    20"
)
EXAMPLES = {
    "result": RESULT.encode(),
    "failing": FAILING.encode(),
    "quiet": QUIET.encode(),
    "without spread": WITHOUT_SPREAD.encode(),
}


@pytest.mark.parametrize("text", [RESULT, QUIET, WITHOUT_SPREAD, RESULT.replace("\n", "\r\n")])
def test_a_run_in_seconds(text: str) -> None:
    (run,) = load_test(text).runs
    assert (run.loop, run.users, run.duration_s, run.succeeded, run.failed) == (Loop.CLOSED, 3, 2.08, 1000, 0)
    assert run.throughput_rps == pytest.approx(480.77, abs=0.005)
    assert (run.min_s, run.max_s, run.resolution_s) == (0.002, 0.020, 0.001)
    assert list(run.quantiles_s) == [0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99]
    p99 = run.quantiles_s[0.99]
    assert (p99.low, p99.value, p99.high) == pytest.approx((0.0145, 0.015, 0.0155))


def test_the_mean_is_exact_where_it_rounds_to_the_table() -> None:
    """Three connections share 2.08 s among 1000 requests: 6.24 ms, which the table has as 6."""
    assert load_test(RESULT).runs[0].mean_s == pytest.approx(0.00624)
    changed = RESULT.replace("Total:          2    6 ", "Total:          2    9 ")
    assert load_test(changed).runs[0].mean_s == 0.009


def test_statuses_and_broken_connections_are_failures_and_lengths_are_not() -> None:
    test = load_test(FAILING)
    assert (test.runs[0].succeeded, test.runs[0].failed) == (695, 305)
    assert test.notes[0].startswith("15 answers had another length than the first")


@pytest.mark.parametrize("end", ["100%     20", " 99%     15", "Total:", "Complete", "Failed", "Time taken"])
def test_a_text_that_was_cut_off_is_refused(end: str) -> None:
    assert "cut off" in refusal(RESULT[: RESULT.index(end)])


def test_a_text_without_percentiles_has_a_mean_and_a_maximum() -> None:
    """As `ab -d` prints it; a table that has begun must end."""
    test = load_test(RESULT[: RESULT.index("\nPercentage")])
    (run,) = test.runs
    assert (run.quantiles_s, run.max_s, run.mean_s) == ({}, 0.020, pytest.approx(0.00624))
    assert test.notes == (
        "the text has no percentiles (ab -d prints none): only the mean and the longest response are known",
    )
    assert "ends before the percentile 100 %" in refusal(RESULT[: RESULT.index("  50%")])


def test_a_run_without_complete_requests_is_refused() -> None:
    text = RESULT[: RESULT.index("Connection Times")].replace("requests:      1000", "requests:      0")
    assert "has 0 complete requests; run ab again, against a server that answers" in refusal(text)


def test_failures_without_their_kinds_or_beyond_all_requests_are_refused() -> None:
    assert "does not say how requests failed" in refusal(
        RESULT.replace("Failed requests:        0", "Failed requests: 3")
    )
    assert "has 5005 failures of 1000 requests" in refusal(
        FAILING.replace("responses:      300", "responses: 5000")
    )
