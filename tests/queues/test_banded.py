"""Stationary laws of banded chains against rational arithmetic, dense linear algebra and known laws."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammainc, gammaincc, gammaln

from capacity.queues.numerics.chains import (
    _onward,
    at_least_between,
    at_least_between_run,
    likely_counts,
    pmf,
    pmf_run,
    tails_run,
)
from capacity.queues.numerics.chains import banded_stationary as stationary

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # pytest's own abs would pass any small number
laws = settings(derandomize=True, deadline=None, max_examples=60)


def full(rows: list[np.ndarray], last: int, down: int) -> np.ndarray:
    """The chain as a dense matrix, what leads beyond `last` put on `last`."""
    matrix = np.zeros((last + 1, last + 1))
    for i, steps in enumerate(rows):
        for k, step in enumerate(steps):
            matrix[i, min(last, max(0, i - down) + k)] += step
    return matrix


def by_fractions(matrix: np.ndarray) -> list[Fraction]:
    """The law by Gauss's elimination in rational numbers, without a rounding."""
    size = len(matrix)
    system = [[Fraction(float(matrix[i, j])) for i in range(size)] for j in range(size)]
    for j in range(size):  # the diagonal from the rest of the row: floats need not sum to 1
        system[j][j] = -sum(Fraction(float(matrix[j, i])) for i in range(size) if i != j)
    system[0] = [Fraction(1)] * size
    right = [Fraction(1)] + [Fraction(0)] * (size - 1)
    for k in range(size):
        pivot = next(i for i in range(k, size) if system[i][k] != 0)
        system[k], system[pivot] = system[pivot], system[k]
        right[k], right[pivot] = right[pivot], right[k]
        for i in range(k + 1, size):
            if system[i][k] != 0:
                share = system[i][k] / system[k][k]
                system[i] = [a - share * b for a, b in zip(system[i], system[k], strict=True)]
                right[i] -= share * right[k]
    for k in range(size - 1, -1, -1):
        right[k] = (right[k] - sum(system[k][i] * right[i] for i in range(k + 1, size))) / system[k][k]
    return right


def drawn(seed: int, last: int, down: int, up: int, spread: float) -> list[np.ndarray]:
    """Random rows of full bands, their probabilities some orders of magnitude apart."""
    source = np.random.default_rng(seed)
    rows = []
    for i in range(last + 1):
        steps = 10.0 ** source.uniform(-spread, 0.0, size=i + up - max(0, i - down) + 1)
        rows.append(steps / steps.sum())
    return rows


@laws
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.5, 6.0, 30.0]),
)
def test_every_entry_is_right_to_the_last_digits(seed, last, down, up, spread) -> None:
    """However far apart probabilities lie, and where the band is wider than the chain, too."""
    rows = drawn(seed, last, down, up, spread)
    law = stationary(lambda i: rows[i], last=last, down=down, up=up)
    exact = by_fractions(full(rows, last, down))
    assert law.shape == (last + 1,)
    for value, truth in zip(law, exact, strict=True):
        assert abs(Fraction(float(value)) / truth - 1) < 1e-13


@laws
@given(st.integers(0, 10**6), st.integers(20, 90), st.integers(1, 8), st.integers(1, 8))
def test_dense_linear_algebra(seed: int, last: int, down: int, up: int) -> None:
    rows = drawn(seed, last, down, up, 1.0)
    law = stationary(lambda i: rows[i], last=last, down=down, up=up)
    matrix = full(rows, last, down)
    system = matrix.T - np.eye(last + 1)
    system[0] = 1.0
    dense = np.linalg.solve(system, np.eye(last + 1)[0])
    assert law == close(dense, rel=1e-6, abs=1e-12)
    assert law.sum() == close(1.0, rel=1e-14)
    assert (law > 0.0).all()
    assert law @ matrix == close(law, rel=1e-12)  # entry by entry


@pytest.mark.parametrize("rho", [1e-6, 0.3, 0.999])
def test_births_and_deaths_fall_geometrically_to_the_smallest_double(rho: float) -> None:
    law = stationary(
        lambda i: np.array([0.5, rho / 2.0] if i == 0 else [0.5, 0.0, rho / 2.0]), last=50, down=1, up=1
    )
    total = math.fsum(rho**k for k in range(51))
    for k in range(51):
        if rho**k > 1e-290:
            assert law[k] == close(rho**k / total, rel=1e-13)


def test_poisson_by_births_and_deaths() -> None:
    load = 40.0
    law = stationary(
        lambda i: np.array([0.0, load] if i == 0 else [float(i), 0.0, load]), last=200, down=1, up=1
    )
    k = np.arange(201)
    assert law == close(np.exp(k * math.log(load) - load - gammaln(k + 1.0)), rel=1e-11)


@pytest.mark.parametrize(("down", "up"), [(1, 1), (2, 3), (5, 1)])
def test_probability_that_climbs_past_the_range_of_a_double(down: int, up: int) -> None:
    """The law rises by 1e3 or more a state: 1e-300 and less at the bottom, and nothing overflows."""

    def row(i: int) -> np.ndarray:
        steps = np.zeros(i + up - max(0, i - down) + 1)
        steps[-1], steps[0] = 1.0, 1e-3 if i else 0.0
        return steps

    last = 240
    law = stationary(row, last=last, down=down, up=up)
    assert np.isfinite(law).all()
    assert law.sum() == close(1.0, rel=1e-14)
    top = stationary(lambda i: _shifted(row, i, last, down, up), last=40, down=down, up=up)
    assert law[-20:] == close(top[-20:], rel=1e-9)


def _shifted(row, i: int, last: int, down: int, up: int) -> np.ndarray:
    """The chain's top 41 states alone: what would lead below them goes to the lowest."""
    steps = row(i + last - 40)
    missing = max(0, down - i)
    return np.concatenate([[steps[: missing + 1].sum()], steps[missing + 1 :]]) if missing else steps


def test_a_hundred_servers_of_fixed_service_have_a_tiny_but_right_idle_state() -> None:
    """M/D/100 at load 90: P(N = 0) = P(nobody waits) e^-90, which a division by P(N = 0) := 1 would lose."""
    load, servers = 90.0, 100
    k = np.arange(260)
    steps = np.exp(k * math.log(load) - load - gammaln(k + 1.0))
    law = stationary(lambda _: steps, last=700, down=servers, up=len(steps))
    assert law[0] == close(law[: servers + 1].sum() * math.exp(-load), rel=1e-11)
    assert law[1] / law[0] > 90.0 - 1e-9  # those who came, and who waited: p_1 = P(0 wait) e^-a a + ...
    assert law[:servers].sum() == close(1.0 - law[servers:].sum(), rel=1e-12)
    assert float(np.arange(701) @ law) > load


@laws
@given(
    st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 5), st.integers(1, 5), st.floats(-200.0, 200.0)
)
def test_rates_do_as_well_as_probabilities_and_staying_does_not_matter(seed, last, down, up, power) -> None:
    rows = drawn(seed, last, down, up, 2.0)
    scale = 2.0 ** round(power)

    def faster(i: int) -> np.ndarray:
        steps = rows[i] * scale
        steps[min(i, down)] = 0.0
        return steps

    law = stationary(lambda i: rows[i], last=last, down=down, up=up)
    assert stationary(faster, last=last, down=down, up=up) == close(law, rel=1e-12)


@laws
@given(st.integers(0, 10**6), st.integers(2, 20), st.integers(1, 5), st.integers(1, 5))
def test_a_wider_band_than_needed_changes_nothing(seed: int, last: int, down: int, up: int) -> None:
    rows = drawn(seed, last, down, up, 2.0)
    law = stationary(lambda i: rows[i], last=last, down=down, up=up)

    def padded(i: int) -> np.ndarray:
        front = max(0, i - down) - max(0, i - down - 2)
        return np.concatenate([np.zeros(front), rows[i], np.zeros(3)])

    assert stationary(padded, last=last, down=down + 2, up=up + 3) == close(law, rel=1e-13)


def test_rows_shorter_than_the_band_and_what_leads_beyond_the_last() -> None:
    matrix = np.array([[0.5, 0.2, 0.3], [0.6, 0.4, 0.0], [0.1, 0.2, 0.7]])
    rows = [np.array([0.5, 0.2, 0.1, 0.2]), np.array([0.6, 0.4]), np.array([0.1, 0.2, 0.3, 0.4])]
    law = stationary(lambda i: rows[i], last=2, down=2, up=4)
    assert law @ matrix == close(law, rel=1e-14)
    assert law == close([float(p) for p in by_fractions(matrix)], rel=1e-14)


def test_states_that_are_left_for_good_have_no_probability() -> None:
    """From 0 and 1 the chain moves up to {2, 3}, and never comes back."""
    rows = [
        np.array([0.5, 0.5]),
        np.array([0.2, 0.3, 0.5]),
        np.array([0.0, 0.0, 0.4, 0.6]),
        np.array([0.0, 0.3, 0.7]),
    ]
    law = stationary(lambda i: rows[i], last=3, down=2, up=1)
    assert law == close([0.0, 0.0, 1.0 / 3.0, 2.0 / 3.0], rel=1e-14)


def test_a_way_down_that_underflows_leaves_what_lies_above() -> None:
    """Steps down of 5e-324 times 1e-3 vanish at state 5; the law above it is the whole law."""

    def row(i: int) -> np.ndarray:
        if i == 0:
            return np.array([0.0, 1.0])
        return np.array([0.0 if i == 5 else 0.5, 0.0, 0.25])

    law = stationary(row, last=30, down=1, up=1)
    expected = np.array([0.0] * 5 + [0.5**k for k in range(26)])
    assert law == close(expected / expected.sum(), rel=1e-13)


def test_two_states() -> None:
    law = stationary(
        lambda i: np.array([0.75, 0.25]) if i == 0 else np.array([0.5, 0.5]), last=1, down=1, up=1
    )
    assert law == close([2.0 / 3.0, 1.0 / 3.0], rel=1e-15)


@pytest.mark.parametrize(
    ("last", "down", "up"), [(150, 40, 64), (200, 32, 150), (90, 130, 33), (129, 128, 128)]
)
@pytest.mark.parametrize("spread", [1.0, 12.0])
def test_by_blocks_as_one_by_one(last, down, up, spread, monkeypatch) -> None:
    rows = drawn(7, last, down, up, spread)
    by_blocks = stationary(rows.__getitem__, last, down, up)
    monkeypatch.setattr("capacity.queues.numerics.chains._BLOCK_MIN", 10_000)
    assert by_blocks == close(stationary(rows.__getitem__, last, down, up))


@pytest.mark.parametrize("bottom", [0, 70, 100])
def test_blocks_end_where_nothing_leads_below(bottom: int) -> None:
    """From `bottom` on steps lead anywhere down to it, and below it nowhere but up."""
    size = 200

    def row(i: int) -> np.ndarray:
        steps = np.zeros(min(size, i + 65) - max(0, i - 64))
        steps[min(max(0, bottom - max(0, i - 64)), len(steps) - 1) :] = 1.0
        return steps / steps.sum()

    law = stationary(row, size - 1, 64, 64)
    assert (law[:bottom] == 0.0).all()
    dense = full([row(i) for i in range(size)], size - 1, 64)
    assert law @ dense == pytest.approx(law, rel=1e-11, abs=1e-300)
    assert law[bottom:].min() > 0.0


def test_within_a_block_a_law_may_grow_beyond_all_doubles() -> None:
    """From states that are all but never left downwards; those below are scaled down to nothing instead."""
    below, visits = np.array([1.0, 1.0]), np.array([[1.5e308, 1e300], [1.5e308, 1e300]])
    block = _onward(below, visits)
    assert block[1] / block[0] == close(1e300 / 1.5e308)
    assert block[1] / below[1] == close(2e300)


# Poisson counts, one after the other.

MEANS = np.array([[0.0], [1e-9], [0.3], [7.0], [160.0], [1031.5]])


def test_a_run_of_counts_has_the_probabilities_of_each() -> None:
    run = pmf_run(-3, 1500, MEANS)
    assert (run == pmf(np.arange(-3, 1497), MEANS)).all()
    assert (run[:, :3] == 0.0).all()
    assert (pmf_run(-3, 2, 1.0) == [0.0, 0.0]).all()
    assert (pmf_run(40, 7, 50.0) == run_of_one(40, 7, 50.0)).all()
    far = pmf_run(1_200_000, 3, 1.2e6)  # beyond the table of factorials
    assert far == pytest.approx(1.0 / math.sqrt(2.0 * math.pi * 1.2e6), rel=1e-5)


def run_of_one(first: int, count: int, mean: float) -> np.ndarray:
    return np.array([float(pmf(k, mean)) for k in range(first, first + count)])


@pytest.mark.parametrize("first", [1, 150, 900])
def test_tails_of_a_run_are_incomplete_gamma_functions(first: int) -> None:
    above, fewer = tails_run(first, 300, MEANS)
    counts = np.arange(first, first + 300)
    for found, known in ((above, gammainc(counts, MEANS)), (fewer, gammaincc(counts, MEANS))):
        seen = known > 1e-290
        assert found[seen] == pytest.approx(known[seen], rel=3e-12, abs=0.0)


@pytest.mark.parametrize("low", [0.0, 0.9, 0.999999])
def test_what_comes_between_two_times_keeps_its_digits_in_a_run(low: float) -> None:
    found = at_least_between_run(1, 1200, low * MEANS[1:], MEANS[1:])
    known = at_least_between(np.arange(1, 1201), low * MEANS[1:], MEANS[1:])
    seen = known > 1e-290
    assert found[seen] == pytest.approx(known[seen], rel=1e-11 if low < 0.99 else 1e-6, abs=0.0)


@pytest.mark.parametrize("mean", [0.0, 0.02, 5.0, 160.0, 1031.5, 2e6])
def test_hardly_any_count_lies_beyond_the_likely_ones(mean: float) -> None:
    fewest, most = likely_counts(mean, mean)
    assert gammainc(most + 1.0, mean) < 1e-31
    assert fewest <= 0 or gammaincc(fewest, mean) < 1e-31
    assert likely_counts(mean, 2.0 * mean) == (fewest, likely_counts(2.0 * mean, 2.0 * mean)[1])
