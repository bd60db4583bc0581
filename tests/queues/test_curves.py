"""Curves: points against the textbook's laws, what is merged, labels, and what is refused."""

import math
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.queues.curves import (
    CURVES_MAX,
    LOG_RATIO,
    LOG_RATIO_MAX,
    POINTS_MAX,
    Axis,
    Curve,
    Quantity,
    chart_title,
    curves,
    require_one_chart,
    utilization_grid,
    y_range,
)
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc

laws = settings(derandomize=True, deadline=None, max_examples=30)
EVERY = list(product(Quantity, Axis))


def made_up(y: tuple[float, ...], quantity: Quantity = Quantity.WAIT, axis: Axis = Axis.UTILIZATION) -> Curve:
    """A curve with these values at evenly spaced x."""
    x = tuple((k + 1) / len(y) for k in range(len(y)))
    return Curve(quantity=quantity, axis=axis, label="?", service_rates_rps=(1.0,), servers=1, x=x, y=y)


@pytest.mark.parametrize(
    ("quantity", "law"),
    [
        (Quantity.QUEUE_LENGTH, lambda rho, mu: rho**2 / (1 - rho)),
        (Quantity.WAIT_PROBABILITY, lambda rho, mu: rho),
        (Quantity.WAIT, lambda rho, mu: rho / (1 - rho) / mu),
        (Quantity.RESPONSE, lambda rho, mu: 1 / (1 - rho) / mu),
        (Quantity.P99, lambda rho, mu: math.log(100.0) / (1 - rho) / mu),
    ],
)
def test_one_server_follows_the_closed_forms(quantity, law) -> None:
    for axis in Axis:
        (line,) = curves(quantity, axis, [4.0])
        scale = 1.0 if axis is Axis.UTILIZATION else 4.0
        assert len(line.x) == 200
        for x, y in zip(line.x, line.y, strict=True):
            assert y == pytest.approx(law(x / scale, 4.0), rel=1e-11)


def test_two_servers_follow_their_closed_form() -> None:
    """M/M/2: Lq = 2ρ³/(1-ρ²), Gross et al. (2008), sec. 2.3."""
    (line,) = curves(Quantity.QUEUE_LENGTH, Axis.UTILIZATION, [3.0], [2])
    for rho, y in zip(line.x, line.y, strict=True):
        assert y == pytest.approx(2 * rho**3 / (1 - rho**2), rel=1e-11)


@pytest.mark.parametrize("quantity", Quantity)
def test_one_server_is_the_same_law_as_mm1(quantity: Quantity) -> None:
    (line,) = curves(quantity, Axis.ARRIVAL_RATE, [10.0], points=20)
    for rate, y in zip(line.x, line.y, strict=True):
        queue = MM1(arrival_rate_rps=rate, service_rate_rps=10.0)
        expected = {
            Quantity.QUEUE_LENGTH: queue.queue_length_mean,
            Quantity.WAIT_PROBABILITY: queue.wait_probability,
            Quantity.WAIT: queue.wait_mean_s,
            Quantity.RESPONSE: queue.response_mean_s,
            Quantity.P99: queue.response_quantile_s(0.99),
        }[quantity]
        assert y == pytest.approx(expected, rel=1e-12)


@laws
@given(st.sampled_from(EVERY), st.floats(0.01, 1e4), st.integers(1, 50), st.floats(0.05, 0.9999))
def test_every_curve_rises_and_stays_stable(chart, rate, servers, utilization_max) -> None:
    (line,) = curves(*chart, [rate], [servers], utilization_max=utilization_max, points=30)
    wall = 1.0 if chart[1] is Axis.UTILIZATION else servers * rate
    assert all(low < high for low, high in pairwise(line.x))
    assert all(low <= high * (1 + 1e-12) for low, high in pairwise(line.y))
    assert line.x[0] > 0.0
    assert line.x[-1] == pytest.approx(utilization_max * wall, rel=1e-12)
    assert line.x[-1] < wall


@laws
@given(st.sampled_from(EVERY), st.floats(1e-3, 1e3))
def test_rates_times_k_make_durations_shorter_by_k(chart: tuple[Quantity, Axis], k: float) -> None:
    (slow,) = curves(*chart, [5.0], [3], points=10)
    (fast,) = curves(*chart, [5.0 * k], [3], points=10)
    shrink = 1.0 if chart[0].is_dimensionless else k
    grow = 1.0 if chart[1] is Axis.UTILIZATION else k
    assert fast.x == pytest.approx([x * grow for x in slow.x], rel=1e-12)
    assert fast.y == pytest.approx([y / shrink for y in slow.y], rel=1e-9)


def test_points_crowd_at_the_knee() -> None:
    grid = utilization_grid(0.95, 100)
    steps = [high - low for low, high in pairwise(grid)]
    assert len(grid) == 100
    assert grid[-1] == 0.95
    assert all(later < earlier for earlier, later in pairwise(steps))
    assert steps[0] > 10 * steps[-1]


def test_queue_length_against_utilization_is_one_curve_for_all_rates() -> None:
    (line,) = curves(Quantity.QUEUE_LENGTH, Axis.UTILIZATION, [10.0, 5.0, 2.0])
    assert line.label == "μ = 10, 5, 2 rps (one curve: Lq depends on ρ and c alone)"
    assert line.service_rates_rps == (10.0, 5.0, 2.0)


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("servers", [1, 7])
def test_merged_exactly_where_the_numbers_are_the_same(quantity: Quantity, servers: int) -> None:
    rates = [10.0, 5.0, 2.0]
    merged = curves(quantity, Axis.UTILIZATION, rates, [servers], points=20)
    alone = [curves(quantity, Axis.UTILIZATION, [rate], [servers], points=20)[0].y for rate in rates]
    same = all(y == pytest.approx(alone[0], rel=1e-11) for y in alone)
    assert len(merged) == (1 if same else 3)


@pytest.mark.parametrize("quantity", Quantity)
def test_against_the_arrival_rate_each_rate_has_its_own_wall(quantity: Quantity) -> None:
    lines = curves(quantity, Axis.ARRIVAL_RATE, [10.0, 5.0, 2.0])
    assert [line.label for line in lines] == ["μ = 10 rps", "μ = 5 rps", "μ = 2 rps"]
    assert [line.x[-1] for line in lines] == pytest.approx([9.5, 4.75, 1.9])


def test_lines_come_rate_by_rate_in_the_order_asked() -> None:
    lines = curves(Quantity.P99, Axis.UTILIZATION, [5.0, 10.0], [2, 1])
    assert [(line.service_rates_rps, line.servers) for line in lines] == [
        ((5.0,), 2),
        ((5.0,), 1),
        ((10.0,), 2),
        ((10.0,), 1),
    ]


@pytest.mark.parametrize(
    ("quantity", "rates", "servers", "labels"),
    [
        (Quantity.P99, [1.0], [1, 16], ["c = 1", "c = 16"]),
        (Quantity.P99, [1.0, 2.5], [4], ["μ = 1 rps", "μ = 2.5 rps"]),
        (Quantity.P99, [1.0, 2.0], [1, 2], [f"μ = {m} rps, c = {c}" for m in (1, 2) for c in (1, 2)]),
        (Quantity.P99, [1.0], [4], ["μ = 1 rps, c = 4"]),
        (Quantity.QUEUE_LENGTH, [1.0], [4], ["μ = 1 rps, c = 4"]),
        (Quantity.QUEUE_LENGTH, [1.0], [1, 2], ["c = 1", "c = 2"]),
        (Quantity.QUEUE_LENGTH, [1.0, 2.0], [1, 2], ["c = 1, any μ", "c = 2, any μ"]),
        (Quantity.P99, [1.0, 1.0], [4, 4], ["μ = 1 rps, c = 4"]),
        (Quantity.P99, [1.0, 1.0000001], [1], ["μ = 1.0 rps", "μ = 1.0000001 rps"]),
    ],
)
def test_labels_name_what_distinguishes(quantity, rates, servers, labels) -> None:
    lines = curves(quantity, Axis.UTILIZATION, rates, servers, points=2)
    assert [line.label for line in lines] == labels


def test_axis_titles_carry_units() -> None:
    assert [axis.axis_title for axis in Axis] == ["utilization ρ", "arrival rate λ [rps]"]
    for quantity in Quantity:
        assert quantity.symbol in quantity.axis_title
        assert quantity.axis_title.endswith("[s]") is not quantity.is_dimensionless


@pytest.mark.parametrize(
    ("rates", "servers", "title"),
    [
        ([10.0, 5.0], [1], "M/M/1: W against λ"),
        ([10.0, 5.0], [4], "M/M/4: W against λ"),
        ([10.0], [4], "M/M/4: W against λ"),
        ([10.0], [1, 4], "M/M/c, μ = 10 rps: W against λ"),
        ([10.0, 5.0], [1, 4], "M/M/c: W against λ"),
    ],
)
def test_the_title_says_what_all_lines_share(rates: list[float], servers: list[int], title: str) -> None:
    assert chart_title(curves(Quantity.RESPONSE, Axis.ARRIVAL_RATE, rates, servers, points=2)) == title


def test_a_knee_alone_stays_linear_and_a_tail_does_not() -> None:
    rates = [10.0, 5.0, 2.0]
    knee = curves(Quantity.QUEUE_LENGTH, Axis.ARRIVAL_RATE, rates)
    tail = curves(Quantity.QUEUE_LENGTH, Axis.ARRIVAL_RATE, rates, utilization_max=0.999)
    assert y_range(knee) == (0.0, pytest.approx(0.95**2 / 0.05))
    low, top = y_range(tail)
    assert low == pytest.approx(top / LOG_RATIO)


def test_a_logarithmic_axis_reaches_down_to_every_line_within_reason() -> None:
    high, low, lowest = made_up((1e6, 1e6)), made_up((1.0, 1.0)), made_up((1e-20, 1e-20))
    assert y_range([high, low])[0] == pytest.approx(0.1)
    assert y_range([high, low, lowest])[0] == pytest.approx(1e6 / LOG_RATIO_MAX)


def test_nothing_but_zeros_has_a_range_too() -> None:
    assert y_range([made_up((0.0, 0.0))]) == (0.0, 1.0)


@pytest.mark.parametrize("utilization_max", [0.0, 1.0, 1.5, -0.1, math.nan])
def test_a_line_may_not_reach_the_wall(utilization_max: float) -> None:
    with pytest.raises(DomainError, match=r"utilization_max must be in \(0, 1\)"):
        curves(Quantity.WAIT, Axis.UTILIZATION, [1.0], utilization_max=utilization_max)


@pytest.mark.parametrize("points", [1, 0, -1, POINTS_MAX + 1])
def test_too_few_or_too_many_points(points: int) -> None:
    with pytest.raises(DomainError, match="points must be from 2 to 10000"):
        curves(Quantity.WAIT, Axis.UTILIZATION, [1.0], points=points)


@pytest.mark.parametrize(("rates", "servers"), [([], [1]), ([1.0], [])])
def test_nothing_to_draw(rates: list[float], servers: list[int]) -> None:
    with pytest.raises(InputError, match="give at least one of each"):
        curves(Quantity.WAIT, Axis.UTILIZATION, rates, servers)


def test_more_lines_than_can_be_told_apart() -> None:
    rates = [float(rate) for rate in range(1, CURVES_MAX + 1)]
    assert len(curves(Quantity.WAIT, Axis.UTILIZATION, rates, points=2)) == CURVES_MAX
    with pytest.raises(InputError, match="25 service rates x 1 server counts are more than 24 curves"):
        curves(Quantity.WAIT, Axis.UTILIZATION, [*rates, 99.0], points=2)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_no_rate_hides_behind_a_merged_one(rate: float) -> None:
    with pytest.raises(DomainError, match="service_rate_rps must be > 0"):
        curves(Quantity.QUEUE_LENGTH, Axis.UTILIZATION, [1.0, rate])


def test_servers_are_counted() -> None:
    with pytest.raises(DomainError, match="servers"):
        curves(Quantity.WAIT, Axis.UTILIZATION, [1.0], [0])


def test_a_curve_has_as_many_x_as_y() -> None:
    fields = {"quantity": Quantity.WAIT, "axis": Axis.UTILIZATION, "label": "?", "servers": 1}
    for x, y in (((1.0, 2.0), (1.0,)), ((1.0,), (1.0,)), ((), ())):
        with pytest.raises(DomainError, match="as many x as y"):
            Curve(**fields, service_rates_rps=(1.0,), x=x, y=y)


def test_one_chart_has_one_pair_of_axes() -> None:
    first = made_up((1.0, 2.0))
    assert require_one_chart([first, first]) is first
    for other in (made_up((1.0, 2.0), Quantity.P99), made_up((1.0, 2.0), axis=Axis.ARRIVAL_RATE)):
        with pytest.raises(InputError, match="the same axes"):
            require_one_chart([first, other])
    for count in (0, CURVES_MAX + 1):
        with pytest.raises(InputError, match=f"1 to 24 curves, got {count}"):
            require_one_chart([first] * count)


def test_values_at_one_point_are_those_of_the_queue() -> None:
    (line,) = curves(Quantity.P99, Axis.ARRIVAL_RATE, [5.0], [2], utilization_max=0.9, points=2)
    queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
    assert (line.x[-1], line.y[-1]) == (9.0, queue.response_quantile_s(0.99))
