"""The users of a stress: the same in every fleet and with every client, closer together in a spike."""

from dataclasses import replace

import numpy as np
import pytest
from stresses import THREE_TRIES, fleet_in_trouble

from capacity.errors import DomainError, InputError
from capacity.question.plan import Routing
from capacity.question.resilience import Breakdowns
from capacity.recovery.faults import Action, ColdCache
from capacity.recovery.findings import mean_of
from capacity.recovery.stress import Stress
from capacity.traffic.clients import Backoff, Clients
from capacity.traffic.workload import MmppArrivals, TraceArrivals, Workload
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.attempts import AttemptDraws
from simulations.draws.outages import faults_of, first_tries_s, inside
from simulations.servers import simulated
from simulations.stress import StressSimulation


def users(stress: Stress, seed: Seed, attempts: int, until_s: float) -> AttemptDraws:
    """Everything random of a run up to an instant."""
    asked = replace(stress, clients=replace(stress.clients, attempts=attempts))
    return simulated(asked, seed).draw(first_tries_s(asked, seed, until_s))


SEED = Seed(value=3, stage=Stage.STRESS, replication=1)
CALM = fleet_in_trouble("lose:1,10s")
SPIKE = fleet_in_trouble("spike:3x,10s")


def test_a_spike_moves_users_and_makes_none() -> None:
    """The same users in the same order, three times as close together meanwhile, and earlier afterwards."""
    until_s = 120.0
    calm = users(CALM, SEED, 1, until_s + 20.0).arrived_s
    spike = users(SPIKE, SEED, 1, until_s).arrived_s
    assert len(spike) == np.searchsorted(calm, until_s + 20.0)
    before = calm < 60.0
    np.testing.assert_array_equal(spike[before], calm[before])
    within = (calm >= 60.0) & (calm < 90.0)
    np.testing.assert_allclose(spike[within], 60.0 + (calm[within] - 60.0) / 3.0, rtol=1e-12)
    after = calm >= 90.0
    np.testing.assert_allclose(spike[after], calm[after] - 20.0, rtol=1e-12)


def test_rates_before_within_and_after_a_spike() -> None:
    arrived_s = users(SPIKE, SEED, 1, 600.0).arrived_s
    counts = [
        np.count_nonzero((arrived_s >= low) & (arrived_s < high))
        for low, high in ((0.0, 60.0), (60.0, 70.0), (70.0, 600.0))
    ]
    for count, mean in zip(counts, (320.0 * 60.0, 960.0 * 10.0, 320.0 * 530.0), strict=True):
        assert abs(count - mean) < 4.0 * np.sqrt(mean)


def test_a_fleet_changes_no_user() -> None:
    few = users(CALM, SEED, 1, 100.0)
    many = users(CALM.with_replicas(9), SEED, 3, 100.0)
    np.testing.assert_array_equal(few.arrived_s, many.arrived_s)
    np.testing.assert_array_equal(few.service[0], many.service[0])
    assert many.service.shape == (3, len(many.arrived_s))
    assert not np.array_equal(many.service[1], many.service[2])


def test_a_longer_run_begins_alike() -> None:
    short, long = users(CALM, SEED, 1, 100.0), users(CALM, SEED, 1, 200.0)
    np.testing.assert_array_equal(long.arrived_s[: len(short.arrived_s)], short.arrived_s)
    np.testing.assert_array_equal(long.service[0, : len(short.arrived_s)], short.service[0])


def test_each_run_has_users_of_its_own() -> None:
    other = replace(SEED, replication=2)
    assert users(CALM, other, 1, 50.0).arrived_s[0] != users(CALM, SEED, 1, 50.0).arrived_s[0]


@pytest.mark.parametrize(
    ("routing", "is_drawn"),
    [(Routing.RANDOM, True), (Routing.POWER_OF_TWO, True), (Routing.ROUND_ROBIN, False)],
)
def test_routes_are_drawn_where_they_are_random(routing: Routing, is_drawn: bool) -> None:
    draws = users(fleet_in_trouble(routing=routing), SEED, 2, 70.0)
    assert (draws.routing.size > 0) is is_drawn
    if is_drawn:
        assert draws.routing.shape == (2, len(draws.arrived_s), 2)


def test_backoffs_are_drawn_where_clients_wait() -> None:
    assert users(CALM, SEED, 3, 70.0).backoff.size == 0
    waits = Clients(timeout_s=0.5, attempts=3, backoff=Backoff(initial_s=0.1, max_s=1.0))
    assert users(fleet_in_trouble(clients=waits), SEED, 3, 70.0).backoff.shape[0] == 3


def test_bursts_stay_bursts() -> None:
    bursty = replace(
        SPIKE,
        workload=Workload(
            arrival_rate_rps=320.0, arrivals=MmppArrivals(ratio=4.0, burst_mean_s=5.0, calm_mean_s=10.0)
        ),
    )
    arrived_s = users(bursty, SEED, 1, 200.0).arrived_s
    assert (np.diff(arrived_s) >= 0.0).all()
    assert arrived_s[-1] < 200.0


def test_a_trace_has_nothing_to_go_on_with() -> None:
    trace = Workload(arrival_rate_rps=2.0, arrivals=TraceArrivals(instants_s=(0.0, 0.5, 1.0)))
    with pytest.raises(InputError, match="a trace ends when its requests do"):
        users(replace(CALM, workload=trace), SEED, 1, 100.0)


def test_too_many_requests_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(DomainError, match="at most 2e"):
        users(fleet_in_trouble(rate_rps=3e6, replicas=40_000), SEED, 1, 100.0)


def test_faults_are_those_of_the_trigger() -> None:
    assert [one.action for one in faults_of(CALM, SEED)] == [Action.LEAVE, Action.JOIN]
    paused = fleet_in_trouble("pause:100ms,30/min,60s")
    first, again = faults_of(paused, SEED), faults_of(paused, SEED)
    assert first == again
    assert first != faults_of(paused, replace(SEED, replication=2))
    pauses = [one for one in first if one.action is Action.PAUSE]
    mean = 4 * 60.0 * 0.5 / (1.0 + 0.1 * 0.5)
    assert abs(len(pauses) - mean) < 4.0 * np.sqrt(mean)
    assert {one.replica for one in pauses} == {0, 1, 2, 3}


def test_the_request_overhead_shortens_timeout_and_deadline() -> None:
    clients = Clients(timeout_s=0.5, deadline_s=2.0, attempts=3)
    assert inside(clients, 0.0) == clients
    left = inside(clients, 0.125)
    assert (left.timeout_s, left.deadline_s, left.attempts) == (0.375, 1.875, 3)
    assert inside(Clients(), 9.0) == Clients()
    with pytest.raises(DomainError, match="a timeout of 0.5 s is no longer than the request overhead, 0.5 s"):
        inside(clients, 0.5)
    with pytest.raises(DomainError, match="a deadline of 2 s is no longer than the request overhead, 3 s"):
        inside(Clients(deadline_s=2.0), 3.0)


BREAKDOWNS = Breakdowns(mtbf_s=200.0, recovery_s=50.0)


def test_replicas_break_down_beside_the_trigger() -> None:
    """One that is lost has its own; the others have what they have without the trigger, in any fleet."""
    lost = replace(CALM, breakdowns=BREAKDOWNS)
    unhurt = replace(fleet_in_trouble("straggler:2x,10s"), breakdowns=BREAKDOWNS)
    crashes = [
        [one for one in faults_of(stress, SEED) if one.action is Action.CRASH and one.replica < 3]
        for stress in (lost, unhurt, lost.with_replicas(4), replace(lost, detection_s=7.0))
    ]
    assert crashes[0] == crashes[1] == crashes[2] == crashes[3]
    assert len(crashes[0]) > 3
    faults = faults_of(lost, SEED)
    assert list(faults) == sorted(faults, key=lambda one: one.instant_s)
    assert {Action.LEAVE, Action.JOIN} <= {one.action for one in faults}
    assert faults != faults_of(lost, replace(SEED, replication=2))


def test_the_share_that_succeeds_is_that_of_the_time_that_replicas_are_up() -> None:
    """Nobody notices, so that each replica has its turn while it is dead; a spike of 1.01 does no harm."""
    stress = replace(
        fleet_in_trouble(
            "spike:1.01x,1s",
            Clients(),
            replicas=8,
            rate_rps=80.0,
            routing=Routing.ROUND_ROBIN,
            horizon_s=400.0,
        ),
        breakdowns=Breakdowns(mtbf_s=45.0, recovery_s=5.0),
        detection_s=1e6,
    )
    found = StressSimulation(seed=2, runs=12)(stress)
    shares = [sum(run.course.succeeded) / sum(run.course.came) for run in found.runs]
    interval = mean_of(shares, 0.99)
    assert interval.low <= 0.9 <= interval.high
    assert interval.high - interval.low < 0.03


def test_a_cold_cache_and_breakdowns_leave_the_users_alone() -> None:
    changed = replace(CALM, breakdowns=BREAKDOWNS, cold=ColdCache(batches=20, factor=3.0))
    one, other = users(CALM, SEED, 1, 100.0), users(changed, SEED, 1, 100.0)
    np.testing.assert_array_equal(one.arrived_s, other.arrived_s)


def test_the_clients_of_these_tests_try_three_times() -> None:
    assert THREE_TRIES.attempts == 3
