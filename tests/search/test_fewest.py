"""The fewest of something that are enough: which numbers are tried, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.search.fewest import fewest_enough, halve_in


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
def test_numbers_grow_by_doubled_steps_and_are_then_halved_in_on(
    enough: int, most: int, tried: list[int], found: int | None
) -> None:
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
