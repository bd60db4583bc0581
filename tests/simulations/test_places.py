"""Replicas with a limited number of places: who waits at the balancer, in both engines and by the semantics."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
from cases import LawTimes, assert_kernel_gives, closed, coinciding, continuous, fixed
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import typeof
from planned import saved_plan

from capacity.errors import DomainError, InputError, UnstableError
from capacity.profile.distribution import from_samples
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.batching import Batching
from capacity.server.batch.places import always_full_rps
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import require_answerable, sustainable_rate_rps
from capacity.traffic.clients import Clients
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.kernel import serve as kernel
from simulations.kernel.state import HELD_REQUEST, REQUEST
from simulations.reference.cluster import run

ROUTINGS = (
    Routing.ROUND_ROBIN,
    Routing.RANDOM,
    Routing.LEAST_OUTSTANDING,
    Routing.POWER_OF_TWO,
    Routing.LEAST_OUTSTANDING_HAPROXY,
    Routing.POWER_OF_TWO_HAPROXY,
)
Case = tuple[BatchPlan, ServiceTimes, Draws | ClosedDraws]


@st.composite
def limited(draw: st.DrawFn) -> Case:
    """Fleets on a grid of instants, in continuous time, or of users, whose replicas have few places or many."""
    plan, times, draws = draw(coinciding() | continuous() | closed())
    plan = replace(
        plan,
        routing=draw(st.sampled_from(ROUTINGS)),
        batching=draw(st.sampled_from([Batching.TRITON, Batching.TORCHSERVE])),
        preferred_sizes=(),
        queue_limit=None,
    )
    return replace(plan, outstanding_max=plan.batch_size_max + draw(st.integers(0, 7))), times, draws


@settings(derandomize=True, deadline=None, max_examples=500)
@given(limited(), st.sampled_from([1, 2, 7, 64]))
def test_both_engines_and_the_semantics_agree(case: Case, block: int) -> None:
    records = run(*case)
    assert_kernel_gives(records, *case, block)
    expected = oracle.simulate(*case)
    for name in ("arrived_s", "started_s", "finished_s", "batch_size", "replica"):
        assert getattr(records, name).tolist() == getattr(expected, name), name


@settings(derandomize=True, deadline=None, max_examples=100)
@given(limited())
def test_with_places_for_all_it_is_the_plain_fleet(case: Case) -> None:
    plan, times, draws = case
    found = kernel.run(replace(plan, outstanding_max=10**9), times, draws)
    expected = kernel.run(replace(plan, outstanding_max=None), times, draws)
    assert all(
        getattr(found, name).tobytes() == getattr(expected, name).tobytes() for name in found.__slots__
    )


@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.LEAST_OUTSTANDING])
def test_with_one_place_each_all_wait_in_one_queue(routing: Routing) -> None:
    """So that single requests start and end as they do at a shared queue: M/M/c, whatever the law of service."""
    generator = np.random.default_rng(5)
    count = 20_000
    draws = Draws(
        arrived_s=np.cumsum(generator.standard_exponential(count)) / 2.7,
        service=generator.random(count),
        routing=generator.random(2 * count),
    )
    plan = BatchPlan(profile="made-up", replicas=3, batch_size_max=1, routing=routing, outstanding_max=1)
    shared = replace(plan, routing=Routing.SHARED_QUEUE, outstanding_max=None)
    found, expected = (kernel.run(one, ExponentialTimes(1.0), draws) for one in (plan, shared))
    assert found.started_s.tobytes() == expected.started_s.tobytes()
    assert found.finished_s.tobytes() == expected.finished_s.tobytes()
    assert (found.wait_s > 0.0).mean() > 0.5


def served(plan: BatchPlan, times: ServiceTimes, arrived_s: list[float]) -> list[tuple[float, int, int]]:
    """When each request starts, at which replica, and in a batch of how many."""
    draws = Draws(
        arrived_s=np.array(arrived_s),
        service=np.zeros(len(arrived_s)),
        routing=np.zeros(2 * len(arrived_s)),
    )
    records = run(plan, times, draws)
    assert_kernel_gives(records, plan, times, draws, 64)
    columns = (records.started_s, records.replica, records.batch_size)
    return [
        (start_s, int(replica), int(size))
        for start_s, replica, size in zip(*map(np.ndarray.tolist, columns), strict=True)
    ]


def of_one(places: int, size_max: int, wait_s: float = 0.0, **more: object) -> BatchPlan:
    """A plan of one replica."""
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=size_max, batch_wait_max_s=wait_s)
    return replace(plan, outstanding_max=places, **more)


def test_a_replica_at_rest_takes_those_who_wait_as_one_batch() -> None:
    """Four at once fill the places; when they are done no request waits at the replica, and four come from the balancer."""
    found = served(of_one(4, 4), fixed(lambda size: 1.0), [0.0] * 8)
    assert found == [(0.0, 0, 4)] * 4 + [(1.0, 0, 4)] * 4


def test_a_replica_serves_who_waits_at_it_before_it_is_filled() -> None:
    """One, then the three who could still come; the place that the first left went to the fifth alone."""
    found = served(of_one(4, 4), fixed(lambda size: 1.0), [0.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert found == [(0.0, 0, 1)] + [(1.0, 0, 3)] * 3 + [(2.0, 0, 1)] + [(3.0, 0, 1)]


def test_round_robin_passes_over_a_full_replica_and_keeps_its_turn_while_others_wait() -> None:
    """The turn is that of replica 0 when the third comes, and when the fourth does, which goes to replica 1."""
    plan = replace(of_one(1, 1), replicas=2)
    times = LawTimes(lambda size: from_samples([1.0, 3.0]))
    draws = Draws(
        arrived_s=np.array([0.0, 0.5, 0.75, 2.0, 6.0, 6.0]),
        service=np.array([0.9, 0.0, 0.0, 0.0, 0.0, 0.0]),
        routing=np.zeros(12),
    )
    records = run(plan, times, draws)
    assert_kernel_gives(records, plan, times, draws, 64)
    # Replica 0 is busy until 3, and 1 until 1.5, when the third goes there; so the fourth waits until 2.5.
    assert records.started_s.tolist() == [0.0, 0.5, 1.5, 2.5, 6.0, 6.0]
    assert records.replica.tolist() == [0, 1, 1, 1, 0, 1]


def test_random_waits_for_a_full_replica_while_another_is_free() -> None:
    """All draw replica 0. The second waits at the balancer until that one ends its batch, and not for replica 1."""
    plan = replace(of_one(1, 1), replicas=2, routing=Routing.RANDOM)
    assert served(plan, fixed(lambda size: 1.0), [0.0, 0.25]) == [(0.0, 0, 1), (1.0, 0, 1)]


def test_the_wait_for_a_batch_counts_from_when_a_request_comes_to_the_replica() -> None:
    """The last came at 0.2 to the balancer, and at 1.0 to the replica: its batch is due at 1.0 + 1.5."""
    found = served(of_one(4, 2, wait_s=1.5), fixed(lambda size: 1.0), [0.0] * 4 + [0.2])
    assert found == [(0.0, 0, 2)] * 2 + [(1.0, 0, 2)] * 2 + [(2.5, 0, 1)]


# ---- What a replica serves that is always full -------------------------------------------------


def profile_of(means_s: list[float], spread: float = 0.0) -> ServiceProfile:
    """Times by the size of the batch, all alike or spread evenly around the mean."""
    timings = []
    for size, mean_s in enumerate(means_s, start=1):
        samples_s = tuple(mean_s * (1.0 + spread * (2.0 * u - 1.0)) for u in (np.arange(20) + 0.5) / 20.0)
        timings.append(BatchTiming(batch_size=size, samples_s=samples_s if spread else (mean_s,)))
    return ServiceProfile(name="made-up", timings=tuple(timings))


def throughput_rps(plan: BatchPlan, profile: ServiceProfile, first: int, requests: int = 4_000) -> float:
    """Rate of a run under whose first batch all others arrive, in its later half."""
    generator = np.random.default_rng(3)
    arrived_s = np.full(requests, 1e-6)
    arrived_s[:first] = 0.0
    draws = Draws(arrived_s=arrived_s, service=generator.random(requests), routing=np.zeros(2 * requests))
    ends_s = np.sort(kernel.run(plan, LawTimes(profile.law), draws).finished_s)
    half = requests // 2
    return (requests - 1 - half) / float(ends_s[-1] - ends_s[half])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(0, 6), st.integers(0, 2**32))
def test_a_full_replica_serves_the_slowest_pair_or_better_whatever_came_first(
    size_max: int, more: int, seed: int
) -> None:
    """Without a batch wait; and the slowest pair is one of those that the first batch sets off."""
    generator = np.random.default_rng(seed)
    profile = profile_of(np.sort(0.1 + generator.random(size_max)).tolist())
    plan = of_one(size_max + more, size_max)
    rate_rps = always_full_rps(profile, plan.outstanding_max or 0, size_max, plan.batching, 0.0)
    found = [throughput_rps(plan, profile, first) for first in range(1, size_max + 1)]
    assert min(found) == pytest.approx(rate_rps, rel=0.01)


@pytest.mark.parametrize("wait_s", [0.8, 1.0, 1.15, 1.3])
def test_with_a_batch_wait_full_batches_follow_full_ones_that_were_quick(wait_s: float) -> None:
    """Times of 0.75 to 1.25 of the mean: a wait beyond most of them leaves few batches that are not full."""
    profile = profile_of([0.5, 0.6, 0.7, 1.0], spread=0.25)
    plan = of_one(6, 4, wait_s)
    rate_rps = always_full_rps(profile, 6, 4, plan.batching, wait_s)
    assert throughput_rps(plan, profile, 1, 40_000) == pytest.approx(rate_rps, rel=0.01)


def test_a_wait_from_when_a_free_replica_looks_leaves_all_batches_full() -> None:
    profile = profile_of([0.5, 0.6, 0.7, 1.0])
    plan = of_one(6, 4, 0.01, batching=Batching.TORCHSERVE)
    rate_rps = always_full_rps(profile, 6, 4, plan.batching, 0.01)
    assert rate_rps == profile.throughput_rps(4) == pytest.approx(throughput_rps(plan, profile, 1), rel=0.01)


def test_capacity_is_that_of_pairs_below_two_batches_and_of_full_ones_above() -> None:
    profile = profile_of([1.0, 1.25, 1.5, 1.75])

    def capacity_rps(places: int) -> float:
        return sustainable_rate_rps(profile, replace(of_one(places, 4), replicas=3))

    assert capacity_rps(4) == pytest.approx(3 * 4 / (2 * 0.75 + 4 * 0.25))
    assert capacity_rps(5) == pytest.approx(3 * 5 / (1.75 + 1.0))
    assert capacity_rps(8) == sustainable_rate_rps(
        profile, replace(of_one(8, 4), replicas=3, outstanding_max=None)
    )


def test_a_rate_between_both_is_refused_as_unstable() -> None:
    profile = profile_of([1.0, 1.25, 1.5, 1.75])
    with pytest.raises(
        UnstableError, match=r"2 rps on 1\.82 rps of 1 replica with batches up to 4 and 5 .* 2 replicas"
    ):
        require_answerable(profile, Workload(arrival_rate_rps=2.0), of_one(5, 4))
    require_answerable(profile, Workload(arrival_rate_rps=2.0), of_one(8, 4))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"routing": Routing.SHARED_QUEUE}, "shared queue"),
        ({"routing": Routing.LEAST_OUTSTANDING_NGINX}, "nginx refuses"),
        ({"routing": Routing.POWER_OF_TWO_NGINX}, "nginx refuses"),
        ({"queue_limit": 3}, "not both"),
        ({"batching": Batching.RAY_SERVE}, "ray-serve batching"),
        ({"preferred_sizes": (2,)}, "preferred sizes"),
        ({"outstanding_max": 3}, "no batch would ever be full: at most 3 .* up to 4"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        of_one(changes.pop("outstanding_max", 8), 4, **changes)


def test_numba_takes_neither_kind_of_request_for_the_other() -> None:
    """Or what is compiled for the one that came first would serve both."""
    plain, held = (typeof(np.zeros(1, dtype=one)).dtype for one in (REQUEST, HELD_REQUEST))
    assert held.can_convert_to(None, plain) is plain.can_convert_to(None, held) is None


def test_service_without_time_is_refused() -> None:
    draws = Draws(arrived_s=np.zeros(3), service=np.zeros(3), routing=np.zeros(6))
    with pytest.raises(DomainError, match="places that come free"):
        kernel.run(of_one(1, 1), fixed(lambda size: 0.0), draws)


def test_a_saved_plan_keeps_the_limit() -> None:
    saved = saved_plan(outstanding_max=40, queue_limit=None)
    assert saved.plan.outstanding_max == saved.question.space.outstanding_max == 40


def test_clients_shared_devices_and_replicas_that_come_and_go_are_refused() -> None:
    profile, workload = profile_of([1.0, 1.25, 1.5, 1.75]), Workload(arrival_rate_rps=1.0)
    plan = of_one(8, 4)
    with pytest.raises(InputError, match="clients who give up"):
        require_answerable(profile, replace(workload, clients=Clients(timeout_s=1.0)), plan)
    with pytest.raises(InputError, match="share a device"):
        require_answerable(replace(profile, instances_per_device=2), workload, plan)
    scaler = Autoscaler(target=Target(metric=Metric.UTILIZATION, level=0.6), replicas_max=2)
    with pytest.raises(InputError, match="under an autoscaler"):
        Scenario(profile=profile, workload=workload, plan=plan, autoscaler=scaler)
