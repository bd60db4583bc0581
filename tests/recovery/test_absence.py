"""Replicas that break down beside a trigger: when each is away, and when it is back."""

import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest, expon, kstest

from capacity.errors import DomainError
from capacity.question.resilience import Breakdowns
from capacity.recovery.absence import Absence, in_order, with_breakdowns
from capacity.recovery.faults import Action
from capacity.recovery.parse import read_trigger

OFTEN = Breakdowns(mtbf_s=90.0, recovery_s=10.0)  # down a tenth of the time
STAYS_UP = 0.5  # a first draw above the share of time that it is down


def after(*seconds: float) -> Callable[[int], Callable[[], float]]:
    """Uniforms of one replica that is up at first, and breaks down when it has been up for so long each time."""
    draws = deque([STAYS_UP, *(-math.expm1(-one / OFTEN.mtbf_s) for one in seconds)])
    return lambda replica: lambda: draws.popleft() if draws else 1.0 - 2.0**-53


def timeline(
    trigger: str, *up_s: float, detection_s: float = 4.0, startup_s: float = 0.0
) -> list[tuple[float, str]]:
    """Of one replica that the trigger takes at 100."""
    planned = read_trigger(trigger).absences(1, begins_s=100.0, detection_s=detection_s, startup_s=startup_s)
    away = with_breakdowns(
        planned, OFTEN, replicas=1, detection_s=detection_s, until_s=300.0, uniforms=after(*up_s)
    )
    return [(round(one.instant_s, 6), one.action.name) for one in in_order(away)]


def test_a_breakdown_is_a_crash_that_is_noticed_later() -> None:
    assert timeline("spike:2x,30s", 20.0, 50.0) == [
        (20.0, "CRASH"), (24.0, "HIDE"), (30.0, "RESTART"), (80.0, "CRASH"), (84.0, "HIDE"), (90.0, "RESTART"),
    ]  # fmt: skip
    assert timeline("spike:2x,30s", 20.0, detection_s=10.0) == [(20.0, "CRASH"), (30.0, "RESTART")]


LOST = [(100.0, "LEAVE"), (130.0, "JOIN")]


def test_breakdowns_before_and_after_a_loss_are_by_themselves() -> None:
    assert timeline("lose:1,30s", 20.0, 102.0) == [
        (20.0, "CRASH"), (24.0, "HIDE"), (30.0, "RESTART"), *LOST, (132.0, "CRASH"), (136.0, "HIDE"),
        (142.0, "RESTART"),
    ]  # fmt: skip


def test_who_is_down_when_it_is_lost_comes_back_at_the_later_of_both_ends() -> None:
    assert timeline("lose:1,30s", 95.0) == [
        (95.0, "CRASH"), (99.0, "HIDE"), (100.0, "LEAVE"), (130.0, "RESTART"), (130.0, "JOIN"),
    ]  # fmt: skip
    assert timeline("lose:1,3s", 95.0) == [
        (95.0, "CRASH"), (99.0, "HIDE"), (100.0, "LEAVE"), (105.0, "RESTART"), (105.0, "JOIN"),
    ]  # fmt: skip


def test_who_is_reclaimed_while_it_is_down_dies_only_once_more_and_is_replaced() -> None:
    assert timeline("spot:1,10s,30s", 95.0, detection_s=60.0, startup_s=5.0) == [
        (95.0, "CRASH"), (100.0, "LEAVE"), (110.0, "CRASH"), (135.0, "RESTART"), (135.0, "RESTART"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["crash", "hang"])
def test_who_is_down_when_a_crash_takes_it_is_noticed_by_its_own(kind: str) -> None:
    assert timeline(f"{kind}:1,30s", 95.0) == [
        (95.0, "CRASH"), (99.0, "HIDE"), (100.0, kind.upper()), (104.0, "HIDE"), (130.0, "RESTART"),
        (130.0, "RESTART"),
    ]  # fmt: skip


def test_who_is_away_does_not_break_down_and_starts_its_time_again() -> None:
    """It would have broken down at 105; from 130 on it is up for 40 s."""
    assert timeline("lose:1,30s", 105.0, 40.0) == [
        *LOST, (170.0, "CRASH"), (174.0, "HIDE"), (180.0, "RESTART"),
    ]  # fmt: skip


def test_who_breaks_down_at_the_very_instant_is_away_already() -> None:
    exact = with_breakdowns(
        [Absence(replica=0, how=Action.LEAVE, gone_s=0.0, back_s=30.0)],
        OFTEN,
        replicas=1,
        detection_s=4.0,
        until_s=20.0,
        uniforms=lambda replica: deque([STAYS_UP, 0.0, 0.0]).popleft,
    )
    assert [fault.action for fault in in_order(exact)] == [Action.LEAVE, Action.JOIN]


def test_a_breakdown_may_have_begun_before_the_run() -> None:
    """A first draw of 0.03 is less than the tenth of the time that it is down: by now for 3 of 10 s."""
    draws = deque([0.03, 0.9])
    (found,) = with_breakdowns(
        [], OFTEN, replicas=1, detection_s=4.0, until_s=5.0, uniforms=lambda replica: draws.popleft
    )
    assert (found.gone_s, found.back_s, found.noticed_s) == (0.0, pytest.approx(7.0), pytest.approx(1.0))


def random_absences(replicas: int, until_s: float, seed: int) -> tuple[Absence, ...]:
    return with_breakdowns(
        [],
        OFTEN,
        replicas=replicas,
        detection_s=0.0,
        until_s=until_s,
        uniforms=lambda replica: np.random.default_rng([seed, replica]).random,
    )


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("instant_s", [0.0, 3.0, 57.0, 249.0])
def test_the_share_of_a_fleet_that_is_up_is_that_of_the_two_means(instant_s: float, seed: int) -> None:
    """MTBF over MTBF plus recovery time, at any instant: replicas are independent, so binomial."""
    found = random_absences(5_000, 250.0, seed)
    down = len({one.replica for one in found if one.gone_s <= instant_s < one.back_s})
    assert binomtest(5_000 - down, 5_000, 0.9).pvalue > 0.005


def test_times_between_breakdowns_are_exponential() -> None:
    found = random_absences(200, 1e4, 3)
    ups = [
        later.gone_s - earlier.back_s
        for earlier, later in pairwise(found)
        if earlier.replica == later.replica
    ]
    assert len(ups) > 10_000
    # Those that are cut off by the end of the run are few beside a mean of 90 s.
    assert kstest(ups, expon(scale=90.0).cdf).pvalue > 0.005
    assert {round(one.back_s - one.gone_s, 6) for one in found if one.gone_s > 0.0} == {10.0}


def test_a_replica_breaks_down_alike_in_every_fleet_and_horizon() -> None:
    few, many = random_absences(2, 500.0, 4), random_absences(9, 900.0, 4)
    assert few == tuple(one for one in many if one.replica < 2 and one.gone_s < 500.0)


def test_too_many_breakdowns_are_refused() -> None:
    with pytest.raises(DomainError, match="give a longer --mtbf or a shorter --horizon"):
        random_absences(1_000, 1e4 + 1.0, 0)
