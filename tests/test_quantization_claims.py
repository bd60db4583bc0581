"""The interval of a paired loss: printed numbers, another road, laws; and what it lets be said of a claim."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.performance import Interval
from serve_api.interleaved_times import BatchTime
from serve_api.paired_loss import accuracy_loss, rows_to_tell
from serve_api.quantization_claims import Verdict, claims
from serve_api.quantization_effect import Effect

Z = 1.959963984540054
laws = settings(derandomize=True, deadline=None, max_examples=100)


@st.composite
def counts(draw) -> dict[str, int]:
    rows = draw(st.integers(1, 400))
    wrong = draw(st.integers(0, rows))
    return {"rows": rows, "newly_wrong": wrong, "newly_right": draw(st.integers(0, rows - wrong))}


@pytest.mark.parametrize(
    ("rows", "newly_wrong", "newly_right", "low", "high"),
    [
        (161, 6, 16, -0.1240, -0.0054),  # Fagerland, Lydersen and Laake (2017), ch. 8: Cavo et al. (2012)
        (21, 1, 7, -0.517, -0.026),  # Fagerland, Lydersen and Laake (2014), table 5: Bentur et al. (2009)
    ],
)
def test_printed_intervals(rows, newly_wrong, newly_right, low, high):
    found = accuracy_loss(rows=rows, newly_wrong=newly_wrong, newly_right=newly_right)
    digits = 4 if rows == 161 else 3
    assert [round(found.low, digits), round(found.high, digits)] == [low, high]


def statistic(loss: float, rows: int, newly_wrong: int, newly_right: int) -> float:
    """The score statistic with the likeliest share found by search, not by its equation."""
    same = rows - newly_wrong - newly_right

    def likelihood(right: float) -> float:
        cells = ((newly_wrong, right + loss), (newly_right, right), (same, 1.0 - 2.0 * right - loss))
        return sum(count * math.log(max(share, 1e-300)) for count, share in cells if count)

    low, high = max(0.0, -loss), 0.5 * (1.0 - loss)
    for _ in range(200):  # it has one peak: thirds
        one, other = low + (high - low) / 3.0, high - (high - low) / 3.0
        low, high = (one, high) if likelihood(one) < likelihood(other) else (low, other)
    variance = rows * (2.0 * low + loss * (1.0 - loss))
    return (newly_wrong - newly_right - rows * loss) / math.sqrt(variance)


@pytest.mark.parametrize("counted", [(171, 2, 0), (171, 0, 3), (171, 5, 4), (40, 12, 7), (2000, 30, 8)])
def test_the_ends_are_where_the_statistic_is_z(counted):
    rows, newly_wrong, newly_right = counted
    found = accuracy_loss(rows=rows, newly_wrong=newly_wrong, newly_right=newly_right)
    assert statistic(found.low, *counted) == pytest.approx(Z, rel=1e-5)
    assert statistic(found.high, *counted) == pytest.approx(-Z, rel=1e-5)


@laws
@given(counts())
def test_the_other_way_round_it_is_the_negative(counted):
    found = accuracy_loss(**counted)
    other = accuracy_loss(
        rows=counted["rows"], newly_wrong=counted["newly_right"], newly_right=counted["newly_wrong"]
    )
    assert (found.low, found.value, found.high) == (-other.high, -other.value, -other.low)
    assert -1.0 <= found.low <= found.high <= 1.0


@laws
@given(counts())
def test_no_loss_is_refuted_where_mcnemar_refutes_it(counted):
    wrong, right = counted["newly_wrong"], counted["newly_right"]
    found = accuracy_loss(**counted)
    mcnemar = (wrong - right) ** 2 / (wrong + right) if wrong + right else 0.0
    assert (found.low <= 0.0 <= found.high) == (mcnemar <= Z * Z)


@pytest.mark.parametrize("rows", [1, 171, 764, 765, 100_000])
def test_where_no_answer_changed_the_rows_alone_say_how_much_could_be_lost(rows):
    found = accuracy_loss(rows=rows, newly_wrong=0, newly_right=0)
    assert found.high == pytest.approx(Z**2 / (rows + Z**2), rel=1e-9)
    assert (found.high < 0.005) == (rows >= rows_to_tell(0.005))


@pytest.mark.parametrize("counted", [(0, 0, 0), (5, 3, 3), (5, -1, 2), (5, 2, -1)])
def test_counts_that_are_none_are_refused(counted):
    rows, newly_wrong, newly_right = counted
    with pytest.raises(DomainError, match="not fewer than those that changed"):
        accuracy_loss(rows=rows, newly_wrong=newly_wrong, newly_right=newly_right)


@pytest.mark.parametrize(
    ("rows", "newly_wrong", "newly_right", "verdict"),
    [
        (171, 0, 0, Verdict.UNDECIDED),  # of so few rows even the same answers say nothing of half a point
        (171, 1, 0, Verdict.UNDECIDED),
        (171, 0, 2, Verdict.UNDECIDED),
        (171, 20, 1, Verdict.FAILS),
        (2000, 0, 0, Verdict.HOLDS),
        (2000, 9, 1, Verdict.UNDECIDED),  # 0.4 points, give or take
        (2000, 1, 30, Verdict.HOLDS),
    ],
)
def test_what_is_said_of_the_accuracy_is_what_the_rows_can_tell(rows, newly_wrong, newly_right, verdict):
    effect = Effect(
        name="static",
        model_bytes=1,
        file_ratio=4.0,
        accuracy=0.9,
        accuracy_before=0.9,
        rows=rows,
        newly_wrong=newly_wrong,
        newly_right=newly_right,
        labels_changed=newly_wrong + newly_right,
        probability_difference_max=0.0,
        company_difference_max=0.0,
    )
    accuracy = claims([effect], [])[1]
    assert accuracy.what.startswith("accuracy")
    assert accuracy.verdict is verdict
    assert accuracy.found.value == pytest.approx(100.0 * (newly_wrong - newly_right) / rows)


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((1.95, 1.99), Verdict.FAILS), ((1.99, 2.02), Verdict.UNDECIDED), ((2.0, 2.1), Verdict.HOLDS)],
)
def test_nearly_twice_as_fast_is_not_twice_as_fast(ends, verdict):
    low, high = ends
    speedup = Interval(value=(low + high) / 2.0, low=low, high=high)
    (speed,) = claims([], [BatchTime(name="static", batch_size=1, median_s=0.001, speedup=speedup)])
    assert speed.verdict is verdict
