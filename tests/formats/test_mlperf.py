"""Logs of MLPerf's LoadGen: summaries written by the shape of its source, a detail with the lines of a run of 6.0.17."""

import json

import pytest
from reading import load_test, only_run, refusal

from capacity.evidence.audit import check_run
from capacity.evidence.finding import Belief

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


LAST = "\nNo warnings encountered during test.\n\nNo errors encountered during test."
SERVER = summary("Server", "Completed samples per second    : 99.75")
STREAM = summary("SingleStream", "90th percentile latency (ns) : 30000000")
# What mlcommons-loadgen 6.0.17 wrote here of a Server run of 3 s, without its metadata and the keys that are not read.
KEPT = {
    "loadgen_version": "6.0.17 @ d6147c7eb7",
    "effective_scenario": "Server",
    "effective_test_mode": "PerformanceOnly",
    "effective_samples_per_query": 1,
    "effective_target_qps": 100,
    "loaded_qsl_set": [27, 64, 57, 53],
    "result_validity": "INVALID",
    "result_perf_constraints_met": False,
    "result_min_duration_met": True,
    "result_min_queries_met": True,
    "early_stopping_met": False,
    "result_invalid_reason": "Reduce target QPS to improve latency. ",
    "result_query_count": 288,
    "result_scheduled_samples_per_sec": 94.3664,
    "result_completed_samples_per_sec": 94.1349,
    "result_min_latency_ns": 5167970,
    "result_max_latency_ns": 15040638,
    "result_mean_latency_ns": 6182694,
    "result_50.00_percentile_latency_ns": 5361851,
    "result_90.00_percentile_latency_ns": 8468299,
    "result_99.00_percentile_latency_ns": 14791070,
    "result_99.90_percentile_latency_ns": 15040638,
    "num_errors": 0,
}


def detail(**others: object) -> str:
    kept = KEPT | others
    return "".join(
        f":::MLLOG {json.dumps({'key': key, 'value': value, 'time_ms': 0.1})}\n"
        for key, value in kept.items()
    )


EXAMPLES = {
    "server": SERVER,
    "stream": STREAM,
    "detail": detail(),
    "multistream": summary("MultiStream", "Completed samples per second : 80", per_query=8),
    "offline": summary("Offline", "Samples per second: 5000.5", result="INVALID"),
}


@pytest.mark.parametrize(
    ("text", "end"), [(SERVER, LAST), (SERVER, "\n1 ERROR encountered. See detailed log."), (detail(), "")]
)
def test_a_log_to_its_last_line_needs_no_line_end(text: str, end: str) -> None:
    (whole,), (run,) = (load_test(text.rstrip() + end + mark).runs for mark in ("\n", ""))
    assert run.quantiles_s == whole.quantiles_s
    assert "has no line end" in refusal((SERVER + LAST)[:-1])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (detail(), "its latency limit was not met; early stopping was not satisfied"),
        (summary("Server", "Performance constraints satisfied : NO", "INVALID"), "its latency limit was not met"),
        (summary("SingleStream", "", "INVALID"), "Result is INVALID"),
        (SERVER.replace("PerformanceOnly", "AccuracyOnly"), "an accuracy run says nothing of performance"),
    ],
)  # fmt: skip
def test_a_run_that_loadgen_calls_invalid_is_not_to_be_believed(text: str, why: str) -> None:
    (one,) = [one for one in check_run(only_run(text)) if one.check == "tool-verdict"]
    assert one.belief is Belief.BROKEN
    assert why in one.message


REFUSED = [
        (SERVER.replace("Scenario : Server", "Scenario : Edge"), "has the scenario 'Edge'; known are Server"),
        (SERVER.replace("Mean latency", "Odd latency"), "has no 'Mean latency (ns)'"),
        (SERVER.replace(": 75000000", ": inf"), "'99.00 percentile latency (ns)' must be a number from 0, got 'inf'"),
        (detail(effective_scenario="Edge"), "has the scenario 'Edge'"),
        (":::MLLOG {}\n", "has no effective_scenario; is it a log of LoadGen"),
        (detail().replace('"value": 288', '"value": [1]'), "line 13.value must be a single value"),
        (detail().replace(": 288, ", ": 288 "), "line 13: not valid JSON"),
        (summary("MultiStream", "", per_query=0), "samples_per_query must be a whole number from 1, got 0"),
    ]  # fmt: skip


def test_a_query_has_one_sample_at_least() -> None:
    many = summary("MultiStream", "Completed samples per second : 80", per_query=1)
    assert only_run(many).batch_size == 1
    assert "from 1, got 1.5" in refusal(many.replace("per_query : 1", "per_query : 1.5"))


def test_only_an_offline_run_has_a_note_of_it() -> None:
    offline = summary("Offline", "Samples per second: 5000.5")
    assert any("Offline sends everything at once" in note for note in load_test(offline).notes)
    for text in (SERVER, STREAM, detail()):
        assert not any("Offline" in note for note in load_test(text).notes)
    cut = load_test(SERVER.replace("Result is : VALID", ""))
    assert "the log has no verdict of LoadGen; was it cut off?" in cut.notes
    assert "x" * 69 in only_run(SERVER.replace("VALID", "x" * 99)).invalid_because
    assert len(only_run(SERVER.replace("VALID", "x" * 99)).invalid_because) == 80


def test_a_log_that_does_not_say_how_many_samples_a_query_has_has_one() -> None:
    many = summary("MultiStream", "Completed samples per second : 80").replace("samples_per_query : 1\n", "")
    run = only_run(many)
    assert (run.batch_size, run.throughput_rps) == (1, 80.0)
    assert only_run(summary("Server", "", per_query=8)).batch_size == 1


def test_the_detail_tells_what_was_met() -> None:
    """`true` is no, for nothing, and a text is what it says."""
    met = detail(result_perf_constraints_met=True, early_stopping_met=True, result_min_queries_met=False)
    (broken,) = {only_run(met).invalid_because}
    assert "latency" not in broken
    assert "early stopping" not in broken
    assert broken
