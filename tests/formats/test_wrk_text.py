"""The text of wrk, as wrk 4.1.0 printed it for three connections, and of wrk2, written here by shape."""

import pytest
from reading import example, load_test

from capacity.evidence.audit import check_run
from capacity.evidence.finding import Belief, CheckFinding

WRK = example("wrk_text_wrk.txt")
# wrk 4.1.0 of Debian against a server that answers in 10 ms, and in the first of these is stopped for 1 s in every 5.
STALLS = example("wrk_text_stalls.txt")
CALM = example("wrk_text_calm.txt")
SPECTRUM = example("wrk_text_spectrum.txt")
RECORDED = f"""\
  Latency Distribution (HdrHistogram - Recorded Latency)
 50.000%    2.00ms
 99.900%   10.01ms
100.000%   10.02ms
{SPECTRUM}"""
UNCORRECTED = RECORDED.replace(
    "Recorded Latency)", "Uncorrected Latency (measured without taking delayed starts into account))"
).replace("10.01ms", "900.00us")
WRK2 = f"""\
Running 30s test @ http://127.0.0.1:80/index.html
  2 threads and 100 connections
  Thread calibration: mean lat.: 1.5ms, rate sampling interval: 10ms
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.25ms    1.00ms  10.01ms   68.00%
    Req/Sec     1.05k     0.10k    1.20k    70.00%
{RECORDED}{UNCORRECTED}  200 requests in 0.20s, 100.00KB read
  Socket errors: connect 1, read 2, write 3, timeout 4
Requests/sec:   1000.00
Transfer/sec:    500.00KB
"""
EXAMPLES = {
    "wrk": WRK,
    "stalls": STALLS,
    "wrk2": WRK2,
    "distribution": RECORDED,
    "without its distribution": WRK.replace(
        WRK[WRK.index("  Latency Distribution") : WRK.index("  107 requests")], ""
    ),
    "wrk2 without its distribution": WRK2.replace(RECORDED, "").replace(UNCORRECTED, ""),
}


def test_wrk_has_filled_in_responses() -> None:
    """Its mean is more than three connections can wait in the time: 107 · 76.79 ms are 8.2 s, of 3 · 2.14 s."""
    found = load_test(WRK)
    (run,) = found.runs
    assert run.requests * run.mean_s > run.users * run.duration_s
    assert run.is_corrected
    assert found.notes[0].startswith("wrk adds the responses")


def omission(text: str) -> CheckFinding:
    (run,) = load_test(text).runs
    (one,) = [one for one in check_run(run) if one.check == "coordinated-omission"]
    return one


def test_what_wrk_has_filled_in_is_told() -> None:
    """By a schedule one request in ten waits for more than 0.5 s; without what wrk adds one in a hundred waits at all."""
    one = omission(STALLS)
    assert one.belief is Belief.DOUBTFUL
    assert "the mean of 94.3 ms is of both, that of the requests sent is 13.1 ms" in one.message
    assert one.numbers["filled_share_max"] > 0.08
    assert load_test(STALLS).runs[0].quantiles_s[0.9].value == pytest.approx(0.5, rel=0.2)
    assert omission(WRK).belief is Belief.DOUBTFUL


def test_a_server_without_stalls_leaves_wrk_nothing_to_fill_in() -> None:
    assert omission(CALM).belief is Belief.HOLDS
    slow = CALM.replace("27.68ms", "19.00ms").replace(
        "10.48ms", "15.00ms"
    )  # below two cycles nothing is added
    assert omission(slow).belief is Belief.HOLDS
    assert omission(CALM.replace("10.48ms", "15.00ms")).belief is Belief.DOUBTFUL
    assert omission(CALM.replace("  1 threads and 4 connections\n", "")).belief is Belief.UNKNOWN


@pytest.mark.parametrize(("shown", "seconds"), [("950.00us", 0.00095), ("1.20s", 1.2), ("2.00m", 120.0)])
def test_units_are_those_that_wrk_prints(shown: str, seconds: float) -> None:
    (run,) = load_test(WRK.replace("537.12ms", shown)).runs
    assert run.quantiles_s[0.99].value == pytest.approx(seconds)


REFUSED = [
    (WRK.partition("  Thread Stats")[0], "has no latencies; run wrk with --latency to its end"),
    (WRK.replace("responses: 3", "responses: 300"), "line 11 has 107 requests, of which 300 failed"),
    (WRK.replace("49.96", "many"), "line 13 must be a number, got 'many'"),
    (WRK.replace("99%", "999%"), "quantiles are from 0 to 1"),
    (RECORDED.replace("190 ", " 90 "), "line 1: counts of a histogram are finite and never below 0"),
]
