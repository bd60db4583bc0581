"""One replica stands for a fleet whose replicas do not influence each other: held against the whole fleet."""

from dataclasses import replace

import numpy as np
import pytest

from capacity.profile.load import load_profile
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from simulations.case import one_for_all
from simulations.draws.arrivals import Seed, Stage, draw
from simulations.draws.service import ProfileTimes
from simulations.replication import Task, replicate
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

PROFILE = load_profile("resnet50-mxnet-t4-fp16")
BURSTY = MmppArrivals(ratio=1.5, burst_mean_s=0.03, calm_mean_s=0.05)
LENGTH = Length(warm_up=3_000, measured=30_000, cool_down=200)


def pool(workload: Workload, plan: BatchPlan, first_seed: int) -> Pool:
    seeds = [Seed(value=7, stage=Stage.AGREEMENT, replication=first_seed + i) for i in range(20)]
    task = Task(
        plan=plan,
        workload=workload,
        service_times=ProfileTimes(PROFILE),
        request_overhead_s=0.0,
        length=LENGTH,
        seed=seeds[0],
    )
    return Pool.of(replicate(replace(task, seed=seed)) for seed in seeds)


@pytest.mark.parametrize(
    ("routing", "arrivals"),
    [
        (Routing.ROUND_ROBIN, PoissonArrivals()),
        (Routing.ROUND_ROBIN, GammaArrivals(cv=2.0)),
        (Routing.RANDOM, PoissonArrivals()),
        (Routing.RANDOM, BURSTY),
        (Routing.ROUND_ROBIN, BURSTY),
    ],
)
def test_one_replica_and_the_whole_fleet_agree(routing, arrivals):
    """Within 4 standard errors of the difference, which is at most 1.5 % of the value (so: with power)."""
    plan = BatchPlan(profile=PROFILE.name, replicas=3, batch_size_max=16, routing=routing)
    workload = Workload(arrival_rate_rps=2_600.0, arrivals=arrivals)
    whole = pool(workload, plan, first_seed=0)
    alone_workload, alone_plan = one_for_all(workload, plan)
    assert alone_plan.replicas == 1
    alone = pool(alone_workload, alone_plan, first_seed=1_000)
    for quantile in (0.5, 0.99):
        a, b = whole.response_quantile(quantile), alone.response_quantile(quantile)
        error = np.hypot(a.standard_error, b.standard_error)
        assert error <= 0.015 * a.value
        assert abs(a.value - b.value) <= 4.0 * error
    counted = batch_performance(alone, load=0.0, replicas=1, quantiles=(0.5,), confidence=0.95).times(3)
    fleet = batch_performance(whole, load=0.0, replicas=3, quantiles=(0.5,), confidence=0.95)
    assert counted.throughput_rps == pytest.approx(fleet.throughput_rps, rel=0.01)
    assert counted.queue_length_mean == pytest.approx(fleet.queue_length_mean, rel=0.05)
    assert counted.utilization == pytest.approx(fleet.utilization, rel=0.01)


def test_every_cth_poisson_arrival_is_the_law_that_one_replica_sees():
    """Mean and coefficient of variation of the gaps between every third arrival, and of the reduced process."""
    plan = BatchPlan(profile="x", replicas=3, batch_size_max=1)
    workload = Workload(arrival_rate_rps=30.0)
    thinned = draw(workload, 300_000, Seed(value=1)).arrived_s[2::3]
    reduced = draw(one_for_all(workload, plan)[0], 100_000, Seed(value=2)).arrived_s
    for instants_s in (thinned, reduced):
        gaps_s = np.diff(instants_s)
        assert gaps_s.mean() == pytest.approx(0.1, rel=4 * 3**-0.5 / 100_000**0.5)
        assert gaps_s.std() / gaps_s.mean() == pytest.approx(3**-0.5, rel=0.01)


@pytest.mark.parametrize(
    ("routing", "arrivals"),
    [
        (Routing.SHARED_QUEUE, PoissonArrivals()),
        (Routing.LEAST_OUTSTANDING, PoissonArrivals()),
        (Routing.POWER_OF_TWO, PoissonArrivals()),
        (Routing.LEAST_OUTSTANDING, GammaArrivals(cv=2.0)),
        (Routing.SHARED_QUEUE, BURSTY),
        (Routing.RANDOM, MmppArrivals(ratio=2.0, burst_mean_s=5e-5, calm_mean_s=5e-5)),
        (Routing.ROUND_ROBIN, TraceArrivals(instants_s=(0.0, 1.0, 2.0))),
    ],
)
def test_what_has_no_such_law_stays_whole(routing, arrivals):
    plan = BatchPlan(profile="x", replicas=3, batch_size_max=1, routing=routing)
    workload = Workload(arrival_rate_rps=30.0, arrivals=arrivals)
    assert one_for_all(workload, plan) == (workload, plan)


def test_a_metronome_stays_one():
    plan = BatchPlan(profile="x", replicas=4, batch_size_max=1)
    alone, _ = one_for_all(Workload(arrival_rate_rps=8.0, arrivals=DeterministicArrivals()), plan)
    assert alone == Workload(arrival_rate_rps=2.0, arrivals=DeterministicArrivals())


def test_one_replica_is_its_own_reduction():
    plan = BatchPlan(profile="x", replicas=1, batch_size_max=1)
    workload = Workload(arrival_rate_rps=8.0)
    assert one_for_all(workload, plan) == (workload, plan)
