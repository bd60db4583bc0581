"""M/G/c/c against the loss table, its chain, other queues without room to wait, and its own laws."""

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.performance import Kind
from capacity.queues.markov.erlang import MGcc
from capacity.queues.markov.mmck import MMcK

laws = settings(derandomize=True, deadline=None, max_examples=60)
loads = st.floats(-6, 7).map(lambda power: 10.0**power)


def system(load: float, servers: float) -> MGcc:
    return MGcc(offered_load=load, servers=servers)


# Load carried at 1 % loss, from the Erlang B tables that telephone engineers use.
@pytest.mark.parametrize(("lines", "load"), [(1, 0.0101), (5, 1.36), (10, 4.46), (20, 12.0), (50, 37.9)])
def test_loss_table_of_one_percent(lines: int, load: float) -> None:
    model = system(load, lines)
    assert model.loss_probability == pytest.approx(0.01, abs=3e-4)
    assert model.in_system_mean == pytest.approx(0.99 * load, rel=3e-4)
    assert model.utilization == pytest.approx(0.99 * load / lines, rel=3e-4)


@laws
@given(loads, st.integers(1, 300))
def test_birth_and_death(load: float, servers: int) -> None:
    """Weights a^n/n! at fifty digits, averaged as they stand."""
    with mp.workdps(50):
        weights = [mp.mpf(1)]
        for n in range(1, servers + 1):
            weights.append(weights[-1] * mp.mpf(load) / n)
        total = mp.fsum(weights)
        busy = float(mp.fsum(n * weight for n, weight in enumerate(weights)) / total)
        lost = float(weights[-1] / total)
    model = system(load, servers)
    assert model.loss_probability == pytest.approx(lost, rel=1e-12, abs=1e-300)
    assert model.in_system_mean == pytest.approx(busy, rel=1e-12)
    assert model.utilization == pytest.approx(busy / servers, rel=1e-12)


@pytest.mark.parametrize(("load", "servers"), [(0.3, 1), (9.0, 10), (500.0, 480)])
def test_it_is_mmcc(load: float, servers: int) -> None:
    chain = MMcK(arrival_rate_rps=load, service_rate_rps=1.0, servers=servers, capacity=servers)
    for name in ("load", "utilization", "offered_load", "loss_probability", "in_system_mean"):
        assert getattr(system(load, servers), name) == pytest.approx(getattr(chain, name), rel=1e-12)


@laws
@given(loads, st.floats(0.01, 1e5))
def test_laws_of_conservation_and_order(load: float, servers: float) -> None:
    model, wider = system(load, servers), system(load, servers * 1.01)
    assert model.served_share + model.loss_probability == pytest.approx(1.0, rel=1e-13)
    assert model.in_system_mean == pytest.approx(load * model.served_share, rel=1e-13)
    assert 0.0 < model.utilization <= 1.0
    assert wider.loss_probability <= model.loss_probability
    assert wider.in_system_mean >= model.in_system_mean * (1.0 - 1e-13)
    busier = system(load * 1.01, servers)
    assert busier.utilization >= model.utilization * (1.0 - 1e-13)


@pytest.mark.parametrize("load", [0.01, 3.0, 1e6])
def test_a_sliver_of_a_server(load: float) -> None:
    """As c falls to 0: 1 - B = c e^a E1(a), the slope of Jagerman's integral there."""
    slope = float(mp.exp(load) * mp.e1(load)) if load < 1e3 else 1.0 / load * (1.0 - 1.0 / load)
    assert system(load, 1e-9).in_system_mean == pytest.approx(1e-9 * load * slope, rel=1e-6)


def test_performance_says_the_same() -> None:
    model = system(9.0, 10.5)
    answer = model.performance()
    assert answer.kind is Kind.EXACT
    assert answer.load == 9.0 / 10.5
    for name in ("utilization", "offered_load", "loss_probability", "in_system_mean"):
        assert getattr(answer, name) == getattr(model, name)
    assert answer.throughput_rps is None
    assert answer.wait_mean_s is None
    assert answer.response_quantiles_s == {}
    assert model.performance((0.5,)) == answer
