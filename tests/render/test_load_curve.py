"""A load curve in words: where it doubles, and by how much it grows."""

from capacity.performance import Interval
from capacity.render.rates import load_curve_texts
from capacity.traffic.scale import RATES, scale_of
from capacity.traffic.workload import ClosedPopulation


def told(*points: tuple[float, float]) -> list[str]:
    """The sentences for points of load and P99, of a fleet that serves 100 rps."""
    found = [(load, 100.0 * load, Interval.exact(p99_s)) for load, p99_s in points]
    return list(load_curve_texts("2 replicas", "P99", found, RATES))


def test_where_a_curve_reaches_2_5_and_10_times_its_start() -> None:
    assert told() == ["2 replicas: no load could be simulated to the asked precision."]
    low = "2 replicas: P99 is 10 ms at load 0.10 (10 rps)."
    assert told((0.1, 0.01), (0.5, 0.0199)) == [low, "Up to load 0.50 it stays below 2 times that."]
    assert told((0.1, 0.01), (0.5, 0.02), (0.8, 0.04)) == [
        low,
        "It doubles between load 0.10 and 0.50, 10 rps to 50 rps.",
        "Up to load 0.80 it stays below 5 times that.",
    ]
    assert told((0.1, 0.01), (0.5, 0.015), (0.8, 0.06), (0.9, 0.1)) == [
        low, "It doubles between load 0.50 and 0.80, 50 rps to 80 rps.",
        "It reaches 5 times that between load 0.50 and 0.80, 50 rps to 80 rps.",
        "It reaches 10 times that between load 0.80 and 0.90, 80 rps to 90 rps.",
    ]  # fmt: skip


def test_users_have_no_load() -> None:
    users = scale_of(ClosedPopulation(users=3))
    points = [(None, 1.0, Interval.exact(0.01)), (None, 9.0, Interval.exact(0.02))]
    assert list(load_curve_texts("2 replicas", "P99", points, users)) == [
        "2 replicas: P99 is 10 ms with 1 user.",
        "It doubles between 1 user and 9 users.",
        "Up to 9 users it stays below 5 times that.",
    ]
