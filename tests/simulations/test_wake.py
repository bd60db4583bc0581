"""Wake: the first batch after a rest takes longer, by hand in both engines, and by Welch's law.

The engines are held against each other and the oracle in `test_kernel`, `test_cluster` and `test_devices`.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import assert_kernel_gives, fixed

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.profile.formats import read_document
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.fleet import predict
from capacity.render.profiles import profile_document
from capacity.search.exact import judge_exactly
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.service import FIXED, ExponentialTimes, ProfileTimes, ServiceTable, ServiceTimes
from simulations.reference import cluster
from simulations.simulate import Simulation
from simulations.validation.agreement import Agreement, compare
from simulations.validation.systems import System

SAMPLES_S = (0.004, 0.005, 0.005, 0.011)
WOKEN = ServiceProfile(
    name="made-up", timings=(BatchTiming(batch_size=1, samples_s=SAMPLES_S),), wake_s=0.006
)
ALONE = BatchPlan(profile="made-up", replicas=1, batch_size_max=1)


def finished_s(plan: BatchPlan, times: ServiceTimes, arrived_s: list[float], slowdowns=(1.0,)) -> list[float]:
    """Of both engines."""
    count = len(arrived_s)
    draws = Draws(arrived_s=np.array(arrived_s), service=np.full(count, 0.5), routing=np.full(2 * count, 0.5))
    records = cluster.run(plan, times, draws, slowdowns)
    for block in (1, 100):
        assert_kernel_gives(records, plan, times, draws, block, slowdowns)
    return records.finished_s.tolist()


SECOND = fixed(lambda size: 1.0, wake_s=0.5)


def test_who_starts_right_after_another_is_not_woken() -> None:
    """The first is, and who comes after a pause; not who waited, nor who comes as the last one ends."""
    assert finished_s(ALONE, SECOND, [0.0, 0.25, 3.5, 5.0, 6.0, 7.25]) == [1.5, 2.5, 5.0, 6.0, 7.0, 8.75]


def test_a_replica_rests_by_its_own_queue() -> None:
    plan = replace(ALONE, replicas=2, routing=Routing.ROUND_ROBIN)
    assert finished_s(plan, SECOND, [0.0, 0.25, 1.75, 3.0]) == [1.5, 1.75, 3.25, 4.5]
    assert finished_s(plan, SECOND, [0.0, 0.25, 1.5, 1.75]) == [1.5, 1.75, 2.5, 2.75]


def test_replicas_of_one_queue_rest_by_the_last_end_of_any() -> None:
    plan = replace(ALONE, replicas=2, routing=Routing.SHARED_QUEUE)
    assert finished_s(plan, SECOND, [0.0, 0.25, 1.75, 3.0]) == [1.5, 1.75, 2.75, 4.5]
    many = replace(plan, queue_limit=100)  # which takes events
    assert finished_s(many, SECOND, [0.0, 0.25, 1.75, 3.0]) == [1.5, 1.75, 2.75, 4.5]


def test_who_waits_for_a_batch_to_fill_lets_the_replica_rest() -> None:
    plan = replace(ALONE, batch_size_max=2, batch_wait_max_s=0.5)
    assert finished_s(plan, SECOND, [0.0, 0.25, 1.5]) == [1.75, 1.75, 3.5]
    assert finished_s(plan, SECOND, [0.0, 0.25, 1.0]) == [1.75, 1.75, 2.75]


def test_a_shared_device_stretches_the_wake_too() -> None:
    """Both woken at once, at half the speed: 1.5 s of work take 3 s; the third is not woken, and alone."""
    plan = replace(ALONE, replicas=2, routing=Routing.ROUND_ROBIN)
    assert finished_s(plan, SECOND, [0.0, 0.0, 0.5], (1.0, 2.0)) == [3.0, 3.0, 4.0]


def test_users_wake_replicas_as_others_do() -> None:
    """One user who thinks for a second each time wakes it each time; who does not think, once."""
    for think_s, expected in ((1.0, [1.5, 4.0, 6.5]), (0.0, [1.5, 2.5, 3.5])):
        draws = ClosedDraws(
            users=1, think_s=np.full(3, think_s), service=np.full(3, 0.5), routing=np.full(6, 0.5)
        )
        records = cluster.run(ALONE, SECOND, draws)
        assert records.finished_s.tolist() == expected
        assert_kernel_gives(records, ALONE, SECOND, draws, 1)


def welch(rate_rps: float, mean_s: float, square_s2: float, wake_s: float) -> Performance:
    """M/G/1 whose first service after a rest is longer, by Welch (1964), Oper. Res. 12, 736-752.

    V is the work left. It falls at the rate of 1 while it is positive, and an arrival adds S, or S0 where it
    finds none. In the long run V and V² neither rise nor fall: of V, P(V = 0) = (1 - r) / (1 - r + r0), r being
    rate E[S] and r0 rate E[S0]; of V², 2 E[V] = rate (2 E[V] E[S] + P(V > 0) E[S²] + P(V = 0) E[S0²]). Poisson
    arrivals find V, and wait for it.
    """
    first_s, first_s2 = mean_s + wake_s, square_s2 + 2.0 * wake_s * mean_s + wake_s**2
    left, rest = 1.0 - rate_rps * mean_s, 1.0 - rate_rps * mean_s + rate_rps * first_s
    wait_s = rate_rps * square_s2 / (2.0 * left) + rate_rps * (first_s2 - square_s2) / (2.0 * rest)
    idle = left / rest
    return Performance(
        kind=Kind.EXACT,
        utilization=1.0 - idle,
        wait_probability=1.0 - idle,
        wait_mean_s=wait_s,
        response_mean_s=wait_s + mean_s + idle * wake_s,
    )


def test_welch_is_pollaczek_khinchine_where_nothing_wakes() -> None:
    exact = welch(0.8, 1.0, 2.0, 0.0)
    assert (exact.wait_mean_s, exact.wait_probability) == (pytest.approx(4.0), pytest.approx(0.8))


SYSTEMS = {
    "exponential": (ExponentialTimes(1.0, wake_s=0.8), 1.0, 2.0, 0.8),
    "constant": (fixed(lambda size: 1.0, wake_s=2.0), 1.0, 1.0, 2.0),
    "profile": (ProfileTimes(WOKEN), WOKEN.service_mean_s(1), float(np.mean(np.square(SAMPLES_S))), WOKEN.wake_s),
}  # fmt: skip


@pytest.mark.parametrize("load", [0.2, 0.7])
@pytest.mark.parametrize("name", SYSTEMS)
def test_one_replica_waits_as_long_as_welch_says(name: str, load: float) -> None:
    """Within 4 standard errors, which are at most 0.5 % of the law."""
    times, mean_s, square_s2, wake_s = SYSTEMS[name]
    rate_rps = load / mean_s
    system = System(
        name=name,
        theory=welch(rate_rps, mean_s, square_s2, wake_s),
        plan=ALONE,
        workload=Workload(arrival_rate_rps=rate_rps),
        service_times=times,
        relaxation_requests=100.0,
        compared=("utilization", "wait_probability", "wait_mean_s", "response_mean_s"),
        quantiles=(),
    )
    rows = compare(system, seed=1, requests_max=20_000_000)
    assert {row.quantity: row.verdict for row in rows} == dict.fromkeys(system.compared, Agreement.AGREES)


def test_the_law_would_tell_whether_every_batch_is_woken_or_none() -> None:
    exact = welch(0.7, 1.0, 2.0, 0.8)
    bare = welch(0.7, 1.0, 2.0, 0.0)
    assert exact.wait_mean_s > 1.1 * bare.wait_mean_s
    always = welch(0.2, 1.0 + 0.8, 2.0 + 1.6 + 0.64, 0.0)
    assert always.wait_mean_s > 1.05 * welch(0.2, 1.0, 2.0, 0.8).wait_mean_s


def test_a_fleet_behind_the_dice_is_that_many_such_queues() -> None:
    """From a profile to an answer, of which the last word is the product's own."""
    plan = replace(ALONE, replicas=3, routing=Routing.RANDOM)
    found = Simulation(precision=0.01)(
        Scenario(profile=WOKEN, workload=Workload(arrival_rate_rps=300.0), plan=plan)
    )
    exact = welch(100.0, WOKEN.service_mean_s(1), float(np.mean(np.square(SAMPLES_S))), WOKEN.wake_s)
    assert found.response_mean_s == pytest.approx(exact.response_mean_s, rel=0.01)
    assert found.utilization == pytest.approx(exact.utilization, rel=0.01)


def test_the_quantile_of_a_woken_batch_is_told_to_the_last_digit() -> None:
    """More than half meet nobody and take 5 ms and 3 ms to wake."""
    constant = ServiceProfile(
        name="made-up", timings=(BatchTiming(batch_size=1, mean_s=0.005),), wake_s=0.003
    )
    found = Simulation(quantiles=(0.5,))(
        Scenario(profile=constant, workload=Workload(arrival_rate_rps=30.0), plan=ALONE)
    )
    assert found.response_quantiles_s[0.5].value == pytest.approx(0.008, rel=1e-9)


def test_exact_laws_refuse_it() -> None:
    workload = Workload(arrival_rate_rps=30.0)
    bare = ServiceProfile(name="made-up", timings=(BatchTiming(batch_size=1, mean_s=0.005),))
    woken = replace(bare, wake_s=0.003)
    with pytest.raises(DomainError, match="no exact law covers a slower first batch after an idle pause"):
        predict(woken, workload, ALONE)
    asked = Scenario(
        profile=bare, workload=workload, plan=ALONE, objective=Objective.of(response={0.99: 1.0})
    )
    assert judge_exactly(asked) is not None
    assert judge_exactly(replace(asked, profile=woken)) is None


def test_a_profile_file_may_have_it() -> None:
    document = {"name": "a", "timings": [{"batch_size": 1, "mean_ms": 5}]}
    assert read_document(document | {"wake_s": 0.25}, "a.json").wake_s == 0.25
    assert read_document(document, "a.json").wake_s == 0.0
    assert profile_document(WOKEN)["wake_s"] == WOKEN.wake_s


@pytest.mark.parametrize("wake_s", [-1.0, math.nan, math.inf])
def test_compiled_code_gets_no_other(wake_s: float) -> None:
    table = ServiceTable(kind=FIXED, times_s=np.ones(1), wake_s=wake_s)
    with pytest.raises(DomainError, match="wake_s must be finite and not negative"):
        table.require(1)
