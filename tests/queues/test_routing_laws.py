"""Routing against printed tables, chains state by state, mpmath sums, and by its own laws."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.queues.markov.departures import Joined
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.routing import RandomSplit, RoundRobin
from capacity.queues.shortest_queue import ShortestQueue

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # pytest's own abs would pass any small number
CLAIM = 1e-10
laws = settings(derandomize=True, deadline=None, max_examples=60)
utilizations = st.one_of(st.floats(1e-6, 0.999), st.floats(0.5, 0.9999))
replicas_drawn = st.one_of(st.integers(2, 12), st.integers(2, 20_000))
quantiles_drawn = st.sampled_from([0.5, 0.9, 0.99, 0.9999])
Law = RandomSplit | RoundRobin | PowerOfChoices | ShortestQueue
KINDS: list[Callable[..., Law]] = [RandomSplit, RoundRobin, PowerOfChoices, ShortestQueue]


def law_of(kind: Callable[..., Law], utilization: float, replicas: int, rate: float = 1.0) -> Law:
    replicas = 2 if kind is ShortestQueue else replicas
    return kind(arrival_rate_rps=utilization * replicas * rate, service_rate_rps=rate, replicas=replicas)


def choices(utilization: float, replicas: int = 100, of: int = 2) -> PowerOfChoices:
    return PowerOfChoices(
        arrival_rate_rps=utilization * replicas, service_rate_rps=1.0, replicas=replicas, choices=of
    )


# Mitzenmacher (2001), IEEE Trans. Parallel and Distributed Systems 12(10), tables of the supermarket model:
# load, choices, mean response simulated with 100 queues, and predicted.
MITZENMACHER = [
    (0.50, 1.2673, 1.2657), (0.70, 1.6202, 1.6145), (0.80, 1.9585, 1.9475),
    (0.90, 2.6454, 2.6141), (0.95, 3.4610, 3.3830), (0.99, 5.9275, 5.4320),
]  # fmt: skip


@pytest.mark.parametrize(("utilization", "simulated", "predicted"), MITZENMACHER)
def test_mitzenmachers_table(utilization: float, simulated: float, predicted: float) -> None:
    model = choices(utilization)
    assert model.response_mean_s == close(predicted, abs=1.5e-4)
    allowed = model.performance().relative_error_max["response_mean_s"]
    assert 0.0 < (simulated - model.response_mean_s) / simulated < allowed


# Own simulations of the finite system, 2e7 to 4e7 events each, distinct choices, kept as a record of what
# `response_error_max` was measured on: load, replicas, choices, share by which mean and P99 are too low.
MEASURED = [
    (0.7, 2, 2, 0.2345, 0.2981), (0.8, 3, 2, 0.2256, 0.2941), (0.9, 10, 2, 0.1250, 0.1596),
    (0.95, 20, 2, 0.1105, 0.1441), (0.98, 100, 2, 0.0536, 0.0619), (0.8, 3, 3, 0.3068, 0.3586),
    (0.9, 20, 3, 0.0857, 0.0894), (0.7, 5, 5, 0.1621, 0.1468), (0.9, 50, 5, 0.0474, 0.0418),
    (0.8, 20, 10, 0.0961, 0.0716), (0.8, 100, 10, 0.0222, 0.0168),
]  # fmt: skip


@pytest.mark.parametrize(("utilization", "replicas", "of", "mean", "p99"), MEASURED)
def test_measured_errors_are_within_the_stated_ones(utilization, replicas, of, mean, p99) -> None:
    stated = choices(utilization, replicas, of).performance().relative_error_max
    assert mean <= stated["response_mean_s"] == stated["in_system_mean"]
    assert p99 <= stated["response_quantiles_s"]
    assert stated["wait_probability"] == close(1.0 - utilization ** (of - 1), rel=1e-9)
    assert stated["response_mean_s"] <= 6.0 * mean  # nor is the statement empty


@pytest.mark.parametrize("utilization", [0.3, 0.7, 0.9, 0.98])
def test_at_two_replicas_the_stated_errors_hold_exactly(utilization: float) -> None:
    exact, limit = law_of(ShortestQueue, utilization, 2), choices(utilization, 2)
    answer = limit.performance((0.5, 0.99, 0.9999))
    for name, share in answer.relative_error_max.items():
        if name.endswith("quantiles_s"):
            ask = getattr(exact, name.replace("quantiles", "quantile"))
            pairs = [(ask(q), interval.value) for q, interval in getattr(answer, name).items()]
        else:
            pairs = [(getattr(exact, name), getattr(answer, name))]
        for true, shown in pairs:
            assert 0.0 <= true - shown <= share * true * (1.0 + 1e-12)


@settings(laws, max_examples=20)
@given(utilizations, st.integers(2, 12))
def test_power_of_choices_by_its_sums(utilization: float, of: int) -> None:
    """E T = sum of rho^((d^k - d)/(d - 1)); P(T > t) = sum of (s_k^d - s_{k+1}^d) Q(k + 1, t), at 40 digits."""
    model = choices(utilization, 100, of)
    with mp.workdps(40):
        rho = mp.mpf(model.arrival_rate_rps) / model.replicas
        ks = range(60)
        queue = [rho ** ((of**k - 1) // (of - 1)) for k in ks]  # P(queue >= k)
        mean = sum(rho ** ((of**k - of) // (of - 1)) for k in range(1, 60))
        assert float(abs(model.response_mean_s / mean - 1)) < 1e-13
        for time in (0.1, 1.0, 5.0, 30.0):
            joins = [queue[k] ** of - queue[k + 1] ** of for k in ks[:-1]]
            tail = sum(p * mp.gammainc(k + 1, time, regularized=True) for k, p in enumerate(joins))
            waits = sum(p * mp.gammainc(k, time, regularized=True) for k, p in enumerate(joins) if k > 0)
            assert float(abs(model.response_tail(time) / tail - 1)) < 1e-12
            assert waits < 1e-280 or float(abs(model.wait_tail(time) / waits - 1)) < 1e-12


@laws
@given(utilizations, replicas_drawn)
def test_more_choices_are_faster_and_none_is_as_slow_as_one(utilization: float, replicas: int) -> None:
    one = law_of(RandomSplit, utilization, replicas)
    before = one.response_mean_s
    for of in range(2, min(replicas, 8) + 1):
        model = choices(utilization, replicas, of)
        assert model.wait_probability == close(model.utilization**of, rel=CLAIM)
        assert 1.0 <= model.response_mean_s <= before
        stated = model.performance().relative_error_max
        assert model.response_mean_s / (1.0 - stated["response_mean_s"]) <= one.response_mean_s * (1.0 + 1e-9)
        assert all(0.0 <= share <= 1.0 for share in stated.values())
        before = model.response_mean_s


def shorter_queue_chain(rho: float, levels: int, widest: int) -> tuple[np.ndarray, float]:
    """P(shorter queue = m) and P(all empty) by elimination over the states (shorter, difference)."""
    size = widest + 1

    def row(i: int) -> np.ndarray:
        shorter, gap = divmod(i, size)
        rates = np.zeros(3 * size)
        origin = max(0, i - size)

        def move(to_shorter: int, to_gap: int, rate: float) -> None:
            if to_shorter >= 0 and to_gap < size:
                rates[to_shorter * size + to_gap - origin] += rate

        if gap == 0:
            move(shorter, 1, 2.0 * rho)
            move(shorter - 1, 1, 2.0)
        else:
            move(shorter + 1, gap - 1, 2.0 * rho)
            move(shorter, gap - 1, 1.0)
            move(shorter - 1, gap + 1, 1.0)
        return rates

    law = stationary(row, last=levels * size - 1, down=size, up=size)
    return law.reshape(levels, size).sum(axis=1), float(law[0])


@pytest.mark.parametrize(("utilization", "levels"), [(1e-6, 40), (0.1, 40), (0.5, 60), (0.8, 80)])
def test_the_shorter_of_two_queues_state_by_state(utilization: float, levels: int) -> None:
    model = law_of(ShortestQueue, utilization, 2)
    law, empty = shorter_queue_chain(utilization, levels, 30)
    found = np.cumsum(law[::-1])[::-1]  # P(shorter queue >= m)
    assert model.empty_probability == close(empty, rel=CLAIM)
    assert model.wait_probability == close(found[1], rel=CLAIM)
    assert model.wait_mean_s == close(found[1:].sum(), rel=CLAIM)
    for time in (0.0, 0.5, 3.0, 12.0):
        poisson = [math.exp(-time) * time**k / math.factorial(k) for k in range(levels - 1)]
        response = sum(p * f for p, f in zip(poisson, found[:-1], strict=True))
        wait = sum(p * f for p, f in zip(poisson, found[1:], strict=True))
        assert model.response_tail(time) == close(response, rel=CLAIM)
        assert model.wait_tail(time) == close(wait, rel=CLAIM)


def test_the_shorter_of_two_queues_in_heavy_traffic() -> None:
    """5.474913 and 24.507702 by another program, which a simulation confirmed; then the limits."""
    model = law_of(ShortestQueue, 0.9, 2)
    assert model.response_mean_s == close(5.474913, abs=1e-6)
    assert model.response_quantile_s(0.99) == close(24.507702, abs=1e-6)
    for utilization in (0.999, 0.999999):
        heavy = law_of(ShortestQueue, utilization, 2)
        spare = 1.0 - heavy.utilization
        # both queues are as one (Foschini & Salz 1978): like M/M/2 but for a constant
        pooled = MMc(arrival_rate_rps=2.0 * utilization, service_rate_rps=1.0, servers=2)
        assert 0.0 < heavy.response_mean_s - pooled.response_mean_s < 1.0
        decay = spare * (1.0 + heavy.utilization)
        ratio = heavy.response_tail(3.0 / spare) / heavy.response_tail(2.0 / spare)
        assert ratio == close(math.exp(-decay / spare), rel=1e-9)


@laws
@given(utilizations)
def test_the_shorter_of_two_queues_lies_between_its_bounds(utilization: float) -> None:
    """One line <= shortest queue <= in turn <= at random; and busy servers: P(both busy) - P(none) = 2 rho - 1."""
    model = law_of(ShortestQueue, utilization, 2)
    pooled = MMc(arrival_rate_rps=2.0 * utilization, service_rate_rps=1.0, servers=2)
    turns, split = law_of(RoundRobin, utilization, 2), law_of(RandomSplit, utilization, 2)
    order = [law.response_mean_s for law in (pooled, model, turns, split)]
    assert all(a <= b * (1.0 + CLAIM) for a, b in pairwise(order))
    assert model.wait_probability - model.empty_probability == close(2.0 * utilization - 1.0, abs=1e-12)
    assert model.wait_probability <= pooled.wait_probability * (1.0 + CLAIM)  # one busy, one idle: more often


@laws
@given(utilizations, replicas_drawn, quantiles_drawn)
def test_random_split_is_mm1(utilization: float, replicas: int, quantile: float) -> None:
    model = law_of(RandomSplit, utilization, replicas)
    one = MM1(arrival_rate_rps=model.arrival_rate_rps / replicas, service_rate_rps=1.0)
    rounding = CLAIM + 1e-15 / (1.0 - utilization)
    for name in ("utilization", "wait_probability", "wait_mean_s", "response_mean_s"):
        assert getattr(model, name) == close(getattr(one, name), rel=rounding)
    for name in ("queue_length_mean", "in_system_mean"):
        assert getattr(model, name) == close(replicas * getattr(one, name), rel=rounding)
    assert model.response_quantile_s(quantile) == close(one.response_quantile_s(quantile), rel=rounding)
    scale = one.response_quantile_s(quantile)
    assert model.wait_quantile_s(quantile) == close(one.wait_quantile_s(quantile), abs=rounding * scale)
    assert model.response_tail(1.5) == close(one.response_tail(1.5), rel=rounding)
    assert model.wait_tail(1.5) == close(one.wait_tail(1.5), rel=rounding)
    log_empty = replicas * math.log1p(-model.utilization)
    assert log_empty < -600 or model.empty_probability == close(math.exp(log_empty), rel=1e-8)


@laws
@given(st.floats(0.01, 0.999), replicas_drawn)
def test_in_turn_solves_its_equation(utilization: float, replicas: int) -> None:
    """sigma = (N rho / (N rho + 1 - sigma))^N, response exponential of rate 1 - sigma."""
    model = law_of(RoundRobin, utilization, replicas)
    rate, rho = 1.0 / model.response_mean_s, model.utilization
    if model.wait_probability > 1e-250:
        sigma = math.exp(-replicas * math.log1p(rate / (replicas * rho)))
        assert model.wait_probability == close(sigma, rel=1e-9)
    assert model.response_tail(2.0) == close(math.exp(-2.0 * rate), rel=CLAIM)
    assert model.wait_tail(2.0) == close(model.wait_probability * math.exp(-2.0 * rate), rel=CLAIM)
    assert model.response_quantile_s(0.99) == close(-math.log1p(-0.99) / rate, rel=CLAIM)


def test_what_is_joined_by_integrals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Erlang tails mixed one by one, with a geometric end that is long."""
    joined = Joined(levels=(1.0, 0.7, 0.4), fall=0.1)
    at_least = [1.0, 0.7] + [0.4 * 0.9**k for k in range(400)]
    assert joined.wait_probability == 0.7
    assert joined.wait_mean == close(sum(at_least[1:]), rel=1e-12)
    assert joined.wait_tail(0.0) == 0.7
    assert joined.response_tail(0.0) == 1.0
    assert joined.wait_tail(math.inf) == joined.response_tail(math.inf) == 0.0
    for time in (0.01, 1.0, 20.0, 100.0):
        found = [a - b for a, b in pairwise(at_least)]
        response = sum(p * mp.gammainc(m + 1, time, regularized=True) for m, p in enumerate(found))
        assert joined.response_tail(time) == close(float(response), rel=1e-11)
        wait = sum(p * mp.gammainc(m, time, regularized=True) for m, p in enumerate(found) if m)
        assert joined.wait_tail(time) == close(float(wait), rel=1e-11)
    mm1 = Joined(levels=(1.0, 0.8), fall=0.2)
    assert mm1.wait_mean == close(4.0, rel=1e-14)
    assert mm1.wait_tail(3.0) == close(0.8 * math.exp(-0.6), rel=1e-13)
    assert mm1.response_tail(3.0) == close(math.exp(-0.6), rel=1e-13)
    calls = []
    monkeypatch.setattr(Joined, "wait_tail", lambda _, time: (calls.append(time), math.exp(-1e-6 * time))[1])
    assert Joined(levels=(1.0, 1.0), fall=1e-6).wait_quantile(0.99) == close(1e6 * math.log(100.0), rel=1e-13)
    assert len(calls) <= 20  # who starts where the tail is would need no more
    ended = Joined(levels=(1.0, 0.25, 0.0))  # at most one found
    assert ended.wait_mean == 0.25
    assert ended.response_tail(2.0) == close(math.exp(-2.0) * (1.0 + 0.25 * 2.0), rel=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_times_out_of_the_ordinary(kind: Callable[..., Law]) -> None:
    for utilization, rate in ((1e-9, 1e-9), (0.5, 1e12), (0.999, 1e-9), (1.0 - 1e-9, 1.0)):
        answer = law_of(kind, utilization, 4, rate).performance((0.9999,))
        assert answer.response_mean_s >= 1.0 / rate
        assert answer.wait_quantiles_s[0.9999].value < answer.response_quantiles_s[0.9999].value


def test_choices_and_replicas_must_fit() -> None:
    for bad in (0, 1, 2.0, True):
        with pytest.raises(DomainError, match="choices must be an integer >= 2"):
            PowerOfChoices(arrival_rate_rps=1.0, service_rate_rps=1.0, replicas=4, choices=bad)
    with pytest.raises(DomainError, match="choices must be <= replicas, got 5 of 4"):
        PowerOfChoices(arrival_rate_rps=1.0, service_rate_rps=1.0, replicas=4, choices=5)
    with pytest.raises(DomainError, match="must be 2, got 3; use PowerOfChoices"):
        ShortestQueue(arrival_rate_rps=1.0, service_rate_rps=1.0, replicas=3)
    assert choices(0.5, 100, 10).response_error_max < 1.0
    assert choices(0.5, 100, 11).response_error_max == 1.0  # not measured
