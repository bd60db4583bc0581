"""Batching rules and shared devices in trouble, by hand, in both engines."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import fixed

from capacity.question.plan import Routing
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Abandoned, Protection
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from simulations.draws.attempts import AttemptDraws, BatchFleet, Outcomes
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference

NAN = math.nan
ENGINES = pytest.mark.parametrize("run", [run_kernel, run_reference], ids=["kernel", "simpy"])
Run = Callable[..., Outcomes]


def answered(
    run: Run,
    arrived_s: list[float],
    time_s: Callable[[int], float],
    faults: list[Fault] | None = None,
    *,
    clients: Clients | None = None,
    abandoned: Abandoned = Abandoned.SERVED,
    slowdowns: tuple[float, ...] = (1.0,),
    **plan: Any,
) -> list[float]:
    """When each request is answered that comes at these instants; one replica unless the plan says otherwise."""
    count = len(arrived_s)
    usual = {"profile": "made-up", "replicas": 1, "batch_size_max": 2, "batch_wait_max_s": 1.0}
    fleet = BatchFleet(plan=BatchPlan(**(usual | plan)), service_times=fixed(time_s), slowdowns=slowdowns)
    draws = AttemptDraws(
        arrived_s=np.array(arrived_s),
        service=np.full((1, count), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    outcomes = run(fleet, draws, clients or Clients(), Protection(abandoned=abandoned), faults or [])
    return [round(one, 9) for one in outcomes.answered_s.tolist()]


def at(instant_s: float, action: Action, replica: int = 0, value: float = 0.0) -> Fault:
    return Fault(instant_s=instant_s, replica=replica, action=action, value=value)


def same(found: list[float], wanted: list[float]) -> None:
    np.testing.assert_array_equal(found, wanted)


@ENGINES
def test_a_place_in_a_collected_batch_stays_empty(run: Run) -> None:
    """The third and the fourth are one batch. At 6 the third has given up: the fourth starts alone, and so does the fifth."""
    asked: dict[str, Any] = {
        "arrived_s": [0.0, 0.0, 0.5, 1.25, 1.5],
        "time_s": lambda size: 6.0 if size == 2 else 0.125,
        "clients": Clients(timeout_s=5.0),
        "abandoned": Abandoned.DROPPED,
    }
    same(answered(run, batching=Batching.RAY_SERVE, **asked), [NAN, NAN, NAN, 6.125, 6.25])
    same(answered(run, **asked), [NAN] * 5)  # Triton fills the batch, which takes too long


@ENGINES
def test_a_batch_stays_open_for_ray_serve_where_who_opened_it_has_left(run: Run) -> None:
    """At 0.5 the first gives up. The second would open a batch until 1.5, but joins that of the first, which is full."""
    found = answered(
        run,
        [0.0, 0.75],
        lambda size: 0.5,
        clients=Clients(timeout_s=0.5),
        abandoned=Abandoned.STOPPED,
        batching=Batching.RAY_SERVE,
        batch_wait_max_s=0.75,
    )
    same(found, [NAN, 1.25])


@ENGINES
def test_what_ray_serve_has_collected_is_lost_with_its_replica(run: Run) -> None:
    """A request that comes after the restart opens a batch of its own, as the batch before the crash is lost."""
    faults = [at(0.25, Action.CRASH), at(0.5, Action.RESTART)]
    found = answered(run, [0.0, 0.75], lambda size: 1.0, faults, batching=Batching.RAY_SERVE)
    same(found, [NAN, 2.75])


@ENGINES
def test_a_wait_that_torchserve_has_begun_ends_with_its_replica(run: Run) -> None:
    """A replica that is back counts the wait from its return, 0.75."""
    faults = [at(0.25, Action.CRASH), at(0.5, Action.RESTART)]
    found = answered(run, [0.0, 0.75], lambda size: 1.0, faults, batching=Batching.TORCHSERVE)
    same(found, [NAN, 2.75])


@ENGINES
def test_torchserve_counts_the_wait_from_when_a_replica_is_free(run: Run) -> None:
    """The first two take until 2; the third has waited since 0.5, and waits until 3 for a fourth."""
    found = answered(run, [0.0, 0.0, 0.5], lambda size: 2.0, batching=Batching.TORCHSERVE)
    same(found, [2.0, 2.0, 5.0])
    same(answered(run, [0.0, 0.0, 0.5], lambda size: 2.0), [2.0, 2.0, 4.0])


@ENGINES
def test_a_preferred_size_starts_at_once_and_the_rest_when_its_wait_is_over(run: Run) -> None:
    found = answered(
        run, [0.0, 0.0, 0.0], lambda size: 0.5, batch_size_max=4, preferred_sizes=(2,), batch_wait_max_s=2.0
    )
    same(found, [0.5, 0.5, 2.5])


BUSY = (1.0, 2.0)


@ENGINES
def test_two_busy_replicas_of_a_device_slow_each_other_down(run: Run) -> None:
    """2 s of work each, from 0 and from 1 on: the first ends at 3, and then the second has 1 s left."""
    asked: dict[str, Any] = {"replicas": 2, "batch_wait_max_s": 0.0, "slowdowns": BUSY}
    same(answered(run, [0.0, 1.0], lambda size: 2.0, **asked), [3.0, 4.0])
    apart = asked | {"slowdowns": (1.0,)}
    same(answered(run, [0.0, 1.0], lambda size: 2.0, **apart), [2.0, 3.0])


@ENGINES
@pytest.mark.parametrize(
    ("faults", "answered_s"),
    [
        ([at(2.0, Action.CRASH, 1)], [2.5, NAN]),  # half of the second that it had left at 1 is done
        ([at(2.0, Action.HANG, 1)], [2.5, NAN]),
        ([at(2.0, Action.LEAVE, 1)], [3.0, 4.0]),  # it ends its batch
        # Of 2 s it has done 0.5 when it stands still until 1.5, with 1.5 s left at half the speed; the other has worked
        # for 1.75 s when it ends at 4.5.
        ([at(0.5, Action.PAUSE, 0, 1.0), at(1.5, Action.RESUME)], [4.5, 4.75]),
        ([at(0.5, Action.SLOW, 1, 2.0)], [3.0, 6.0]),  # 4 s of work, of which 3 s are left at 3
    ],
)
def test_trouble_of_one_replica_of_a_device(run: Run, faults: list[Fault], answered_s: list[float]) -> None:
    asked: dict[str, Any] = {"replicas": 2, "batch_wait_max_s": 0.0, "slowdowns": BUSY}
    same(answered(run, [0.0, 1.0], lambda size: 2.0, faults, **asked), answered_s)


@ENGINES
def test_only_replicas_of_one_device_slow_each_other_down(run: Run) -> None:
    """The third has a device for itself until the fourth comes, from a queue that all share."""
    asked: dict[str, Any] = {"replicas": 4, "batch_wait_max_s": 0.0, "slowdowns": BUSY, "batch_size_max": 1}
    shared = asked | {"routing": Routing.SHARED_QUEUE}
    for settings in (asked, shared):
        found = answered(run, [0.0, 0.0, 0.0, 1.0], lambda size: 2.0, **settings)
        same(found, [4.0, 4.0, 3.0, 4.0])
