"""Exponential batches by size against every transition written down, closed forms, and their own laws."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import expm_multiply, spsolve

from capacity.errors import DomainError
from capacity.queues.batch import by_size as bulk_tagged
from capacity.queues.batch.by_size import STATES_MAX, BulkCTMC, count_of_states
from capacity.queues.batch.exponential import BulkMarkov

Times = tuple[float, ...]
MEANS = (
    "utilization", "load", "batch_size_mean", "wait_probability", "empty_probability", "queue_length_mean",
    "in_system_mean", "wait_mean_s", "response_mean_s",
)  # fmt: skip
V100 = tuple(1.8874 + 0.1438 * b for b in range(1, 9))  # ms; Inoue (2021), fitted to NVIDIA's figures
few = settings(derandomize=True, deadline=None, max_examples=25)


def queue(arrival: float, times: Times, servers: int) -> BulkCTMC:
    return BulkCTMC(arrival_rate_rps=arrival, batch_times_s=times, servers=servers)


def explored(starts, steps) -> tuple[dict, csc_array]:
    """All states that are reached, numbered, and their generator; `steps` yields states and rates, None for the end."""
    index = {state: i for i, state in enumerate(starts)}
    todo, edges = list(index), []
    while todo:
        state = todo.pop()
        for after, rate in steps(state):
            if after is not None and after not in index:
                index[after] = len(index)
                todo.append(after)
            edges.append((index[state], index.get(after, -1), rate))
    start, end, rate = (np.array(column) for column in zip(*edges, strict=True))
    kept = end >= 0
    size = (len(index),) * 2
    return index, csc_array(
        coo_array((rate[kept], (start[kept], end[kept])), shape=size)
        - coo_array((rate, (start, start)), shape=size)
    )


class Brute:
    """The same system as a dictionary of states (sizes in service, waiting), solved as it stands."""

    def __init__(self, arrival: float, times: Times, servers: int, waiting_max: int) -> None:
        self.arrival, self.times, self.servers, self.most = arrival, times, servers, waiting_max
        self.states, generator = explored([((), 0)], self.steps)
        whole = generator.T.tolil()
        whole[0] = 1.0
        self.law = spsolve(csc_array(whole), np.eye(1, len(self.states))[0])

    def steps(self, state):
        serving, waiting = state
        if waiting < self.most:
            yield self.dispatched(serving, waiting + 1), self.arrival
        for left, rate in self.completions(serving):
            yield self.dispatched(left, waiting), rate

    def completions(self, serving: tuple[int, ...]):
        for size, many in Counter(serving).items():
            left = list(serving)
            left.remove(size)
            yield tuple(left), many / self.times[size - 1]

    def dispatched(self, serving: tuple[int, ...], waiting: int):
        while waiting and len(serving) < self.servers:
            size = min(waiting, len(self.times))
            serving, waiting = tuple(sorted((*serving, size))), waiting - size
        return serving, waiting

    def mean(self, what) -> float:
        return math.fsum(float(self.law[i]) * what(*state) for state, i in self.states.items())

    def request(self, state):
        """Steps of a request with so many ahead of it and so many behind, or in service in so large a batch."""
        if isinstance(state, int):
            yield None, 1.0 / self.times[state - 1]
            return
        serving, ahead, behind = state
        if behind < len(self.times):
            yield (serving, ahead, behind + 1), self.arrival
        for left, rate in self.completions(serving):
            took = min(ahead + 1 + behind, len(self.times))
            after = (tuple(sorted((*left, took))), ahead - took, behind)
            yield took if ahead < len(self.times) else after, rate

    def tails(self, times_s: list[float]) -> list[tuple[float, float]]:
        """P(W > t) and P(T > t)."""
        start = Counter()
        for (serving, waiting), i in self.states.items():
            start[1 if len(serving) < self.servers else (serving, waiting, 0)] += float(self.law[i])
        index, generator = explored(list(start), self.request)
        waits = np.array([not isinstance(state, int) for state in index], dtype=float)
        first = np.zeros(len(index))
        first[: len(start)] = list(start.values())
        laws = [expm_multiply(csc_array(generator.T) * time_s, first) for time_s in times_s]
        return [(float(law @ waits), float(law.sum())) for law in laws]


CASES = [
    (0.5, (0.5, 0.8), 1, 60),
    (0.9, (1.0, 0.7, 1.1), 1, 70),  # not monotone
    (1.0, (0.9, 1.5), 2, 70),
    (0.9, (3.0, 1.0), 2, 100),  # singles are slow: beside one, the queue has a tail of its own
    (0.9, (0.4, 2.0, 1.0), 2, 60),
    (2.0, (0.8, 1.0), 3, 60),
]


@pytest.mark.parametrize(("arrival", "times", "servers", "waiting_max"), CASES)
def test_every_transition_written_down(arrival: float, times: Times, servers: int, waiting_max: int) -> None:
    model, brute = queue(arrival, times, servers), Brute(arrival, times, servers, waiting_max)
    close = {"rel": 1e-10}
    assert model.utilization == pytest.approx(brute.mean(lambda s, _: len(s)) / servers, **close)
    assert model.wait_probability == pytest.approx(brute.mean(lambda s, _: len(s) == servers), **close)
    assert model.empty_probability == pytest.approx(brute.mean(lambda s, _: not s), **close)
    assert model.queue_length_mean == pytest.approx(brute.mean(lambda _, q: q), **close)
    assert model.in_system_mean == pytest.approx(brute.mean(lambda s, q: sum(s) + q), **close)
    batches = brute.mean(lambda s, _: sum(1.0 / times[size - 1] for size in s))
    assert model.batch_size_mean == pytest.approx(arrival / batches, **close)
    times_s = [0.1, 1.0, 4.0]
    for time_s, (wait, response) in zip(times_s, brute.tails(times_s), strict=True):
        assert model.wait_tail(time_s) == pytest.approx(wait, rel=1e-9)
        assert model.response_tail(time_s) == pytest.approx(response, rel=1e-9)


@pytest.mark.parametrize(
    ("load", "batch", "servers"),
    [
        (0.5, 1, 1),
        (0.99, 1, 1),
        (0.75, 2, 2),
        (0.9, 8, 1),
        (0.8, 4, 3),
        (1e-3, 4, 4),
        (1e-6, 3, 2),
        (0.6, 1, 6),
    ],
)
def test_equal_times_are_the_closed_form(load: float, batch: int, servers: int) -> None:
    rate = load * batch * servers
    model = queue(rate, (1.0,) * batch, servers)
    theory = BulkMarkov(arrival_rate_rps=rate, service_time_s=1.0, batch_size_max=batch, servers=servers)
    for name in MEANS:
        assert getattr(model, name) == pytest.approx(getattr(theory, name), rel=2e-13 / (1.0 - load))
    for quantile in (0.1, 0.5, 0.99, 0.9999, 1 - 1e-8):
        truth = theory.response_quantile_s(quantile)
        assert model.response_quantile_s(quantile) == pytest.approx(truth, rel=2e-10)
        assert model.response_tail(truth) == pytest.approx(1.0 - quantile, rel=1e-9)
        truth = theory.wait_quantile_s(quantile)
        assert model.wait_quantile_s(quantile) == pytest.approx(truth, rel=1e-10, abs=1e-12)
    for multiple in (0.01, 0.3, 2.0, 8.0):
        time_s = multiple * theory.response_mean_s
        assert model.response_tail(time_s) == pytest.approx(theory.response_tail(time_s), rel=1e-10)
        assert model.wait_tail(time_s) == pytest.approx(theory.wait_tail(time_s), rel=1e-10, abs=1e-18)


def test_the_clinic_of_gross_and_harris() -> None:
    """Gross et al. (2008), sec. 2.3: 6 patients an hour, 3 doctors, 20 minutes each."""
    clinic = queue(6.0, (1 / 3,), 3)
    assert clinic.empty_probability == pytest.approx(1 / 9, rel=1e-12)
    assert clinic.queue_length_mean == pytest.approx(8 / 9, rel=1e-12)
    assert clinic.wait_mean_s * 60 == pytest.approx(8.88, abs=0.01)


def embedded(arrival: float, times: Times, states: int) -> tuple[float, float]:
    """Mean number in system and mean batch of one server, by the chain at the ends of batches.

    While a batch of mean s lasts, a geometric number of requests arrives, and those who wait at a
    random instant of it are r + as many again.
    """
    kernel = np.zeros((states, states))
    for x in range(states):
        size = min(max(x, 1), len(times))
        share = arrival * times[size - 1] / (1.0 + arrival * times[size - 1])
        left = max(x - size, 0)
        kernel[x, left:] = (1.0 - share) * share ** np.arange(states - left)
        kernel[x, -1] += share ** (states - left)
    matrix = kernel.T - np.eye(states)
    matrix[0] = 1.0
    law = np.linalg.solve(matrix, np.eye(states)[0])
    sizes = np.clip(np.arange(states), 1, len(times))
    service = np.array(times)[sizes - 1]
    cycle = law @ service + law[0] / arrival
    number = law @ (service * (np.maximum(np.arange(states), 1) + arrival * service)) / cycle
    return float(number), float(law @ sizes)


@pytest.mark.parametrize(
    ("arrival", "times"),
    [
        (0.3, V100),
        (1.5, V100),
        (2.3, V100),
        (0.9, (0.3, 2.0, 1.0)),
        (0.5, (50.0, 1.0)),  # the queue falls by a slow single one, not by its load
        (0.4, (50.0, 0.1, 1.0)),
    ],
)
def test_one_server_by_the_chain_at_the_ends_of_batches(arrival: float, times: Times) -> None:
    model = queue(arrival, times, 1)
    number, size = embedded(arrival, times, 1200)
    assert model.in_system_mean == pytest.approx(number, rel=1e-11)
    assert model.batch_size_mean == pytest.approx(size, rel=1e-11)


drawn = st.lists(st.floats(0.2, 3.0), min_size=1, max_size=4).map(tuple)


@few
@given(drawn, st.integers(1, 2), st.floats(0.01, 0.8))
def test_more_servers_and_less_load_shorten_waits(times: Times, servers: int, load: float) -> None:
    """Of times that grow: a replica that is free sooner does not start a worse batch for that."""
    times = tuple(sorted(times))
    rate = load * servers * len(times) / times[-1]
    here, lighter = queue(rate, times, servers), queue(0.9 * rate, times, servers)
    assert lighter.wait_probability < here.wait_probability
    assert lighter.queue_length_mean < here.queue_length_mean
    assert queue(rate, times, servers + 1).wait_probability < here.wait_probability


def test_the_order_of_questions_does_not_matter() -> None:
    first, second = queue(3.0, (0.8, 1.0), 2), queue(3.0, (0.8, 1.0), 2)
    times = [0.1, 7.0, 2.0, 0.0, 30.0]
    assert [first.response_tail(t) for t in times] == [second.response_tail(t) for t in times[::-1]][::-1]


def test_a_tail_far_away_ends_at_nothing() -> None:
    model = queue(3.0, (0.8, 1.0), 2)
    tails = [model.response_tail(time_s) for time_s in (40.0, 80.0, 100.0, 1e3, 1e6, 1e300, math.inf)]
    assert tails == sorted(tails, reverse=True)
    assert 1e-10 > tails[0] > 1e-20 > tails[1]
    assert tails[3:] == [0.0] * 4
    assert model.wait_tail(-1.0) == model.response_tail(-1e-300) == 1.0


def test_numbers_too_small_to_be_normal_are_dropped() -> None:
    slow = queue(0.02, (50.0, 1.0, 1.0), 2)
    assert slow.response_tail(1500.0) == pytest.approx(slow.response_tail(1000.0) * math.exp(-10.0), rel=1e-6)


def test_states_are_counted_before_they_are_built() -> None:
    assert count_of_states(2, 2, 10) == 1 + 2 + 3 * 10
    assert count_of_states(8, 4, 100) == 165 + 330 * 100
    with pytest.raises(DomainError, match=rf"at most {STATES_MAX} are supported; simulate"):
        queue(3.99, (1.0,) * 4, 1_000)
    with pytest.raises(DomainError, match="1 servers with batches up to 4 at load 0.9999"):
        queue(3.9996, (1.0,) * 4, 1)


def test_a_request_followed_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_tagged, "_WORK_MAX", 1e6)
    with pytest.raises(DomainError, match="simulate, or give batch times that differ less"):
        queue(0.5, (1e-3, 1.0), 1).response_quantile_s(0.99)
