"""What is gone and what is left, by what took it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.question.resilience import Spike, Survival

laws_hold = settings(derandomize=True, deadline=None, max_examples=200)


def test_nothing_asked_is_nothing_lost() -> None:
    assert Survival().losses(7) == {}
    assert Survival().left(7) == 7


@pytest.mark.parametrize(
    ("survival", "replicas", "losses", "left"),
    [
        (Survival(spare=1), 5, {"1 replica gone": 1}, 4),
        (Survival(spare=2), 5, {"2 replicas gone": 2}, 3),
        (Survival(spare=1), 1, {"1 replica gone": 1}, 0),
        (Survival(zones=3), 9, {"one of 3 zones gone": 3}, 6),
        (Survival(zones=3), 10, {"one of 3 zones gone": 4}, 6),
        (Survival(zones=3), 2, {"one of 3 zones gone": 1}, 1),
        (Survival(unavailable_share=0.25), 8, {"rolling update": 2}, 6),
        (Survival(unavailable_share=0.25), 11, {"rolling update": 2}, 9),
        (Survival(unavailable_share=0.25), 3, {"rolling update": 1}, 2),
        (Survival(spare=1, zones=2), 5, {"1 replica gone": 1, "one of 2 zones gone": 3}, 2),
    ],
)
def test_losses_by_hand(survival: Survival, replicas: int, losses: dict[str, int], left: int) -> None:
    assert survival.losses(replicas) == losses
    assert survival.left(replicas) == left


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_share_of_a_hundred_replicas_is_its_percentage(percent: int) -> None:
    """29 % of 100 are 29, as orchestrators count, though 0.29 x 100 is 28.999999999999996."""
    assert Survival(unavailable_share=percent / 100.0).left(100) == 100 - percent


@laws_hold
@given(st.integers(2, 9), st.integers(1, 60))
def test_a_zone_is_the_largest_of_those_that_replicas_spread_over(zones: int, replicas: int) -> None:
    """Dealt out one by one, the first zone has the most."""
    dealt = [len(range(zone, replicas, zones)) for zone in range(zones)]
    assert max(dealt) - min(dealt) <= 1
    assert Survival(zones=zones).left(replicas) == replicas - max(dealt)


@pytest.mark.parametrize("devices", range(1, 12))
def test_a_device_is_in_one_zone_with_all_its_replicas(devices: int) -> None:
    """Of 4 devices with 2 replicas each, the fullest of 3 zones has 2, and with it 4 of the 8 replicas."""
    dealt = [2 * len(range(zone, devices, 3)) for zone in range(3)]
    assert Survival(zones=3).losses(2 * devices, 2) == {"one of 3 zones gone": max(dealt)}
    assert Survival(zones=3).left(2 * devices, 2) == 2 * devices - max(dealt)


@laws_hold
@given(
    st.integers(0, 3), st.none() | st.integers(2, 6), st.none() | st.floats(0.01, 0.99), st.integers(1, 500)
)
def test_one_more_replica_leaves_as_many_or_one_more(spare, zones, share, replicas) -> None:
    survival = Survival(spare=spare, zones=zones, unavailable_share=share)
    assert survival.left(replicas + 1) - survival.left(replicas) in (0, 1)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"spare": -1}, DomainError, "spare must be >= 0, got -1"),
        ({"zones": 1}, InputError, "zones must be 2 or more, or the loss of one is the loss of all, got 1"),
        ({"unavailable_share": 0.0}, DomainError, r"unavailable_share must be within \(0, 1\), got 0.0"),
        ({"unavailable_share": 1.0}, DomainError, r"unavailable_share must be within \(0, 1\), got 1.0"),
        ({"unavailable_share": math.nan}, DomainError, r"must be within \(0, 1\), got nan"),
    ],
)
def test_what_nothing_can_outlive_is_refused(fields, error, message) -> None:
    with pytest.raises(error, match=message):
        Survival(**fields)


@pytest.mark.parametrize("factor", [1.0, 0.5, 100.1, math.inf, math.nan])
def test_a_spike_is_a_multiple_above_one(factor: float) -> None:
    with pytest.raises(DomainError, match="a spike's factor must be above 1 and at most 100, got"):
        Spike(factor=factor, startup_time_s=1.0)


@pytest.mark.parametrize("startup_time_s", [0.0, -1.0, 1.1e9, 1e308, math.inf, math.nan])
def test_a_spike_lasts(startup_time_s: float) -> None:
    with pytest.raises(
        DomainError, match="a spike's startup time must be above 0 and at most 1e\\+09 s, got"
    ):
        Spike(factor=2.0, startup_time_s=startup_time_s)
