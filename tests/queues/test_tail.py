"""Quantiles of survival functions: families with known inverses, atoms, underflow, flat pieces, any scale."""

import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erfcinv, gammaincc, gammainccinv

from capacity.errors import DomainError
from capacity.queues.numerics.tail import first_true, in_atom, quantile_of

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # pytest's own abs would pass any small number
CLAIM = 3e-14
laws = settings(derandomize=True, deadline=None, max_examples=100)
quantiles = st.one_of(st.floats(0.001, 0.9999), st.sampled_from([0.5, 0.99, 1 - 1e-9, 1 - 2.0**-50]))
scales = st.floats(-290.0, 290.0).map(lambda power: 10.0**power)


def logistic_inverse(q: float) -> float:
    return math.log((1.0 + q) / (1.0 - q))


# survival function on [0, inf) and its quantile
FAMILIES: dict[str, tuple[Callable[[float], float], Callable[[float], float], float]] = {
    "exponential": (lambda t: math.exp(-t), lambda q: -math.log1p(-q), 1e-13),
    "uniform": (lambda t: max(0.0, 1.0 - t), lambda q: q, 1e-13),
    "pareto": (lambda t: (1.0 + t) ** -1.5, lambda q: math.expm1(-math.log1p(-q) / 1.5), 1e-13),
    "heavy": (
        lambda t: 1.0 / (1.0 + math.log1p(t)) ** 3,
        lambda q: math.expm1(min(700.0, (1.0 - q) ** (-1.0 / 3.0) - 1.0)),
        1e-12,
    ),
    "weibull": (lambda t: math.exp(-(t**0.3)), lambda q: (-math.log1p(-q)) ** (1.0 / 0.3), 1e-12),
    "steep": (lambda t: math.exp(-(t**8.0)), lambda q: (-math.log1p(-q)) ** 0.125, 1e-13),
    "normal": (lambda t: math.erfc(t), lambda q: float(erfcinv(1.0 - q)), 1e-12),
    "erlang": (lambda t: float(gammaincc(30.0, t)), lambda q: float(gammainccinv(30.0, 1.0 - q)), 1e-11),
    "logistic": (lambda t: 2.0 / (1.0 + math.exp(min(t, 700.0))), logistic_inverse, 1e-12),
}


@pytest.mark.parametrize("name", FAMILIES)
@laws
@given(quantile=quantiles, power=st.integers(-60, 60))
def test_known_inverses_from_any_first_scale(name: str, quantile: float, power: int) -> None:
    tail, inverse, claim = FAMILIES[name]
    expected = inverse(quantile)
    if not 1e-280 < expected < 1e280:
        return
    found = quantile_of(tail, quantile, 2.0**power)
    # a rounding of ln P moves ln t by its inverse slope, far where the tail is flat
    before, after = tail(expected * (1.0 - 1e-6)), tail(expected * (1.0 + 1e-6))
    slope = math.log(before / after) / 2e-6 if after > 0.0 else 1.0
    assert found == close(expected, rel=claim + 1e-15 / max(slope, 1e-9))


@laws
@given(quantiles, scales, st.floats(-3.0, 3.0))
def test_any_scale_of_time(quantile: float, scale: float, away: float) -> None:
    found = quantile_of(lambda t: math.exp(-t / scale), quantile, scale * 10.0**away)
    assert found == close(-math.log1p(-quantile) * scale, rel=1e-13)


@laws
@given(quantiles, st.floats(-8.0, 8.0))
def test_the_returned_end_is_reached_and_just_before_it_is_not(quantile: float, power: float) -> None:
    def tail(time: float) -> float:
        return 0.3 * math.exp(-time) + 0.7 * math.exp(-time * 10.0**power)

    found = quantile_of(tail, quantile, 1.0)
    assert math.log(tail(found)) <= math.log1p(-quantile)
    before = found * (1.0 - 2.0 * CLAIM)
    assert math.log(tail(before)) > math.log1p(-quantile) - 1e-15


@laws
@given(quantiles, st.floats(0.0, 1.0), st.floats(-6.0, 6.0))
def test_few_calls(quantile: float, share: float, away: float) -> None:
    """At most about a hundred, a dozen for an exponential tail."""
    calls = []

    def counted(time: float) -> float:
        calls.append(time)
        return share * math.exp(-time) + (1.0 - share) * math.exp(-1000.0 * time)

    quantile_of(counted, quantile, 10.0**away)
    assert len(calls) <= 80
    assert min(calls) >= 0.0
    calls.clear()
    quantile_of(lambda t: (calls.append(t), math.exp(-t))[1], quantile, -math.log1p(-quantile))
    assert len(calls) <= 20


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.89999, 0.9])
def test_an_atom_at_zero(quantile: float) -> None:
    """P(X = 0) = 0.9: these quantiles are 0 to the last digit, and later ones are not."""
    tail = lambda t: (1.0 - 0.9) * math.exp(-t)  # noqa: E731
    assert quantile_of(tail, quantile, 1.0) == 0.0
    assert quantile_of(tail, 0.95, 1.0) == close(math.log(2.0), rel=1e-13)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1.0, 77.0, 1e200])
@pytest.mark.parametrize("listed", [True, False])
def test_atoms_are_met_exactly(scale: float, listed: bool) -> None:
    """0.2 at 0, 0.3 at 1, 0.3 at 4, and 0.2 e^-(t - 4) beyond it; all times x scale."""

    def tail(time: float) -> float:
        t = time / scale
        if t < 1.0:
            return 0.8
        return 0.5 if t < 4.0 else 0.2 * math.exp(4.0 - t)

    atoms = [4.0 * scale, 1.0 * scale, 9.0 * scale] if listed else []
    for first in (1e-5, 0.9, 1.0, 2.0, 4.0, 30.0):
        for q, expected in (
            (0.1, 0.0),
            (0.3, 1.0),
            (0.499, 1.0),
            (0.51, 4.0),
            (0.79, 4.0),
            (0.9, 4.0 + math.log(2.0)),
        ):
            found = quantile_of(tail, q, first * scale, atoms=atoms)
            if listed and expected in (0.0, 1.0, 4.0):
                assert found == expected * scale
            else:
                assert found == close(expected * scale, rel=1e-13, abs=0.0)


def test_an_atom_that_is_not_the_answer_is_passed_over() -> None:
    def tail(time: float) -> float:
        return math.exp(-time) if time < 2.0 else 0.5 * math.exp(-time)

    for q in (0.1, 0.5, 0.8):
        assert quantile_of(tail, q, 1.0, atoms=[2.0]) == close(-math.log1p(-q), rel=1e-13)
    for q in (0.87, 0.9, 0.93):
        assert quantile_of(tail, q, 1.0, atoms=[0.5, 2.0, 3.0]) == 2.0
    assert quantile_of(tail, 0.99, 1.0, atoms=[2.0]) == close(math.log(50.0), rel=1e-13)


def test_a_flat_piece_ends_at_its_beginning() -> None:
    """inf{t: P(X > t) <= 1 - q}: nothing happens between 1 and 5."""

    def tail(time: float) -> float:
        return 1.0 - 0.75 * min(time, 1.0) if time < 5.0 else 0.25 * math.exp(5.0 - time)

    assert quantile_of(tail, 0.75, 3.0) == close(1.0, rel=1e-13)
    assert quantile_of(tail, 0.75, 3.0, atoms=[4.0]) == close(1.0, rel=1e-13)
    assert quantile_of(tail, 0.76, 3.0) == close(5.0 + math.log(0.25 / 0.24), rel=1e-13)


def test_one_fixed_duration() -> None:
    tail = lambda t: 1.0 if t < 0.7 else 0.0  # noqa: E731
    for q in (0.001, 0.5, 0.9999):
        assert quantile_of(tail, q, 5.0, atoms=[0.7]) == 0.7
        assert quantile_of(tail, q, 1e-4) == close(0.7, rel=1e-13)


def test_a_tail_that_underflows() -> None:
    """exp(-t^3) is 0 beyond t = 9.1; a first scale far out sees only zeros."""
    for first in (1e-9, 1.0, 1e6, 1e150):
        found = quantile_of(lambda t: math.exp(-min(t**3, 800.0)) if t < 1e90 else 0.0, 0.99, first)
        assert found == close(math.log(100.0) ** (1.0 / 3.0), rel=1e-13)
    tiny = quantile_of(lambda t: 0.0 if t > 0.0 else 1.0, 0.5, 1.0)
    assert 0.0 <= tiny < 1e-300


def test_rounding_does_not_miss_an_atom() -> None:
    """1 - 0.9 is a little more than what log1p says of it: quantile 0.9 is the atom that ends there."""
    assert quantile_of(lambda t: 0.1 * math.exp(-t), 0.9, 1.0) == 0.0
    assert quantile_of(lambda t: 1.0 if t < 3.0 else 0.1 * math.exp(3.0 - t), 0.9, 1.0, atoms=[3.0]) == 3.0


def test_atoms_in_any_order_and_at_the_bracket_s_end() -> None:
    steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]

    def tail(time: float) -> float:
        return 1.0 - sum(step <= time for step in steps) / 8.0 if time < 8.0 else 0.0

    for first in (0.1, 1.0, 2.0, 3.0, 4.0, 8.0, 50.0):
        for k, step in enumerate(steps):
            for order in (steps, steps[::-1], steps[3:] + steps[:3]):
                assert quantile_of(tail, (k + 0.5) / 8.0, first, atoms=order) == step


def test_a_tail_that_never_falls_is_refused() -> None:
    for tail in (lambda _: 1.0, lambda _: 0.02):
        with pytest.raises(DomainError, match="does not fall"):
            quantile_of(tail, 0.99, 1.0)


@pytest.mark.parametrize("width", [1e-3, 1e-8, 1e-14])
def test_the_last_bracket_is_as_narrow_as_asked(width: float) -> None:
    for q in (0.1, 0.9, 0.999):
        found = quantile_of(
            lambda t: math.exp(-t) * (1.0 + 0.2 * math.exp(-3.0 * t)) / 1.2, q, 1.0, relative_width=width
        )
        fine = quantile_of(lambda t: math.exp(-t) * (1.0 + 0.2 * math.exp(-3.0 * t)) / 1.2, q, 1.0)
        assert fine * (1.0 - CLAIM) <= found <= fine * (1.0 + 1.01 * width + CLAIM)


@laws
@given(st.floats(1e-300, 1e300))
def test_first_true_is_adjacent(turn: float) -> None:
    high = turn * 8.0
    assert first_true(lambda t: t >= turn, turn / 16.0, high) == turn
    above = first_true(lambda t: t > turn, turn / 16.0, high)
    assert above == math.nextafter(turn, math.inf)


def test_first_true_at_its_ends() -> None:
    assert first_true(lambda _: True, 3.0, 9.0) == 3.0
    assert first_true(lambda _: False, 3.0, 9.0) == 9.0
    assert first_true(lambda t: t >= -2.5, -4.0, 9.0) == -2.5
    assert first_true(lambda t: t * t >= 2.0, 0.0, 1e308) == math.sqrt(2.0)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999])
def test_an_atom_that_ends_at_the_quantile_is_the_answer(quantile: float) -> None:
    """1 - 0.9999 is off 1e-4 by 1e-12 of it, as 0.9999 has its last digit at 1e-16."""
    rest = float(1 - Decimal(repr(quantile)))
    assert in_atom(rest, quantile)
    assert not in_atom(rest * (1.0 + 1e-9), quantile)
    assert in_atom(rest * (1.0 - 1e-9), quantile)
    assert quantile_of(lambda t: rest * math.exp(-t), quantile, 1.0) == 0.0
    assert (
        quantile_of(lambda t: rest * math.exp(2.0 - t) if t >= 2.0 else 1.0, quantile, 1.0, atoms=[2.0])
        == 2.0
    )
    assert quantile_of(lambda t: rest * math.exp(1e-9 - t), quantile, 1.0) == close(1e-9, rel=0.2)
