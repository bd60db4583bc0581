"""M/M/c/K against a textbook's inspection station, its chain at many digits, and by its own laws."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import gammaincc

from capacity.queues.markov.departures import geometric, ramp
from capacity.queues.markov.erlang import erlang_b
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=60)
utilizations = (
    st.floats(-6, 3).map(lambda power: 10.0**power)
    | st.floats(-15, -1).map(lambda power: 1.0 + 10.0**power)
    | st.floats(-15, -1).map(lambda power: 1.0 - 10.0**power)
    | st.just(1.0)
)
counts = st.integers(1, 12) | st.sampled_from([40, 200, 500])
rooms = st.integers(0, 6) | st.sampled_from([40, 300])


def queue(utilization: float, servers: int, room: int, service: float = 1.0) -> MMcK:
    return MMcK(
        arrival_rate_rps=utilization * servers * service,
        service_rate_rps=service,
        servers=servers,
        capacity=servers + room,
    )


class Exact:
    """The chain multiplied up state by state, and the law of the wait state by state, at many digits.

    Who finds c + j others waits for an Erlang law of j + 1 stages; the wait is convolved with service
    by the textbook's formula, whose differences 250 digits carry.
    """

    def __init__(self, model: MMcK) -> None:
        self.servers, self.mu = model.servers, mp.mpf(model.service_rate_rps)
        self.rate, count = mp.mpf(model.arrival_rate_rps), model.capacity
        with mp.workdps(60):
            weights = [mp.mpf(1)]
            for n in range(1, count + 1):
                weights.append(weights[-1] * self.rate / self.mu / min(n, self.servers))
            total = mp.fsum(weights)
            self.law = [weight / total for weight in weights]
            self.accepted = mp.fsum(self.law[:-1])
            self.queue = mp.fsum((n - self.servers) * p for n, p in enumerate(self.law) if n > self.servers)
            self.busy = mp.fsum(min(n, self.servers) * p for n, p in enumerate(self.law))
            self.found = [p / self.accepted for p in self.law[:-1]]

    def tails(self, time_s: float) -> tuple[mp.mpf, mp.mpf]:
        """P(W > t) and P(T > t)."""
        with mp.workdps(250):
            time = self.mu * mp.mpf(time_s)
            x, y = self.servers * time, (self.servers - 1) * time
            few, term = mp.mpf(0), mp.exp(-x)  # P(Poisson(x) <= j)
            rest, less = 1 - mp.exp(-y), mp.exp(-y)  # P(Poisson(y) > j)
            growth = mp.mpf(self.servers) / max(1, self.servers - 1)
            wait, serving = mp.mpf(0), mp.exp(-time) * mp.fsum(self.found[: self.servers])
            for j, p in enumerate(self.found[self.servers :]):
                few += term
                wait += p * few
                term *= x / (j + 1)
                if self.servers == 1:
                    serving += p * term
                else:
                    serving += p * mp.exp(-time) * growth ** (j + 1) * rest
                    less *= y / (j + 1)
                    rest -= less
            return wait, wait + serving


def agrees(value: float, truth: mp.mpf, claim: float = CLAIM) -> bool:
    return bool(abs(mp.mpf(value) - truth) <= claim * truth) or bool(truth < mp.mpf("1e-290"))


@laws
@given(utilizations, counts, rooms, st.floats(-9, 12))
def test_means_and_probabilities_at_sixty_digits(utilization, servers, room, power) -> None:
    model = queue(utilization, servers, room, 10.0**power)
    exact = Exact(model)
    with mp.workdps(60):
        rate = exact.rate * exact.accepted
        for value, truth in (
            (model.loss_probability, exact.law[-1]),
            (model.accepted_share, exact.accepted),
            (model.throughput_rps, rate),
            (model.utilization, exact.busy / servers),
            (model.empty_probability, exact.law[0]),
            (model.wait_probability, mp.fsum(exact.found[servers:])),
            (model.queue_length_mean, exact.queue),
            (model.in_system_mean, exact.queue + exact.busy),
            (model.wait_mean_s, exact.queue / rate),
            (model.response_mean_s, (exact.queue + exact.busy) / rate),
            (model.load, exact.rate / exact.mu / servers),
            (model.offered_load, exact.rate / exact.mu),
        ):
            assert agrees(value, truth)


@laws
@given(utilizations, counts, rooms, st.sampled_from([1e-3, 0.1, 1.0, 4.0, 15.0]))
def test_tails_at_many_digits(utilization: float, servers: int, room: int, times: float) -> None:
    model = queue(utilization, servers, room)
    time_s = times * (model.wait_mean_s if times < 1.0 and room else model.response_mean_s)
    wait, response = Exact(model).tails(time_s)
    assert agrees(model.wait_tail(time_s), wait, 1e-11)
    assert agrees(model.response_tail(time_s), response, 1e-11)


@pytest.mark.parametrize("servers", [1, 2, 7, 401])
@pytest.mark.parametrize("utilization", [0.999, 1.0, 1.001, 1.7, 40.0, "less"])
def test_quantiles_are_where_the_exact_tail_is_the_rest(servers: int, utilization: float | str) -> None:
    """`less`: the load of c - 1 servers, where the wait falls as fast as the service."""
    share = utilization if isinstance(utilization, float) else max(1, servers - 1) / servers
    model = queue(share, servers, 60)
    exact = Exact(model)
    for quantile in (0.5, 0.99, 0.9999):
        rest = 1 - mp.mpf(quantile)
        assert agrees(rest, exact.tails(model.response_quantile_s(quantile))[1], 1e-11)
        if model.wait_probability > float(rest):
            assert agrees(rest, exact.tails(model.wait_quantile_s(quantile))[0], 1e-11)


def test_the_inspection_station_of_gross_and_harris() -> None:
    """Gross et al. (2008), sec. 2.5: 3 stalls, room for 4 to wait, a car a minute, 6 minutes each; in minutes."""
    station = MMcK(arrival_rate_rps=1.0, service_rate_rps=1 / 6, servers=3, capacity=7)
    assert station.empty_probability == pytest.approx(0.00088, abs=5e-6)
    assert station.queue_length_mean == pytest.approx(3.09, abs=5e-3)
    assert station.in_system_mean == pytest.approx(6.06, abs=5e-3)
    # the printed 12.3 minutes and 30.4 lost cars an hour come from P(N = 0) as rounded there
    assert station.loss_probability == pytest.approx(576 * station.empty_probability, rel=CLAIM)
    assert 60 * station.loss_probability == pytest.approx(30.4, abs=0.2)
    assert station.response_mean_s == pytest.approx(12.3, abs=0.1)


@pytest.mark.parametrize("capacity", [1, 2, 10, 1000])
def test_one_full_server_is_uniform(capacity: int) -> None:
    """M/M/1/K at rho = 1: each number of requests is as likely as any other; Kleinrock (1975), sec. 3.6."""
    model = queue(1.0, 1, capacity - 1)
    assert model.loss_probability == model.empty_probability == pytest.approx(1 / (capacity + 1), rel=1e-14)
    assert model.in_system_mean == pytest.approx(capacity / 2, rel=1e-14)
    assert model.response_mean_s == pytest.approx((capacity + 1) / 2, rel=1e-14)


@laws
@given(utilizations, counts, st.floats(0.01, 0.9999))
def test_no_room_to_wait_is_erlangs_loss(utilization: float, servers: int, quantile: float) -> None:
    model = queue(utilization, servers, 0)
    assert model.loss_probability == pytest.approx(erlang_b(utilization * servers, servers), rel=CLAIM)
    assert model.wait_probability == model.wait_mean_s == model.wait_quantile_s(quantile) == 0.0
    assert model.wait_tail(0.0) == 0.0
    assert model.response_quantile_s(quantile) == pytest.approx(-math.log1p(-quantile), rel=1e-13)


@pytest.mark.parametrize(("utilization", "servers"), [(0.3, 1), (0.9, 1), (0.9, 10), (0.97, 500)])
def test_endless_room_is_mmc(utilization: float, servers: int) -> None:
    model = queue(utilization, servers, 4000)
    endless = MMc(arrival_rate_rps=utilization * servers, service_rate_rps=1.0, servers=servers)
    assert model.loss_probability < 1e-50
    for name in ("wait_probability", "empty_probability", "wait_mean_s", "in_system_mean", "utilization"):
        assert getattr(model, name) == pytest.approx(getattr(endless, name), rel=CLAIM)
    for quantile in (0.5, 0.99, 0.9999):
        assert model.response_quantile_s(quantile) == pytest.approx(
            endless.response_quantile_s(quantile), rel=CLAIM
        )
        assert model.wait_quantile_s(quantile) == pytest.approx(endless.wait_quantile_s(quantile), rel=CLAIM)
    if servers == 1:
        single = MM1(arrival_rate_rps=utilization, service_rate_rps=1.0)
        assert model.response_tail(7.0) == pytest.approx(single.response_tail(7.0), rel=CLAIM)


@pytest.mark.parametrize("utilization", [1.0 - 2e-5, 1.0, 1.0 + 1e-6, 1.2, 1000.0])
def test_a_million_places(utilization: float) -> None:
    """Weights and incomplete gamma functions of all 900 000 states, in doubles."""
    model = queue(utilization, 100_000, 900_000)
    states = np.arange(900_000)
    powers = states * math.log(utilization)
    found = np.exp(powers - powers.max())
    found *= model.wait_probability / found.sum()
    wait = model.wait_quantile_s(0.99)
    assert float(found @ gammaincc(states + 1.0, 1e5 * wait)) == pytest.approx(0.01, rel=1e-9)
    filled = float(states @ found) + float(found.sum())
    assert model.wait_mean_s == pytest.approx(filled / 1e5, rel=1e-10)
    assert model.utilization == pytest.approx(1.0, abs=1e-3)
    assert model.response_tail(model.response_quantile_s(0.9999)) == pytest.approx(1e-4, rel=1e-9)


@pytest.mark.long
@settings(derandomize=True, deadline=None, max_examples=10)
@given(utilizations, counts, rooms)
def test_the_area_under_a_tail_is_the_mean(utilization: float, servers: int, room: int) -> None:
    assume(servers <= 40)
    model = queue(utilization, servers, room)
    for tail, mean in ((model.wait_tail, model.wait_mean_s), (model.response_tail, model.response_mean_s)):
        if mean > 0.0:
            ends = [mean * k for k in (0, 0.3, 0.7, 1, 1.3, 2, 4, 8, 20)]
            if tail == model.wait_tail and mean < 1e-3:
                ends = [k / servers for k in (0, 0.3, 1, 3, 10, 40)]
            with mp.workdps(15):
                area = mp.quad(
                    lambda t, tail=tail: tail(float(t)), [*ends, max(60.0, 3.0 * ends[-1])], maxdegree=6
                )
            assert float(area) == pytest.approx(mean, rel=1e-6)


@laws
@given(utilizations, counts, rooms)
def test_more_load_loses_more_and_more_room_or_servers_less(utilization, servers, room) -> None:
    here = queue(utilization, servers, room)
    busier, roomier = queue(utilization * 1.01, servers, room), queue(utilization, servers, room + 1)
    wider = MMcK(
        arrival_rate_rps=utilization * servers,
        service_rate_rps=1.0,
        servers=servers + 1,
        capacity=servers + room + 1,
    )
    if here.loss_probability > 1e-290:
        assert busier.loss_probability > here.loss_probability > wider.loss_probability
        assert here.loss_probability >= roomier.loss_probability
    assert roomier.wait_mean_s >= here.wait_mean_s * (1.0 - CLAIM)
    assert busier.wait_mean_s >= here.wait_mean_s * (1.0 - CLAIM)


def test_geometric_sums() -> None:
    for terms in (0, 1, 2, 3, 10, 1000):
        for ratio in (0.25, 0.5, 1.0 - 2**-30, 1.0):
            powers = [ratio**k for k in range(terms)]
            log = math.log(ratio)
            assert geometric(log, terms) == pytest.approx(math.fsum(powers), rel=1e-13)
            total, first = ramp(log, terms)
            assert total == pytest.approx(math.fsum(powers), rel=1e-13)
            assert first == pytest.approx(math.fsum(k * p for k, p in enumerate(powers)), rel=1e-13)
    assert ramp(-math.inf, 5) == (1.0, 0.0)
