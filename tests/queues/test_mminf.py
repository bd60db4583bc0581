"""M/M/infinity against the birth-and-death chain, as a limit of other queues, and by its own laws."""

import math

import pytest
from hypothesis import settings

from capacity.queues.markov.erlang_a import ErlangA
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mminf import MMInf

laws = settings(derandomize=True, deadline=None, max_examples=50)


def queue(load: float, service: float = 1.0) -> MMInf:
    return MMInf(arrival_rate_rps=load * service, service_rate_rps=service)


@pytest.mark.parametrize("load", [1e-6, 0.5, 3.0, 40.0])
def test_birth_and_death(load: float) -> None:
    """Ratios lambda / (n mu) multiplied up, summed as they stand; Kleinrock (1975), sec. 3.4."""
    weights = [1.0]
    for n in range(1, 400):
        weights.append(weights[-1] * load / n)
    total = math.fsum(weights)
    assert queue(load).empty_probability == pytest.approx(1.0 / total, rel=1e-13)
    mean = math.fsum(n * weight for n, weight in enumerate(weights)) / total
    assert queue(load).in_system_mean == pytest.approx(mean, rel=1e-13)


def test_kleinrocks_formulas() -> None:
    """(1975), sec. 3.4: N = lambda / mu, T = 1 / mu, p_0 = e^-(lambda / mu)."""
    model = queue(2.5, 4.0)
    assert (model.in_system_mean, model.response_mean_s) == (2.5, 0.25)
    assert model.empty_probability == pytest.approx(0.0820849986, rel=1e-9)
    assert model.response_quantile_s(0.5) == pytest.approx(math.log(2.0) / 4.0, rel=1e-15)
    assert model.response_tail(0.5) == pytest.approx(math.exp(-2.0), rel=1e-15)
    assert model.wait_probability == model.wait_mean_s == model.queue_length_mean == 0.0


def test_it_is_the_limit_of_many_servers_and_of_patience_like_service() -> None:
    model = queue(3.0, 2.0)
    many = MMc(arrival_rate_rps=6.0, service_rate_rps=2.0, servers=100)
    for name in ("empty_probability", "in_system_mean", "response_mean_s"):
        assert getattr(model, name) == pytest.approx(getattr(many, name), rel=1e-13)
    assert model.response_quantile_s(0.99) == pytest.approx(many.response_quantile_s(0.99), rel=1e-13)
    left = ErlangA(arrival_rate_rps=6.0, service_rate_rps=2.0, servers=1, patience_mean_s=0.5)
    assert model.empty_probability == pytest.approx(left.empty_probability, rel=1e-13)
    assert model.in_system_mean == pytest.approx(left.in_system_mean, rel=1e-13)
