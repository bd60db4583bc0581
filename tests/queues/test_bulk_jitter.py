"""Jittered batches: Erlang phases, transforms inverted at 30 digits, simulation and limits against the law."""

import math
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import leggauss
from scipy.sparse import coo_array, csr_array
from scipy.special import gammaincc, gammaln
from scipy.stats import gamma, nbinom

from capacity.errors import DomainError
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.batch.gamma import BulkJitter
from capacity.queues.batch.gamma_chain import JitterChain, _require_room
from capacity.queues.batch.gamma_law import GammaShape, JitterLaw, stirling_rest

V100_S = tuple(1e-3 * (0.1438 * b + 1.8874) for b in range(1, 9))  # Inoue (2021), linear fit
UNEVEN_S = (3.0, 2.0, 5.0, 3.4)  # a batch of 2 is faster than one request, of 3 slower than of 4
CLAIM = 1e-10
laws = settings(derandomize=True, deadline=None, max_examples=5)


def close(truth, rel: float = CLAIM, abs: float = 0.0):  # noqa: A002
    """pytest's own absolute tolerance of 1e-12 would hide errors of small probabilities."""
    return pytest.approx(truth, rel=rel, abs=abs)


def jitter(rate_rps: float, times_s: tuple[float, ...], cv: float) -> BulkJitter:
    return BulkJitter(arrival_rate_rps=rate_rps, batch_times_s=times_s, service_cv=cv)


@cache
def at_load(load: float, times_s: tuple[float, ...], cv: float) -> BulkJitter:
    return jitter(load * len(times_s) / times_s[-1], times_s, cv)


# Numbers of somebody else.


def test_the_salon_of_gross_and_harris() -> None:
    """Gross et al. (2008), sec. 2.2: 5 customers an hour, 10 minutes each, exponential; in hours."""
    salon = jitter(5.0, (1 / 6,), 1.0)
    assert salon.in_system_mean == close(5.0)
    assert salon.queue_length_mean == close(25 / 6)
    assert salon.wait_mean_s == close(5 / 6)
    assert salon.wait_tail(0.75) == close(0.3936, abs=5e-5)
    assert salon.empty_probability == close(1 / 6)


@pytest.mark.parametrize(
    ("rate_rps", "cv", "p99_ms"),
    [(2300.0, 0.1, 11.123), (1500.0, 0.1, 6.007), (1500.0, 0.3, 7.829), (1500.0, 1.0, 23.29)],
)
def test_p99_found_before_by_gauss_laguerre_quadrature(rate_rps: float, cv: float, p99_ms: float) -> None:
    """Worked out apart from this code: Gauss-Laguerre nodes for services, phases at cv = 1."""
    found = 1e3 * jitter(rate_rps, V100_S, cv).response_quantile_s(0.99)
    assert found == close(p99_ms, abs=0.5 * 10.0 ** -len(f"{p99_ms}".split(".")[1]) * 1.01)


# A second road where 1/cv^2 is whole: a Markov chain over the phases of services, the tagged request in it.


class Phases:
    """Continuous-time chain (batch under way, its phase, line), and of a tagged request till its end."""

    def __init__(self, model: BulkJitter, line: int) -> None:
        self.k = round(1.0 / model.service_cv**2)
        self.size, self.lam, self.line = model.batch_size_max, model.arrival_rate_rps, line
        self.rates = [self.k / s for s in model.batch_times_s]
        self.seen = self._stationary()

    def _stationary(self) -> dict[tuple[int, int, int], float]:
        """By size - 1, phase and line; size -1 where idle."""
        index = {(-1, 0, 0): 0}
        for b in range(self.size):
            for i in range(self.k):
                for q in range(self.line):
                    index[b, i, q] = len(index)
        matrix = np.zeros((len(index), len(index)))
        for (b, i, q), at in index.items():
            moves = [(index[0, 0, 0] if b < 0 else index.get((b, i, q + 1)), self.lam)]
            if b >= 0:
                moves.append((index[self._after(b, i, q)], self.rates[b]))
            for to, rate in moves:
                if to is not None:
                    matrix[at, to] += rate
                    matrix[at, at] -= rate
        matrix[:, 0] = 1.0
        found = np.linalg.solve(matrix.T, np.eye(len(index))[0])
        return {state: float(found[at]) for state, at in index.items()}

    def _after(self, b: int, i: int, q: int) -> tuple[int, int, int]:
        if i + 1 < self.k:
            return b, i + 1, q
        taken = min(q, self.size)
        return (taken - 1, 0, q - taken) if taken else (-1, 0, 0)

    def tails(self, times_s: list[float], *, wait: bool) -> list[float]:
        """P(W > t) or P(T > t) by uniformization; a state is waiting (b, i, ahead, behind) or served (c, i)."""
        index: dict[tuple[int, ...], int] = {}
        moves: list[tuple[int, int, float]] = []
        start: dict[int, float] = {}
        pending = []

        def at(state: tuple[int, ...]) -> int:
            if state not in index:
                index[state] = len(index)
                pending.append(state)
            return index[state]

        for (b, i, q), p in self.seen.items():
            state = (0, 0) if b < 0 else (b, i, q, 0)
            if len(state) == 4 or not wait:
                start[at(state)] = start.get(at(state), 0.0) + p
        while pending:
            state = pending.pop()
            for to, rate in self._tagged(state):
                gone = to is None or (wait and len(to) == 2)
                moves.append((index[state], -1 if gone else at(to), rate))
        return self._uniformized(len(index), moves, start, times_s)

    def _tagged(self, state):
        if len(state) == 2:
            c, i = state
            return [((c, i + 1) if i + 1 < self.k else None, self.rates[c])]
        b, i, q, n = state
        found = [((b, i, q, n + 1), self.lam)] if q % self.size + n + 1 < self.size else []
        if i + 1 < self.k:
            to = (b, i + 1, q, n)
        elif q >= self.size:
            to = (self.size - 1, 0, q - self.size, n)
        else:
            to = (min(self.size, q + 1 + n) - 1, 0)
        return [*found, (to, self.rates[b])]

    @staticmethod
    def _uniformized(count, moves, start, times_s):
        out = np.zeros(count)
        for source, _, rate in moves:
            out[source] += rate
        fastest = out.max()
        inner = [(s, t, r / fastest) for s, t, r in moves if t >= 0] + [
            (s, s, 1.0 - out[s] / fastest) for s in range(count)
        ]
        rows, columns, values = zip(*inner, strict=True)
        step = csr_array(coo_array((values, (columns, rows)), shape=(count, count)))
        vector = np.zeros(count)
        vector[list(start)] = list(start.values())
        jumps = math.ceil(fastest * max(times_s) + 12.0 * math.sqrt(fastest * max(times_s)) + 40.0)
        left = np.empty(jumps)
        for j in range(jumps):
            left[j] = vector.sum()
            vector = step @ vector
        j = np.arange(jumps)
        means = [fastest * t for t in times_s]
        return [float(np.exp(j * math.log(m) - m - gammaln(j + 1.0)) @ left) for m in means]


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (jitter(0.8, UNEVEN_S, 1.0), 260),
        (jitter(0.25, UNEVEN_S[:3], 0.5), 40),
        (jitter(1.2, (0.4, 0.9), 10**-0.5), 60),
        (jitter(0.5, (1.0, 0.7, 0.5), 0.5**0.5), 60),
    ],
    ids=["exponential", "uneven", "erlang 10", "falling"],
)
def test_phases(model: BulkJitter, line: int) -> None:
    phases = Phases(model, line)
    assert model.empty_probability == close(phases.seen[-1, 0, 0])
    waiting = math.fsum(p * q for (_, _, q), p in phases.seen.items())
    assert model.queue_length_mean == close(waiting)
    shares = [0.02, 0.3, 1.0, 2.0, 4.0]
    times = [x * model.response_mean_s for x in shares]
    for tail, wait in ((model.wait_tail, True), (model.response_tail, False)):
        for time, truth in zip(times, phases.tails(times, wait=wait), strict=True):
            assert tail(time) == close(truth)


# A second road for any cv: transforms, inverted at many digits.


class Pairs:
    """B = 2 at many digits: the transform of a tagged request's response, in which no power of lambda is left."""

    def __init__(self, model: BulkJitter, states: int) -> None:
        self.k = 1 / mp.mpf(model.service_cv) ** 2
        self.lam = mp.mpf(model.arrival_rate_rps)
        self.times = [mp.mpf(s) for s in model.batch_times_s]
        self.states = states
        self.counts = [self._counts(s) for s in self.times]
        matrix = mp.matrix(states, states)
        for x in range(states):
            law = self.counts[0 if x < 2 else 1]
            for i in range(states - max(0, x - 2)):
                matrix[max(0, x - 2) + i, x] += law[i]
        for x in range(states):
            matrix[x, x] -= 1
            matrix[0, x] = 1
        self.law = mp.lu_solve(matrix, mp.matrix([1] + [0] * (states - 1)))
        self.known: dict[mp.mpc, list[mp.mpc]] = {}
        self.size_mean = self.law[0] + self.law[1] + 2 * mp.fsum(self.law[x] for x in range(2, states))

    def _counts(self, mean: mp.mpf) -> list[mp.mpf]:
        load = self.lam * mean / self.k
        law = [(1 + load) ** -self.k]
        for i in range(self.states):
            law.append(law[-1] * (self.k + i) / (i + 1) * load / (1 + load))
        return law

    def service(self, size: int, s: mp.mpc) -> mp.mpc:
        return (1 + s * self.times[size - 1] / self.k) ** -self.k

    def lines(self, s: mp.mpc) -> list[mp.mpc]:
        """Transforms of the residual service at arrivals that find q in line, per batch."""
        if s in self.known:
            return self.known[s]
        found = self.known[s] = []
        single, two = self.law[0] + self.law[1], self.service(2, s)
        for q in range(self.states - 2):
            begun = self.law[q + 2] * two + (single * self.service(1, s) if q == 0 else 0)
            found.append((self.law[q] - begun - (self.lam * found[-1] if q else 0)) / (s - self.lam))
        return found

    def response(self, s: mp.mpc) -> mp.mpc:
        """Of P(T > t)."""
        one, two = self.service(1, s), self.service(2, s)
        shifted = self.service(2, s + self.lam)
        total = self.law[0] * one
        for q, (here, alone) in enumerate(zip(self.lines(s), self.lines(s + self.lam), strict=True)):
            waited = self.lam * here * two ** (q // 2)
            total += waited * two
            if q % 2 == 0:  # first of its batch, and with nobody behind it alone
                total += self.lam * alone * shifted ** (q // 2) * (one - two)
        return (1 - total / self.size_mean) / s

    def wait(self, s: mp.mpc) -> mp.mpc:
        """Of P(W > t)."""
        two = self.service(2, s)
        total = self.law[0] + self.lam * mp.fsum(x * two ** (q // 2) for q, x in enumerate(self.lines(s)))
        return (1 - total / self.size_mean) / s


@pytest.mark.long
@pytest.mark.parametrize(
    ("times_s", "load", "cv", "states", "share"),
    [((1.0, 1.7), 0.5, 0.4, 40, 0.4), ((1.0, 1.7), 0.2, 1.5, 44, 2.0), ((1.3, 1.0), 0.5, 0.15, 30, 2.0)],
)
def test_pairs_by_transform(times_s, load, cv, states, share) -> None:
    model = at_load(load, times_s, cv)
    with mp.workdps(30):
        exact = Pairs(model, states)
        assert model.batch_size_mean == close(float(exact.size_mean))
        time = share * model.response_mean_s
        for tail, transform in ((model.response_tail, exact.response), (model.wait_tail, exact.wait)):
            truth = mp.invertlaplace(transform, time, method="dehoog", degree=32)
            assert tail(time) == close(float(truth), rel=1e-9)


def transform_of_wait(model: BulkJitter, s: mp.mpc) -> mp.mpc:
    """Of P(W > t) without batches; Pollaczek and Khinchine, Kleinrock (1975) eq. 5.105."""
    lam, mean = mp.mpf(model.arrival_rate_rps), mp.mpf(model.batch_times_s[0])
    k = 1 / mp.mpf(model.service_cv) ** 2
    service = (1 + s * mean / k) ** -k
    return (1 - (1 - lam * mean) * s / (s - lam * (1 - service))) / s


@pytest.mark.long
@pytest.mark.parametrize(
    ("load", "cv", "quantile"),
    [(0.3, 0.05, 0.9999), (0.95, 0.1, 0.97), (0.05, 0.7, 0.97), (0.999, 0.4, 0.9999), (0.5, 3.0, 0.9999)],
)  # fmt: skip
def test_without_batches_it_is_m_g_1(load: float, cv: float, quantile: float) -> None:
    model = at_load(load, (2.0,), cv)
    wait_mean_s = 0.5 * model.arrival_rate_rps * 4.0 * (1.0 + cv**2) / (1.0 - load)
    assert model.wait_mean_s == close(wait_mean_s)
    assert model.wait_probability == close(load, rel=1e-13)
    k = 1.0 / cv**2
    how = {"method": "dehoog", "degree": 60 if cv < 0.1 else 40}
    with mp.workdps(30):
        time = model.wait_quantile_s(quantile)
        tail = mp.invertlaplace(lambda s: transform_of_wait(model, s), time, **how)
        assert model.wait_tail(time) == close(1.0 - quantile, rel=1e-9)
        assert float(tail) == close(1.0 - quantile, rel=1e-9)
        total = mp.invertlaplace(
            lambda s: 1 / s - (1 + 2 * s / k) ** -k * (1 / s - transform_of_wait(model, s)),
            time,
            **how,
        )
        assert model.response_tail(time) == close(float(total), rel=1e-9)


@pytest.mark.parametrize(("load", "cv", "time_s"), [(0.4, 1.5, 120.0), (0.5, 3.0, 2e-14)])
def test_without_batches_far_away_and_at_once(load: float, cv: float, time_s: float) -> None:
    model = at_load(load, (2.0,), cv)
    with mp.workdps(50):
        tail = mp.invertlaplace(lambda s: transform_of_wait(model, s), time_s, method="dehoog", degree=60)
        assert model.wait_tail(time_s) == close(float(tail), rel=1e-9)


@pytest.mark.parametrize(("size", "load"), [(1, 0.8), (4, 1e-3), (4, 0.3), (16, 0.9), (16, 0.999), (32, 0.5)])
def test_exponential_service_of_any_batch_has_a_closed_form(size: int, load: float) -> None:
    model = at_load(load, (3.0,) * size, 1.0)
    closed = BulkMarkov(
        arrival_rate_rps=model.arrival_rate_rps, service_time_s=3.0, batch_size_max=size, servers=1
    )
    for name in (
        "wait_probability", "wait_mean_s", "response_mean_s", "queue_length_mean", "empty_probability",
    ):  # fmt: skip
        assert getattr(model, name) == close(getattr(closed, name))
    for quantile in (0.5, 0.99, 0.9999):
        truth = closed.response_quantile_s(quantile)
        assert model.response_quantile_s(quantile) == close(truth)
        waited = closed.wait_quantile_s(quantile)
        assert model.wait_quantile_s(quantile) == close(waited, abs=1e-11)


# The law against itself, its limits, and a simulation.


def decay_per_s(model: BulkJitter) -> float:
    """eta, where P(W > t) falls as e^(-eta t): the queue's, or the longest service's own."""
    return model._chain.rate_slowest / model.batch_times_s[-1]


def area(tail, ends: list[float], panels: int) -> float:
    nodes, weights = leggauss(8)
    total = 0.0
    for start, end in pairwise(ends):
        half = 0.5 * (end - start) / panels
        for j in range(panels):
            middle = start + (2 * j + 1) * half
            total += half * math.fsum(
                w * tail(middle + half * x) for x, w in zip(nodes, weights, strict=True)
            )
    return total


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "panels"),
    [
        (jitter(2300.0, V100_S, 0.06), 14),
        (jitter(0.4, UNEVEN_S, 0.8), 8),
        (at_load(0.9, (0.02, 0.5, 0.6), 0.25), 12),
        (at_load(0.6, tuple(1.0 + b / 8 for b in range(40)), 0.5), 3),
    ],
    ids=["narrow", "uneven", "far apart", "large"],
)
def test_means_are_the_areas_under_the_tails(model: BulkJitter, panels: int) -> None:
    scale = max(model.response_mean_s, model.batch_times_s[-1])
    ends = [scale * x for x in (0.0, 0.02, 0.1, 0.5, 1.0, 2.0, 4.0, 9.0, 18.0)]
    for tail, mean in (
        (model.response_tail, model.response_mean_s),
        (model.wait_tail, model.wait_mean_s),
    ):
        rest = tail(ends[-1]) / decay_per_s(model)
        assert area(tail, ends, panels) + rest == close(mean, rel=1e-9)


@pytest.mark.parametrize(("load", "means"), [(0.97, (1.0,)), (0.6, (0.5, 1.5, 1.0))])
@pytest.mark.parametrize("cv", [0.03, 0.2, 0.28, 1.7])
def test_table_has_the_mean_of_the_chain(load: float, means: tuple[float, ...], cv: float) -> None:
    size = len(means)
    cv *= 1.0 if size == 1 else 0.7  # others with each, from 0.02 to 1.7
    chain = JitterChain(arrivals=load * size, means=np.array(means), shape=1.0 / cv**2, spare=1.0 - load)
    law = JitterLaw(chain=chain)
    within = float(law.mesh.weights @ law.older.sum(axis=1))
    beyond = law.wait_tail(law.mesh.end) * chain.size_mean / chain.rate_slowest
    assert within + beyond == close(chain.wait_total, rel=1e-11)


def simulated(model: BulkJitter, requests: int) -> tuple[np.ndarray, np.ndarray]:
    """Waits and responses, one request after the other."""
    rng = np.random.default_rng(20)
    arrivals = np.cumsum(rng.exponential(1.0 / model.arrival_rate_rps, requests))
    k = 1.0 / model.service_cv**2
    factors = rng.gamma(k, 1.0 / k, requests)
    waits, responses = np.empty(requests), np.empty(requests)
    first, free = 0, 0.0
    instants = [*arrivals.tolist(), math.inf]
    while first < requests:
        start, end = max(free, instants[first]), first + 1
        while end < first + model.batch_size_max and instants[end] <= start:
            end += 1
        free = start + factors[first] * model.batch_times_s[end - first - 1]
        waits[first:end] = start - arrivals[first:end]
        responses[first:end] = free - arrivals[first:end]
        first = end
    return waits, responses


@pytest.mark.long
@pytest.mark.parametrize(
    "model", [jitter(0.8, UNEVEN_S, 0.6), jitter(1200.0, V100_S, 1.4), jitter(1800.0, V100_S, 0.03)]
)
def test_simulation(model: BulkJitter) -> None:
    """Within 4 standard errors of 50 blocks."""
    waits, responses = (x.reshape(50, -1) for x in simulated(model, 150_000))
    for values, mean, tail, quantile in (
        (waits, model.wait_mean_s, model.wait_tail, model.wait_quantile_s),
        (responses, model.response_mean_s, model.response_tail, model.response_quantile_s),
    ):
        pairs = [(values.mean(axis=1), mean)]
        for q in (0.3, 0.8, 0.97):
            time = quantile(q)
            pairs.append(((values > time).mean(axis=1), tail(time)))
        for blocks, truth in pairs:
            error = blocks.std(ddof=1) / math.sqrt(len(blocks))
            assert error < 0.2 * truth
            assert abs(blocks.mean() - truth) < 4.0 * error


@pytest.mark.parametrize("cv", [0.1, 0.9])
@pytest.mark.parametrize("times_s", [V100_S, (2.0, 1.0)])
def test_light_traffic_waits_for_the_rest_of_one_service(times_s: tuple[float, ...], cv: float) -> None:
    model, mean, k = at_load(1e-7, times_s, cv), times_s[0], 1.0 / cv**2
    assert model.wait_probability == close(model.arrival_rate_rps * mean, rel=1e-5)
    for share in (0.01, 0.5, 1.0, 1.3):
        x = share * k
        rest = mean * (gammaincc(k + 1.0, x) - share * gammaincc(k, x))
        assert model.wait_tail(share * mean) == close(model.arrival_rate_rps * rest, rel=1e-5)
        served = gammaincc(k, x)
        assert -1e-12 <= model.response_tail(share * mean) - served <= model.wait_probability


@pytest.mark.parametrize("rate_rps", [1500.0, 2300.0])
def test_deterministic_batches_are_the_limit(rate_rps: float) -> None:
    """Quadratic in cv: of means exactly so nearly, of quantiles until their kinks are smoothed over."""
    limit = Bulk(arrival_rate_rps=rate_rps, batch_times_s=V100_S)
    narrow, wide = (jitter(rate_rps, V100_S, cv) for cv in (0.01, 0.02))
    for name in ("wait_mean_s", "response_mean_s", "batch_size_mean", "utilization"):
        found = (4.0 * getattr(narrow, name) - getattr(wide, name)) / 3.0
        assert found == close(getattr(limit, name), rel=1e-6)
    if rate_rps == 1500.0:
        truth = limit.response_quantile_s(0.99)
        near, far = (queue.response_quantile_s(0.99) - truth for queue in (narrow, wide))
        assert 0.0 < near < min(0.3 * far, 6e-4 * truth)


@pytest.mark.long
@laws
@given(st.floats(0.01, 0.97), st.floats(0.1, 1.0), st.sampled_from([1, 2, 5]))
def test_more_load_and_more_jitter_are_slower(load: float, cv: float, size: int) -> None:
    times_s = V100_S[:size]
    here = at_load(load, times_s, cv)
    for other in (at_load(load * 1.02, times_s, cv), at_load(load, times_s, cv * 1.1)):
        assert other.wait_mean_s > here.wait_mean_s
        assert other.response_mean_s > here.response_mean_s
        assert decay_per_s(other) < decay_per_s(here)
        assert other.response_quantile_s(0.999) > here.response_quantile_s(0.999)


@pytest.mark.parametrize(
    ("load", "size", "cv"), [(0.999999, 8, 0.1), (0.5, 16, 1.5), (1e-6, 3, 0.02), (1.0 - 1e-9, 1, 1.0)]
)
def test_decay_solves_its_equation_at_fifty_digits(load: float, size: int, cv: float) -> None:
    chain = JitterChain(arrivals=load * size, means=np.ones(size), shape=1 / cv**2, spare=1.0 - load)
    with mp.workdps(50):
        k, lam = mp.mpf(chain.shape), mp.mpf(chain.arrivals)
        root = mp.findroot(
            lambda r: size * mp.log(1 + r / lam) + k * mp.log(1 - r / k),
            (chain.rate * (1 - 1e-6), chain.rate * (1 + 1e-6)),
            tol=1e-60,
            verify=False,
        )
        assert chain.rate == close(float(root), rel=1e-13)
        assert chain.decay == close(float(mp.log(1 + root / lam)), rel=1e-13)


@pytest.mark.parametrize(("load", "cv"), [(0.6, 0.5), (0.95, 1.0), (0.3, 1.5), (0.98, 1.5)])
def test_chain_is_stationary(load: float, cv: float) -> None:
    """Against scipy's negative binomial, far into the geometric tail, past the lumped state too."""
    means, k, size = np.array([1.3, 0.5, 1.0]), 1.0 / cv**2, 3
    chain = JitterChain(arrivals=load * size, means=means, shape=k, spare=1.0 - load)
    count = 2 * len(chain.law) + 50
    law = chain.left(count)
    assert law.sum() == close(1.0, rel=1e-13)
    moved = np.zeros(count)
    for state in range(count):
        mean = load * size * means[min(max(state, 1), size) - 1]
        behind = max(0, state - size)
        moved[behind:] += law[state] * nbinom.pmf(np.arange(count - behind), k, k / (k + mean))
    far = count - len(chain.law) // 2
    assert moved[:far] == close(law[:far], rel=1e-9, abs=1e-19)
    assert chain.left(2)[:2] == close(law[:2], rel=1e-15)
    assert chain.left(2)[2] == close(1.0 - law[0] - law[1], rel=1e-13)


@pytest.mark.parametrize("shape", [0.12, 0.8, 1.0, 29.9, 30.1, 1e4])
def test_gamma_shape(shape: float) -> None:
    law = GammaShape(shape=shape)
    with mp.workdps(40):
        k = mp.mpf(shape)
        rest = mp.loggamma(k) - (k - 0.5) * mp.log(k) + k - mp.log(2 * mp.pi) / 2
        assert stirling_rest(shape) == close(float(rest), rel=1e-11)
    times = 2.0 * np.array([0.01, 0.5, 0.97, 1.0, 1.04, 3.0]) ** (1.0 if shape < 100.0 else 0.01)
    reference = gamma.pdf(times, shape, scale=2.0 / shape)
    assert law.density(times, 2.0) == close(reference, rel=1e-9)
    assert gamma.cdf(law.edges[0], shape, scale=1.0 / shape) < 1e-17
    assert gamma.sf(law.edges[-1], shape, scale=1.0 / shape) < 1e-19


def test_far_beyond_the_table_all_is_exponential() -> None:
    full = at_load(0.999, V100_S, 0.3)
    far = 5.0 * full.response_quantile_s(0.999)
    for tail in (full.wait_tail, full.response_tail):
        fall = tail(far + 1.0) / tail(far)
        assert fall == close(math.exp(-decay_per_s(full)), rel=1e-10)


def test_a_chain_has_room_for_fifty_million_cells() -> None:
    """The limit of the table of waits, thirty million, is not the chain's."""
    chain: Any = SimpleNamespace(size_max=8, shape=1.0, means=np.ones(8))
    _require_room(chain, 10_000, 4_992)
    with pytest.raises(DomainError, match=r"the exact chain needs 50010000 cells, more than 5e\+07"):
        _require_room(chain, 10_000, 4_993)
