"""Level fleets: runs of hundreds of replicas start at the fixed point, and then say what runs from empty say."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Verdict
from capacity.question.objective import Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_slow
from capacity.server.batch.steady import is_wait_vain, steady_batch
from capacity.server.batch.timely import quantile_floor_s
from capacity.traffic.workload import GammaArrivals, PoissonArrivals, Workload
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed, draw
from simulations.draws.service import ProfileTimes
from simulations.draws.start import BusyStart
from simulations.judge import SimulationJudge
from simulations.kernel.serve import run as run_kernel
from simulations.looks import looks
from simulations.reference.cluster import run as run_reference
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

T4 = load_profile("resnet50-t4-fp16")
LOOKING = (Routing.POWER_OF_TWO, Routing.LEAST_OUTSTANDING)


def case_of(routing: Routing, replicas: int, of_each_rps: float, size: int = 32, **plan: float) -> BatchCase:
    one = BatchPlan(
        profile=T4.name, replicas=replicas, batch_size_max=size, routing=routing,
        batch_wait_max_s=plan.get("wait_s", 0.0),
    )  # fmt: skip
    workload = Workload(arrival_rate_rps=of_each_rps * replicas)
    objective = Objective.of(response={0.99: plan.get("p99_s", 0.04)})
    scenario = Scenario(profile=T4, workload=workload, plan=one, objective=objective, quantiles=(0.99,))
    return BatchCase(scenario=scenario)


def pool_of(case: BatchCase, length: Length, runs: int) -> Pool:
    return Pool.of(map(case.replicate, case.tasks(length, Seed(value=4), range(runs))))


@pytest.mark.parametrize("routing", LOOKING)
@pytest.mark.parametrize(("replicas", "wait_s"), [(1, 0.0), (3, 0.05), (40, 0.0), (40, 0.002)])
def test_both_engines_start_alike(routing: Routing, replicas: int, wait_s: float) -> None:
    """Batches that are served at first end with the others, lowest replica first, and requests wait where placed."""
    plan = BatchPlan(
        profile=T4.name, replicas=replicas, batch_size_max=16, routing=routing, batch_wait_max_s=wait_s
    )
    looked_at = 2 if routing is Routing.POWER_OF_TWO else None
    start = BusyStart(
        replicas=replicas, size=7.0, size_deviation=1.5, fixed_s=0.002, of_each_s=0.001, looked_at=looked_at
    )
    workload = Workload(arrival_rate_rps=850.0 * replicas)
    draws = draw(workload, 40 * replicas + 300, Seed(value=3), None, start)
    one, other = (
        run_reference(plan, ProfileTimes(T4), draws),
        run_kernel(plan, ProfileTimes(T4), draws, block=97),
    )
    for name in ("arrived_s", "started_s", "finished_s", "batch_size", "replica", "oldest"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    placed = draws.underway.placed if not isinstance(draws.underway, type(None)) else np.zeros(0)
    assert np.array_equal(one.replica[: len(placed)], placed)
    assert not one.arrived_s[: len(placed)].any()
    assert (one.started_s[: len(placed)] > 0.0).all()


@pytest.mark.parametrize("routing", LOOKING)
def test_runs_from_the_fixed_point_say_what_runs_from_empty_say(routing: Routing) -> None:
    """P99, the median and the mean, each within both intervals and 1 %, which is half of the usual precision."""
    warm = case_of(routing, 150, 1050.0)
    level = warm.level
    assert level is not None
    services = round(150 * level.steady.size)
    cold = replace(warm, is_whole=True)
    assert cold.level is None
    filling, measured = 200 * services, 80 * services
    empty = pool_of(cold, Length(warm_up=filling, measured=measured, cool_down=services), 20)
    busy = pool_of(warm, Length(warm_up=warm.length.warm_up, measured=measured, cool_down=services), 20)
    assert empty.is_level
    for quantile in (0.5, 0.99):
        one, other = (pool.response_quantile(quantile).interval(0.99) for pool in (empty, busy))
        apart = max(one.low - other.high, other.low - one.high, 0.0)
        assert apart <= 0.01 * one.value, (quantile, one, other)
    if level.moves_as_one:  # so that few independent late requests are enough
        late_s, later_s = (busy.response_quantile(quantile).value for quantile in (0.98, 0.99))
        assert late_s < later_s < 1.01 * late_s
    means = [pool.mean(Measure.RESPONSE_MEAN).interval(0.99) for pool in (empty, busy)]
    assert max(means[0].low - means[1].high, means[1].low - means[0].high) <= 0.01 * means[0].value


@pytest.mark.parametrize("routing", LOOKING)
def test_a_start_is_near_the_steady_state_at_once(routing: Routing) -> None:
    """P99 of the first services is within 2 % of what it is later, where a fleet from empty has no queue yet."""
    case = case_of(routing, 600, 1050.0)
    assert case.level is not None
    services = round(600 * case.level.steady.size)
    waiting = case.length.warm_up - 5 * services
    first = pool_of(case, Length(warm_up=waiting, measured=3 * services, cool_down=services), 20)
    later = pool_of(
        case, Length(warm_up=waiting + 20 * services, measured=3 * services, cool_down=services), 20
    )
    values = [pool.response_quantile(0.99).value for pool in (first, later)]
    assert values[0] == pytest.approx(values[1], rel=0.02)
    empty = replace(case, is_whole=True)
    cold = pool_of(empty, Length(warm_up=0, measured=3 * services, cool_down=services), 5)
    assert cold.response_quantile(0.99).value < 0.9 * values[1]


@pytest.mark.parametrize("care", [1.0, 0.02])
def test_means_behind_least_outstanding_have_the_error_that_the_start_leaves(care: float) -> None:
    """Short and long runs of a search both have it: 0.5 % to either side, with the variance a²/3 of what is in ± a."""
    case = case_of(Routing.LEAST_OUTSTANDING, 150, 1000.0)
    pool = next(iter(looks(case, Seed(value=5), 10_000_000, care=care))).pool
    plain, found = (one.mean(Measure.RESPONSE_MEAN) for one in (replace(pool, start_error=0.0), pool))
    variance = found.standard_error**2 - plain.standard_error**2
    assert variance == pytest.approx((0.005 * pool.mean_s(Measure.RESPONSE_MEAN)) ** 2 / 3.0)
    others = (case_of(Routing.POWER_OF_TWO, 150, 1000.0), replace(case, is_whole=True))
    assert [one.start_error for one in others] == [0.0, 0.0]


def test_the_start_has_what_waits_at_the_fixed_point() -> None:
    """Two thirds of a batch wait behind power-of-two, a whole one behind least-outstanding, to standard errors."""
    for looked_at, share in ((2, 2.0 / 3.0), (None, 1.0)):
        start = BusyStart(
            replicas=4000, size=20.0, size_deviation=2.0, fixed_s=0.002, of_each_s=0.001, looked_at=looked_at
        )
        underway = start.underway(np.random.default_rng(1))
        waiting = np.bincount(underway.placed, minlength=4000)
        assert start.waiting == pytest.approx(share * 20.0, abs=0.3)
        assert waiting.mean() == pytest.approx(start.waiting, abs=4.0 * waiting.std() / np.sqrt(4000))
        left = underway.ends_s / (0.002 + 0.001 * underway.sizes)
        assert left.mean() == pytest.approx(0.5, abs=4.0 * np.sqrt(1.0 / 12.0 / 4000))
        if looked_at == 2:  # who has just begun has an empty queue, who is nearly done a full one
            assert waiting[left > 0.95].mean() < 3.0
            assert waiting[left < 0.05].mean() > 18.5
            last = left < 0.1  # a larger batch has had fewer to come
            assert np.corrcoef(waiting[last], underway.sizes[last])[0, 1] < -0.3
        else:
            assert set((waiting + underway.sizes).tolist()) <= {40, 41}


def test_only_large_fleets_that_are_always_at_work_start_busy() -> None:
    large = case_of(Routing.LEAST_OUTSTANDING, 150, 1050.0)
    assert large.level is not None
    assert not large.starts_empty
    assert large.length.requests < 0.1 * replace(large, is_whole=True).length.requests
    idle = case_of(Routing.LEAST_OUTSTANDING, 150, 100.0)
    small = case_of(Routing.LEAST_OUTSTANDING, 99, 1050.0)
    tied = [
        case_of(one, 150, 1050.0)
        for one in (Routing.LEAST_OUTSTANDING_HAPROXY, Routing.LEAST_OUTSTANDING_NGINX)
    ]
    assert all(one.level is None for one in tied)
    assert case_of(Routing.POWER_OF_TWO_HAPROXY, 150, 1050.0).level is not None
    waits = case_of(Routing.LEAST_OUTSTANDING, 150, 1050.0, wait_s=0.001)
    others = [case_of(routing, 150, 1050.0) for routing in (Routing.ROUND_ROBIN, Routing.RANDOM)]
    limited = replace(large.scenario.plan, queue_limit=50)
    bounded = BatchCase(scenario=replace(large.scenario, plan=limited))
    rough = Workload(arrival_rate_rps=157_500.0, arrivals=GammaArrivals(cv=2.0))
    bursty = BatchCase(scenario=replace(large.scenario, workload=rough))
    assert all(one.level is None for one in (idle, small, waits, bounded, bursty, *others))


def test_a_steady_batch_lasts_as_long_as_its_requests_take_to_come() -> None:
    found = steady_batch(T4, 1050.0, 64)
    assert found is not None
    low, high = T4.service_mean_s(int(found.size)), T4.service_mean_s(int(found.size) + 1)
    between = low + (found.size - int(found.size)) * (high - low)
    assert between == pytest.approx(found.service_s) == pytest.approx(found.size / 1050.0)
    assert found.fixed_s + found.size * found.of_each_s == pytest.approx(found.service_s)
    assert steady_batch(T4, 1050.0, 8) is None  # unstable
    assert steady_batch(T4, 100.0, 64) is None  # idle


@pytest.mark.parametrize("routing", [*LOOKING, Routing.SHARED_QUEUE])
def test_no_wait_helps_a_fleet_that_is_always_at_work(routing: Routing) -> None:
    """With a wait neither P99 nor the mean is shorter than at once, but for chance; at one queue P99 by 0.5 % at most."""
    at_once = replace(case_of(routing, 120, 1050.0), is_whole=True)
    length = Length(warm_up=250_000, measured=100_000, cool_down=5_000)
    quick = pool_of(at_once, length, 8)
    for wait_s in (0.002, 0.014, 0.03):
        waits = replace(case_of(routing, 120, 1050.0, wait_s=wait_s), is_whole=True)
        assert is_wait_vain(T4, 126_000.0, waits.scenario.plan)
        slow = pool_of(waits, length, 8)
        for one, other in (
            (quick.response_quantile(0.99), slow.response_quantile(0.99)),
            (quick.mean(Measure.RESPONSE_MEAN), slow.mean(Measure.RESPONSE_MEAN)),
        ):
            little = 1.005 if routing is Routing.SHARED_QUEUE else 1.0
            assert one.interval(0.99).low <= little * other.interval(0.99).high, wait_s


def test_a_wait_may_help_other_fleets() -> None:
    """One that is idle at times, a small one, one whose router looks at nothing; and at once there is no wait."""
    plan = case_of(Routing.POWER_OF_TWO, 150, 1050.0, wait_s=0.004).scenario.plan
    assert is_wait_vain(T4, 157_500.0, plan)
    assert not is_wait_vain(T4, 15_000.0, plan)
    assert not is_wait_vain(T4, 15_000.0, replace(plan, routing=Routing.SHARED_QUEUE))
    assert not is_wait_vain(T4, 90_000.0, replace(plan, replicas=90))
    assert not is_wait_vain(T4, 157_500.0, replace(plan, routing=Routing.RANDOM))
    assert not is_wait_vain(T4, 157_500.0, replace(plan, batch_wait_max_s=0.0))


@pytest.mark.parametrize("routing", LOOKING)
def test_a_search_looks_at_a_part_of_thousands(routing: Routing) -> None:
    """1,000 replicas at the same rate each, with what the whole fleet has; fewer are all looked at."""
    case = case_of(routing, 3000, 1000.0)
    part = case.in_search
    assert (part.replicas, case.replicas) == (1000, 3000)
    assert part.in_search.length == part.length
    assert part.scenario == case.scenario
    assert case_of(routing, 1000, 1000.0).in_search.replicas == 1000
    assert case_of(routing, 3000, 100.0).in_search.replicas == 3000  # idle at times
    assert case_of(Routing.SHARED_QUEUE, 3000, 1000.0).in_search.replicas == 3000
    (task,) = part.tasks(part.length, Seed(value=1), range(1))
    assert isinstance(task.workload, Workload)
    assert task.workload.arrival_rate_rps == pytest.approx(1_000_000.0)
    pools = [pool_of(one, part.length, 20) for one in (part, case)]
    seen = part.performance(pools[0], (0.99,), 0.95)
    assert seen.throughput_rps == pytest.approx(3_000_000.0, rel=0.01)
    values = [pool.response_quantile(0.99).value for pool in pools]
    assert values[0] == pytest.approx(values[1], rel=0.01)


@pytest.mark.parametrize("routing", LOOKING)
def test_runs_end_after_those_who_came_with_the_last(routing: Routing) -> None:
    """Without others to come, requests of the last services would be served in smaller batches, and sooner."""
    case = case_of(routing, 500, 1000.0).in_search
    (brief,) = case.brief
    assert pool_of(case, brief, 20).is_steady


def test_any_number_of_workers_gives_the_same_candidate() -> None:
    scenario = case_of(Routing.POWER_OF_TWO, 150, 1000.0).scenario
    alone = SimulationJudge(seed=1).search(scenario, 1)
    with ThreadPoolExecutor(2) as executor:
        shared = SimulationJudge(seed=1, mapper=executor.map).search(scenario, 1)
    assert alone == shared
    assert alone.verdict is Verdict.MET


@pytest.mark.parametrize("routing", LOOKING)
def test_a_fleet_of_hundreds_is_confirmed_or_refused(routing: Routing) -> None:
    judge = SimulationJudge(seed=2)
    good, bad = case_of(routing, 300, 1000.0).scenario, case_of(routing, 300, 1125.0).scenario
    assert judge.certify(good, 1).verdict is Verdict.MET
    refused = judge.search(bad, 1)
    assert refused.verdict is Verdict.MISSED
    assert 0 < refused.requests < 5_000_000


def test_the_floor_of_a_quantile_is_that_of_the_best_mixture() -> None:
    """The linear programme by SciPy, at limits on both sides of the floor."""
    from scipy.optimize import linprog

    rate_rps, size = 1200.0, 128
    floor_s = quantile_floor_s(T4, rate_rps, size, 0.99)
    laws = [T4.law(n) for n in range(1, size + 1)]
    work_s = [law.mean_s / n for n, law in enumerate(laws, start=1)]
    for limit_s, is_enough in ((0.999 * floor_s, False), (1.001 * floor_s, True)):
        late = [1.0 - float(np.interp(limit_s, law.durations_s, law.probabilities)) for law in laws]
        best = linprog(work_s, A_ub=[late], b_ub=[0.01], A_eq=[np.ones(size)], b_eq=[1.0])
        assert (best.status == 0 and best.fun * rate_rps <= 1.0) is is_enough


def test_the_floor_is_that_of_one_size_where_none_may_be_late() -> None:
    """A batch of b takes 1 ms + b/4 ms, and must come at the rate of its requests: at 2000 rps that is b = 4."""
    timings = tuple(BatchTiming(batch_size=n, mean_s=0.001 + 0.00025 * n) for n in (1, 2, 4, 8))
    profile = ServiceProfile(name="affine", timings=timings)
    assert quantile_floor_s(profile, 2000.0, 8, 0.999_999) == pytest.approx(0.002, rel=1e-3)
    assert quantile_floor_s(profile, 500.0, 8, 0.99) == pytest.approx(0.00125, rel=1e-3)
    assert quantile_floor_s(profile, 2000.0, 300, 0.99) == 0.0  # beyond what is measured


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
def test_no_routing_beats_the_floor(routing: Routing) -> None:
    case = case_of(routing, 100, 1100.0)
    floor_s = quantile_floor_s(T4, 1100.0, 32, 0.99)
    pool = pool_of(case, Length(warm_up=20_000, measured=40_000, cool_down=4_000), 3)
    assert pool.response_quantile(0.99).value > floor_s > 0.015


def test_a_large_fleet_whose_quick_batches_cannot_keep_up_is_refused_at_once() -> None:
    bad = case_of(Routing.ROUND_ROBIN, 800, 1250.0, 128)
    refused = SimulationJudge().search(bad.scenario, 1)
    assert refused.verdict is Verdict.MISSED
    assert refused.requests == 0
    assert refused.rejection is not None
    assert refused.rejection.needed > refused.rejection.allowed == 0.04
    assert refuse_slow(replace(bad.scenario, workload=Workload(arrival_rate_rps=1000.0))) is None
    few = replace(bad.scenario.plan, replicas=8)
    smaller = replace(bad.scenario, plan=few, workload=Workload(arrival_rate_rps=10_000.0))
    assert SimulationJudge().search(smaller, 1).requests > 0


def test_arrivals_after_the_start_are_those_without_it() -> None:
    start = BusyStart(replicas=5, size=3.0, size_deviation=0.0, fixed_s=0.1, of_each_s=0.1)
    workload = Workload(arrival_rate_rps=10.0, arrivals=PoissonArrivals())
    usual = draw(workload, 50, Seed(value=3))
    busy = draw(workload, 50, Seed(value=3), None, start)
    assert not busy.arrived_s[:15].any()
    assert np.array_equal(busy.arrived_s[15:], usual.arrived_s[:35])
