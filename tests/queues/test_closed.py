"""Closed systems against textbooks, sums over states at 40 digits, product form, and their own laws."""

import math

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.queues.little import LoadTestReport
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mmc import MMc

CLAIM = 1e-12
NOTHING = 1e-290  # what is smaller may be 0
laws = settings(derandomize=True, deadline=None, max_examples=40)
counts = st.integers(1, 60)
thinks = st.floats(-6, 6).map(lambda power: 10.0**power)


def closed(users: int, think: float, service: float, servers: int) -> Closed:
    return Closed(users=users, think_time_s=think, service_time_s=service, servers=servers)


class Exact:
    """The same system at 40 digits: p(n) state by state, response times one state met at a time."""

    def __init__(self, model: Closed) -> None:
        self.servers = model.servers
        with mp.workdps(40):
            self.service, self.think = mp.mpf(model.service_time_s), mp.mpf(model.think_time_s)
            self.law, self.met = self.states(model.users), self.states(model.users - 1)

    def states(self, users: int) -> list[mp.mpf]:
        weights = [mp.mpf(1)]
        for n in range(users, 0, -1):
            down = min(n, self.servers) / self.service
            weights.insert(0, weights[0] * down * self.think / (users - n + 1))
        return [w / mp.fsum(weights) for w in weights]

    def mean(self, value) -> mp.mpf:
        return mp.fsum(p * value(n) for n, p in enumerate(self.law))

    def tails(self, time_s) -> tuple[mp.mpf, mp.mpf]:
        """P(W > t), P(T > t): the wait is Erlang, the response that plus an exponential."""
        c, time = self.servers, mp.mpf(time_s) / self.service
        wait = response = mp.mpf(0)
        for n, p in enumerate(self.met):
            k = n + 1 - c
            if k <= 0:
                response += p * mp.exp(-time)
                continue
            in_line = mp.gammainc(k, c * time, regularized=True)
            wait += p * in_line
            if c == 1:
                response += p * mp.gammainc(k + 1, time, regularized=True)
            else:
                late = mp.gammainc(k, 0, (c - 1) * time, regularized=True)
                response += p * (in_line + mp.exp(-time) * (mp.mpf(c) / (c - 1)) ** k * late)
        return wait, response

    def error_of_quantile(self, which: int, time_s: float, quantile: float) -> float:
        """Relative distance to the root, by one Newton step in log P."""
        t = mp.mpf(time_s)
        step = t * mp.mpf(10) ** -12
        logs = [mp.log(self.tails(t + k * step)[which]) for k in (-1, 0, 1)]
        return float(abs((logs[1] - mp.log(1 - mp.mpf(quantile))) * 2 * step / (logs[2] - logs[0]) / t))


CORNERS = [
    (1, 0.0, 1.0, 1),
    (1, 5.0, 2.0, 3),
    (2, 0.0, 1.0, 2),
    (2, 3.0, 1.0, 1),
    (6, 20.0, 2.0, 1),
    (6, 20.0, 2.0, 2),
    (5, 0.0, 1e-9, 2),
    (40, 39.0, 1.0, 1),
    (40, 1e-9, 1.0, 3),
    (40, 1e12, 1.0, 3),
    (60, 20.0, 1.0, 40),
    (60, 1.0, 1.0, 59),
    (60, 1e-7, 1e-9, 1),
    (60, 5e9, 1e9, 10),
]


@pytest.mark.parametrize(("users", "think", "service", "servers"), CORNERS)
def test_all_numbers_at_forty_digits(users: int, think: float, service: float, servers: int) -> None:
    model = closed(users, think, service, servers)
    with mp.workdps(40):
        exact = Exact(model)
        wait = mp.fsum(p * max(0, n + 1 - servers) for n, p in enumerate(exact.met)) / servers
        for value, truth in (
            (model.throughput_rps, exact.mean(lambda n: min(n, servers)) / exact.service),
            (model.utilization, exact.mean(lambda n: min(n, servers)) / servers),
            (model.in_system_mean, exact.mean(lambda n: n)),
            (model.queue_length_mean, exact.mean(lambda n: max(0, n - servers))),
            (model.wait_mean_s, wait * exact.service),
            (model.response_mean_s, (1 + wait) * exact.service),
            (model.empty_probability, exact.law[0]),
            (model.wait_probability, mp.fsum(exact.met[servers:])),
        ):
            assert abs(value - truth) <= CLAIM * truth + NOTHING
        for quantile in (0.5, 0.99, 0.9999):
            late_s = model.response_quantile_s(quantile)
            assert exact.error_of_quantile(1, late_s, quantile) < CLAIM
            for t in (0.1 * late_s, late_s, 5.0 * late_s):
                queued, unserved = exact.tails(t)
                assert abs(model.response_tail(t) - unserved) <= CLAIM * unserved + NOTHING
                assert abs(model.wait_tail(t) - queued) <= CLAIM * queued + NOTHING
            wait_s = model.wait_quantile_s(quantile)
            if wait_s > 0.0:
                assert exact.error_of_quantile(0, wait_s, quantile) < CLAIM
            else:
                assert model.wait_probability <= 1.0 - quantile


def test_kolkmeyer_machine_repair() -> None:
    """Anderson, Sweeney & Williams, An Introduction to Management Science, ch. 11; hours.

    Their "probability of waiting" is that of a busy station at any time, not at a breakdown.
    """
    one, two = closed(6, 20.0, 2.0, 1), closed(6, 20.0, 2.0, 2)
    assert one.empty_probability == pytest.approx(0.4845, abs=5e-5)
    assert one.queue_length_mean == pytest.approx(0.3297, abs=5e-4)  # from a rounded P(0)
    assert one.in_system_mean == pytest.approx(0.8451, abs=5e-4)
    assert one.wait_mean_s == pytest.approx(1.279, abs=5e-4)
    assert one.response_mean_s == pytest.approx(3.279, abs=5e-4)
    assert one.utilization == pytest.approx(0.5155, abs=5e-5)
    assert two.wait_mean_s == pytest.approx(0.0834, abs=5e-5)
    exact = Exact(two)
    assert float(sum(exact.law[2:])) == pytest.approx(0.1036, abs=5e-5)
    assert two.wait_probability == pytest.approx(float(sum(exact.met[2:])), rel=CLAIM)
    assert two.wait_probability < 0.1036


@laws
@given(st.integers(1, 300), thinks, counts)
def test_the_interactive_law_and_the_bounds(users: int, think: float, servers: int) -> None:
    model = closed(users, think, 1.0, servers)
    report = LoadTestReport(
        users=users,
        think_time_s=think,
        throughput_rps=model.throughput_rps,
        response_mean_s=model.response_mean_s,
        response_quantiles_s={q: model.response_quantile_s(q) for q in (0.5, 0.9, 0.99)},
    )
    difference = report.required_response_mean_s
    assert model.response_mean_s == pytest.approx(difference, abs=CLAIM * (think + difference))
    assert model.throughput_rps <= model.throughput_max_rps * (1.0 + CLAIM)
    assert model.response_mean_s >= model.response_min_s * (1.0 - CLAIM)
    assert model.utilization == pytest.approx(model.throughput_rps / servers, rel=CLAIM)
    assert model.queue_length_mean == pytest.approx(
        model.throughput_rps * model.wait_mean_s, rel=CLAIM, abs=1e-300
    )
    assert model.throughput_max_rps == pytest.approx(min(servers, users / (think + 1.0)), rel=CLAIM)
    assert model.response_min_s == pytest.approx(max(1.0, users / servers - think), rel=CLAIM)
    assert model.saturation_users == pytest.approx(servers * (think + 1.0), rel=CLAIM)


@laws
@given(counts, thinks, st.integers(1, 20), st.integers(-300, 300), st.floats(0.01, 0.9999))
def test_durations_times_k(users: int, think: float, servers: int, power: int, quantile: float) -> None:
    k = 2.0**power  # exact
    plain, slow = closed(users, think, 1.0, servers), closed(users, think * k, k, servers)
    assert slow.throughput_rps == plain.throughput_rps / k
    assert slow.response_mean_s == plain.response_mean_s * k
    assert slow.wait_probability == plain.wait_probability
    assert slow.empty_probability == plain.empty_probability
    assert slow.response_quantile_s(quantile) == plain.response_quantile_s(quantile) * k
    assert slow.wait_quantile_s(quantile) == plain.wait_quantile_s(quantile) * k
    assert slow.response_tail(k) == plain.response_tail(1.0)
    assert slow.wait_tail(k) == plain.wait_tail(1.0)


@laws
@given(counts, thinks, st.integers(1, 20), st.floats(0.01, 0.9999))
def test_more_users_are_slower_and_more_servers_faster(users, think, servers, quantile) -> None:
    here, more, wider = (
        closed(users, think, 1.0, servers),
        closed(users + 1, think, 1.0, servers),
        closed(users, think, 1.0, servers + 1),
    )
    slack = 1.0 + CLAIM
    assert here.throughput_rps <= more.throughput_rps * slack
    assert here.response_mean_s <= more.response_mean_s * slack
    assert wider.response_mean_s <= here.response_mean_s * slack
    here_s = here.response_quantile_s(quantile)
    assert wider.response_quantile_s(quantile) / slack <= here_s
    assert here_s <= more.response_quantile_s(quantile) * slack
    assert here.wait_quantile_s(quantile) <= more.wait_quantile_s(quantile) * slack
    assert here_s >= max(here.wait_quantile_s(quantile), -math.log1p(-quantile)) / slack
    assert here.response_tail(here_s) == pytest.approx(1.0 - quantile, rel=CLAIM)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (3, 2.4), (20, 15.0)])
def test_many_slow_users_are_a_poisson_stream(servers: int, load: float) -> None:
    """N -> infinity at a fixed rate N/Z: M/M/c, the error falling as 1/N."""
    open_queue = MMc(arrival_rate_rps=load, service_rate_rps=1.0, servers=servers)
    for users in (10**4, 10**5):
        model = closed(users, users / load, 1.0, servers)
        for value, truth in (
            (model.wait_probability, open_queue.wait_probability),
            (model.response_mean_s, open_queue.response_mean_s),
            (model.response_quantile_s(0.99), open_queue.response_quantile_s(0.99)),
            (model.wait_quantile_s(0.99), open_queue.wait_quantile_s(0.99)),
            (model.empty_probability, open_queue.empty_probability),
        ):
            assert value == pytest.approx(truth, rel=200.0 / users)
        assert model.response_quantile_s(0.99) < open_queue.response_quantile_s(0.99)


def test_enough_servers_for_all_users() -> None:
    """N <= c: nobody waits, and responses are services."""
    for users, servers in ((1, 1), (4, 4), (4, 9), (100_000, 100_000)):
        model = closed(users, 3.0, 2.0, servers)
        assert model.wait_probability == model.wait_mean_s == model.queue_length_mean == 0.0
        assert model.wait_tail(0.0) == model.wait_quantile_s(0.9999) == 0.0
        assert model.response_mean_s == 2.0
        assert model.throughput_rps == users / 5.0
        assert model.response_quantile_s(0.99) == pytest.approx(2.0 * math.log(100.0), rel=CLAIM)
        assert model.utilization == pytest.approx(users * 0.4 / servers, rel=CLAIM)
        assert model.empty_probability == pytest.approx(0.6**users, rel=1e-9)  # each user apart


def test_no_think_time_keeps_all_in_flight() -> None:
    model = closed(7, 0.0, 2.0, 3)
    assert (model.wait_probability, model.empty_probability, model.utilization) == (1.0, 0.0, 1.0)
    assert (model.throughput_rps, model.in_system_mean) == (pytest.approx(1.5), 7.0)
    assert model.wait_mean_s == pytest.approx(4 * 2.0 / 3, rel=CLAIM)  # the other 6 are there
    erlang = math.exp(-6.0) * sum(6.0**j / math.factorial(j) for j in range(4))
    assert model.wait_tail(4.0) == pytest.approx(erlang, rel=CLAIM)


@pytest.mark.parametrize(
    ("users", "think", "servers"),
    [(10_000, 0.0, 1), (100_000, 95_000.0, 1), (100_000, 100.0, 1000), (10_000, 1.0, 4_900)],
)
def test_many_users(users: int, think: float, servers: int) -> None:
    """The area below a tail is its mean."""
    model = closed(users, think, 1.0, servers)
    quantiles = (1e-9, 1e-3, 0.1, 0.5, 0.75, 0.9, 0.999, 1 - 1e-6, 1 - 1e-13)
    for tail, quantile_of, mean in (
        (model.response_tail, model.response_quantile_s, model.response_mean_s),
        (model.wait_tail, model.wait_quantile_s, model.wait_mean_s),
    ):
        ends = sorted({0.0, *(quantile_of(q) for q in quantiles)})
        area = mp.quad(lambda t, tail=tail: tail(float(t)), ends, maxdegree=3)
        assert float(area) == pytest.approx(mean, rel=1e-8)
        assert tail(quantile_of(0.9999)) == pytest.approx(1e-4, rel=1e-10)


@pytest.mark.parametrize(("users", "servers"), [(5, 3), (7, 3), (9, 7), (16, 7), (24, 7), (14, 1)])
def test_no_probability_is_above_one(users: int, servers: int) -> None:
    """Sums of rounded probabilities are, in the last digit, at these."""
    for think in (0.0, 1e-3):
        model = closed(users, think, 0.1, servers)
        assert max(model.utilization, model.wait_probability, model.wait_tail(0.0)) <= 1.0
        assert 1.0 - model.utilization < 0.1
