"""Triggers: how long they last, what they leave, and what happens to which replica when."""

from collections import deque

import pytest

from capacity.errors import DomainError
from capacity.recovery.absence import in_order
from capacity.recovery.faults import Action, Fault
from capacity.recovery.parse import read_trigger


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


def test_too_many_pauses_are_refused() -> None:
    with pytest.raises(DomainError, match="too many for one run"):
        timeline("pause:100us,9000rps,1h")


def test_no_more_replicas_are_hit_than_there_are() -> None:
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
    ("instant_s", "action", "value", "said"),
    [
        (-1.0, Action.CRASH, 0.0, "instant"),
        (1.0, Action.SLOW, 0.0, "SLOW needs a value"),
        (1.0, Action.PAUSE, -1.0, "PAUSE needs a value"),
    ],
)
def test_a_fault_that_makes_no_sense(instant_s: float, action: Action, value: float, said: str) -> None:
    with pytest.raises(DomainError, match=said):
        Fault(instant_s=instant_s, replica=0, action=action, value=value)
