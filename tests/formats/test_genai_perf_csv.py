"""CSVs of genai-perf and aiperf, written by the shape of both; nothing here is a file of theirs."""

import pytest
from reading import example, only_run, refusal

OLD = example("genai_perf_csv_old.csv")
NEW = example("genai_perf_csv_new.csv")
EXAMPLES = {"genai-perf": OLD, "aiperf": NEW}


REFUSED = [
        ("Metric,avg,p99\nTime To First Token (ms),1,2\n", "has no row Request Latency"),
        ("Metric,avg,p99\nRequest Latency (ticks),1,2\n", "Request Latency has the unit 'ticks'"),
        ("Metric,avg,p99\nRequest Latency,1,2\n", "Request Latency has the unit ''"),
        ("Metric,avg,p99\nRequest Latency (ms),1,fast\n", "line 2, 'p99' must be a number from 0, got 'fast'"),
        ("Metric,avg,p99\nRequest Latency (ms),,2\n", "line 2 has no 'avg'"),
        (
            "Metric,avg\nRequest Latency (ms),1\nRequest Latency (ms),2\n",
            "line 3 has the metric 'Request Latency' again",
        ),
        ("Metric,avg\nRequest Latency (ms),1\nRequest Throughput (per min),2\n", "has the unit 'per min'"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["Metrib,avg\nx,1\n", "Metric,mean\nx,1\n", "a,avg\nx,1\n", "Z,avg\nx,1\n"])
def test_tables_of_others_are_not_taken(text: str) -> None:
    assert "of none of the" in refusal(text)


def test_the_unit_that_is_wanted_is_named() -> None:
    long = "u" * 61
    text = f"Metric,avg\nRequest Latency (ms),1\nRequest Throughput ({long}),2\n"
    assert f"has the unit '{'u' * 60}', not 'per sec'" in refusal(text)
    for unit in ("per sec", "requests/sec", "requests/s"):
        assert only_run(text.replace(long, unit)).throughput_rps == 2.0
    twice = f"Metric,avg\n{'m' * 61},1\n{'m' * 61},2\n"
    assert f"the metric '{'m' * 60}' again" in refusal(twice)
