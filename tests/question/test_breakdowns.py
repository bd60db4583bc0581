"""Replicas that break down now and then: how many may be down at once."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.question.resilience import MORE_DOWN_SHARE, Breakdowns, Survival

LAWS = settings(derandomize=True, deadline=None, max_examples=100)


def breakdowns(down_share: float) -> Breakdowns:
    """Replicas that are down for this share of the time."""
    return Breakdowns(mtbf_s=1.0 - down_share, recovery_s=down_share)


def test_the_share_of_the_time_that_a_replica_is_down() -> None:
    assert Breakdowns(mtbf_s=99.0, recovery_s=1.0).down_share == pytest.approx(0.01)


def more_than(down: int, replicas: int, share: float) -> float:
    """P(more than this many are down), term by term."""
    return math.fsum(
        math.comb(replicas, k) * share**k * (1.0 - share) ** (replicas - k)
        for k in range(down + 1, replicas + 1)
    )


@LAWS
@given(st.floats(-5, -0.1).map(lambda power: 10.0**power), st.integers(1, 60))
def test_more_are_down_for_hardly_any_time(share: float, replicas: int) -> None:
    down = breakdowns(share).down_at_once(replicas)
    assert 0 <= down <= replicas
    assert more_than(down, replicas, share) <= MORE_DOWN_SHARE * (1.0 + 1e-9)
    if down:
        assert more_than(down - 1, replicas, share) > MORE_DOWN_SHARE * (1.0 - 1e-9)


@pytest.mark.parametrize(
    ("days", "minutes", "replicas", "down"),
    [
        (264, 5, 1, 0),  # down for 1.3e-5 of the time, less than 53 minutes a year
        (264, 5, 100, 1),
        (30, 30, 4, 1),
        (30, 30, 100, 2),
        (1, 60, 10, 4),
    ],
)
def test_how_many(days: float, minutes: float, replicas: int, down: int) -> None:
    assert Breakdowns(mtbf_s=86400.0 * days, recovery_s=60.0 * minutes).down_at_once(replicas) == down


def test_they_are_one_of_the_failures_to_survive() -> None:
    survival = Survival(spare=1, breakdowns=Breakdowns(mtbf_s=86400.0, recovery_s=3600.0))
    assert survival.losses(10) == {"1 replica gone": 1, "4 broken down at once": 4}
    assert survival.left(10) == 6


@pytest.mark.parametrize(
    ("mtbf_s", "recovery_s", "said"),
    [
        (0.0, 1.0, "--mtbf"),
        (math.inf, 1.0, "--mtbf"),
        (1.0, 0.0, "--recovery-time"),
        (1.0, math.nan, "--recovery-time"),
    ],
)
def test_times_must_be_there(mtbf_s: float, recovery_s: float, said: str) -> None:
    with pytest.raises(DomainError, match=f"{said} must be above 0 and finite"):
        Breakdowns(mtbf_s=mtbf_s, recovery_s=recovery_s)
