"""Bulk service: the integral over arrival instants, simulation and laws against the sums that look back."""

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import leggauss
from scipy.stats import poisson

from capacity.errors import DomainError, UnstableError
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.server.batch.batching import BatchTimer

V100_S = tuple(1e-3 * (0.1438 * b + 1.8874) for b in range(1, 9))  # Inoue (2021), linear fit
SHORT_S = V100_S[:4]
UNEVEN_S = (3.0, 2.0, 5.0, 3.4)  # a batch of 2 is faster than one request, of 3 slower than of 4


def uneven(**changes) -> Bulk:
    return Bulk(**{"arrival_rate_rps": 0.8, "batch_times_s": UNEVEN_S, **changes})


def short(rate_rps: float, **changes) -> Bulk:
    return Bulk(arrival_rate_rps=rate_rps, batch_times_s=SHORT_S, **changes)


def v100(rate_rps: float, **changes) -> Bulk:
    return Bulk(arrival_rate_rps=rate_rps, batch_times_s=V100_S, **changes)


RULES = {
    "greedy": short(1000.0),
    "oldest": short(1000.0, batch_wait_max_s=1e-3),
    "open": short(1000.0, batch_wait_max_s=1e-3, timer=BatchTimer.OPEN),
    "open, long": short(1000.0, batch_wait_max_s=7e-3, timer=BatchTimer.OPEN),
    "minimum": short(900.0, batch_size_min=3),
    "round-robin": short(3000.0, replicas=3),
    "round-robin oldest": short(3000.0, replicas=3, batch_wait_max_s=2.4e-3),
    "round-robin open": short(3000.0, replicas=3, batch_wait_max_s=2.2e-3, timer=BatchTimer.OPEN),
    "round-robin minimum": short(3000.0, replicas=3, batch_size_min=3),
    "uneven": uneven(),
    "uneven oldest": uneven(batch_wait_max_s=2.6),
    "uneven open": uneven(batch_wait_max_s=2.2, timer=BatchTimer.OPEN),
    "uneven minimum": uneven(batch_size_min=3),
    "uneven round-robin oldest": uneven(arrival_rate_rps=2.1, replicas=3, batch_wait_max_s=2.7),
    "uneven, calm": uneven(arrival_rate_rps=0.2, batch_wait_max_s=2.6),
}
rules = pytest.mark.parametrize("queue", RULES.values(), ids=RULES.keys())


# A second road: condition on the arrival's instant within the service under way, and integrate.


@cache
def chain(queue: Bulk, states: int = 300) -> np.ndarray:
    """Number left at completions, by plain linear algebra."""
    size_max, rate = queue.batch_size_max, queue.arrival_rate_rps
    step = np.zeros((states, states))
    for x in range(states):
        b = min(max(x, queue.batch_size_min), size_max)
        left = max(0, x - size_max)
        step[x, left:] = poisson.pmf(np.arange(states - left), rate * queue.batch_times_s[b - 1])
        step[x, -1] += 1.0 - step[x].sum()
    system = (step.T - np.eye(states))[1:]
    return np.linalg.lstsq(np.vstack([system, np.ones(states)]), np.eye(states)[-1], rcond=None)[0]


def tail_by_integral(queue: Bulk, time_s: float) -> float:
    """P(response > t) of a greedy replica, or one with a minimum batch, by the tagged request's position."""
    law, rate = chain(queue), queue.arrival_rate_rps
    least, most, full_s = queue.batch_size_min, queue.batch_size_max, queue.batch_times_s[-1]
    sizes = np.clip(np.arange(len(law)), least, most)
    total = 0.0
    for x in range(least):
        for i in range(x + 1, least + 1):
            left_s = time_s - queue.batch_times_s[least - 1]
            total += law[x] * (erlang_tail(left_s * rate, least - i) if i < least else left_s < 0.0)
    for x in np.flatnonzero(law > 1e-12):
        b, left = int(sizes[x]), max(0, int(x) - most)
        total += law[x] * integral(queue, time_s, queue.batch_times_s[b - 1], left, full_s)
    return total / float(law @ sizes)


def integral(queue: Bulk, time_s: float, service_s: float, left: int, full_s: float) -> float:
    rate = queue.arrival_rate_rps
    cuts = {0.0, service_s}
    for m in range(60):
        cuts |= {time_s - m * full_s - s for s in queue.batch_times_s}
    edges = sorted(c for c in cuts if 0.0 <= c <= service_s)
    x, w = leggauss(8)
    total = 0.0
    for low, high in pairwise(edges):
        for node, weight in zip(x, w, strict=True):
            residual_s = (low + high) / 2 + node * (high - low) / 2
            total += weight * (high - low) / 2 * rate * later(queue, time_s, service_s, residual_s, left)
    return total


def poisson_pmf(count: int, mean: float) -> float:
    return (
        math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) if mean > 0.0 else float(count == 0)
    )


def erlang_tail(time: float, stages: int) -> float:
    return math.fsum(poisson_pmf(k, time) for k in range(stages)) if time >= 0.0 else 1.0


def later(queue: Bulk, time_s: float, service_s: float, residual_s: float, left: int) -> float:
    """P(response > t) of an arrival with that residual service ahead."""
    rate, most, least = queue.arrival_rate_rps, queue.batch_size_max, queue.batch_size_min
    ahead = range(left, left + 40)
    weights = [poisson_pmf(k, rate * (service_s - residual_s)) for k in range(40)]
    total = 0.0
    for j, weight in zip(ahead, weights, strict=True):
        wait_s = residual_s + (j // most) * queue.batch_times_s[-1]
        here, left_s = int(j % most) + 1, time_s - wait_s
        if left_s <= 0.0:
            total += weight
            continue
        behind = [poisson_pmf(k, rate * wait_s) for k in range(most)]
        for b in range(here, most + 1):
            chance = behind[b - here] if b < most else 1.0 - math.fsum(behind[: most - here])
            if b >= least:
                total += weight * chance * (queue.batch_times_s[b - 1] > left_s)
            else:
                start_s = left_s - queue.batch_times_s[least - 1]
                total += weight * chance * erlang_tail(start_s * rate, least - b)
    return total


@pytest.mark.parametrize("queue", [short(1400.0), uneven(), short(700.0, batch_size_min=3)])
def test_tail_equals_the_integral_over_arrival_instants(queue):
    for share in (0.6, 1.1, 1.9):
        time_s = share * queue.batch_times_s[-1]
        assert queue.response_tail(time_s) == pytest.approx(tail_by_integral(queue, time_s), rel=1e-9)


def test_chain_by_linear_algebra():
    queue = uneven()
    law = chain(queue)
    sizes = np.clip(np.arange(len(law)), 1, 4)
    assert queue.batch_size_mean == pytest.approx(float(law @ sizes), rel=1e-11)
    busy_s = float(law @ np.array(UNEVEN_S)[sizes - 1])
    cycle_s = busy_s + law[0] / queue.arrival_rate_rps
    assert queue.utilization == pytest.approx(busy_s / cycle_s, rel=1e-11)
    assert queue.empty_probability == pytest.approx(1.0 - busy_s / cycle_s, rel=1e-9)


# The mean from Little's law and the chain must be the area under a tail that never saw that sum.


@pytest.mark.long
@pytest.mark.parametrize("rule", ["open, long", "minimum", "uneven open", "uneven round-robin oldest"])
def test_area_under_the_tails_is_littles_mean(rule):
    queue = RULES[rule]
    times, wait_s = queue.batch_times_s, queue.batch_wait_max_s
    kinks = [0.0, *times]
    cuts = [m * times[-1] + a + b + o for m in range(6) for a in kinks for b in kinks for o in (0.0, wait_s)]
    edges = np.unique(np.array([*cuts, *np.arange(0.0, 16.0, 0.25) * times[-1]]))
    edges = edges[np.concatenate([[True], np.diff(edges) > 1e-9 * times[-1]])]
    edges = edges[edges <= (12 if queue.batch_size_min > 1 else 4) * times[-1] + 2 * max(times) + wait_s]
    x, w = leggauss(4)
    for tail, mean_s in ((queue.response_tail, queue.response_mean_s), (queue.wait_tail, queue.wait_mean_s)):
        area = sum(
            weight * (high - low) / 2 * tail((low + high) / 2 + node * (high - low) / 2)
            for low, high in pairwise(edges)
            for node, weight in zip(x, w, strict=True)
        )
        rest = tail(edges[-1]) / decay_per_s(queue)
        assert area + rest == pytest.approx(mean_s, rel=1e-8)


def decay_per_s(queue: Bulk) -> float:
    """eta, where P(response > t) falls as e^(-eta t): the queue's, or a minimum batch's."""
    per_phase = math.expm1(queue._law.service.decay)
    return (per_phase if queue.batch_size_min == 1 else min(1.0, per_phase)) * queue._phase_rate_rps


def play(queue: Bulk, requests: int, seed: int) -> tuple[float, np.ndarray]:
    """One replica, request by request: mean batch, and responses."""
    generator = np.random.default_rng(seed)
    gaps = generator.exponential(1.0 / queue.arrival_rate_rps, requests * queue.replicas)
    arrived = np.cumsum(gaps)[queue.replicas - 1 :: queue.replicas]
    response, sizes, first, free = np.empty(requests), [], 0, 0.0
    most = queue.batch_size_max
    while first + most < requests:
        ready = max(free, arrived[first])
        wait_s = queue.batch_wait_max_s
        if queue.batch_size_min > 1:
            start = max(free, arrived[first + queue.batch_size_min - 1])
        elif queue.timer is BatchTimer.OPEN:
            start = max(ready, min(arrived[first + most - 1], ready + wait_s))
        else:
            start = max(free, min(arrived[first + most - 1], arrived[first] + wait_s))
        b = min(int(np.searchsorted(arrived, start, side="right")) - first, most)
        free = start + queue.batch_times_s[b - 1]
        response[first : first + b] = free - arrived[first : first + b]
        first += b
        sizes.append(b)
    return float(np.mean(sizes)), response[1000:first]


@pytest.mark.long
@rules
def test_simulation_agrees_within_four_standard_errors(queue):
    runs = [play(queue, 15_000, seed) for seed in range(10)]
    quantiles = {q: [float(np.quantile(r, q)) for _, r in runs] for q in (0.5, 0.9)}
    rows = [
        (queue.batch_size_mean, [size for size, _ in runs]),
        (queue.response_mean_s, [float(r.mean()) for _, r in runs]),
        *((queue.response_quantile_s(q), values) for q, values in quantiles.items()),
    ]
    for exact, values in rows:
        error = np.std(values, ddof=1) / math.sqrt(len(values))
        assert abs(np.mean(values) - exact) <= 4.0 * error + 1e-4 * exact  # quantiles: a grid of requests
        assert error <= 0.01 * exact


# Numbers.


def test_one_request_a_batch_is_the_queue_of_pollaczek():
    queue = Bulk(arrival_rate_rps=0.9, batch_times_s=(1.0,))
    assert queue.wait_mean_s == pytest.approx(4.5, rel=1e-12)  # rho / (2 (1 - rho))
    assert queue.utilization == pytest.approx(0.9, rel=1e-12)
    # Erlang (1909): P(W <= t) = (1 - rho) sum (-lambda(t - k))^k / k! e^(lambda(t - k)) for t < 2
    t, rate = 1.5, 0.9
    within = 0.1 * (math.exp(rate * t) - rate * (t - 1) * math.exp(rate * (t - 1)))
    assert queue.wait_tail(t) == pytest.approx(1.0 - within, rel=1e-11)


def test_an_atom_comes_back_to_the_last_digit():
    queue = v100(900.0, batch_wait_max_s=2e-3)
    atom = next(q for q in np.linspace(0.5, 0.999, 60) if queue.response_quantile_s(q) == 2e-3 + V100_S[4])
    assert queue.response_tail(2e-3 + V100_S[4]) <= 1.0 - atom
    assert queue.response_tail(math.nextafter(2e-3 + V100_S[4], 0.0)) > 1.0 - atom
    at_rest = Bulk(arrival_rate_rps=1.0, batch_times_s=V100_S)
    assert at_rest.response_quantile_s(0.5) == V100_S[0]
    assert at_rest.wait_quantile_s(0.5) == 0.0


def test_busy_is_not_loaded():
    queue = v100(1500.0)
    assert queue.load == pytest.approx(1500.0 * V100_S[-1] / 8)
    assert queue.utilization > 0.99 > 0.58 > queue.load


def test_quantile_is_the_inverse_of_the_tail():
    for queue in RULES.values():
        for q in (0.5, 0.99, 0.9999):
            time_s = queue.response_quantile_s(q)
            assert queue.response_tail(time_s) <= (1.0 - q) * (1 + 1e-9)
            assert queue.response_tail(time_s * (1.0 - 1e-9)) > (1.0 - q) * (1 - 1e-9)


def test_far_tail_falls_at_the_decay_rate():
    queue = v100(2300.0)
    a, b = queue.response_tail(0.02), queue.response_tail(0.02 + V100_S[-1])
    assert math.log(a / b) / V100_S[-1] == pytest.approx(decay_per_s(queue), rel=1e-6)


# Laws.

loads = st.floats(0.05, 0.95)
tables = st.lists(st.floats(0.5, 3.0), min_size=1, max_size=6).map(tuple)


def rated(times: tuple[float, ...], load: float, **changes) -> Bulk:
    rate = load * len(times) / times[-1] * changes.get("replicas", 1)
    return Bulk(arrival_rate_rps=rate, batch_times_s=times, **changes)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tables, loads, st.sampled_from([1e-9, 1e-3, 1e9]), st.sampled_from(["greedy", "oldest", "open"]))
def test_faster_clock_shorter_times(times, load, scale, rule):
    changes = {} if rule == "greedy" else {"batch_wait_max_s": 0.4 * times[-1], "timer": BatchTimer(rule)}
    queue = rated(times, load, **changes)
    fast = replace(
        queue,
        arrival_rate_rps=queue.arrival_rate_rps * scale,
        batch_times_s=tuple(t / scale for t in times),
        batch_wait_max_s=queue.batch_wait_max_s / scale,
    )
    for a, b in (
        (queue.response_mean_s, fast.response_mean_s),
        (queue.response_quantile_s(0.9), fast.response_quantile_s(0.9)),
    ):
        assert b * scale == pytest.approx(a, rel=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tables, loads)
def test_laws_of_littles_and_of_work(times, load):
    queue = rated(times, load)
    assert queue.in_system_mean == pytest.approx(queue.arrival_rate_rps * queue.response_mean_s, rel=1e-12)
    assert queue.empty_probability + queue.utilization == pytest.approx(1.0, rel=1e-10)
    sizes = queue.batch_size_mean
    assert 1.0 - 1e-12 <= sizes <= len(times) * (1 + 1e-12)
    assert queue.wait_probability == pytest.approx(queue.utilization, rel=1e-9)  # PASTA, greedy


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.5, 3.0), min_size=1, max_size=5).map(sorted).map(tuple), st.floats(0.1, 0.85))
def test_more_traffic_waits_longer_where_larger_batches_take_longer(times, load):
    calm, busy = rated(times, load), rated(times, 1.1 * load)
    assert busy.wait_mean_s > calm.wait_mean_s
    assert busy.batch_size_mean >= calm.batch_size_mean * (1 - 1e-12)
    for t in (0.5, 1.0, 3.0):
        assert busy.wait_tail(t) >= calm.wait_tail(t) * (1 - 1e-12)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(tables, loads)
def test_timers_lie_between_greedy_and_a_full_batch(times, load):
    greedy, full = rated(times, load), rated(times, load, batch_size_min=len(times))
    for timer in BatchTimer:
        inert = rated(times, load, batch_wait_max_s=1e-9 * times[-1], timer=timer)
        assert inert.response_mean_s == pytest.approx(greedy.response_mean_s, rel=1e-6)
    patient = rated(times, load, batch_wait_max_s=1e4 * times[-1], timer=BatchTimer.OPEN)
    assert patient.response_mean_s == pytest.approx(full.response_mean_s, rel=1e-9)
    assert patient.response_quantile_s(0.9) == pytest.approx(full.response_quantile_s(0.9), rel=1e-9)
    assert full.batch_size_mean == pytest.approx(len(times), rel=1e-12)


def test_random_split_is_one_replica_and_round_robin_of_one_is_too():
    one, fleet = v100(1500.0), v100(6000.0, replicas=4, routing=Routing.RANDOM)
    ours, theirs = one.performance(), fleet.performance()
    assert theirs.response_quantiles_s == ours.response_quantiles_s
    assert theirs.in_system_mean == pytest.approx(4 * ours.in_system_mean, rel=1e-12)
    assert theirs.throughput_rps == 6000.0
    assert theirs.empty_probability is None
    robin = v100(6000.0, replicas=4)
    assert robin.response_quantile_s(0.99) < fleet.response_quantile_s(0.99)
    assert robin.load == fleet.load == one.load


# Speed: what is in closed form or left out, as summed in full.


@pytest.mark.parametrize("rule", ["greedy", "oldest", "open"])
@pytest.mark.parametrize("load", [0.3, 0.9])
def test_straight_lines_are_the_sums_that_they_stand_for(rule, load, monkeypatch) -> None:
    times_s = tuple(2.0 + 0.1 * size for size in range(1, 41))
    changes = {} if rule == "greedy" else {"batch_wait_max_s": 3.0, "timer": BatchTimer(rule)}
    lines = rated(times_s, load, **changes)
    monkeypatch.setattr("capacity.queues.batch.waits._is_linear", lambda service: False)
    monkeypatch.setattr("capacity.queues.batch.waits._NEGLIGIBLE", 0.0)
    sums = rated(times_s, load, **changes)
    for time_s in (2.05, 3.3, 5.1, 6.5, 9.0, 14.0):
        assert lines.response_tail(time_s) == pytest.approx(sums.response_tail(time_s), rel=1e-12)
        assert lines.wait_tail(time_s) == pytest.approx(sums.wait_tail(time_s), rel=1e-12)


@pytest.mark.parametrize("replicas", [1, 5])
@pytest.mark.parametrize("rule", ["greedy", "oldest", "open"])
def test_counts_that_hardly_ever_come_add_nothing_to_a_tail(rule, replicas, monkeypatch) -> None:
    times_s = tuple(2.0 + 0.1 * size + 0.4 * (size % 3) for size in range(1, 31))
    changes = {} if rule == "greedy" else {"batch_wait_max_s": 3.0, "timer": BatchTimer(rule)}
    queue = rated(times_s, 0.8, replicas=replicas, **changes)

    def tails() -> list[float]:
        times = (0.5, 2.05, 3.3, 5.1, 6.5, 9.0)
        return [tail(t, 0.01) for t in times for tail in (queue._wait_tail, queue._response_tail)]

    short = tails()
    monkeypatch.setattr("capacity.queues.batch.waits.likely_counts", lambda low, high: (-(10**6), 10**6))
    assert short == pytest.approx(tails(), rel=1e-13, abs=0.0)


@pytest.mark.parametrize("replicas", [1, 4])
def test_every_batch_is_followed_by_one(replicas) -> None:
    # Whatever it leaves behind: early requests, windows that fill and windows that time out are all there is.
    times_s, full = (3.0, 3.2, 1.1, 3.9, 4.4, 6.0), 6 * replicas
    law = rated(times_s, 0.8, replicas=replicas, batch_wait_max_s=2.7)._law
    for index in range(6):
        rows = list(law._rows(index))
        assert len(rows) == replicas
        for left, row in enumerate(rows):
            assert (row >= 0.0).all()
            assert row.sum() == pytest.approx(1.0, rel=1e-13)
            more = poisson_tail(full + 1 - left, float(law.service.phases[index]))
            assert row[full + 1 - replicas :].sum() == pytest.approx(more, rel=1e-12)  # they start at its end


def poisson_tail(count: int, mean: float) -> float:
    return 1.0 - math.fsum(poisson_pmf(k, mean) for k in range(count))


@pytest.mark.parametrize("quantile", [0.5, 0.99, 0.999999])
def test_quantiles_of_large_batches_are_found_in_few_looks(quantile, monkeypatch) -> None:
    queue, looks = rated(tuple(2.0 + 0.1 * size for size in range(1, 201)), 0.7), []
    share = Bulk._share
    monkeypatch.setattr(Bulk, "_share", lambda self, *rest: (looks.append(rest), share(self, *rest))[1])
    time_s = queue.response_quantile_s(quantile)
    assert len(looks) <= 40  # there are 200 atoms to look at one by one
    assert queue.response_tail(time_s) <= (1.0 - quantile) * (1.0 + 1e-12)  # what is left out rounds
    assert queue.response_tail(time_s * (1.0 - 1e-9)) > 1.0 - quantile


# Errors.


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"arrival_rate_rps": 0.0}, DomainError, "arrival_rate_rps must be > 0"),
        ({"arrival_rate_rps": math.nan}, DomainError, "arrival_rate_rps must be > 0"),
        ({"arrival_rate_rps": 4 / 3.4}, UnstableError, "load 1 >= 1 .* use at least 2 replicas"),
        ({"arrival_rate_rps": 1e300}, UnstableError, "use at least"),
        ({"batch_times_s": ()}, DomainError, "a tuple with one time at least"),
        ({"batch_times_s": (1.0, -1.0)}, DomainError, "batch of 2 must be > 0"),
        ({"batch_times_s": (1.0,) * 513}, DomainError, "513 are beyond 512"),
        ({"batch_size_min": 0}, DomainError, "batch_size_min must be an integer >= 1"),
        ({"batch_size_min": 5}, DomainError, "batch_size_min must be <= 4"),
        ({"batch_size_min": 2, "batch_wait_max_s": 1.0}, DomainError, "no batch wait"),
        ({"batch_wait_max_s": -1.0}, DomainError, "batch_wait_max_s must be >= 0"),
        ({"batch_wait_max_s": 3.5}, DomainError, "up to the service time of a full batch, 3.4 s"),
        ({"replicas": 0}, DomainError, "replicas must be an integer >= 1"),
        ({"replicas": 2, "routing": Routing.SHARED_QUEUE}, DomainError, "no exact law"),
        ({"replicas": 600, "arrival_rate_rps": 1.0}, DomainError, "2400 phases, more than 2048"),
        ({"arrival_rate_rps": 4 / 3.4 * (1 - 1e-9)}, DomainError, "simulate instead"),
    ],
)
def test_refusals(changes, error, words):
    with pytest.raises(error, match=words):
        uneven(**changes)
