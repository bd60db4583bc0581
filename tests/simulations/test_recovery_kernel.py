"""The compiled engine of recovery against the readable one: the same bytes, whatever happens at one instant."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from recovery_schedules import Case, cases

from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference


def assert_same(case: Case) -> None:
    found, expected = run_kernel(*case), run_reference(*case)
    for field in fields(expected):
        here, there = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(here, there, err_msg=field.name)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes(case: Case) -> None:
    assert_same(case)


@pytest.mark.long
@settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_both_engines_give_the_same_bytes_on_many_schedules(case: Case) -> None:
    assert_same(case)
