"""Tally: exact values, cells of bounded error, marks to the last digit, and tallies that merge."""

import math
from collections import Counter

import numpy as np
import pytest
from cases import NOTHING, values_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from capacity.errors import InputError
from simulations.draws.cells import CELLS, PER_OCTAVE
from simulations.draws.records import Floats
from simulations.statistics import tally as module
from simulations.statistics.reduction import EXACT_REQUESTS_MAX, Reduction
from simulations.statistics.sample import Length, Sample
from simulations.statistics.tally import (
    EXACT_MAX,
    RELATIVE_ERROR_MAX,
    ROUNDING,
    Cells,
    Counters,
    Tally,
    snapped,
)

QUANTILES = st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999])
# Twelve orders of magnitude, evenly by their logarithm.
DURATIONS_S = st.floats(-6.0, 6.0).map(lambda exponent: 10.0**exponent)


@njit
def count_all(counters: Cells, durations_s: Floats, rounding_s: float) -> None:
    """What a reduction does with a long run."""
    for duration_s in durations_s:
        module.count_in(counters, 0, duration_s, rounding_s)


@njit
def cell_of(duration_s: float) -> int:
    return module.cell_of(duration_s)


def counted(durations_s: Floats | list[float], marks_s: Floats = NOTHING, rounding_s: float = 0.0) -> Tally:
    """Durations that were counted in cells as they came."""
    durations_s = np.asarray(durations_s, dtype=float)
    counters = Counters(marks_s)
    count_all(counters.arrays, durations_s, rounding_s)
    return counters.tally(float(durations_s.sum()), int(np.count_nonzero(durations_s == 0.0)))


def gathered(durations_s: Floats | list[float], marks_s: Floats = NOTHING) -> Tally:
    """An exact tally of durations put into cells afterwards."""
    return Tally.of(np.asarray(durations_s, dtype=float), marks_s).in_cells()


def assert_same(one: Tally, other: Tally) -> None:
    assert one.values_s.tolist() == other.values_s.tolist()
    assert one.counts.tolist() == other.counts.tolist()
    assert one.total_s == pytest.approx(other.total_s, rel=1e-12)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]) | st.floats(0.0, 9.0), min_size=1, max_size=200),
    QUANTILES,
)
def test_the_quantile_of_an_exact_tally_is_numpys_inverted_cdf(values: list[float], quantile: float) -> None:
    tally = Tally.of(np.array(values), NOTHING)
    assert tally.quantile_s(quantile) == np.quantile(np.array(values), quantile, method="inverted_cdf")
    assert values_of(tally) == sorted(values)
    assert tally.count == len(values)
    assert tally.positive == np.count_nonzero(values)
    assert tally.total_s == pytest.approx(math.fsum(values))
    assert tally.share_above(1.0) == np.mean(np.array(values) > 1.0)


@given(st.lists(st.integers(0, 9), unique=True) | st.lists(st.integers(0, 3)))
def test_values_are_counted_as_often_as_they_come(values: list[int]) -> None:
    tally = Tally.of(np.array(values, dtype=float), NOTHING)
    assert dict(zip(tally.values_s.tolist(), tally.counts.tolist(), strict=True)) == Counter(values)
    assert tally.values_s.tolist() == sorted(set(values))


def test_an_atom_comes_out_exactly() -> None:
    tally = Tally.of(np.array([0.1 + 0.2] * 99 + [7.0]), NOTHING)
    assert tally.quantile_s(0.5) == 0.1 + 0.2
    assert tally.quantile_s(0.99) == 0.1 + 0.2
    assert tally.quantile_s(0.995) == 7.0


@pytest.mark.parametrize("quantile", [0.07, 0.28, 0.55, 0.56, 0.57, 0.99])
@pytest.mark.parametrize("times", [1, 1000])
def test_the_rank_does_not_rise_by_rounding(quantile: float, times: int) -> None:
    """0.07 x 100 is 7.000000000000001 in floating point; the share of 7 % is the 7th."""
    tally = Tally.of(np.repeat(np.arange(1.0, 101.0), times), NOTHING)
    assert tally.quantile_s(quantile) == round(100 * quantile)


def test_the_lowest_quantile_is_the_smallest_value_and_the_highest_the_largest() -> None:
    tally = Tally.of(np.array([3.0, 1.0, 2.0]), NOTHING)
    assert tally.quantile_s(1e-12) == 1.0
    assert tally.quantile_s(1.0) == 3.0


def test_a_share_above_is_strictly_above() -> None:
    assert Tally.of(np.array([1.0, 2.0, 2.0, 3.0]), NOTHING).share_above(2.0) == 0.25


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.just(0.0) | DURATIONS_S, min_size=1, max_size=60), QUANTILES)
def test_cells_are_within_the_relative_error_of_every_value(durations_s, quantile) -> None:
    exact, cells = Tally.of(np.array(durations_s), NOTHING), counted(durations_s)
    assert cells.count == exact.count
    assert cells.positive == exact.positive
    for found_s, true_s in zip(values_of(cells), values_of(exact), strict=True):
        assert abs(found_s - true_s) <= RELATIVE_ERROR_MAX * true_s
    true_s = exact.quantile_s(quantile)
    assert abs(cells.quantile_s(quantile) - true_s) <= RELATIVE_ERROR_MAX * true_s
    assert_same(cells, gathered(durations_s))


@given(DURATIONS_S)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_a_cell_is_a_1024th_of_an_octave(duration_s: float) -> None:
    """By logarithm and division, a second road: the octave begins at 2^exponent."""
    mantissa, exponent = math.frexp(duration_s)
    place = math.floor((2.0 * mantissa - 1.0) * PER_OCTAVE)
    assert cell_of(duration_s) == 1 + (exponent - 1 + 40) * PER_OCTAVE + place


@pytest.mark.parametrize("exponent", [-40, -39, -3, 0, 5, 23])
def test_a_power_of_two_begins_a_cell(exponent: int) -> None:
    edge_s = 2.0**exponent
    assert cell_of(edge_s) == cell_of(float(np.nextafter(edge_s, 0.0))) + 1


def test_what_is_shorter_than_a_picosecond_shares_a_cell_and_is_not_0() -> None:
    tally = counted([0.0, 1e-300, 5e-324, 1e-13, 0.0])
    assert tally.counts.tolist() == [2, 3]
    assert (tally.values_s[0], tally.positive) == (0.0, 3)
    assert 0.0 < tally.values_s[1] < 2.0**-40
    assert_same(tally, gathered([0.0, 1e-300, 5e-324, 1e-13, 0.0]))


def test_what_is_longer_than_half_a_year_shares_a_cell() -> None:
    huge_s = [2.0**24 * (1.0 - 1e-4), 2.0**24, 1e9, 1e300]
    tally = counted(huge_s)
    assert tally.counts.tolist() == [4]
    assert tally.values_s[0] == pytest.approx(2.0**24, rel=1e-3)
    assert [cell_of(duration_s) for duration_s in huge_s] == [CELLS - 1] * 4
    assert_same(tally, gathered(huge_s))


@pytest.mark.parametrize("duration_s", [1e-13, 2.0**24 * (1.0 - 1e-4), 2.0**24, 1e9])
def test_marks_beyond_the_cells_are_exact_too(duration_s: float) -> None:
    near_s = [duration_s * (1.0 - 1e-9), duration_s, duration_s, duration_s * (1.0 + 1e-9)]
    marks_s = np.array([duration_s])
    for tally in (counted(near_s, marks_s), gathered(near_s, marks_s)):
        assert tally.counts[tally.values_s == duration_s].tolist() == [2]
        assert tally.share_above(duration_s) == 0.25


@st.composite
def marked(draw: st.DrawFn) -> tuple[list[float], Floats]:
    """Marks, at the edges of cells too, and durations that are marks, beside them, or in their cells."""
    mark = DURATIONS_S | st.integers(-12, 12).map(lambda exponent: 2.0**exponent) | st.just(1.0 + 1.0 / 4096)
    marks_s = np.unique(draw(st.lists(mark, min_size=1, max_size=4)))
    near = st.sampled_from([0.0, 0.0, 1e-12, -1e-12, 1e-9, -1e-9, 1e-4, -1e-4, 1e-3, -1e-3])
    at_mark = st.builds(lambda mark_s, share: mark_s * (1.0 + share), st.sampled_from(marks_s.tolist()), near)
    return draw(st.lists(at_mark | st.just(0.0) | DURATIONS_S, min_size=1, max_size=60)), marks_s


@settings(derandomize=True, deadline=None, max_examples=200)
@given(marked())
@example(([1.0, 1.0 - 2.0**-53, 1.0 + 2.0**-52], np.array([1.0])))
@example(([1.0, 1.0 + 2.0**-11, 1.0 + 2.0**-10], np.array([1.0, 1.0 + 2.0**-11, 1.0 + 2.0**-10])))
def test_marks_come_back_to_the_last_digit_and_a_share_above_one_is_exact(case) -> None:
    durations_s, marks_s = case
    exact = Counter(durations_s)
    for tally in (counted(durations_s, marks_s), gathered(durations_s, marks_s)):
        seen = dict(zip(tally.values_s.tolist(), tally.counts.tolist(), strict=True))
        for mark_s in [0.0, *marks_s.tolist()]:
            assert seen.get(mark_s, 0) == exact[mark_s]
            assert tally.share_above(mark_s) == np.mean(np.array(durations_s) > mark_s)
        assert tally.count == len(durations_s)
        for found_s, true_s in zip(values_of(tally), sorted(durations_s), strict=True):
            assert abs(found_s - true_s) <= 2.0 * RELATIVE_ERROR_MAX * true_s
    assert_same(counted(durations_s, marks_s), gathered(durations_s, marks_s))


@pytest.mark.parametrize("mark_s", [1.0, 0.75, 0.3, 2.0**-7, 1.0 + 1.0 / PER_OCTAVE, 100.0])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_what_is_a_mark_but_for_the_clocks_rounding_becomes_it(mark_s: float, side: float) -> None:
    """Within the rounding it is the mark, on either side of the edge of a cell; beyond it is not."""
    rounding_s, marks_s = 1e-9 * mark_s, np.array([mark_s])
    within_s = np.array([mark_s, mark_s + side * 0.9 * rounding_s])
    beyond_s = np.array([mark_s + side * 1.1 * rounding_s])
    for of in (counted, Tally.of):
        assert values_of(of(within_s, marks_s, rounding_s)) == [mark_s, mark_s]
        tally = of(beyond_s, marks_s, rounding_s)
        assert tally.share_above(mark_s) == (side > 0.0)
        assert values_of(tally) != [mark_s]


def test_of_two_marks_the_nearer_one_attracts() -> None:
    marks_s = np.array([1.0, 1.0 + 1e-9])
    near_s = np.array([1.0 + 0.4e-9, 1.0 + 0.6e-9, 1.0 - 0.4e-9, 1.0 + 1.4e-9])
    assert snapped(near_s, marks_s, 0.45e-9).tolist() == [marks_s[0], marks_s[1], marks_s[0], marks_s[1]]
    assert snapped(near_s, marks_s, 0.3e-9).tolist() == near_s.tolist()
    assert snapped(near_s, NOTHING, 1.0).tolist() == near_s.tolist()


@settings(derandomize=True, deadline=None, max_examples=80)
@given(marked(), st.lists(st.integers(0, 60), min_size=1, max_size=3), st.sampled_from(["exact", "cells"]))
def test_merged_tallies_are_the_tally_of_all(case, cuts, form) -> None:
    durations_s, marks_s = case
    of = Tally.of if form == "exact" else counted
    parts = [of(part, marks_s) for part in np.split(np.array(durations_s), sorted(cuts))]
    whole = of(np.array(durations_s), marks_s)
    assert_same(Tally.merged(parts), whole)
    assert_same(Tally.merged([parts[0], Tally.merged(parts[1:])]), whole)
    assert_same(Tally.merged(parts[::-1]), whole)
    assert Tally.merged(parts).marks_s.tolist() == marks_s.tolist()


def test_an_exact_tally_and_one_in_cells_merge() -> None:
    """What is exact comes into the cells as soon as there are too many values, and stays a mark if it was one."""
    merged = Tally.merged(
        [counted([1.0, 1.1], np.array([1.0])), Tally.of(np.array([1.0, 0.0]), np.array([1.0]))]
    )
    assert merged.counts[:2].tolist() == [1, 2]
    assert merged.values_s[:2].tolist() == [0.0, 1.0]
    assert merged.count == 4


def test_too_many_values_go_over_to_cells_as_if_they_had_been_counted_there() -> None:
    generator = np.random.default_rng(8)
    marks_s = np.array([0.5, 1.0, 1.2345])
    durations_s = np.concatenate(
        [generator.standard_exponential(EXACT_MAX), np.repeat(marks_s, 500), np.zeros(700)]
    )
    generator.shuffle(durations_s)
    halves = np.array_split(durations_s, 2)
    one, other = (Tally.of(half, marks_s) for half in halves)
    assert_same(Tally.of(durations_s, marks_s), counted(durations_s, marks_s))
    assert_same(Tally.merged([one, other]), counted(durations_s, marks_s))
    again = Tally.merged([Tally.merged([one, other]), one])  # cells and exact values
    thrice_s = np.sort(np.concatenate([durations_s, halves[0]]))
    assert values_of(again) == pytest.approx(thrice_s, rel=2.0 * RELATIVE_ERROR_MAX, abs=0.0)
    for mark_s in marks_s:
        assert again.share_above(mark_s) == np.mean(thrice_s > mark_s)


def test_as_many_values_as_may_be_stay_exact() -> None:
    assert len(Tally.of(np.arange(float(EXACT_MAX)), NOTHING).values_s) == EXACT_MAX
    assert len(Tally.of(np.arange(EXACT_MAX + 1.0), NOTHING).values_s) < EXACT_MAX


def run_of(count: int, seed: int = 2) -> tuple[Floats, Floats, Floats, np.ndarray]:
    """Made-up requests: some lost, in batches of up to 3, a third of them without a wait."""
    generator = np.random.default_rng(seed)
    arrived_s = np.cumsum(generator.standard_exponential(count))
    started_s = arrived_s + generator.choice([0.0, 0.5, 1.0], count) * generator.choice([1.0, 1.7], count)
    size = generator.integers(0, 4, count)
    return arrived_s, started_s, started_s + generator.choice([0.25, 2.0, 2.1], count), size


def reduce_in_parts(columns: tuple[np.ndarray, ...], length: Length, parts: int, marks_s: Floats) -> Sample:
    reduction = Reduction(length, len(columns[0]), 0.125, marks_s, marks_s + 0.125)
    for places in np.array_split(np.arange(len(columns[0])), parts):
        reduction.add(*(column[places] for column in columns))
    return reduction.sample()


@pytest.mark.parametrize("exact_max", [EXACT_MAX, 100], ids=["exact", "in cells"])
@pytest.mark.parametrize("parts", [1, 2, 7, 300])
def test_a_reduction_is_by_hand_what_it_is_in_parts_of_any_size(parts, exact_max, monkeypatch) -> None:
    monkeypatch.setattr("simulations.statistics.reduction.EXACT_REQUESTS_MAX", exact_max)
    columns, length, marks_s = (
        run_of(600),
        Length(warm_up=91, measured=471, cool_down=38),
        np.array([2.0, 2.5]),
    )
    arrived_s, started_s, finished_s, size = (column[91:562] for column in columns)
    sample, served = reduce_in_parts(columns, length, parts, marks_s), size > 0
    response_s = (finished_s - arrived_s + 0.125)[served]
    assert sample.lost == np.count_nonzero(size == 0)
    assert sample.counted == np.count_nonzero(served)
    assert sample.responses.total_s == np.cumsum(response_s)[-1]
    assert sample.waits.total_s == np.cumsum((started_s - arrived_s)[served])[-1]
    assert sample.waits.positive == np.count_nonzero((started_s > arrived_s) & served)
    assert sample.busy_s == pytest.approx(np.sum((finished_s - started_s)[served] / size[served]))
    assert sample.batches == pytest.approx(np.sum(1.0 / size[served]))
    assert sample.window_s == (arrived_s[-1] - arrived_s[0]) * 471 / 470
    assert sample.batch_size_largest == 3
    first_half = np.count_nonzero(served[: (91 + 562) // 2 - 91])
    (rise_s,) = sample.rises_s
    assert rise_s == pytest.approx(response_s[first_half:].mean() - response_s[:first_half].mean())
    for tally, values_s, marks in (
        (sample.waits, (started_s - arrived_s)[served], [0.0, 2.0, 2.5]),
        (sample.responses, response_s, [2.125, 2.625]),
    ):
        for mark_s in marks:
            near = np.abs(values_s - mark_s) <= ROUNDING * columns[0][-1]
            assert tally.counts[tally.values_s == mark_s].sum() == np.count_nonzero(near)
        error = 0.0 if exact_max == EXACT_MAX else 2.0 * RELATIVE_ERROR_MAX
        assert values_of(tally) == pytest.approx(np.sort(values_s), rel=error, abs=1e-12)


def test_the_largest_batch_is_that_of_the_whole_run() -> None:
    arrived_s, started_s, finished_s, size = run_of(100)
    size[:] = 1
    size[3], size[99] = 5, 7  # in the warm-up and in the cool-down
    columns, length = (arrived_s, started_s, finished_s, size), Length(warm_up=10, measured=80, cool_down=10)
    assert reduce_in_parts(columns, length, 3, NOTHING).batch_size_largest == 7


def test_no_more_than_half_of_a_short_run_is_warm_up() -> None:
    columns = run_of(100)
    columns[3][:] = 1
    sample = reduce_in_parts(columns, Length(warm_up=80, measured=110, cool_down=10), 1, NOTHING)
    assert sample.counted == 45


def test_a_run_that_is_no_shorter_than_asked_keeps_its_warm_up() -> None:
    columns = run_of(100)
    columns[3][:] = 1
    sample = reduce_in_parts(columns, Length(warm_up=80, measured=10, cool_down=10), 1, NOTHING)
    assert sample.counted == 10


def test_a_response_of_zero_is_zero_in_cells() -> None:
    count = EXACT_REQUESTS_MAX + 1
    instants_s = np.arange(count) * 1.0
    reduction = Reduction(Length(warm_up=0, measured=count, cool_down=0), count, 0.0, NOTHING, NOTHING)
    reduction.add(instants_s, instants_s, instants_s, np.ones(count, dtype=np.int64))
    responses = reduction.sample().responses
    assert not responses.is_exact
    assert (responses.count, responses.positive, responses.quantile_s(0.999)) == (count, 0, 0.0)


def test_requests_at_one_instant_need_a_window_from_elsewhere() -> None:
    reduction = Reduction(Length(warm_up=1, measured=2, cool_down=0), 3, 0.0, NOTHING, NOTHING)
    arrived_s = np.array([0.0, 1.0, 1.0])
    reduction.add(arrived_s, arrived_s, arrived_s + 0.5, np.ones(3, dtype=np.int64))
    with pytest.raises(InputError, match="all 2 counted requests arrive at one instant; a rate needs more"):
        reduction.sample()
    assert reduction.sample(9.0).window_s == 9.0


def test_a_run_whose_counted_requests_are_all_rejected_is_refused() -> None:
    reduction = Reduction(Length(warm_up=1, measured=2, cool_down=0), 3, 0.0, NOTHING, NOTHING)
    arrived_s = np.array([0.0, 1.0, 2.0])
    reduction.add(arrived_s, arrived_s, arrived_s + 0.5, np.array([1, 0, 0]))
    with pytest.raises(InputError, match="all 2 counted requests are rejected; allow more of them to wait"):
        reduction.sample()


def test_the_repr_of_a_sample_leaves_out_its_durations() -> None:
    columns = run_of(100)
    columns[3][:] = 1
    shown = repr(reduce_in_parts(columns, Length(warm_up=10, measured=80, cool_down=10), 1, NOTHING))
    assert shown.startswith("Sample(window_s=")
    assert not any(word in shown for word in ("Tally", "rises_s"))


def test_a_mixture_adds_weights_of_equal_values_and_leaves_out_what_has_none() -> None:
    tallies = [
        Tally.of(np.array(values_s), NOTHING) for values_s in ([1.0, 2.0, 2.0], [2.0, 3.0], [0.5, 4.0])
    ]
    mixed = Tally.mixed(tallies, [0.5, 2.0, 0.0])
    assert mixed.values_s.tolist() == [1.0, 2.0, 3.0]
    assert mixed.counts.tolist() == [0.5, 3.0, 2.0]
    assert mixed.total_s == 0.5 * 5.0 + 2.0 * 5.0
