"""When a stress begins, what it is compared with and when it ends: the instants by hand, and what is refused."""

import math
from dataclasses import replace
from typing import Any

import pytest
from stresses import ENGINE, PROFILE, engines_in_trouble, fleet_in_trouble

from capacity.errors import DomainError, InputError
from capacity.question.plan import Routing
from capacity.question.resilience import Breakdowns
from capacity.recovery.disturbance import ORDINARY, Disturbances, Pauses, RequestClass
from capacity.recovery.protection import Ejecting, Protection, Shedding
from capacity.recovery.stress import DETECTION_S
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.engine.server import TokenEngine
from capacity.traffic.clients import Backoff, Clients


def test_the_instants_of_a_fleet_of_batches() -> None:
    """Three tries of 500 ms are decided within 1.5 s: less than the 5 s by which a baseline may be shorter."""
    stress = fleet_in_trouble()
    assert (stress.window_s, stress.steady_s, stress.served_s, stress.overhead_s) == (5.0, 30.0, 0.0, 0.0)
    assert stress.begins_s == 30.0 + 30.0
    assert stress.baseline_s == (30.0, 58.5)
    assert (stress.lasts_s, stress.ends_s, stress.until_s, stress.comes_until_s) == (
        60.0, 120.0, 720.0, 721.5,
    )  # fmt: skip
    assert (stress.load, stress.up_share, stress.spike_factor, stress.limit) == (0.8, 1.0, 1.0, None)
    assert stress.with_limit(7).plan.queue_limit == stress.with_limit(7).limit == 7
    assert stress.with_replicas(9) == replace(stress, plan=replace(stress.plan, replicas=9))


def test_patient_clients_and_rare_requests_take_longer_to_see() -> None:
    """Two tries of 20 s and up to 5 s between: 45 s; 4 requests a second are 200 in 50 s."""
    patient = Clients(timeout_s=20.0, attempts=2, backoff=Backoff(initial_s=5.0, max_s=5.0))
    stress = fleet_in_trouble(clients=patient, rate_rps=4.0, trigger="spike:3x,10s")
    assert (stress.window_s, stress.steady_s) == (50.0, 45.0)
    assert stress.begins_s == 30.0 + 50.0 + 40.0
    assert stress.baseline_s == (120.0 - 90.0, 120.0 - 45.0)
    assert (stress.spike_factor, stress.lasts_s) == (3.0, 10.0)
    assert stress.comes_until_s == 120.0 + 10.0 + 600.0 + 45.0


def test_the_instants_of_engines() -> None:
    """A full engine takes 20 s a response: the warm-up is four of them, 80 s. Windows hold 200 in 40 s."""
    stress = engines_in_trouble(startup_s=7.0)
    assert (stress.served_s, stress.capacity_rps, stress.load) == (20.0, 6.0, 5.0 / 6.0)
    assert stress.overhead_s == pytest.approx(0.5 + 0.01 * 20.0)
    assert stress.begins_s == 80.0 + 40.0 + 55.0
    assert stress.lasts_s == 27.0
    assert stress.with_limit(7).limit == 7
    assert stress.limit is None
    limited = stress.with_limit(7).plan
    scenario = stress.server.scenario(stress.workload, limited)
    assert (scenario.plan, scenario.workload) == (limited, stress.workload)
    assert TokenEngine.of(scenario, lambda _: ENGINE) == stress.server


def test_a_fleet_that_breaks_down_is_up_for_its_share() -> None:
    stress = replace(fleet_in_trouble(), breakdowns=Breakdowns(mtbf_s=90.0, recovery_s=10.0))
    assert stress.up_share == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"detection_s": -1.0}, r"detection_s must be >= 0 and finite, got -1"),
        ({"startup_s": math.inf}, r"startup_s must be >= 0 and finite, got inf"),
        ({"trigger": Trigger(kind=TriggerKind.ROLLOUT)}, r"a rollout needs --startup-time: how long"),
        ({"horizon_s": 34.9}, r"the horizon must be at least 35 s, .* got 34\.9 s"),
        (
            {"clients": Clients(), "protection": Protection(shedding=Shedding.LATE)},
            r"--shed late needs to know when a request is late; give --timeout or --deadline",
        ),
        ({"protection": Protection(ejection=Ejecting.ENVOY)}, r"--ejection is a balancer's, and replicas that share a queue"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((DomainError, InputError), match=f"^{said}"):
        replace(fleet_in_trouble(), **changes)


def test_what_is_nearly_refused_is_asked() -> None:
    usual = fleet_in_trouble()
    assert usual.detection_s == DETECTION_S == 30.0
    for changes in (
        {"horizon_s": 35.0},
        {"detection_s": 0.0},
        {"trigger": Trigger(kind=TriggerKind.ROLLOUT), "startup_s": 0.5},
        {"clients": Clients(deadline_s=1.0), "protection": Protection(shedding=Shedding.LATE)},
        {"clients": Clients(timeout_s=1.0), "protection": Protection(shedding=Shedding.LATE)},
        {
            "protection": Protection(ejection=Ejecting.ENVOY),
            "plan": replace(usual.plan, routing=Routing.RANDOM),
        },
    ):
        assert replace(usual, **changes).profile is PROFILE


def test_a_replica_that_pauses_stands_still_for_a_share() -> None:
    assert Pauses(length_s=2.0, per_s=0.05).share == pytest.approx(2.0 / 22.0)
    for length_s, per_s in ((0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(DomainError, match="^pauses need a length and a rate above 0$"):
            Pauses(length_s=length_s, per_s=per_s)


def test_classes_leave_some_ordinary_requests() -> None:
    def of(count: int, share: float) -> Disturbances:
        return Disturbances(
            classes=tuple(RequestClass(name=f"c{n}", share=share, scale=2.0) for n in range(count))
        )

    (ordinary, first, _) = of(2, 0.25).all_classes
    assert (ordinary.name, ordinary.share, ordinary.scale) == (ORDINARY, 0.5, 1.0)
    assert (first.name, Disturbances().all_classes) == ("c0", ())
    assert len(of(16, 0.01).all_classes) == 17
    one = RequestClass(name=ORDINARY, share=0.1, scale=2.0)
    for classes in (of(1, 0.1).classes * 2, (one,)):
        with pytest.raises(
            DomainError, match="^at most 16 classes, each with a name of its own but 'ordinary'$"
        ):
            Disturbances(classes=classes)
    with pytest.raises(DomainError, match="^at most 16 classes"):
        of(17, 0.01)
    with pytest.raises(DomainError, match="^the shares of all classes together must leave some ordinary"):
        of(4, 0.25)


@pytest.mark.parametrize(
    ("share", "scale", "said"),
    [
        (0.0, 2.0, r"the share of class c must be within \(0, 1\), got 0"),
        (1.0, 2.0, r"the share of class c must be within \(0, 1\), got 1"),
        (0.5, 0.0, "the scale of class c must be above 0 and at most 1000, got 0"),
        (0.5, 1000.5, "the scale of class c must be above 0 and at most 1000, got 1000.5"),
    ],
)
def test_a_class_out_of_range_is_refused(share: float, scale: float, said: str) -> None:
    with pytest.raises(DomainError, match=f"^{said}$"):
        RequestClass(name="c", share=share, scale=scale)
    assert RequestClass(name="c", share=0.5, scale=1000.0).scale == 1000.0


def test_a_batch_of_several_scales_takes_its_longest() -> None:
    """A quarter twice, a quarter half as long: of two, 1/16 are both short, 1/2 more none long, 7/16 long."""
    long = RequestClass(name="long", share=0.25, scale=2.0)
    short = RequestClass(name="short", share=0.25, scale=0.5)
    pauses = Pauses(length_s=1.0, per_s=1.0)  # half of the time
    for classes in ((long, short), (short, long)):
        both = Disturbances(classes=classes, pauses=pauses)
        assert both.slowdown(2) == pytest.approx(2.0 * (0.5 / 16 + 1.0 / 2 + 2.0 * 7 / 16))
    assert Disturbances(pauses=pauses).slowdown(9) == pytest.approx(2.0)
