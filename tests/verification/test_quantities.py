"""Promises and quantities of a verification, at their boundaries and by hand."""

import math
from dataclasses import replace

import pytest

from capacity.errors import InputError
from capacity.performance import Interval, Kind, Performance
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit, Measure
from capacity.verification.quantities import (
    QUANTITIES,
    Agreement,
    LimitFinding,
    hold,
    limit_finding,
    read_tolerances,
    with_tolerances,
)

MEAN = Limit(measure=Measure.RESPONSE_MEAN, allowed=0.7)


def finding(value: float, low: float, high: float, *, has_interval: bool = True) -> LimitFinding:
    return LimitFinding(
        limit=MEAN,
        found=Interval(value=value, low=low, high=high),
        verdict=Verdict.INCONCLUSIVE,
        has_interval=has_interval,
    )


@pytest.mark.parametrize(
    ("found", "said", "times"),
    [
        (finding(0.6, 0.4, 0.9), "lies within the measured interval", 9.0),  # 0.3 above, where 0.1 would do
        (finding(0.8, 0.6, 0.9), "lies within the measured interval", 4.0),  # 0.2 below
        (finding(0.0, 0.0, 2.1), "lies within the measured interval", 3.0),  # of none among n, as n
        (finding(0.7, 0.6, 0.9), "equals what was measured, within chance", math.inf),
        (finding(0.6, 0.4, 1.59), "lies within the measured interval", 98.01),
        (finding(0.6, 0.4, 1.61), "equals what was measured, within chance", math.inf),
        (finding(0.6, 0.4, math.inf), "have an unknown response time", math.inf),
        (finding(0.6, 0.4, 0.9, has_interval=False), "what was measured has no interval", math.inf),
    ],
)
def test_how_many_times_as_many_requests_would_tell(found: LimitFinding, said: str, times: float) -> None:
    doubt = found.doubt(100)
    assert said in doubt[0]
    assert doubt[1] == pytest.approx(times)


def measured(value: float, low: float, high: float) -> Performance:
    interval = Interval(value=value, low=low, high=high)
    return Performance(kind=Kind.MEASUREMENT, response_mean_s=value, intervals={"response_mean_s": interval})


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.5, 0.7, Verdict.MET),
        (0.5, 0.71, Verdict.INCONCLUSIVE),
        (0.7, 0.9, Verdict.INCONCLUSIVE),
        (0.71, 0.9, Verdict.MISSED),
    ],
)
def test_a_limit_that_is_reached_is_met(low: float, high: float, verdict: Verdict) -> None:
    found = limit_finding(MEAN, measured((low + high) / 2.0, low, high))
    assert found.verdict is verdict
    assert (found.doubt(100) is None) is (verdict is not Verdict.INCONCLUSIVE)


def test_what_was_not_measured_needs_answers() -> None:
    nothing = Performance(kind=Kind.MEASUREMENT)
    found = limit_finding(MEAN, nothing)
    assert (found.found, found.verdict) == (None, None)
    doubt = found.doubt(0)
    assert doubt[1] == math.inf
    some = found.doubt(10)
    assert some is not None
    assert some == (f"{MEAN} was not measured: that needs 100 answers, and there were 10", 10.0)
    assert found.doubt(1) == (f"{MEAN} was not measured: that needs 100 answers, and there were 1", 100.0)
    assert found.doubt(40) == (f"{MEAN} was not measured: that needs 100 answers, and there were 40", 2.5)
    p95 = limit_finding(Limit(measure=Measure.RESPONSE, quantile=0.95, allowed=0.7), nothing)
    assert p95.doubt(500) == (
        f"{p95.limit} was not measured: that needs 1000 answers, and there were 500",
        2.0,
    )


BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}


@pytest.mark.parametrize(
    ("name", "predicted", "agreement"),
    [
        ("mean", 1.049, Agreement.AGREE),
        ("mean", 1.051, Agreement.DISAGREE),
        ("p50", 0.951, Agreement.AGREE),
        ("p50", 0.949, Agreement.DISAGREE),
        ("p95", 1.099, Agreement.AGREE),
        ("p95", 1.101, Agreement.DISAGREE),
        ("p99", 1.149, Agreement.AGREE),
        ("p99", 1.151, Agreement.DISAGREE),
        ("throughput", 1.049, Agreement.AGREE),
        ("throughput", 1.051, Agreement.DISAGREE),
        ("batch", 1.099, Agreement.AGREE),
        ("utilization", 1.101, Agreement.DISAGREE),
        ("loss", 1.0049, Agreement.AGREE),
        ("loss", 0.9949, Agreement.DISAGREE),
        ("given-up", 1.0051, Agreement.DISAGREE),
    ],
)
def test_each_quantity_has_its_tolerance(name: str, predicted: float, agreement: Agreement) -> None:
    assert hold(BY_NAME[name], Interval.exact(predicted), Interval.exact(1.0)).agreement is agreement


@pytest.mark.parametrize(
    ("low", "high", "agreement"),
    [
        (1.5, 1.5, Agreement.AGREE),
        (0.5, 0.5, Agreement.AGREE),
        (0.5, 1.5, Agreement.AGREE),
        (1.5, 1.75, Agreement.UNSURE),
        (0.25, 0.5, Agreement.UNSURE),
        (1.75, 2.0, Agreement.DISAGREE),
        (0.0, 0.25, Agreement.DISAGREE),
    ],
)
def test_the_tolerance_includes_its_ends(low: float, high: float, agreement: Agreement) -> None:
    half = replace(BY_NAME["mean"], tolerance=0.5)
    predicted = Interval(value=low, low=low, high=high)
    assert hold(half, predicted, Interval.exact(1.0)).agreement is agreement


def test_an_error_relative_to_zero() -> None:
    assert hold(BY_NAME["mean"], Interval.exact(0.0), Interval.exact(0.0)).error == 0.0
    found = hold(BY_NAME["mean"], Interval.exact(0.1), Interval.exact(0.0))
    assert (found.error, found.agreement) == (None, Agreement.DISAGREE)


def lossy(given_up: float, loss: float, high: float) -> Performance:
    """A measurement with a loss, the upper end of its interval, and a share of requests that were given up."""
    return Performance(
        kind=Kind.MEASUREMENT,
        loss_probability=loss,
        abandon_probability=given_up,
        intervals={
            "loss_probability": Interval(value=loss, low=0.0, high=high),
            "abandon_probability": Interval(value=given_up, low=0.0, high=0.25),
        },
    )


@pytest.mark.parametrize(
    ("measured", "high"), [(lossy(0.125, 0.0, 0.125), 0.375), (lossy(0.0, 0.0, 0.125), 0.125)]
)
def test_requests_given_up_may_have_been_lost(measured: Performance, high: float) -> None:
    found = limit_finding(Limit(measure=Measure.LOSS, allowed=0.3), measured)
    assert found.found.high == high
    assert found.verdict is (Verdict.MET if high < 0.3 else Verdict.INCONCLUSIVE)
    mean = limit_finding(
        Limit(measure=Measure.RESPONSE_MEAN, allowed=0.3),
        replace(
            measured,
            response_mean_s=0.25,
            intervals={**measured.intervals, "response_mean_s": Interval.exact(0.25)},
        ),
    )
    assert mean.verdict is Verdict.MET


def test_a_value_without_an_interval_proves_nothing() -> None:
    for value in (0.1, 0.9):
        found = limit_finding(MEAN, Performance(kind=Kind.MEASUREMENT, response_mean_s=value))
        assert (found.verdict, found.has_interval) == (Verdict.INCONCLUSIVE, False)


def test_who_gives_up_is_predicted_to_be_none() -> None:
    nothing = Performance(kind=Kind.EXACT)
    assert BY_NAME["given-up"].predicted(nothing) == Interval.exact(0.0)
    assert BY_NAME["given-up"].predicted(None) is None
    assert BY_NAME["loss"].predicted(nothing) is None
    assert BY_NAME["mean"].has_interval(measured(1.0, 0.9, 1.1))
    assert not BY_NAME["throughput"].has_interval(measured(1.0, 0.9, 1.1))


def test_tolerances_at_their_ends() -> None:
    assert read_tolerances(["p99=100%"])["p99"] == 1.0
    assert read_tolerances([" Mean = 1 "])["mean"] == 1.0
    assert read_tolerances(["p50=0.5%", "loss=0.25"])["p50"] == 0.005
    for text, said in (
        ("p99=101%", "must be above 0 and at most 100%"),
        *((f"p99={share}", "must be above 0") for share in ("0", "", "-5%", "nan")),
        ("=5%", "names no quantity"),
        ("p99=x", "must be above 0"),
        ("p98=5%", "names no quantity"),
        ("p99", "must be above 0"),
        ("q" * 61, f"--tolerance '{'q' * 60}' names no quantity"),
        ("p99=" + "9" * 60, f"--tolerance 'p99={'9' * 56}' must be"),
    ):
        with pytest.raises(InputError, match=said):
            read_tolerances([text])
    with pytest.raises(InputError, match="names one twice"):
        read_tolerances(["p99=5%", "p99=6%"])


def test_further_quantiles_stand_in_their_places() -> None:
    names = [one.name for one in with_tolerances(read_tolerances([]), [0.25, 0.9, 0.999])]
    assert names == [
        "mean",
        "p25",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        *[one.name for one in QUANTITIES[4:]],
    ]
    tolerances = {one.name: one.tolerance for one in with_tolerances(read_tolerances([]), [0.25, 0.9, 0.999])}
    assert (tolerances["p25"], tolerances["p90"], tolerances["p99.9"]) == (0.05, 0.1, 0.15)
    given = {one.name: one.tolerance for one in with_tolerances(read_tolerances(["p99=20%"]), [0.9, 0.999])}
    assert (given["p90"], given["p99"], given["p99.9"]) == (0.1, 0.2, 0.2)
