"""Theory beside simulation on the product's simulator, small; `capacity agreement` does it in full."""

import pytest

from capacity.queues.mm1 import MM1
from simulations.agreement import (
    Agreement,
    Row,
    System,
    compare,
    rows_document,
    systems,
    verdict_exit_code,
)
from simulations.pool import Estimate

LIGHT = System(
    name="M/M/1 load 0.3",
    theory=MM1(arrival_rate_rps=0.3, service_rate_rps=1.0),
    servers=1,
    quantiles=(0.5, 0.99),
)


def row(value: float, standard_error: float, theory: float = 1.0) -> Row:
    estimate = Estimate(value=value, standard_error=standard_error, degrees=19)
    return Row(system="s", quantity="q", theory=theory, simulation=estimate)


def test_simulation_agrees_with_theory():
    rows = compare(LIGHT, seed=11, requests_max=2_000_000)
    assert {r.quantity for r in rows} == {
        "wait_probability",
        "wait_mean_s",
        "response_mean_s",
        "response_p50_s",
        "response_p99_s",
    }
    assert [r.verdict for r in rows] == [Agreement.AGREES] * 5


def test_a_wrong_theory_is_found_out():
    """The simulator serves at rate 1; a theory of rate 1.03 is off by 4 to 5 % and must not pass."""
    wrong = System(
        name="wrong",
        theory=MM1(arrival_rate_rps=0.3, service_rate_rps=1.03),
        servers=1,
        quantiles=(0.5, 0.99),
    )
    right = compare(LIGHT, seed=11, requests_max=2_000_000)
    rows = [
        Row(
            system="wrong",
            quantity=r.quantity,
            theory=wrong.quantities()[r.quantity][0],
            simulation=r.simulation,
        )
        for r in right
    ]
    assert verdict_exit_code(rows) == 4
    assert sum(r.verdict is Agreement.DISAGREES for r in rows) >= 4


def test_verdict_by_standard_errors():
    assert row(1.0 + 3.9 * 0.005, 0.005).verdict is Agreement.AGREES
    assert row(1.0 - 4.1 * 0.005, 0.005).verdict is Agreement.DISAGREES
    assert row(1.0, 0.011).verdict is Agreement.INCONCLUSIVE


def test_power_is_the_chance_to_find_an_error_of_five_percent():
    assert row(1.0, 0.05 / 4.0).power == pytest.approx(0.5)
    assert row(1.0, 0.005).power == pytest.approx(1.0, abs=1e-6)


def test_exit_code_and_document():
    rows = [row(1.0, 0.005), row(1.0, 0.02)]
    assert verdict_exit_code(rows[:1]) == 0
    assert verdict_exit_code(rows) == 4
    document = rows_document(rows, seed=0)
    assert document["agrees"] is False
    assert [r["verdict"] for r in document["rows"]] == ["agrees", "inconclusive"]


def test_the_grid_is_the_promised_one():
    assert [s.name for s in systems()] == [
        "M/M/1 load 0.3",
        "M/M/1 load 0.6",
        "M/M/1 load 0.9",
        "M/M/2 load 0.7",
        "M/M/8 load 0.8",
        "M/M/32 load 0.8",
    ]
