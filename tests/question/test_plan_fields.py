"""A plan's limits, and how much work it can sustain: by hand, at each boundary."""

import math
from dataclasses import replace
from typing import Any

import pytest

from capacity.errors import DomainError, UnstableError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import REPLICAS_LIMIT, Routing
from capacity.server.batch.batching import Batching, BatchTimer, batching_of
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import (
    devices_serving_min,
    load,
    load_under,
    loss_min,
    replicas_stable_min,
    require_answerable,
    sustainable_rate_rps,
)
from capacity.traffic.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    Workload,
)
from simulations.statistics.relaxation import relaxation_requests

# 100, 160 and 200 requests a second by batches of 1, 2 and 4.
PROFILE = ServiceProfile(
    name="p",
    timings=tuple(
        BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in ((1, 0.01), (2, 0.0125), (4, 0.02))
    ),
)


def plan_of(**fields: Any) -> BatchPlan:
    return BatchPlan(**({"profile": "p", "replicas": 2, "batch_size_max": 4} | fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"replicas": 0}, f"replicas must be from 1 to {REPLICAS_LIMIT}, got 0"),
        ({"replicas": REPLICAS_LIMIT + 1}, f"replicas must be from 1 to {REPLICAS_LIMIT}, got"),
        ({"batch_size_max": 0}, "batch_size_max must be >= 1, got 0"),
        ({"batch_wait_max_s": -0.1}, "batch_wait_max_s must be >= 0 and finite, got -0.1"),
        ({"batch_wait_max_s": math.inf}, "batch_wait_max_s must be >= 0 and finite, got inf"),
        ({"queue_limit": -1}, "the queue limit must be >= 0, got -1"),
        ({"preferred_sizes": (2,), "batching": Batching.TORCHSERVE}, "torchserve batching has no preferred sizes"),
        ({"preferred_sizes": (4, 2)}, "preferred sizes must rise from 1 or more, got 4, 2"),
        ({"preferred_sizes": (2, 2)}, "preferred sizes must rise from 1 or more, got 2, 2"),
        ({"preferred_sizes": (0, 2)}, "preferred sizes must rise from 1 or more, got 0, 2"),
        ({"preferred_sizes": (2, 5)}, "preferred size 5 is above the largest batch, 4; Triton refuses such"),
        (
            {"batching": Batching.RAY_SERVE, "routing": Routing.SHARED_QUEUE},
            "ray-serve batching has a batcher at each replica and no shared queue",
        ),
    ],
)  # fmt: skip
def test_a_plan_out_of_range_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DomainError) as caught:
        plan_of(**fields)
    assert str(caught.value).startswith(said)


def test_plans_at_their_limits() -> None:
    least = plan_of(replicas=1, batch_size_max=1, batch_wait_max_s=0.0, queue_limit=0, preferred_sizes=(1,))
    assert (least.timer, least.due_size) == (None, 1)
    assert plan_of(replicas=REPLICAS_LIMIT).replicas == REPLICAS_LIMIT
    assert (plan_of(preferred_sizes=(2, 4)).due_size, plan_of().due_size) == (2, 4)
    timers = [plan_of(batching=batching).timer for batching in Batching]
    assert timers == [BatchTimer.OLDEST, BatchTimer.OPEN, None]
    assert [batching_of(timer) for timer in BatchTimer] == [Batching.TRITON, Batching.TORCHSERVE]


def test_full_batches_decide_what_a_plan_sustains() -> None:
    assert sustainable_rate_rps(PROFILE, plan_of()) == pytest.approx(400.0)
    assert sustainable_rate_rps(PROFILE, plan_of(batch_size_max=2)) == pytest.approx(320.0)
    assert load(PROFILE, 100.0, plan_of()) == pytest.approx(0.25)
    dips = ServiceProfile(
        name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01), BatchTiming(batch_size=2, mean_s=0.04))
    )
    assert sustainable_rate_rps(dips, plan_of(batch_size_max=2)) == pytest.approx(100.0)
    ahead = plan_of(batch_size_max=2, batching=Batching.RAY_SERVE)
    assert sustainable_rate_rps(dips, ahead) == pytest.approx(200.0)  # by batches of one


def test_what_cannot_be_served_is_lost() -> None:
    assert loss_min(PROFILE, 800.0, plan_of(queue_limit=5)) == pytest.approx(0.5)
    assert loss_min(PROFILE, 300.0, plan_of(queue_limit=5)) == 0.0
    assert devices_serving_min(PROFILE, 800.0, 4, 0.5) == 2
    assert devices_serving_min(PROFILE, 800.0, 4, 0.49) == 3
    assert devices_serving_min(PROFILE, 1.0, 4, 0.0) == 1


@pytest.mark.parametrize(
    ("arrivals", "routing", "replicas", "wait_s", "mean", "is_exact"),
    [
        # Others join a batch of two within its wait: one that comes by then, or none.
        (DeterministicArrivals(), Routing.ROUND_ROBIN, 1, 0.0125, 2.0, True),
        (DeterministicArrivals(), Routing.ROUND_ROBIN, 2, 0.0125, 1.0, True),
        (DeterministicArrivals(), Routing.RANDOM, 2, 0.0125, None, False),
        (PoissonArrivals(), Routing.ROUND_ROBIN, 1, 0.01, 2.0 - math.exp(-1.0), True),
        (PoissonArrivals(), Routing.ROUND_ROBIN, 2, 0.01, 2.0 - 2.0 * math.exp(-1.0), True),
        (PoissonArrivals(), Routing.RANDOM, 2, 0.01, 2.0 - math.exp(-0.5), True),
        (PoissonArrivals(), Routing.LEAST_OUTSTANDING, 2, 0.01, 2.0 - math.exp(-0.5), False),
        (GammaArrivals(cv=math.sqrt(0.5)), Routing.ROUND_ROBIN, 1, 0.01, 2.0 - 3.0 * math.exp(-2.0), True),
    ],
)
def test_batches_that_are_collected_ahead_are_as_large_as_arrivals_make_them(
    arrivals: Any, routing: Routing, replicas: int, wait_s: float, mean: float | None, is_exact: bool
) -> None:
    """Of two at most, at 100 requests a second: Erlang's law tells whether another comes within the wait."""
    plan = plan_of(
        batch_size_max=2,
        replicas=replicas,
        routing=routing,
        batch_wait_max_s=wait_s,
        batching=Batching.RAY_SERVE,
    )
    found, told = load_under(PROFILE, Workload(arrival_rate_rps=100.0, arrivals=arrivals), plan)
    assert told is is_exact
    if mean is not None:
        work_s = 0.01 * (2.0 - mean) + 0.0125 * (mean - 1.0)
        assert found == pytest.approx(100.0 * work_s / (replicas * mean))


def test_other_rules_have_the_usual_load() -> None:
    assert load_under(PROFILE, Workload(arrival_rate_rps=100.0), plan_of()) == (pytest.approx(0.25), True)


def test_the_fewest_replicas_have_a_load_below_1() -> None:
    assert [replicas_stable_min(PROFILE, rate_rps, PROFILE.throughput_rps(4)) for rate_rps in (1.0, 199.0, 200.0, 400.0)] == [
        1, 1, 2, 3,
    ]  # fmt: skip


def test_relaxation_by_hand() -> None:
    """At load 0.25 a queue receives 0.25/(1 - 0.5)^2 = 1 request in a relaxation time of M/M/1."""
    assert relaxation_requests(0.25, 1, 0.5, 2.0) == pytest.approx(1.0)
    assert relaxation_requests(0.25, 3, 0.5, 8.0) == pytest.approx(12.0)
    assert relaxation_requests(0.25, 3, 0.5, 0.1) == pytest.approx(3.0)  # no faster than M/M/1
    assert relaxation_requests(0.25, 3, 20.0, 2.0) == 20.0
    assert relaxation_requests(0.0001, 1, 0.0, 2.0) == 1.0


def test_what_has_no_steady_state_names_the_fewest_replicas() -> None:
    require_answerable(PROFILE, Workload(arrival_rate_rps=399.0), plan_of())
    require_answerable(PROFILE, Workload(arrival_rate_rps=900.0), plan_of(queue_limit=3))
    require_answerable(PROFILE, ClosedPopulation(users=1000), plan_of())
    with pytest.raises(UnstableError) as caught:
        require_answerable(PROFILE, Workload(arrival_rate_rps=400.0), plan_of())
    assert str(caught.value) == (
        "unstable plan: load 1.000 >= 1 (400 rps on 400 rps of 2 replicas with full batches of 4); use at least 3 "
        "replicas"
    )
    assert caught.value.servers_min == 3
    with pytest.raises(UnstableError, match=r"load 1\.250 >= 1 \(250 rps on 200 rps of 1 replica with full"):
        require_answerable(PROFILE, Workload(arrival_rate_rps=250.0), plan_of(replicas=1))
    ahead = plan_of(replicas=1, batch_size_max=4, batching=Batching.RAY_SERVE)
    with pytest.raises(
        UnstableError, match=r"^unstable plan: load 1\.500 >= 1 \(150 rps on 1 replica\): with a batch"
    ):
        require_answerable(PROFILE, Workload(arrival_rate_rps=150.0), ahead)
    late = ServiceProfile(name="p", timings=(BatchTiming(batch_size=2, mean_s=0.01),))
    with pytest.raises(
        DomainError, match="^profile p starts at batch size 2, but a request that finds an idle"
    ):
        require_answerable(late, Workload(arrival_rate_rps=1.0), plan_of(batch_size_max=2))


@pytest.mark.parametrize(
    ("routing", "instances", "replicas", "working"),
    [
        (Routing.ROUND_ROBIN, 2, 4, 2.0),
        (Routing.ROUND_ROBIN, 2, 3, 1.5),  # the slow ones decide
        (Routing.RANDOM, 2, 3, 1.5),
        (Routing.LEAST_OUTSTANDING, 2, 3, 2.0),  # a full device, and a quick one
        (Routing.SHARED_QUEUE, 4, 5, 2.0),
        (Routing.POWER_OF_TWO, 2, 3, 2.0),
        (
            Routing.POWER_OF_TWO,
            4,
            5,
            5.0 / 3.0,
        ),  # 4 of 5 slow ones get 12/20 of the requests and do the work of one
        (Routing.POWER_OF_TWO_HAPROXY, 4, 5, 25.0 / 16.0),  # and 16/25 where both choices may be one
        (Routing.POWER_OF_TWO, 4, 3, 1.0),
        (Routing.SHARED_QUEUE, 1, 3, 3.0),
    ],
)
def test_replicas_that_share_devices_do_the_work_of_fewer(routing, instances, replicas, working) -> None:
    """With m busy on a device each takes m times as long; one alone serves 200 requests a second."""
    shared = replace(PROFILE, instances_per_device=instances)
    plan = plan_of(replicas=replicas, routing=routing)
    assert sustainable_rate_rps(shared, plan) == pytest.approx(200.0 * working)
