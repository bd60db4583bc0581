"""What every load test is read into: samples, histograms and runs, valid or not born."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Samples, sent_rps
from capacity.performance import Interval


def test_samples_are_in_the_order_of_sending() -> None:
    found = Samples.of([3.0, 1.0, 2.0], [0.3, 0.0, 0.2], [2.5, 0.5, 1.5])
    assert found.sent_s.tolist() == [1.0, 2.0, 3.0]
    assert found.response_s.tolist() == [0.0, 0.2, 0.3]
    assert found.due_s.tolist() == [0.5, 1.5, 2.5]
    assert Samples.of([1.0], [1.0]).due_s.tolist() == []


def test_the_rate_of_sending_is_of_the_gaps() -> None:
    assert sent_rps(Samples.of([1.0, 5.0, 2.0], [1.0] * 3)) == 0.5
    for sent_s in ([], [1.0], [1.0, 1.0]):
        assert sent_rps(Samples.of(sent_s, [1.0] * len(sent_s))) is None


def test_counts_up_to_bounds_begin_at_0() -> None:
    """What took no time at all lies within the first nanosecond before."""
    assert Histogram.up_to([(0.5, 3), (2.0, 1)]).edges_s == (0.0, 0.5, 2.0)
    assert Histogram.up_to([(0.0, 3), (2.0, 1)]).edges_s == (-1e-9, 0.0, 2.0)
    with pytest.raises(InputError, match="must rise"):
        Histogram.up_to([(1.0, 1), (1.0, 1)])
    empty = Histogram.up_to([])
    assert (empty.edges_s, empty.counts, empty.total) == ((0.0,), (), 0.0)


FOUR = Histogram((0.0, 1.0, 2.0, 4.0, math.inf), (2.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("q", "ends"),
    [
        (0.0, (1.0, 0.0, 1.0)),
        (0.5, (1.0, 0.0, 1.0)),
        (0.51, (4.0, 2.0, 4.0)),
        (0.75, (4.0, 2.0, 4.0)),
        (0.76, (4.0, 4.0, math.inf)),
        (1.0, (4.0, 4.0, math.inf)),
    ],
)
def test_a_quantile_lies_between_two_bounds(q: float, ends: tuple[float, float, float]) -> None:
    """Of four: two up to 1 s, one up to 4 s, and one longer, of which 4 s is all that is known."""
    found = FOUR.quantile(q)
    assert (found.value, found.low, found.high) == ends
    assert FOUR.total == 4.0


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Samples.of([1.0], []), "1 instants of sending have 0 responses and 0 due times"),
        (lambda: Samples.of([1.0, 2.0], [1.0, 1.0], [1.0]), "2 instants of sending have 2 responses and 1 due"),
        (lambda: Samples.of([math.nan], [1.0]), "must be finite numbers"),
        (lambda: Samples.of([1.0], [math.inf]), "must be finite numbers"),
        (lambda: Samples.of([1.0], [1.0], [math.inf]), "must be finite numbers"),
        (lambda: Samples.of([1.0], [-0.5]), "no less than 0 s, got -0.5 s"),
        (lambda: Histogram((0.0, 1.0), ()), "0 counts need 1 bounds, got 2"),
        (lambda: Histogram((1.0, 1.0), (1.0,)), "must rise"),
        (lambda: Histogram((0.0, 1.0), (-1.0,)), "never below 0"),
        (lambda: Histogram((0.0, 1.0), (math.inf,)), "are finite"),
        (lambda: Histogram((0.0, 1.0), (0.0,)).quantile(0.5), "an empty histogram has no quantiles"),
        (lambda: LoadRun(name="r", users=-1.0), "r: users must be finite and not below 0, got -1.0"),
        (lambda: LoadRun(name="r", mean_s=math.inf), "r: mean_s must be finite and not below 0, got inf"),
        (lambda: LoadRun(name="r", quantiles_s={1.1: Interval.exact(1.0)}), "from 0 to 1, got \\[1.1\\]"),
        (lambda: LoadRun(name="r", quantiles_s={-0.1: Interval.exact(1.0)}), "from 0 to 1"),
        (lambda: LoadRun(name="r", quantiles_s={0.5: Interval.exact(-1.0)}), "and a quantile does"),
        (lambda: LoadTest(tool="t", name="f", runs=()), "f holds no run with a measurement"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build()


def test_a_run_may_be_at_its_ends() -> None:
    run = LoadRun(
        name="r", users=0.0, failed=0, quantiles_s={1.0: Interval.exact(2.0), 0.0: Interval.exact(0.0)}
    )
    assert list(run.quantiles_s) == [0.0, 1.0]
    assert (run.requests, run.batch_size, run.resolution_s) == (None, 1, 0.0)
    assert (run.is_corrected, run.counts_inferences) == (False, False)
    assert LoadRun(name="r", succeeded=3).requests == 3
    assert LoadRun(name="r", succeeded=3, failed=2).requests == 5
