"""Users of one batching replica against binomials at 400 digits, a tagged request, hand sums and limits."""

import math
from collections import deque
from functools import cache
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from capacity.queues.batch.closed import BulkClosed
from capacity.queues.numerics.chains import banded_stationary as stationary

Times = tuple[float, ...]
MEANS = (
    "utilization", "throughput_rps", "batch_size_mean", "wait_probability", "empty_probability",
    "queue_length_mean", "in_system_mean", "wait_mean_s", "response_mean_s",
)  # fmt: skip
NODES = np.polynomial.legendre.leggauss(14)
few = settings(derandomize=True, deadline=None, max_examples=25)


def closed(users: int, think: float, times: Times) -> BulkClosed:
    return BulkClosed(users=users, think_time_s=think, batch_times_s=times)


def exact_means(users: int, think: float, times: Times) -> dict[str, mp.mpf]:
    """All means from the balance equations at 400 digits, responses as N/X - Z, which these can afford."""
    with mp.workdps(400):
        z, last = mp.mpf(think), users - 1
        service = [mp.mpf(times[min(max(x, 1), len(times)) - 1]) for x in range(users)]
        size = [min(max(x, 1), len(times)) for x in range(users)]
        matrix = -mp.eye(users)
        for x in range(users):
            n, stay = users - max(x, 1), mp.exp(-service[x] / z)
            for k in range(n + 1):
                matrix[max(x, 1) - size[x] + k, x] += mp.binomial(n, k) * (1 - stay) ** k * stay ** (n - k)
        for x in range(users):
            matrix[last, x] = mp.mpf(1)
        right = mp.zeros(users, 1)
        right[last] = mp.mpf(1)
        law = list(mp.lu_solve(matrix, right))
        busy = mp.fdot(law, service)
        cycle, served = busy + law[0] * z / users, mp.fdot(law, size)
        number = users - z * served / cycle  # who does not think
        in_service = mp.fdot(law, [a * b for a, b in zip(size, service, strict=True)]) / cycle
        return {
            "utilization": busy / cycle,
            "throughput_rps": served / cycle,
            "batch_size_mean": served,
            "wait_probability": 1 - law[0] / served,
            "empty_probability": law[0] * z / users / cycle,
            "queue_length_mean": number - in_service,
            "in_system_mean": number,
            "wait_mean_s": (number - in_service) * cycle / served,
            "response_mean_s": users * cycle / served - z,
        }


@pytest.mark.parametrize(
    ("users", "think", "times"),
    [
        (1, 3.0, (2.0, 5.0)),
        (2, 3.0, (2.0,)),
        (6, 3.0, (1.0, 1.2, 1.5)),
        (6, 0.3, (1.0, 1.2, 1.5)),
        (7, 1e5, (1.0, 0.4, 1.5, 2.0)),
        (7, 1e12, (1.0, 0.4, 1.5, 2.0)),
        (9, 2e-9, (1e-9, 3e-9, 2e-9)),
        (12, 40.0, (1.0, 1.1, 1.2, 1.3, 1.4)),
        (6, 1.4 / 149, (1.0, 1.1, 1.2, 1.3, 1.4)),  # turns of 3 and 3; 2 and 4 are rare
        (6, 1.4 / 149, (1.4, 1.3, 1.2, 1.1, 1.0)),  # turns of 1 and 5
        (3, 1.0, (1.0,) * 8),
        (30, 0.02, (3.0,)),  # nobody ever finds the replica idle: e^-4000
    ],
)
def test_means_at_four_hundred_digits(users: int, think: float, times: Times) -> None:
    model, exact = closed(users, think, times), exact_means(users, think, times)
    for name in MEANS:
        error = abs(mp.mpf(getattr(model, name)) - exact[name])
        assert error <= max(1e-12 * exact[name], mp.mpf(10) ** -90), name


def binomial(count: int, share: float) -> np.ndarray:
    """scipy's takes longer to start than these few terms to add up."""
    return np.array([math.comb(count, i) * share**i * (1.0 - share) ** (count - i) for i in range(count + 1)])


class Tagged:
    """One request by its arrival v into a batch that began with x waiting: a density, summed over binomials."""

    def __init__(self, users: int, think: float, times: Times) -> None:
        self.users, self.think, self.times = users, think, times[:users]

        def row(x: int) -> np.ndarray:
            size, thinking = self.size(x), users - max(x, 1)
            share = -math.expm1(-self.times[size - 1] / think)
            return binomial(thinking, share)

        self.law = stationary(row, users - 1, len(self.times), users - 1) if users > 1 else np.ones(1)
        self.served = self.law @ [self.size(x) for x in range(users)]

    def size(self, waiting: int) -> int:
        return min(max(waiting, 1), len(self.times))

    def back(self, within: float) -> float:
        return -math.expm1(-within / self.think)

    def tails(self, time_s: float) -> tuple[float, float]:
        """P(W > t) and P(T > t)."""
        idle = float(self.law[0])
        parts = [self.during(x, time_s) for x in range(self.users - 1)]
        parts.append(self.during(self.users - 1, time_s))
        wait = math.fsum(part[0] for part in parts)
        stay = math.fsum(part[1] for part in parts) + idle * (self.times[0] > time_s)
        return wait / self.served, stay / self.served

    def during(self, x: int, time_s: float) -> tuple[float, float]:
        size, thinking = self.size(x), self.users - max(x, 1)
        length, full = self.times[size - 1], self.times[-1]
        if not thinking:
            return 0.0, 0.0
        jumps = {length + m * full + s - time_s for m in range(self.users + 1) for s in (0.0, *self.times)}
        ends = [0.0, *sorted(v for v in jumps if 0.0 < v < length), length]
        found = []
        for late in (self.waits, self.stays):
            area = sum(
                (b - a) / 2.0 * w * self.at(x, (a + b) / 2.0 + (b - a) / 2.0 * node, time_s, late)
                for a, b in pairwise(ends)
                for node, w in zip(*NODES, strict=True)
            )
            found.append(float(self.law[x]) * thinking * area)
        return found[0], found[1]

    def at(self, x: int, v: float, time_s: float, late) -> float:
        size, others = self.size(x), self.users - max(x, 1) - 1
        arrived = binomial(others, self.back(v))
        ahead = max(x, 1) - size
        density = math.exp(-v / self.think) / self.think
        return density * sum(
            float(p) * late(size, ahead + i, others - i, self.times[size - 1] - v, time_s)
            for i, p in enumerate(arrived)
        )

    def waits(self, _size: int, ahead: int, _thinking: int, rest: float, time_s: float) -> float:
        return float(rest + ahead // len(self.times) * self.times[-1] > time_s)

    def stays(self, size: int, ahead: int, thinking: int, rest: float, time_s: float) -> float:
        batch, full = len(self.times), self.times[-1]
        first, place = divmod(ahead, batch)
        groups = [(thinking, rest + first * full), (size, first * full)]
        groups += [(batch, (first - k) * full) for k in range(1, first + 1)]
        law = np.ones(1)
        for many, within in groups:
            law = np.convolve(law, binomial(many, self.back(within)))
        own = np.minimum(place + 1 + np.arange(len(law)), batch)
        return float(law @ (rest + first * full + np.array(self.times)[own - 1] > time_s))


@pytest.mark.parametrize(
    ("users", "think", "times"),
    [
        (2, 1.0, (1.0, 3.0)),
        (3, 2.0, (1.0,)),
        (5, 1.0, (1.0, 1.3)),
        (8, 1.0, (1.0, 1.3)),  # two batches come and go before the last of a full queue is served
        (6, 3.0, (1.0, 1.2, 1.5)),
        (6, 0.4, (2.0, 3.1, 0.9)),  # not monotone: two full batches pass within one of two
        (4, 1.5, (1.0, 1.1, 1.3, 1.4, 9.0)),
    ],
)
def test_tails_by_a_tagged_request(users: int, think: float, times: Times) -> None:
    model, tagged = closed(users, think, times), Tagged(users, think, times)
    for multiple in (0.0, 0.31, 0.9, 1.37, 2.2, 3.4, 4.3):
        time_s = multiple * times[0]
        wait, stay = tagged.tails(time_s)
        assert model.wait_tail(time_s) == pytest.approx(wait, rel=1e-10, abs=1e-13)
        assert model.response_tail(time_s) == pytest.approx(stay, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(("service", "think"), [(1.0, 1.0), (0.2, 3.0), (5.0, 0.7)])
def test_two_users_by_hand(service: float, think: float) -> None:
    """x = 0 with probability q = e^-(s/Z): X = 1/(s + qZ/2), and R = 2s - (1 - q)Z."""
    q = math.exp(-service / think)
    model = closed(2, think, (service, 77.0))  # no two are ever there when a batch starts
    assert model.throughput_rps == pytest.approx(1.0 / (service + q * think / 2.0), rel=1e-13)
    assert model.response_mean_s == pytest.approx(2.0 * service - (1.0 - q) * think, rel=1e-12)
    assert model.wait_probability == pytest.approx(1.0 - q, rel=1e-12)
    for v in (0.2, 0.5, 0.9):  # the wait is what is left of the other's service
        late = -math.expm1(-service * (1.0 - v) / think)
        assert model.wait_tail(service * v) == pytest.approx(late, rel=1e-11)


def test_a_single_user_never_waits() -> None:
    model = closed(1, 4.0, (0.5, 9.0))
    assert model.response_mean_s == model.response_quantile_s(0.5) == model.response_quantile_s(0.9999) == 0.5
    assert model.wait_mean_s == model.wait_probability == model.wait_quantile_s(0.9999) == 0.0
    assert model.throughput_rps == pytest.approx(1 / 4.5, rel=1e-15)
    assert model.utilization == pytest.approx(0.5 / 4.5, rel=1e-15)


def played(users: int, times: Times, batches: int) -> tuple[list[int], list[float], list[float]]:
    """No think time, event by event: a batch ends, the next one starts, then those served are back."""
    queue, now = deque([0.0]), 0.0
    late = [0.0] * (users - 1)  # the others come just after the first was taken
    sizes, waits, responses = [], [], []
    for _ in range(batches):
        size = min(len(queue), len(times))
        batch = [queue.popleft() for _ in range(size)]
        queue.extend(late)
        waits += [now - arrival for arrival in batch]
        now += times[size - 1]
        responses += [now - arrival for arrival in batch]
        late = [now] * size
        if not queue:  # nobody waited: the first one back is taken alone
            queue.append(late.pop())
        sizes.append(size)
    return sizes, waits, responses


@pytest.mark.parametrize("users", range(1, 13))
@pytest.mark.parametrize("times", [(1.0,), (1.0, 1.5), (1.0, 2.0, 1.75, 2.5), (2.0, 1.0, 4.0, 3.0, 3.5, 5.0)])
def test_no_think_time_event_by_event(users: int, times: Times) -> None:
    model = closed(users, 0.0, times)
    skipped, counted = 4 * users, 60 * users
    sizes, waits, responses = played(users, times, skipped + counted)
    first = sum(sizes[:skipped])
    steady, busy = sizes[skipped:], sum(times[size - 1] for size in sizes[skipped:])
    assert model.batch_size_mean == pytest.approx(sum(steady) / counted, rel=1e-12)
    assert model.throughput_rps == pytest.approx(sum(steady) / busy, rel=1e-12)
    assert model.response_mean_s == pytest.approx(np.mean(responses[first:]), rel=1e-12)
    assert model.wait_mean_s == pytest.approx(np.mean(waits[first:]), rel=1e-12)
    assert model.response_mean_s == pytest.approx(users / model.throughput_rps, rel=1e-12)
    assert model.utilization == 1.0
    assert model.empty_probability == 0.0
    assert model.in_system_mean == pytest.approx(users, rel=1e-12)
    for time_s in {0.0, *waits[first:], *responses[first:]}:
        wait, stay = np.array(waits[first:]) > time_s, np.array(responses[first:]) > time_s
        assert model.wait_tail(time_s) == pytest.approx(wait.mean(), abs=1e-12)
        assert model.response_tail(time_s) == pytest.approx(stay.mean(), abs=1e-12)
    for quantile in (0.01, 0.5, 0.99):
        ordered = np.sort(responses[first:])
        assert model.response_quantile_s(quantile) == ordered[math.ceil(quantile * len(ordered)) - 1]
        ordered = np.sort(waits[first:])
        assert model.wait_quantile_s(quantile) == ordered[math.ceil(quantile * len(ordered)) - 1]


def test_no_think_time_alternates() -> None:
    """Four users, batches up to three: 1 and 3 in turn, so that each answer takes both."""
    model = closed(4, 0.0, (1.0, 1.2, 1.5))
    assert model.batch_size_mean == 2.0
    assert model.throughput_rps == pytest.approx(4 / 2.5, rel=1e-15)
    assert model.response_quantile_s(0.01) == model.response_quantile_s(0.99) == 2.5
    assert model.wait_quantile_s(0.5) == 1.0  # the three wait for the one
    assert model.wait_quantile_s(0.8) == 1.5


@cache
def open_mean(arrival: float, times: Times, states: int) -> float:
    """Mean response of the open queue, M/D^[1,B]/1, by its own chain."""
    sizes = np.clip(np.arange(states + 1), 1, len(times))
    service = np.array(times)[sizes - 1]

    def row(x: int) -> np.ndarray:
        left, first = max(x - sizes[x], 0), max(0, x - len(times))
        return np.concatenate([np.zeros(left - first), poisson.pmf(np.arange(80), arrival * service[x])])

    law = stationary(row, states, len(times), 80)
    cycle = law @ service + law[0] / arrival
    present = np.maximum(np.arange(states + 1), 1)
    return float(law @ (service * (present + arrival * service / 2.0)) / cycle / arrival)


@pytest.mark.parametrize(("arrival", "times"), [(1.2, (1.0, 1.2, 1.5)), (0.4, (1.0, 1.8)), (2.0, (1.0,) * 4)])
def test_many_rarely_active_users_are_an_open_stream(arrival: float, times: Times) -> None:
    truth = open_mean(arrival, times, 400)
    errors = []
    for users in (125, 500, 2000):
        model = closed(users, users / arrival - truth, times)
        assert model.throughput_rps == pytest.approx(arrival, rel=20 / users)
        errors.append(abs(model.response_mean_s / truth - 1.0))
    assert errors[2] < 2e-3
    assert 3.0 < errors[0] / errors[1] < 5.0 > errors[1] / errors[2] > 3.0  # of the order 1/N


times_drawn = st.lists(st.floats(0.2, 3.0), min_size=1, max_size=5).map(tuple)
thinks = st.floats(-1.6, 5.0).map(lambda power: 10.0**power)


@few
@given(st.integers(1, 25), thinks, times_drawn, st.floats(0.02, 0.9999), st.integers(-200, 200))
def test_laws_within_one_test(users: int, think: float, times: Times, quantile: float, power: int) -> None:
    model, k = closed(users, think, times), 2.0**power
    rate = model.throughput_rps
    assert model.in_system_mean == pytest.approx(users - rate * think, rel=1e-11, abs=1e-12 * users)
    assert model.in_system_mean == pytest.approx(rate * model.response_mean_s, rel=1e-13)
    assert 0.0 <= model.wait_mean_s <= model.response_mean_s
    assert model.utilization + model.empty_probability == pytest.approx(1.0, rel=1e-13)
    assert model.wait_tail(0.0) == pytest.approx(model.wait_probability, rel=1e-11)
    response, wait = model.response_quantile_s(quantile), model.wait_quantile_s(quantile)
    assert model.response_tail(response) <= (1.0 - quantile) * (1.0 + 1e-12)
    assert model.response_tail(response * (1.0 - 1e-9)) >= (1.0 - quantile) * (1.0 - 1e-12)
    assert model.wait_tail(wait) <= (1.0 - quantile) * (
        1.0 + 1e-12
    )  # the claim is on times: tails may be steep
    assert wait == 0.0 or model.wait_tail(wait * (1.0 - 1e-9)) >= (1.0 - quantile) * (1.0 - 1e-12)
    assert wait <= response
    fast = closed(users, think / k, tuple(time_s / k for time_s in times))
    assert fast.in_system_mean == model.in_system_mean
    assert fast.response_mean_s == model.response_mean_s / k
    assert fast.response_quantile_s(quantile) == pytest.approx(response / k, rel=1e-13)


@few
@given(st.integers(1, 25), thinks, times_drawn)
def test_one_user_more_is_no_faster(users: int, think: float, times: Times) -> None:
    """Of times that do not grow with the batch nobody is slowed down by company; single ones anyway."""
    for profile in (times[:1], (times[0],) * len(times)):
        here, more = closed(users, think, profile), closed(users + 1, think, profile)
        assert more.throughput_rps >= here.throughput_rps * (1.0 - 1e-12)
        assert more.response_mean_s >= here.response_mean_s * (1.0 - 1e-12)


@pytest.mark.long
@pytest.mark.parametrize(
    ("users", "think", "times"),
    [(6, 3.0, (1.0, 1.2, 1.5)), (15, 0.5, (2.0, 3.1, 0.9)), (20, 5.0, (1.0, 1.1, 1.3, 1.4))],
)
def test_the_area_under_a_tail_is_the_mean(users: int, think: float, times: Times) -> None:
    model = closed(users, think, times)
    longest = (users // len(times) + 2) * max(times)
    ends = np.linspace(0.0, longest, 150)
    jumps = {m * times[-1] + s + d for m in range(users + 1) for s in (0.0, *times) for d in (0.0, *times)}
    ends = sorted({*ends, *(x for x in jumps if x < longest)})
    nodes, weights = np.polynomial.legendre.leggauss(6)
    for tail, mean in ((model.response_tail, model.response_mean_s), (model.wait_tail, model.wait_mean_s)):
        area = sum(
            (b - a) / 2.0 * w * tail((a + b) / 2.0 + (b - a) / 2.0 * x)
            for a, b in pairwise(ends)
            if b - a > 1e-12
            for x, w in zip(nodes, weights, strict=True)
        )
        assert area == pytest.approx(mean, rel=1e-8)


def test_atom_and_ends_of_time() -> None:
    model = closed(6, 3.0, (1.0, 1.2, 1.5))
    idle = 1.0 - model.wait_probability
    assert model.response_quantile_s(idle - 1e-9) == 1.0
    assert model.response_quantile_s(idle + 1e-6) > 1.0
    assert model.response_tail(math.nextafter(1.0, 0.0)) == 1.0
    assert model.response_tail(1.0) == pytest.approx(model.wait_probability, rel=1e-12)
    assert model.wait_tail(-1.0) == model.response_tail(-1e-300) == 1.0
    for far in (7.5, 1e9, 1e300, math.inf):
        assert model.wait_tail(far) == model.response_tail(far) == 0.0
    shortest_first = closed(6, 3.0, (2.0, 1.2, 1.5))
    assert shortest_first.response_tail(1.1) == 1.0 > shortest_first.response_tail(1.6)


def test_a_whole_number_of_batches_is_no_edge() -> None:
    """Nor is it counted twice where a remainder is rounded below 0."""
    model = closed(45, 3.0, (0.3,))
    for full in range(1, 40):
        near = [model.wait_tail(full * 0.3 * (1.0 + k * 2.0**-52)) for k in range(-4, 5)]
        assert near == pytest.approx([near[0]] * 9, rel=1e-12)


def test_two_thousand_users() -> None:
    model = closed(2000, 300.0, tuple(1.0 + 0.03 * b for b in range(1, 17)))
    assert model.throughput_rps == pytest.approx(2000 / (300.0 + model.response_mean_s), rel=1e-12)
    assert model.response_tail(model.response_quantile_s(0.99)) == pytest.approx(0.01, rel=1e-9)
