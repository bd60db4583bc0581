"""What ApacheBench prints, written here in its shape; nothing is a file of its own."""

import pytest
from reading import example, load_test, refusal

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
    "result": RESULT,
    "failing": FAILING,
    "quiet": QUIET,
    "without spread": WITHOUT_SPREAD,
    "windows": RESULT.replace("\n", "\r\n"),
    "without percentiles": RESULT[: RESULT.index("\nPercentage")],
}


def test_the_mean_is_exact_where_it_rounds_to_the_table() -> None:
    """Three connections share 2.08 s among 1000 requests: 6.24 ms, which the table has as 6."""
    assert load_test(RESULT).runs[0].mean_s == pytest.approx(0.00624)
    changed = RESULT.replace("Total:          2    6 ", "Total:          2    9 ")
    assert load_test(changed).runs[0].mean_s == 0.009


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
