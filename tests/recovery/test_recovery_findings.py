"""What runs have shown: shares, means and exit codes, with their intervals."""

import math

import pytest
from stresses import fleet_in_trouble, run_of

from capacity.confidence import share_interval, student_t
from capacity.errors import DomainError
from capacity.performance import Interval
from capacity.recovery.findings import Runs, mean_of

STRESS = fleet_in_trouble()


def runs(*times_s: float | None, confidence: float = 0.95, **others: object) -> Runs:
    found = tuple(run_of(time_s, **others) for time_s in times_s)  # type: ignore[arg-type]
    return Runs(stress=STRESS, runs=found, confidence=confidence)


@pytest.mark.parametrize(
    ("happened", "count", "low", "high"),
    [
        (0, 20, 0.0, 0.1391),  # one-sided: 1 - 0.05^(1/20)
        (20, 20, 0.8609, 1.0),
        (1, 10, 0.0025, 0.4450),  # Clopper & Pearson (1934), as in any table
        (5, 10, 0.1871, 0.8129),
        (10, 100, 0.0490, 0.1762),
        (1, 1, 0.05, 1.0),
    ],
)
def test_share_intervals(happened: int, count: int, low: float, high: float) -> None:
    assert share_interval(happened, count, 0.95) == pytest.approx((low, high), abs=5e-5)


def test_a_share_interval_holds_the_share_as_often_as_it_says() -> None:
    """Exact: over all outcomes of 20 runs, for several true shares."""
    for true in (0.05, 0.3, 0.5, 0.87):
        held = 0.0
        for happened in range(21):
            low, high = share_interval(happened, 20, 0.95)
            if low <= true <= high:
                held += math.comb(20, happened) * true**happened * (1.0 - true) ** (20 - happened)
        assert held >= 0.95


@pytest.mark.parametrize(("happened", "count"), [(-1, 10), (11, 10), (0, 0)])
def test_no_share_of_nothing(happened: int, count: int) -> None:
    with pytest.raises(DomainError, match="a share needs"):
        share_interval(happened, count, 0.95)


@pytest.mark.parametrize(
    ("times_s", "recovered", "code"),
    [((1.0, 2.0, 3.0), 1.0, 0), ((None, None), 0.0, 3), ((None, 2.0, 4.0, None), 0.5, 4)],
)
def test_how_many_recover(times_s: tuple[float | None, ...], recovered: float, code: int) -> None:
    found = runs(*times_s)
    assert found.recovered.value == recovered
    assert (found.recovered.low, found.recovered.high) == share_interval(
        round(recovered * len(times_s)), len(times_s), 0.95
    )
    assert found.exit_code == code


def test_the_time_is_that_of_the_runs_that_recover() -> None:
    assert runs(None, None).recovery_s is None
    found = runs(None, 8.0, 10.0, 12.0).recovery_s
    assert found is not None
    half = student_t(0.95, 2) * 2.0 / math.sqrt(3.0)
    assert (found.value, found.low, found.high) == pytest.approx((10.0, 10.0 - half, 10.0 + half))


def test_one_run_alone_has_no_upper_end() -> None:
    found = runs(None, 8.0).recovery_s
    assert found == Interval(value=8.0, low=0.0, high=math.inf)


def test_times_and_shares_stay_within_what_is_possible() -> None:
    """Few and very different runs would have them below 0 and above 1."""
    found = runs(0.0, 0.0, 30.0)
    assert found.recovery_s.low == 0.0
    assert found.recovery_s.high > 30.0
    high = Runs(
        stress=STRESS,
        runs=(run_of(0.0, goodput=1.0, lost=0), run_of(0.0, goodput=0.9, lost=90)),
        confidence=0.95,
    )
    assert (high.goodput_during.high, high.lost.low) == (1.0, 0.0)
    low = Runs(stress=STRESS, runs=(run_of(0.0, goodput=0.0), run_of(0.0, goodput=0.1)), confidence=0.95)
    assert low.goodput_during.low == 0.0


def test_means_over_all_runs() -> None:
    found = Runs(
        stress=STRESS,
        runs=(
            run_of(1.0, goodput=0.5, lost=10, p99_s=0.1),
            run_of(None, goodput=0.7, lost=30, p99_s=0.3, relapsed=True),
        ),
        confidence=0.95,
    )
    assert found.goodput_during.value == pytest.approx(0.6)
    assert found.lost.value == 20.0
    assert found.response_p99_s.value == pytest.approx(0.2)
    assert found.relapsed == 1


def test_a_quantile_that_one_run_has_not_is_none() -> None:
    found = Runs(stress=STRESS, runs=(run_of(1.0, p99_s=0.1), run_of(1.0, p99_s=None)), confidence=0.95)
    assert found.response_p99_s is None


def test_equal_values_have_no_width() -> None:
    assert mean_of([2.0, 2.0, 2.0], 0.95) == Interval(value=2.0, low=2.0, high=2.0)


def test_two_values_that_are_equal_have_no_width_and_one_alone_all() -> None:
    assert mean_of([2.0, 2.0], 0.95) == Interval(value=2.0, low=2.0, high=2.0)
    alike = mean_of([0.7] * 3, 0.95)  # whose mean is not 0.7 in binary
    assert alike.low == alike.value == alike.high
    assert mean_of([2.0], 0.95) == Interval(value=2.0, low=0.0, high=math.inf)
    assert mean_of([2.0], 0.95, most=3.0).high == 3.0
    half = student_t(0.95, 1) * math.sqrt(0.5) / math.sqrt(2.0)
    found = mean_of([101.0, 102.0], 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((101.5, 101.5 - half, 101.5 + half))
