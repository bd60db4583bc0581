"""The compiled kernel: the same trajectory as SimPy's bit for bit, in blocks of any size, in bounded memory."""

import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from cases import (
    DURATIONS,
    WAKES,
    GridTimes,
    LawTimes,
    assert_kernel_gives,
    closed,
    coinciding,
    continuous,
    fixed,
    profiles,
    service_times,
    values_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.profile.distribution import constant, from_samples
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.queues.durations import Duration, Family
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Demand, GammaArrivals, TraceArrivals, Workload
from simulations.draws.arrivals import ClosedDraws, Draws, Replay, Seed
from simulations.draws.service import (
    FIXED,
    KNOTS,
    SCALED,
    ExponentialTimes,
    ProfileTimes,
    ServiceTimes,
    _places,
    service_time_s,
)
from simulations.kernel import serve as kernel
from simulations.reference.cluster import run
from simulations.replication import Engine, Task, replicate, replicate_in_parts
from simulations.statistics import reduction
from simulations.statistics.sample import Length, Sample
from simulations.statistics.tally import Tally
from simulations.validation.systems import DurationTimes

Case = tuple[BatchPlan, ServiceTimes, Draws | ClosedDraws]
OWN_QUEUES = [one for one in PLAIN_ROUTINGS if one is not Routing.SHARED_QUEUE]
REMEMBERING = (
    Routing.LEAST_OUTSTANDING_HAPROXY,
    Routing.LEAST_OUTSTANDING_NGINX,
)  # more than how many wait where
BLOCKS = st.sampled_from([1, 2, 7, 64])  # so that most requests are carried over, and none


def assert_as_simpy(case: Case, block: int) -> None:
    assert_kernel_gives(run(*case), *case, block)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(coinciding(), BLOCKS)
def test_agrees_with_simpy_where_instants_coincide(case: Case, block: int) -> None:
    assert_as_simpy(case, block)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(continuous(), BLOCKS)
def test_agrees_with_simpy_on_continuous_time(case: Case, block: int) -> None:
    assert_as_simpy(case, block)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(closed(), BLOCKS)
def test_agrees_with_simpy_on_a_closed_population(case: Case, block: int) -> None:
    assert_as_simpy(case, block)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(continuous() | closed(), service_times(), BLOCKS)
def test_agrees_with_simpy_whatever_the_service_times(case: Case, times: ServiceTimes, block: int) -> None:
    assert_as_simpy((case[0], times, case[2]), block)


@st.composite
def waiting_in_one_queue(draw: st.DrawFn) -> Case:
    """Timers, ends of batches and arrivals that often fall on one instant, while a replica is free or not."""
    plan = BatchPlan(
        profile="made-up",
        replicas=draw(st.integers(2, 4)),
        batch_size_max=draw(st.integers(2, 4)),
        batch_wait_max_s=0.25 * draw(st.integers(1, 4)),
        routing=Routing.SHARED_QUEUE,
        batching=draw(st.sampled_from([Batching.TRITON, Batching.TORCHSERVE])),
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = generator.choice(draw(st.sampled_from([[0, 1], [0, 0, 1], [0, 0, 0, 1], [0, 1, 2]])), 60)
    draws = Draws(
        arrived_s=np.cumsum(gaps) * 0.25, service=generator.random(60), routing=generator.random(120)
    )
    base = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return plan, GridTimes(0.25, base, draw(WAKES)), draws


@settings(derandomize=True, deadline=None, max_examples=150)
@given(waiting_in_one_queue(), BLOCKS)
def test_agrees_with_simpy_where_batches_wait_in_one_queue(case: Case, block: int) -> None:
    assert kernel.recursion_for(case[0], Replay(case[2])) is not None
    assert_as_simpy(case, block)


@st.composite
def singly_at_their_own(draw: st.DrawFn) -> Case:
    """Single requests whose service is often over at an arrival, or takes no time at all."""
    plan = BatchPlan(
        profile="made-up",
        replicas=draw(st.integers(2, 5)),
        batch_size_max=1,
        batch_wait_max_s=0.25 * draw(st.integers(0, 1)),
        routing=draw(st.sampled_from(OWN_QUEUES)),
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = generator.choice(draw(st.sampled_from([[0, 1], [0, 0, 1], [0, 1, 2]])), 60)
    draws = Draws(
        arrived_s=np.cumsum(gaps) * 0.25, service=generator.random(60), routing=generator.random(120)
    )
    values_s = draw(st.sampled_from([[0.25, 0.5, 1.0], [0.0, 0.25, 2.0], [0.0, 0.0, 0.75]]))
    if plan.routing is Routing.LEAST_OUTSTANDING_HAPROXY:
        values_s = [max(0.25, value_s) for value_s in values_s]  # needs service that takes time
    return plan, LawTimes(lambda size: from_samples(values_s), draw(WAKES)), draws


@settings(derandomize=True, deadline=None, max_examples=200)
@given(singly_at_their_own(), BLOCKS, st.sampled_from([1, 64]))
def test_agrees_with_simpy_where_single_requests_wait_at_their_own_replica(
    case: Case, block: int, room: int
) -> None:
    has_recursion = kernel.recursion_for(case[0], Replay(case[2])) is not None
    assert has_recursion is not (case[0].routing in REMEMBERING)
    with pytest.MonkeyPatch.context() as patch:  # as many queue as there is room for, and more
        patch.setattr(kernel, "_ROOM", room)
        assert_as_simpy(case, block)


@pytest.mark.parametrize("replicas", [7, 8, 64, 65, 130])
@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("wake_s", [0.0, 0.125])
def test_agrees_with_simpy_on_a_large_fleet(replicas, routing, batch, wake_s) -> None:
    """Beside and above powers of two, and where no recursion serves one queue or looks at all replicas."""
    count = 6 * replicas
    generator = np.random.default_rng(replicas)
    draws = Draws(
        arrived_s=np.cumsum(generator.integers(0, 3, count) / (2.0 * replicas * batch)),
        service=generator.random(count),
        routing=generator.random(2 * count),
    )
    plan = BatchPlan(
        profile="made-up", replicas=replicas, batch_size_max=batch, batch_wait_max_s=0.125, routing=routing
    )
    times = LawTimes(lambda size: from_samples([0.25 * size, 0.5, 1.5]), wake_s)
    assert_as_simpy((plan, times, draws), 100)


@pytest.mark.parametrize("block", [1, 500])
def test_a_crowd_of_users_is_served_as_by_simpy(block: int) -> None:
    """As many as make the heap of their returns deep, with equal instants among them."""
    generator = np.random.default_rng(1)
    count = 1500
    draws = ClosedDraws(
        users=300,
        think_s=0.25 * generator.integers(0, 40, count),
        service=generator.random(count),
        routing=generator.random(2 * count),
    )
    plan = BatchPlan(profile="made-up", replicas=12, batch_size_max=4, routing=Routing.POWER_OF_TWO)
    assert_as_simpy((plan, fixed(lambda size: 0.25 * size, 0.125), draws), block)


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize("limit", [2**63 - 1, 2**63, 10**20 - 1])
def test_a_queue_limit_beyond_whole_numbers_is_none(limit: int, routing: Routing) -> None:
    """Room beside a limit of 2⁶³ - 1 is beyond 64 bits, in which nobody would find a place."""
    generator = np.random.default_rng(2)
    draws = Draws(
        arrived_s=np.cumsum(generator.integers(0, 3, 60)) * 0.05,
        service=generator.random(60),
        routing=generator.random(120),
    )
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=2, queue_limit=limit, routing=routing)
    times = fixed(lambda size: 0.25)
    assert_as_simpy((plan, times, draws), 7)
    free = kernel.run(replace(plan, queue_limit=None), times, draws)
    assert kernel.run(plan, times, draws).finished_s.tobytes() == free.finished_s.tobytes()
    assert not free.is_lost.any()


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
def test_users_need_service_that_takes_time(routing: Routing) -> None:
    """Whoever thinks and is served in no time asks again at one instant for ever."""
    draws = ClosedDraws(users=2, think_s=np.zeros(4), service=np.zeros(4), routing=np.zeros(8))
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=2, routing=routing)
    for times in (fixed(lambda size: 0.0), LawTimes(lambda size: from_samples([0.0, 1.0]))):
        with pytest.raises(DomainError, match="need service that takes time"):
            kernel.run(plan, times, draws)
        with pytest.raises(DomainError, match="need service that takes time"):
            list(kernel.serve(plan, times, Replay(draws)))


@pytest.mark.parametrize(
    ("routing", "batching"),
    [one for one in product(PLAIN_ROUTINGS, Batching) if one != (Routing.SHARED_QUEUE, Batching.RAY_SERVE)],
)
def test_arrivals_at_a_rate_may_be_served_in_no_time(routing: Routing, batching: Batching) -> None:
    generator = np.random.default_rng(3)
    for number in range(30):
        draws = Draws(
            arrived_s=np.cumsum(generator.choice([0.0, 0.25, 0.5], 60)),
            service=generator.random(60),
            routing=generator.random(120),
        )
        plan = BatchPlan(
            profile="made-up",
            replicas=1 + number % 3,
            batch_size_max=1 + number % 4,
            batch_wait_max_s=0.25 * (number % 5),
            batching=batching,
            routing=routing,
        )
        if routing is Routing.LEAST_OUTSTANDING_HAPROXY:  # for which two that end at once need an order
            with pytest.raises(DomainError, match="need service that takes time"):
                kernel.run(plan, fixed(lambda size: 0.0), draws)
            continue
        assert_as_simpy((plan, fixed(lambda size: 0.0), draws), 7)


@pytest.mark.parametrize(
    ("changes", "is_recursion"),
    [
        ({}, True),
        ({"batch_size_max": 1}, True),
        ({"replicas": 64}, True),
        ({"replicas": 65}, False),
        ({"queue_limit": 5}, False),
        ({"routing": Routing.RANDOM}, False),
        ({"routing": Routing.RANDOM, "batch_size_max": 1, "replicas": 65}, True),
        ({"routing": Routing.POWER_OF_TWO, "batch_size_max": 1, "replicas": 65}, True),
        ({"routing": Routing.LEAST_OUTSTANDING, "batch_size_max": 1, "replicas": 64}, True),
        ({"routing": Routing.LEAST_OUTSTANDING, "batch_size_max": 1, "replicas": 65}, False),
        ({"routing": Routing.RANDOM, "replicas": 1}, True),
        ({"batching": Batching.TORCHSERVE}, True),
        ({"preferred_sizes": (2,)}, False),
        ({"preferred_sizes": (1,), "batch_size_max": 1}, True),
        ({"batching": Batching.RAY_SERVE, "routing": Routing.RANDOM, "replicas": 1}, False),
    ],
)
def test_one_queue_or_single_requests_without_a_limit_need_no_events(
    changes: dict[str, object], is_recursion: bool
) -> None:
    plan = BatchPlan(profile="made-up", replicas=3, batch_size_max=4, routing=Routing.SHARED_QUEUE)
    stream = Replay(Draws(arrived_s=np.ones(1), service=np.zeros(1), routing=np.zeros(2)))
    assert (kernel.recursion_for(replace(plan, **changes), stream) is not None) is is_recursion
    users = Replay(ClosedDraws(users=1, think_s=np.ones(1), service=np.zeros(1), routing=np.zeros(2)))
    assert kernel.recursion_for(replace(plan, **changes), users) is None


@settings(derandomize=True, deadline=None, max_examples=150)
@given(profiles(), st.integers(1, 6), st.floats(0.0, 1.0, exclude_max=True), st.integers(0, 2**20))
def test_a_table_draws_the_digits_of_the_profile(profile, size, uniform, knot) -> None:
    """Also at the knots themselves, beside which a quantile jumps."""
    times = ProfileTimes(profile)
    table = times.table(6)
    knots = [u for law in profile.laws for u in law.probabilities if u < 1.0]
    chosen = knots[knot % len(knots)]
    for u in (uniform, chosen, np.nextafter(chosen, 1.0), max(0.0, np.nextafter(chosen, 0.0))):
        assert service_time_s(table.arrays, size, float(u)) == times(size, float(u))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(service_times(), st.integers(1, 67), st.integers(0, 2**32))
def test_every_table_draws_the_digits_of_its_times(times: ServiceTimes, count: int, seed: int) -> None:
    uniforms = np.random.default_rng(seed).random(count)
    table = times.table(6)
    drawn = uniforms if table.draw is None else table.draw(uniforms)
    for size in (1, 3, 6):
        found = [service_time_s(table.arrays, size, float(number)) for number in drawn]
        assert found == [times(size, float(u)) for u in uniforms]


def test_a_table_is_made_once_for_all_replications(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes more of the interpreter, which threads share, than a short replication does of the machine."""
    made = []
    place = ServiceProfile.place

    def counted(self: ServiceProfile, size: int) -> tuple[int, float]:
        made.append(size)
        return place(self, size)

    profile = load_profile("resnet50-t4-fp16")
    task = Task(
        plan=BatchPlan(profile=profile.name, replicas=1, batch_size_max=128),
        workload=Workload(arrival_rate_rps=300.0),
        service_times=ProfileTimes(profile),
        request_overhead_s=0.0,
        length=Length(warm_up=0, measured=100, cool_down=0),
        seed=Seed(value=0),
    )
    monkeypatch.setattr(ServiceProfile, "place", counted)
    for _ in range(3):
        replicate(task)
    assert made == [1, 128]  # the ends, which a profile may not cover


@pytest.mark.parametrize("name", ["dlrm-cpu-fp32", "jasper-7s-t4-fp16"])
def test_sizes_of_a_table_lie_where_the_profile_has_them(name: str) -> None:
    profile = load_profile(name)
    most = min(5_000, profile.batch_size_max)
    below, weight = _places(profile, most)
    assert list(zip(below, weight, strict=True)) == [profile.place(size) for size in range(1, most + 1)]
    with pytest.raises(DomainError, match="does not cover"):
        _places(profile, profile.batch_size_max + 1)


def test_tables_have_the_form_that_fits() -> None:
    assert ExponentialTimes(2.0).table(2).kind == SCALED
    assert ExponentialTimes((1.0, 2.0)).table(2).kind == SCALED
    assert fixed(float).table(2).kind == FIXED
    assert [DurationTimes(law).table(2).kind for law in DURATIONS] == [FIXED, *[SCALED] * 4]
    even = ServiceProfile(
        name="made-up",
        timings=(BatchTiming(batch_size=1, mean_s=1.0), BatchTiming(batch_size=4, mean_s=2.0)),
    )
    assert ProfileTimes(even).table(3).kind == FIXED
    assert ProfileTimes(even).table(3).times_s.tolist() == [
        ProfileTimes(even)(size, 0.5) for size in (1, 2, 3)
    ]
    assert LawTimes(lambda size: from_samples([1.0, 2.0])).table(2).kind == KNOTS


def test_atoms_are_the_durations_that_come_up_again() -> None:
    """Samples, and no end of a straight line; a jump at which nothing stays is none."""
    laws = [from_samples([2.0, 1.0, 2.0]), constant(5.0), from_samples([3.0])]
    assert LawTimes(lambda size: laws[size - 1]).table(3).atoms_s.tolist() == [1.0, 2.0, 3.0, 5.0]
    timing = BatchTiming(batch_size=1, mean_s=1.0, p50_s=0.95, p99_s=1.5)
    rising = ProfileTimes(ServiceProfile(name="made-up", timings=(timing,))).table(1)
    assert (rising.kind, rising.atoms_s.tolist()) == (KNOTS, [])
    assert fixed(lambda size: 2.0 + size // 2).table(3).atoms_s.tolist() == [2.0, 3.0]
    assert fixed(lambda size: 2.0 + size // 2, 0.5).table(3).atoms_s.tolist() == [2.0, 2.5, 3.0, 3.5]
    woken = LawTimes(lambda size: laws[size - 1], 1.0).table(3)
    assert woken.atoms_s.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert ExponentialTimes(1.0, 0.5).table(3).atoms_s.tolist() == []
    assert ExponentialTimes(1.0).table(3).atoms_s.tolist() == []
    gamma = Duration(family=Family.GAMMA, mean_s=1.0, scv=2.0)
    assert DurationTimes(gamma).table(3).atoms_s.tolist() == []


PROFILE = ServiceProfile(
    name="made-up",
    timings=(
        BatchTiming(batch_size=1, samples_s=(0.011, 0.013, 0.013, 0.02)),
        BatchTiming(batch_size=4, mean_s=0.03, p50_s=0.028, p90_s=0.04),
    ),
)
BURSTS = TraceArrivals(instants_s=tuple(0.25 * round(7 * number**1.1 / 11) for number in range(700)))
DEMANDS: dict[str, Demand] = {
    "gamma": Workload(arrival_rate_rps=180.0, arrivals=GammaArrivals(cv=1.5)),
    "trace": Workload(arrival_rate_rps=180.0, arrivals=BURSTS),
    "closed": ClosedPopulation(users=12, think_time_s=0.02),
}
PLANS = {
    "one by one": BatchPlan(profile="made-up", replicas=4, batch_size_max=1, routing=Routing.SHARED_QUEUE),
    "batches": BatchPlan(
        profile="made-up", replicas=2, batch_size_max=4, batch_wait_max_s=0.01, routing=Routing.SHARED_QUEUE
    ),
    "open": BatchPlan(
        profile="made-up",
        replicas=2,
        batch_size_max=3,
        batch_wait_max_s=0.01,
        batching=Batching.TORCHSERVE,
        routing=Routing.POWER_OF_TWO,
    ),
    "preferred": BatchPlan(
        profile="made-up",
        replicas=2,
        batch_size_max=4,
        preferred_sizes=(2,),
        batch_wait_max_s=0.01,
        routing=Routing.SHARED_QUEUE,
    ),
    "collected": BatchPlan(
        profile="made-up",
        replicas=3,
        batch_size_max=4,
        batch_wait_max_s=0.01,
        batching=Batching.RAY_SERVE,
        routing=Routing.POWER_OF_TWO,
    ),
    "own": BatchPlan(profile="made-up", replicas=3, batch_size_max=3, routing=Routing.LEAST_OUTSTANDING),
    "limited": BatchPlan(profile="made-up", replicas=2, batch_size_max=2, queue_limit=3, routing=Routing.ROUND_ROBIN),
}  # fmt: skip
TASKS = {
    f"{plan}-{demand}": Task(
        plan=PLANS[plan],
        workload=DEMANDS[demand],
        service_times=ProfileTimes(PROFILE),
        request_overhead_s=0.003,
        length=Length(warm_up=101, measured=480, cool_down=47),
        seed=Seed(value=4),
        limits_s=(0.05, 0.1),
    )
    for plan in PLANS
    for demand in DEMANDS
    if (plan, demand) != ("limited", "closed")
}


def assert_same_sample(one: Sample, other: Sample) -> None:
    for tally, same in ((one.waits, other.waits), (one.responses, other.responses)):
        assert_same_tally(tally, same)
    for name in ("window_s", "busy_s", "batches", "batch_size_largest", "lost", "rises_s"):
        assert getattr(one, name) == getattr(other, name), name


def assert_same_tally(one: Tally, other: Tally) -> None:
    for name in ("values_s", "counts", "marks_s"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert one.total_s == other.total_s


def in_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "serve", partial(SERVE, block=block))


SERVE = kernel.serve


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("exact_max", [10_000, 100], ids=["exact", "in cells"])
def test_both_engines_give_the_same_sample_whatever_the_block(task, exact_max, monkeypatch) -> None:
    monkeypatch.setattr(reduction, "EXACT_REQUESTS_MAX", exact_max)
    expected = replicate(replace(task, engine=Engine.SIMPY))
    assert_same_sample(replicate(task), expected)
    for block in (1, 7):
        in_blocks(block, monkeypatch)
        assert_same_sample(replicate(task), expected)


@pytest.mark.parametrize("plan", PLANS)
def test_atoms_and_limits_are_exact_in_a_long_run_too(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service time, alone or after the whole batch wait, each with the overhead; and what was asked for."""
    task = TASKS[f"{plan}-gamma"]
    exact = replicate(task)
    monkeypatch.setattr(reduction, "EXACT_REQUESTS_MAX", 100)
    in_cells = replicate(task)
    wait_s, overhead_s = task.plan.batch_wait_max_s, task.request_overhead_s
    atoms_s = np.array([0.011, 0.013, 0.02])
    response_marks_s = [*(atoms_s + overhead_s), *(wait_s + atoms_s + overhead_s), *task.limits_s]
    for tally, expected, marks_s in (
        (in_cells.responses, exact.responses, np.unique(response_marks_s)),
        (in_cells.waits, exact.waits, np.unique([0.0, wait_s])),
    ):
        assert np.isin(marks_s[marks_s > 0.0], tally.marks_s).all()
        for mark_s in marks_s:
            (found, known) = (one.counts[one.values_s == mark_s].sum() for one in (tally, expected))
            assert found == known, mark_s
            assert tally.share_above(mark_s) == expected.share_above(mark_s)
    seen = np.isin(np.unique(response_marks_s), exact.responses.values_s)
    assert np.count_nonzero(seen) >= 2  # of a run in which nothing comes up again this says nothing


@pytest.mark.parametrize("task", [TASKS["batches-trace"], TASKS["own-trace"]], ids=["batches", "own"])
def test_both_engines_give_the_same_parts_of_a_path(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = replicate_in_parts(replace(task, engine=Engine.SIMPY), 7)
    for block in (1, 64):
        in_blocks(block, monkeypatch)
        for one, other in zip(replicate_in_parts(task, 7), expected, strict=True):
            assert_same_sample(one, other)


def test_the_parts_of_a_path_are_all_of_it_that_counts() -> None:
    """Neither its warm-up nor its cool-down, in consecutive parts of nearly one size."""
    task = TASKS["own-trace"]
    parts, whole = replicate_in_parts(task, 7), replicate(task)
    assert [part.counted for part in parts] == [78] + [79] * 6
    for found, expected in (
        ([part.waits for part in parts], whole.waits),
        ([part.responses for part in parts], whole.responses),
    ):
        values_s = sorted(value_s for tally in found for value_s in values_of(tally))
        assert values_s == pytest.approx(values_of(expected), abs=1e-12)
    assert sum(part.busy_s for part in parts) == pytest.approx(whole.busy_s)


@pytest.mark.parametrize("cool_down", [0, 4])
def test_the_last_part_of_a_path_is_a_mean_gap_longer_than_to_its_last_arrival(cool_down: int) -> None:
    """All gaps are alike, but for longer ones after the last that counts: each part lasts by its requests."""
    instants_s = np.concatenate([2.0 * np.arange(30), 58.0 + 5.0 * np.arange(1, cool_down + 1)])
    trace = Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=tuple(instants_s)))
    length = Length(warm_up=3, measured=27, cool_down=cool_down)
    parts = replicate_in_parts(replace(TASKS["own-trace"], workload=trace, length=length), 4)
    gap_s = parts[0].window_s / parts[0].counted
    assert [part.window_s for part in parts] == pytest.approx([gap_s * part.counted for part in parts])


@pytest.mark.parametrize(
    "name", ["one by one-gamma", "batches-gamma", "own-gamma", "own-closed", "limited-gamma"]
)
def test_memory_does_not_grow_with_the_run(name: str) -> None:
    """Of 240,000 more requests not half a number each is kept: the cells that they fill, and a longest queue."""

    def peak(measured: int) -> int:
        length = Length(warm_up=1000, measured=measured, cool_down=100)
        tracemalloc.start()
        try:
            replicate(replace(TASKS[name], length=length))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(60_000)  # code and tables that are made once
    assert peak(300_000) - peak(60_000) < 240_000 * 4


@pytest.mark.parametrize("engine", Engine)
def test_of_a_crowd_larger_than_the_run_only_those_take_memory_who_come_to_ask(engine: Engine) -> None:
    def run_of(users: int) -> tuple[Sample, int]:
        task = replace(TASKS["own-closed"], workload=ClosedPopulation(users=users), engine=engine)
        tracemalloc.start()
        try:
            return replicate(task), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    run_of(9)  # code and tables that are made once
    few, crowd = run_of(628), run_of(3_000_000)
    assert crowd[1] < few[1] + 1_000_000 < 24_000_000
    assert_same_sample(
        crowd[0], replicate(replace(TASKS["own-closed"], workload=ClosedPopulation(users=3_000_000)))
    )
