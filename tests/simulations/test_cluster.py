"""Both engines against the oracle bit for bit, and against hand computation rule by rule."""

import numpy as np
import oracle
import pytest
from cases import LawTimes, assert_kernel_gives, closed, coinciding, continuous, fixed, reduced, values_of
from hypothesis import given, settings

from capacity.profile.distribution import ServiceLaw
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.records import Records
from simulations.draws.service import ServiceTimes
from simulations.reference.cluster import run
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool


def assert_same(records: Records, expected: oracle.Outcome) -> None:
    assert records.arrived_s.tolist() == expected.arrived_s
    assert records.replica.tolist() == expected.replica
    assert records.batch_size.tolist() == expected.batch_size
    for found, instants_s in (
        (records.started_s, expected.started_s),
        (records.finished_s, expected.finished_s),
    ):
        assert found.tobytes() == np.array(instants_s).tobytes()  # of a lost request both are NaN


@settings(derandomize=True, deadline=None, max_examples=300)
@given(coinciding())
def test_agrees_with_the_oracle_where_instants_coincide(case: tuple[BatchPlan, ServiceTimes, Draws]) -> None:
    assert_same(run(*case), oracle.simulate(*case))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(continuous())
def test_agrees_with_the_oracle_on_continuous_time(case: tuple[BatchPlan, ServiceTimes, Draws]) -> None:
    assert_same(run(*case), oracle.simulate(*case))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(closed())
def test_agrees_with_the_oracle_on_a_closed_population(
    case: tuple[BatchPlan, ServiceTimes, ClosedDraws],
) -> None:
    assert_same(run(*case), oracle.simulate(*case))


def by_all(plan: BatchPlan, service_times: ServiceTimes, draws: Draws | ClosedDraws) -> Records:
    """A run by SimPy, which the oracle and the kernel must agree with."""
    records = run(plan, service_times, draws)
    assert_same(records, oracle.simulate(plan, service_times, draws))
    assert_kernel_gives(records, plan, service_times, draws, block=2)
    return records


def serve(
    arrived_s: list[float],
    service_times: ServiceTimes = fixed(lambda size: 1.0),  # noqa: B008  (has no state)
    *,
    routing: Routing = Routing.SHARED_QUEUE,
    replicas: int = 1,
    batch: int = 1,
    wait_s: float = 0.0,
    batching: Batching = Batching.TRITON,
    limit: int | None = None,
    uniforms: list[float] | None = None,
    routing_uniforms: list[float] | None = None,
) -> Records:
    """A run of a few requests, the same by the oracle and by the kernel."""
    count = len(arrived_s)
    plan = BatchPlan(
        profile="made-up",
        replicas=replicas,
        batch_size_max=batch,
        batch_wait_max_s=wait_s,
        routing=routing,
        batching=batching,
        queue_limit=limit,
    )
    draws = Draws(
        arrived_s=np.array(arrived_s),
        service=np.array(uniforms or [0.5] * count),
        routing=np.array(routing_uniforms or [0.5] * (2 * count)),
    )
    return by_all(plan, service_times, draws)


# A service time that tests choose by the uniform: ten times as much.
BY_UNIFORM = LawTimes(lambda size: ServiceLaw(probabilities=(0.0, 1.0), durations_s=(0.0, 10.0)))


def test_greedy_dispatch_serves_one_alone_and_then_all_that_came_meanwhile() -> None:
    records = serve([0.0, 0.1, 0.2, 0.3], batch=8)
    assert records.started_s.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert records.batch_size.tolist() == [1, 3, 3, 3]


def test_an_idle_replica_dispatches_when_its_batch_is_full() -> None:
    records = serve([0.0, 0.25, 0.5], batch=3, wait_s=5.0)
    assert records.started_s.tolist() == [0.5, 0.5, 0.5]
    assert records.batch_size.tolist() == [3, 3, 3]


def test_a_batch_is_never_larger_than_its_limit_and_takes_the_oldest() -> None:
    records = serve([0.0, 0.1, 0.2, 0.3, 0.4], batch=2)
    assert records.batch_size.tolist() == [1, 2, 2, 2, 2]
    assert records.started_s.tolist() == [0.0, 1.0, 1.0, 2.0, 2.0]


def test_the_timer_counts_from_the_arrival_of_the_oldest() -> None:
    records = serve([1.0, 1.5, 1.75], batch=4, wait_s=1.0)
    assert records.started_s.tolist() == [2.0, 2.0, 2.0]


def test_a_replica_that_was_busy_past_the_deadline_dispatches_at_once() -> None:
    """The second request's deadline is 0.75; the timer does not start again when the replica is free."""
    records = serve([0.0, 0.25], fixed(lambda size: 2.0), batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 0.5]
    records = serve([0.0, 1.0], fixed(lambda size: 2.0), batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 2.5]


def test_a_replica_that_is_free_before_the_deadline_waits_for_it() -> None:
    records = serve([0.0, 1.25], batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 1.75]
    records = serve([0.0, 1.25], fixed(lambda size: 0.5), batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 1.75]


def test_the_deadline_is_the_floating_point_sum() -> None:
    records = serve([0.1], batch=2, wait_s=0.2)
    assert records.started_s.tolist() == [0.1 + 0.2]  # 0.30000000000000004


def test_an_arrival_at_the_instant_of_the_timer_joins_the_batch() -> None:
    records = serve([0.0, 0.5], batch=4, wait_s=0.5)
    assert records.batch_size.tolist() == [2, 2]
    assert records.started_s.tolist() == [0.5, 0.5]


def test_an_arrival_at_the_instant_of_a_completion_comes_too_late_for_its_dispatch() -> None:
    records = serve([0.0, 0.5, 1.0], batch=4)
    assert records.batch_size.tolist() == [1, 1, 1]
    assert records.started_s.tolist() == [0.0, 1.0, 2.0]


def test_an_arrival_at_the_instant_of_a_completion_finds_an_empty_queue_served_at_once() -> None:
    records = serve([0.0, 1.0], batch=4)
    assert records.started_s.tolist() == [0.0, 1.0]


def test_a_completion_at_the_instant_of_the_deadline_dispatches_before_arrivals() -> None:
    """The second request has waited long enough at 1.5, when the replica completes and a third arrives."""
    records = serve([0.0, 1.0, 1.5], batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 1.5, 2.5]
    assert records.batch_size.tolist() == [1, 1, 1]


def test_a_completion_at_the_deadline_of_another_replicas_timer_dispatches_before_arrivals() -> None:
    """Replica 0 is free from 2.0 on and waits for 2.5, when replica 1 completes and one more arrives."""
    records = serve([0.0, 0.0, 0.5, 0.5, 1.5, 2.5], fixed(lambda size: 2.0), replicas=2, batch=2, wait_s=1.0)
    assert records.started_s.tolist() == [0.0, 0.0, 0.5, 0.5, 2.5, 3.5]
    assert records.replica.tolist() == [0, 0, 1, 1, 1, 0]


def test_simultaneous_arrivals_share_a_batch() -> None:
    records = serve([1.0, 1.0, 1.0], batch=4)
    assert records.batch_size.tolist() == [3, 3, 3]


def test_simultaneous_arrivals_beyond_a_batch_go_to_the_next_idle_replica() -> None:
    records = serve([1.0, 1.0, 1.0], batch=2, replicas=3)
    assert records.batch_size.tolist() == [2, 2, 1]
    assert records.replica.tolist() == [0, 0, 1]
    assert records.started_s.tolist() == [1.0, 1.0, 1.0]


def test_the_lowest_idle_replica_serves_the_shared_queue() -> None:
    """At 4.0 all three are idle; they fell idle in the order 2, 1, 0."""
    records = serve([0.0, 0.0, 0.0, 4.0], BY_UNIFORM, replicas=3, uniforms=[0.3, 0.2, 0.1, 0.1])
    assert records.replica.tolist() == [0, 1, 2, 0]


def test_completions_of_one_instant_dispatch_the_lowest_replica_first() -> None:
    """Replica 1 began before replica 0's second batch, and both complete at 3.0."""
    records = serve([0.0, 0.0, 1.0, 1.5, 1.75], BY_UNIFORM, replicas=2, uniforms=[0.1, 0.3, 0.2, 0.1, 0.1])
    assert records.replica.tolist() == [0, 1, 0, 0, 1]
    assert records.started_s.tolist() == [0.0, 0.0, 1.0, 3.0, 3.0]


def test_requests_of_one_queue_start_in_order_of_arrival() -> None:
    records = serve([0.0, 0.1, 0.2, 0.3])
    assert records.started_s.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_round_robin_starts_at_replica_0_and_skips_none() -> None:
    records = serve([0.0, 1.0, 2.0, 3.0, 4.0], routing=Routing.ROUND_ROBIN, replicas=3)
    assert records.replica.tolist() == [0, 1, 2, 0, 1]


def test_random_routing_uses_the_first_uniform_of_each_request() -> None:
    uniforms = [0.0, 0.9, 0.24, 0.9, 0.25, 0.0, 0.5, 0.0, 0.99, 0.0]
    records = serve([0.0, 0.0, 0.0, 0.0, 0.0], routing=Routing.RANDOM, replicas=4, routing_uniforms=uniforms)
    assert records.replica.tolist() == [0, 0, 1, 2, 3]


def test_least_outstanding_counts_batches_in_service_and_ties_go_to_the_lowest() -> None:
    """The first goes to 0, and is in service when the second comes."""
    records = serve([0.0, 0.1, 0.2, 0.3], routing=Routing.LEAST_OUTSTANDING, replicas=3)
    assert records.replica.tolist() == [0, 1, 2, 0]


def test_least_outstanding_forgets_what_has_finished() -> None:
    """At 1.0 replica 0 completes, before the request of that instant is routed."""
    records = serve([0.0, 0.5, 1.0], routing=Routing.LEAST_OUTSTANDING, replicas=2)
    assert records.replica.tolist() == [0, 1, 0]


def test_least_outstanding_counts_requests_and_not_batches() -> None:
    """At 1.75 replica 0 serves a batch of two, replica 1 a batch of one; at 6.0 both have finished."""
    records = serve(
        [0.0, 0.0, 0.25, 0.25, 0.5, 1.75, 6.0],
        fixed(lambda size: 1.0 if size < 2 else 4.0),
        routing=Routing.LEAST_OUTSTANDING,
        replicas=2,
        batch=2,
    )
    # 0 and 1 alone; 2 queues at 0, 3 at 1, 4 at 0. At 1.0 replica 0 takes (2, 4), replica 1 takes 3.
    assert records.replica.tolist() == [0, 1, 0, 1, 0, 1, 0]


def power_of_two(arrived_s: list[float], pairs: list[tuple[float, float]], replicas: int = 4) -> Records:
    return serve(
        arrived_s,
        routing=Routing.POWER_OF_TWO,
        replicas=replicas,
        routing_uniforms=[u for pair in pairs for u in pair],
    )


def test_power_of_two_compares_two_different_replicas() -> None:
    """First = floor(4 u0), second = the (1 + floor(3 u1))-th after it; fewer outstanding wins."""
    records = power_of_two([0.0, 0.1, 0.2], [(0.25, 0.0), (0.25, 0.0), (0.25, 0.99)])
    # 1 against 2: a tie, 1. Then 1 (one) against 2 (none): 2. Then 1 (one) against 0 (none): 0.
    assert records.replica.tolist() == [1, 2, 0]


def test_power_of_two_prefers_the_first_when_it_has_fewer() -> None:
    records = power_of_two([0.0, 0.1], [(0.0, 0.0), (0.25, 0.99)])
    # 0 against 1: a tie, 0. Then first 1 (none) against second 0 (one): 1.
    assert records.replica.tolist() == [0, 1]


def test_power_of_two_ties_go_to_the_lowest_index_not_to_the_first_drawn() -> None:
    records = power_of_two([0.0, 0.1], [(0.75, 0.99), (0.75, 0.0)])
    # 3 against 2: a tie, 2. Then 3 against 0: a tie, 0.
    assert records.replica.tolist() == [2, 0]


def test_power_of_two_among_one_replica_is_that_replica() -> None:
    assert power_of_two([0.0, 0.1], [(0.9, 0.9), (0.1, 0.1)], replicas=1).replica.tolist() == [0, 0]


def test_a_request_never_moves_to_another_queue() -> None:
    """Replica 1 idles from 1.0 on, yet the third request waits for replica 0, where it was routed."""
    records = serve(
        [0.0, 0.0, 0.5], BY_UNIFORM, routing=Routing.ROUND_ROBIN, replicas=2, uniforms=[0.9, 0.1, 0.1]
    )
    assert records.replica.tolist() == [0, 1, 0]
    assert records.started_s.tolist() == [0.0, 0.0, 9.0]


def test_the_service_time_is_drawn_by_the_uniform_of_the_oldest_request() -> None:
    records = serve([0.0, 0.0, 0.0], BY_UNIFORM, batch=3, uniforms=[0.2, 0.9, 0.7])
    assert records.finished_s.tolist() == [2.0, 2.0, 2.0]


def test_the_service_time_is_drawn_for_the_size_of_the_batch() -> None:
    records = serve([0.0, 0.0, 0.0], fixed(float), batch=3)
    assert records.finished_s.tolist() == [3.0, 3.0, 3.0]


def test_overhead_is_added_to_the_response_and_takes_no_capacity() -> None:
    sample = reduced(serve([0.0, 0.0, 0.0, 4.0]), overhead_s=0.5)
    assert values_of(sample.responses) == [1.5, 1.5, 2.5, 3.5]
    assert values_of(sample.waits) == [0.0, 0.0, 1.0, 2.0]
    assert (sample.busy_s, sample.window_s) == (4.0, 4.0 * 4 / 3)
    seen = batch_performance(Pool.of([sample]), load=None, replicas=1, quantiles=(), confidence=0.95)
    assert seen.utilization == 0.75
    assert seen.queue_length_mean == 3.0 / (4.0 * 4 / 3)
    assert seen.in_system_mean == 9.0 / (4.0 * 4 / 3)


def test_every_request_of_the_draws_is_served_to_the_last_one() -> None:
    records = serve([0.0, 0.0, 0.0], replicas=2, batch=2, wait_s=1.0)
    assert len(records.started_s) == 3
    assert np.isfinite(records.finished_s).all()


def open_timer(arrived_s: list[float], service_s: float = 2.0, **options: object) -> Records:
    return serve(
        arrived_s,
        fixed(lambda size: service_s),
        batching=Batching.TORCHSERVE,
        **{"batch": 4, "wait_s": 0.5, **options},
    )


def test_the_open_timer_starts_when_a_busy_replica_falls_idle() -> None:
    """The first is served from 0.5 to 2.5; the second, in the queue since 1.0, is seen at 2.5."""
    assert open_timer([0.0, 1.0]).started_s.tolist() == [0.5, 3.0]


def test_the_open_timer_of_an_idle_replica_starts_with_the_arrival() -> None:
    records = open_timer([1.0, 1.25])
    assert records.started_s.tolist() == [1.5, 1.5]


def test_a_full_batch_does_not_wait_for_the_open_timer() -> None:
    records = open_timer([0.0, 1.0, 1.0, 1.5, 2.0, 2.25])
    assert records.started_s.tolist() == [0.5, 2.5, 2.5, 2.5, 2.5, 5.0]
    records = open_timer([0.0, 0.125, 0.25], batch=3)
    assert records.started_s.tolist() == [0.25, 0.25, 0.25]


def test_an_arrival_at_the_instant_of_the_open_timer_joins_the_batch() -> None:
    assert open_timer([0.0, 1.0, 3.0]).started_s.tolist() == [0.5, 3.0, 3.0]


def test_an_arrival_at_the_instant_of_a_completion_is_seen_by_the_open_timer_then() -> None:
    assert open_timer([0.0, 2.5]).started_s.tolist() == [0.5, 3.0]


def test_without_a_wait_both_timers_are_greedy() -> None:
    for batching in (Batching.TRITON, Batching.TORCHSERVE):
        records = serve([0.0, 0.1, 0.2, 1.0], batch=8, batching=batching)
        assert records.started_s.tolist() == [0.0, 1.0, 1.0, 2.0]


def test_a_shared_queue_has_one_open_timer_that_another_idle_replica_does_not_restart() -> None:
    """Replica 0 is busy from 0.5 to 2.5. The request of 2.25 is seen by replica 1, and served at 2.75."""
    records = open_timer([0.0, 2.25], replicas=2)
    assert records.started_s.tolist() == [0.5, 2.75]
    assert records.replica.tolist() == [0, 0]


def test_what_a_batch_leaves_behind_has_a_timer_of_its_own() -> None:
    """Three at one instant: two are a batch, the third is seen by the other replica."""
    records = open_timer([1.0, 1.0, 1.0], replicas=2, batch=2)
    assert records.started_s.tolist() == [1.0, 1.0, 1.5]
    assert records.replica.tolist() == [0, 0, 1]


def test_what_a_busy_fleet_leaves_behind_is_seen_when_the_next_replica_is_idle() -> None:
    """Both are busy till 3.0 and 3.5. At 3.0 two of the three are taken, the third is seen at 3.5."""
    records = open_timer([0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.0], 3.0, replicas=2, batch=2)
    assert records.started_s.tolist() == [0.0, 0.0, 0.5, 0.5, 3.0, 3.0, 4.0]


def test_who_finds_no_place_is_lost() -> None:
    records = serve([0.0, 0.1, 0.2, 0.3, 1.5], limit=2)
    assert records.is_lost.tolist() == [False, False, False, True, False]
    assert records.batch_size.tolist() == [1, 1, 1, 0, 1]
    assert records.replica.tolist() == [0, 0, 0, -1, 0]
    assert records.oldest.tolist() == [0, 1, 2, -1, 4]
    assert np.isnan(records.started_s[3])
    assert np.isnan(records.finished_s[3])


def test_without_waiting_places_only_an_idle_replica_serves() -> None:
    records = serve([0.0, 0.0, 0.0, 0.5, 1.0], replicas=2, limit=0)
    assert records.is_lost.tolist() == [False, False, True, True, False]


def test_a_place_is_free_at_the_instant_of_a_completion() -> None:
    assert not serve([0.0, 0.5, 1.0, 1.0], limit=1).is_lost[:3].any()
    assert serve([0.0, 0.5, 1.0, 1.0], limit=1).is_lost.tolist() == [False, False, False, True]


def test_an_idle_replica_has_room_for_a_batch_beside_the_queue() -> None:
    records = serve([0.0, 0.0, 0.0, 0.0], batch=2, limit=1)
    assert records.is_lost.tolist() == [False, False, False, True]
    records = serve([0.0, 0.125, 0.25], batch=4, limit=1, wait_s=1.0)  # a batch that fills is no queue
    assert records.started_s.tolist() == [1.0, 1.0, 1.0]


def test_each_queue_has_its_own_places_and_a_lost_request_is_not_outstanding() -> None:
    records = serve([0.0] * 5, routing=Routing.ROUND_ROBIN, replicas=2, limit=1)
    assert records.replica.tolist() == [0, 1, 0, 1, -1]
    late = serve([0.0] * 5 + [2.0], routing=Routing.LEAST_OUTSTANDING, replicas=2, limit=1)
    assert late.replica.tolist() == [0, 1, 0, 1, -1, 0]


def test_statistics_leave_out_who_was_lost() -> None:
    sample = reduced(serve([0.0, 0.5, 0.75, 4.0], limit=1))
    assert (sample.lost, sample.counted) == (1, 3)
    assert values_of(sample.responses) == [1.0, 1.0, 1.5]
    assert values_of(sample.waits) == [0.0, 0.0, 0.5]
    assert (sample.window_s, sample.batches, sample.busy_s) == (4.0 * 4 / 3, 3.0, 3.0)
    seen = batch_performance(Pool.of([sample]), load=None, replicas=1, quantiles=(), confidence=0.95)
    assert seen.loss_probability == 0.25
    assert seen.throughput_rps == 3.0 / (4.0 * 4 / 3)
    assert seen.queue_length_mean == 0.5 / (4.0 * 4 / 3)
    assert seen.in_system_mean == 3.5 / (4.0 * 4 / 3)
    assert seen.utilization == 3.0 / (4.0 * 4 / 3)


def converse(
    users: int,
    think_s: list[float],
    service_s: float = 1.0,
    *,
    replicas: int = 1,
    batch: int = 1,
    limit: int | None = None,
) -> Records:
    """A run of a closed population, the same by the oracle and by the kernel."""
    plan = BatchPlan(
        profile="made-up",
        replicas=replicas,
        batch_size_max=batch,
        routing=Routing.SHARED_QUEUE,
        queue_limit=limit,
    )
    count = len(think_s)
    draws = ClosedDraws(
        users=users, think_s=np.array(think_s), service=np.full(count, 0.5), routing=np.full(2 * count, 0.5)
    )

    service_times = fixed(lambda size: service_s)
    return by_all(plan, service_times, draws)


def test_users_start_evenly_over_the_first_service_time() -> None:
    assert converse(4, [0.0] * 4, 2.0).arrived_s.tolist() == [0.0, 0.5, 1.0, 1.5]


def test_a_user_thinks_after_the_answer_and_asks_again() -> None:
    records = converse(1, [0.25, 3.0, 0.0])
    assert records.arrived_s.tolist() == [0.0, 1.25, 5.25]


def test_a_request_that_is_asked_for_at_the_instant_of_a_completion_misses_its_dispatch() -> None:
    """At 1.0 the replica takes those who wait; the first user, who asks again then, is not among them."""
    records = converse(3, [0.0] * 7, batch=4)
    assert records.arrived_s.tolist() == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0, 2.0, 2.0, 3.0])
    assert records.batch_size.tolist() == [1, 2, 2, 1, 2, 2, 1]


def test_users_who_do_not_think_are_served_in_turns() -> None:
    """Twelve users, batches up to 8: the first alone, 8 of the rest, and then 4 and 8 in turn."""
    records = converse(12, [0.0] * 60, batch=8)
    batches = records.batch_size[records.oldest == np.arange(60)]
    assert batches.tolist()[:8] == [1, 8, 4, 8, 4, 8, 4, 8]


def test_no_more_is_asked_than_there_are_draws_for() -> None:
    assert len(converse(5, [0.0] * 3).arrived_s) == 3


def test_a_user_whom_a_full_queue_rejects_thinks_and_asks_again() -> None:
    """The second user is rejected at 0.5, and at 0.75 after a thought of 0.25; the first has the answer at 1.0."""
    records = converse(2, [0.25, 0.25, 0.75, 0.0, 9.0], limit=0)
    assert records.arrived_s.tolist() == [0.0, 0.5, 0.75, 1.25, 1.5]
    assert records.batch_size.tolist() == [1, 0, 0, 1, 0]
    assert records.started_s[[0, 3]].tolist() == [0.0, 1.25]
