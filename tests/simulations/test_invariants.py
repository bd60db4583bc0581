"""Every named invariant on the simulator's own runs: plans x routings x arrivals."""

import itertools
from collections.abc import Callable
from functools import cache

import invariants
import numpy as np
import pytest
from cases import LawTimes

from capacity.profile.distribution import ServiceLaw, from_samples
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from simulations.draws.arrivals import ClosedDraws, Draws, Seed, draw
from simulations.draws.records import Records
from simulations.kernel import serve as kernel
from simulations.reference.cluster import run
from simulations.replication import Task, replicate
from simulations.statistics.sample import Length, Sample

OVERHEAD_S = 0.013
LENGTH = Length(warm_up=150, measured=500, cool_down=50)

# Bursts: several arrivals at one instant, then none for a while.
BURSTS = tuple(0.25 * round(7 * index**1.1 / 11) for index in range(LENGTH.requests))

ARRIVALS = {
    "poisson": PoissonArrivals(),
    "deterministic": DeterministicArrivals(),
    "gamma": GammaArrivals(cv=2.5),
    "trace": TraceArrivals(instants_s=BURSTS),
}
SHAPES = {  # replicas, batch_size_max, batch_wait_max_s, batching, queue_limit
    "single": (1, 1, 0.0, Batching.TRITON, None),
    "fleet": (4, 1, 0.0, Batching.TRITON, None),
    "greedy": (3, 4, 0.0, Batching.TRITON, None),
    "patient": (3, 4, 0.6, Batching.TRITON, None),
    "roomy": (2, 8, 0.25, Batching.TRITON, None),
    "open": (3, 4, 0.6, Batching.TORCHSERVE, None),
    "strict": (2, 1, 0.0, Batching.TRITON, 0),
    "limited": (2, 4, 0.0, Batching.TRITON, 3),
    "limited-open": (2, 4, 0.6, Batching.TORCHSERVE, 2),
}
LIMITED = [name for name, shape in SHAPES.items() if shape[-1] is not None]
CROWDS = {"crowd": (17, 1.5), "impatient": (9, 0.0)}  # users, think_time_s
SCENARIOS = [
    *itertools.product(SHAPES, PLAIN_ROUTINGS, ARRIVALS),
    *itertools.product([name for name in SHAPES if name not in LIMITED], PLAIN_ROUTINGS, CROWDS),
]
LOAD = 0.85


def service_law(batch_size: int) -> ServiceLaw:
    """Larger batches take longer, and a tenth of them three times as long."""
    usual_s = 0.5 + 0.25 * batch_size
    return from_samples([usual_s] * 9 + [3.0 * usual_s])


def task_of(shape: str, routing: Routing, arrivals: str, seed: int = 7) -> Task:
    replicas, batch_size_max, wait_s, batching, limit = SHAPES[shape]
    sustainable_rps = replicas * batch_size_max / (1.2 * (0.5 + 0.25 * batch_size_max))
    return Task(
        plan=BatchPlan(
            profile="made-up",
            replicas=replicas,
            batch_size_max=batch_size_max,
            batch_wait_max_s=wait_s,
            routing=routing,
            batching=batching,
            queue_limit=limit,
        ),
        workload=workload_of(arrivals, LOAD * sustainable_rps),
        service_times=LawTimes(service_law),
        request_overhead_s=OVERHEAD_S,
        length=LENGTH,
        seed=Seed(value=seed),
    )


def workload_of(arrivals: str, rate_rps: float) -> Workload | ClosedPopulation:
    if arrivals in CROWDS:
        users, think_time_s = CROWDS[arrivals]
        return ClosedPopulation(users=users, think_time_s=think_time_s)
    return Workload(arrival_rate_rps=rate_rps, arrivals=ARRIVALS[arrivals])


def play(task: Task) -> tuple[Draws | ClosedDraws, Records]:
    draws = draw(task.workload, task.length.requests, task.seed)
    return draws, run(task.plan, task.service_times, draws)


@cache
def scenario(shape: str, routing: Routing, arrivals: str) -> "Played":
    task = task_of(shape, routing, arrivals)
    draws, records = play(task)
    return task, draws, records, replicate(task)


Played = tuple[Task, Draws | ClosedDraws, Records, Sample]


def in_every_scenario(check: Callable[[Played], None]) -> Callable[[str], None]:
    """A test for each shape, which holds under every routing and with all arrivals."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test(shape: str) -> None:
        for one in SCENARIOS:
            if one[0] == shape:
                try:
                    check(scenario(*one))
                except AssertionError as error:
                    error.add_note(f"in {'-'.join(one)}")
                    raise

    test.__doc__ = check.__doc__
    return test


@in_every_scenario
def test_conservation(played: Played) -> None:
    task, draws, records, _ = played
    invariants.check_conservation(records, draws, task.plan)


@in_every_scenario
def test_causality(played: Played) -> None:
    invariants.check_causality(played[2])


@in_every_scenario
def test_clock(played: Played) -> None:
    invariants.check_clock(played[2])


@in_every_scenario
def test_fifo(played: Played) -> None:
    task, _, records, _ = played
    invariants.check_fifo(records, task.plan)


@in_every_scenario
def test_work_conservation(played: Played) -> None:
    task, _, records, _ = played
    invariants.check_work_conservation(records, task.plan)


@in_every_scenario
def test_batch_takes_all_that_waits(played: Played) -> None:
    task, _, records, _ = played
    invariants.check_batch_takes_all_that_waits(records, task.plan)


@in_every_scenario
def test_batch_limits(played: Played) -> None:
    task, _, records, _ = played
    invariants.check_batch_limits(records, task.plan)


@in_every_scenario
def test_the_kernel_gives_the_same_bytes(played: Played) -> None:
    task, draws, records, _ = played
    invariants.check_same_bytes(records, kernel.run(task.plan, task.service_times, draws, block=100))


@in_every_scenario
def test_window(played: Played) -> None:
    task, _, records, sample = played
    invariants.check_window(sample, records, task)


@in_every_scenario
def test_littles_law(played: Played) -> None:
    task, _, records, sample = played
    invariants.check_littles_law(sample, records, task)


@in_every_scenario
def test_utilization(played: Played) -> None:
    task, _, records, sample = played
    invariants.check_utilization(sample, records, task)


@pytest.mark.parametrize("shape", LIMITED)
@pytest.mark.parametrize("arrivals", ["poisson", "gamma"])
@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
def test_queue_limit(shape: str, routing: Routing, arrivals: str) -> None:
    task, _, records, sample = scenario(shape, routing, arrivals)
    invariants.check_queue_limit(records, task.plan)
    if routing is Routing.SHARED_QUEUE:
        invariants.check_loss_only_when_full(records, task.plan)
    assert 0 < np.count_nonzero(records.is_lost) < len(records.arrived_s)
    counted = slice(LENGTH.warm_up, LENGTH.warm_up + LENGTH.measured)
    assert sample.lost == np.count_nonzero(records.is_lost[counted])
    assert sample.lost + sample.counted == LENGTH.measured


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize("shape", ["fleet", "patient", "open"])
def test_population(shape: str, routing: Routing, crowd: str) -> None:
    task, draws, records, _ = scenario(shape, routing, crowd)
    assert isinstance(draws, ClosedDraws)
    invariants.check_population(records, draws, task.service_times(1, draws.service[0]))


@pytest.mark.parametrize("crowd", CROWDS)
def test_determinism_of_a_closed_population(crowd: str) -> None:
    task = task_of("patient", Routing.LEAST_OUTSTANDING, crowd)
    invariants.check_same_bytes(play(task)[1], play(task)[1])


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
def test_determinism_same_seed_same_bytes(routing: Routing) -> None:
    task = task_of("patient", routing, "gamma")
    invariants.check_same_bytes(play(task)[1], play(task)[1])


def test_different_seeds_differ() -> None:
    one, other = (
        draw(task_of("single", Routing.RANDOM, "poisson", seed).workload, 50, Seed(value=seed))
        for seed in (7, 8)
    )
    assert not np.isin(one.arrived_s, other.arrived_s).any()
    assert not np.isin(one.service, other.service).any()
    assert not np.isin(one.routing, other.routing).any()


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_common_random_numbers_at_another_rate(arrivals: str) -> None:
    """Doubling the rate halves every instant, and leaves every other draw alone."""
    slow, fast = (
        draw(Workload(arrival_rate_rps=rate_rps, arrivals=ARRIVALS[arrivals]), LENGTH.requests, Seed(value=3))
        for rate_rps in (5.0, 10.0)
    )
    assert np.array_equal(slow.arrived_s, 2.0 * fast.arrived_s)
    assert np.array_equal(slow.service, fast.service)
    assert np.array_equal(slow.routing, fast.routing)


def test_tasks_that_share_a_seed_share_their_users_whatever_the_plan() -> None:
    few, many = task_of("greedy", Routing.RANDOM, "poisson"), task_of("roomy", Routing.ROUND_ROBIN, "poisson")
    unit_s = [draw(t.workload, 50, t.seed).arrived_s * t.workload.arrival_rate_rps for t in (few, many)]
    assert unit_s[0] == pytest.approx(unit_s[1], rel=1e-12)


def altered(column: str, request: int, value: float) -> tuple[Task, Draws, Records]:
    """Records of a real run with one number changed."""
    task, draws, records, _ = scenario("greedy", Routing.ROUND_ROBIN, "poisson")
    changed = {name: getattr(records, name).copy() for name in Records.__slots__}
    changed[column][request] = value
    return task, draws, Records(**changed)


def test_checks_notice_a_single_wrong_number() -> None:
    task, draws, records = altered("started_s", 100, 0.0)
    with pytest.raises(AssertionError):
        invariants.check_causality(records)
    with pytest.raises(AssertionError):
        invariants.check_batch_limits(records, task.plan)
    task, draws, records = altered("finished_s", 100, np.inf)
    with pytest.raises(AssertionError):
        invariants.check_conservation(records, draws, task.plan)
    task, draws, records = altered("batch_size", 100, 0)
    with pytest.raises(AssertionError):
        invariants.check_conservation(records, draws, task.plan)
    task, draws, records = altered("batch_size", 100, 5)
    with pytest.raises(AssertionError):
        invariants.check_batch_limits(records, task.plan)


def test_checks_notice_an_idle_replica_and_an_overlap() -> None:
    task, _, records, _ = scenario("greedy", Routing.ROUND_ROBIN, "poisson")
    batch = invariants.by_replica(records)[0][5]
    for column, shift_s in (("started_s", 0.01), ("finished_s", 50.0)):
        changed = {name: getattr(records, name).copy() for name in Records.__slots__}
        changed[column][batch.requests] += shift_s
        with pytest.raises(AssertionError):
            invariants.check_work_conservation(Records(**changed), task.plan)
    with pytest.raises(AssertionError):
        invariants.check_clock(Records(**changed))
