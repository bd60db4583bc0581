"""Draws, faults and tables that compiled code relies on without checks of its own: bad ones are refused."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from capacity.errors import DomainError
from capacity.recovery.faults import Action, Fault
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.attempts import AttemptDraws, check_faults
from simulations.draws.service import FIXED, KNOTS, ServiceTable

HALVES = np.full(3, 0.5)
ROUTING = np.full(6, 0.5)
INSTANTS = "instants of arrival must be finite, not negative, and must not fall"
UNIFORMS = "3 requests need {} uniform numbers from 0 to below 1"


def open_draws(**changed: np.ndarray) -> Draws:
    return Draws(
        **({"arrived_s": np.array([0.0, 1.0, 1.0]), "service": HALVES, "routing": ROUTING} | changed)
    )


def closed_draws(users: int = 1, **changed: np.ndarray) -> ClosedDraws:
    fields = {"think_s": np.array([0.0, 1.0, 2.0]), "service": HALVES, "routing": ROUTING} | changed
    return ClosedDraws(users=users, **fields)


def attempt_draws(**changed: np.ndarray) -> AttemptDraws:
    fields = {
        "arrived_s": np.array([0.0, 1.0, 1.0]),
        "service": np.full((2, 3), 0.5),
        "routing": np.zeros((0, 0, 2)),
        "backoff": np.zeros((0, 0)),
    }
    return AttemptDraws(**(fields | changed))


@pytest.mark.parametrize("draws", [open_draws, attempt_draws])
@pytest.mark.parametrize(
    "arrived_s", [[-0.1, 1.0, 1.0], [0.0, 1.0, 0.9], [0.0, 1.0, math.inf], [0.0, math.nan, 1.0]]
)
def test_instants_of_arrival_do_not_fall_from_0_on(draws, arrived_s) -> None:
    with pytest.raises(DomainError, match=INSTANTS):
        draws(arrived_s=np.array(arrived_s))


@pytest.mark.parametrize("draws", [open_draws, closed_draws])
def test_uniform_numbers_have_a_number_and_a_range(draws: Callable[..., Draws | ClosedDraws]) -> None:
    edge = draws(service=np.array([0.0, 0.5, 1.0 - 2.0**-53]), routing=np.zeros(6))
    assert edge.service[0] == 0.0
    for wrong in (np.full(2, 0.5), np.full(4, 0.5), np.array([0.5, 1.0, 0.5]), np.array([0.5, -1e-9, 0.5])):
        with pytest.raises(DomainError, match=UNIFORMS.format(3)):
            draws(service=wrong)
    for wrong in (HALVES, np.full(7, 0.5), np.ones(6)):
        with pytest.raises(DomainError, match=UNIFORMS.format(6)):
            draws(routing=wrong)


def test_think_times_and_the_number_of_users_have_a_range() -> None:
    assert closed_draws().think_s[0] == 0.0
    for wrong in ([-1e-9, 0.0, 0.0], [0.0, math.inf, 0.0], [0.0, math.nan, 0.0]):
        with pytest.raises(DomainError, match="think times must be finite and not negative"):
            closed_draws(think_s=np.array(wrong))
    with pytest.raises(DomainError, match="a population has at least one user, got 0"):
        closed_draws(users=0)


@pytest.mark.parametrize("service", [np.zeros(3), np.zeros((2, 2)), np.zeros((2, 4)), np.zeros((1, 2, 3))])
def test_attempts_have_service_draws_by_attempt_and_request(service: np.ndarray) -> None:
    assert attempt_draws(service=np.zeros((0, 0))).service.size == 0  # of engines
    with pytest.raises(DomainError, match=r"3 requests need service draws of shape \(attempts, 3\)"):
        attempt_draws(service=service)


@pytest.mark.parametrize("scale", [[1.0, 2.0], [1.0, 2.0, 0.0], [1.0, -1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_a_scale_is_above_0_for_each_request(scale: list[float]) -> None:
    assert attempt_draws(scale=np.array([0.1, 2.0, 3.0])).scale is not None
    with pytest.raises(DomainError, match="3 requests need as many scales above 0"):
        attempt_draws(scale=np.array(scale))


def test_faults_are_sorted_and_of_a_replica_that_is_there() -> None:
    def crash(instant_s: float, replica: int = 0) -> Fault:
        return Fault(instant_s=instant_s, replica=replica, action=Action.CRASH)

    check_faults([crash(1.0), crash(1.0, 1), crash(2.0)], 2)
    with pytest.raises(DomainError, match="faults must be sorted by instant"):
        check_faults([crash(1.0), crash(2.0), crash(1.9)], 2)
    for replica in (-1, 2):
        with pytest.raises(DomainError, match="faults must name one of 2 replicas"):
            check_faults([crash(1.0, replica)], 2)


KNOTTED = ServiceTable(
    kind=KNOTS,
    below=np.zeros(2, dtype=np.int64),
    weight=np.zeros(2),
    first=np.array([0, 2]),
    probabilities=np.array([0.0, 1.0]),
    durations_s=np.array([0.0, 2.0]),
)


@pytest.mark.parametrize("table", [ServiceTable(kind=FIXED, times_s=np.array([0.0, 2.0])), KNOTTED])
def test_a_table_has_times_for_all_batches(table: ServiceTable) -> None:
    assert table.require(2) is table
    with pytest.raises(DomainError, match="service times up to a batch of 2, not of 3"):
        table.require(3)
    with pytest.raises(DomainError, match="users of a closed population need service that takes time"):
        table.require(2, needs_time="users of a closed population")
    column = "times_s" if table.kind == FIXED else "durations_s"
    for wrong in (-1e-9, math.inf, math.nan):
        with pytest.raises(DomainError, match="service times must be finite and not negative"):
            table._replace(**{column: np.array([1.0, wrong])}).require(2)


def test_atoms_are_the_durations_with_a_positive_probability() -> None:
    """Where the quantile function is level; neither a jump nor a rising part is an atom."""
    laws = KNOTTED._replace(
        first=np.array([0, 4, 7]),
        probabilities=np.array([0.0, 0.5, 0.6, 1.0, 0.0, 0.0, 1.0]),
        durations_s=np.array([1.0, 1.0, 3.0, 4.0, 4.0, 4.0, 4.0]),
    )
    assert laws.atoms_s.tolist() == [1.0, 4.0]
    assert laws._replace(wake_s=0.5).atoms_s.tolist() == [1.0, 1.5, 4.0, 4.5]
    fixed = ServiceTable(kind=FIXED, times_s=np.array([2.0, 1.0, 2.0]))
    assert fixed.atoms_s.tolist() == [1.0, 2.0]
