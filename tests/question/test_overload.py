"""Overload in bursts: a lower bound of the wait by the fluid law, and what it refuses."""

import math
from dataclasses import replace

import pytest

from capacity.profile.load import load_profile
from capacity.question.candidate import Reason
from capacity.question.objective import Objective
from capacity.question.overload import Overload
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_load
from capacity.traffic.workload import MmppArrivals, PoissonArrivals, Workload
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
