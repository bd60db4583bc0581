"""Pauses and requests that take longer: against exact laws, and against a recursion written here."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capacity.errors import DomainError, InconclusiveError, UnstableError
from capacity.performance import Interval
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.scenario import Scenario
from capacity.queues import PausedMG1
from capacity.queues.durations import Duration, Family
from capacity.recovery.disturbance import Disturbances, Pauses, RequestClass
from capacity.recovery.faults import Action
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import TraceArrivals, Workload
from simulations.disturbed import (
    Disturbed,
    DisturbedSimulation,
    _classes,
    _pauses,
    _quantiles,
    _requests,
    _run,
)
from simulations.draws.arrivals import Seed
from simulations.draws.service import ExponentialTimes
from simulations.simulate import Simulation

ONE = ServiceProfile(name="one", timings=(BatchTiming(batch_size=1, mean_s=1.0),))
LONG = RequestClass(name="long", share=0.02, scale=8.0)


def found(disturbances: Disturbances, *, exponential: bool = True, rate_rps: float = 0.6) -> Disturbed:
    simulate = DisturbedSimulation(service_times=ExponentialTimes(1.0) if exponential else None)
    plan = BatchPlan(profile="one", replicas=1, batch_size_max=1)
    return simulate(ONE, Workload(arrival_rate_rps=rate_rps), plan, disturbances, (0.5, 0.99))


def holds(interval: Interval, value: float) -> bool:
    """At 99 %: half as far again as the 95 % interval reaches."""
    return (
        interval.value - 1.5 * (interval.value - interval.low)
        <= value
        <= interval.value + 1.5 * (interval.high - interval.value)
    )


def test_without_any_it_is_the_queue_that_theory_knows() -> None:
    p99 = found(Disturbances()).response_quantiles_s[0.99]
    assert holds(p99, math.log(100.0) / 0.4)  # M/M/1


def test_pauses_are_those_of_the_law() -> None:
    seen = found(Disturbances(pauses=Pauses(length_s=2.0, per_s=0.05)))
    law = PausedMG1(
        arrival_rate_rps=0.6,
        service=Duration(family=Family.EXPONENTIAL, mean_s=1.0),
        pause=Duration(family=Family.DETERMINISTIC, mean_s=2.0),
        pauses_per_s=0.05,
    )
    for quantile, interval in seen.response_quantiles_s.items():
        assert holds(interval, law.response_quantile_s(quantile)), quantile


@pytest.mark.long
def test_long_requests_are_those_of_a_recursion() -> None:
    """Lindley's: a request waits for what was left of the work when it came."""
    seen = found(Disturbances(classes=(LONG,)), exponential=False)
    generator, count = np.random.default_rng(7), 2_000_000
    gaps_s = generator.exponential(1.0 / 0.6, count)
    is_long = generator.random(count) < LONG.share
    service_s = np.where(is_long, LONG.scale, 1.0)
    walk_s = np.cumsum(np.append(0.0, service_s[:-1]) - gaps_s)
    waits_s = walk_s - np.minimum.accumulate(np.minimum(walk_s, 0.0))
    response_s = waits_s + service_s
    wanted = {"ordinary": response_s[~is_long], "long": response_s[is_long]}
    for name, responses_s in wanted.items():
        for quantile, interval in seen.by_class[name].items():
            assert float(np.quantile(responses_s, quantile)) == pytest.approx(interval.value, rel=0.04), name


def test_a_batch_takes_as_long_as_its_longest() -> None:
    assert Disturbances(classes=(LONG,)).slowdown(1) == pytest.approx(0.98 + 0.02 * 8.0)
    assert Disturbances(classes=(LONG,)).slowdown(2) == pytest.approx(0.98**2 + (1.0 - 0.98**2) * 8.0)
    assert Disturbances(pauses=Pauses(length_s=1.0, per_s=0.25)).slowdown(1) == pytest.approx(1.25)


def test_what_is_left_must_keep_up() -> None:
    with pytest.raises(UnstableError, match=r"load 1\.026 >= 1"):
        found(Disturbances(classes=(LONG,)), rate_rps=0.9)


def test_a_quantile_has_a_hundred_requests_beyond_it() -> None:
    runs = [np.linspace(0.0, 1.0, 5_000), np.linspace(0.0, 1.0, 5_001)]
    assert _quantiles(runs, (0.5, 0.99), 0.95, 0.0, "long")[0.99].value == pytest.approx(0.99, abs=1e-3)
    with pytest.raises(InconclusiveError, match="too few requests of long for P99; give a larger share"):
        _quantiles([runs[0], runs[0][1:]], (0.5, 0.99), 0.95, 0.0, "long")


@pytest.mark.long
def test_the_same_seed_gives_the_same_figures_for_any_fleet_of_workers() -> None:
    resnet = load_profile("resnet50-t4-fp16")
    plan = BatchPlan(profile=resnet.name, replicas=2, batch_size_max=4)
    both = Disturbances(pauses=Pauses(length_s=0.02, per_s=1.0), classes=(LONG,))
    one, other = (
        DisturbedSimulation(mapper=mapper)(resnet, Workload(arrival_rate_rps=200.0), plan, both, (0.99,))
        for mapper in (map, lambda ask, numbers: [ask(number) for number in reversed(list(numbers))][::-1])
    )
    assert one == other


SLOW = Workload(arrival_rate_rps=100.0)


@pytest.mark.parametrize(
    ("disturbances", "quantile", "requests"),
    [
        (Disturbances(), 0.99, 40_000),  # 400 beyond P99 in 20 runs are 2,000 a run
        (Disturbances(), 0.9999, 200_000),
        (Disturbances(classes=(RequestClass(name="c", share=0.02, scale=2.0),)), 0.99, 100_000),
        (Disturbances(pauses=Pauses(length_s=1.0, per_s=0.01)), 0.99, 100_000),  # ten pauses of a replica
        (Disturbances(pauses=Pauses(length_s=1.0, per_s=0.00025)), 0.99, 4_000_000),
    ],
)
def test_a_run_has_requests_beyond_its_quantile_and_pauses(disturbances, quantile, requests) -> None:
    assert _requests(SLOW, disturbances, quantile) == pytest.approx(requests, abs=1)


def test_a_run_too_long_for_memory_is_refused() -> None:
    rare = Disturbances(pauses=Pauses(length_s=1.0, per_s=0.0002))
    with pytest.raises(DomainError, match=r"^a run that tells needs 5e\+06 requests, and at most 4e\+06 are"):
        _requests(SLOW, rare, 0.99)


def test_classes_have_their_shares_and_scales() -> None:
    both = Disturbances(
        classes=(RequestClass(name="a", share=0.25, scale=3.0), RequestClass(name="b", share=0.25, scale=0.5))
    )
    kinds, scale = _classes(both, 40_000, Seed(value=1))
    assert np.bincount(kinds) / 40_000 == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    assert scale is not None
    assert np.array_equal(scale, np.array([1.0, 3.0, 0.5])[kinds])
    kinds, none = _classes(Disturbances(), 5, Seed(value=1))
    assert (kinds.tolist(), none) == ([0] * 5, None)


def test_each_replica_pauses_for_its_length_and_runs_as_long_as_asked() -> None:
    faults = _pauses(Disturbances(pauses=Pauses(length_s=2.0, per_s=0.1)), 3, 20_000.0, Seed(value=1))
    instants_s = [fault.instant_s for fault in faults]
    assert instants_s == sorted(instants_s)
    assert {fault.replica for fault in faults} == {0, 1, 2}
    for replica in range(3):
        mine = [fault for fault in faults if fault.replica == replica]
        begun, ended = mine[::2], mine[1::2]
        assert {fault.action for fault in begun} == {Action.PAUSE}
        assert {fault.action for fault in ended} == {Action.RESUME}
        assert {fault.value for fault in begun} == {2.0}
        assert begun[-1].instant_s < 20_000.0 <= ended[-1].instant_s + 100.0
        lengths_s = np.array([one.instant_s for one in ended]) - [one.instant_s for one in begun]
        assert lengths_s == pytest.approx(2.0)
        ran_s = np.array([one.instant_s for one in begun[1:]]) - [one.instant_s for one in ended[:-1]]
        assert float(ran_s.mean()) == pytest.approx(10.0, rel=0.1)  # 1,700 of them: 2.5 % of standard error
    assert _pauses(Disturbances(), 3, 20_000.0, Seed(value=1)) == []


@pytest.mark.parametrize("length", [1.0, 1.05])
def test_a_fleet_that_is_just_full_is_unstable(length: float) -> None:
    """Load 0.5, and as long standing as running."""
    with pytest.raises(UnstableError, match=r"^disturbed, 1 replicas have load 1\.0"):
        found(Disturbances(pauses=Pauses(length_s=length, per_s=1.0)), rate_rps=0.5)


def test_replicas_of_one_device_are_as_slow_as_without_disturbances() -> None:
    """Without any disturbance the figures are those of the simulation of a steady fleet, on devices of two."""
    shared = replace(ONE, instances_per_device=2)
    plan, workload = BatchPlan(profile="one", replicas=2, batch_size_max=1), Workload(arrival_rate_rps=0.6)
    asked = DisturbedSimulation()(shared, workload, plan, Disturbances(), (0.5, 0.99)).response_quantiles_s
    steady = Simulation(quantiles=(0.5, 0.99))(Scenario(profile=shared, workload=workload, plan=plan))
    for quantile, one in asked.items():
        other = steady.response_quantiles_s[quantile]
        assert max(one.low, other.low) <= min(one.high, other.high)
    alone = Simulation(quantiles=(0.99,))(Scenario(profile=ONE, workload=workload, plan=plan))
    assert alone.response_quantiles_s[0.99].high < asked[0.99].low


def test_what_is_not_simulated_with_disturbances_is_refused() -> None:
    simulate, plan = DisturbedSimulation(), BatchPlan(profile="one", replicas=2, batch_size_max=1)
    trace = Workload(arrival_rate_rps=0.1, arrivals=TraceArrivals(instants_s=(0.0, 10.0)))
    with pytest.raises(
        DomainError, match="^a trace has requests of its own; give a rate to plan with disturb"
    ):
        simulate(ONE, trace, plan, Disturbances(), (0.5,))


def test_a_run_counts_all_but_its_first_tenth_and_who_is_lost_is_infinitely_late(monkeypatch) -> None:
    """Every request takes a second, but for every fourth, which is lost."""
    seen: list[Any] = []

    def run(fleet: Any, draws: Any, clients: Any, protection: Any, faults: Any) -> Any:
        seen.append((draws, faults))
        answered_s = draws.arrived_s + 1.0
        answered_s[::4] = np.nan
        return SimpleNamespace(arrived_s=draws.arrived_s, answered_s=answered_s)

    monkeypatch.setattr("simulations.disturbed.run_kernel", run)
    monkeypatch.setattr("simulations.disturbed._requests", lambda *_: 1001)
    both = Disturbances(pauses=Pauses(length_s=1.0, per_s=1.0), classes=(LONG,))
    plan = BatchPlan(profile="one", replicas=2, batch_size_max=1)
    responses_s, kinds = _run(3, ONE, None, SLOW, plan, both, 0.99, 4)
    ((draws, faults),) = seen
    assert draws.arrived_s.shape == (1001,)
    assert (draws.service.shape, draws.routing.shape) == ((1, 1001), (1, 1001, 2))
    assert (draws.backoff.shape, draws.scale.shape) == ((0, 0), (1001,))
    assert {fault.replica for fault in faults} == {0, 1}
    assert max(fault.instant_s for fault in faults if fault.action is Action.PAUSE) < draws.arrived_s[-1]
    assert (len(responses_s), len(kinds)) == (900, 900)
    lost = np.arange(101, 1001) % 4 == 0
    assert np.isinf(responses_s[lost]).all()
    assert responses_s[~lost] == pytest.approx(1.0)
    assert np.array_equal(draws.scale[101:], np.array([1.0, 8.0])[kinds])
