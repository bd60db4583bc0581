"""The compiled engine of recovery against the readable one: the same bytes, whatever happens at one instant."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cases import fixed
from engine_schedules import engine_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recovery_schedules import Case, assert_alike, cases

from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Ejecting, Protection, Shedding
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import BudgetKind, Clients, RetryBudget
from simulations.draws.attempts import AttemptDraws, BatchFleet, Outcomes
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.draws.tokens import TokenDraws
from simulations.draws.watching import Sight
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference


def assert_same(case: Case) -> None:
    found, expected = run_kernel(*case), run_reference(*case)
    assert_alike(found, expected, has_faults=bool(case.faults))


def one_by_one(times: ServiceTimes, replicas: int = 1, cold: ColdCache | None = None) -> BatchFleet:
    """Replicas that serve one request at a time."""
    plan = BatchPlan(profile="made-up", replicas=replicas, batch_size_max=1)
    return BatchFleet(plan=plan, service_times=times, cold=cold)


def test_the_kernel_sheds_who_has_less_than_the_margin_left() -> None:
    """Of four at once the third has just the margin when its turn comes, and the fourth has nothing."""
    draws = AttemptDraws(
        arrived_s=np.zeros(4),
        service=np.full((1, 4), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    outcomes = run_kernel(
        one_by_one(fixed(lambda size: 1.0)),
        draws,
        Clients(timeout_s=3.0),
        Protection(shedding=Shedding.LATE, late_margin_s=1.0),
        [],
    )
    np.testing.assert_array_equal(outcomes.answered_s, [1.0, 2.0, 3.0, np.nan])
    assert (outcomes.served, outcomes.shed) == (3, 1)


def test_the_kernel_is_slow_at_first_when_a_replica_has_come_back() -> None:
    """Two cold batches of three times a second from 2 on; the third is as fast as before."""
    draws = AttemptDraws(
        arrived_s=np.array([0.0, 2.0, 2.0, 2.0]),
        service=np.full((1, 4), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    outcomes = run_kernel(
        one_by_one(fixed(lambda size: 1.0), cold=ColdCache(batches=2, factor=3.0)),
        draws,
        Clients(),
        Protection(),
        [
            Fault(instant_s=1.5, replica=0, action=Action.CRASH),
            Fault(instant_s=2.0, replica=0, action=Action.RESTART),
        ],
    )
    np.testing.assert_array_equal(outcomes.answered_s, [1.0, 5.0, 8.0, 9.0])


def first_of(draws: AttemptDraws, count: int) -> AttemptDraws:
    """As arrays of their own, like those of a simulation: the kernel would be compiled again for parts."""
    return AttemptDraws(
        arrived_s=draws.arrived_s[:count],
        service=draws.service[:, :count].copy(),
        routing=draws.routing[:, :count].copy(),
        backoff=draws.backoff[:, :count].copy(),
        scale=None if draws.scale is None else draws.scale[:count],
        lengths=None if draws.lengths is None else first_lengths(draws.lengths, count),
    )


def first_lengths(lengths: TokenDraws, count: int) -> TokenDraws:
    return replace(
        lengths,
        arrived_s=lengths.arrived_s[:count],
        input_tokens=lengths.input_tokens[:count],
        output_tokens=lengths.output_tokens[:count],
        cached_tokens=lengths.cached_tokens[:count],
        routing=lengths.routing[: 2 * count],
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases() | engine_cases(), st.floats(0.0, 1.0))
def test_a_run_that_takes_the_rest_later_is_the_same(case: Case, share: float) -> None:
    """Wherever it is cut, also between requests that come at the same instant."""
    count = max(1, round(share * len(case.draws.arrived_s)))
    begun = case._replace(draws=first_of(case.draws, count))
    found, expected = run_kernel(*begun, rest=lambda: case.draws), run_kernel(*case)
    assert_alike(found, expected, has_faults=bool(case.faults))


def test_a_run_that_is_given_up_never_asks_for_the_rest() -> None:
    draws = AttemptDraws(
        arrived_s=np.arange(200.0),
        service=np.full((1, 200), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )

    def ask() -> AttemptDraws:
        raise AssertionError("it was given up before")

    outcomes = run_kernel(
        one_by_one(fixed(lambda size: 1e3)),
        first_of(draws, 100),
        Clients(),
        Protection(),
        [],
        is_hopeless=lambda now_s, waiting: now_s >= 50.0,
        rest=ask,
    )
    assert (outcomes.stopped_s, len(outcomes.answered_s)) == (50.0, 100)
    assert outcomes.attempts.sum() == 51  # from 0 to 50 s


@pytest.mark.parametrize("deadline_s", [None, 0.45])
def test_many_timeouts_at_once_are_those_of_the_reference(deadline_s: float | None) -> None:
    """First few, then more than there is memory for at first; with a deadline retries time out before first tries."""
    generator = np.random.default_rng(5)
    arrived_s = np.cumsum(np.concatenate([generator.random(500) / 50.0, generator.random(4_000) / 4_000.0]))
    draws = AttemptDraws(
        arrived_s=arrived_s,
        service=generator.random((3, 4_500)),
        routing=np.zeros((3, 4_500, 2)),
        backoff=np.zeros((3, 4_500)),
    )
    clients = Clients(timeout_s=0.3, deadline_s=deadline_s, attempts=3)
    assert_same(Case(one_by_one(ExponentialTimes(0.004), replicas=2), draws, clients, Protection(), []))


def test_a_budget_of_concurrent_retries_forgets_those_that_a_reply_makes_needless() -> None:
    """Two of three attempts crash at the instant at which the third is answered: their retries are never sent."""
    draws = AttemptDraws(
        arrived_s=np.array([0.0, 10.0]),
        service=np.full((6, 2), 0.5),
        routing=np.zeros((6, 2, 2)),
        backoff=np.zeros((0, 0)),
    )
    clients = Clients(
        attempts=6, hedge_s=1.0, budget=RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.01, at_least=2)
    )
    faults = [
        Fault(instant_s=instant_s, replica=replica, action=action)
        for instant_s, action in ((3.0, Action.CRASH), (5.0, Action.RESTART))
        for replica in (1, 2)
    ]
    case = Case(one_by_one(fixed(lambda size: 3.0), replicas=3), draws, clients, Protection(), faults)
    np.testing.assert_array_equal(run_kernel(*case).attempts, [3, 3])  # the second has both hedges again
    assert_same(case)


def test_the_kernel_tries_who_has_failed_now_and_then_as_nginx_does() -> None:
    """One that hangs: those of 0 to 2 time out, the last at 3; then one at a time is tried, at 5 and at 8."""
    draws = AttemptDraws(
        arrived_s=0.25 * np.arange(41),
        service=np.full((1, 41), 0.5),
        routing=np.zeros((1, 41, 2)),
        backoff=np.zeros((0, 0)),
    )
    faults = [Fault(instant_s=0.0, replica=0, action=Action.HANG)]
    protection = Protection(ejection=Ejecting.NGINX)
    case = Case(one_by_one(fixed(lambda size: 0.25)), draws, Clients(timeout_s=1.0), protection, faults)
    found = run_kernel(*case)
    assert (found.timed_out, found.rejected) == (11, 30)
    assert_same(case)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes(case: Case) -> None:
    assert_same(case)


@pytest.mark.long
@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes_on_many_schedules(case: Case) -> None:
    assert_same(case)


class Meddler:
    """Looks at fixed instants, notes what it sees, and starts or ends replicas by it; at last it may end the run."""

    def __init__(self, instants_s: list[float], replicas: int, seed: int, *, ends: bool) -> None:
        self.seen: list[Sight] = []
        self._instants_s, self._replicas, self._ends = instants_s, replicas, ends
        self._seed = seed

    @property
    def next_s(self) -> float:
        return self._instants_s[len(self.seen)] if len(self.seen) < len(self._instants_s) else math.inf

    def look(self, sight: Sight) -> list[Fault] | None:
        self.seen.append(sight)
        if self._ends and self.next_s == math.inf:
            return None
        mixed = self._seed + 7 * int(sight.waiting.sum()) + 3 * int(sight.serving.sum()) + len(self.seen)
        generator = np.random.default_rng(mixed + int(4.0 * float(sight.busy_s.sum())))
        actions = (Action.LEAVE, Action.JOIN, Action.JOIN, Action.RESTART, Action.CRASH)
        return [
            Fault(
                instant_s=sight.now_s + late_s,
                replica=int(generator.integers(self._replicas)),
                action=actions[generator.integers(len(actions))],
            )
            for late_s in sorted(generator.choice([0.0, 0.25, 1.0], generator.integers(0, 4)))
        ]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cases() | engine_cases(),
    st.lists(st.integers(0, 60), max_size=12, unique=True),
    st.sampled_from([0.25, 0.25, 0.1, 0.3]),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_both_engines_show_a_watcher_the_same_and_do_what_it_says(case, places, step_s, seed, ends) -> None:
    """Looks at instants at which other things happen, and long after everything is over."""
    instants_s = [step_s * place for place in sorted(places)]
    watchers = [Meddler(instants_s, case.fleet.replicas, seed, ends=ends) for _ in range(2)]
    found, expected = run_kernel(*case, watcher=watchers[0]), run_reference(*case, watcher=watchers[1])
    for here, there in zip(*(watcher.seen for watcher in watchers), strict=True):
        for one, other in zip(here, there, strict=True):
            np.testing.assert_array_equal(one, other)
    assert_alike(found, expected, has_faults=True)  # those of the watcher


@pytest.mark.parametrize("run", [run_kernel, run_reference])
def test_a_first_try_that_is_moved_may_stand_beside_its_retry(run: Callable[..., Outcomes]) -> None:
    """Only clients that hedge keep apart; the turn decides where the queue of a replica that leaves goes.

    At 1.45 s it holds the abandoned 5th request, whose retry is at replica 0, a retry and the 6th, and it is
    the turn of replica 0: they go to 0, 2 and 0.
    """
    arrived_s = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 1.42, 1.43])
    uniforms = np.full((2, len(arrived_s)), 0.5)
    routing = np.full((*uniforms.shape, 2), 0.5)
    draws = AttemptDraws(arrived_s=arrived_s, service=uniforms, routing=routing, backoff=uniforms)
    watcher = Meddler([1.46], 3, 0, ends=True)
    run(
        one_by_one(fixed(lambda size: 10.0), replicas=3),
        draws,
        Clients(timeout_s=1.0, attempts=2),
        Protection(),
        [Fault(instant_s=1.45, replica=1, action=Action.LEAVE)],
        watcher=watcher,
    )
    assert watcher.seen[0].waiting.tolist() == [5, 0, 4]
