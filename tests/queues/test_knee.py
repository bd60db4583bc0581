"""Knee: where a curve crosses its limit, against roots found otherwise, and what has no crossing."""

import math

import pytest
from scipy.optimize import brentq

from capacity.errors import DomainError, InputError
from capacity.queues.curves import knee, utilization_grid
from capacity.queues.durations import Duration, Family
from capacity.queues.general.mg1 import MG1
from capacity.queues.markov.mmc import MMc

GRID = (0.02, *utilization_grid(0.98, 34))


def mmc_p99_s(servers: int, rho: float) -> float:
    return MMc(arrival_rate_rps=rho * servers, service_rate_rps=1.0, servers=servers).response_quantile_s(
        0.99
    )


@pytest.mark.parametrize("limit", [4.8, 10.0, 200.0])
def test_of_mm1_it_is_exact(limit: float) -> None:
    """P99 = ln(100) / (1 - rho) services: from few points as from many."""
    exact = 1.0 - math.log(100.0) / limit
    for grid in (GRID, (0.02, 0.98)):
        found = knee(grid, [mmc_p99_s(1, rho) for rho in grid], limit)
        assert found == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(
    ("servers", "limit"),
    [(2, 4.7), (2, 10.0), (2, 30.0), (8, 4.7), (8, 6.0), (8, 10.0), (64, 4.7), (64, 5.0)],
)
def test_of_many_servers_it_lies_near_the_root(servers: int, limit: float) -> None:
    root = brentq(lambda rho: mmc_p99_s(servers, rho) - limit, GRID[0], GRID[-1], xtol=1e-12)
    found = knee(GRID, [mmc_p99_s(servers, rho) for rho in GRID], limit)
    assert found == pytest.approx(root, abs=0.005)
    assert mmc_p99_s(servers, found) == pytest.approx(limit, rel=0.005)


def test_of_gamma_service_it_lies_near_the_root() -> None:
    def p99_s(rho: float) -> float:
        service = Duration(family=Family.GAMMA, mean_s=1.0, scv=2.25)
        return MG1(arrival_rate_rps=rho, service=service).response_quantile_s(0.99)

    found = knee(GRID, [p99_s(rho) for rho in GRID], 10.0)
    assert p99_s(found) == pytest.approx(10.0, rel=0.005)


def test_without_a_crossing_it_is_no_number_or_the_last_point() -> None:
    assert math.isnan(knee([0.1, 0.5], [3.0, 4.0], 2.9))
    assert knee([0.1, 0.5], [3.0, 4.0], 4.0) == 0.5
    assert knee([0.1, 0.5], [3.0, 4.0], 3.0) == 0.1
    assert knee([0.1, 0.5], [3.0, 3.0], 3.0) == 0.5


def test_of_a_curve_that_falls_again_the_first_crossing_counts() -> None:
    assert 0.1 < knee([0.1, 0.5, 0.7, 0.9], [1.0, 3.0, 1.0, 5.0], 2.0) < 0.5


@pytest.mark.parametrize(
    ("x", "y", "limit", "error", "message"),
    [
        ([0.1], [1.0], 2.0, InputError, "two at least, got 1 and 1"),
        ([0.1, 0.2], [1.0], 2.0, InputError, "got 2 and 1"),
        ([0.2, 0.1], [1.0, 2.0], 2.0, DomainError, "must rise"),
        ([0.1, 0.2], [0.0, 2.0], 2.0, DomainError, "must be positive"),
        ([0.1, 0.2], [1.0, math.inf], 2.0, DomainError, "must be positive"),
        ([0.1, 0.2], [1.0, 2.0], math.nan, DomainError, "a limit of nan"),
    ],
)
def test_what_is_no_curve_is_refused(x, y, limit, error, message) -> None:
    with pytest.raises(error, match=message):
        knee(x, y, limit)
