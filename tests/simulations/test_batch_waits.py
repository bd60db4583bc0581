"""Batch waits: where they hold hardly any batch nothing changes, and elsewhere they shorten responses by little."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from questions import batch_question

from capacity.performance import Interval, Kind, Performance
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Rejection, Verdict
from capacity.question.objective import Limit, Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.bulk import Bulk
from capacity.search.batches import BatchTheory
from capacity.server.batch.batching import Batching
from capacity.server.batch.holding import held_share, helped_at_most, holds_hardly_any
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

T4 = load_profile("resnet50-t4-fp16")
P99, MEAN = Objective.of(response={0.99: 1.0}).limits[0], Objective.of(response_mean=1.0).limits[0]
SHAPES: dict[str, Callable[[int, int], float]] = {
    "flat": lambda size, most: 1.0,
    "affine": lambda size, most: 0.3 + 0.7 * size / most,
    "convex": lambda size, most: 0.3 + 0.7 * (size / most) ** 2,
    "stairs": lambda size, most: 0.5 * math.ceil(2.0 * size / most),
    "slow from two on": lambda size, most: 0.3 if size == 1 else 1.0,
}


def made(name: str, samples_s: Callable[[int], list[float]], size: int) -> ServiceProfile:
    timings = [BatchTiming(batch_size=one, samples_s=tuple(samples_s(one))) for one in range(1, size + 1)]
    return ServiceProfile(name=name, timings=tuple(timings))


CONSTANT = ServiceProfile(
    name="constant", timings=tuple(BatchTiming(batch_size=size, mean_s=0.001 * size) for size in (1, 64))
)


def plan_of(size: int, **fields: object) -> BatchPlan:
    return BatchPlan(
        **{"profile": "x", "replicas": 1, "batch_size_max": size, "batch_wait_max_s": 0.1} | fields
    )


def poisson(rate_rps: float) -> Workload:
    return Workload(arrival_rate_rps=rate_rps)


# ---- How much a wait helps ------------------------------------------------------------------


def law_of(times_s: tuple[float, ...], load: float, replicas: int, wait_s: float) -> Bulk:
    rate_rps = load * replicas * len(times_s) / times_s[-1]
    return Bulk(
        arrival_rate_rps=rate_rps,
        batch_times_s=times_s,
        batch_wait_max_s=wait_s,
        replicas=replicas,
        routing=Routing.ROUND_ROBIN,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "replicas"), [(2, 1), (2, 64), (3, 16), (4, 32), (8, 1), (8, 8), (16, 1)])
def test_by_the_exact_law_a_wait_shortens_responses_by_no_more(shape: str, size: int, replicas: int) -> None:
    """P99 and the mean, with the bounds that a search takes; a few loads of the scan that they come from."""
    times_s = tuple(SHAPES[shape](one, size) for one in range(1, size + 1))
    plan = plan_of(size)
    for load in (0.3, 0.9, 0.95):
        at_once = law_of(times_s, load, replicas, 0.0)
        p99_s, mean_s = at_once.response_quantile_s(0.99), at_once.response_mean_s
        for wait_s in (0.25, 0.999):
            waits = law_of(times_s, load, replicas, wait_s)
            assert p99_s <= helped_at_most(CONSTANT, poisson(1.0), plan, P99) * waits.response_quantile_s(
                0.99
            )
            assert mean_s <= helped_at_most(CONSTANT, poisson(1.0), plan, MEAN) * waits.response_mean_s


def test_two_at_once_are_helped_by_a_sixth() -> None:
    """So the bound is not idle: 64 replicas with batches of two that take as long as one, 17 % of P99."""
    at_once, waits = (law_of((1.0, 1.0), 0.95, 64, wait_s) for wait_s in (0.0, 0.999))
    assert 1.15 < at_once.response_quantile_s(0.99) / waits.response_quantile_s(0.99) < 1.25


ROUGH, BURSTS = GammaArrivals(cv=3.0), MmppArrivals(ratio=4.0, burst_mean_s=0.05, calm_mean_s=0.2)


@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize(
    ("arrivals", "routing"),
    [
        (ROUGH, Routing.ROUND_ROBIN),
        (BURSTS, Routing.ROUND_ROBIN),
        (ROUGH, Routing.RANDOM),
        (PoissonArrivals(), Routing.LEAST_OUTSTANDING),
        (PoissonArrivals(), Routing.POWER_OF_TWO),
    ],
)
def test_rougher_arrivals_and_routers_that_look_are_helped_no_more(
    arrivals: ArrivalProcess, routing: Routing, size: int
) -> None:
    """By simulation, of batches that take as long as one, which a wait helps most."""
    profile = ServiceProfile(
        name="flat", timings=tuple(BatchTiming(batch_size=one, mean_s=0.01) for one in range(1, size + 1))
    )
    plan = plan_of(size, profile="flat", replicas=8, routing=routing)
    length = Length(warm_up=100_000, measured=100_000, cool_down=2_000)
    for load in (0.6, 0.9):
        workload = Workload(arrival_rate_rps=load * 8 * size / 0.01, arrivals=arrivals)
        for wait_s in (0.0025, 0.01):
            fleets = (replace(plan, batch_wait_max_s=one) for one in (0.0, wait_s))
            at_once, waits = (pool_of(profile, workload, fleet, length) for fleet in fleets)
            one, other = (pool.response_quantile(0.99).interval(0.999) for pool in (at_once, waits))
            assert one.low <= helped_at_most(profile, workload, plan, P99) * other.high, (load, wait_s)


VARYING = {
    "exponential": [-0.01 * math.log1p(-(place + 0.5) / 400.0) for place in range(400)],
    "seldom-slow": [0.008 + 1e-6 * place for place in range(392)] + [0.08] * 8,
}


@pytest.mark.parametrize("law", VARYING)
@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("replicas", [1, 8])
def test_batches_whose_times_vary_are_helped_more_and_within_their_bound(
    law: str, size: int, replicas: int
) -> None:
    """Fewer batches are fewer slow ones, behind which others wait; P99 and the median."""
    profile = made(law, lambda one: VARYING[law], size)
    plan = plan_of(size, profile=law, replicas=replicas)
    length = Length(warm_up=30_000, measured=50_000, cool_down=2_000)
    for load in (0.4, 0.7):
        workload = poisson(load * replicas * size / profile.service_mean_s(size))
        at_once, waits = (
            pool_of(profile, workload, replace(plan, batch_wait_max_s=wait_s), length)
            for wait_s in (0.0, 0.01)
        )
        for limit in (P99, Objective.of(response={0.5: 1.0}).limits[0]):
            one, other = (pool.response_quantile(limit.quantile).interval(0.999) for pool in (at_once, waits))
            assert one.low <= helped_at_most(profile, workload, plan, limit) * other.high, load


def test_the_bound_of_varying_times_is_wider_and_there_is_none_where_larger_batches_are_faster() -> None:
    steady = made("steady", lambda one: [0.01 * one, 0.0101 * one], 8)
    rough = made("rough", lambda one: [0.01 * one, 0.02 * one], 8)
    faster = made("faster", lambda one: [0.01, 0.04] if one == 1 else [0.02, 0.03], 8)
    bounds = [helped_at_most(one, poisson(1.0), plan_of(8), P99) for one in (steady, rough, faster)]
    assert bounds == [pytest.approx(1.0 / (1.0 - 1.5 / 64.0)), pytest.approx(1.5), math.inf]


def pool_of(profile: ServiceProfile, workload: Workload, plan: BatchPlan, length: Length) -> Pool:
    scenario = Scenario(
        profile=profile,
        workload=workload,
        plan=plan,
        objective=Objective.of(response={0.99: 1.0}),
        quantiles=(0.99,),
    )
    case = BatchCase(scenario=scenario)
    return Pool.of(map(case.replicate, case.tasks(length, Seed(value=5), range(20))))


@pytest.mark.parametrize(
    ("workload", "fields", "limit"),
    [
        (Workload(arrival_rate_rps=1.0, arrivals=DeterministicArrivals()), {}, P99),
        (Workload(arrival_rate_rps=1.0, arrivals=GammaArrivals(cv=0.9)), {}, P99),
        (Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(1.0, 2.0))), {}, P99),
        (ClosedPopulation(users=8, think_time_s=0.1), {}, P99),
        (poisson(1.0), {"replicas": 2, "routing": Routing.SHARED_QUEUE}, P99),
        (poisson(1.0), {"queue_limit": 9}, P99),
        (poisson(1.0), {"outstanding_max": 9}, P99),
        (poisson(1.0), {"batching": Batching.TORCHSERVE}, P99),
        (poisson(1.0), {"preferred_sizes": (4,)}, P99),
        (poisson(1.0), {}, Objective.of(wait={0.99: 1.0}).limits[0]),
        (poisson(1.0), {}, Objective.of(utilization=0.5).limits[0]),
    ],
)
def test_elsewhere_a_wait_may_help_by_any_amount(
    workload: object, fields: dict[str, object], limit: Limit
) -> None:
    assert helped_at_most(CONSTANT, workload, plan_of(8, **fields), limit) == math.inf


def test_large_batches_are_helped_less_and_rare_responses_least() -> None:
    half = Objective.of(response={0.5: 1.0}).limits[0]
    bounds = [helped_at_most(CONSTANT, poisson(1.0), plan_of(size), P99) for size in (2, 4, 8, 64)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] == pytest.approx(1.6)
    assert bounds[-1] == pytest.approx(1.0 / 0.99)
    assert helped_at_most(CONSTANT, poisson(1.0), plan_of(64), half) == pytest.approx(1.0 / 0.97)


# ---- Where a wait holds hardly any batch ----------------------------------------------------


@pytest.mark.parametrize("rate_rps", [700.0, 850.0, 1000.0])
@pytest.mark.parametrize("wait_s", [0.0005, 0.0015, 0.003, 0.006])
def test_what_holds_hardly_any_batch_changes_nothing(rate_rps: float, wait_s: float) -> None:
    """P99 and the mean of the exact law move by less than 0.1 %, which no simulation would tell."""
    times_s = tuple(T4.service_mean_s(size) for size in range(1, 33))
    plan = plan_of(32, profile=T4.name, batch_wait_max_s=wait_s)
    if holds_hardly_any(T4, poisson(rate_rps), plan, 0.99):
        fields = {"arrival_rate_rps": rate_rps, "batch_times_s": times_s}
        at_once, waits = Bulk(**fields), Bulk(**fields, batch_wait_max_s=wait_s)
        assert waits.response_quantile_s(0.99) == pytest.approx(at_once.response_quantile_s(0.99), rel=1e-3)
        assert waits.response_mean_s == pytest.approx(at_once.response_mean_s, rel=2e-3)


def test_busy_replicas_hold_hardly_any_batch_and_idle_ones_many() -> None:
    plan = plan_of(32, profile=T4.name, batch_wait_max_s=0.0015)
    assert holds_hardly_any(T4, poisson(1000.0), plan, 0.99)
    assert holds_hardly_any(T4, poisson(4000.0), replace(plan, replicas=4, routing=Routing.RANDOM), 0.99)
    assert not holds_hardly_any(T4, poisson(300.0), plan, 0.99)
    assert not holds_hardly_any(T4, poisson(1000.0), replace(plan, replicas=4), 0.99)
    assert not holds_hardly_any(T4, poisson(1000.0), replace(plan, batch_wait_max_s=0.02), 0.99)


@pytest.mark.parametrize(
    ("arrivals", "fields"),
    [
        (PoissonArrivals(), {"batch_wait_max_s": 0.0}),
        (PoissonArrivals(), {"routing": Routing.SHARED_QUEUE}),
        (PoissonArrivals(), {"batching": Batching.TORCHSERVE}),
        (PoissonArrivals(), {"queue_limit": 40}),
        (PoissonArrivals(), {"outstanding_max": 40}),
        (GammaArrivals(cv=2.1), {}),
        (GammaArrivals(cv=1.1), {"routing": Routing.RANDOM}),
        (BURSTS, {}),
    ],
)
def test_others_are_not_known_to_hold_hardly_any(arrivals: ArrivalProcess, fields: dict[str, object]) -> None:
    plan = plan_of(32, profile=T4.name, replicas=4, batch_wait_max_s=0.0015)
    even = Workload(arrival_rate_rps=4000.0, arrivals=GammaArrivals(cv=2.0))
    assert holds_hardly_any(T4, even, plan, 0.99)
    rough = Workload(arrival_rate_rps=4000.0, arrivals=arrivals)
    assert not holds_hardly_any(T4, rough, replace(plan, **fields), 0.99)


LONG = MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=40.0)


def test_in_long_bursts_the_rate_of_a_burst_decides() -> None:
    """Twice the mean, at which a replica is as busy as under Poisson arrivals at that rate."""
    plan = plan_of(32, profile=T4.name, replicas=4, batch_wait_max_s=0.0015, routing=Routing.RANDOM)

    def holds(arrivals: ArrivalProcess, rate_rps: float = 2000.0, quantile: float = 0.99) -> bool:
        workload = Workload(arrival_rate_rps=rate_rps, arrivals=arrivals)
        return holds_hardly_any(T4, workload, plan, quantile)

    assert holds(LONG)
    assert not holds(PoissonArrivals())
    assert not holds(LONG, rate_rps=1000.0)
    assert not holds(replace(LONG, ratio=1.9), rate_rps=2800.0)
    assert not holds(replace(LONG, burst_mean_s=2.0))
    assert not holds(replace(LONG, calm_mean_s=2.0))


@pytest.mark.parametrize(("quantile", "decides"), [(0.34, True), (0.33, False), (0.0, False)])
def test_bursts_decide_only_where_they_hold_more_requests_than_may_be_late(
    quantile: float, *, decides: bool
) -> None:
    """Two of three come in bursts, which are a third of the time."""
    plan = plan_of(32, profile=T4.name, replicas=4, batch_wait_max_s=0.0015, routing=Routing.RANDOM)
    workload = Workload(arrival_rate_rps=2000.0, arrivals=LONG)
    assert holds_hardly_any(T4, workload, plan, quantile) is decides


def test_a_wait_that_bursts_leave_no_time_for_changes_nothing_that_is_late() -> None:
    """Both fleets draw the same requests; P99 and P99.9 are alike but for one cell of the tally, which is 0.64 %."""
    plan = plan_of(32, profile=T4.name, replicas=4, batch_wait_max_s=0.0015, routing=Routing.RANDOM)
    workload = Workload(arrival_rate_rps=2000.0, arrivals=LONG)
    length = Length(warm_up=20_000, measured=400_000, cool_down=2_000)
    at_once, waits = (
        pool_of(T4, workload, fleet, length) for fleet in (replace(plan, batch_wait_max_s=0.0), plan)
    )
    for quantile in (0.99, 0.999):
        one, other = (pool.response_quantile(quantile).value for pool in (at_once, waits))
        assert other == pytest.approx(one, rel=0.0065)


def test_sizes_that_never_form_change_no_share() -> None:
    profile = ServiceProfile(
        name="x", timings=tuple(BatchTiming(batch_size=size, mean_s=0.002) for size in (1, 512))
    )
    shares = [held_share(profile, 20_000.0, size, 0.004) for size in (128, 512)]
    assert shares[0] == pytest.approx(shares[1], rel=1e-9)


def test_the_share_held_is_that_of_batches_drawn_one_by_one() -> None:
    """Batches of what came during the last, at least one, whose oldest came at random: 200,000 of them."""
    times_s = {1: 0.002, 2: 0.003, 4: 0.004, 8: 0.007}
    profile = ServiceProfile(
        name="x",
        timings=tuple(BatchTiming(batch_size=size, mean_s=time_s) for size, time_s in times_s.items()),
    )
    rate_rps, wait_s, draw = 700.0, 0.0025, np.random.default_rng(11)
    size, held_s, served_s = 1, [], []
    for _ in range(200_000):
        time_s, first_s = profile.service_mean_s(size), draw.exponential(1.0 / rate_rps)
        held_s.append(min(wait_s, max(0.0, first_s - time_s + wait_s)))
        served_s.append(time_s)
        size = min(8, 1 + draw.poisson(rate_rps * (time_s - first_s))) if first_s < time_s else 1
    found = held_share(profile, rate_rps, 8, wait_s)
    spread = np.std(held_s) / math.sqrt(len(held_s)) / np.mean(served_s)
    assert abs(found - np.mean(held_s) / np.mean(served_s)) < 5.0 * spread


# ---- What a search asks ---------------------------------------------------------------------


def asked_of(pressure: float | None, needed: float = 2.0, **fields: object) -> tuple[bool, list[BatchPlan]]:
    """Whether a wait of 2 ms may save three replicas at 600 rps, by a plan that misses its limit as often as that."""
    fields = {"batch_waits_s": None} | fields
    question = batch_question(
        profiles=(T4,), workload=poisson(600.0), objective=Objective.of(response={0.99: 0.04}), **fields
    )
    (limit,) = question.objective.limits
    seen = []

    def judged(plan: BatchPlan) -> Candidate:
        seen.append(plan)
        rejection = Rejection.of(limit, needed * limit.allowed)
        if pressure is None:
            return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
        return Candidate(
            plan=plan,
            verdict=Verdict.MISSED,
            rejection=rejection,
            performance=performance_of(limit, pressure),
        )

    plan = plan_of(16, profile=T4.name, replicas=3, batch_wait_max_s=0.002)
    return BatchTheory().may_wait(question, plan, 8, judged), seen


def performance_of(limit: Limit, pressure: float) -> Performance:
    value = pressure * limit.allowed
    found = Interval(value=value, low=value, high=1.1 * value)
    return Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: found})


def test_a_wait_is_tried_only_where_what_starts_at_once_misses_by_little() -> None:
    """The same fleet at once is asked about, with the largest batch that forms there."""
    may, seen = asked_of(1.005)
    assert may
    assert [(one.batch_size_max, one.batch_wait_max_s) for one in seen] == [(8, 0.0)]
    assert not asked_of(1.04)[0]


def test_what_a_failure_leaves_is_asked_about_its_value() -> None:
    assert asked_of(None, 1.4)[0]
    assert not asked_of(None, 1.6)[0]


def test_a_wait_that_was_asked_for_is_tried() -> None:
    may, seen = asked_of(5.0, batch_waits_s=(0.002,))
    assert may
    assert seen == []
