"""M/M/c+M against its chain, against a tagged request followed state by state, and by its own laws."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from capacity.queues.markov.erlang_a import ErlangA
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=60)
utilizations = (
    st.floats(-6, 3).map(lambda power: 10.0**power)
    | st.floats(-12, -1).map(lambda power: 1.0 + 10.0**power)
    | st.floats(-12, -1).map(lambda power: 1.0 - 10.0**power)
    | st.just(1.0)
)
counts = st.integers(1, 12) | st.sampled_from([40, 200])
patiences = st.floats(-4, 3).map(lambda power: 10.0**power)


def queue(utilization: float, servers: int, patience: float, service: float = 1.0) -> ErlangA:
    return ErlangA(
        arrival_rate_rps=utilization * servers * service,
        service_rate_rps=service,
        servers=servers,
        patience_mean_s=patience / service,
    )


def served_wait_s(model: ErlangA) -> float:
    return model._served_wait_mean / model.service_rate_rps


class Exact:
    """Births and deaths summed at many digits, by Kummer's function beyond c (Palm 1957), and integrals.

    The law of the offered wait is Baccelli & Hebuterne's density, integrated as it stands.
    """

    def __init__(self, model: ErlangA) -> None:
        self.servers, self.mu = model.servers, mp.mpf(model.service_rate_rps)
        patience = mp.mpf(model.patience_mean_s)
        self.load = mp.mpf(model.arrival_rate_rps) / self.mu
        self.x, self.y = self.servers * self.mu * patience, self.load * self.mu * patience
        with mp.workdps(min(1000, 80 + int(1.3 * self.y)) if self.y > self.x else 80):
            weights = [mp.mpf(1)]
            for n in range(1, self.servers + 1):
                weights.append(weights[-1] * self.load / n)
            beyond = mp.hyp1f1(1, self.x + 1, self.y)
            total = mp.fsum(weights[:-1]) + weights[-1] * beyond
            self.full = weights[-1] / total
            self.empty, self.ready = 1 / total, mp.fsum(weights[:-1]) / total
            self.waiting = self.full * beyond
            self.queue = self.full * ((self.y - self.x) * beyond + self.x)
            self.busy = mp.fsum(n * w for n, w in enumerate(weights[:-1])) / total
            self.busy += self.servers * self.waiting
            self.served = self.busy / self.load

    def area(self, falling: mp.mpf, low: mp.mpf, high: mp.mpf) -> mp.mpf:
        """Integral of e^(y(1 - e^-u) - falling u): two incomplete gamma functions, of y e^-u."""

        def beyond(u: mp.mpf) -> mp.mpf:
            z = self.y * mp.exp(-u)
            return mp.exp(self.y - z - falling * u) * mp.hyp1f1(1, falling + 1, z) / falling

        return self.x * self.full * (beyond(low) - (beyond(high) if high < mp.inf else 0))

    def tails(self, time: float) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
        """Of the offered wait, of the wait and of the response of served requests."""
        with mp.workdps(60 + int(1.3 * self.y)):
            t, rate = mp.mpf(time) * self.servers / self.x, self.x / self.servers
            late = self.area(self.x + 1, t, mp.inf)
            serving = mp.exp(-rate * t) * self.area(self.x + 1 - rate, mp.mpf(0), t)
            response = self.ready * mp.exp(-mp.mpf(time)) + late + serving
            return self.area(self.x, t, mp.inf), late / self.served, response / self.served

    def served_mean(self) -> mp.mpf:
        top = mp.log(self.y / (self.x + 1)) if self.y > self.x + 1 else mp.mpf(0)
        width = min(1 / mp.sqrt(self.x + 1), 1 / (self.x + 1 - self.y) if self.y < self.x else mp.inf)
        ends = [top + k * width for k in (-20, -10, -5, -2, 0, 2, 5, 10, 20, 40, 80)]
        ends = [mp.mpf(0), *(end for end in ends if end > 0)]

        def term(u: mp.mpf) -> mp.mpf:
            return u * mp.exp(self.y * (1 - mp.exp(-u)) - (self.x + 1) * u)

        return self.x * self.full * mp.quad(term, ends) / self.served * self.x / self.servers


def agrees(value: float, truth: mp.mpf, claim: float = CLAIM) -> bool:
    return bool(abs(mp.mpf(value) - truth) <= claim * truth) or bool(truth < mp.mpf("1e-290"))


@settings(laws, max_examples=12)
@given(utilizations, counts, patiences, st.floats(-9, 12))
def test_means_and_probabilities_at_many_digits(utilization, servers, patience, power) -> None:
    model = queue(utilization, servers, patience, 10.0**power)
    exact = Exact(model)
    rate, mu = mp.mpf(model.arrival_rate_rps), exact.mu
    for value, truth in (
        (model.wait_probability, exact.waiting),
        (model.empty_probability, exact.empty),
        (model.queue_length_mean, exact.queue),
        (model.utilization, exact.busy / servers),
        (model.in_system_mean, exact.busy + exact.queue),
        (model.abandon_probability, exact.queue / exact.y),
        (model.served_share, exact.served),
        (model.throughput_rps, exact.served * rate),
        (model.wait_mean_s, exact.queue / rate),
        (model.load, exact.load / servers),
        (model.offered_load, exact.load),
    ):
        assert agrees(value, truth)
    served = exact.served_mean()
    assert agrees(served_wait_s(model), served / mu, 1e-11)
    assert agrees(model.response_mean_s, (served + 1) / mu, 1e-11)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.floats(-3, 0.9).map(lambda power: 10.0**power) | st.floats(0.9, 1.1) | st.just(1.0),
    st.integers(1, 12) | st.just(40),
    st.floats(-3, 1.3).map(lambda power: 10.0**power),
    st.sampled_from([1e-3, 0.3, 1.0, 3.0, 12.0]),
)
def test_laws_at_many_digits(utilization: float, servers: int, patience: float, times: float) -> None:
    assume(utilization * servers * patience < 2e3)
    model = queue(utilization, servers, patience)
    time = times * (model.response_mean_s if times >= 1.0 else served_wait_s(model))
    _, wait, response = Exact(model).tails(time)
    assert agrees(model.wait_tail(time), wait, 1e-11)
    assert agrees(model.response_tail(time), response, 1e-11)


@pytest.mark.parametrize("utilization", [1.001, 2.0, 20.0, 1e4])
@pytest.mark.parametrize("patience", [1e-12, 1e-9, 1e-6, 1e-4])
@pytest.mark.parametrize("times", [1e-6, 0.3, 1.0, 8.0])
def test_waits_of_hardly_any_patience_keep_their_digits(utilization, patience, times) -> None:
    """In overload, where the offered wait is nearly all atom: 1e-9 of it is not 1 - (1 - 1e-9)."""
    model = queue(utilization, 2, patience)
    time = times * patience
    _, wait, response = Exact(model).tails(time)
    assert agrees(model.wait_tail(time), wait)
    assert agrees(model.response_tail(time), response)


class Followed:
    """A tagged request that finds j others waiting: stages of rate c mu + k theta, by matrix exponentials.

    States 0 ... j: so many are ahead in the queue; then in service, served, gone. Found by PASTA.
    """

    def __init__(self, model: ErlangA, room: int = 70) -> None:
        self.model, self.room = model, room
        mu, c, theta = model.service_rate_rps, model.servers, 1.0 / model.patience_mean_s
        weights = [1.0]
        for n in range(1, c + room):
            weights.append(weights[-1] * model.arrival_rate_rps / (mu * min(n, c) + theta * max(0, n - c)))
        self.found = np.array(weights) / math.fsum(weights)
        generator = np.zeros((room + 2, room + 2))  # 0 in service, 1 + k: k ahead, the last: left or done
        generator[0, [0, room + 1]] = -mu, mu
        for k in range(room):
            ahead = c * mu + k * theta
            generator[1 + k, [k, 1 + k, room + 1]] = ahead, -ahead - theta, theta
        self.generator = generator
        start = np.zeros(room + 2)
        start[0], start[1 : room + 1] = self.found[:c].sum(), self.found[c:]
        self.start = start
        outcome = np.linalg.solve(-generator[1:-1, 1:-1], generator[1:-1, 0])
        self.will_be_served = np.concatenate([[1.0], outcome])
        self.served = float(start[:-1] @ self.will_be_served)

    def wait_and_response(self, time_s: float) -> tuple[float, float]:
        state = (self.start @ expm(self.generator * time_s))[:-1]
        waits = state.copy()
        waits[0] = 0.0
        late = float(waits @ self.will_be_served) / self.served
        return late, float(state @ self.will_be_served) / self.served


@pytest.mark.parametrize(
    ("utilization", "servers", "patience"),
    [(0.8, 1, 2.0), (1.5, 2, 1.0), (3.0, 3, 0.5), (0.5, 5, 0.2), (1.0, 4, 3.0), (0.75, 4, 5.0)],
)
def test_a_tagged_request_followed(utilization: float, servers: int, patience: float) -> None:
    model = queue(utilization, servers, patience, 3.0)
    tagged = Followed(model)
    assert model.served_share == pytest.approx(tagged.served, rel=1e-11)
    for time_s in (0.0, 0.02, 0.1, 0.4, 1.5):
        wait, response = tagged.wait_and_response(time_s)
        assert model.wait_tail(time_s) == pytest.approx(wait, rel=1e-9)
        assert model.response_tail(time_s) == pytest.approx(response, rel=1e-9)
    for quantile in (0.9, 0.9999):
        time_s = model.response_quantile_s(quantile)
        assert tagged.wait_and_response(time_s)[1] == pytest.approx(1.0 - quantile, rel=1e-8)


def test_the_call_center_of_garnett_mandelbaum_and_reiman() -> None:
    """(2002), table 1: 50 agents, 48 calls a minute of one minute each, callers patient for two minutes.

    Printed: 3.1 % abandon, 3.6 s mean wait (of the served), 3 in queue, agents busy for 93 %; and
    20.8 s, 17 and 96 % if nobody left.
    """
    center = ErlangA(arrival_rate_rps=48 / 60, service_rate_rps=1 / 60, servers=50, patience_mean_s=120.0)
    assert center.abandon_probability == pytest.approx(0.031, abs=5e-4)
    assert served_wait_s(center) == pytest.approx(3.6, abs=0.05)
    assert center.queue_length_mean == pytest.approx(3.0, abs=0.05)
    assert center.utilization == pytest.approx(0.93, abs=5e-3)
    patient = ErlangA(arrival_rate_rps=48 / 60, service_rate_rps=1 / 60, servers=50, patience_mean_s=1e20)
    assert patient.wait_mean_s == pytest.approx(20.8, abs=0.05)
    assert patient.queue_length_mean == pytest.approx(17.0, abs=0.5)
    assert patient.utilization == pytest.approx(0.96, abs=1e-9)


# Garnett, Mandelbaum & Reiman (2002), theorem 4: many servers, c = a + b sqrt(a), the Garnett function.
@pytest.mark.parametrize("spare", [-1.0, 0.0, 0.5, 1.5])
@pytest.mark.parametrize("patience", [0.25, 1.0, 4.0])
def test_the_limit_of_many_servers(spare: float, patience: float) -> None:
    load, root = 1e8, 1e4
    servers = round(load + spare * root)
    model = ErlangA(arrival_rate_rps=load, service_rate_rps=1.0, servers=servers, patience_mean_s=patience)

    def hazard(z: float) -> float:
        return math.sqrt(2.0 / math.pi) * math.exp(-z * z / 2.0) / math.erfc(z / math.sqrt(2.0))

    r = math.sqrt(patience)  # sqrt(mu / theta)
    waiting = 1.0 / (1.0 + hazard(spare * r) / hazard(-spare) / r)
    assert model.wait_probability == pytest.approx(waiting, rel=3e-4)
    leaving = (hazard(spare * r) / r - spare) / root * waiting
    assert model.abandon_probability == pytest.approx(leaving, rel=1e-3)


@pytest.mark.parametrize(("utilization", "servers"), [(0.4, 1), (1.0, 7), (3.0, 20), (1.1, 100)])
def test_patience_as_long_as_service_makes_the_number_poisson(utilization: float, servers: int) -> None:
    """Then each request leaves at rate mu, served or not: M/M/infinity in disguise."""
    model, load = queue(utilization, servers, 1.0), utilization * servers
    assert model.empty_probability == pytest.approx(math.exp(-load), rel=CLAIM)
    assert model.in_system_mean == pytest.approx(load, rel=CLAIM)
    term, below = math.exp(-load), 0.0
    for n in range(servers):
        below, term = below + term, term * load / (n + 1)
    assert model.wait_probability == pytest.approx(1.0 - below, rel=1e-11)


@pytest.mark.parametrize(("utilization", "servers"), [(0.5, 1), (0.9, 10), (0.9999, 10), (0.99999, 100_000)])
@pytest.mark.parametrize("patience", [1e20, 1e29])
def test_endless_patience_is_mmc(utilization: float, servers: int, patience: float) -> None:
    model = queue(utilization, servers, patience)
    endless = MMc(arrival_rate_rps=utilization * servers, service_rate_rps=1.0, servers=servers)
    for name in ("wait_probability", "wait_mean_s", "response_mean_s", "queue_length_mean", "utilization"):
        assert getattr(model, name) == pytest.approx(getattr(endless, name), rel=1e-9)
    assert model.response_quantile_s(0.999) == pytest.approx(endless.response_quantile_s(0.999), rel=1e-9)
    assert model.wait_quantile_s(0.999) == pytest.approx(endless.wait_quantile_s(0.999), rel=1e-9)
    assert model.abandon_probability < 1e-9
    if servers == 1:
        single = MM1(arrival_rate_rps=utilization, service_rate_rps=1.0)
        assert model.response_tail(9.0) == pytest.approx(single.response_tail(9.0), rel=1e-11)


@pytest.mark.parametrize(("utilization", "servers"), [(0.5, 1), (0.9, 10), (5.0, 10), (0.999, 100_000)])
def test_no_patience_is_loss(utilization: float, servers: int) -> None:
    model = queue(utilization, servers, 1e-28)
    loss = MMcK(
        arrival_rate_rps=utilization * servers, service_rate_rps=1.0, servers=servers, capacity=servers
    )
    assert model.abandon_probability == pytest.approx(loss.loss_probability, rel=CLAIM)
    assert model.utilization == pytest.approx(loss.utilization, rel=CLAIM)
    assert model.wait_quantile_s(0.9) == 0.0
    assert model.response_quantile_s(0.99) == pytest.approx(-math.log(0.01), rel=CLAIM)


@pytest.mark.parametrize(("utilization", "patience"), [(1.2, 1e3), (1000.0, 1e12), (1e9, 1e29)])
def test_deep_overload_is_fluid(utilization: float, patience: float) -> None:
    """The served are those who outlast log(rho) mean patiences (Whitt 2006, Operations Research 54)."""
    model = queue(utilization, 100_000, patience)
    assert model.throughput_rps == pytest.approx(1e5, rel=1e-9)
    assert model.abandon_probability == pytest.approx(1.0 - 1.0 / utilization, rel=1e-9)
    assert served_wait_s(model) / patience == pytest.approx(math.log(utilization), rel=1e-3)
    assert model.wait_quantile_s(0.5) / patience == pytest.approx(math.log(utilization), rel=1e-3)
    assert model.wait_mean_s / patience == pytest.approx(1.0 - 1.0 / utilization, rel=1e-9)


@laws
@given(utilizations, counts, patiences)
def test_laws_of_conservation(utilization: float, servers: int, patience: float) -> None:
    model = queue(utilization, servers, patience)
    rate = model.arrival_rate_rps
    assert model.queue_length_mean == pytest.approx(rate * model.wait_mean_s, rel=CLAIM)
    assert model.wait_mean_s == pytest.approx(model.abandon_probability * patience, rel=CLAIM)
    assert model.throughput_rps == pytest.approx(servers * model.utilization, rel=CLAIM)
    assert model.served_share + model.abandon_probability == pytest.approx(1.0, rel=CLAIM)
    served_late = model.wait_probability - model.abandon_probability
    assert model.wait_tail(0.0) * model.served_share == pytest.approx(served_late, rel=1e-9, abs=1e-14)
    assert model.response_tail(0.0) == pytest.approx(1.0, rel=CLAIM)


@laws
@given(utilizations, counts, patiences)
def test_more_load_or_patience_waits_longer_and_more_servers_shorter(utilization, servers, patience) -> None:
    here = queue(utilization, servers, patience)
    busier, calmer = (
        queue(utilization * 1.01, servers, patience),
        queue(utilization, servers, patience * 1.01),
    )
    wider = ErlangA(
        arrival_rate_rps=utilization * servers,
        service_rate_rps=1.0,
        servers=servers + 1,
        patience_mean_s=patience,
    )
    if here.wait_probability > 1e-290:
        assert busier.wait_mean_s > here.wait_mean_s > wider.wait_mean_s
        assert busier.abandon_probability > here.abandon_probability
        assert wider.abandon_probability <= here.abandon_probability * (1.0 + CLAIM)
        assert calmer.wait_mean_s > here.wait_mean_s
        assert calmer.abandon_probability <= here.abandon_probability * (1.0 + CLAIM)


def test_nothing_happens_where_the_methods_change() -> None:
    """At a load of c, and of c - 1 servers, and at 400 departures in a mean patience."""
    for at, step in ((1.0, 1e-13), (0.9, 1e-13), (1.0 + 1e-9, 1e-13)):
        low, high = queue(at - step, 10, 5.0), queue(at + step, 10, 5.0)
        for name in ("wait_probability", "queue_length_mean", "response_mean_s"):
            assert getattr(low, name) == pytest.approx(getattr(high, name), rel=1e-11)
        assert low.response_tail(1.5) == pytest.approx(high.response_tail(1.5), rel=1e-11)
    for utilization in (0.7, 1.0, 1.3):
        low, high = queue(utilization, 10, 40.0), queue(utilization, 10, math.nextafter(40.0, 41.0))
        assert low.queue_length_mean == pytest.approx(high.queue_length_mean, rel=1e-13)
        assert low.response_tail(1.5) == pytest.approx(high.response_tail(1.5), rel=1e-13)
