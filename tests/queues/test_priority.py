"""Non-preemptive priorities against a textbook's hospital, the whole chain, the transform, and their own laws."""

import math
from fractions import Fraction
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import expm_multiply, spsolve

from capacity.errors import DomainError
from capacity.performance import Kind
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.priority import Priority, PriorityWait

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=40)
utilizations = st.floats(-6, -0.01).map(lambda power: 10.0**power) | st.floats(0.9, 0.9999)
counts = st.integers(1, 12) | st.sampled_from([100, 3000])
shares = st.lists(st.floats(-4, 0).map(lambda power: 10.0**power), min_size=1, max_size=4)


def queue(utilization: float, servers: int, parts: list[float], service: float = 1.0) -> Priority:
    scale = utilization * servers * service / math.fsum(parts)
    return Priority(
        arrival_rates_rps=tuple(part * scale for part in parts), service_rate_rps=service, servers=servers
    )


def test_the_county_hospital() -> None:
    """Hillier & Lieberman, Introduction to Operations Research, sec. 17.8: hours in which three kinds of
    patients wait for one doctor (the first two) and for two."""
    one, two = (
        Priority(arrival_rates_rps=(0.2, 0.6, 1.2), service_rate_rps=3.0, servers=doctors)
        for doctors in (1, 2)
    )
    assert [law.wait_mean_s for law in one.classes[:2]] == pytest.approx((0.238, 0.325), abs=5e-4)
    assert [law.wait_mean_s for law in two.classes] == pytest.approx((0.029, 0.033, 0.048), abs=5e-4)
    in_queue = math.fsum(law.queue_length_mean for law in one.classes)
    assert in_queue == pytest.approx(4 / 3, rel=CLAIM)  # M/M/1 at 2/3, by conservation


class Chain:
    """Two classes, all of it: busy servers, then both queues, truncated; a tagged request by uniformisation."""

    def __init__(self, rates: tuple[float, float], servers: int, room: int = 45) -> None:
        self.rates, self.servers, self.room = rates, servers, room
        size = servers + room * room

        def at(first: int, second: int) -> int:
            return servers + min(first, room - 1) * room + min(second, room - 1)

        flow = lil_matrix((size, size))
        for n in range(servers):
            flow[n, n + 1 if n < servers - 1 else at(0, 0)] += sum(rates)
            if n:
                flow[n, n - 1] += n
        for first in range(room):
            for second in range(room):
                here = at(first, second)
                flow[here, at(first + 1, second)] += rates[0]
                flow[here, at(first, second + 1)] += rates[1]
                down = at(first - 1, second) if first else at(0, second - 1) if second else servers - 1
                flow[here, down] += servers
        flow.setdiag(0.0)
        generator = flow.tocsr()
        generator.setdiag(-np.asarray(generator.sum(axis=1)).ravel())
        balance = generator.T.tolil()
        balance[0, :] = 1.0
        one = np.zeros(size)
        one[0] = 1.0
        law = spsolve(balance.tocsc(), one)
        self.ready, self.queues = law[:servers].sum(), law[servers:].reshape(room, room)

    def tails(self, which: int, time: float) -> tuple[float, float]:
        """P(W > t) and P(T > t): first passages of those ahead, whom later first-class arrivals may precede."""
        room, c = 2 * self.room, self.servers
        ahead = np.zeros(room)
        for first in range(self.room):
            for second in range(self.room):
                ahead[first + (second if which else 0)] += self.queues[first, second]
        flow = lil_matrix((room + 2, room + 2))  # 0 served, 1 in service, 2 + k: k ahead
        flow[1, 0] = 1.0
        for k in range(room):
            flow[2 + k, 1 + k] = c
            if which and k < room - 1:
                flow[2 + k, 3 + k] = self.rates[0]
        flow.setdiag(-np.asarray(flow.sum(axis=1)).ravel())
        start = np.concatenate([[0.0, self.ready], ahead])
        state = expm_multiply(flow.tocsr().T * time, start)
        return float(state[2:].sum()), float(state[1:].sum())


@pytest.mark.parametrize(
    ("rates", "servers"),
    [((0.3, 0.25), 1), ((0.1, 0.5), 1), ((0.5, 0.8), 3), ((1.6, 0.2), 3), ((0.05, 1.0), 2)],
)
def test_the_whole_chain(rates: tuple[float, float], servers: int) -> None:
    chain = Chain(rates, servers)
    model = Priority(arrival_rates_rps=rates, service_rate_rps=1.0, servers=servers)
    assert model.together.wait_probability == pytest.approx(1.0 - chain.ready, rel=1e-9)
    for which, law in enumerate(model.classes):
        for time in (0.0, 0.2, 1.0, 4.0, 10.0):
            wait, response = chain.tails(which, time)
            assert law.wait_tail(time) == pytest.approx(wait, rel=1e-8)
            assert law.response_tail(time) == pytest.approx(response, rel=1e-8)
    seconds = np.arange(chain.room)
    lengths = [float(seconds @ chain.queues.sum(axis=1)), float(seconds @ chain.queues.sum(axis=0))]
    assert [law.queue_length_mean for law in model.classes] == pytest.approx(lengths, rel=1e-7)


def inverted(higher: Fraction, load: Fraction, time: float) -> mp.mpf:
    """P(W > t | W > 0) from the printed transform, by Talbot's method at forty digits."""
    with mp.workdps(40):
        s, b = (mp.mpf(x.numerator) / x.denominator for x in (higher, load))

        def tail(z: mp.mpf) -> mp.mpf:
            middle, root = z + s + 1, 2 * mp.sqrt(s)
            busy = (middle - mp.sqrt(middle - root) * mp.sqrt(middle + root)) / (2 * s)
            return (1 - (1 - b) * busy / (1 - b * busy)) / z

        return mp.invertlaplace(tail, time, method="talbot", degree=60)


LOADS = [
    (Fraction(1, 2), Fraction(9, 10)),
    (Fraction(1, 4), Fraction(1, 2)),  # b^2 = s: the pole meets the cut
    (Fraction(1, 4), Fraction(1, 2) + Fraction(1, 10**9)),
    (Fraction(1, 4), Fraction(1, 2) - Fraction(1, 10**4)),
    (Fraction(1, 4), Fraction(13, 50)),
    (Fraction(1, 10**6), Fraction(9, 10)),
    (Fraction(1, 10**6), Fraction(1, 2000)),
    (Fraction(98, 100), Fraction(9899, 10000)),
    (Fraction(999, 1000), Fraction(9999, 10000)),
]


@pytest.mark.parametrize(("higher", "load"), LOADS)
def test_the_wait_is_the_transform_inverted(higher: Fraction, load: Fraction) -> None:
    wait = PriorityWait.behind(higher, load)
    mean = 1 / float((1 - higher) * (1 - load))
    for time in (0.05, 0.1 * mean, mean, 7.0 * mean, 20.0 * mean):
        assert wait.tail(time) == pytest.approx(float(inverted(higher, load, time)), rel=1e-13)
    assert wait.tail(0.0) == pytest.approx(1.0, rel=1e-14)
    area = math.fsum(share / rate for rate, share in zip(wait.rates, wait.shares, strict=True))
    assert area == pytest.approx(mean, rel=CLAIM)


def test_far_tails_are_mixtures_too() -> None:
    """Beyond any inversion: the pole alone, and the cut's t^(-3/2) e^-(gap^2 t); Abate & Whitt (1997)."""
    pole = PriorityWait.behind(Fraction(1, 2), Fraction(9, 10))
    rate = 0.1 * 0.4 / 0.9
    assert pole.tail(15_000.0) == pytest.approx((0.81 - 0.5) / 0.36 * math.exp(-rate * 15_000), rel=1e-11)
    cut = PriorityWait.behind(Fraction(1, 2), Fraction(3, 5))
    gap, w, t = (1.0 - math.sqrt(0.5)) ** 2, 0.6 / math.sqrt(0.5), 7e3
    leading = 0.8 / math.sqrt(math.pi) / 4 / gap / (1 - w) ** 2 * (math.sqrt(0.5) * t) ** -1.5
    assert cut.tail(t) == pytest.approx(leading * math.exp(-gap * t), rel=0.05)
    assert cut.tail(t) > 1e-270


@laws
@given(utilizations, counts, st.floats(0.01, 0.9999))
def test_one_class_is_mmc(utilization: float, servers: int, quantile: float) -> None:
    model = queue(utilization, servers, [1.0])
    (only,) = model.classes
    plain = MMc(arrival_rate_rps=model.arrival_rates_rps[0], service_rate_rps=1.0, servers=servers)
    for name in ("wait_probability", "empty_probability", "wait_mean_s", "response_mean_s", "in_system_mean"):
        for law in (only, model.together):
            assert getattr(law, name) == pytest.approx(getattr(plain, name), rel=1e-11, abs=1e-300)
    assert only.wait_quantile_s(quantile) == pytest.approx(
        plain.wait_quantile_s(quantile), rel=1e-9, abs=1e-12
    )
    assert only.response_quantile_s(quantile) == pytest.approx(plain.response_quantile_s(quantile), rel=1e-11)


@laws
@given(utilizations, counts, shares)
def test_the_mean_of_all_is_conserved(utilization: float, servers: int, parts: list[float]) -> None:
    """Kleinrock (1975), vol. 2, sec. 3.4: no order of service changes how many wait."""
    model = queue(utilization, servers, parts)
    plain = MMc(arrival_rate_rps=math.fsum(model.arrival_rates_rps), service_rate_rps=1.0, servers=servers)
    waiting = math.fsum(law.queue_length_mean for law in model.classes)
    assert waiting == pytest.approx(plain.queue_length_mean, rel=1e-11, abs=1e-300)
    together = model.together
    assert together.queue_length_mean == pytest.approx(waiting, rel=1e-11, abs=1e-300)
    assert together.in_system_mean == pytest.approx(plain.in_system_mean, rel=1e-11)
    assert model.together.wait_probability == pytest.approx(plain.wait_probability, rel=1e-11, abs=1e-300)
    assert model.together.utilization == pytest.approx(utilization, rel=1e-14)
    assert model.together.offered_load == pytest.approx(utilization * servers, rel=1e-14)
    for time_s in (0.01, 1.0, 10.0):
        for name in ("wait_tail", "response_tail"):
            mixed = math.fsum(law.arrival_rate_rps * getattr(law, name)(time_s) for law in model.classes)
            mixed /= together.arrival_rate_rps
            assert getattr(together, name)(time_s) == pytest.approx(mixed, rel=1e-12, abs=1e-300)


@laws
@given(utilizations, counts, shares, st.integers(-60, 60), st.floats(0.01, 0.9999))
def test_rates_times_k_divide_durations_by_k(utilization, servers, parts, power, quantile) -> None:
    k = 2.0**power
    plain, fast = queue(utilization, servers, parts), queue(utilization, servers, parts, k)
    for slow, quick in zip((*plain.classes, plain.together), (*fast.classes, fast.together), strict=True):
        assert quick.wait_mean_s == slow.wait_mean_s / k
        assert quick.queue_length_mean == slow.queue_length_mean
        assert quick.wait_quantile_s(quantile) == slow.wait_quantile_s(quantile) / k
        assert quick.response_quantile_s(quantile) == slow.response_quantile_s(quantile) / k
        assert quick.response_tail(1.0 / k) == slow.response_tail(1.0)


@laws
@given(utilizations, counts, shares, st.floats(0.01, 0.9999))
def test_the_higher_class_waits_less(utilization, servers, parts, quantile) -> None:
    model = queue(utilization, servers, parts)
    means = [law.wait_mean_s for law in model.classes]
    assert means == sorted(means)
    waits = [law.wait_quantile_s(quantile) for law in model.classes]
    assert all(low <= high * (1.0 + 1e-11) for low, high in pairwise(waits))
    for law in model.classes:
        assert law.response_tail(law.response_quantile_s(quantile)) == pytest.approx(1 - quantile, rel=1e-11)
        wait = law.wait_quantile_s(quantile)
        if wait > 0.0:
            assert law.wait_tail(wait) == pytest.approx(1.0 - quantile, rel=1e-11)
        else:
            assert law.wait_probability <= (1.0 - quantile) * (1.0 + CLAIM)


@laws
@given(utilizations, counts, shares)
def test_a_class_below_is_noticed_only_by_being_served(utilization, servers, parts) -> None:
    """Given a wait, a class's law depends on its own and higher classes alone."""
    here, below = queue(utilization, servers, parts), queue(utilization, servers, [*parts, 0.1])
    scale = below.arrival_rates_rps[0] / here.arrival_rates_rps[0]
    thinned = queue(utilization * scale, servers, parts)
    for one, other in zip(thinned.classes, below.classes, strict=False):
        ratio = one.wait_tail(2.0) * other.wait_probability
        assert ratio == pytest.approx(other.wait_tail(2.0) * one.wait_probability, rel=1e-9, abs=1e-300)


@pytest.mark.long
@pytest.mark.parametrize(
    ("utilization", "servers", "parts"),
    [(0.5, 1, [0.2, 3.0, 1.0]), (0.95, 1, [1.0, 1.0]), (0.9, 12, [0.2, 3.0, 1.0])],
)
def test_the_area_under_a_tail_is_the_mean(utilization: float, servers: int, parts: list[float]) -> None:
    model = queue(utilization, servers, parts)
    for law in (*model.classes, model.together):
        for tail, mean in ((law.wait_tail, law.wait_mean_s), (law.response_tail, law.response_mean_s)):
            with mp.workdps(20):
                ends = [mean * k for k in (0, 0.1, 0.5, 1, 2, 5, 12, 30, 80, 300)]
                area = mp.quad(lambda t, tail=tail: tail(float(t)), ends)
            assert float(area) == pytest.approx(mean, rel=1e-9)


def test_atom_and_times_before_zero() -> None:
    for law in queue(0.8, 2, [1.0, 2.0]).classes:
        assert law.wait_tail(0.0) == pytest.approx(law.wait_probability, rel=1e-14)
        assert law.wait_quantile_s(1.0 - law.wait_probability - 1e-12) == 0.0
        assert 0.0 < law.wait_quantile_s(1.0 - law.wait_probability + 1e-9) < 1e-7
        assert law.wait_tail(-1e-300) == law.response_tail(-1.0) == law.response_tail(0.0) == 1.0
        for far in (1e6, 1e300, math.inf):
            assert law.wait_tail(far) == law.response_tail(far) == 0.0


def test_a_negligible_class_above_is_none() -> None:
    above = Priority(arrival_rates_rps=(1e-300, 0.7), service_rate_rps=1.0, servers=1).classes[1]
    alone = MMc(arrival_rate_rps=0.7, service_rate_rps=1.0, servers=1)
    assert above.wait_quantile_s(0.99) == pytest.approx(alone.wait_quantile_s(0.99), rel=1e-12)
    nearly = Priority(arrival_rates_rps=(1e-200, 0.7), service_rate_rps=1.0, servers=1).classes[1]
    assert nearly.response_quantile_s(0.99) == pytest.approx(alone.response_quantile_s(0.99), rel=1e-12)


def test_performance_says_the_same() -> None:
    model = queue(0.9, 2, [1.0, 2.0], 5.0)
    answers = (*model.performances((0.5, 0.99)), model.performance((0.5, 0.99)))
    for answer, law in zip(answers, (*model.classes, model.together), strict=True):
        assert answer.kind is Kind.EXACT
        assert answer.load == answer.utilization == 0.9
        assert answer.throughput_rps == law.arrival_rate_rps
        for name in (
            "offered_load", "wait_probability", "empty_probability", "queue_length_mean", "in_system_mean",
            "wait_mean_s", "response_mean_s",
        ):  # fmt: skip
            assert getattr(answer, name) == getattr(law, name)
        assert answer.response_quantiles_s[0.99].value == law.response_quantile_s(0.99)
        assert answer.wait_quantiles_s[0.5].high == law.wait_quantile_s(0.5)
    assert len(answers) == 3


@pytest.mark.parametrize("bad", [(), [0.1], 0.1, "ab", None])
def test_classes_are_a_tuple(bad: object) -> None:
    with pytest.raises(DomainError, match="arrival_rates_rps must be a tuple of one rate or more"):
        Priority(arrival_rates_rps=bad, service_rate_rps=1.0, servers=1)


def test_bad_questions_are_refused() -> None:
    (law,) = queue(0.5, 1, [1.0]).classes
    for wrong in (math.nan, 0.0, 1.0, -0.1, True):
        for ask in (law.wait_quantile_s, law.response_quantile_s):
            with pytest.raises(DomainError, match="quantile must be in"):
                ask(wrong)
    for tail in (law.wait_tail, law.response_tail):
        with pytest.raises(DomainError, match="time_s must be a number"):
            tail(math.nan)
