"""M/PH/c against Pollaczek and Khinchine at sixty digits, a plain sparse chain, M/M/c, and its own laws."""

import itertools
import math
import pickle
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array
from scipy.sparse.linalg import spsolve

from capacity.queues.durations import Duration, Family
from capacity.queues.general.mphc import MPHc
from capacity.queues.markov.mmc import MMc

CLAIM = 1e-11
laws = settings(derandomize=True, deadline=None, max_examples=40)
utilizations = st.floats(1e-6, 0.999)
counts = st.integers(1, 6)


def queue(
    utilization: float, servers: int, shape: tuple[Family, float], mean_s: float = 1.0, arrival: float = 0.0
) -> MPHc:
    service = Duration(family=shape[0], mean_s=mean_s, scv=shape[1])
    return MPHc(arrival_rate_rps=arrival or utilization * servers / mean_s, service=service, servers=servers)


class Exact:
    """M/PH/1 of mean service 1 at sixty digits, by partial fractions of the transforms.

    W*(s) = (1 - rho) s / (s - rho + rho B*(s)) and T* = W* B* have their poles where the denominator
    is 0, but for s = 0; those of B* cancel.
    """

    def __init__(self, load: float, shape: tuple[Family, float]) -> None:
        family, scv = shape
        with mp.workdps(60):
            self.load = mp.mpf(load)
            branches = _hyper(scv) if family is Family.HYPEREXPONENTIAL else None
            stages = 0 if branches else round(1 / scv)
            self.transform = (  # B*(-s)
                (lambda s: sum(p * m / (m - s) for p, m in branches))
                if branches
                else (lambda s: (stages / (stages - s)) ** stages)
            )
            polynomial = _of_hyper(self.load, branches) if branches else _of_erlang(self.load, stages)
            roots = zeros(polynomial)
            self.terms = [(s, -(1 - self.load) / (1 - self.load * mp.diff(self.transform, s))) for s in roots]
            self.wait_mean = self.load * (1 + (mp.mpf(scv) if branches else mp.mpf(1) / stages))
            self.wait_mean /= 2 * (1 - self.load)

    def wait_tail(self, time: float) -> mp.mpf:
        return mp.re(sum(r * mp.exp(-s * time) for s, r in self.terms))

    def response_tail(self, time: float) -> mp.mpf:
        return mp.re(sum(r * self.transform(s) * mp.exp(-s * time) for s, r in self.terms))


def zeros(falling: list[mp.mpf]) -> list[mp.mpc]:
    """Of a polynomial, as eigenvalues of its companion matrix."""
    size = len(falling) - 1
    companion = mp.matrix(size, size)
    for i in range(size):
        companion[0, i] = -falling[i + 1] / falling[0]
        if i > 0:
            companion[i, i - 1] = 1
    return list(mp.eig(companion, left=False, right=False))


def _hyper(scv: float) -> list[tuple[mp.mpf, mp.mpf]]:
    fast = (1 + mp.sqrt((mp.mpf(scv) - 1) / (mp.mpf(scv) + 1))) / 2
    return [(fast, 2 * fast), (1 - fast, 2 * (1 - fast))]


def _of_hyper(load: mp.mpf, branches: list[tuple[mp.mpf, mp.mpf]]) -> list[mp.mpf]:
    """(s + load)(m - s)(n - s) - load (p m (n - s) + q n (m - s)), over s; m + n = 2, p m + q n = (m^2 + n^2)/2."""
    (_, m), (_, n) = branches
    return [mp.mpf(1), load - 2, m * n - 2 * load + load * (m * m + n * n) / 2]


def _of_erlang(load: mp.mpf, stages: int) -> list[mp.mpf]:
    """(s + load)(k - s)^k - load k^k, over s; falling powers."""
    k = stages
    power = [mp.binomial(k, j) * mp.mpf(k) ** j * (-1) ** (k - j) for j in range(k + 1)]  # of s^(k - j)
    whole = [mp.mpf(0)] * (k + 2)
    for j, coefficient in enumerate(power):
        whole[j] += coefficient
        whole[j + 1] += load * coefficient
    return whole[:-1]


def error_of_quantile(tail, time_s: float, quantile: float) -> float:
    """Relative distance to the root, by one Newton step in log P."""
    step = mp.mpf(time_s) * mp.mpf(10) ** -20
    logs = [mp.log(tail(time_s + k * step)) for k in (-1, 0, 1)]
    slope = (logs[2] - logs[0]) / (2 * step)
    return float(abs((logs[1] - mp.log(1 - mp.mpf(quantile))) / slope / time_s))


@pytest.mark.parametrize("load", [1e-6, 0.3, 0.95, 1 - 1e-6])
@pytest.mark.parametrize(
    "shape",
    [(Family.ERLANG, 1.0), (Family.ERLANG, 0.5), (Family.ERLANG, 0.2), (Family.ERLANG, 1 / 12)]
    + [(Family.HYPEREXPONENTIAL, scv) for scv in (1.01, 2.0, 10.0, 900.0, 1e8)],
    ids=str,
)
def test_one_server_at_sixty_digits(load: float, shape: tuple[Family, float]) -> None:
    model, exact = queue(load, 1, shape), Exact(load, shape)
    with mp.workdps(60):
        assert abs(model.wait_mean_s / exact.wait_mean - 1) < CLAIM
        assert abs(model.response_mean_s / (exact.wait_mean + 1) - 1) < CLAIM
        assert abs(model.wait_probability / exact.load - 1) < CLAIM
        assert abs(model.empty_probability / (1 - exact.load) - 1) < CLAIM
        for time in (1e-9, 0.3, 2.0, 40.0, 3.0 * model.response_mean_s):
            wait, response = exact.wait_tail(time), exact.response_tail(time)
            assert wait < 1e-250 or abs(model.wait_tail(time) / wait - 1) < CLAIM
            assert response < 1e-250 or abs(model.response_tail(time) / response - 1) < CLAIM
        for quantile in (0.1, 0.5, 0.99, 0.9999, 1 - 1e-9):
            time = model.response_quantile_s(quantile)
            assert error_of_quantile(exact.response_tail, time, quantile) < CLAIM
            time = model.wait_quantile_s(quantile)
            if load > 1.01 * (1 - quantile):  # closer to the atom, only P itself has all its digits
                assert error_of_quantile(exact.wait_tail, time, quantile) < CLAIM
            else:
                assert time == 0.0


Step = tuple[tuple[int, int, int], float]


def steps(state: tuple[int, int, int], arrival: float, service: Duration, servers: int) -> list[Step]:
    """Where a state (busy in phase 1, busy in phase 2, waiting) leads, of Erlang-2 or two branches."""
    i, j, k = state
    if service.family is Family.ERLANG:
        p, q, rate = 1.0, 0.0, 2.0 / service.mean_s
        found = [((i - 1, j + 1, k), rate * i)]
        ends = [(i, j - 1, rate * j)]
    else:
        (p, fast), (q, slow) = service.branches
        found, ends = [], [(i - 1, j, fast * i), (i, j - 1, slow * j)]
    if i + j < servers:
        found += [((i + 1, j, 0), p * arrival), ((i, j + 1, 0), q * arrival)]
    else:
        found += [((i, j, k + 1), arrival)]
    for left, right, rate in ends:
        if k > 0:
            found += [((left + 1, right, k - 1), p * rate), ((left, right + 1, k - 1), q * rate)]
        else:
            found += [((left, right, 0), rate)]
    return [(target, rate) for target, rate in found if rate > 0.0]


def plain_chain(arrival: float, service: Duration, servers: int, room: int) -> tuple[float, float, float]:
    """P(N = 0), P(W > 0) and E Lq, all balance equations solved as they stand."""
    states = [(i, j, 0) for i in range(servers + 1) for j in range(servers + 1 - i)]
    states += [(i, servers - i, k) for k in range(1, room + 1) for i in range(servers + 1)]
    index = {state: at for at, state in enumerate(states)}
    size = len(states)
    rows, columns, rates = [], [], []
    for source, state in enumerate(states):
        for target, rate in steps(state, arrival, service, servers):
            if target in index:  # a full room turns arrivals away
                rows += [index[target], source]
                columns += [source, source]
                rates += [rate, -rate]
    balance = csc_array((rates, (rows, columns)), shape=(size, size))
    seen = spsolve(balance[1:, 1:], -balance[1:, [0]].toarray()[:, 0])  # per probability of state 0
    law = np.append(1.0, seen) / (1.0 + seen.sum())
    full = sum(p for p, (i, j, _) in zip(law, states, strict=True) if i + j == servers)
    return law[index[0, 0, 0]], full, sum(p * k for p, (_, _, k) in zip(law, states, strict=True))


@pytest.mark.parametrize("servers", [2, 3, 4, 5])
@pytest.mark.parametrize("utilization", [0.1, 0.7])
@pytest.mark.parametrize("shape", [(Family.ERLANG, 0.5), (Family.HYPEREXPONENTIAL, 3.0)], ids=str)
def test_a_plain_chain(servers: int, utilization: float, shape: tuple[Family, float]) -> None:
    model = queue(utilization, servers, shape, mean_s=5.0)
    room = math.ceil(60 * (1 + shape[1]) / (1 - utilization) ** 1.2)
    empty, waiting, queued = plain_chain(model.arrival_rate_rps, model.service, servers, room)
    assert model.empty_probability == pytest.approx(empty, rel=1e-10)
    assert model.wait_probability == pytest.approx(waiting, rel=1e-10)
    assert model.queue_length_mean == pytest.approx(queued, rel=1e-10)
    assert model.wait_mean_s == pytest.approx(queued / model.arrival_rate_rps, rel=1e-10)


@pytest.mark.parametrize("utilization", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("servers", [1, 2, 5, 20])
@pytest.mark.parametrize("shape", [(Family.ERLANG, 0.5), (Family.HYPEREXPONENTIAL, 6.0)], ids=str)
def test_tails_fall_as_they_must(utilization: float, servers: int, shape: tuple[Family, float]) -> None:
    """P(W > t) ~ K e^-xt with lambda / (lambda + x) E e^(x S/c) = 1; and T's constant is E e^(x S) that of W.

    Neuts & Takahashi (1981), Zeitschrift fur Wahrscheinlichkeitstheorie 57, 441-452, theorem 1. Where the
    service's own tail is the heavier, that of T is.
    """
    model = queue(utilization, servers, shape)
    with mp.workdps(40):
        branches = _hyper(shape[1])
        slowest = branches[1][1] if shape[0] is Family.HYPEREXPONENTIAL else mp.mpf(2)

        def transform(x: mp.mpf) -> mp.mpf:
            if shape[0] is Family.HYPEREXPONENTIAL:
                return sum(p * m / (m - x) for p, m in branches)
            return (2 / (2 - x)) ** 2

        arrival = mp.mpf(model.arrival_rate_rps)
        low, high = mp.mpf(0), servers * slowest
        for _ in range(120):
            x = (low + high) / 2
            low, high = (x, high) if arrival * transform(x / servers) < arrival + x else (low, x)
        time = 250.0 / float(x)
        rate = math.log(model.wait_tail(time) / model.wait_tail(2.0 * time)) / time
        assert rate == pytest.approx(float(x), rel=1e-11)
        if x < 0.5 * slowest:
            ratio = model.response_tail(2.0 * time) / model.wait_tail(2.0 * time)
            assert ratio == pytest.approx(float(transform(x)), rel=1e-10)


@laws
@given(utilizations, counts, st.floats(1.0, 50.0))
def test_variable_service_waits_longer(utilization, servers, scv) -> None:
    erlang = queue(utilization, servers, (Family.ERLANG, 0.5))
    plain = queue(utilization, servers, (Family.EXPONENTIAL, 1.0))
    hyper = queue(utilization, servers, (Family.HYPEREXPONENTIAL, scv))
    wilder = queue(utilization, servers, (Family.HYPEREXPONENTIAL, 1.1 * scv))
    waits = [model.wait_mean_s for model in (erlang, plain, hyper, wilder)]
    assert waits[0] < waits[1] <= waits[2] * (1 + CLAIM)
    assert waits[2] < waits[3]


@pytest.mark.parametrize(("arrival", "mean_s"), [(2.7027027, 0.37), (9.999999999, 0.1), (0.7, 1.4285714285)])
def test_spare_capacity_is_not_a_difference_of_rounded_numbers(arrival: float, mean_s: float) -> None:
    model = queue(0, 1, (Family.ERLANG, 0.5), mean_s=mean_s, arrival=arrival)
    load = Fraction(arrival) * Fraction(mean_s)
    exact = load * Fraction(mean_s) * Fraction(3, 4) / (1 - load)
    assert model.utilization > 1.0 - 1e-7
    assert abs(Fraction(model.wait_mean_s) / exact - 1) < 1e-14
    assert abs(Fraction(model.empty_probability) / (1 - load) - 1) < 1e-14


def test_fifty_servers_at_three_loads() -> None:
    """Halfin & Whitt's order of things, and M/M/c on either side."""
    for utilization in (0.5, 0.9, 0.999):
        calm = queue(utilization, 50, (Family.ERLANG, 0.5))
        plain = queue(utilization, 50, (Family.EXPONENTIAL, 1.0))
        wild = queue(utilization, 50, (Family.HYPEREXPONENTIAL, 4.0))
        assert calm.wait_mean_s < plain.wait_mean_s < wild.wait_mean_s
        if utilization == 0.999:  # heavy traffic: E W = (1 + scv)/2 of M/M/c's
            assert calm.wait_mean_s / plain.wait_mean_s == pytest.approx(0.75, rel=0.02)
            assert wild.wait_mean_s / plain.wait_mean_s == pytest.approx(2.5, rel=0.02)


def test_a_value_like_any_other() -> None:
    model = queue(0.8, 3, (Family.ERLANG, 0.5))
    assert model == queue(0.8, 3, (Family.ERLANG, 0.5)) != queue(0.8, 4, (Family.ERLANG, 0.5))
    assert repr(model).startswith("MPHc(arrival_rate_rps=2.4")
    assert "_waits" not in repr(model)
    assert pickle.loads(pickle.dumps(model)).wait_tail(1.0) == model.wait_tail(1.0)
    assert hash(model) == hash(queue(0.8, 3, (Family.ERLANG, 0.5)))


@pytest.mark.parametrize(("load", "servers"), list(itertools.product((1e-6, 0.2, 0.8, 0.999), (1, 2, 7, 60))))
@pytest.mark.parametrize("shape", [(Family.EXPONENTIAL, 1.0), (Family.HYPEREXPONENTIAL, 1.0)], ids=str)
def test_exponential_service_is_mmc(load: float, servers: int, shape: tuple[Family, float]) -> None:
    """Two like branches too, each with states of its own."""
    model = queue(load, servers, shape, mean_s=0.25)
    known = MMc(arrival_rate_rps=load * servers / 0.25, service_rate_rps=4.0, servers=servers)
    for name in (
        "wait_probability", "empty_probability", "queue_length_mean", "in_system_mean", "utilization",
    ):  # fmt: skip
        assert getattr(model, name) == pytest.approx(getattr(known, name), rel=1e-12)
    for name in ("wait_mean_s", "response_mean_s", "offered_load"):
        assert getattr(model, name) == pytest.approx(getattr(known, name), rel=1e-12)
    for time in (0.0, 0.01, 0.5, 5.0):
        assert model.wait_tail(time) == pytest.approx(known.wait_tail(time), rel=1e-12)
        assert model.response_tail(time) == pytest.approx(known.response_tail(time), rel=1e-12)
    for quantile in (0.5, 0.99, 0.9999):
        assert model.wait_quantile_s(quantile) == pytest.approx(known.wait_quantile_s(quantile), rel=CLAIM)
        assert model.response_quantile_s(quantile) == pytest.approx(
            known.response_quantile_s(quantile), rel=CLAIM
        )
