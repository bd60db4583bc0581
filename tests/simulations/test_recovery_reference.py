"""Clients that try again and replicas that fail, in SimPy: rule by rule by hand, laws, and the fleet without them."""

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from cases import LawTimes, coinciding, continuous, fixed
from hypothesis import given, settings
from recovery_schedules import SLOWDOWNS, Case, cases

from capacity.errors import DomainError
from capacity.profile.distribution import ServiceLaw
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Backoff, BudgetKind, Clients, Failure, RetryBudget
from simulations.draws.arrivals import Draws
from simulations.draws.attempts import AttemptDraws, BatchFleet, Outcomes
from simulations.draws.service import ALONE, ServiceTimes
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference import cluster
from simulations.reference.recovery import fleet
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.fleet import Fleet, run
from simulations.reference.recovery.population import Population

ONE_SECOND = fixed(lambda size: 1.0)
NAN = math.nan
BOTH = pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.SHARED_QUEUE])


def follow(
    arrived_s: list[float],
    service_times: ServiceTimes = ONE_SECOND,
    *,
    clients: Clients = Clients(),  # noqa: B008  (has no state)
    protection: Protection = Protection(),  # noqa: B008
    faults: list[Fault] | None = None,
    cold: ColdCache | None = None,
    replicas: int = 1,
    batch: int = 1,
    wait_s: float = 0.0,
    routing: Routing = Routing.ROUND_ROBIN,
    limit: int | None = None,
    backoff: list[float] | None = None,
    service: list[float] | None = None,
    routing_uniform: float = 0.0,
    batching: Batching = Batching.TRITON,
) -> Outcomes:
    """A run of a few requests; their uniforms are the same for all attempts."""
    count, attempts = len(arrived_s), clients.attempts
    plan = BatchPlan(
        profile="made-up",
        replicas=replicas,
        batch_size_max=batch,
        batch_wait_max_s=wait_s,
        routing=routing,
        queue_limit=limit,
        batching=batching,
    )
    draws = AttemptDraws(
        arrived_s=np.array(arrived_s),
        service=np.tile(service or [0.5] * count, (attempts, 1)),
        routing=np.full((attempts, count, 2), routing_uniform),
        backoff=np.tile(backoff or [0.5] * count, (attempts, 1)),
    )
    served = BatchFleet(plan=plan, service_times=service_times, cold=cold)
    return run(served, draws, clients, protection, faults or [])


def at(instant_s: float, action: Action, replica: int = 0, value: float = 0.0) -> Fault:
    return Fault(instant_s=instant_s, replica=replica, action=action, value=value)


def assert_answered(outcomes: Outcomes, instants_s: list[float]) -> None:
    np.testing.assert_array_equal(outcomes.answered_s, instants_s)


def counted(outcomes: Outcomes) -> dict[str, int]:
    """The counts that are not 0."""
    names = ("served", "for_nobody", "rejected", "shed", "crashed", "dropped", "timed_out")
    return {name: count for name in names if (count := getattr(outcomes, name))}


@BOTH
def test_a_reply_at_the_instant_of_the_timeout_is_in_time(routing: Routing) -> None:
    outcomes = follow([0.0, 0.0], clients=Clients(timeout_s=2.0, attempts=2), routing=routing)
    assert_answered(outcomes, [1.0, 2.0])
    assert counted(outcomes) == {"served": 2}


@BOTH
def test_a_timeout_is_tried_again_at_once_and_the_abandoned_attempt_is_still_served(routing: Routing) -> None:
    outcomes = follow([0.0, 0.0], clients=Clients(timeout_s=1.75, attempts=2), routing=routing)
    assert_answered(outcomes, [1.0, 3.0])
    assert outcomes.attempts.tolist() == [1, 2]
    assert outcomes.sent.tolist() == [2, 1]
    assert counted(outcomes) == {"served": 3, "for_nobody": 1, "timed_out": 1}


@BOTH
def test_who_starts_at_the_instant_of_its_timeout_is_too_late(routing: Routing) -> None:
    """At 1 the first is answered and the second starts, times out, and sends its retry behind itself."""
    outcomes = follow([0.0, 0.0], clients=Clients(timeout_s=1.0, attempts=2), routing=routing)
    assert_answered(outcomes, [1.0, NAN])
    assert outcomes.ended_s.tolist() == [1.0, 2.0]
    assert counted(outcomes) == {"served": 3, "for_nobody": 2, "timed_out": 2}


def test_no_attempt_begins_at_the_deadline_and_none_lasts_beyond_it() -> None:
    clients = Clients(timeout_s=1.25, deadline_s=2.0, attempts=3)
    outcomes = follow([0.0], fixed(lambda size: 10.0), clients=clients)
    assert outcomes.ended_s.tolist() == [2.0]
    assert outcomes.attempts.tolist() == [2]
    assert counted(outcomes) == {"served": 2, "for_nobody": 2, "timed_out": 2}


def test_a_retry_that_the_deadline_forbids_takes_nothing_from_the_budget() -> None:
    """The first would be tried again at 1.5, the deadline, and the second at 1.25, with the only token."""
    clients = Clients(
        timeout_s=1.0,
        deadline_s=1.5,
        attempts=2,
        backoff=Backoff(initial_s=1.0, max_s=1.0),
        budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, tokens=1.0),
    )
    outcomes = follow([0.0, 0.0], fixed(lambda size: 9.0), clients=clients, backoff=[0.5, 0.25])
    assert outcomes.attempts.tolist() == [1, 2]
    assert outcomes.ended_s.tolist() == [1.0, 1.5]


def test_backoff_grows_up_to_its_longest() -> None:
    """Sent at 0, 0.5 * 1 later, and 0.5 * 1.5 after that."""
    clients = Clients(attempts=3, backoff=Backoff(initial_s=1.0, max_s=1.5))
    outcomes = follow([0.0], clients=clients, faults=[at(0.0, Action.HIDE)])
    assert outcomes.ended_s.tolist() == [1.25]
    assert outcomes.sent.tolist() == [2, 1]
    assert counted(outcomes) == {"rejected": 3}


def test_only_the_failures_that_a_client_names_are_tried_again() -> None:
    clients = Clients(timeout_s=0.5, attempts=3, retried=frozenset({Failure.REJECTED}))
    outcomes = follow([0.0, 2.0], clients=clients, faults=[at(1.0, Action.HIDE)])
    assert outcomes.attempts.tolist() == [1, 3]


NOBODY_THERE = [at(0.0, Action.HIDE)]


def spend(budget: RetryBudget, arrived_s: list[float], attempts: int = 2) -> list[int]:
    """Attempts of each request where all are rejected."""
    clients = Clients(attempts=attempts, budget=budget)
    return follow(arrived_s, clients=clients, faults=NOBODY_THERE).attempts.tolist()


def test_without_a_budget_all_attempts_are_made() -> None:
    assert spend(RetryBudget(), [0.0, 1.0], attempts=5) == [5, 5]


def test_first_tries_pay_for_retries() -> None:
    """2 - 1, 1.5 - 1, 1 - 1, 0.5, 1 - 1, 0.5, 1 - 1."""
    budget = RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.5, tokens=2.0)
    assert spend(budget, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == [2, 2, 2, 1, 2, 1, 2]


def test_time_pays_for_retries() -> None:
    """1 - 1, 0.25, 0.5, 0.75, 1 - 1, 0.25; later no more than 1 is held."""
    budget = RetryBudget(kind=BudgetKind.FIRST_TRIES, tokens=1.0, tokens_per_s=0.25)
    assert spend(budget, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 90.0, 90.0]) == [2, 1, 1, 1, 2, 1, 2, 1]


def test_successes_pay_for_retries() -> None:
    """At 0.5 the only token is spent; answers at 1 and 2 deposit half of one each."""
    budget = RetryBudget(kind=BudgetKind.SUCCESSES, ratio=0.5, tokens=1.0)
    clients = Clients(attempts=2, budget=budget)
    outcomes = follow([0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5], clients=clients, limit=0)
    assert outcomes.attempts.tolist() == [1, 2, 1, 1, 1, 1, 2]


def test_a_retry_may_cost_more_than_a_token() -> None:
    budget = RetryBudget(kind=BudgetKind.SUCCESSES, cost=14.0, tokens=30.0)
    assert spend(budget, [0.0, 1.0, 2.0]) == [2, 2, 1]


def test_retries_are_a_share_of_what_is_waited_for() -> None:
    """Four wait for 100 s; retries, in backoff, are 0 < 2, 1 < 2.5, 2 < 3, 3 < 3.5, and 4 not < 4."""
    clients = Clients(
        attempts=2,
        backoff=Backoff(initial_s=100.0, max_s=100.0),
        budget=RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.5, at_least=0),
    )
    arrived_s = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    outcomes = follow(arrived_s, fixed(lambda size: 100.0), clients=clients, limit=3)
    assert outcomes.attempts.tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 1]
    assert outcomes.ended_s.tolist() == [100.0, 200.0, 300.0, 400.0, 51.0, 52.0, 53.0, 54.0, 5.0]


def test_a_few_retries_are_always_allowed() -> None:
    clients = Clients(
        attempts=2,
        backoff=Backoff(initial_s=10.0, max_s=10.0),
        budget=RetryBudget(kind=BudgetKind.CONCURRENT, at_least=1),
    )
    outcomes = follow([0.0, 1.0, 6.0], clients=clients, faults=NOBODY_THERE)
    assert outcomes.attempts.tolist() == [2, 1, 2]  # the first one's retry fails at 5


def test_half_of_the_tokens_throttle_retries() -> None:
    """4 - 1 is above 2, and 3 - 1 is not; six successes make 1 again 4."""
    budget = RetryBudget(kind=BudgetKind.THROTTLE, ratio=0.5, tokens=4.0)
    arrived_s = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0]
    faults = [at(0.0, Action.HIDE), at(2.0, Action.JOIN), at(9.0, Action.HIDE)]
    outcomes = follow(arrived_s, clients=Clients(attempts=3, budget=budget), faults=faults)
    assert outcomes.attempts.tolist() == [2, 1, 1, 1, 1, 1, 1, 1, 2]


@BOTH
def test_who_has_less_than_the_margin_left_is_shed(routing: Routing) -> None:
    """The third has just the margin; the fourth has nothing."""
    protection = Protection(shedding=Shedding.LATE, late_margin_s=1.0)
    clients = Clients(timeout_s=3.0)
    outcomes = follow([0.0] * 4, clients=clients, protection=protection, routing=routing)
    assert_answered(outcomes, [1.0, 2.0, 3.0, NAN])
    assert counted(outcomes) == {"served": 3, "shed": 1}


def test_without_a_margin_only_the_expired_are_shed() -> None:
    """The fourth starts as it expires, and is served for nobody."""
    protection = Protection(shedding=Shedding.LATE)
    outcomes = follow([0.0] * 5, clients=Clients(timeout_s=3.0), protection=protection)
    assert_answered(outcomes, [1.0, 2.0, 3.0, NAN, NAN])
    assert counted(outcomes) == {"served": 4, "for_nobody": 1, "shed": 1, "timed_out": 2}


def test_controlled_delay_sheds_long_waits_after_an_interval_without_short_ones() -> None:
    """Target 0.5 s, interval 2 s.

    Intervals begin with the wait of 1 s at 1, of 4 s at 4 (now overloaded: 1 > 0.5), of 0.5 s at 7 (no more: the
    least was 0.5). At 5 the three waits of 5 s are shed and that of 1 s, twice the target, is not.
    """
    protection = Protection(shedding=Shedding.CODEL, codel_target_s=0.5, codel_interval_s=2.0)
    outcomes = follow([0.0] * 8 + [4.0, 5.5, 6.5, 6.5], protection=protection)
    assert_answered(outcomes, [1.0, 2.0, 3.0, 4.0, 5.0, NAN, NAN, NAN, 6.0, 7.0, 8.0, 9.0])
    assert outcomes.ended_s[5:8].tolist() == [5.0, 5.0, 5.0]
    assert counted(outcomes) == {"served": 9, "shed": 3}


def test_a_shed_attempt_is_tried_again_as_a_rejected_one() -> None:
    """Shed at 2 with 0.5 s left, and back at 2 with 2.5 s."""
    protection = Protection(shedding=Shedding.LATE, late_margin_s=1.0)
    clients = Clients(timeout_s=2.5, attempts=2, retried=frozenset({Failure.REJECTED}))
    outcomes = follow([0.0, 0.0, 0.0], clients=clients, protection=protection)
    assert_answered(outcomes, [1.0, 2.0, 3.0])
    assert outcomes.attempts.tolist() == [1, 1, 2]


@BOTH
def test_the_newest_is_served_first(routing: Routing) -> None:
    protection = Protection(shedding=Shedding.LIFO)
    outcomes = follow([0.0, 0.25, 0.5, 0.75], protection=protection, routing=routing)
    assert_answered(outcomes, [1.0, 4.0, 3.0, 2.0])


def test_who_stays_waits_again_where_a_free_worker_begins_the_wait() -> None:
    """TorchServe: the second to fourth overtake the first, whose wait of 2 starts again as the worker is free at 1.5."""
    outcomes = follow(
        [0.0, 0.25, 0.5, 0.5],
        fixed(lambda size: 1.0),
        protection=Protection(shedding=Shedding.LIFO),
        batch=3,
        wait_s=2.0,
        batching=Batching.TORCHSERVE,
    )
    assert_answered(outcomes, [4.5, 1.5, 1.5, 1.5])


# A service time that tests choose by the uniform: ten times as much.
BY_UNIFORM = LawTimes(lambda size: ServiceLaw(probabilities=(0.0, 1.0), durations_s=(0.0, 10.0)))


@pytest.mark.parametrize(("shedding", "ends_s"), [(Shedding.NONE, 3.0), (Shedding.LIFO, 4.0)])
def test_a_batch_takes_the_time_of_the_first_one_taken(shedding: Shedding, ends_s: float) -> None:
    protection = Protection(shedding=shedding)
    outcomes = follow(
        [0.0, 0.25, 0.5], BY_UNIFORM, protection=protection, batch=2, wait_s=0.0, service=[0.1, 0.2, 0.3]
    )
    assert_answered(outcomes, [1.0, ends_s, ends_s])


@BOTH
@pytest.mark.parametrize(
    ("abandoned", "counts"),
    [
        (Abandoned.SERVED, {"served": 3, "for_nobody": 3, "timed_out": 3}),
        (Abandoned.DROPPED, {"served": 1, "for_nobody": 1, "dropped": 2, "timed_out": 3}),
        (Abandoned.STOPPED, {"dropped": 3, "timed_out": 3}),
    ],
)
def test_what_nobody_waits_for(routing: Routing, abandoned: Abandoned, counts: dict[str, int]) -> None:
    outcomes = follow(
        [0.0, 0.0, 0.0],
        fixed(lambda size: 2.0),
        clients=Clients(timeout_s=1.0),
        protection=Protection(abandoned=abandoned),
        routing=routing,
    )
    assert outcomes.ended_s.tolist() == [1.0, 1.0, 1.0]
    assert counted(outcomes) == counts


def test_a_batch_that_was_stopped_makes_room_at_once() -> None:
    outcomes = follow(
        [0.0, 1.5],
        BY_UNIFORM,
        clients=Clients(timeout_s=2.0),
        protection=Protection(abandoned=Abandoned.STOPPED),
        service=[0.9, 0.1],
    )
    assert_answered(outcomes, [NAN, 3.0])


def test_a_batch_goes_on_as_long_as_somebody_waits_for_it() -> None:
    outcomes = follow(
        [0.0, 0.25],
        clients=Clients(timeout_s=1.0),
        protection=Protection(abandoned=Abandoned.STOPPED),
        batch=2,
        wait_s=0.5,
    )
    assert_answered(outcomes, [NAN, 1.25])
    assert counted(outcomes) == {"served": 2, "for_nobody": 1, "timed_out": 1}


@BOTH
def test_a_full_queue_rejects_and_a_free_replica_has_room(routing: Routing) -> None:
    outcomes = follow([0.0, 0.25, 0.5, 1.0], limit=1, routing=routing)
    assert_answered(outcomes, [1.0, 2.0, NAN, 3.0])
    assert counted(follow([0.0] * 3, limit=1, routing=routing)) == {"served": 2, "rejected": 1}


@pytest.mark.parametrize(
    ("routing", "answered_s"),
    [
        (Routing.ROUND_ROBIN, [1.0, 1.0, 3.0, 2.0, 3.5]),
        (Routing.LEAST_OUTSTANDING, [1.0, 1.0, 3.0, 2.0, 3.5]),
        (Routing.RANDOM, [1.0, 1.5, 2.5, 3.5, 3.5]),
    ],
)
def test_who_leaves_ends_its_batch_and_its_queue_is_routed_anew(routing, answered_s) -> None:
    """Of two; at random all go to the first of those that are there, from 0.5 to 2 the other."""
    faults = [at(0.5, Action.LEAVE), at(2.0, Action.JOIN)]
    outcomes = follow([0.0, 0.0, 0.0, 0.0, 2.5], replicas=2, faults=faults, routing=routing)
    assert_answered(outcomes, answered_s)


def test_who_is_routed_anew_may_find_no_room_a_dead_replica_or_none() -> None:
    leave = at(0.5, Action.LEAVE)
    full = follow([0.0] * 4, replicas=2, limit=1, faults=[leave])
    assert_answered(full, [1.0, 1.0, NAN, 2.0])
    assert counted(full) == {"served": 3, "rejected": 1}
    dead = follow([0.0] * 4, replicas=2, faults=[at(0.25, Action.CRASH, 1), leave])
    assert counted(dead) == {"served": 1, "crashed": 3}
    none = follow([0.0] * 2, faults=[leave])
    assert counted(none) == {"served": 1, "rejected": 1}


def test_a_shared_queue_waits_for_whoever_is_there() -> None:
    faults = [at(0.5, Action.LEAVE), at(0.5, Action.LEAVE, 1), at(3.0, Action.JOIN, 1)]
    outcomes = follow([0.0] * 3, replicas=2, routing=Routing.SHARED_QUEUE, faults=faults)
    assert_answered(outcomes, [1.0, 1.0, 4.0])


def test_those_who_stay_behind_a_batch_get_a_timer_of_their_own() -> None:
    """Two come back together and find three: a batch of two, and one who waits until 3 s after it came."""
    faults = [at(0.0, Action.PAUSE, 0, 1.0), at(0.0, Action.PAUSE, 1, 1.0)]
    faults += [at(1.0, Action.RESUME, 0), at(1.0, Action.RESUME, 1)]
    outcomes = follow(
        [0.0, 0.0, 0.5],
        fixed(lambda size: 5.0),
        replicas=2,
        batch=2,
        wait_s=3.0,
        routing=Routing.SHARED_QUEUE,
        faults=faults,
    )
    assert_answered(outcomes, [6.0, 6.0, 8.5])


def test_who_becomes_first_in_line_may_be_due_earlier_than_who_was() -> None:
    """At the third replica the retry of the first is due at 6, and behind it the second, sent at 1, at 5.

    At 4.5 the first request's time is over, and its retry leaves.
    """
    faults = [at(2.0, Action.CRASH), at(2.0, Action.HIDE), at(2.5, Action.LEAVE, 1)]
    outcomes = follow(
        [0.0, 1.0],
        fixed(lambda size: 0.25),
        clients=Clients(attempts=2, deadline_s=4.5),
        protection=Protection(abandoned=Abandoned.STOPPED),
        replicas=3,
        batch=3,
        wait_s=4.0,
        faults=faults,
    )
    assert_answered(outcomes, [NAN, 5.25])
    assert counted(outcomes) == {"served": 1, "crashed": 1, "dropped": 1, "timed_out": 1}


def test_a_crash_loses_batch_and_queue_and_fails_at_once_until_it_is_noticed() -> None:
    """At 0.5 the first and the third are lost, and go to the other and to the dead one."""
    faults = [at(0.5, Action.CRASH), at(1.0, Action.HIDE), at(5.0, Action.RESTART)]
    outcomes = follow([0.0, 0.0, 0.0, 1.5, 1.75, 5.0], clients=Clients(attempts=2), replicas=2, faults=faults)
    assert_answered(outcomes, [2.0, 1.0, NAN, 3.0, 4.0, 6.0])
    assert outcomes.ended_s[2] == 0.5
    assert counted(outcomes) == {"served": 5, "crashed": 3}


@pytest.mark.parametrize(
    ("routing", "answered_s"),
    [
        (Routing.ROUND_ROBIN, [NAN, 3.0, 6.0, 9.0, 12.0, 11.0]),
        (Routing.SHARED_QUEUE, [NAN, 3.0, 6.0, 9.0, 11.0, 12.0]),
    ],
)
def test_who_is_reclaimed_serves_its_batch_as_long_as_the_notice_lasts(routing, answered_s) -> None:
    """Services of 3 s at two replicas: at 0.5 the first has notice, at 2 it dies, at 8 it is replaced."""
    faults = [at(0.5, Action.LEAVE), at(2.0, Action.CRASH), at(8.0, Action.RESTART)]
    outcomes = follow(
        [0.0, 0.0, 0.25, 0.75, 1.0, 8.0],
        fixed(lambda size: 3.0),
        replicas=2,
        routing=routing,
        faults=faults,
    )
    assert_answered(outcomes, answered_s)
    assert counted(outcomes) == {"served": 5, "crashed": 1}


def test_a_crash_in_front_of_a_shared_queue_loses_the_batch_only() -> None:
    faults = [at(0.5, Action.CRASH)]
    outcomes = follow([0.0] * 3, replicas=2, routing=Routing.SHARED_QUEUE, faults=faults)
    assert_answered(outcomes, [NAN, 1.0, 2.0])
    assert counted(outcomes) == {"served": 2, "crashed": 1}


def test_a_replica_that_hangs_is_waited_for_until_the_timeout() -> None:
    hang = [at(0.5, Action.HANG)]
    patient = follow([0.0, 0.75], faults=hang)
    assert patient.ended_s.tolist() == [math.inf, math.inf]
    assert counted(patient) == {}
    outcomes = follow([0.0, 0.75], clients=Clients(timeout_s=2.0), faults=hang)
    assert outcomes.ended_s.tolist() == [2.0, 2.75]
    assert counted(outcomes) == {"dropped": 2, "timed_out": 2}


@pytest.mark.parametrize("abandoned", Abandoned)
def test_a_batch_that_hangs_does_not_end_but_by_a_restart(abandoned: Abandoned) -> None:
    faults = [at(0.5, Action.HANG), at(1.0, Action.JOIN), at(4.0, Action.RESTART)]
    outcomes = follow(
        [0.0, 3.5, 4.5],
        clients=Clients(timeout_s=2.0),
        protection=Protection(abandoned=abandoned),
        faults=faults,
    )
    assert_answered(outcomes, [NAN, NAN, 5.5])
    assert counted(outcomes) == {"served": 1, "crashed": 2, "timed_out": 1}


def test_batches_that_start_later_are_slow() -> None:
    faults = [at(0.5, Action.SLOW, value=3.0), at(2.0, Action.SLOW, value=1.0)]
    assert_answered(follow([0.0, 0.25, 0.25], faults=faults), [1.0, 4.0, 5.0])
    slow = [at(0.0, Action.SLOW, value=2.0)]
    assert_answered(follow([0.0, 0.25], fixed(lambda size: 1.0, 0.5), faults=slow), [3.0, 5.0])


@BOTH
@pytest.mark.parametrize(
    ("gone", "back"),
    [(Action.LEAVE, Action.JOIN), (Action.CRASH, Action.RESTART), (Action.HANG, Action.RESTART)],
)
def test_the_first_batches_of_who_comes_back_are_slow(routing: Routing, gone: Action, back: Action) -> None:
    """Two of them, each time, whatever is in them; at 9 and 10 it is as fast as before, and from 12 on cold again."""
    faults = [at(1.5, gone), at(2.0, back), at(11.5, gone), at(12.0, back)]
    outcomes = follow(
        [0.0, 2.0, 2.0, 2.0, 10.0, 12.0],
        routing=routing,
        faults=faults,
        cold=ColdCache(batches=2, factor=3.0),
    )
    assert_answered(outcomes, [1.0, 5.0, 8.0, 9.0, 11.0, 15.0])


def test_a_cold_batch_of_a_slow_replica_is_slow_twice_and_a_pause_chills_nobody() -> None:
    faults = [at(0.0, Action.SLOW, value=2.0), at(1.0, Action.JOIN)]
    cold = ColdCache(batches=1, factor=3.0)
    assert_answered(follow([1.0, 1.0], faults=faults, cold=cold), [7.0, 9.0])
    faults = [at(0.25, Action.PAUSE, value=1.0), at(1.25, Action.RESUME)]
    assert_answered(follow([1.5], faults=faults, cold=cold), [2.5])


def test_a_batch_of_nobody_warms_nothing() -> None:
    """Both that wait have expired when it is back, and the third, whose batch is the first, ends late at 3.5."""
    faults = [at(0.0, Action.LEAVE), at(1.75, Action.JOIN)]
    outcomes = follow(
        [0.25, 0.5, 2.0],
        clients=Clients(timeout_s=1.0),
        protection=Protection(abandoned=Abandoned.DROPPED),
        routing=Routing.SHARED_QUEUE,
        faults=faults,
        cold=ColdCache(batches=1, factor=1.5),
    )
    assert_answered(outcomes, [NAN, NAN, NAN])
    assert counted(outcomes) == {"served": 1, "for_nobody": 1, "dropped": 2, "timed_out": 3}


@BOTH
@pytest.mark.parametrize(("resumed_s", "second_s"), [(2.5, 4.0), (3.5, 4.5)])
def test_a_pause_delays_the_batch_and_the_next(routing: Routing, resumed_s: float, second_s: float) -> None:
    faults = [at(0.5, Action.PAUSE, value=2.0), at(resumed_s, Action.RESUME)]
    assert_answered(follow([0.0, 0.0], routing=routing, faults=faults), [3.0, second_s])


def test_a_pause_at_the_end_of_a_batch_comes_before_it() -> None:
    faults = [at(1.0, Action.PAUSE, value=2.0), at(3.0, Action.RESUME)]
    assert_answered(follow([0.0], faults=faults), [3.0])


EJECTS = Protection(ejection=Ejecting.ENVOY)


def test_five_failures_in_a_row_eject_a_replica_for_half_a_minute() -> None:
    """Dead at first, it fails at 0, 2, 4, 6 and 8; then it works at half the speed, and is back by the sweep at 40."""
    faults = [at(0.0, Action.CRASH), at(9.0, Action.JOIN), at(9.0, Action.SLOW, value=2.0)]
    arrived_s = [float(second) for second in range(44)]
    outcomes = follow(arrived_s, fixed(lambda size: 0.25), replicas=2, faults=faults, protection=EJECTS)
    responses_s = (outcomes.answered_s - outcomes.arrived_s).tolist()
    assert np.isnan(responses_s[0:9:2]).all()
    assert responses_s[9:] == [0.25] * 31 + [0.5, 0.25, 0.5, 0.25]


def test_a_success_ends_the_row() -> None:
    faults = [at(0.0, Action.CRASH), at(4.0, Action.JOIN), at(5.0, Action.CRASH)]
    arrived_s = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    outcomes = follow(arrived_s, fixed(lambda size: 0.5), faults=faults, protection=EJECTS)
    assert counted(outcomes) == {"served": 1, "crashed": 9, "rejected": 1}  # those of 0..3, 5..9; and 10


def test_one_of_few_is_ejected_at_most() -> None:
    dead = [at(0.0, Action.CRASH), at(0.0, Action.CRASH, 1)]
    arrived_s = [float(second) for second in range(20)]
    assert counted(follow(arrived_s, replicas=2, faults=dead, protection=EJECTS)) == {"crashed": 20}
    alone = follow(arrived_s, faults=dead[:1], protection=EJECTS)
    assert counted(alone) == {"crashed": 5, "rejected": 15}


@pytest.mark.parametrize(("seconds", "crashed"), [(100, 10), (115, 15)])
def test_who_is_ejected_again_is_out_for_longer(seconds: int, crashed: int) -> None:
    """Out at 4 until the sweep at 40, and at 44 until the first one at 44 + 60 or later."""
    arrived_s = [float(second) for second in range(seconds)]
    outcomes = follow(arrived_s, faults=[at(0.0, Action.CRASH)], protection=EJECTS)
    assert counted(outcomes) == {"crashed": crashed, "rejected": seconds - crashed}


def test_an_ejection_is_forgiven_by_a_later_sweep() -> None:
    """Back at 40, forgiven at 50, out again at 59 until the sweep at 90."""
    faults = [at(0.0, Action.CRASH), at(9.0, Action.JOIN), at(55.0, Action.CRASH)]
    arrived_s = [float(second) for second in range(100)]
    outcomes = follow(arrived_s, fixed(lambda size: 0.25), faults=faults, protection=EJECTS)
    assert counted(outcomes) == {"served": 15, "crashed": 15, "rejected": 70}


def test_who_comes_back_has_not_failed_yet() -> None:
    """Ten time out at 1, five of them after the ejection; one more at 41 ejects nobody."""
    faults = [at(0.0, Action.HANG), at(20.0, Action.RESTART), at(41.0, Action.CRASH), at(42.0, Action.JOIN)]
    outcomes = follow(
        [0.0] * 10 + [41.25, 43.0],
        fixed(lambda size: 0.5),
        clients=Clients(timeout_s=1.0),
        faults=faults,
        protection=EJECTS,
    )
    assert outcomes.answered_s[-1] == 43.5
    assert counted(outcomes) == {"served": 1, "crashed": 11, "timed_out": 10}


def test_who_has_left_is_not_to_blame_for_those_that_find_no_replica() -> None:
    faults = [at(0.5, Action.LEAVE), at(2.0, Action.JOIN)]
    outcomes = follow([0.0] * 6 + [3.0], faults=faults, protection=EJECTS)
    assert counted(outcomes) == {"served": 2, "rejected": 5}


NGINX = Protection(ejection=Ejecting.NGINX)


def test_nginx_leaves_out_who_has_failed_five_times_but_for_one_trial_every_other_second() -> None:
    """Dead from 0 on, it fails at 0, 0.5, 1, 1.5 and 2, then on trial at 4, 6 and 8; alive at 9, it is tried at 10."""
    faults = [at(0.0, Action.CRASH), at(9.0, Action.JOIN)]
    arrived_s = [0.5 * number for number in range(26)]
    outcomes = follow(arrived_s, fixed(lambda size: 0.25), faults=faults, protection=NGINX)
    failed_s = outcomes.arrived_s[np.isnan(outcomes.answered_s)]
    assert failed_s.tolist() == [arrived for arrived in arrived_s if arrived < 10.0]
    assert counted(outcomes) == {"served": 6, "crashed": 8, "rejected": 12}


def test_nginx_has_no_mercy_with_the_last_replica() -> None:
    dead = [at(0.0, Action.CRASH), at(0.0, Action.CRASH, 1)]
    arrived_s = [0.125 * number for number in range(16)]
    assert counted(follow(arrived_s, replicas=2, faults=dead, protection=NGINX)) == {
        "crashed": 10,
        "rejected": 6,
    }


def test_for_nginx_a_success_forgives_only_if_it_is_tried_later_than_it_failed() -> None:
    """Four fail at 0; an answer at 1.5 forgives nothing, so that the crash at 1.75 is the fifth. One at 2.25 would."""
    faults = [at(0.0, Action.CRASH), at(0.5, Action.JOIN), at(1.625, Action.CRASH), at(1.8, Action.JOIN)]
    first = [0.0, 0.125, 0.25, 0.375]
    soon = follow([*first, 1.25, 1.75, 2.0], fixed(lambda size: 0.25), faults=faults, protection=NGINX)
    assert counted(soon) == {"served": 1, "crashed": 5, "rejected": 1}
    later = [at(0.0, Action.CRASH), at(0.5, Action.JOIN), at(2.625, Action.CRASH), at(2.8, Action.JOIN)]
    late = follow([*first, 2.25, 2.75, 3.0], fixed(lambda size: 0.25), faults=later, protection=NGINX)
    assert counted(late) == {"served": 2, "crashed": 5}


def test_for_nginx_a_refusal_is_an_answer() -> None:
    refused = follow([*[0.0] * 12, 1.5], protection=NGINX, limit=1)
    assert counted(refused) == {"served": 3, "rejected": 10}


HEDGES = Clients(attempts=2, hedge_s=0.5)
SLOW_FIRST = [at(0.0, Action.SLOW, value=4.0)]


@pytest.mark.parametrize(
    "routing", [Routing.ROUND_ROBIN, Routing.RANDOM, Routing.POWER_OF_TWO, Routing.SHARED_QUEUE]
)
def test_the_first_reply_wins(routing: Routing) -> None:
    """The first replica takes 4 s; after 0.5 s the other one is asked, at random too."""
    outcomes = follow([0.0], clients=HEDGES, replicas=2, faults=SLOW_FIRST, routing=routing)
    assert_answered(outcomes, [1.5])
    assert outcomes.attempts.tolist() == [2]
    assert counted(outcomes) == {"served": 2, "for_nobody": 1}


def test_a_hedge_goes_to_the_same_replica_if_there_is_no_other() -> None:
    outcomes = follow([0.0], clients=HEDGES)
    assert_answered(outcomes, [1.0])
    assert counted(outcomes) == {"served": 2, "for_nobody": 1}


def test_the_attempt_that_lost_is_stopped_if_clients_say_so() -> None:
    """At 2 the first replica is free again, and 4 s are as long as ever."""
    outcomes = follow(
        [0.0, 2.0],
        clients=HEDGES,
        replicas=2,
        faults=[*SLOW_FIRST, at(1.75, Action.SLOW, value=0.5)],
        protection=Protection(abandoned=Abandoned.STOPPED),
    )
    assert_answered(outcomes, [1.5, 2.5])
    assert counted(outcomes) == {"served": 2, "dropped": 1}


def test_the_attempt_that_lost_leaves_its_queue() -> None:
    """Both copies of the second wait: one behind 4 s of work, one behind 1 s."""
    protection = Protection(abandoned=Abandoned.STOPPED)
    clients = Clients(attempts=2, hedge_s=0.25)
    outcomes = follow(
        [0.0, 0.0, 0.125], clients=clients, replicas=2, faults=SLOW_FIRST, protection=protection
    )
    assert outcomes.sent.tolist() == [6]
    assert outcomes.served + outcomes.dropped == 6
    assert outcomes.for_nobody == 0


def test_no_hedge_beside_a_reply_at_that_instant_or_without_a_token() -> None:
    assert follow([0.0], fixed(lambda size: 0.5), clients=HEDGES, replicas=2).attempts.tolist() == [1]
    poor = replace(HEDGES, budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, tokens=0.0))
    assert follow([0.0], clients=poor, replicas=2).attempts.tolist() == [1]


def test_an_attempt_that_was_used_as_a_retry_is_not_sent_as_a_hedge() -> None:
    """Refused by the dead replica, the request is sent to the other at once, where it takes 1 s."""
    outcomes = follow([0.0], clients=HEDGES, replicas=2, faults=[at(0.0, Action.CRASH)])
    assert_answered(outcomes, [1.0])
    assert outcomes.attempts.tolist() == [2]


def test_a_retry_is_not_sent_once_another_attempt_was_answered_at_that_instant() -> None:
    """At 0.75 the first attempt is lost in a crash, a third is scheduled, and the second is answered."""
    faults = [*SLOW_FIRST, at(0.75, Action.CRASH)]
    clients = replace(HEDGES, attempts=3)
    outcomes = follow([0.0], fixed(lambda size: 0.25), clients=clients, replicas=2, faults=faults)
    assert_answered(outcomes, [0.75])
    assert outcomes.sent.tolist() == [2]
    assert counted(outcomes) == {"served": 1, "crashed": 1}


class WatchedFleet(Fleet):
    """A fleet whose laws are checked after each event."""

    def step(self) -> None:
        super().step()
        population = self._population
        awaited, budget = population._awaited, population._budget
        assert 0 <= awaited.retries <= awaited.attempts
        assert 0.0 <= budget.tokens <= budget.budget.tokens
        assert all(server.outstanding >= 0 for server in self._servers)


class WatchedPopulation(Population):
    """Clients who take no reply that comes too late."""

    def answer(self, attempt: Attempt) -> None:
        assert self._clock.now <= attempt.expires_s
        assert not attempt.request.is_decided
        super().answer(attempt)
        assert not attempt.request.live


def watched(case: Case) -> Outcomes:
    with patch.object(fleet, "Fleet", WatchedFleet), patch.object(fleet, "Population", WatchedPopulation):
        return run(*case)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(cases())
def test_every_attempt_is_accounted_for(case: Case) -> None:
    outcomes = watched(case)
    gone = outcomes.served + outcomes.rejected + outcomes.shed + outcomes.crashed + outcomes.dropped
    stuck = int(outcomes.sent.sum()) - gone
    undecided = int((outcomes.ended_s == math.inf).sum())
    assert stuck >= undecided
    assert stuck == 0 or undecided > 0
    assert 0 <= outcomes.for_nobody <= outcomes.served
    assert outcomes.sent.sum() >= outcomes.attempts.sum() >= len(outcomes.arrived_s)
    assert (outcomes.attempts <= case.clients.attempts).all()


@settings(derandomize=True, deadline=None, max_examples=50)
@given(cases())
def test_answers_come_within_the_deadline_and_end_their_requests(case: Case) -> None:
    outcomes = watched(case)
    answered = ~np.isnan(outcomes.answered_s)
    assert outcomes.answered_s[answered].tolist() == outcomes.ended_s[answered].tolist()
    assert (outcomes.ended_s >= outcomes.arrived_s).all()
    assert outcomes.served - outcomes.for_nobody == answered.sum()
    if case.clients.deadline_s is not None:
        assert (outcomes.ended_s <= outcomes.arrived_s + case.clients.deadline_s).all()
    if case.clients.timeout_s is not None:
        assert np.isfinite(outcomes.ended_s).all()


@settings(derandomize=True, deadline=None, max_examples=50)
@given(cases())
def test_the_same_input_gives_the_same_outcomes(case: Case) -> None:
    first, second = run(*case), run(*case)
    for name in Outcomes.__slots__:
        assert np.asarray(getattr(first, name)).tobytes() == np.asarray(getattr(second, name)).tobytes()


def assert_as_the_cluster(
    plan: BatchPlan,
    service_times: ServiceTimes,
    draws: Draws,
    clients: Clients,
    slowdowns: tuple[float, ...] = ALONE,
) -> None:
    """Without trouble, and with patient clients, the loop serves requests as the steady loops do, by any batching rule."""
    records = cluster.run(plan, service_times, draws, slowdowns)
    count = len(draws.arrived_s)
    attempts = AttemptDraws(
        arrived_s=draws.arrived_s,
        service=np.tile(draws.service, (clients.attempts, 1)),
        routing=np.tile(draws.routing.reshape(1, count, 2), (clients.attempts, 1, 1)),
        backoff=np.zeros((clients.attempts, count)),
    )
    served = BatchFleet(plan=plan, service_times=service_times, slowdowns=slowdowns)
    lost = int(records.is_lost.sum())
    for engine in (run, run_kernel):
        outcomes = engine(served, attempts, clients, Protection(), [])
        np.testing.assert_array_equal(outcomes.answered_s, records.finished_s)
        assert counted(outcomes) == {
            name: n for name, n in (("served", count - lost), ("rejected", lost)) if n
        }


@settings(derandomize=True, deadline=None, max_examples=120)
@given(coinciding(), SLOWDOWNS)
def test_agrees_with_the_cluster_where_instants_coincide(
    case: tuple[BatchPlan, ServiceTimes, Draws], slowdowns: tuple[float, ...]
) -> None:
    assert_as_the_cluster(*case, Clients(), slowdowns)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(continuous(), SLOWDOWNS)
def test_agrees_with_the_cluster_on_continuous_time(
    case: tuple[BatchPlan, ServiceTimes, Draws], slowdowns: tuple[float, ...]
) -> None:
    plan, service_times, draws = case
    assert_as_the_cluster(
        replace(plan, queue_limit=None), service_times, draws, Clients(attempts=3), slowdowns
    )


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
def test_agrees_with_the_cluster_under_every_routing(routing: Routing) -> None:
    generator = np.random.default_rng(7)
    draws = Draws(
        arrived_s=np.cumsum(generator.integers(0, 3, 300)) * 0.25,
        service=generator.random(300),
        routing=generator.random(600),
    )
    for wait_s, limit in ((0.0, None), (0.5, None), (0.5, 2)):
        plan = BatchPlan(
            profile="made-up",
            replicas=3,
            batch_size_max=3,
            batch_wait_max_s=wait_s,
            routing=routing,
            queue_limit=limit,
        )
        assert_as_the_cluster(plan, fixed(lambda size: 0.5 + 0.75 * size, 0.25), draws, Clients())


def test_what_the_model_does_not_know_is_refused() -> None:
    draws = AttemptDraws(
        arrived_s=np.zeros(1), service=np.zeros((1, 1)), routing=np.zeros((1, 1, 2)), backoff=np.zeros((1, 1))
    )
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=1)
    known = BatchFleet(plan=plan, service_times=ONE_SECOND)
    collected = replace(known, plan=replace(plan, batching=Batching.RAY_SERVE))
    with pytest.raises(DomainError, match="ray-serve batching settles who is in a batch as requests arrive"):
        run(collected, draws, Clients(), Protection(shedding=Shedding.LIFO), [])
    with pytest.raises(DomainError, match="2 attempts need as many rows of draws"):
        run(known, draws, Clients(attempts=2), Protection(), [])
    with pytest.raises(DomainError, match="one of 1 replicas"):
        run(known, draws, Clients(), Protection(), [at(0.0, Action.CRASH, 1)])
