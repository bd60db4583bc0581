"""The short stretch of a run that a report shows: batches that cannot overlap, and queues that add up."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from capacity.profile.load import load_profile
from capacity.question.plan import Plan, Routing
from capacity.question.scenario import Scenario
from capacity.question.window import Window
from capacity.traffic.workload import ClosedPopulation, Demand, PoissonArrivals, TraceArrivals, Workload
from simulations.reference.window import BATCHES_MAX, REPLICAS_MAX, _shortened, readable_length_s, watch

PROFILE = load_profile("resnet50-t4-fp16")
POISSON = Workload(arrival_rate_rps=3200.0, arrivals=PoissonArrivals())


def scenario(workload: Demand = POISSON, **changes: object) -> Scenario:
    plan = Plan(profile=PROFILE.name, replicas=4, batch_size_max=16)
    return Scenario(profile=PROFILE, workload=workload, plan=replace(plan, **changes))


def seen(one: Scenario, throughput_rps: float = 3200.0, batch_size_mean: float = 5.7) -> Window:
    window = watch(one, throughput_rps, batch_size_mean, seed=1)
    assert window is not None
    return window


@pytest.mark.parametrize(
    "one",
    [
        scenario(),
        scenario(routing=Routing.SHARED_QUEUE),
        scenario(queue_limit=3),
        scenario(batch_wait_max_s=0.004),
        scenario(ClosedPopulation(users=60, think_time_s=0.01)),
        scenario(replicas=12),
    ],
    ids=["greedy", "shared", "limited", "waiting", "users", "many"],
)
def test_a_replica_serves_one_batch_at_a_time(one: Scenario) -> None:
    window = seen(one, batch_size_mean=1.1 if one.plan.replicas == 12 else 5.7)
    assert 20 < len(window.batches) < 2 * BATCHES_MAX
    lanes = Counter(batch.replica for batch in window.batches)
    assert set(lanes) == set(range(min(one.plan.replicas, REPLICAS_MAX)))
    for replica in lanes:
        mine = [batch for batch in window.batches if batch.replica == replica]
        assert all(before.finished_s <= after.started_s for before, after in pairwise(mine))
    for batch in window.batches:
        assert 1 <= batch.size <= one.plan.batch_size_max
        assert batch.started_s < window.length_s
        assert batch.finished_s > 0.0
    assert window.instants_s[0] == 0.0
    assert window.instants_s[-1] == pytest.approx(window.length_s)
    assert min(window.waiting) >= 0


def test_what_waits_is_what_came_and_has_not_begun() -> None:
    calm = Workload(arrival_rate_rps=800.0, arrivals=PoissonArrivals())
    window = seen(scenario(calm, replicas=1), throughput_rps=800.0)
    assert window.length_s == 1.0
    for (from_s, before), (to_s, after) in pairwise(zip(window.instants_s, window.waiting, strict=True)):
        begun = sum(batch.size for batch in window.batches if from_s < batch.started_s <= to_s)
        assert after >= before - begun
    begun = sum(batch.size for batch in window.batches if 0.0 < batch.started_s <= window.length_s)
    due = 800.0 * window.length_s
    assert begun == pytest.approx(due, abs=5.0 * np.sqrt(due))  # Poisson, at five standard deviations


def test_the_same_seed_shows_the_same() -> None:
    assert seen(scenario()) == seen(scenario())
    assert seen(scenario()) != watch(scenario(), 3200.0, 5.7, seed=2)


def test_the_window_is_as_long_as_can_be_read() -> None:
    assert seen(scenario()).length_s == 0.2
    assert readable_length_s(0.19) == pytest.approx(0.1)
    assert readable_length_s(1.0) == 1.0
    slow = scenario(Workload(arrival_rate_rps=4.0, arrivals=PoissonArrivals()))
    assert seen(slow, 4.0, 1.0).length_s == 10.0


def test_where_nothing_is_served_there_is_nothing_to_see() -> None:
    assert watch(scenario(), None, 1.0, seed=0) is None


def test_a_long_trace_is_cut_at_its_own_pace() -> None:
    instants_s = tuple(np.cumsum(np.random.default_rng(3).exponential(0.001, 5000)).tolist())
    whole = Workload(arrival_rate_rps=500.0, arrivals=TraceArrivals(instants_s=instants_s, name="t"))
    part = _shortened(whole, 1000)
    assert isinstance(part, Workload)
    assert isinstance(part.arrivals, TraceArrivals)
    assert len(part.arrivals.instants_s) == 1000
    ratio = part.arrivals.rate_rps / part.arrival_rate_rps
    assert ratio == pytest.approx(whole.arrivals.rate_rps / whole.arrival_rate_rps)
    assert _shortened(whole, 6000) is whole
