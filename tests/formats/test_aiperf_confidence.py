"""Several runs of aiperf together, written by the shape of its 0.13 exporter; nothing here is a file of aiperf's own."""

import pytest
from reading import example, load_test, refusal

TABLE = example("aiperf_confidence_table.csv")
EXAMPLES = {"table": TABLE.encode()}


def test_means_over_runs_are_told_as_such() -> None:
    found = load_test(TABLE)
    (run,) = found.runs
    assert (run.mean_s, run.throughput_rps, run.succeeded) == (0.25, 31.5, 2000)
    assert {q: one.value for q, one in run.quantiles_s.items()} == {0.5: 0.24, 0.99: 0.4}
    assert "means over 5 runs: P99 is the mean of their P99s" in found.notes[0]
    assert "between 375 ms and 425 ms" in found.notes[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.replace("request_latency_avg", "other_avg"), "has no row request_latency_avg"),
        (TABLE.replace("250.00", "nan"), "has no 'mean', which is needed"),
        (TABLE.replace("250.00", "-1"), "'mean' must be a number from 0"),
        (TABLE.replace(",ms", ",ticks"), "has the unit 'ticks'"),
        (TABLE.replace("request_latency_p50", "request_latency_p99"), "has request_latency_p99 again"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_without_an_interval_none_is_told() -> None:
    for old, new in ((",375.17,", ",,"), (",424.83,", ",,")):
        assert len(load_test(TABLE.replace(old, new)).notes) == 1
    bare = TABLE.replace("Total Runs,5\nSuccessful Runs,5\n", "").replace("request_count_avg", "other")
    found = load_test(bare)
    assert "means over several runs" in found.notes[0]
    assert found.runs[0].succeeded is None


def test_long_cells_are_cut() -> None:
    twice = TABLE.replace("request_latency_p50", "y" * 61).replace("request_latency_p99", "y" * 61)
    assert f" has {'y' * 60} again; keep one" in refusal(twice)
    many = TABLE.replace("Successful Runs,5", f"Successful Runs,{'5' * 21}")
    assert f"means over {'5' * 20} runs" in load_test(many).notes[0]
