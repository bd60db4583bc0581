"""The CSV of guidellm, written by the shape of its 0.8.1 exporter; nothing here is a file of guidellm's own."""

import csv
import io

import pytest
from reading import load_test, only_run

from capacity.evidence.audit import check_run
from capacity.evidence.finding import Belief
from capacity.formats.load_test import Loop

PERCENTILES = "[0.1, 0.1, 0.11, 0.12, 0.13, 0.15, 0.3, 0.4, 0.5, 0.9, 1.2]"


def columns(strategy: str, **others: str) -> dict[tuple[str, str, str], str]:
    """A benchmark of 2000 requests in 100 s by group, field and statistic; `others` by field."""
    found = {
        ("Run Info", "Environment", ""): '{"python": "3.11, of course"}',
        ("Benchmark", "Type", ""): "generative_benchmark",
        ("Benchmark", "Strategy", ""): strategy,
        ("Timings", "Duration", "Sec"): "100.0",
        ("Request Counts", "Successful", ""): "2000",
        ("Request Counts", "Incomplete", ""): "0",
        ("Request Counts", "Errored", ""): "10",
        ("Request Latency", "Successful Sec", "Mean"): "0.25",
        ("Request Latency", "Successful Sec", "Median"): "0.2",
        ("Request Latency", "Successful Sec", "Std Dev"): "0.1",
        ("Request Latency", "Successful Sec", "Percentiles"): PERCENTILES,
        ("Time to First Token", "Successful ms", "Mean"): "40.0",
        ("Server Throughput", "Successful Requests/Sec", "Mean"): "20.0",
    }
    return {key: others.get(f"{key[0]} {key[2]}".strip(), value) for key, value in found.items()}


SCHEDULED = {
    ("Dispatch Delay", "Successful Sec", "Mean"): "0.5",
    ("Scheduled Latency", "Successful Sec", "Mean"): "0.75",
    ("Scheduled Latency", "Successful Sec", "Median"): "0.6",
    ("Scheduled Latency", "Successful Sec", "Std Dev"): "0.4",
    ("Scheduled Latency", "Successful Sec", "Percentiles"): "[0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.9, 1.2, 1.6, 2.4, 3.0]",
}  # fmt: skip


def written(*benchmarks: dict[tuple[str, str, str], str]) -> str:
    keys = list(dict.fromkeys(key for one in benchmarks for key in one))
    rows = [
        *([key[at] for key in keys] for at in range(3)),
        *([one.get(key, "") for key in keys] for one in benchmarks),
    ]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


CLOSED, OPEN = columns("concurrent@5"), columns("poisson@20.00") | SCHEDULED
EXAMPLES = {"closed": written(CLOSED), "both": written(CLOSED, OPEN)}


def test_each_benchmark_is_a_run() -> None:
    closed, opened = load_test(written(CLOSED, OPEN)).runs
    assert (closed.name, closed.loop, closed.users, closed.succeeded, closed.failed) == (
        "concurrent@5", Loop.CLOSED, 5.0, 2000, 10,
    )  # fmt: skip
    assert closed.rate_sent_rps == pytest.approx(20.1)  # those that failed were sent too
    assert (closed.throughput_rps, closed.mean_s, closed.min_s, closed.max_s) == (20.0, 0.25, 0.1, 1.2)
    assert {q: one.value for q, one in closed.quantiles_s.items()} == {
        0.001: 0.1, 0.01: 0.11, 0.05: 0.12, 0.1: 0.13, 0.25: 0.15, 0.5: 0.2, 0.75: 0.3, 0.9: 0.4, 0.95: 0.5, 0.99: 0.9,
    }  # fmt: skip
    assert (opened.loop, opened.rate_asked_rps, opened.is_corrected) == (Loop.OPEN, 20.0, True)
    assert (opened.mean_s, opened.quantiles_s[0.99].value) == (0.75, 2.4)  # from when requests were due
    for run in (closed, opened):
        assert run.schedule_delay_mean_s is None  # the delay is part of the latency
    late = CLOSED | {("Dispatch Delay", "Successful Sec", "Mean"): "0.5"}
    assert only_run(written(late)).schedule_delay_mean_s == 0.5


def test_late_sending_is_in_the_latency_from_the_schedule() -> None:
    found = {one.check: one.belief for one in check_run(only_run(written(OPEN)))}
    assert found["coordinated-omission"] is Belief.HOLDS
    assert found["littles-law"] is Belief.UNKNOWN


@pytest.mark.parametrize(
    ("strategy", "loop", "users"),
    [
        ("synchronous", Loop.CLOSED, 1.0),
        ("throughput@unlimited", Loop.UNKNOWN, None),
        ("throughput@64", Loop.CLOSED, 64.0),
        ("trace@1.00", Loop.OPEN, None),
        ("a new one", Loop.UNKNOWN, None),
    ],
)
def test_the_strategy_says_what_the_loop_was(strategy, loop, users) -> None:
    run = only_run(written(columns(strategy)))
    assert (run.loop, run.users) == (loop, users)


REFUSED = [
        (written(), "is of none of the"),
        ("\n".join(written(CLOSED).split("\n")[:3]), "has no row below its three rows of header"),
        (written(columns("synchronous", **{"Request Latency Mean": ""})), "line 4 has no mean of Request Latency"),
        (written(columns("synchronous", **{"Request Latency Percentiles": "[1, 2]"})), "has 2 percentiles of Request"),
        (written(columns("synchronous", **{"Request Latency Percentiles": "[1,"})), "line 4: not valid JSON"),
        (written(columns("synchronous", **{"Request Counts": "many"})), "must be a number, got 'many'"),
        (written(CLOSED) + "1,2\n", "line 5 has 2 cells for 13 columns"),
    ]  # fmt: skip


def test_a_long_strategy_is_cut_in_the_name() -> None:
    assert only_run(written(columns("x" * 81))).name == "x" * 80
