"""Replicas that break down now and then: how many may be down at once."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.question.resilience import MORE_DOWN_SHARE, Breakdowns, Survival
from capacity.queues.numerics.chains import stationary
from capacity.recovery.absence import with_breakdowns

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


@pytest.mark.parametrize(
    ("replicas", "mtbf_s", "recovery_s"), [(2, 3.0, 1.0), (7, 40.0, 2.0), (20, 5.0, 0.2)]
)
def test_shares_of_the_time_are_those_of_machines_that_are_repaired_at_once(
    replicas: int, mtbf_s: float, recovery_s: float
) -> None:
    """The machine-repair chain with a repairman for each machine, solved state by state."""
    rates = np.zeros((replicas + 1, replicas + 1))
    for down in range(replicas):
        rates[down, down + 1] = (replicas - down) / mtbf_s
        rates[down + 1, down] = (down + 1) / recovery_s
    law, asked = stationary(rates), Breakdowns(mtbf_s=mtbf_s, recovery_s=recovery_s)
    for down in range(replicas + 1):
        assert asked.beyond_share(replicas, down) == pytest.approx(math.fsum(law[down + 1 :]), rel=1e-9)
    up = math.fsum(share * (replicas - down) for down, share in enumerate(law)) / replicas
    assert up == pytest.approx(mtbf_s / (mtbf_s + recovery_s)) == pytest.approx(1.0 - asked.down_share)


def test_what_is_left_is_up_for_all_but_the_share_that_is_told() -> None:
    """Breakdowns as they are drawn for a simulation, followed for 2000 h."""
    asked, replicas, until_s = Breakdowns(mtbf_s=19.0, recovery_s=1.0), 3, 40_000.0
    draws = np.random.default_rng(5)
    away = with_breakdowns(
        (), asked, replicas=replicas, detection_s=0.0, until_s=until_s, uniforms=lambda _: draws.random
    )
    changes = sorted([(one.gone_s, 1) for one in away] + [(min(one.back_s, until_s), -1) for one in away])
    instants = np.array([0.0, *(at for at, _ in changes), until_s])
    down = np.array([0, *np.cumsum([step for _, step in changes])])
    for fewest in range(3):
        seen = float(np.diff(instants)[down > fewest].sum()) / until_s
        assert seen == pytest.approx(asked.beyond_share(replicas, fewest), rel=0.25, abs=1e-4)
    outage = asked.outage(replicas)
    assert (outage.left, outage.event) == (0, "3 broken down at once")


def test_the_worst_of_several_failures_is_what_is_left() -> None:
    survival = Survival(spare=1, zones=3, breakdowns=Breakdowns(mtbf_s=264 * 86400.0, recovery_s=300.0))
    outage = survival.outage(10)
    assert outage is not None
    assert (outage.event, outage.replicas, outage.left) == ("one of 3 zones gone", 10, 6)
    assert outage.beyond_share is None
    assert Survival().outage(10) is None
    rare = replace(survival, zones=None, spare=0).outage(100)
    assert rare is not None
    assert (rare.event, rare.left) == ("1 broken down at once", 99)
    assert rare.beyond_share == pytest.approx(more_than(1, 100, 300.0 / (264 * 86400.0 + 300.0)), rel=1e-6)


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
