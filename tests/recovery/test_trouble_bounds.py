"""What may go wrong, on either side of each bound; how long a trigger lasts and what it leaves, by hand."""

import math
from typing import Any

import pytest

from capacity.errors import DomainError
from capacity.recovery.clients import Backoff, BudgetKind, Clients, Failure, RetryBudget
from capacity.recovery.disturbance import Disturbances, Pauses, RequestClass
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.recovery.trigger import Trigger, TriggerKind


@pytest.mark.parametrize(
    ("within", "beyond", "said"),
    [
        (
            {"kind": TriggerKind.LOSE, "replicas": 1, "lasting_s": 86_400.0},
            {"lasting_s": 86_401.0},
            "trigger lose must last above 0 and at most 86400 s, got 86401 s",
        ),
        (
            {"kind": TriggerKind.LOSE, "replicas": 1, "lasting_s": 1e-9},
            {"lasting_s": 0.0},
            "at most 86400 s, got 0 s",
        ),
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
)
def test_a_trigger_out_of_range_is_refused(within: dict[str, Any], beyond: dict[str, Any], said: str) -> None:
    assert Trigger(**within).kind is within["kind"]
    with pytest.raises(DomainError, match=said):
        Trigger(**(within | beyond))


@pytest.mark.parametrize(
    ("trigger", "lasts_s", "left"),
    [
        (Trigger(kind=TriggerKind.SPIKE, lasting_s=30.0, factor=2.0), 30.0, 1.0),
        (Trigger(kind=TriggerKind.LOSE, lasting_s=30.0, replicas=1), 37.0, 0.75),
        (Trigger(kind=TriggerKind.CRASH, lasting_s=30.0, replicas=3), 37.0, 0.25),
        (Trigger(kind=TriggerKind.HANG, lasting_s=30.0, replicas=5), 37.0, 0.0),
        (Trigger(kind=TriggerKind.SPOT, lasting_s=30.0, replicas=2, notice_s=5.0), 37.0, 0.5),
        (Trigger(kind=TriggerKind.STRAGGLER, lasting_s=30.0, factor=4.0), 30.0, 1.0 - 0.75 / 4.0),
        (Trigger(kind=TriggerKind.PAUSE, lasting_s=30.0, pause_s=0.5, pauses_per_s=0.5), 30.0, 0.75),
        (Trigger(kind=TriggerKind.ROLLOUT), 28.0, 0.75),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Trigger) else "",
)
def test_of_four_replicas_that_take_7_s_to_start(trigger: Trigger, lasts_s: float, left: float) -> None:
    """Those that went start again after it; one after another is replaced in a rollout."""
    assert trigger.lasts_s(4, 7.0) == lasts_s
    assert trigger.left(4) == left


def test_more_replicas_than_there_are_and_too_many_pauses_are_refused() -> None:
    lost = Trigger(kind=TriggerKind.LOSE, lasting_s=30.0, replicas=3)
    assert len(lost.absences(3, begins_s=0.0, detection_s=0.0, startup_s=0.0)) == 3
    with pytest.raises(DomainError, match="the trigger hits 3 replicas, and there are 2"):
        lost.absences(2, begins_s=0.0, detection_s=0.0, startup_s=0.0)
    for lasting_s, replicas, refused in ((1000.0, 1, False), (500.0, 2, False), (1000.01, 1, True)):
        often = Trigger(kind=TriggerKind.PAUSE, lasting_s=lasting_s, pause_s=0.001, pauses_per_s=100.0)
        if refused:
            with pytest.raises(DomainError, match="more than 100000 pauses are too many for one run"):
                often.slowdowns(replicas, begins_s=0.0, exponential=lambda: 1e9)
        else:
            assert often.slowdowns(replicas, begins_s=0.0, exponential=lambda: 1e9) == ()


# ---- Disturbances ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "scale", "said"),
    [
        (0.0, 2.0, r"the share of class c must be within \(0, 1\), got 0"),
        (1.0, 2.0, r"the share of class c must be within \(0, 1\), got 1"),
        (0.5, 0.0, "the scale of class c must be above 0 and at most 1000, got 0"),
        (0.5, 1001.0, "the scale of class c must be above 0 and at most 1000, got 1001"),
    ],
)
def test_a_class_out_of_range_is_refused(share: float, scale: float, said: str) -> None:
    assert RequestClass(name="c", share=0.99, scale=1000.0).scale == 1000.0
    with pytest.raises(DomainError, match=said):
        RequestClass(name="c", share=share, scale=scale)


def classes(count: int, share: float = 0.01) -> tuple[RequestClass, ...]:
    return tuple(RequestClass(name=f"c{number}", share=share, scale=2.0) for number in range(count))


def test_sixteen_classes_have_names_of_their_own_and_leave_ordinary_requests() -> None:
    assert len(Disturbances(classes=classes(16)).all_classes) == 17
    rest, *others = Disturbances(classes=classes(2, 0.25)).all_classes
    assert (rest.name, rest.share, rest.scale) == ("ordinary", 0.5, 1.0)
    assert tuple(others) == classes(2, 0.25)
    assert Disturbances().all_classes == ()
    ordinary = RequestClass(name="ordinary", share=0.1, scale=2.0)
    for wrong in (classes(17), classes(1) * 2, (ordinary,)):
        with pytest.raises(
            DomainError, match="at most 16 classes, each with a name of its own but 'ordinary'"
        ):
            Disturbances(classes=wrong)
    with pytest.raises(DomainError, match="must leave some ordinary requests"):
        Disturbances(classes=classes(2, 0.5))


@pytest.mark.parametrize(
    ("length_s", "per_s"), [(0.0, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.inf), (math.nan, 1.0)]
)
def test_pauses_have_a_length_and_a_rate(length_s: float, per_s: float) -> None:
    assert Pauses(length_s=2.0, per_s=0.125).share == 0.2  # of 10 s
    with pytest.raises(DomainError, match="pauses need a length and a rate above 0"):
        Pauses(length_s=length_s, per_s=per_s)


def test_a_batch_is_slowed_down_by_its_longest_request_whatever_the_order_of_classes() -> None:
    """Of two: both short with 0.2², at least one of the longest with 1 - 0.7², the rest ordinary; and a fifth stands."""
    short, long = RequestClass(name="s", share=0.2, scale=0.5), RequestClass(name="l", share=0.3, scale=4.0)
    longer = 0.5 * 0.2**2 + 1.0 * (0.7**2 - 0.2**2) + 4.0 * (1.0 - 0.7**2)
    for order in ((short, long), (long, short)):
        assert Disturbances(classes=order).slowdown(2) == pytest.approx(longer)
    pauses = Pauses(length_s=2.0, per_s=0.125)
    assert Disturbances(classes=(short, long), pauses=pauses).slowdown(2) == pytest.approx(longer / 0.8)
    assert Disturbances(pauses=pauses).slowdown(9) == pytest.approx(1.25)


# ---- Protection, clients and faults -----------------------------------------------------------


def test_what_is_not_said_is_a_fleet_without_protection_and_clients_that_try_once() -> None:
    """CoDel's 5 ms and 100 ms are folly's, a budget's 100 tokens of which a retry takes one its usual size."""
    assert Protection() == Protection(
        shedding=Shedding.NONE,
        late_margin_s=0.0,
        codel_target_s=0.005,
        codel_interval_s=0.1,
        abandoned=Abandoned.SERVED,
        ejects=False,
    )
    assert RetryBudget() == RetryBudget(
        kind=BudgetKind.NONE, ratio=0.0, cost=1.0, tokens=100.0, tokens_per_s=0.0, at_least=3
    )
    assert Clients() == Clients(attempts=1, retried=frozenset(Failure), budget=RetryBudget())
    assert Backoff(initial_s=1.0, max_s=9.0).multiplier == 2.0
    assert Trigger(kind=TriggerKind.ROLLOUT) == Trigger(
        kind=TriggerKind.ROLLOUT,
        lasting_s=0.0,
        factor=1.0,
        replicas=0,
        pause_s=0.0,
        pauses_per_s=0.0,
        notice_s=0.0,
    )
    assert Fault(instant_s=0.0, replica=0, action=Action.LEAVE).value == 0.0


@pytest.mark.parametrize(
    ("batches", "factor", "said"),
    [
        (0, 2.0, "cold batches must be from 1 to 1000000, got 0"),
        (1_000_001, 2.0, "cold batches must be from 1 to 1000000, got 1000001"),
        (1, 1.0, "a cold batch's factor must be above 1 and at most 100, got 1"),
        (1, 100.5, "a cold batch's factor must be above 1 and at most 100, got 100.5"),
    ],
)
def test_a_cold_cache_out_of_range_is_refused(batches: int, factor: float, said: str) -> None:
    assert ColdCache(batches=1, factor=1.01).batches == 1
    assert ColdCache(batches=1_000_000, factor=100.0).factor == 100.0
    with pytest.raises(DomainError, match=said):
        ColdCache(batches=batches, factor=factor)


def test_a_fault_out_of_range_is_refused() -> None:
    for action in Action:
        needs_value = action in (Action.SLOW, Action.PAUSE)
        assert Fault(instant_s=0.0, replica=0, action=action, value=1e-9).action is action
        if needs_value:
            with pytest.raises(DomainError, match=f"{action.name} needs a value above 0, got 0"):
                Fault(instant_s=0.0, replica=0, action=action)
        else:
            assert Fault(instant_s=0.0, replica=0, action=action).value == 0.0
    for wrong_s in (-1e-9, math.nan):
        with pytest.raises(DomainError, match="a fault's instant must be >= 0"):
            Fault(instant_s=wrong_s, replica=0, action=Action.JOIN)
