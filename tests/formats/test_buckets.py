"""Buckets of servers: their units, names, counts, and which mean they allow."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.buckets import count, from_counts, from_cumulative, label, run_of, unit_of
from capacity.formats.load_test import Histogram


@pytest.mark.parametrize(
    ("metric", "unit_s"),
    [
        ("a_seconds", 1.0),
        ("a_milliseconds", 1e-3),
        ("a_ms", 1e-3),
        ("a_microseconds", 1e-6),
        ("a_us", 1e-6),
        ("a_nanoseconds", 1e-9),
        ("a_ns", 1e-9),
        ("seconds_a", None),
    ],
)
def test_a_name_ends_in_its_unit(metric: str, unit_s: float | None) -> None:
    assert unit_of(metric) == unit_s


def test_a_series_is_named_by_its_labels_in_order() -> None:
    assert label("m", {"b": "2", "a": "1"}) == "m{a=1,b=2}"
    assert label("m", {}) == "m"
    assert label("m" * 201, {}) == "m" * 200


def test_counts_up_to_a_bound_become_counts_between_bounds() -> None:
    """One request took no time; of bounds in ms."""
    found = from_cumulative({math.inf: 9.0, 10.0: 4.0, 20.0: 4.0, 0.0: 1.0}, 1e-3, "m")
    assert found.edges_s == pytest.approx((0.0, 0.01, 0.02, math.inf))
    assert found.counts == (4.0, 0.0, 5.0)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: from_cumulative({}, 1.0, "m"), 'm has no bucket le="\\+Inf"'),
        (lambda: from_cumulative({1.0: 2.0, math.inf: 1.0}, 1.0, "m"), "m counts 2 up to 1 and 1 up to inf"),
        (lambda: from_cumulative({1.0: -1.0, math.inf: 1.0}, 1.0, "m"), "m, le=1, must be a count from 0 to 2^53"),
        (lambda: from_counts([-1.0, 0.0], [1.0, 1.0], 1.0, "m"), "m has no bound above 0"),
        (lambda: count(2.0**53 + 2.0, "m"), "m must be a count"),
        (lambda: count(math.nan, "m"), "m must be a count"),
    ],
)  # fmt: skip
def test_what_is_no_histogram_is_refused(act: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("2^53", r"2\^53")):
        act()


def test_a_float_counts_up_to_2_53() -> None:
    assert (count(0.0, "m"), count(2.0**53, "m")) == (0.0, 2.0**53)


TWO = Histogram(edges_s=(0.0, 1.0, 2.0, math.inf), counts=(1.0, 3.0, 0.0))


@pytest.mark.parametrize(("sum_s", "is_allowed"), [(2.99, False), (3.0, True), (7.0, True), (7.01, False)])
def test_a_mean_lies_between_those_of_all_lower_and_all_upper_ends(sum_s: float, is_allowed: bool) -> None:
    """One below 1 s and three from 1 to 2 s take from 3 to 7 s together."""
    if not is_allowed:
        with pytest.raises(InputError, match="is not one that the buckets allow"):
            run_of("m", TWO, sum_s)
        return
    run = run_of("m", TWO, sum_s)
    assert run.mean_s == sum_s / 4
    assert run.counted == 4
    assert sorted(run.quantiles_s) == [0.5, 0.9, 0.95, 0.99, 0.999]


def test_what_counts_nothing_is_no_run() -> None:
    assert run_of("m", Histogram(edges_s=(0.0, 1.0), counts=(0.0,))) is None
    half = run_of("m", Histogram(edges_s=(0.0, 1.0), counts=(2.5,)))
    assert (half.counted, half.mean_s) == (2, None)
