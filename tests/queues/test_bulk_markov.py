"""M/M^[1,B]/c against its balance equations, at 50 digits, against M/M/c, and by its own laws."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaincc

from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.numerics.chains import banded_stationary as stationary

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None)
loads = st.floats(1e-6, 0.999999)
sizes = st.integers(1, 200)
counts = st.integers(1, 60)


def queue(arrival: float, service: float, batch: int, servers: int) -> BulkMarkov:
    return BulkMarkov(arrival_rate_rps=arrival, service_time_s=service, batch_size_max=batch, servers=servers)


def loaded(load: float, batch: int, servers: int) -> BulkMarkov:
    return queue(load * batch * servers, 1.0, batch, servers)


class Exact:
    """The same queue at 50 digits, from the polynomial and the sums as they stand."""

    def __init__(self, model: BulkMarkov) -> None:
        batch, c = model.batch_size_max, model.servers
        with mp.workdps(50):
            s = mp.mpf(model.service_time_s)
            load = mp.mpf(model.arrival_rate_rps) * s
            self.root = _root(load / c, batch)
            ready, busy, term, k = mp.mpf(0), mp.mpf(0), mp.mpf(1), c  # sums over k < c, in units of a^c/c!
            while k and (k > load or term > ready * mp.mpf(10) ** -45):
                term, k = term * k / load, k - 1
                ready, busy = ready + term, busy + k * term
            full = 1 / (1 - self.root)
            self.wait = full / (ready + full)
            self.busy = (busy + c * full) / (ready + full)
            self.empty = mp.exp(mp.loggamma(c + 1) - c * mp.log(load)) / (ready + full)
            self.queue = self.wait * self.root / (1 - self.root)
            self.load, self.theta, self.mu = load, c * (1 - self.root**batch) / s, 1 / s

    def response_tail(self, time_s: float) -> mp.mpf:
        with mp.workdps(80):
            t, theta, mu = mp.mpf(time_s), self.theta, self.mu
            if abs(theta / mu - 1) < mp.mpf(10) ** -40:
                return mp.exp(-mu * t) * (1 + self.wait * mu * t)
            return (1 - self.wait) * mp.exp(-mu * t) + self.wait * (
                theta * mp.exp(-mu * t) - mu * mp.exp(-theta * t)
            ) / (theta - mu)


def _root(target: mp.mpf, batch: int) -> mp.mpf:
    low, high = mp.mpf(0), mp.mpf(1)
    for _ in range(170):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * (1 - middle**batch) < target * (1 - middle) else (low, middle)
    return low


CORNERS = [
    (1e-9, 1.0, 1, 1),
    (1e-6, 1.0, 4, 3),
    (3.0, 1.0, 2, 2),
    (9.2, 1.0, 8, 4),
    (4.0, 1.0, 8, 1),  # half of the limit, where the root's equation changes its form
    (math.nextafter(4.0, 5.0), 1.0, 8, 1),
    (7.99999999, 1.0, 8, 1),
    (0.999999e4, 1.0, 10_000, 1),
    (1.0, 1.0, 10_000, 1),
    (1.0, 1.0, 10_000, 300),
    (0.1 * 31.9, 10.0, 32, 1),
    (31.9e12, 1e-12, 8, 4),
    (31.9e-9, 1e9, 8, 4),
    (250.0, 1.0, 2, 300),
    (599.9, 1.0, 2, 300),
    (20.0, 0.37, 3, 60),
    (2648649.8, 0.37, 2, 1_000_000),  # the load is rounded, which the wait shows 20 000 times larger
]


@pytest.mark.parametrize(("arrival", "service", "batch", "servers"), CORNERS)
def test_all_numbers_at_fifty_digits(arrival: float, service: float, batch: int, servers: int) -> None:
    model = queue(arrival, service, batch, servers)
    exact = Exact(model)
    with mp.workdps(50):
        wait = exact.wait / exact.theta
        for value, truth in (
            (model.offered_load, exact.load),
            (model.load, exact.load / batch / servers),
            (model.wait_probability, exact.wait),
            (model.utilization, exact.busy / servers),
            (model.batch_size_mean, exact.load / exact.busy),
            (model.queue_length_mean, exact.queue),
            (model.in_system_mean, exact.queue + exact.load),
            (model.wait_mean_s, wait),
            (model.response_mean_s, wait + 1 / exact.mu),
        ):
            assert truth < 1e-290 or abs(value / truth - 1) < CLAIM
        for quantile in (0.5, 0.99, 0.9999):
            time_s = model.response_quantile_s(quantile)
            assert abs(exact.response_tail(time_s) / (1 - mp.mpf(quantile)) - 1) < CLAIM
            log_ratio = mp.log(exact.wait / (1 - mp.mpf(quantile)))
            scale = -mp.log(1 - mp.mpf(quantile)) / exact.theta
            assert abs(model.wait_quantile_s(quantile) - max(0, log_ratio / exact.theta)) < CLAIM * scale
            for t in (0.3 * time_s, time_s, 3 * time_s):
                assert abs(model.response_tail(t) / exact.response_tail(t) - 1) < CLAIM
                tail = exact.wait * mp.exp(-exact.theta * mp.mpf(t))
                assert tail < 1e-290 or abs(model.wait_tail(t) / tail - 1) < CLAIM
        if exact.empty > 1e-290:
            assert abs(model.empty_probability / exact.empty - 1) < 1e-11


@pytest.mark.parametrize(
    ("arrival", "batch", "servers"), [(0.4, 1, 1), (1.5, 2, 1), (3.0, 2, 2), (9.2, 4, 3), (2.0, 8, 4)]
)
def test_balance_equations_of_a_truncated_chain(arrival: float, batch: int, servers: int) -> None:
    """Every transition written down: who is busy, who waits, and what a completion takes."""
    model, places = queue(arrival, 1.0, batch, servers), 400
    last = servers + places

    def rates(n: int) -> np.ndarray:  # n <= c: busy; above: n - c wait
        step = np.zeros(batch + 2)
        lowest = max(0, n - batch)
        step[n + 1 - lowest] = arrival
        if n:
            step[n - min(max(1, n - servers), batch) - lowest] = min(n, servers)
        return step

    law = stationary(rates, last, batch, 1)
    waiting = np.arange(places + 1)
    assert model.empty_probability == pytest.approx(law[0], rel=1e-11)
    assert model.wait_probability == pytest.approx(law[servers:].sum(), rel=1e-11)
    assert model.queue_length_mean == pytest.approx(law[servers:] @ waiting, rel=1e-11)
    busy = np.minimum(np.arange(last + 1), servers)
    assert model.utilization == pytest.approx(law @ busy / servers, rel=1e-11)
    assert model.batch_size_mean == pytest.approx(arrival / (law @ busy), rel=1e-11)
    for time_s in (0.0, 0.2, 1.0, 4.0):  # as many completions as it takes to be among the first B
        tail = law[servers:] @ gammaincc(waiting // batch + 1, servers * time_s)
        assert model.wait_tail(time_s) == pytest.approx(tail, rel=1e-10)


def test_the_clinic_of_gross_and_harris() -> None:
    """Gross et al. (2008), sec. 2.3: 6 patients an hour, 3 doctors, 20 minutes each; a batch is a patient."""
    clinic = queue(6.0, 1 / 3, 1, 3)
    assert clinic.empty_probability == pytest.approx(1 / 9, rel=CLAIM)
    assert clinic.queue_length_mean == pytest.approx(8 / 9, rel=CLAIM)
    assert clinic.in_system_mean == pytest.approx(26 / 9, rel=CLAIM)
    assert clinic.wait_mean_s * 60 == pytest.approx(8.88, abs=0.01)


@laws
@given(st.floats(0.01, 1.99))
def test_batches_of_two_by_the_quadratic(arrival: float) -> None:
    """One server: r + r^2 = lambda s, and P(idle) = (1 - r)/(1 - r + lambda s)."""
    model = queue(arrival, 1.0, 2, 1)
    r = (math.sqrt(1.0 + 4.0 * arrival) - 1.0) / 2.0
    idle = (1.0 - r) / (1.0 - r + arrival)
    assert model.empty_probability == pytest.approx(idle, rel=1e-10)
    assert model.wait_tail(1.0) == pytest.approx((1.0 - idle) * math.exp(r * r - 1.0), rel=1e-10)


@pytest.mark.parametrize("arrival", [1e-6, 0.5, *(1.7**k for k in range(2, 31))])
def test_without_a_limit_one_server_takes_all(arrival: float) -> None:
    """B -> infinity: r = lambda s/(1 + lambda s), and a wait lasts as long as the batch in service."""
    model = queue(arrival, 1.0, 10**9, 1)
    busy = arrival * (1.0 + arrival) / (1.0 + arrival * (1.0 + arrival))
    assert model.wait_probability == pytest.approx(busy, rel=CLAIM)
    assert model.queue_length_mean == pytest.approx(busy * arrival, rel=CLAIM)
    assert model.wait_tail(2.0) == pytest.approx(busy * math.exp(-2.0), rel=CLAIM)


@laws
@given(loads, sizes, counts)
def test_more_servers_larger_batches_and_less_load_shorten_waits(load, batch, servers) -> None:
    here = loaded(load, batch, servers)
    rate = here.arrival_rate_rps
    assert load * (1.0 - CLAIM) <= here.utilization <= 1.0 + CLAIM
    for other in (
        queue(rate, 1.0, batch, servers + 1),
        queue(rate, 1.0, batch + 1, servers),
        queue(rate * 0.99, 1.0, batch, servers),
    ):
        assert other.wait_mean_s <= here.wait_mean_s * (1.0 + CLAIM)
        assert other.response_quantile_s(0.99) <= here.response_quantile_s(0.99) * (1.0 + CLAIM)
        assert other.wait_probability <= here.wait_probability * (1.0 + CLAIM)


def test_a_million_servers_and_a_tail_beyond_doubles() -> None:
    model = queue(1e6, 1.0, 8, 2_000_000)
    assert model.wait_probability == model.queue_length_mean == model.wait_tail(0.0) == 0.0
    assert model.wait_quantile_s(0.9999) == model.empty_probability == 0.0
    assert model.utilization == pytest.approx(0.5, rel=CLAIM)
    assert model.response_quantile_s(0.99) == pytest.approx(math.log(100.0), rel=CLAIM)
    assert queue(1000.0, 1.0, 2000, 1).empty_probability > 1e-7  # though e^-1000 is not a double
    assert queue(4e6, 1.0, 8, 1_000_000).wait_probability == pytest.approx(1.0, abs=0.3)
