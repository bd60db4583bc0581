"""Summaries of MLPerf's LoadGen, written by the shape of its source; nothing here is a submission's file."""

from pathlib import Path

import pytest
from written import load_test, only_run, refusal

from capacity.formats.load_test import Loop

RULE = "=" * 48


def summary(scenario: str, first: str, result: str = "VALID", per_query: int = 1) -> str:
    return f"""\
{RULE}
MLPerf Results Summary
{RULE}
SUT name : Mine
Scenario : {scenario}
Mode     : PerformanceOnly
{first}
Result is : {result}
  Min duration satisfied : Yes

{RULE}
Additional Stats
{RULE}
Scheduled samples per second : 101.50
Min latency (ns)                : 1000000
Max latency (ns)                : 90000000
Mean latency (ns)               : 20000000
50.00 percentile latency (ns)   : 18000000
99.00 percentile latency (ns)   : 75000000
99.90 percentile latency (ns)   : 88000000

{RULE}
Test Parameters Used
{RULE}
samples_per_query : {per_query}
target_qps : 100
target_latency (ns): 80000000
"""


SERVER = summary("Server", "Completed samples per second    : 99.75")
STREAM = summary("SingleStream", "90th percentile latency (ns) : 30000000")
EXAMPLES = {"server": SERVER.encode(), "stream": STREAM.encode()}


def test_server_is_open(tmp_path: Path) -> None:
    found = load_test(tmp_path, SERVER)
    (run,) = found.runs
    assert (run.loop, run.users, run.rate_asked_rps, run.rate_sent_rps) == (Loop.OPEN, None, 100.0, 101.5)
    assert run.throughput_rps == 99.75
    assert (run.mean_s, run.min_s, run.max_s) == pytest.approx((0.02, 0.001, 0.09))
    assert {q: one.value for q, one in run.quantiles_s.items()} == pytest.approx(
        {0.5: 0.018, 0.99: 0.075, 0.999: 0.088}
    )
    assert found.notes == ()


def test_streams_are_closed(tmp_path: Path) -> None:
    run = only_run(tmp_path, STREAM)
    assert (run.loop, run.users, run.rate_asked_rps) == (Loop.CLOSED, 1.0, None)
    many = only_run(tmp_path, summary("MultiStream", "Completed samples per second : 80", per_query=8))
    assert (many.batch_size, many.throughput_rps) == (8, 10.0)


def test_offline_has_its_throughput_alone(tmp_path: Path) -> None:
    found = load_test(tmp_path, summary("Offline", "Samples per second: 5000.5", result="INVALID"))
    assert (found.runs[0].throughput_rps, found.runs[0].quantiles_s) == (5000.5, {})
    assert "verdict on the run is INVALID" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SERVER.replace("Scenario : Server", "Scenario : Edge"), "has the scenario 'Edge'; known are Server"),
        (SERVER.replace("Mean latency", "Odd latency"), "has no 'Mean latency (ns)'"),
        (
            SERVER.replace(": 75000000", ": inf"),
            "'99.00 percentile latency (ns)' must be a number from 0, got 'inf'",
        ),
        (summary("MultiStream", "", per_query=0), "samples_per_query must be a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)
