"""Relaxation: against the slowest mode of the chains themselves, and how long runs become by it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from capacity.performance import Kind
from capacity.profile.distribution import constant
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.objective import Measure
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.markov.mmck import MMcK
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import require_answerable
from capacity.traffic.workload import ClosedPopulation, MmppArrivals, Workload
from simulations.case import arrivals_scv
from simulations.cases.batch import BatchCase
from simulations.cases.batch_users import forgotten_requests, rate_at_most_rps, walk_requests
from simulations.draws.arrivals import Seed, SettlingUsers, draw
from simulations.kernel.serve import run
from simulations.looks import looks, precise_look
from simulations.replication import Engine, replicate
from simulations.simulate import Simulation
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import (
    closed_relaxation_requests,
    limited_relaxation_requests,
    modulated_relaxation_requests,
    open_relaxation_requests,
    pace_of_users,
    relaxation_requests,
    turns_requests,
)
from simulations.statistics.sample import Length

PROFILE = ServiceProfile(
    name="made-up",
    timings=tuple(BatchTiming(batch_size=size, mean_s=0.01 + 0.002 * size) for size in (1, 2, 4)),
)


def slowest_rate(generator: np.ndarray) -> float:
    """Rate at which a chain forgets: the smallest real part but 0 of its eigenvalues."""
    rates = np.sort(-np.linalg.eigvals(generator - np.diag(generator.sum(axis=1))).real)
    return float(rates[1])


@pytest.mark.parametrize("places", [1, 2, 7, 30])
@pytest.mark.parametrize("load", [0.3, 0.8, 1.0, 1.7])
def test_of_m_m_1_k_it_is_exact(load: float, places: int) -> None:
    chain = load * np.eye(places + 1, k=1) + np.eye(places + 1, k=-1)
    expected = max(1.0, load, load / slowest_rate(chain))
    assert limited_relaxation_requests(load, 1, load, 2.0, places) == pytest.approx(expected)


@pytest.mark.parametrize("variability", [1.0, 2.0, 17.0])
@pytest.mark.parametrize("queues", [1, 6])
def test_a_far_limit_is_none(queues: int, variability: float) -> None:
    without = relaxation_requests(0.7, queues, 3.0, variability)
    assert limited_relaxation_requests(0.7, queues, 3.0, variability, 10**6) == pytest.approx(without)
    assert open_relaxation_requests(0.7, queues, 3.0, variability, None) == without
    assert open_relaxation_requests(0.7, queues, 3.0, variability, 5) < without


def test_a_queue_limit_shortens_relaxation_in_proportion_to_variability() -> None:
    """At load 0.64 relaxation takes 16 requests; 3 places add 2(1 - cos 45°)/0.8 to the rate, times half of the
    variability, which counts as 0.2 at least.
    """
    walls, drift = 2.0 * (1.0 - math.sqrt(0.5)) / 0.8, 1.0 / 16.0
    for variability, queues, expected in (
        (0.0, 1, 1.0 / (0.1 * walls + drift)),
        (0.2, 1, 1.0 / (0.1 * walls + drift)),
        (0.4, 1, 1.0 / (0.2 * walls + drift)),
        (4.0, 9, 9.0 / (2.0 * walls + drift / 2.0)),
    ):
        assert limited_relaxation_requests(0.64, queues, 0.0, variability, 3) == pytest.approx(expected)
    assert limited_relaxation_requests(0.64, 1, 3.0, 4.0, 3) == 3.0  # in service
    assert limited_relaxation_requests(0.64, 1, 0.5, 4.0, 3) == 1.0


def test_a_run_of_limited_queues_is_long_enough_at_any_load() -> None:
    def warm_up(load: float, limit: int | None) -> int:
        plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=4, queue_limit=limit)
        rate_rps = load * PROFILE.throughput_rps(4)
        return BatchCase(
            scenario=Scenario(
                profile=PROFILE, workload=Workload(arrival_rate_rps=rate_rps), plan=plan, quantiles=(0.99,)
            )
        ).length.warm_up

    assert warm_up(0.9, 10) < warm_up(0.9, 100) < warm_up(0.9, None)
    assert warm_up(1.0, 10) < warm_up(1.0, 100)
    assert warm_up(3.0, 100) < warm_up(1.0, 100)


def switched_chain(arrivals: MmppArrivals, rate_rps: float, places: int) -> np.ndarray:
    """Generator of MMPP/M/1/K of service rate 1, without its diagonal; states by number, then phase."""
    phases = np.array([[0.0, 1.0 / arrivals.burst_mean_s], [1.0 / arrivals.calm_mean_s, 0.0]])
    levels = places + 1
    return (
        np.kron(np.eye(levels), phases)
        + np.kron(np.eye(levels, k=1), np.diag(arrivals.rates_rps(rate_rps)))
        + np.kron(np.eye(levels, k=-1), np.eye(2))
    )


def slowest_rate_of_levels(chain: np.ndarray, load: float) -> float:
    """As `slowest_rate`, of two states a level; scaled level by level, without which digits are lost."""
    generator = chain - np.diag(chain.sum(axis=1))
    scale = np.repeat(load ** (-0.5 * np.arange(len(chain) // 2)), 2)
    rates = np.sort(-np.linalg.eigvals(generator * scale[None, :] / scale[:, None]).real)
    return float(rates[1])


@pytest.mark.parametrize(
    ("ratio", "burst_s", "calm_s", "load"),
    [(5.0, 20.0, 20.0, 0.75), (4.0, 20.0, 40.0, 0.6), (2.0, 10.0, 60.0, 0.5), (30.0, 2.0, 40.0, 0.4)],
)
def test_of_mmpp_m_1_it_is_the_slowest_mode_of_long_chains(ratio, burst_s, calm_s, load) -> None:
    """A chain that is cut off forgets a little sooner, the less so the longer it is."""
    arrivals = MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s)
    found = modulated_relaxation_requests(arrivals, load, load, 1, load, 2.0, None)
    rates = [slowest_rate_of_levels(switched_chain(arrivals, load, places), load) for places in (100, 200)]
    assert rates[0] >= rates[1] >= load / found * (1.0 - 1e-6)
    unlimited = (4.0 * rates[1] - rates[0]) / 3.0  # the error falls by the square of the length
    assert load / unlimited == pytest.approx(found, rel=0.025)


@pytest.mark.parametrize(("ratio", "burst_s", "calm_s"), [(5, 20, 50), (2, 100, 100), (20, 2, 50), (3, 1, 1)])
@pytest.mark.parametrize("places", [2, 10, 30, 100, 200])
def test_with_a_limit_it_is_enough(places: int, ratio: float, burst_s: float, calm_s: float) -> None:
    arrivals = MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s)
    for load in (0.5, 0.8, 1.0) if places > 30 else (0.5, 0.8, 1.0, 2.0):
        allowed = modulated_relaxation_requests(arrivals, load, load, 1, load, 2.0, places)
        slowest = load / slowest_rate_of_levels(switched_chain(arrivals, load, places), load)
        assert slowest <= allowed <= 6.0 * slowest


@pytest.mark.parametrize(("queues", "variability"), [(1, 2.0), (5, 2.0), (1, 9.0), (5, 9.0)])
def test_bursts_of_a_hair_and_short_leave_it_as_it_is(queues: int, variability: float) -> None:
    arrivals = MmppArrivals(ratio=1.0 + 1e-9, burst_mean_s=0.1, calm_mean_s=0.1)
    bursty = modulated_relaxation_requests(arrivals, 0.8, 0.8, queues, 1.0, variability, None)
    assert bursty == pytest.approx(relaxation_requests(0.8, queues, 1.0, variability), rel=1e-6)


@pytest.mark.parametrize(("variability", "queues"), [(2.0, 1), (6.0, 1), (6.0, 4)])
def test_bursts_of_a_hair_with_a_queue_limit_relax_as_slowly_as_twice_the_queue(variability, queues) -> None:
    """The queue is M/M/1/10 at load 0.8 in groups of half the variability; phases and requests in service add theirs."""
    arrivals = MmppArrivals(ratio=1.0 + 1e-9, burst_mean_s=0.1, calm_mean_s=0.1)
    found = modulated_relaxation_requests(arrivals, 0.8, 0.8, queues, 3.0, variability, 10)
    together = variability / 2.0
    come, served = 0.8 / queues / together, 1.0 / queues / together
    angle = math.pi / (10.0 / together + 1.0)
    rate = come + served - 2.0 * math.sqrt(come * served) * math.cos(angle)
    assert found == pytest.approx(0.8 / 20.0 + 2.0 * 0.8 / rate + 3.0, rel=1e-6)


def test_nothing_is_forgotten_before_a_request_comes() -> None:
    """At load 0.01, of phases that switch 20 times a second and queues that are nearly always empty."""
    arrivals = MmppArrivals(ratio=2.0, burst_mean_s=0.1, calm_mean_s=0.1)
    assert modulated_relaxation_requests(arrivals, 0.01, 0.01, 1, 0.01, 2.0, None) == 1.0


def test_a_run_forgets_the_phases_too_and_sees_many() -> None:
    """Phases of 1/(1/0.2 + 1/0.6) = 0.15 s, 0.15 * 60 requests, in which no queue settles; and 200 of both."""
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=4)
    arrivals = MmppArrivals(ratio=2.0, burst_mean_s=0.2, calm_mean_s=0.6)
    case = BatchCase(
        scenario=Scenario(
            profile=PROFILE,
            workload=Workload(arrival_rate_rps=60.0, arrivals=arrivals),
            plan=plan,
            quantiles=(0.99,),
        )
    )
    assert case.length.warm_up == 10 * 9
    assert case.counted_min(1.0) >= 200 * 0.8 * 60.0
    assert arrivals_scv(case.scenario.workload) == pytest.approx(arrivals.dispersion_index(60.0))
    much = replace(case, scenario=case.scenario.at_rate(0.8 * PROFILE.throughput_rps(4)))  # 1.28 in a burst
    relaxation = much.length.warm_up / 10
    assert much.counted_min(1.0) == pytest.approx(5_000 * relaxation, rel=0.01)


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize(("users", "think_s"), [(4, 0.5), (10, 10.0), (30, 29.0), (60, 20.0), (25, 100.0)])
def test_users_forget_within_a_request_each(users: int, think_s: float, servers: int) -> None:
    """Throughput over the slowest rate of the chain of M/M/c//N."""
    present = np.arange(users + 1)
    served = np.minimum(present, servers).astype(float)
    chain = np.diag((users - present[:-1]) / think_s, 1) + np.diag(served[1:], -1)
    law = np.concatenate([[1.0], np.cumprod(np.diag(chain, 1) / np.diag(chain, -1))])
    throughput = float(law @ served / law.sum())
    plan = BatchPlan(profile="x", replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    allowed = closed_relaxation_requests(ClosedPopulation(users=users, think_time_s=think_s), plan)
    assert allowed == users
    assert throughput / slowest_rate(chain) <= allowed


@pytest.mark.parametrize(("queues", "users"), [(2, 3), (2, 40), (3, 6), (3, 20), (4, 8), (5, 8), (6, 6)])
def test_users_who_walk_among_queues_forget_more_slowly(queues: int, users: int) -> None:
    """Exponential queues, random routing, no thoughts: what is allowed is enough, and not 3 times too much."""
    states = [s for s in itertools.product(range(users + 1), repeat=queues) if sum(s) == users]
    numbers = {state: row for row, state in enumerate(states)}
    chain = np.zeros((len(states), len(states)))
    for row, state in enumerate(states):
        for leaves, joins in itertools.product(range(queues), repeat=2):
            if state[leaves] and leaves != joins:
                moved = list(state)
                moved[leaves] -= 1
                moved[joins] += 1
                chain[row, numbers[tuple(moved)]] += 1.0 / queues
    throughput = float(np.mean([np.count_nonzero(state) for state in states]))  # all states are as likely
    plan = BatchPlan(profile="x", replicas=queues, batch_size_max=1, routing=Routing.RANDOM)
    allowed = closed_relaxation_requests(ClosedPopulation(users=users), plan)
    assert 0.4 * allowed <= throughput / slowest_rate(chain) <= allowed


@pytest.mark.parametrize("servers", [1, 3])
@pytest.mark.parametrize("limit", [0, 2, 10])
@pytest.mark.parametrize(("users", "think_s"), [(4, 0.05), (12, 0.5), (12, 6.0), (40, 0.02), (40, 20.0)])
def test_rejected_users_forget_no_later_but_send_more_often(users, think_s, limit, servers) -> None:
    """Throughput of M/M/c/K//N, rejected requests included, over the slowest rate of its chain."""
    present = np.arange(min(users, servers + limit) + 1)
    chain = np.diag((users - present[:-1]) / think_s, 1) + np.diag(np.minimum(present, servers)[1:], -1)
    law = np.concatenate([[1.0], np.cumprod(np.diag(chain, 1) / np.diag(chain, -1))])
    asked_rps = float(law @ (users - present) / think_s / law.sum())
    plan = BatchPlan(profile="x", replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    population = ClosedPopulation(users=users, think_time_s=think_s)
    allowed = closed_relaxation_requests(population, plan) * pace_of_users(population, limit, servers, 1.0)
    assert asked_rps / slowest_rate(chain) <= allowed
    assert pace_of_users(population, users, servers, 1.0) == 1.0


@pytest.mark.parametrize("limit", [0, 1, 4])
@pytest.mark.parametrize("think_s", [0.02, 0.5, 3.0])
@pytest.mark.parametrize("users", [4, 14])
def test_rejected_users_walk_no_longer(users: int, think_s: float, limit: int) -> None:
    """Two exponential queues of their own behind random routing."""
    places = min(users, 1 + limit)
    states = [s for s in itertools.product(range(places + 1), repeat=2) if sum(s) <= users]
    numbers = {state: row for row, state in enumerate(states)}
    chain = np.zeros((len(states), len(states)))
    for (one, other), row in numbers.items():
        rate = (users - one - other) / think_s / 2.0
        for to, speed in (
            ((one + 1, other), rate),
            ((one, other + 1), rate),
            ((one - 1, other), 1.0),
            ((one, other - 1), 1.0),
        ):
            if to in numbers:
                chain[row, numbers[to]] = speed
    balance = np.vstack([(chain - np.diag(chain.sum(axis=1))).T, np.ones(len(states))])
    law = np.linalg.lstsq(balance, np.append(np.zeros(len(states)), 1.0), rcond=None)[0]
    asked_rps = float(law @ [(users - sum(state)) / think_s for state in states])
    plan = BatchPlan(profile="x", replicas=2, batch_size_max=1, routing=Routing.RANDOM)
    population = ClosedPopulation(users=users, think_time_s=think_s)
    pace = pace_of_users(population, limit, 2.0, 1.0)
    assert asked_rps / slowest_rate(chain) <= closed_relaxation_requests(population, plan, 2.0) * pace


AT_LOAD_1 = (2, 30, 13.5)  # where chance alone brings users together


@pytest.mark.parametrize(
    ("queues", "users", "think_s"),
    [*((*fleet, think_s) for fleet in ((2, 12), (3, 8)) for think_s in (0.5, 3.0, 8.0, 20.0)), AT_LOAD_1],
)
def test_users_who_think_walk_in_smaller_numbers(queues: int, users: int, think_s: float) -> None:
    """The same with thoughts; the more users think, the shorter are runs, and never too short."""
    states = [s for s in itertools.product(range(users + 1), repeat=queues) if sum(s) <= users]
    numbers = {state: row for row, state in enumerate(states)}
    chain = np.zeros((len(states), len(states)))
    served = np.array([np.count_nonzero(state) for state in states], dtype=float)
    for row, state in enumerate(states):
        for queue in range(queues):
            fewer, more = list(state), list(state)
            fewer[queue] -= 1
            more[queue] += 1
            if state[queue]:
                chain[row, numbers[tuple(fewer)]] += 1.0
            if sum(state) < users:
                chain[row, numbers[tuple(more)]] += (users - sum(state)) / think_s / queues
    flows = chain - np.diag(chain.sum(axis=1))
    law = np.linalg.solve(np.vstack([flows.T[1:], np.ones(len(states))]), np.eye(len(states))[-1])
    plan = BatchPlan(profile="x", replicas=queues, batch_size_max=1, routing=Routing.RANDOM)
    population = ClosedPopulation(users=users, think_time_s=think_s)
    allowed = closed_relaxation_requests(population, plan, float(queues))
    assert float(law @ served) / slowest_rate(chain) <= allowed
    assert allowed <= closed_relaxation_requests(ClosedPopulation(users=users), plan)


@pytest.mark.parametrize(
    ("users", "think_s", "batch", "walking"),
    [
        (8, None, 1, 8.0),
        (12, 3.0, 1, 12.0),  # 6 think on average, but by chance all may be in the queues
        (30, 20.0, 1, 8.0 + 2.0),  # at load 0.75 two queues hold 2/0.25
        (100, 51.0, 4, 30.0 + 8.0),  # near load 1 three standard deviations, and two batches
        (100, 40.0, 4, 20.0 + 30.0 + 8.0),  # 20 more than are served while they think
    ],
)
def test_users_between_two_queues_relax_as_a_random_walk(users, think_s, batch, walking) -> None:
    """N users outside of thinking take 1.5 N(1 + N/2) requests; two requests a second are served."""
    plan = BatchPlan(profile="x", replicas=2, batch_size_max=batch, routing=Routing.RANDOM)
    population = ClosedPopulation(users=users, think_time_s=think_s or 0.0)
    found = closed_relaxation_requests(population, plan, None if think_s is None else 2.0)
    assert found == pytest.approx(1.5 * walking * (1.0 + walking / 2.0))


def chain_of_batches(
    users: int, think_s: float, queues: int, size_max: int, time_s: Callable[[int], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Users behind random routing whose batches take exponential times: the chain, and the rate of answers by state.

    A state has the numbers that wait and are in service of each queue.
    """
    empty = ((0, 0),) * queues
    rows, open_ones = {empty: 0}, [empty]
    flows: list[tuple[int, int, float]] = []
    answers: list[float] = []

    def move(state: tuple[tuple[int, int], ...], queue: int, to: tuple[int, int], rate: float) -> None:
        after = (*state[:queue], to, *state[queue + 1 :])
        if after not in rows:
            rows[after] = len(rows)
            open_ones.append(after)
        flows.append((rows[state], rows[after], rate))

    for state in open_ones:
        thinking = users - sum(map(sum, state))
        answers.append(sum(size / time_s(size) for _, size in state if size))
        for queue, (waiting, size) in enumerate(state):
            if size:
                following = min(waiting, size_max)
                move(state, queue, (waiting - following, following), 1.0 / time_s(size))
            if thinking:
                joined = (waiting + 1, size) if size else (0, 1)
                move(state, queue, joined, thinking / think_s / queues)
    chain = np.zeros((len(rows), len(rows)))
    for before, after, rate in flows:
        chain[before, after] += rate
    return chain, np.array(answers)


@pytest.mark.parametrize(
    ("queues", "size_max", "users"), [(2, 1, 20), (2, 2, 14), (2, 4, 11), (3, 1, 9), (3, 2, 6)]
)
@pytest.mark.parametrize("think_s", [0.5, 2.0, 8.0, 32.0])
@pytest.mark.parametrize("fixed_share", [1.0, 0.5, 0.1])
def test_users_whose_queues_shrink_forget_sooner_than_they_walk(
    queues: int, size_max: int, users: int, think_s: float, fixed_share: float
) -> None:
    """Runs are never too short, and much shorter than by a walk where users think for long."""

    def time_s(size: int) -> float:
        return fixed_share + (1.0 - fixed_share) * size / size_max

    chain, answers = chain_of_batches(users, think_s, queues, size_max, time_s)
    flows = chain - np.diag(chain.sum(axis=1))
    law = np.linalg.solve(np.vstack([flows.T[1:], np.ones(len(flows))]), np.eye(len(flows))[-1])
    rate_rps = float(law @ answers)
    levels = -np.log1p(-(np.arange(2000) + 0.5) / 2000)
    timings = tuple(
        BatchTiming(batch_size=size, samples_s=tuple((time_s(size) * levels).tolist()))
        for size in range(1, size_max + 1)
    )
    profile = ServiceProfile(name="x", timings=timings)
    plan = BatchPlan(profile="x", replicas=queues, batch_size_max=size_max, routing=Routing.RANDOM)
    workload = ClosedPopulation(users=users, think_time_s=think_s)
    case = BatchCase(scenario=Scenario(profile=profile, workload=workload, plan=plan, quantiles=(0.99,)))
    assert rate_rps <= rate_at_most_rps(workload, plan, profile)
    assert rate_rps / slowest_rate(chain) <= forgotten_requests(case) <= walk_requests(case)
    if think_s == 32.0:
        assert forgotten_requests(case) <= max(users, 0.6 * walk_requests(case))


@pytest.mark.parametrize(("routing", "size_max"), [(Routing.ROUND_ROBIN, 32), (Routing.RANDOM, 64)])
def test_queues_of_users_with_nearly_constant_batches_forget_sooner_too(
    routing: Routing, size_max: int
) -> None:
    """The number at one of three queues is no longer correlated after as many requests as are allowed for it."""
    profile, requests = load_profile("resnet50-t4-fp16"), 400_000
    plan = BatchPlan(profile="t4", replicas=3, batch_size_max=size_max, routing=routing)
    workload = ClosedPopulation(users=400, think_time_s=0.1)
    case = BatchCase(scenario=Scenario(profile=profile, workload=workload, plan=plan, quantiles=(0.99,)))
    records = run(plan, case.service_times, draw(workload, requests, Seed(value=1)))
    here = records.replica == 0
    instants_s = np.linspace(0.1, 0.9, requests // 20) * records.arrived_s[-1]
    arrived_s, finished_s = np.sort(records.arrived_s[here]), np.sort(records.finished_s[here])
    present = np.searchsorted(arrived_s, instants_s) - np.searchsorted(finished_s, instants_s)
    after = round(forgotten_requests(case) / 0.8 / requests * len(instants_s))
    assert 4.0 * forgotten_requests(case) < walk_requests(case)
    assert abs(np.corrcoef(present[:-after], present[after:])[0, 1]) < math.exp(-1.0)


def test_full_queues_of_nearly_constant_batches_forget_as_slowly_as_is_allowed() -> None:
    """Round-robin gives each of two full queues every second request, and only their service tells them apart."""
    requests = 3_000_000
    levels = (np.arange(200) + 0.5) / 200
    steady = tuple((0.02 * (1.0 + 0.2 * 3.0**0.5 * (2.0 * levels - 1.0))).tolist())
    profile = ServiceProfile(name="x", timings=(BatchTiming(batch_size=1, samples_s=steady),))
    plan = BatchPlan(profile="x", replicas=2, batch_size_max=1, routing=Routing.ROUND_ROBIN)
    workload = ClosedPopulation(users=40, think_time_s=0.01)
    case = BatchCase(scenario=Scenario(profile=profile, workload=workload, plan=plan, quantiles=(0.99,)))
    records = run(plan, case.service_times, draw(workload, requests, Seed(value=1)))
    waiting = records.started_s - records.arrived_s
    here = np.where(np.arange(requests) % 2 == 0, waiting, 0.0)[::2]  # of every second request

    def remembered(after: float) -> float:
        places = round(after / 2)
        return float(np.corrcoef(here[:-places], here[places:])[0, 1])

    assert remembered(walk_requests(case)) > 0.8
    assert remembered(2.0 * forgotten_requests(case)) < math.exp(-1.0)
    assert forgotten_requests(case) > 10 * walk_requests(case)
    constant = replace(profile, timings=(BatchTiming(batch_size=1, mean_s=0.02),))
    still = replace(case, scenario=replace(case.scenario, profile=constant))
    assert forgotten_requests(still) == walk_requests(still)


def test_users_who_think_for_long_cost_no_more_than_a_rate() -> None:
    """30,000 users who think for a minute are 500 requests per second, and far from waiting all at once."""
    plan = BatchPlan(profile="x", replicas=2, batch_size_max=8)
    many = ClosedPopulation(users=30_000, think_time_s=60.0)
    assert closed_relaxation_requests(many, plan, 550.0) == 30_000
    assert closed_relaxation_requests(many, plan, 450.0) > 10**6  # 3000 of them wait


BY_TURNS = ServiceProfile(
    name="by-turns",
    timings=tuple(
        BatchTiming(batch_size=size, mean_s=mean_s)
        for size, mean_s in enumerate((0.010, 0.018, 0.022, 0.025, 0.027, 0.0285, 0.029), start=1)
    ),
)


def by_turns(think_s: float, engine: Engine = Engine.KERNEL, **changed: object) -> BatchCase:
    plan = BatchPlan(profile="by-turns", replicas=1, batch_size_max=7)
    workload = ClosedPopulation(users=8, think_time_s=think_s)
    given = {"profile": BY_TURNS, "workload": workload, "plan": plan, "quantiles": (0.99,)}
    return BatchCase(scenario=Scenario(**given | changed), engine=engine)


def test_how_rarely_users_change_turns_is_the_second_mode_of_their_chain() -> None:
    """Batches of one time: of 8 users each joins the other batch with P(think > 29 ms)."""
    population = ClosedPopulation(users=8, think_time_s=0.005)
    change = math.exp(-0.029 / 0.005)
    sizes = np.arange(9)
    chain = np.diag(sizes[1:] * change, -1) + np.diag((8 - sizes[:-1]) * change, 1)
    found = turns_requests(population, constant(0.029))
    assert found == pytest.approx(8.0 / slowest_rate(chain))
    assert turns_requests(ClosedPopulation(users=8), constant(0.029)) == math.inf
    assert turns_requests(replace(population, think_time_s=1e-6), constant(0.029)) == math.inf


@pytest.mark.parametrize("think_s", [0.005, 0.003, 0.002, 0.001])
def test_users_who_keep_their_turns_are_seen_in_all_of_them(think_s: float) -> None:
    """From one user in service at the start, turns of 1 and 7 would go on for hours: P99 of 39 ms, not 50."""
    case = by_turns(think_s)
    law = BulkClosed(users=8, think_time_s=think_s, batch_times_s=tuple(t.mean_s for t in BY_TURNS.timings))
    pool = Pool.of(map(replicate, case.tasks(case.length, Seed(value=0), range(40))))
    assert pool.is_level
    assert pool.response_quantile(0.99).value == pytest.approx(law.response_quantile_s(0.99), rel=2e-3)
    assert pool.mean(Measure.RESPONSE_MEAN).value == pytest.approx(law.response_mean_s, rel=0.01)


def test_users_by_turns_settle_within_seconds() -> None:
    """Runs of any length from one start went on rising, and 51 million requests said nothing."""
    case = by_turns(0.003)
    seen = precise_look(case, Seed(value=0), 5_000_000, 0.02, 0.95)
    law = BulkClosed(users=8, think_time_s=0.003, batch_times_s=tuple(t.mean_s for t in BY_TURNS.timings))
    interval = seen.pool.response_quantile(0.99).interval(0.95)
    assert interval.low <= law.response_quantile_s(0.99) <= interval.high
    assert interval.relative_half_width <= 0.02


def test_users_are_hurried_by_degrees_before_anything_counts() -> None:
    users = SettlingUsers(users=8, think_time_s=0.002, settling=1000, slow_s=0.03)
    means_s = users.think_means_s(np.arange(1200))
    assert means_s[0] == pytest.approx(0.03)
    assert (np.diff(means_s) <= 0.0).all()
    assert (means_s[750:] == 0.002).all()
    hardly = replace(users, think_time_s=1e-6).think_means_s(np.arange(1000))
    assert hardly[700] > 0.03 / 30.0  # not all of it goes into what moves nobody any more
    assert (hardly[750:] == 1e-6).all()
    # The rate rises evenly: here half of the way to 1/(2 ms), and four fifths of the way to 1/(1.5 ms).
    assert means_s[375] == pytest.approx(1.0 / (0.5 / 0.03 + 0.5 / 0.002))
    assert hardly[600] == pytest.approx(1.0 / (0.2 / 0.03 + 0.8 / 0.0015))


def test_both_engines_hurry_users_alike() -> None:
    length = Length(warm_up=200, measured=300, cool_down=16)
    kernel, simpy = (
        replicate(by_turns(0.002, engine=engine).tasks(length, Seed(value=3), range(1))[0])
        for engine in Engine
    )
    assert kernel.responses.total_s == simpy.responses.total_s
    assert (kernel.waits.values_s == simpy.waits.values_s).all()


def test_who_thinks_for_long_or_fills_all_batches_takes_no_turns() -> None:
    assert isinstance(by_turns(0.003).tasks(by_turns(0.003).length, Seed(value=0), range(1))[0].workload,
                      SettlingUsers)  # fmt: skip
    crowd = ClosedPopulation(users=14, think_time_s=0.003)
    for case in (by_turns(0.03), by_turns(0.0), by_turns(0.003, workload=crowd)):
        (task,) = case.tasks(case.length, Seed(value=0), range(1))
        assert task.workload == case.scenario.workload
        assert not isinstance(task.workload, SettlingUsers)


def test_users_who_take_turns_settle_before_a_short_run() -> None:
    """They settle for 1000 requests each, in large populations for 50,000 in all or 200 each, whichever is more.

    20 runs of 8 users show 160 of the 2000 turns that are wanted, so each run is shorter by that share.

    With a long think time they do not keep their turns, and ten relaxation times of a request each are enough.
    """
    assert by_turns(0.003).length == Length(warm_up=8_000, measured=20_000 * 160 // 2_000, cool_down=16)
    assert by_turns(1.0).length == Length(warm_up=80, measured=20_000, cool_down=16)
    assert by_turns(0.003).counted_min(1.0) == pytest.approx(2_000 * 1_600 / 8)
    assert by_turns(1.0).counted_min(1.0) == pytest.approx(50_000)
    wide = ServiceProfile(
        name="by-turns", timings=tuple(BatchTiming(batch_size=size, mean_s=0.03) for size in (1, 400))
    )
    plan = BatchPlan(profile="by-turns", replicas=1, batch_size_max=400)
    for users, settling in ((30, 30 * 1000), (100, 50_000), (300, 300 * 200)):
        crowd = ClosedPopulation(users=users, think_time_s=0.001)
        assert by_turns(0.0, profile=wide, plan=plan, workload=crowd).length.warm_up == settling


def test_a_short_run_never_refuses_users_who_all_come_at_the_start() -> None:
    """12,000 users who think for 24 s: whoever counts only the first of them sees all of them wait at once."""
    profile = ServiceProfile(name="one", timings=(BatchTiming(batch_size=1, mean_s=0.001),))
    case = BatchCase(
        scenario=Scenario(
            profile=profile,
            workload=ClosedPopulation(users=12_000, think_time_s=24.0),
            plan=BatchPlan(profile="one", replicas=1, batch_size_max=1),
            quantiles=(0.99,),
        )
    )
    first = next(looks(case, Seed(value=0), 10**8))
    assert first.pool.mean(Measure.RESPONSE_MEAN).value < 0.01


def test_a_closed_population_has_a_performance_with_intervals() -> None:
    population = ClosedPopulation(users=9, think_time_s=0.02)
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=4)
    seen = Simulation(precision=0.01)(Scenario(profile=PROFILE, workload=population, plan=plan))
    times_s = tuple(PROFILE.service_mean_s(size) for size in range(1, 5))
    law = BulkClosed(users=9, think_time_s=0.02, batch_times_s=times_s).performance((0.5, 0.99))
    assert (seen.kind, seen.load, seen.loss_probability) == (Kind.SIMULATION, None, 0.0)
    assert seen.throughput_rps == pytest.approx(law.throughput_rps, rel=0.01)
    assert seen.response_mean_s == pytest.approx(law.response_mean_s, rel=0.01)
    for q in (0.5, 0.99):
        assert seen.response_quantiles_s[q].value == pytest.approx(
            law.response_quantiles_s[q].value, rel=0.02
        )


def test_a_limited_queue_has_a_performance_above_load_1() -> None:
    slow = ServiceProfile(name="slow", timings=(BatchTiming(batch_size=1, samples_s=tuple(exponential())),))
    plan = BatchPlan(
        profile="slow", replicas=2, batch_size_max=1, routing=Routing.SHARED_QUEUE, queue_limit=4
    )
    seen = Simulation(precision=0.02)(
        Scenario(profile=slow, workload=Workload(arrival_rate_rps=24.0), plan=plan)
    )
    law = MMcK(arrival_rate_rps=24.0, service_rate_rps=10.0, servers=2, capacity=6).performance((0.5,))
    assert seen.load == pytest.approx(1.2, rel=1e-3)
    assert seen.loss_probability == pytest.approx(law.loss_probability, rel=0.03)
    assert seen.throughput_rps == pytest.approx(law.throughput_rps, rel=0.02)
    assert seen.response_mean_s == pytest.approx(law.response_mean_s, rel=0.02)


def exponential() -> list[float]:
    """Evenly spread quantiles of an exponential law of mean 0.1."""
    middles = (np.arange(2000) + 0.5) / 2000
    draws_s = -0.1 * np.log1p(-middles)
    return (draws_s * 0.1 / draws_s.mean()).tolist()


def test_what_is_closed_or_limited_is_never_unstable_but_stays_within_the_profile() -> None:
    closed = ClosedPopulation(users=3)
    require_answerable(PROFILE, closed, BatchPlan(profile="made-up", replicas=1, batch_size_max=4))
    limited = BatchPlan(profile="made-up", replicas=1, batch_size_max=4, queue_limit=0)
    require_answerable(PROFILE, Workload(arrival_rate_rps=1e6), limited)
    with pytest.raises(Exception, match="does not cover 8"):
        require_answerable(PROFILE, closed, BatchPlan(profile="made-up", replicas=1, batch_size_max=8))
