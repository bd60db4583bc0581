"""The fewest of something that are enough: which numbers are tried, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.search.fewest import fewest_enough, halve_in, is_bracketed


@pytest.mark.parametrize(
    ("enough", "most", "tried", "found"),
    [
        (4, 100, [4], 4),
        (5, 100, [4, 6, 5], 5),
        (12, 100, [4, 6, 10, 18, 14, 12, 11], 12),
        (12, 12, [4, 6, 10, 12, 11], 12),
        (13, 12, [4, 6, 10, 12], None),
        (4, 4, [4], 4),
        (4, 3, [], None),
    ],
)
def test_numbers_grow_by_doubled_steps_and_are_then_halved_in_on(enough, most, tried, found) -> None:
    seen: list[int] = []

    def is_enough(number: int) -> bool:
        seen.append(number)
        return number >= enough

    assert fewest_enough(is_enough, 3, most, step=2) == found
    assert seen == tried


@given(st.integers(1, 300), st.integers(0, 50), st.integers(1, 300), st.integers(1, 4))
def test_the_smallest_that_is_enough_is_found(enough: int, refused: int, most: int, step: int) -> None:
    expected = next((n for n in range(refused + 1, most + 1) if n >= enough), None)
    assert fewest_enough(lambda n: n >= enough, refused, most, step=step) == expected


@given(st.integers(1, 200), st.integers(0, 60), st.integers(1, 60))
def test_halving_ends_at_the_smallest_between_both(enough: int, refused: int, width: int) -> None:
    accepted = refused + width
    expected = min(max(enough, refused + 1), accepted)
    assert halve_in(lambda n: n >= enough, refused, accepted) == expected


def test_no_further_step_is_taken_once_it_may_not_go_on() -> None:
    seen: list[int] = []

    def is_enough(number: int) -> bool:
        seen.append(number)
        return False

    assert fewest_enough(is_enough, 0, 100, may_go_on=lambda: len(seen) < 3) is None
    assert seen == [1, 2, 4]


def fewest_above_doubt(refused: int, enough: int, doubted: int) -> tuple[list[int], int | None]:
    """What was tried and found above a refused number, where numbers are in doubt from another one on."""
    seen: list[int] = []

    def is_enough(number: int) -> bool:
        seen.append(number)
        return number >= enough

    return seen, fewest_enough(is_enough, refused, 1000, is_in_doubt=lambda number: number >= doubted)


def test_above_a_number_in_doubt_no_step_is_finer_than_one_hundredth_of_it() -> None:
    """Between 429, in doubt, and 432 no budget tells which is enough; each would take seconds."""
    assert fewest_above_doubt(398, enough=430, doubted=399) == ([399, 402, 408, 420, 444, 432, 426, 429], 432)


def test_every_number_counts_above_one_that_is_refused_and_in_a_fleet_below_two_hundred() -> None:
    assert fewest_above_doubt(398, enough=430, doubted=1000)[1] == 430
    assert fewest_above_doubt(98, enough=130, doubted=99)[1] == 130
    assert fewest_above_doubt(398, enough=403, doubted=403)[1] == 403


def test_nothing_is_looked_at_between_an_accepted_number_and_one_in_doubt_just_below() -> None:
    assert is_bracketed(432, lambda number: number == 429)
    assert not is_bracketed(432, lambda number: number == 427)
    assert not is_bracketed(32, lambda number: number == 31)
    assert not is_bracketed(1, lambda number: number == 0)


def test_a_judge_that_tells_more_apart_takes_finer_steps_above_a_number_in_doubt() -> None:
    """In parts of a five-hundredth every number counts up to a thousand, and every second one above."""
    assert fewest_enough(lambda n: n >= 432, 398, 1000, is_in_doubt=lambda n: n >= 399, parts=500) == 432
    assert halve_in(lambda n: n >= 1021, 1000, 1032, lambda n: True, 500) == 1022
    assert is_bracketed(1022, lambda n: n == 1020, 500)
    assert not is_bracketed(1024, lambda n: n == 1020, 500)
