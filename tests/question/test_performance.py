"""Interval and Performance: the one answer that theory, simulation and measurement all give."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.performance import Interval, Kind, Performance

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)


def test_an_exact_interval_has_no_width() -> None:
    interval = Interval.exact(0.2)
    assert (interval.low, interval.value, interval.high) == (0.2, 0.2, 0.2)
    assert interval.half_width == 0.0
    assert interval.relative_half_width == 0.0
    assert Interval.exact(0.0).relative_half_width == 0.0


def test_the_half_width_is_the_larger_side() -> None:
    assert Interval(value=4.0, low=3.0, high=6.0).half_width == 2.0
    assert Interval(value=4.0, low=1.0, high=6.0).half_width == 3.0
    assert Interval(value=4.0, low=3.0, high=6.0).relative_half_width == 0.5


def test_a_width_around_nothing_is_infinitely_wide() -> None:
    assert Interval(value=0.0, low=0.0, high=1e-9).relative_half_width == math.inf


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (1.0, 1.1, 2.0),
        (1.0, 0.5, 0.9),
        (math.nan, 0.0, 1.0),
        (0.5, math.nan, 1.0),
        (0.5, 0.0, math.nan),
        (1.0, 2.0, 0.0),
    ],
)
def test_an_interval_holds_its_value_or_is_not_born(value: float, low: float, high: float) -> None:
    with pytest.raises(DomainError) as caught:
        Interval(value=value, low=low, high=high)
    assert str(caught.value) == f"interval needs low <= value <= high, got {low}, {value}, {high}"
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, ValueError)


@laws_hold
@given(st.lists(st.floats(0.0, 1e9), min_size=3, max_size=3), st.integers(-20, 20))
def test_a_change_of_unit_scales_the_width_and_keeps_the_ratio(ends: list[float], exponent: int) -> None:
    low, value, high = sorted(ends)
    factor = 2.0**exponent
    interval = Interval(value=value, low=low, high=high)
    scaled = interval.scaled(factor)
    assert scaled == Interval(value=value * factor, low=low * factor, high=high * factor)
    assert scaled.half_width == pytest.approx(factor * interval.half_width, rel=1e-12)
    assert scaled.relative_half_width == pytest.approx(interval.relative_half_width, rel=1e-12)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan])
def test_a_unit_is_positive_and_finite(factor: float) -> None:
    with pytest.raises(DomainError, match="factor must be positive and finite"):
        Interval.exact(1.0).scaled(factor)


def test_a_ratio_by_hand_and_of_what_is_known_exactly() -> None:
    """3/2.5, 4/2 and 5/1: the ends that make it least and largest."""
    ratio = Interval(value=4.0, low=3.0, high=5.0).over(Interval(value=2.0, low=1.0, high=2.5))
    assert ratio == Interval(value=2.0, low=1.2, high=5.0)
    assert Interval.exact(3.0).over(Interval.exact(2.0)) == Interval.exact(1.5)
    assert Interval.exact(0.0).over(Interval.exact(2.0)) == Interval.exact(0.0)


@laws_hold
@given(*(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3).map(sorted) for _ in range(2)))
def test_a_ratio_allows_for_all_that_either_leaves_open(above: list[float], below: list[float]) -> None:
    one, other = (Interval(low=x[0], value=x[1], high=x[2]) for x in (above, below))
    ratio = one.over(other)
    quotients = [a / b for a in above for b in below]
    assert (ratio.low, ratio.high) == (min(quotients), max(quotients))
    assert one.over(one).low <= 1.0 <= one.over(one).high
    assert ratio.relative_half_width >= one.relative_half_width * (1.0 - 1e-12)
    assert ratio.scaled(2.0).value == pytest.approx(one.scaled(2.0).over(other).value)


@pytest.mark.parametrize(
    ("above", "below"),
    [
        (Interval.exact(1.0), Interval(value=1.0, low=0.0, high=2.0)),
        (Interval.exact(1.0), Interval.exact(-1.0)),
        (Interval(value=1.0, low=-0.5, high=2.0), Interval.exact(1.0)),
    ],
)
def test_a_ratio_of_what_may_be_nothing_or_less_is_refused(above: Interval, below: Interval) -> None:
    with pytest.raises(DomainError, match="a ratio needs positive intervals, got ends"):
        above.over(below)


def test_what_a_source_does_not_have_is_absent() -> None:
    performance = Performance(kind=Kind.EXACT)
    for each in fields(performance):
        if each.name == "kind":
            continue
        expected: object = (
            {} if each.name.endswith(("_quantiles_s", "_with_losses_s", "_error_max", "intervals")) else None
        )
        assert getattr(performance, each.name) == expected, each.name


def test_quantiles_are_kept_in_rising_order_and_are_a_copy() -> None:
    given_s = {0.99: Interval.exact(3.0), 0.5: Interval.exact(1.0), 0.9: Interval.exact(2.0)}
    performance = Performance(
        kind=Kind.SIMULATION, wait_quantiles_s=given_s, response_quantiles_s=dict(reversed(given_s.items()))
    )
    assert list(performance.wait_quantiles_s) == list(performance.response_quantiles_s) == [0.5, 0.9, 0.99]
    given_s.clear()
    assert performance.wait_quantiles_s[0.99].value == 3.0


def test_two_answers_share_nothing() -> None:
    one, other = Performance(kind=Kind.EXACT), Performance(kind=Kind.EXACT)
    assert one == other
    assert one.wait_quantiles_s is not other.wait_quantiles_s


def test_answers_are_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        Performance(kind=Kind.EXACT).load = 0.5
    with pytest.raises(FrozenInstanceError):
        Interval.exact(1.0).value = 2.0
    with pytest.raises(TypeError):
        Interval(1.0, 1.0, 1.0)


def test_a_kind_reads_as_its_name() -> None:
    assert [f"{kind}" for kind in Kind] == [
        "exact", "bound", "approximation", "simulation", "replay", "measurement",
    ]  # fmt: skip
    assert Kind("simulation") is Kind.SIMULATION
