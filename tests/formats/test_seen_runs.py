"""Requests of a language model as a load test: to the last token, by hand."""

import pytest

from capacity.formats.load_test import Loop
from capacity.formats.seen_runs import load_run, load_test
from capacity.profile.llm_runs import SeenRequest, SeenRun


def run_of(*spans: tuple[float, float]) -> SeenRun:
    requests = (
        SeenRequest(input_tokens=1, output_tokens=1, start_s=start, first_s=end, last_s=end)
        for start, end in spans
    )
    return SeenRun(name="r", requests=tuple(requests))


def test_a_run_lasts_from_the_first_start_to_the_last_token() -> None:
    """Of 1, 3 and 2 s, sent after 0, 1 and 4 s."""
    seen = run_of((10.0, 11.0), (11.0, 14.0), (14.0, 16.0))
    run = load_run(seen, loop=Loop.OPEN, users=3.0, rate_asked_rps=0.4, failed=2)
    assert (run.name, run.loop, run.users, run.rate_asked_rps, run.failed) == ("r", Loop.OPEN, 3.0, 0.4, 2)
    assert (run.duration_s, run.throughput_rps, run.rate_sent_rps) == (6.0, 0.5, 0.5)
    assert (run.succeeded, run.mean_s, run.min_s, run.max_s) == (3, 2.0, 1.0, 3.0)
    assert {q: one.value for q, one in run.quantiles_s.items()} == {
        0.5: 2.0,
        0.9: 3.0,
        0.95: 3.0,
        0.99: 3.0,
        0.999: 3.0,
    }
    assert load_test("t", "f", [run]).notes == ("responses are to the last token",)


def test_a_run_without_a_length_has_no_rate() -> None:
    run = load_run(run_of((1.0, 1.0)))
    assert (run.loop, run.duration_s, run.throughput_rps, run.rate_sent_rps) == (
        Loop.UNKNOWN, 0.0, None, None,
    )  # fmt: skip
    assert run.mean_s == pytest.approx(0.0)
