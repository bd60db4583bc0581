"""M/M/1 against a textbook's salon, against numerical integration, and by its own laws."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.queues.markov.mm1 import MM1

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None)
utilizations = st.floats(1e-6, 0.999999)
quantiles = st.floats(0.001, 0.9999)


def queue(arrival: float, service: float) -> MM1:
    return MM1(arrival_rate_rps=arrival, service_rate_rps=service)


def test_the_salon_of_gross_and_harris() -> None:
    """Gross et al. (2008), sec. 2.2: 5 customers an hour, 10 minutes each; in hours."""
    salon = queue(5.0, 6.0)
    assert salon.in_system_mean == pytest.approx(5.0, rel=CLAIM)
    assert salon.queue_length_mean == pytest.approx(25 / 6, rel=CLAIM)
    assert salon.response_mean_s == pytest.approx(1.0, rel=CLAIM)
    assert salon.wait_mean_s == pytest.approx(5 / 6, rel=CLAIM)
    assert salon.wait_tail(0.75) == pytest.approx(0.3936, abs=5e-5)
    assert salon.empty_probability == pytest.approx(1 / 6, rel=CLAIM)


@pytest.mark.parametrize("utilization", [0.3, 0.9])
def test_means_are_those_of_the_geometric_law(utilization: float) -> None:
    """Birth and death: P(N = n) = (1 - rho) rho^n, summed."""
    model, terms = queue(utilization, 1.0), range(2000)
    chance = [model.empty_probability * utilization**n for n in terms]
    assert math.fsum(chance) == pytest.approx(1.0, rel=CLAIM)
    number = math.fsum(n * p for n, p in zip(terms, chance, strict=True))
    assert model.in_system_mean == pytest.approx(number, rel=CLAIM)
    waiting = math.fsum((n - 1) * p for n, p in zip(terms, chance, strict=True) if n)
    assert model.queue_length_mean == pytest.approx(waiting, rel=CLAIM)


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.99, 0.999999])
@pytest.mark.parametrize("utilization", [1e-6, 0.5, 0.999, 0.999999])
def test_quantiles_at_fifty_digits(utilization: float, quantile: float) -> None:
    model = queue(utilization, 1.0)
    with mp.workdps(50):
        rho, left = mp.mpf(utilization), 1 - mp.mpf(quantile)
        response = -mp.log(left) / (1 - rho)
        wait = max(mp.mpf(0), mp.log(rho / left) / (1 - rho))
        assert abs(model.response_quantile_s(quantile) / response - 1) < CLAIM
        assert abs(model.wait_quantile_s(quantile) - wait) <= CLAIM * response


@pytest.mark.parametrize(
    ("utilization", "quantile", "below"), [(0.3, 0.99, 200), (0.7, 0.99, 250), (0.5, 0.5, 50)]
)
def test_the_design_effect_is_that_of_a_chain_in_small_steps(utilization, quantile, below) -> None:
    """T' = (T - A)+ + S over cells: variance and all covariances of the indicator by the fundamental matrix."""
    model = queue(utilization, 1.0)
    width = model.response_quantile_s(quantile) / below
    count = math.ceil(14.0 / model.spare_rate_rps / width)
    edges = width * np.arange(1, count + 1)
    now, then = (edges - width / 2.0)[:, None], edges[None, :]
    least = np.minimum(now, then)
    idle = np.exp(-utilization * now)  # the next one meets nobody
    within = np.exp(-utilization * (now - least)) - idle * np.exp(-then)
    within -= (
        utilization
        * (np.exp(-utilization * (now - least) - (then - least)) - idle * np.exp(-then))
        / (1.0 + utilization)
    )
    within[:, -1] = 1.0
    chain = np.diff(within, axis=1, prepend=0.0)
    ones = np.ones(count)
    steady = np.linalg.solve((np.eye(count) - chain + np.ones((count, count))).T, ones)
    beyond = np.repeat([0.0, 1.0], [below, count - below])
    share = steady @ beyond
    assert share == pytest.approx(1.0 - quantile, rel=0.01)
    centred = beyond - share
    summed = np.linalg.solve(np.eye(count) - chain + np.outer(ones, steady), centred)
    effect = steady @ (centred * (2.0 * summed - centred)) / (share * (1.0 - share))
    assert model.design_effect(quantile) == pytest.approx(effect, rel=0.01)


@laws
@given(utilizations, quantiles, st.integers(-300, 300))
def test_the_design_effect_has_no_unit_and_grows_with_load(utilization: float, q: float, power: int) -> None:
    k, effect = 2.0**power, queue(utilization, 1.0).design_effect(q)
    assert queue(k * utilization, k).design_effect(q) == effect
    assert effect >= 1.0
    assert queue((1.0 + utilization) / 2.0, 1.0).design_effect(q) > effect


def test_the_design_effect_of_rare_and_of_heavy_traffic() -> None:
    assert queue(1e-9, 1.0).design_effect(0.99) == pytest.approx(1.0, abs=1e-8)
    assert 1e-12 * queue(1.0 - 1e-6, 1.0).design_effect(1.0 - 1e-9) == pytest.approx(4.0, rel=1e-5)
