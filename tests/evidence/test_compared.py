"""A run beside its prediction: whether they agree, and which part of the time makes the difference."""

import math
from typing import Any

import pytest

from capacity.evidence.compared import Compared, Parting, compared, overloaded, unknown
from capacity.formats.load_test import LoadRun
from capacity.performance import Interval, Kind, Performance

MS = 1e-3


def between(low: float, high: float) -> Interval:
    return Interval(value=(low + high) / 2.0, low=low, high=high)


@pytest.mark.parametrize(
    ("predicted", "measured", "agrees"),
    [
        (Interval.exact(1.0), Interval.exact(1.09), True),
        (Interval.exact(1.0), Interval.exact(1.11), False),
        (Interval.exact(1.0), Interval.exact(0.91), True),
        (Interval.exact(1.0), Interval.exact(0.89), False),
        (between(1.0, 1.5), between(1.5, 3.0), True),  # they touch
        (between(1.5, 3.0), between(1.0, 1.5), True),
        (between(1.0, 1.4), between(1.5, 3.0), False),
        (between(1.5, 3.0), between(1.0, 1.4), False),
    ],
)
def test_a_tenth_or_intervals_that_meet_agree(predicted: Interval, measured: Interval, agrees: bool) -> None:
    assert Compared(quantity="x", predicted=predicted, measured=measured).agrees is agrees


def test_a_prediction_of_nothing_has_no_ratio() -> None:
    row = Compared(quantity="x", predicted=Interval.exact(0.0), measured=Interval.exact(1.0))
    assert (row.ratio, row.agrees) == (math.inf, False)


# Predicted: 10 ms in the queue, 20 ms of service, and 5 ms outside.
PREDICTED = Performance(
    kind=Kind.EXACT,
    throughput_rps=100.0,
    wait_mean_s=10 * MS,
    response_mean_s=35 * MS,
    response_quantiles_s={0.99: Interval.exact(80 * MS)},
)


def found(**others: Any) -> Any:
    usual = {"name": "run", "throughput_rps": 100.0, "mean_s": 35 * MS}
    return compared(LoadRun(**{**usual, **others}), PREDICTED, 5 * MS)


def test_what_agrees_is_as_predicted() -> None:
    one = found(quantiles_s={0.99: Interval.exact(80 * MS), 0.5: Interval.exact(1.0)})
    assert (one.run, one.parting, one.message) == ("run", Parting.AGREES, "as predicted")
    assert [row.quantity for row in one.rows] == ["throughput", "response mean", "response P99"]
    assert found(throughput_rps=50.0).parting is Parting.AGREES  # the response decides
    assert found(throughput_rps=50.0, mean_s=None).parting is Parting.SLOWER
    assert found(throughput_rps=150.0, mean_s=None).parting is Parting.FASTER
    assert found(mean_s=70 * MS).parting is Parting.SLOWER
    assert found(mean_s=20 * MS).parting is Parting.FASTER
    assert found(throughput_rps=None, mean_s=None).parting is Parting.UNKNOWN
    run = LoadRun(name="r")
    assert (overloaded(run, "x").parting, unknown(run, "y").message) == (Parting.OVERLOADED, "y")


@pytest.mark.parametrize(
    ("stages_ms", "words"),
    [
        ({"queue": 40.0, "compute infer": 25.0, "network": 5.0}, "the queue: 40 ms measured, 10 ms predicted"),
        ({"queue": 0.0, "compute infer": 25.0, "network": 5.0}, "the queue: 0 s measured, 10 ms predicted"),
        ({"compute infer": 60.0, "network": 5.0}, "computing: 60 ms measured, 20 ms predicted"),
        (
            {"queue": 12.0, "compute input": 8.0, "compute infer": 40.0, "network": 10.0},
            "computing: 48 ms measured, 20 ms predicted",
        ),
        (
            {"queue": 12.0, "compute infer": 22.0, "network": 20.0, "client send": 16.0},
            "outside the server: 36 ms measured, 5 ms predicted",
        ),
    ],
)  # fmt: skip
def test_the_stage_that_is_off_by_most_is_named(stages_ms: dict[str, float], words: str) -> None:
    one = found(mean_s=70 * MS, stages_s={name: value * MS for name, value in stages_ms.items()})
    assert one.message.startswith("response mean is 2.00 times the prediction; most of the difference is ")
    assert words in one.message


def test_without_stages_it_is_not_said_which() -> None:
    said = "the file does not say in which stage"
    assert said in found(mean_s=70 * MS).message
    no_wait = Performance(kind=Kind.EXACT, throughput_rps=100.0, response_mean_s=35 * MS)
    run = LoadRun(name="run", mean_s=70 * MS, stages_s={"queue": 40 * MS})
    assert said in compared(run, no_wait, 0.0).message


def test_a_mean_that_agrees_beside_a_percentile_that_does_not_is_a_matter_of_spread() -> None:
    one = found(quantiles_s={0.99: Interval.exact(160 * MS)})
    assert one.parting is Parting.SLOWER
    assert one.message.startswith("response P99 is 2.00 times the prediction; ")
    assert "in which stage" not in one.message
    assert "in which stage" in found(mean_s=None, quantiles_s={0.99: Interval.exact(160 * MS)}).message
