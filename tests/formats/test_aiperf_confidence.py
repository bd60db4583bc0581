"""Several runs of aiperf together, written by the shape of its 0.13 exporter; nothing here is a file of aiperf's own."""

from reading import example, load_test, refusal

TABLE = example("aiperf_confidence_table.csv")
EXAMPLES = {
    "table": TABLE,
    "without an interval": TABLE.replace(",375.17,", ",,"),
    "without counts": TABLE.replace("Total Runs,5\nSuccessful Runs,5\n", "").replace(
        "request_count_avg", "other"
    ),
    "without its other end": TABLE.replace(",424.83,", ",,"),
}


REFUSED = [
    (TABLE.replace("request_latency_avg", "other_avg"), "has no row request_latency_avg"),
    (TABLE.replace("250.00", "nan"), "has no 'mean', which is needed"),
    (TABLE.replace("250.00", "-1"), "'mean' must be a number from 0"),
    (TABLE.replace(",ms", ",ticks"), "has the unit 'ticks'"),
    (TABLE.replace("request_latency_p50", "request_latency_p99"), "has request_latency_p99 again"),
]


def test_long_cells_are_cut() -> None:
    twice = TABLE.replace("request_latency_p50", "y" * 61).replace("request_latency_p99", "y" * 61)
    assert f" has {'y' * 60} again; keep one" in refusal(twice)
    many = TABLE.replace("Successful Runs,5", f"Successful Runs,{'5' * 21}")
    assert f"means over {'5' * 20} runs" in load_test(many).notes[0]
