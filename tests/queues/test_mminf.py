"""M/M/infinity against the birth-and-death chain, as a limit of other queues, and by its own laws."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.performance import Kind
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


@laws
@given(st.floats(1e-6, 1e6), st.floats(0.01, 0.9999), st.integers(-40, 40))
def test_rates_times_k_divide_durations_by_k(load: float, quantile: float, power: int) -> None:
    k = 2.0**power
    plain, fast = queue(load), queue(load, k)
    assert fast.in_system_mean == plain.in_system_mean == load
    assert fast.response_mean_s == plain.response_mean_s / k
    assert fast.response_quantile_s(quantile) == plain.response_quantile_s(quantile) / k
    assert fast.in_system_mean == pytest.approx(fast.arrival_rate_rps * fast.response_mean_s, rel=1e-13)
    assert plain.response_tail(plain.response_quantile_s(quantile)) == pytest.approx(1.0 - quantile)
    assert plain.wait_quantile_s(quantile) == 0.0


def test_times_before_zero_and_never() -> None:
    model = queue(3.0)
    assert model.wait_tail(-1.0) == model.response_tail(-1e-300) == model.response_tail(0.0) == 1.0
    assert model.wait_tail(0.0) == model.response_tail(math.inf) == 0.0


def test_performance_says_the_same() -> None:
    model = queue(3.0, 2.0)
    answer = model.performance((0.5, 0.99))
    assert answer.kind is Kind.EXACT
    assert answer.load is None
    assert answer.utilization is None
    assert answer.throughput_rps == 6.0
    for name in (
        "offered_load", "wait_probability", "empty_probability", "queue_length_mean", "in_system_mean",
        "wait_mean_s", "response_mean_s",
    ):  # fmt: skip
        assert getattr(answer, name) == getattr(model, name)
    assert answer.response_quantiles_s[0.99].value == model.response_quantile_s(0.99)
    assert answer.wait_quantiles_s[0.5].high == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, 0.0, True])
def test_bad_numbers_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match="arrival_rate_rps must be > 0"):
        MMInf(arrival_rate_rps=bad, service_rate_rps=1.0)
    with pytest.raises(DomainError, match="service_rate_rps must be > 0"):
        MMInf(arrival_rate_rps=1.0, service_rate_rps=bad)
    with pytest.raises(DomainError, match="must be from 1e-300"):
        MMInf(arrival_rate_rps=1e200, service_rate_rps=1e-200)
    model = queue(1.0)
    for ask in (model.wait_quantile_s, model.response_quantile_s):
        for wrong in (math.nan, 0.0, 1.0, True):
            with pytest.raises(DomainError, match="quantile must be in"):
                ask(wrong)
    for tail in (model.wait_tail, model.response_tail):
        with pytest.raises(DomainError, match="time_s must be a number"):
            tail(math.nan)
