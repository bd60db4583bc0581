"""Triggers: how long they last, what they leave, and what happens to which replica when."""

import math
from collections import deque
from typing import Any

import pytest

from capacity.errors import DomainError
from capacity.recovery.absence import in_order
from capacity.recovery.faults import Action, Fault
from capacity.recovery.parse import read_trigger
from capacity.recovery.trigger import Trigger, TriggerKind


def timeline(
    text: str,
    replicas: int = 4,
    *,
    detection_s: float = 30.0,
    startup_s: float = 0.0,
    draws: tuple[float, ...] = (),
) -> list[tuple[float, int, str, float]]:
    left = deque(draws)
    trigger = read_trigger(text)
    faults = in_order(
        trigger.absences(replicas, begins_s=100.0, detection_s=detection_s, startup_s=startup_s),
        trigger.slowdowns(replicas, begins_s=100.0, exponential=lambda: left.popleft() if left else 1e9),
    )
    assert list(faults) == sorted(faults, key=lambda fault: fault.instant_s)
    return [(one.instant_s, one.replica, one.action.name, one.value) for one in faults]


def test_a_spike_happens_to_no_replica() -> None:
    assert timeline("spike:2x,30s") == []


def test_a_loss_is_known_at_once() -> None:
    assert timeline("lose:2,60s") == [
        (100.0, 2, "LEAVE", 0.0),
        (100.0, 3, "LEAVE", 0.0),
        (160.0, 2, "JOIN", 0.0),
        (160.0, 3, "JOIN", 0.0),
    ]


def test_a_replica_is_back_once_it_has_started() -> None:
    assert timeline("lose:1,60s", startup_s=90.0)[-1] == (250.0, 3, "JOIN", 0.0)


@pytest.mark.parametrize(("kind", "action"), [("crash", "CRASH"), ("hang", "HANG")])
def test_an_outage_is_noticed_later(kind: str, action: str) -> None:
    assert timeline(f"{kind}:1,60s", startup_s=5.0) == [
        (100.0, 3, action, 0.0),
        (130.0, 3, "HIDE", 0.0),
        (165.0, 3, "RESTART", 0.0),
    ]


def test_a_short_outage_is_never_noticed() -> None:
    assert [action for _, _, action, _ in timeline("hang:1,20s")] == ["HANG", "RESTART"]
    assert [action for _, _, action, _ in timeline("hang:1,30s")] == ["HANG", "RESTART"]


def test_who_is_reclaimed_leaves_at_the_notice_and_dies_at_its_end() -> None:
    assert timeline("spot:1,2min,10min", startup_s=90.0) == [
        (100.0, 3, "LEAVE", 0.0),
        (220.0, 3, "CRASH", 0.0),
        (790.0, 3, "RESTART", 0.0),
    ]


def test_a_replacement_may_come_at_the_end_of_the_notice() -> None:
    assert timeline("spot:2,10s,10s", 2) == [
        (100.0, 0, "LEAVE", 0.0),
        (100.0, 1, "LEAVE", 0.0),
        (110.0, 0, "CRASH", 0.0),
        (110.0, 0, "RESTART", 0.0),
        (110.0, 1, "CRASH", 0.0),
        (110.0, 1, "RESTART", 0.0),
    ]


def test_one_replica_is_slow_for_a_while() -> None:
    assert timeline("straggler:3x,60s") == [(100.0, 3, "SLOW", 3.0), (160.0, 3, "SLOW", 1.0)]


def test_a_rollout_takes_one_after_another() -> None:
    assert timeline("rollout", 2, startup_s=20.0) == [
        (100.0, 0, "LEAVE", 0.0),
        (120.0, 0, "JOIN", 0.0),
        (120.0, 1, "LEAVE", 0.0),
        (140.0, 1, "JOIN", 0.0),
    ]


def test_a_rollout_needs_to_know_how_long_a_start_takes() -> None:
    with pytest.raises(DomainError, match="--startup-time"):
        timeline("rollout")


def test_pauses_come_at_random_and_never_two_at_once() -> None:
    """A pause every 10 s on average, the next counted from the end of the one before."""
    found = timeline("pause:2s,6/min,60s", 1, draws=(0.5, 1.0, 0.1, 9.0))
    assert [(round(at_s, 9), action) for at_s, _, action, _ in found] == [
        (105.0, "PAUSE"),
        (107.0, "RESUME"),
        (117.0, "PAUSE"),
        (119.0, "RESUME"),
        (120.0, "PAUSE"),
        (122.0, "RESUME"),
    ]
    assert {value for _, _, action, value in found if action == "PAUSE"} == {2.0}


def test_each_replica_pauses_by_itself() -> None:
    found = timeline("pause:1s,6/min,60s", 2, draws=(1.0, 100.0, 2.0, 100.0))
    assert [(at_s, replica, action) for at_s, replica, action, _ in found] == [
        (110.0, 0, "PAUSE"),
        (111.0, 0, "RESUME"),
        (120.0, 1, "PAUSE"),
        (121.0, 1, "RESUME"),
    ]


@pytest.mark.parametrize(
    ("text", "replicas", "is_refused"),
    [
        ("pause:1ms,100rps,1000s", 1, False),
        ("pause:1ms,100rps,500s", 2, False),
        ("pause:1ms,100rps,1000.1s", 1, True),
    ],
)
def test_a_run_has_at_most_100_000_pauses(text: str, replicas: int, is_refused: bool) -> None:
    """By their mean number over all replicas; the draws here put each pause after the end."""
    if is_refused:
        with pytest.raises(DomainError, match="more than 100000 pauses are too many for one run"):
            timeline(text, replicas)
    else:
        assert timeline(text, replicas) == []


def test_no_more_replicas_are_hit_than_there_are() -> None:
    assert len(timeline("lose:4,60s")) == 8  # each leaves and joins
    with pytest.raises(DomainError, match="hits 5 replicas, and there are 4"):
        timeline("lose:5,60s")


@pytest.mark.parametrize(
    ("text", "lasts_s", "left"),
    [
        ("spike:2x,30s", 30.0, 1.0),
        ("lose:1,60s", 70.0, 0.75),
        ("crash:4,60s", 70.0, 0.0),
        ("hang:2,60s", 70.0, 0.5),
        ("spot:1,20s,60s", 70.0, 0.75),
        ("straggler:4x,60s", 60.0, 1.0 - 0.75 / 4.0),
        ("rollout", 40.0, 0.75),
        ("pause:500ms,12/min", 60.0, 0.9),
    ],
)
def test_how_long_it_lasts_and_what_it_leaves(text: str, lasts_s: float, left: float) -> None:
    trigger = read_trigger(text)
    assert trigger.lasts_s(4, 10.0) == lasts_s
    assert trigger.left(4) == pytest.approx(left)


def test_more_lost_than_there_are_leave_nothing() -> None:
    assert read_trigger("lose:9,60s").left(4) == 0.0


@pytest.mark.parametrize(
    ("within", "beyond", "said"),
    [
        (
            {"kind": TriggerKind.LOSE, "replicas": 1, "lasting_s": 86_400.0},
            {"lasting_s": 86_401.0},
            "trigger lose must last above 0 and at most 86400 s, got 86401 s",
        ),
        ({"kind": TriggerKind.LOSE, "replicas": 1, "lasting_s": 1e-9}, {"lasting_s": 0.0}, "at most 86400 s, got 0 s"),
        (
            {"kind": TriggerKind.SPIKE, "lasting_s": 1.0, "factor": 1.01},
            {"factor": 1.0},
            "a spike's factor must be above 1 and at most 100, got 1",
        ),
        (
            {"kind": TriggerKind.STRAGGLER, "lasting_s": 1.0, "factor": 100.0},
            {"factor": 101.0},
            "a straggler's factor must be above 1 and at most 100, got 101",
        ),
        (
            {"kind": TriggerKind.HANG, "lasting_s": 1.0, "replicas": 1},
            {"replicas": 0},
            "trigger hang must hit 1 replica or more, got 0",
        ),
        (
            {"kind": TriggerKind.SPOT, "lasting_s": 1.0, "replicas": 1, "notice_s": 1e-9},
            {"notice_s": 0.0},
            "a notice must be above 0 s",
        ),
        (
            {"kind": TriggerKind.SPOT, "lasting_s": 1.0, "replicas": 1, "notice_s": 1.0},
            {"notice_s": 1.01},
            "a replacement after 1 s comes before the notice of 1.01 s is over",
        ),
        (
            {"kind": TriggerKind.PAUSE, "lasting_s": 1.0, "pause_s": 0.5, "pauses_per_s": 1.99},
            {"pauses_per_s": 2.0},
            "pauses of 0.5 s, 120 a minute, leave no time to serve",
        ),
        (
            {"kind": TriggerKind.PAUSE, "lasting_s": 1.0, "pause_s": 0.5, "pauses_per_s": 0.1},
            {"pauses_per_s": 0.0},
            "a pause needs a length and a rate above 0",
        ),
        (
            {"kind": TriggerKind.PAUSE, "lasting_s": 1.0, "pause_s": 0.5, "pauses_per_s": 0.1},
            {"pause_s": 0.0},
            "a pause needs a length and a rate above 0",
        ),
    ],
)  # fmt: skip
def test_a_trigger_out_of_range_is_refused(within: dict[str, Any], beyond: dict[str, Any], said: str) -> None:
    assert Trigger(**within).kind is within["kind"]
    with pytest.raises(DomainError, match=said):
        Trigger(**(within | beyond))


def test_a_fault_out_of_range_is_refused() -> None:
    for action in Action:
        assert Fault(instant_s=0.0, replica=0, action=action, value=1e-9).action is action
        if action in (Action.SLOW, Action.PAUSE):
            for value in (0.0, -1.0):
                with pytest.raises(DomainError, match=f"{action.name} needs a value above 0, got {value:g}"):
                    Fault(instant_s=0.0, replica=0, action=action, value=value)
        else:
            assert Fault(instant_s=0.0, replica=0, action=action).value == 0.0
    for wrong_s in (-1e-9, math.nan):
        with pytest.raises(DomainError, match="a fault's instant must be >= 0"):
            Fault(instant_s=wrong_s, replica=0, action=Action.JOIN)
