"""Pooled fleets: runs of hundreds of replicas at one queue start at their steady state, and say what others say."""

from dataclasses import replace

import numpy as np
import pytest

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Verdict
from capacity.question.objective import Measure, Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.steady import shared_batches
from capacity.traffic.workload import Workload
from simulations.cases.batch import BatchCase
from simulations.cases.pooled_fleet import PooledFleet
from simulations.draws.arrivals import Seed, draw
from simulations.draws.service import ProfileTimes
from simulations.draws.start import SharedStart
from simulations.judge import SimulationJudge
from simulations.kernel.serve import run as run_kernel
from simulations.reference.cluster import run as run_reference
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

T4 = load_profile("resnet50-t4-fp16")


def case_of(replicas: int, load: float, size: int = 32, p99_s: float = 0.04) -> BatchCase:
    plan = BatchPlan(profile=T4.name, replicas=replicas, batch_size_max=size, routing=Routing.SHARED_QUEUE)
    workload = Workload(arrival_rate_rps=load * replicas * T4.throughput_rps(size))
    objective = Objective.of(response={0.99: p99_s})
    scenario = Scenario(profile=T4, workload=workload, plan=plan, objective=objective, quantiles=(0.99,))
    return BatchCase(scenario=scenario)


def pooled(case: BatchCase) -> PooledFleet:
    assert isinstance(case.level, PooledFleet)
    return case.level


def pool_of(case: BatchCase, length: Length, runs: int) -> Pool:
    return Pool.of(map(case.replicate, case.tasks(length, Seed(value=4), range(runs))))


@pytest.mark.parametrize(("replicas", "waiting"), [(1, 0), (3, 7), (40, 100)])
def test_both_engines_start_alike(replicas: int, waiting: int) -> None:
    """Batches that are served at first end with the others, lowest replica first, and those who wait come first."""
    plan = BatchPlan(profile=T4.name, replicas=replicas, batch_size_max=4, routing=Routing.SHARED_QUEUE)
    start = SharedStart(
        replicas=replicas, sizes=(0.3, 0.1, 0.1, 0.5), times_s=(0.003, 0.004, 0.005, 0.0057), waiting=waiting
    )
    draws = draw(Workload(arrival_rate_rps=650.0 * replicas), 40 * replicas + 300, Seed(value=3), None, start)
    one, other = (
        run_reference(plan, ProfileTimes(T4), draws),
        run_kernel(plan, ProfileTimes(T4), draws, block=97),
    )
    for name in ("arrived_s", "started_s", "finished_s", "batch_size", "replica", "oldest"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert draws.underway is not None
    assert one.started_s[0] >= draws.underway.ends_s.min()  # all are at work
    assert not one.arrived_s[:waiting].any()
    assert one.arrived_s[waiting] > 0.0


def test_a_start_meets_long_batches_more_often_at_any_point() -> None:
    """Half of the batches are of one and take a quarter of the time of the others: a fifth of those met are of one."""
    start = SharedStart(
        replicas=20_000, sizes=(0.5, 0.0, 0.0, 0.5), times_s=(0.01, 0.02, 0.03, 0.04), waiting=9
    )
    underway = start.underway(np.random.default_rng(1))
    assert set(underway.sizes.tolist()) == {1, 4}
    assert np.mean(underway.sizes == 1) == pytest.approx(0.2, abs=4.0 * np.sqrt(0.16 / 20_000))
    left = underway.ends_s / (0.01 * underway.sizes)
    assert left.mean() == pytest.approx(0.5, abs=4.0 * np.sqrt(1.0 / 12.0 / 20_000))
    assert len(underway.placed) == 9


def test_the_law_of_batches_solves_its_balance() -> None:
    """All replicas serve, batches bring what arrives, and the queue is a geometric one by its own equation."""
    rate_rps, replicas, size = 100_000.0, 100, 32
    found = shared_batches(T4, rate_rps, replicas, size)
    assert found is not None
    assert found.sizes.sum() == pytest.approx(1.0)
    batches_rps = rate_rps / float(found.sizes @ np.arange(1, size + 1))
    assert batches_rps * float(found.sizes @ found.times_s) == pytest.approx(replicas)
    z = found.sizes[2] / found.sizes[1]
    assert batches_rps * z ** (size + 1) + rate_rps == pytest.approx((rate_rps + batches_rps) * z)
    assert shared_batches(T4, 1.01 * replicas * T4.throughput_rps(size), replicas, size) is None  # unstable
    assert shared_batches(T4, 20_000.0, replicas, size) is None  # idle
    affine = ServiceProfile(
        name="affine", timings=tuple(BatchTiming(batch_size=n, mean_s=0.002 + 0.001 * n) for n in (1, 2, 8))
    )
    even = shared_batches(affine, 60_000.0, 100, 8)
    assert even is not None  # of c replicas c - d*rate are left for the fixed part, 2 ms a batch
    assert 60_000.0 / float(even.sizes @ np.arange(1, 9)) == pytest.approx((100.0 - 60.0) / 0.002)


@pytest.mark.parametrize(("load", "size"), [(0.6, 32), (0.95, 32), (0.9, 16)])
def test_runs_from_the_steady_state_say_what_runs_from_empty_say(load: float, size: int) -> None:
    """The sizes of batches within 1 %; P99 and the mean within both intervals and half a per cent."""
    warm = case_of(120, load, size)
    fleet = pooled(warm)
    cold = replace(warm, is_whole=True)
    assert cold.level is None
    services = round(fleet.services)
    filling = 20 * services + 10 * round(fleet.relaxation)
    empty = pool_of(cold, Length(warm_up=filling, measured=150_000, cool_down=services), 20)
    busy = pool_of(warm, Length(warm_up=warm.length.warm_up, measured=60_000, cool_down=services), 20)
    law = float(fleet.batches.sizes @ np.arange(1, size + 1))
    for pool in (empty, busy):
        assert pool.whole.counted / pool.whole.batches == pytest.approx(law, rel=0.01)
    pairs = [
        [pool.response_quantile(0.99).interval(0.99) for pool in (empty, busy)],
        [pool.mean(Measure.RESPONSE_MEAN).interval(0.99) for pool in (empty, busy)],
    ]
    for one, other in pairs:
        assert max(one.low - other.high, other.low - one.high, 0.0) <= 0.005 * one.value


def test_a_larger_fleet_needs_fewer_services_and_a_busier_one_longer_runs() -> None:
    small, large = case_of(120, 0.9), case_of(2000, 0.9)
    needs = [one.counted_min(1.0) / pooled(one).services for one in (small, large)]
    assert needs[0] > 160.0
    assert needs[1] == pytest.approx(20.0, rel=0.01)
    busier = case_of(2000, 0.996)
    assert busier.length.warm_up > large.length.warm_up
    assert case_of(120, 0.998).level is None  # bursts outlast services
    assert case_of(99, 0.9).level is None
    assert replace(large, is_whole=True).level is None


def test_a_fleet_of_thousands_is_confirmed_near_its_capacity_and_refused_for_slow_batches() -> None:
    judge = SimulationJudge(seed=2)
    good = judge.certify(case_of(2000, 0.99).scenario, 1)
    assert good.verdict is Verdict.MET
    assert good.requests < 20_000_000
    slow = judge.search(case_of(2000, 0.8, 64).scenario, 1)
    assert slow.verdict is Verdict.MISSED
    assert slow.requests < 1_000_000
