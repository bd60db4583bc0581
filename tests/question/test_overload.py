"""Overload in bursts: a lower bound of the wait by the fluid law, and what it refuses."""

import math
from dataclasses import replace

import pytest

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming
from capacity.question.candidate import Reason
from capacity.question.objective import Objective
from capacity.question.overload import Overload, Surge
from capacity.question.plan import Routing
from capacity.question.resilience import Spike
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_load
from capacity.traffic.workload import GammaArrivals, MmppArrivals, PoissonArrivals, Workload
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed
from simulations.replication import replicate
from simulations.statistics.pool import Pool

PROFILE = load_profile("resnet50-t4-fp16")
BURSTS = MmppArrivals(ratio=5.0, burst_mean_s=10.0, calm_mean_s=60.0)


def overload(**changes: object) -> Overload:
    given = {
        "bursts": MmppArrivals(ratio=4.0, burst_mean_s=100.0, calm_mean_s=300.0),
        "arrival_rate_rps": 70.0,
        "served_rps": 100.0,
        "variability": 0.0,
        "in_service": 0.0,
    }
    return Overload(**(given | changes))  # type: ignore[arg-type]


def test_a_fluid_by_hand() -> None:
    """160 rps in a burst and 40 between: 60 too many, which the 60 to spare drain in another 100 s, or in 75 s.

    Of 28,000 requests of a cycle 16,000 come in the burst, and 3000 more are late if all of these are. One in a
    hundred is so if the burst has lasted for 100 ln(19/28 / 0.01) s, after 0.6 s of work have come in every second.
    """
    assert overload().wait_min_s(0.99) == pytest.approx(60.0 * math.log(19.0 / 28.0 / 0.01))
    assert overload(in_service=50.0).wait_min_s(0.99) == pytest.approx(overload().wait_min_s(0.99) - 0.5)
    by_chance = overload(variability=2.0).wait_min_s(0.99)
    assert 0.9 * overload().wait_min_s(0.99) < by_chance < overload().wait_min_s(0.99)


def test_what_is_served_or_rare_does_not_wait() -> None:
    assert overload(served_rps=160.0).wait_min_s(0.99) == 0.0
    assert overload().wait_min_s(0.3) == 0.0  # bursts and what comes after them are 68 % of the requests
    assert overload(variability=1e9).wait_min_s(0.99) == 0.0


def scenario_of(replicas: int, limit_s: float = 0.04, **changes: object) -> Scenario:
    given = {
        "profile": PROFILE,
        "workload": Workload(arrival_rate_rps=3200.0, arrivals=BURSTS),
        "plan": BatchPlan(profile=PROFILE.name, replicas=replicas, batch_size_max=16),
        "objective": Objective.of(response={0.99: limit_s}),
    }
    return Scenario(**(given | changes))  # type: ignore[arg-type]


def test_a_fleet_that_bursts_overload_for_too_long_is_refused_at_once() -> None:
    refused = refuse_load(scenario_of(8))
    assert refused.reason is Reason.LATENCY
    assert refused.needed > 10 * refused.allowed == 10 * 0.04
    assert refuse_load(scenario_of(10)) is None  # load 0.96 in a burst
    assert refuse_load(scenario_of(8, limit_s=60.0)) is None
    limited = BatchPlan(profile=PROFILE.name, replicas=8, batch_size_max=16, queue_limit=64)
    assert refuse_load(scenario_of(8, plan=limited)) is None
    poisson = Workload(arrival_rate_rps=3200.0, arrivals=PoissonArrivals())
    assert refuse_load(scenario_of(8, workload=poisson)) is None


@pytest.mark.parametrize(
    ("ratio", "burst_s", "calm_s", "rate_rps"),
    [(3.0, 0.5, 2.0, 800.0), pytest.param(4.0, 5.0, 30.0, 700.0, marks=pytest.mark.long)],
)
def test_it_is_a_lower_bound(ratio: float, burst_s: float, calm_s: float, rate_rps: float) -> None:
    bursts = MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s)
    plan = BatchPlan(profile=PROFILE.name, replicas=1, batch_size_max=16)
    scenario = scenario_of(1, workload=Workload(arrival_rate_rps=rate_rps, arrivals=bursts), plan=plan)
    found = refuse_load(scenario)
    assert found is not None
    case = BatchCase(scenario=scenario)
    length = replace(case.length, measured=int(50 * rate_rps * (burst_s + calm_s)))
    pool = Pool.of(map(replicate, case.tasks(length, Seed(value=1), range(20))))
    wait = pool.wait_quantile(0.99)
    assert 0.4 * wait.value < found.needed < wait.value + 4.0 * wait.standard_error


def test_a_spike_by_hand() -> None:
    """60 too many for 10 s: the request of rank 0.99 comes after 9.9 s, when 594 wait for 100 a second."""
    surge = Surge(arrival_rate_rps=160.0, duration_s=10.0, served_rps=100.0, variability=0.0, in_service=0.0)
    assert surge.wait_min_s(0.99) == pytest.approx(5.94)
    assert replace(surge, in_service=50.0).wait_min_s(0.99) == pytest.approx(5.44)
    assert replace(surge, arrival_rate_rps=100.0).wait_min_s(0.99) == 0.0
    assert replace(surge, variability=1.0).wait_min_s(0.99) == pytest.approx(
        5.94 - 4.0 * math.sqrt(1.6 * 9.9) / 10.0
    )


@pytest.mark.parametrize("arrivals", [PoissonArrivals(), GammaArrivals(cv=2.0)])
@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.RANDOM, Routing.LEAST_OUTSTANDING])
@pytest.mark.parametrize("factor", [1.2, 1.4, 2.0])
def test_no_spike_is_over_sooner_than_the_bound_says(arrivals, routing: Routing, factor: float) -> None:
    """Simulated spikes of 4 replicas, which serve 4235 rps at most: P99 of each is above the bound of the wait."""
    scenario = scenario_of(4, workload=Workload(arrival_rate_rps=3200.0, arrivals=arrivals))
    scenario = replace(
        scenario,
        plan=replace(scenario.plan, routing=routing),
        spike=Spike(factor=factor, startup_time_s=10.0),
    )
    refusal = refuse_load(scenario)
    assert (refusal is not None) or factor < 2.0
    assert refusal is None or 3200.0 * factor > 4235.0
    surging, length = BatchCase(scenario=replace(scenario, quantiles=(0.99,))).surge
    pool = Pool.of(map(replicate, surging.tasks(length, Seed(value=1), range(4))))
    if refusal is not None:
        assert refusal.needed < min(one.responses.quantile_s(0.99) for one in pool.sections)
        assert refusal.needed > (0.6 if factor == 2.0 else 0.2) * pool.response_quantile(0.99).value


def test_a_spike_is_left_to_the_simulation_where_samples_leave_the_capacity_in_doubt() -> None:
    spike = Spike(factor=2.0, startup_time_s=10.0)
    workload = Workload(arrival_rate_rps=3200.0)
    assert refuse_load(replace(scenario_of(4, workload=workload), spike=spike)) is not None
    timings = tuple(
        BatchTiming(batch_size=one.batch_size, samples_s=(one.mean_s, 1.01 * one.mean_s))
        for one in PROFILE.timings
        if one.mean_s is not None
    )
    sampled = replace(PROFILE, timings=timings)
    assert refuse_load(replace(scenario_of(4, workload=workload, profile=sampled), spike=spike)) is None
