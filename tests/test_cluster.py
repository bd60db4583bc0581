"""The simulator against the oracle bit for bit, and against hand computation rule by rule."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.plan import Plan, Routing
from simulations.arrivals import Draws
from simulations.cluster import run
from simulations.records import Records
from simulations.replication import Length, Task, reduce
from simulations.service import ExponentialTimes, ServiceTimes

# ---- Against the oracle ---------------------------------------------------------------------


class GridTimes:
    """Service times that are whole multiples of a step, so that instants coincide."""

    def __init__(self, step_s: float, base: list[int]) -> None:
        self.step_s = step_s
        self.base = base

    def __call__(self, batch_size: int, uniform: float) -> float:
        return self.step_s * (self.base[int(uniform * len(self.base))] + batch_size // 2)


@st.composite
def plans(draw: st.DrawFn, step_s: float) -> Plan:
    return Plan(
        profile="made-up",
        replicas=draw(st.integers(1, 5)),
        batch_size_max=draw(st.integers(1, 6)),
        batch_wait_max_s=step_s * draw(st.sampled_from([0, 0, 1, 2, 3, 5, 8])),
        routing=draw(st.sampled_from(list(Routing))),
    )


@st.composite
def coinciding(draw: st.DrawFn) -> tuple[Plan, ServiceTimes, Draws]:
    """Arrivals, deadlines and completions on one grid; of a step of 0.1 s the sums are rounded."""
    step_s = draw(st.sampled_from([0.25, 0.25, 0.1]))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7]), min_size=1, max_size=40))
    base = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    draws = Draws(
        arrived_s=np.cumsum(np.array(gaps)) * step_s,
        service=generator.random(len(gaps)),
        routing=generator.random(2 * len(gaps)),
    )
    return draw(plans(step_s)), GridTimes(step_s, base), draws


@st.composite
def continuous(draw: st.DrawFn) -> tuple[Plan, ServiceTimes, Draws]:
    """Exponential gaps and service, where no two events coincide but by the semantics."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 60))
    draws = Draws(
        arrived_s=np.cumsum(generator.standard_exponential(count)) * draw(st.sampled_from([0.05, 0.3, 1.0])),
        service=generator.random(count),
        routing=generator.random(2 * count),
    )
    return draw(plans(0.37)), ExponentialTimes(1.0), draws


def assert_same(records: Records, expected: oracle.Outcome) -> None:
    assert records.replica.tolist() == expected.replica
    assert records.batch_size.tolist() == expected.batch_size
    assert records.started_s.tolist() == expected.started_s
    assert records.finished_s.tolist() == expected.finished_s


@settings(derandomize=True, deadline=None, max_examples=600)
@given(coinciding())
def test_agrees_with_the_oracle_where_instants_coincide(case: tuple[Plan, ServiceTimes, Draws]) -> None:
    assert_same(run(*case), oracle.simulate(*case))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(continuous())
def test_agrees_with_the_oracle_on_continuous_time(case: tuple[Plan, ServiceTimes, Draws]) -> None:
    assert_same(run(*case), oracle.simulate(*case))


# ---- Rule by rule, by hand ------------------------------------------------------------------


def serve(
    arrived_s: list[float],
    service_times: ServiceTimes = lambda batch_size, uniform: 1.0,
    *,
    routing: Routing = Routing.SHARED_QUEUE,
    replicas: int = 1,
    batch: int = 1,
    wait_s: float = 0.0,
    uniforms: list[float] | None = None,
    routing_uniforms: list[float] | None = None,
) -> Records:
    """A run of a few requests, also checked against the oracle."""
    count = len(arrived_s)
    plan = Plan(
        profile="made-up",
        replicas=replicas,
        batch_size_max=batch,
        batch_wait_max_s=wait_s,
        routing=routing,
    )
    draws = Draws(
        arrived_s=np.array(arrived_s),
        service=np.array(uniforms or [0.5] * count),
        routing=np.array(routing_uniforms or [0.5] * (2 * count)),
    )
    records = run(plan, service_times, draws)
    assert_same(records, oracle.simulate(plan, service_times, draws))
    return records


def by_uniform(batch_size: int, uniform: float) -> float:
    """A service time that tests choose by the uniform."""
    return 10.0 * uniform


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
    """The second request's deadline is 0.75; the timer does not start anew when the replica is free."""
    records = serve([0.0, 0.25], lambda batch_size, uniform: 2.0, batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 0.5]
    records = serve([0.0, 1.0], lambda batch_size, uniform: 2.0, batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 2.5]


def test_a_replica_that_is_free_before_the_deadline_waits_for_it() -> None:
    records = serve([0.0, 1.25], batch=4, wait_s=0.5)
    assert records.started_s.tolist() == [0.5, 1.75]
    records = serve([0.0, 1.25], lambda batch_size, uniform: 0.5, batch=4, wait_s=0.5)
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
    records = serve([0.0, 0.0, 0.0, 4.0], by_uniform, replicas=3, uniforms=[0.3, 0.2, 0.1, 0.1])
    assert records.replica.tolist() == [0, 1, 2, 0]


def test_completions_of_one_instant_dispatch_the_lowest_replica_first() -> None:
    """Replica 1 began before replica 0's second batch, and both complete at 3.0."""
    records = serve([0.0, 0.0, 1.0, 1.5, 1.75], by_uniform, replicas=2, uniforms=[0.1, 0.3, 0.2, 0.1, 0.1])
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
        lambda batch_size, uniform: 1.0 if batch_size < 2 else 4.0,
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
        [0.0, 0.0, 0.5], by_uniform, routing=Routing.ROUND_ROBIN, replicas=2, uniforms=[0.9, 0.1, 0.1]
    )
    assert records.replica.tolist() == [0, 1, 0]
    assert records.started_s.tolist() == [0.0, 0.0, 9.0]


def test_the_service_time_is_drawn_by_the_uniform_of_the_oldest_request() -> None:
    records = serve([0.0, 0.0, 0.0], by_uniform, batch=3, uniforms=[0.2, 0.9, 0.7])
    assert records.finished_s.tolist() == [2.0, 2.0, 2.0]


def test_the_service_time_is_drawn_for_the_size_of_the_batch() -> None:
    records = serve([0.0, 0.0, 0.0], lambda batch_size, uniform: float(batch_size), batch=3)
    assert records.finished_s.tolist() == [3.0, 3.0, 3.0]


def test_overhead_is_added_to_the_response_and_takes_no_capacity() -> None:
    records = serve([0.0, 0.0, 0.0, 4.0])
    task = Task(
        plan=Plan(profile="made-up", replicas=1, batch_size_max=1),
        workload=None,  # type: ignore[arg-type]  # not looked at
        service_times=lambda batch_size, uniform: 1.0,
        request_overhead_s=0.5,
        length=Length(warm_up=0, measured=4, cool_down=0),
        seed=None,  # type: ignore[arg-type]
    )
    sample = reduce(task, records)
    assert sample.response_s.tolist() == [1.5, 2.5, 3.5, 1.5]
    assert sample.wait_s.tolist() == [0.0, 1.0, 2.0, 0.0]
    assert sample.busy_share == 0.75
    assert sample.queue_length_mean == 0.75
    assert sample.in_system_mean == pytest.approx((1.5 + 2.5 + 3.5) / 4.0)


def test_every_request_of_the_draws_is_served_to_the_last_one() -> None:
    records = serve([0.0, 0.0, 0.0], replicas=2, batch=2, wait_s=1.0)
    assert len(records.started_s) == 3
    assert np.isfinite(records.finished_s).all()
