"""What perf_analyzer prints, written by the shape of its quick start; nothing here is a text of its own."""

import pytest
from reading import load_test, only_run, refusal

from capacity.formats.load_test import Loop


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
EXAMPLES = {"whole": TEXT.encode(), "end": RATE.encode()}


def test_a_text_without_its_last_lines_is_not_recognised() -> None:
    assert "is of none of the" in refusal(block(1, 1000))
    assert "is of none of the" in refusal(f"# {END}")


def test_blocks_and_the_end_are_one_run_a_load() -> None:
    found = load_test(TEXT)
    first, second = found.runs
    assert (first.loop, first.users, second.users) == (Loop.CLOSED, 1.0, 2.0)
    assert (first.batch_size, first.throughput_rps, first.succeeded) == (16, 50.0, 500)
    assert second.mean_s == pytest.approx(0.002)
    assert second.quantiles_s[0.99].value == pytest.approx(0.0024)
    assert first.stages_s["compute infer"] == pytest.approx(4e-4)
    assert sum(first.stages_s.values()) == pytest.approx(6e-4)
    assert found.notes == ()


def test_the_end_alone_tells_a_percentile() -> None:
    run = only_run(RATE)
    assert (run.loop, run.rate_asked_rps, run.mean_s) == (Loop.OPEN, 44.5, None)
    assert {q: one.value for q, one in run.quantiles_s.items()} == pytest.approx({0.95: 0.0015})
    assert "taken as 1" in load_test(RATE).notes[0]


def test_stages_before_the_only_load_are_its_own() -> None:
    cut = block(1, 1000).split("Server:")[1] + "".join(END.splitlines(keepends=True)[:2])
    assert only_run(cut).stages_s["queue"] == pytest.approx(9e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Batch size: 0\n{END}", "batch size must be at least 1"),
        (END.replace("latency 1000", "latency 1.2.3"), "line 2 must be a number from 0, got '1.2.3'"),
        (END.replace("latency 1000", "latency 9e999"), "must be a number from 0, got '9e999'"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)
