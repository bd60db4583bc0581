"""Spikes: the jump where it should be, the responses by Lindley's recursion and by hand, both engines."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Reason, Verdict
from capacity.question.objective import Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.resilience import Spike
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed, Stage, draw
from simulations.judge import SimulationJudge
from simulations.looks import surge_looks
from simulations.replication import Engine
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import SECTIONS
from simulations.statistics.sample import Length
from simulations.statistics.verdict import Look

SERVICE_S = 0.010
PROFILE = ServiceProfile(
    name="p", timings=(BatchTiming(batch_size=1, mean_s=SERVICE_S), BatchTiming(batch_size=4, mean_s=0.016))
)
PLAN = BatchPlan(profile="p", replicas=1, batch_size_max=1)
SPIKE = Spike(factor=2.0, startup_time_s=3.0)
SEED = Seed(value=4, stage=Stage.CERTIFY)
BUDGET = 10**7


def case_of(
    rate_rps: float = 40.0, plan: BatchPlan = PLAN, engine: Engine = Engine.KERNEL, **fields: object
) -> BatchCase:
    objective = Objective.of(response={0.99: 0.05}, wait={0.99: 0.02})
    given = {"profile": PROFILE, "workload": Workload(arrival_rate_rps=rate_rps), "objective": objective}
    return BatchCase(scenario=Scenario(**given | {"plan": plan} | fields), engine=engine)


def spiked(case: BatchCase, spike: Spike = SPIKE) -> BatchCase:
    return replace(case, scenario=replace(case.scenario, spike=spike))


def jump(case: BatchCase, spike: Spike = SPIKE) -> tuple[BatchCase, Length]:
    surge = spiked(case, spike).surge
    assert surge is not None
    return surge


def first_look(case: BatchCase, spike: Spike = SPIKE) -> Look:
    return next(surge_looks(spiked(case, spike), SEED, BUDGET))


def test_the_jump_comes_when_the_start_is_forgotten_and_lasts_until_replicas_are_ready() -> None:
    """40 rps, doubled for 3 s: 240 requests after the warm-up of the steady state."""
    case = case_of()
    steady = case.length
    surging, length = jump(case, SPIKE)
    assert surging.scenario.workload == Workload(
        arrival_rate_rps=40.0,
        arrivals=SurgingArrivals(base=PoissonArrivals(), before=steady.warm_up, factor=2.0),
    )
    assert (length.warm_up, length.measured, length.cool_down) == (steady.warm_up, 240, steady.cool_down)


def test_one_replica_stands_for_all_where_it_stands_for_all_in_the_steady_state() -> None:
    """Of 120 rps dealt out to 3 each sees 40 rps, and two thirds of the phases of its gaps end unseen."""
    case = case_of(120.0, replace(PLAN, replicas=3))
    surging, length = jump(case, SPIKE)
    assert (surging.scenario.plan.replicas, surging.scenario.workload.arrival_rate_rps, length.measured) == (
        1,
        40.0,
        240,
    )
    assert surging.scenario.workload.arrivals.base == GammaArrivals(cv=1.0 / 3.0**0.5)
    assert surging.simulated == surging
    whole = case_of(120.0, replace(PLAN, replicas=3, routing=Routing.LEAST_OUTSTANDING))
    surging, length = jump(whole, SPIKE)
    assert (surging.scenario.plan.replicas, surging.scenario.workload.arrival_rate_rps, length.measured) == (
        3,
        120.0,
        720,
    )
    assert surging.scenario.workload.arrivals.base == PoissonArrivals()
    assert length.warm_up == surging.scenario.workload.arrivals.before == 4 * whole.length.warm_up


def test_the_shortest_spike_has_two_requests() -> None:
    assert jump(case_of(), replace(SPIKE, startup_time_s=1e-6))[1].measured == 2
    assert jump(case_of(), replace(SPIKE, startup_time_s=0.031))[1].measured == 2  # 2.48
    assert jump(case_of(), replace(SPIKE, startup_time_s=0.034))[1].measured == 3  # 2.72


@pytest.mark.parametrize(
    "workload",
    [
        ClosedPopulation(users=3),
        Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 1.0, 2.0))),
    ],
    ids=["users", "trace"],
)
def test_what_has_no_steady_rate_cannot_jump(workload: object) -> None:
    message = "a spike multiplies a steady rate: use it with poisson, gamma or deterministic arrivals"
    with pytest.raises(InputError, match=message):
        jump(case_of(workload=workload), SPIKE)


def lindley(case: BatchCase, spike: Spike) -> Iterator[np.ndarray]:
    """Responses that count, spike by spike: W' = max(0, W + s - gap) over the same draws."""
    surging, length = jump(case, spike)
    for number in range(SECTIONS):
        arrived_s = draw(
            surging.scenario.workload, length.requests, replace(SEED, replication=number)
        ).arrived_s
        wait_s, waits_s = 0.0, [0.0]
        for gap_s in np.diff(arrived_s):
            wait_s = max(0.0, wait_s + SERVICE_S - gap_s)
            waits_s.append(wait_s)
        yield np.array(waits_s)[length.warm_up : length.warm_up + length.measured] + SERVICE_S


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("factor", [1.5, 2.0, 4.0])
def test_responses_are_those_of_lindleys_recursion(replicas: int, factor: float) -> None:
    case, spike = case_of(40.0 * replicas, replace(PLAN, replicas=replicas)), replace(SPIKE, factor=factor)
    look = first_look(case, spike)
    expected = np.concatenate(list(lindley(case, spike)))
    assert look.pool.counted == len(expected)
    assert look.pool.mean(Measure.RESPONSE_MEAN).value == pytest.approx(expected.mean(), rel=1e-9)
    assert look.pool.beyond(Measure.RESPONSE, 0.05).value == np.mean(expected > 0.05)
    assert look.pool.beyond(Measure.WAIT, 0.02).value == pytest.approx(np.mean(expected - SERVICE_S > 0.02))
    rank = int(np.ceil(0.99 * len(expected))) - 1
    assert look.pool.response_quantile(0.99).value == pytest.approx(np.sort(expected)[rank], rel=1e-3)


def test_a_spike_shorter_than_the_warm_up_counts_no_request_from_before_it() -> None:
    """80 requests of the surge, after more that forget the start: only those 80 count."""
    case, spike = case_of(80.0), replace(SPIKE, startup_time_s=0.5)
    _, length = jump(case, spike)
    assert length.measured == 80 < length.warm_up
    look = first_look(case, spike)
    expected = np.concatenate(list(lindley(case, spike)))
    assert look.pool.counted == len(expected) == SECTIONS * 80
    assert look.pool.mean(Measure.RESPONSE_MEAN).value == pytest.approx(expected.mean(), rel=1e-9)


def test_a_metronome_that_overwhelms_the_fleet_by_hand() -> None:
    """At 160 rps each request waits 3.75 ms longer than the one before: the k-th takes 10 + 3.75 k ms."""
    workload = Workload(arrival_rate_rps=80.0, arrivals=DeterministicArrivals())
    look = first_look(case_of(workload=workload), replace(SPIKE, startup_time_s=30.0))
    count = 2 * 80 * 30
    assert look.pool.counted == SECTIONS * count
    assert look.pool.mean(Measure.RESPONSE_MEAN).value == pytest.approx(0.010 + 0.00375 * (count + 1) / 2)
    assert look.pool.response_quantile(0.99).value == pytest.approx(0.010 + 0.00375 * 0.99 * count, rel=1e-3)
    assert look.pool.response_quantile(0.5).value == pytest.approx(0.010 + 0.00375 * 0.5 * count, rel=1e-3)


@pytest.mark.parametrize("replicas", [1, 4])
def test_a_backlog_grows_by_what_capacity_lacks(replicas: int) -> None:
    """2 x 80 rps on 100: 60 more each second, after 30 s 18 s of work; responses rise evenly up to that.

    The mean of a path has the standard error √(160/s)·10 ms·√(30 s)/√3 = 0.4 s, of 20 paths 0.09 s.
    """
    case = case_of(80.0 * replicas, replace(PLAN, replicas=replicas))
    pool = first_look(case, replace(SPIKE, startup_time_s=30.0)).pool
    assert pool.mean(Measure.RESPONSE_MEAN).value == pytest.approx(9.03, abs=4 * 0.09)
    assert pool.response_quantile(0.99).value == pytest.approx(0.99 * 18.0, abs=2.0)


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize("queue_limit", [None, 2])
def test_both_engines_see_the_same_spike(routing: Routing, queue_limit: int | None) -> None:
    plan = BatchPlan(
        profile="p",
        replicas=2,
        batch_size_max=4,
        batch_wait_max_s=0.005,
        routing=routing,
        queue_limit=queue_limit,
    )
    kernel, simpy = (
        first_look(case_of(150.0, plan, engine=engine), Spike(factor=4.0, startup_time_s=0.5))
        for engine in (Engine.KERNEL, Engine.SIMPY)
    )
    one, other = (
        batch_performance(look.pool, load=None, replicas=2, quantiles=(0.5, 0.99), confidence=0.95)
        for look in (kernel, simpy)
    )
    assert one == other
    assert (one.loss_probability > 0.3) is (queue_limit is not None)  # 600 rps on 316, two at a time


def test_each_look_has_twice_the_spikes_and_the_last_one_is_affordable() -> None:
    case = case_of()
    _, length = jump(case, SPIKE)
    looks = list(surge_looks(spiked(case, SPIKE), SEED, 100 * length.requests))
    assert [look.pool.replications for look in looks] == [SECTIONS, 2 * SECTIONS, 4 * SECTIONS]
    assert [look.requests for look in looks] == [n * length.requests for n in (20, 40, 80)]
    assert list(surge_looks(spiked(case, SPIKE), SEED, 19 * length.requests)) == []


def asked(limit_s: float, spike: Spike, rate_rps: float = 40.0) -> Scenario:
    return Scenario(
        profile=PROFILE,
        workload=Workload(arrival_rate_rps=rate_rps),
        plan=PLAN,
        objective=Objective.of(response={0.99: limit_s}),
        spike=spike,
    )


@pytest.mark.long
def test_a_spike_is_judged_by_the_responses_during_it() -> None:
    """In the steady state P99 is 30 ms, at twice the rate 120 ms, and overwhelmed it has no end."""
    judge = SimulationJudge(precision=0.1)
    steady = replace(asked(0.05, SPIKE), spike=None)
    assert judge.search(steady, 1).verdict is Verdict.MET
    assert judge.search(asked(0.05, SPIKE), 1).verdict is Verdict.MISSED
    assert judge.search(asked(0.5, SPIKE), 1).verdict is Verdict.MET
    overwhelming = replace(SPIKE, factor=4.0)
    missed = judge.search(asked(0.5, overwhelming), 1)
    assert missed.verdict is Verdict.MISSED
    assert (missed.rejection.reason, missed.rejection.quantile) == (Reason.LATENCY, 0.99)
    assert missed.rejection.needed == pytest.approx(0.99 * 1.8, rel=0.2)
    assert judge.certify(asked(0.5, SPIKE), 1, 0).verdict is Verdict.MET


def test_a_spike_too_long_for_the_budget_says_how_much_would_do() -> None:
    """Of 20 spikes none is affordable: each has 40 x 2 x 3600 requests."""
    candidate = SimulationJudge(requests_max=1_000_000).search(
        asked(0.5, Spike(factor=2.0, startup_time_s=3600.0)), 1
    )
    assert (candidate.verdict, candidate.performance) == (Verdict.INCONCLUSIVE, None)
    assert candidate.rejection.needed > 20 * 40 * 2 * 3600
