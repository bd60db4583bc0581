"""Tournament, heap of returns and sorted vector: the compiled structures against plain Python."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from simulations.draws.records import Floats
from simulations.kernel import state as returns
from simulations.kernel.recursion import _busy_until, _ends_at
from simulations.routing import tournament

FEW = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, math.inf])  # so that many are equal
FINITE = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]) | st.floats(0.0, 9.0)


# Inlined functions live in compiled ones alone; what follows makes them callable from here.


@njit
def smallest(tree: Floats) -> float:
    return tournament.smallest(tree)


@njit
def at(tree: Floats, index: int) -> float:
    return tournament.at(tree, index)


@njit
def change(tree: Floats, index: int, value: float) -> None:
    tournament.change(tree, index, value)


@njit
def leftmost(tree: Floats) -> int:
    return tournament.leftmost(tree)


@njit
def next_return_s(heap: Floats) -> float:
    return returns.next_return_s(heap)


@njit
def come_back(heap: Floats, instant_s: float) -> None:
    returns.come_back(heap, instant_s)


@njit
def take_earliest(heap: Floats) -> None:
    returns.take_earliest(heap)


@njit
def busy_until(free_s: Floats, finish_s: float) -> None:
    _busy_until(free_s, finish_s)


@njit
def ends_at(free_s: Floats, instant_s: float) -> bool:
    return _ends_at(free_s, instant_s)


def assert_is_tournament_of(tree: Floats, values: list[float]) -> None:
    assert smallest(tree) == min(values)
    assert leftmost(tree) == values.index(min(values))
    assert [at(tree, index) for index in range(len(values))] == values


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(FEW | st.floats(0.0, 9.0), min_size=1, max_size=40), st.data())
def test_a_tournament_knows_the_smallest_and_the_first_of_equals(values, data) -> None:
    tree = tournament.tournament(np.array(values))
    assert_is_tournament_of(tree, values)
    changes = st.tuples(st.integers(0, len(values) - 1), FEW | st.floats(0.0, 9.0))
    for index, value in data.draw(st.lists(changes, max_size=20)):
        change(tree, index, value)
        values[index] = value
        assert_is_tournament_of(tree, values)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 1000])
def test_a_tournament_has_a_power_of_two_of_leaves(count: int) -> None:
    """The least that holds them all; of infinite values the first is the smallest."""
    tree = tournament.tournament(np.full(count, np.inf))
    leaves = len(tree) // 2
    assert leaves & (leaves - 1) == 0
    assert leaves // 2 < count <= leaves
    assert leftmost(tree) == 0


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.none() | FINITE, max_size=80))
def test_returns_come_in_the_order_of_a_heap(steps: list[float | None]) -> None:
    """A number comes back, None takes the earliest."""
    heap, expected = np.zeros(1 + len(steps)), []
    for step in steps:
        if step is not None:
            come_back(heap, step)
            heapq.heappush(expected, step)
        elif expected:
            take_earliest(heap)
            heapq.heappop(expected)
        assert next_return_s(heap) == (expected[0] if expected else math.inf)
        assert heap[0] == len(expected)
    assert sorted(heap[1 : 1 + len(expected)].tolist()) == sorted(expected)


@pytest.mark.parametrize("users", [1, 2, 3, 10, 100])
def test_first_requests_are_spread_evenly(users: int) -> None:
    heap = returns.returns_of(users, 100, 3.0)
    instants_s = []
    for _ in range(users):
        instants_s.append(next_return_s(heap))
        take_earliest(heap)
    assert instants_s == [user / users * 3.0 for user in range(users)]
    assert next_return_s(heap) == math.inf


def test_nobody_returns_where_there_are_no_users() -> None:
    assert returns.returns_of(0, 9, 3.0).tolist() == [0.0]
    assert next_return_s(returns.returns_of(0, 9, 3.0)) == math.inf


def test_of_more_users_than_requests_only_the_first_come_to_ask() -> None:
    assert returns.returns_of(10**12, 3, 3.0).tolist() == [3.0, 0.0, 1 / 10**12 * 3.0, 2 / 10**12 * 3.0]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(FEW, min_size=1, max_size=9), st.lists(FINITE, max_size=9), FINITE)
def test_the_vector_of_free_instants_stays_sorted(free, finishes, instant_s) -> None:
    """The first gives way to when its next batch ends."""
    free_s = np.append(np.sort(free), np.inf)
    for number in finishes:
        finish_s = free_s[0] + number
        expected = sorted([*free_s[1:].tolist(), finish_s])
        busy_until(free_s, finish_s)
        assert free_s.tolist() == expected
    assert ends_at(free_s, instant_s) == (instant_s in free_s.tolist())
    assert ends_at(free_s, free_s[-2])
