"""What perf_analyzer prints, written by the shape of its quick start; nothing here is a text of its own."""

import pytest
from reading import only_run


def block(concurrency: int, mean_us: int) -> str:
    return f"""\
Request concurrency: {concurrency}
  Client:
    Request count: 500
    Throughput: 800 infer/sec
    Avg latency: {mean_us} usec (standard deviation 12 usec)
    p50 latency: {mean_us - 10} usec
    p99 latency: {mean_us + 400} usec
    Avg HTTP time: 700 usec (send/recv 100 usec + response wait 600 usec)
  Server:
    Inference count: 8000
    Successful request count: 500
    Avg request latency: 600 usec (overhead 10 usec + queue 90 usec + compute input 50 usec + compute infer 400 usec + compute output 50 usec)

"""


END = """\
Inferences/Second vs. Client Average Batch Latency
Concurrency: 1, throughput: 800 infer/sec, latency 1000 usec
Concurrency: 2, throughput: 801.5 infer/sec, latency 2000 usec
"""
TEXT = f"*** Measurement Settings ***\n  Batch size: 16\n  Measurement window: 5000 msec\n\n{block(1, 1000)}{block(2, 2000)}{END}"
RATE = "Inferences/Second vs. Client p95 Batch Latency\nRequest Rate: 44.5, throughput: 43.5 infer/sec, latency 1500 usec\n"
EXAMPLES = {"whole": TEXT, "end": RATE}


def test_stages_before_the_only_load_are_its_own() -> None:
    cut = block(1, 1000).split("Server:")[1] + "".join(END.splitlines(keepends=True)[:2])
    assert only_run(cut).stages_s["queue"] == pytest.approx(9e-5)


REFUSED = [
    (f"Batch size: 0\n{END}", "batch size must be at least 1"),
    (END.replace("latency 1000", "latency 1.2.3"), "line 2 must be a number from 0, got '1.2.3'"),
    (END.replace("latency 1000", "latency 9e999"), "must be a number from 0, got '9e999'"),
    (block(1, 1000), "is of none of the"),
    (f"# {END}", "is of none of the"),
]
