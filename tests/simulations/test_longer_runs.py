"""Runs in which responses still rise are given up for longer ones, and what these say is right."""

from dataclasses import replace

import numpy as np
import pytest

from capacity.profile.load import load_profile
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ClosedPopulation,
    Demand,
    MmppArrivals,
    TraceArrivals,
    Workload,
)
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed
from simulations.looks import looks
from simulations.replication import replicate

T4 = load_profile("tft-electricity-t4-fp16")
POISSON = Workload(arrival_rate_rps=40_000.0)


def case_of(workload: Demand = POISSON) -> BatchCase:
    """Five replicas whose batches take nearly the same time, and fall out of step over some 80 of them."""
    plan = BatchPlan(profile=T4.name, replicas=5, batch_size_max=64, routing=Routing.LEAST_OUTSTANDING)
    scenario = Scenario(
        profile=T4,
        workload=workload,
        plan=plan,
        objective=Objective.of(response={0.99: 0.014}),
        quantiles=(0.99,),
    )
    return BatchCase(scenario=scenario)


def test_longer_runs_settle_where_more_runs_never_would() -> None:
    case = case_of()
    first, second = case.length, case.longer.length
    assert (second.warm_up, second.measured) == (
        pytest.approx(4 * first.warm_up, rel=1e-3),
        pytest.approx(4 * first.measured, rel=1e-3),
    )
    seen = []
    for look in looks(case, Seed(value=0), 100_000_000):
        seen.append(look)
        if look.settled:
            break
    assert look.settled
    assert look.requests < 20_000_000
    rising = next(one for one in seen if not one.pool.is_level)
    assert rising.requests == look.requests - look.pool.replications * second.requests
    interval = look.pool.response_quantile(0.99).interval(0.95)
    assert interval.relative_half_width < 0.01
    assert interval.low < one_long_run_s(case) < interval.high


def one_long_run_s(case: BatchCase) -> float:
    """P99 of one run that is a hundred times as long as the first, from another seed. [s]"""
    length = replace(case.length, warm_up=1_000_000, measured=4_000_000)
    (task,) = case.tasks(length, Seed(value=9), range(1))
    sample = replicate(task).as_one.responses
    reached = np.cumsum(sample.counts) / np.sum(sample.counts)
    return float(sample.values_s[np.searchsorted(reached, 0.99)])


def test_a_budget_without_room_for_longer_runs_goes_on_with_more() -> None:
    case = case_of()
    counts = [look.pool.replications for look in looks(case, Seed(value=0), 3_000_000)]
    assert counts == sorted(counts)
    assert max(counts) >= 40


@pytest.mark.parametrize(
    "workload",
    [
        ClosedPopulation(users=400, think_time_s=0.1),
        Workload(arrival_rate_rps=100.0, arrivals=TraceArrivals(instants_s=tuple(np.arange(1000) / 100.0))),
        Workload(
            arrival_rate_rps=1000.0, arrivals=MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=100.0)
        ),
    ],
    ids=["users", "trace", "bursts"],
)
def test_what_has_a_length_of_its_own_is_not_made_longer(workload: Demand) -> None:
    assert case_of(workload).longer is None
