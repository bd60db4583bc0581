"""The compiled engine of recovery against the readable one: the same bytes, whatever happens at one instant."""

from dataclasses import fields

import numpy as np
import pytest
from cases import fixed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recovery_schedules import Case, cases

from capacity.question.plan import Plan
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Protection, Shedding
from simulations.draws.attempts import AttemptDraws
from simulations.draws.service import ExponentialTimes
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference


def assert_same(case: Case) -> None:
    found, expected = run_kernel(*case), run_reference(*case)
    for field in fields(expected):
        here, there = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(here, there, err_msg=field.name)


def test_the_kernel_sheds_who_has_less_than_the_margin_left() -> None:
    """Of four at once the third has just the margin when its turn comes, and the fourth has nothing."""
    draws = AttemptDraws(
        arrived_s=np.zeros(4),
        service=np.full((1, 4), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    outcomes = run_kernel(
        Plan(profile="made-up", replicas=1, batch_size_max=1),
        fixed(lambda size: 1.0),
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
        Plan(profile="made-up", replicas=1, batch_size_max=1),
        fixed(lambda size: 1.0),
        draws,
        Clients(),
        Protection(),
        [
            Fault(instant_s=1.5, replica=0, action=Action.CRASH),
            Fault(instant_s=2.0, replica=0, action=Action.RESTART),
        ],
        ColdCache(batches=2, factor=3.0),
    )
    np.testing.assert_array_equal(outcomes.answered_s, [1.0, 5.0, 8.0, 9.0])


def first_of(draws: AttemptDraws, count: int) -> AttemptDraws:
    return AttemptDraws(
        arrived_s=draws.arrived_s[:count],
        service=draws.service[:, :count],
        routing=draws.routing[:, :count],
        backoff=draws.backoff[:, :count],
        scale=None if draws.scale is None else draws.scale[:count],
    )


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.floats(0.0, 1.0))
def test_a_run_that_takes_the_rest_later_is_the_same(case: Case, share: float) -> None:
    """Wherever it is cut, also between requests that come at the same instant."""
    count = max(1, round(share * len(case.draws.arrived_s)))
    begun = case._replace(draws=first_of(case.draws, count))
    found, expected = run_kernel(*begun, rest=lambda: case.draws), run_kernel(*case)
    for field in fields(expected):
        here, there = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(here, there, err_msg=field.name)


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
        Plan(profile="made-up", replicas=1, batch_size_max=1),
        fixed(lambda size: 1e3),
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
    plan = Plan(profile="made-up", replicas=2, batch_size_max=1)
    assert_same(Case(plan, ExponentialTimes(0.004), draws, clients, Protection(), [], None))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes(case: Case) -> None:
    assert_same(case)


@pytest.mark.long
@settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes_on_many_schedules(case: Case) -> None:
    assert_same(case)
