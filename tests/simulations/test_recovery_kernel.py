"""The compiled engine of recovery against the readable one: the same bytes, whatever happens at one instant."""

from dataclasses import fields

import numpy as np
import pytest
from cases import fixed
from hypothesis import HealthCheck, given, settings
from recovery_schedules import Case, cases

from capacity.question.plan import Plan
from capacity.recovery.clients import Clients
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Protection, Shedding
from simulations.draws.attempts import AttemptDraws
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


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes(case: Case) -> None:
    assert_same(case)


@pytest.mark.long
@settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes_on_many_schedules(case: Case) -> None:
    assert_same(case)
