"""Batching by the rules of TorchServe, Ray Serve and Triton: by hand, by exact laws, and by Ray's own code."""

import asyncio
import math
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import virtual_time
from cases import fixed
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cluster import by_all

from capacity.errors import DomainError, UnstableError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.objective import Measure
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.general.mdc import MDc
from capacity.server.batch.batching import Batching, BatchTimer
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import load_under, require_answerable
from capacity.traffic.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    Workload,
)
from simulations.draws.arrivals import Draws, Seed
from simulations.draws.records import Records
from simulations.draws.service import ProfileTimes
from simulations.kernel.serve import run as by_kernel
from simulations.replication import Task, replicate
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

ALONE = BatchPlan(profile="made-up", replicas=1, batch_size_max=4, batch_wait_max_s=1.0)
RULES = {
    "triton": {},
    "torchserve": {"batching": Batching.TORCHSERVE},
    "ray-serve": {"batching": Batching.RAY_SERVE},
    "preferred": {"preferred_sizes": (2,)},
}


def serve(arrived_s: list[float], service_s: float = 3.0, **changes: object) -> Records:
    """A few requests by SimPy, the oracle and the kernel, which must agree."""
    requests = len(arrived_s)
    draws = Draws(
        arrived_s=np.array(arrived_s), service=np.full(requests, 0.5), routing=np.full(2 * requests, 0.5)
    )
    return by_all(replace(ALONE, **changes), fixed(lambda size: service_s), draws)


def starts(records: Records) -> list[tuple[float, int]]:
    """When each batch started, and how many requests it had."""
    return sorted({(float(s), int(n)) for s, n in zip(records.started_s, records.batch_size, strict=True)})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The first waits for 1 s and is served alone until 4; the others come meanwhile, at 2, 2.5 and 3.25.
        ("triton", [(1.0, 1), (4.0, 3)]),  # the oldest has waited 2 s by then
        ("torchserve", [(1.0, 1), (5.0, 3)]),  # the wait begins when the worker is free, at 4
        ("ray-serve", [(1.0, 1), (4.0, 2), (7.0, 1)]),  # a batch that opened at 2 has closed at 3
        ("preferred", [(1.0, 1), (4.0, 3)]),  # the wait is over, so that all start
    ],
)
def test_what_waits_for_a_busy_replica(rule: str, expected: list[tuple[float, int]]) -> None:
    assert starts(serve([0.0, 2.0, 2.5, 3.25], **RULES[rule])) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("triton", [(1.0, 3)]),
        ("torchserve", [(1.0, 3)]),
        ("ray-serve", [(1.0, 3)]),
        ("preferred", [(0.25, 2), (3.25, 1)]),  # two start at once; the third has waited long enough by 3.25
    ],
)
def test_what_an_idle_replica_waits_for(rule: str, expected: list[tuple[float, int]]) -> None:
    assert starts(serve([0.0, 0.25, 0.5], **RULES[rule])) == expected


def test_the_largest_preferred_size_starts_and_leaves_the_rest() -> None:
    """Of five that come while a batch is served, four start, though a batch could hold six."""
    found = serve([0.0, 0.0, 2.6, 2.7, 2.8, 2.9, 2.95], batch_size_max=6, preferred_sizes=(2, 4))
    assert starts(found) == [(0.0, 2), (3.0, 4), (6.0, 1)]


def test_without_a_wait_all_start_where_no_preferred_size_is_among_them() -> None:
    found = serve([0.0, 0.5, 3.5, 4.0, 4.5], batch_size_max=4, batch_wait_max_s=0.0, preferred_sizes=(3,))
    assert starts(found) == [(0.0, 1), (3.0, 1), (6.0, 3)]
    assert starts(serve([0.0, *[1.0] * 4], batch_wait_max_s=0.0, preferred_sizes=(3,))) == [
        (0.0, 1),
        (3.0, 3),
        (6.0, 1),
    ]


def test_a_preferred_size_of_one_never_waits() -> None:
    assert starts(serve([0.0], preferred_sizes=(1, 4))) == [(0.0, 1)]


def test_a_full_batch_closes_and_the_next_is_collected_while_it_is_served() -> None:
    """Five at once are a batch of four and one of one, which closes 1 s later, long before its turn."""
    found = serve([0.0] * 5 + [1.5], batching=Batching.RAY_SERVE)
    assert starts(found) == [(0.0, 4), (3.0, 1), (6.0, 1)]


def test_without_a_wait_nothing_is_collected_but_what_comes_at_once() -> None:
    found = serve([0.0, 1.0, 1.0, 2.0], batching=Batching.RAY_SERVE, batch_wait_max_s=0.0)
    assert starts(found) == [(0.0, 1), (3.0, 2), (6.0, 1)]


def test_an_arrival_at_the_instant_at_which_a_batch_closes_joins_it() -> None:
    assert starts(serve([0.0, 1.0], batching=Batching.RAY_SERVE)) == [(1.0, 2)]


def test_an_arrival_at_the_end_of_the_batch_before_comes_too_late_for_one_that_closes_then() -> None:
    """At 4 the first batch ends, the second closes, and somebody comes: ends and what they start are first."""
    assert starts(serve([0.0, 3.0, 4.0], batching=Batching.RAY_SERVE)) == [(1.0, 1), (4.0, 1), (7.0, 1)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batching": Batching.TORCHSERVE, "preferred_sizes": (2,)}, "torchserve batching has no preferred sizes"),
        ({"preferred_sizes": (4, 2)}, "must rise from 1 or more, got 4, 2"),
        ({"preferred_sizes": (0,)}, "must rise from 1 or more, got 0"),
        ({"preferred_sizes": (2, 8)}, "preferred size 8 is above the largest batch, 4"),
        ({"batching": Batching.RAY_SERVE, "routing": Routing.SHARED_QUEUE}, "take power-of-two routing"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_the_mend(changes: dict[str, object], said: str) -> None:
    with pytest.raises(DomainError, match=said):
        replace(ALONE, **changes)


PROFILE = ServiceProfile(
    name="made-up", timings=tuple(BatchTiming(batch_size=n, mean_s=0.008 + 0.002 * n) for n in (1, 4, 8))
)
TIMES_S = tuple(PROFILE.service_mean_s(n) for n in range(1, 9))


def pool_of(plan: BatchPlan, rate_rps: float, arrivals: ArrivalProcess | None = None, runs: int = 20) -> Pool:
    """What is seen of a plan in some runs, long enough to forget their start at these loads."""
    task = Task(
        plan=plan,
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals or PoissonArrivals()),
        service_times=ProfileTimes(PROFILE),
        request_overhead_s=0.0,
        length=Length(warm_up=2_000, measured=20_000, cool_down=200),
        seed=Seed(value=11),
    )
    return Pool.of([replicate(replace(task, seed=replace(task.seed, replication=n))) for n in range(runs)])


def assert_within_four_errors(pool: Pool, mean_s: float) -> None:
    found = pool.mean(Measure.RESPONSE_MEAN).interval(0.68)
    assert found.half_width < 0.01 * mean_s
    assert abs(found.value - mean_s) < 4.0 * found.half_width


def test_a_wait_from_the_pick_up_has_the_law_of_the_open_timer_and_is_longer() -> None:
    plan = replace(ALONE, batch_size_max=8, batch_wait_max_s=0.010)
    means_s = {}
    for batching, timer in ((Batching.TRITON, BatchTimer.OLDEST), (Batching.TORCHSERVE, BatchTimer.OPEN)):
        law = Bulk(arrival_rate_rps=160.0, batch_times_s=TIMES_S, batch_wait_max_s=0.010, timer=timer)
        means_s[batching] = law.performance().response_mean_s
        assert_within_four_errors(pool_of(replace(plan, batching=batching), 160.0), means_s[batching])
    assert means_s[Batching.TORCHSERVE] > 1.1 * means_s[Batching.TRITON]


def test_without_a_wait_what_is_collected_ahead_is_served_one_by_one() -> None:
    """M/D/1, however large a batch might be, where the usual rule serves what has come meanwhile together."""
    plan = replace(ALONE, batch_size_max=8, batch_wait_max_s=0.0)
    one_by_one = (
        MDc(arrival_rate_rps=60.0, service_time_s=TIMES_S[0], servers=1).performance().response_mean_s
    )
    greedy = Bulk(arrival_rate_rps=60.0, batch_times_s=TIMES_S).performance().response_mean_s
    assert_within_four_errors(pool_of(replace(plan, batching=Batching.RAY_SERVE), 60.0), one_by_one)
    assert_within_four_errors(pool_of(plan, 60.0), greedy)
    assert one_by_one > 1.05 * greedy


def test_a_preferred_size_that_is_always_waited_for_is_a_smallest_and_largest_batch() -> None:
    """M/D^[4,4]/1 under a wait that never ends, where the usual rule would fill eight."""
    plan = replace(ALONE, batch_size_max=8, batch_wait_max_s=1e6)
    four = (
        Bulk(arrival_rate_rps=150.0, batch_times_s=TIMES_S[:4], batch_size_min=4)
        .performance()
        .response_mean_s
    )
    eight = (
        Bulk(arrival_rate_rps=150.0, batch_times_s=TIMES_S, batch_size_min=8).performance().response_mean_s
    )
    assert_within_four_errors(pool_of(replace(plan, preferred_sizes=(4,)), 150.0), four)
    assert_within_four_errors(pool_of(plan, 150.0), eight)
    assert four < 0.9 * eight


@pytest.mark.parametrize(
    ("arrivals", "routing", "replicas"),
    [
        (PoissonArrivals(), Routing.RANDOM, 1),
        (PoissonArrivals(), Routing.RANDOM, 3),
        (PoissonArrivals(), Routing.ROUND_ROBIN, 3),
        (GammaArrivals(cv=2.0), Routing.ROUND_ROBIN, 2),
        (GammaArrivals(cv=0.5), Routing.ROUND_ROBIN, 1),
        (DeterministicArrivals(), Routing.ROUND_ROBIN, 2),
    ],
)
@pytest.mark.parametrize("wait_s", [0.0, 0.012, 0.05])
def test_of_batches_collected_ahead_the_load_is_the_utilization(arrivals, routing, replicas, wait_s) -> None:
    """Their sizes do not depend on the server, so what it must do is known: λ·E[s_N]/(c·E[N])."""
    plan = replace(
        ALONE, batching=Batching.RAY_SERVE, batch_size_max=8, batch_wait_max_s=wait_s, routing=routing, replicas=replicas
    )  # fmt: skip
    rate_rps = 70.0 * replicas
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=arrivals)
    busy, is_exact = load_under(PROFILE, workload, plan)
    assert is_exact
    found = pool_of(plan, rate_rps, arrivals).utilization(replicas).interval(0.68)
    edges = 2e-3 if isinstance(arrivals, DeterministicArrivals) else 0.0  # which cuts batches at its ends
    assert abs(found.value - busy) < 4.0 * found.half_width + edges


def test_batches_that_close_too_early_are_refused_with_the_mend() -> None:
    plan = replace(ALONE, batching=Batching.RAY_SERVE, batch_size_max=8, batch_wait_max_s=0.0)
    workload = Workload(arrival_rate_rps=110.0)
    require_answerable(PROFILE, workload, replace(plan, batch_wait_max_s=0.05))
    with pytest.raises(
        UnstableError, match=r"load 1\.100 >= 1 .* use a longer --batch-wait, or more replicas"
    ):
        require_answerable(PROFILE, workload, plan)


def test_where_the_load_is_estimated_nothing_is_refused() -> None:
    plan = replace(
        ALONE, batching=Batching.RAY_SERVE, batch_wait_max_s=0.0, replicas=2, routing=Routing.POWER_OF_TWO
    )
    workload = Workload(arrival_rate_rps=230.0)
    assert load_under(PROFILE, workload, plan) == (pytest.approx(1.15), False)
    require_answerable(PROFILE, workload, plan)


def ray_starts(
    arrived_s: list[float], service_s: float, size_max: int, wait_s: float, patch: pytest.MonkeyPatch
):
    """When each batch starts in Ray's own queue, and how many requests it has; its clock is the loop's."""
    batching = pytest.importorskip("ray.serve.batching", reason="needs ray[serve]")
    found: list[tuple[float, int]] = []
    context = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=10**6))
    patch.setattr(batching.serve, "get_replica_context", lambda: context)
    looks = count()  # a clock that stands still between two looks would keep Ray looking for ever
    now = SimpleNamespace(time=lambda: asyncio.get_running_loop().time() + 1e-9 * next(looks))
    patch.setattr(batching, "time", now)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def model(requests: list[int]) -> list[int]:
            found.append((loop.time(), len(requests)))
            await asyncio.sleep(service_s)
            return requests

        decorated = batching.batch(max_batch_size=size_max, batch_wait_timeout_s=wait_s)(model)

        async def ask(number: int, instant_s: float) -> None:
            await asyncio.sleep(instant_s)
            await decorated(number)

        await asyncio.gather(*(ask(number, instant_s) for number, instant_s in enumerate(arrived_s)))

    virtual_time.run(main())
    return found


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.3, 1.1]),
    st.sampled_from([0.05, 0.4, 1.3]),
)
def test_rays_own_queue_starts_the_same_batches(seed, size_max, wait_s, gap_s) -> None:
    arrived_s = np.cumsum(np.random.default_rng(seed).standard_exponential(40) * gap_s)
    with pytest.MonkeyPatch.context() as patch:
        expected = ray_starts(arrived_s.tolist(), 0.7, size_max, wait_s, patch)
    plan = replace(ALONE, batching=Batching.RAY_SERVE, batch_size_max=size_max, batch_wait_max_s=wait_s)
    draws = Draws(arrived_s=arrived_s, service=np.full(40, 0.5), routing=np.full(80, 0.5))
    found = starts(by_kernel(plan, fixed(lambda size: 0.7), draws))
    assert [size for _, size in found] == [size for _, size in expected]
    assert all(
        math.isclose(one, other, abs_tol=1e-5) for (one, _), (other, _) in zip(found, expected, strict=True)
    )
