"""MAP/PH/c against printed tables, a chain of distinguishable servers cut off far out, and its own laws."""

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from capacity.errors import DomainError
from capacity.queues.durations import Duration, Family
from capacity.queues.general.qbd import (
    MarkovArrivals,
    Occupancies,
    PhaseService,
    Waits,
    first_passage,
    require_phases,
    solve,
)
from capacity.queues.numerics.chains import Absorption, inverse, stationary

laws = settings(derandomize=True, deadline=None, max_examples=15)


def erlang_arrivals(stages: int, rate: float) -> MarkovArrivals:
    fast = stages * rate
    marked = np.zeros((stages, stages))
    marked[-1, 0] = fast
    return MarkovArrivals(hidden=fast * np.eye(stages, k=1), marked=marked)


def renewal_arrivals(start: np.ndarray, rates: np.ndarray) -> MarkovArrivals:
    """Hyper-exponential gaps."""
    return MarkovArrivals(hidden=np.zeros((len(rates),) * 2), marked=np.outer(rates, start))


P = (24 + math.sqrt(468)) / 54
TABLE_SERVICE = PhaseService(
    start=np.array([P, 1 - P]), moves=np.zeros((2, 2)), exits=np.array([3 * P, 1.5 * (1 - P)])
)
A = (1 + math.sqrt(2 / 3)) / 2  # balanced means, scv 5


@pytest.mark.parametrize(
    ("arrivals", "wait_mean", "ready", "number", "quantiles"),
    [
        (erlang_arrivals(5, 13.5), None, 0.4346, 25.588, (2.8563, 4.1200, 7.0550)),
        (erlang_arrivals(2, 13.5), 0.9777, 0.4099, 26.700, (3.0753, 4.4048, 7.4924)),
        (erlang_arrivals(1, 13.5), 1.1161, 0.3751, 28.567, (3.4390, 4.8783, 8.2209)),
        (
            renewal_arrivals(np.array([A, 1 - A]), 27 * np.array([A, 1 - A])),
            2.1951,
            0.2421,
            43.133,
            (6.1941, 8.4791, 13.7846),
        ),
    ],
    ids=["E5", "E2", "M", "H2"],
)
def test_the_tables_of_de_smit(arrivals, wait_mean, ready, number, quantiles) -> None:
    """De Smit (1983), Operations Research Letters 2(5), 217-224: ./H2/15 at utilization 0.9.

    His mean 0.8943 for E5 is a slip of the pen for 0.8954 = (25.588 - 13.5) / 13.5, as Ramaswami &
    Lucantoni (1985), Stochastic Models 1(3), print: 0.89540. All as quoted by the examples of phph.
    """
    waits = solve(arrivals, TABLE_SERVICE, servers=15, spare=1.5)
    assert waits.wait_mean == pytest.approx(0.8954 if wait_mean is None else wait_mean, abs=5e-5)
    assert waits.ready_probability == pytest.approx(ready, abs=5e-5)
    assert 13.5 * (waits.wait_mean + 1.0) == pytest.approx(number, abs=6e-4)
    for probability, time in zip((0.1, 0.05, 0.01), quantiles, strict=True):
        assert waits.wait_tail(time) == pytest.approx(probability, rel=3e-5)


class Cut:
    """The same queue with servers that have names, its waiting room cut off at `room` requests.

    An arrival takes the first server at rest, one phase by one for every server; levels are left
    out from the last down; waits and responses go by uniformization of a tagged request.
    """

    def __init__(self, arrivals: MarkovArrivals, service: PhaseService, servers: int, room: int) -> None:
        self.arrivals, self.service, self.servers, self.room = arrivals, service, servers, room
        phases = len(service.start)
        patterns = list(itertools.product(range(-1, phases), repeat=servers))  # -1: at rest
        self.levels = [[p for p in patterns if servers - p.count(-1) == n] for n in range(servers + 1)]
        self.index = [{p: i for i, p in enumerate(level)} for level in self.levels]
        self.laws = self._laws()

    def _matrices(self, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rates within, to one more and to one fewer busy server; those at c refill at once or never."""
        here, index = self.levels[level], self.index
        within = np.zeros((len(here), len(here)))
        more = np.zeros((len(here), len(self.levels[min(level + 1, self.servers)])))
        fewer = np.zeros((len(here), len(self.levels[max(level - 1, 0)])))
        for i, pattern in enumerate(here):
            if level < self.servers:
                rest = pattern.index(-1)
                for phase, p in enumerate(self.service.start):
                    more[i, index[level + 1][(*pattern[:rest], phase, *pattern[rest + 1 :])]] += p
            for server, phase in enumerate(pattern):
                if phase >= 0:
                    for other, rate in enumerate(self.service.moves[phase]):
                        within[i, index[level][(*pattern[:server], other, *pattern[server + 1 :])]] += rate
                    to = (*pattern[:server], -1, *pattern[server + 1 :])
                    fewer[i, index[level - 1][to]] += self.service.exits[phase]
        return within, more, fewer

    def _laws(self) -> list[np.ndarray]:
        hidden, marked = self.arrivals.hidden, self.arrivals.marked
        eye, phases = np.eye(len(hidden)), len(hidden)
        at = [self._matrices(level) for level in range(self.servers + 1)]
        within, _, fewer = at[-1]
        self.within = within
        self.refill = np.zeros_like(within)
        for i, pattern in enumerate(self.levels[-1]):
            for server, phase in enumerate(pattern):
                for other, p in enumerate(self.service.start):
                    j = self.index[-1][(*pattern[:server], other, *pattern[server + 1 :])]
                    self.refill[i, j] += self.service.exits[phase] * p

        def generator(level: int, up: np.ndarray, down: np.ndarray, own: np.ndarray) -> np.ndarray:
            rates = np.kron(hidden, np.eye(len(own))) + np.kron(eye, own)
            outflow = rates.sum(axis=1) + up.sum(axis=1) + down.sum(axis=1)
            return rates - np.diag(outflow)

        up, down = np.kron(marked, np.eye(len(within))), np.kron(eye, self.refill)
        censored = generator(-1, 0.0 * up, down, within)  # the last level turns arrivals away
        steps = []
        for _ in range(self.room):
            steps.append(np.linalg.solve(-censored.T, up.T).T)
            censored = generator(-1, up, down, within) + steps[-1] @ down
        own = generator(-1, up, np.kron(eye, fewer), within)
        censored = own + steps[-1] @ down
        for level in range(self.servers - 1, -1, -1):
            own_within, more, own_fewer = at[level]
            rise, fall = np.kron(marked, more), np.kron(eye, at[level + 1][2])
            steps.append(np.linalg.solve(-censored.T, rise.T).T)
            below = np.kron(eye, own_fewer) if level else np.zeros((phases, phases))
            censored = generator(level, rise, below, own_within) + steps[-1] @ fall
        null = np.vstack((censored.T, np.ones(phases)))
        found = [np.linalg.lstsq(null, np.append(np.zeros(phases), 1.0), rcond=None)[0]]
        for step in reversed(steps):
            found.append(found[-1] @ step)
        total = sum(law.sum() for law in found)
        return [law / total for law in found]

    def seen(self, level: int) -> np.ndarray:
        """What arrivals meet: patterns at a level, weighted by the rate of arrivals."""
        law = self.laws[level].reshape(len(self.arrivals.marked), -1)
        return self.arrivals.marked.sum(axis=1) @ law

    @property
    def rate(self) -> float:
        return float(sum(self.seen(level).sum() for level in range(len(self.laws))))

    def tails(self, time: float) -> tuple[float, float]:
        """P(W > t) and P(T > t)."""
        ahead = np.array([self.seen(self.servers + k) for k in range(self.room + 1)]) / self.rate
        ready = sum(self.seen(level).sum() for level in range(self.servers)) / self.rate
        own = ready * self.service.start
        outflow = self.within.sum(axis=1) + self.refill.sum(axis=1)
        out_own = self.service.moves.sum(axis=1) + self.service.exits
        unit = max(outflow.max(), out_own.max())
        waiting = responding = 0.0
        steps = int(unit * time + 12 * math.sqrt(unit * time) + 40)
        for weight in poisson.pmf(np.arange(steps), unit * time):
            waiting += weight * ahead.sum()
            responding += weight * (ahead.sum() + own.sum())
            refilled = ahead @ self.refill / unit
            own = own * (1 - out_own / unit) + own @ self.service.moves / unit
            own = own + refilled[0].sum() * self.service.start
            ahead = ahead * (1 - outflow / unit) + ahead @ self.within / unit
            ahead[:-1] += refilled[1:]
        return waiting, responding


HYPER = PhaseService.of(Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0))
ERLANG = PhaseService.of(Duration(family=Family.ERLANG, mean_s=1.0, scv=1 / 3))
COXIAN = PhaseService(  # goes on from phase 1 with probability 1/4, and back from phase 2 at times: mean 1
    start=np.array([0.8, 0.2]), moves=np.array([[0.0, 0.5], [0.1, 0.0]]), exits=np.array([1.5, 0.4])
)
SWITCHED = MarkovArrivals(hidden=np.array([[0.0, 0.2], [0.5, 0.0]]), marked=np.diag([2.0, 0.25]))
MIXED = MarkovArrivals(hidden=np.array([[0.0, 0.3], [0.1, 0.0]]), marked=np.array([[0.9, 0.2], [0.4, 0.1]]))


def mean_of(service: PhaseService) -> float:
    return float(service.start @ inverse(service.moves, service.exits).sum(axis=1))


def in_own_unit(service: PhaseService) -> PhaseService:
    mean = mean_of(service)
    return PhaseService(start=service.start, moves=service.moves * mean, exits=service.exits * mean)


def mean_rate(arrivals: MarkovArrivals) -> float:
    return float(stationary(arrivals.hidden + arrivals.marked) @ arrivals.marked.sum(axis=1))


def scaled(arrivals: MarkovArrivals, rate: float) -> MarkovArrivals:
    by = rate / mean_rate(arrivals)
    return MarkovArrivals(hidden=by * arrivals.hidden, marked=by * arrivals.marked)


@pytest.mark.parametrize(
    ("arrivals", "service", "servers", "load", "room"),
    [
        (erlang_arrivals(1, 1.0), HYPER, 2, 0.7, 300),
        (erlang_arrivals(1, 1.0), HYPER, 3, 0.01, 40),
        (erlang_arrivals(1, 1.0), HYPER, 5, 0.6, 250),
        (erlang_arrivals(1, 1.0), ERLANG, 2, 0.9, 300),
        (erlang_arrivals(1, 1.0), ERLANG, 4, 0.5, 60),
        (erlang_arrivals(1, 1.0), COXIAN, 4, 0.7, 200),
        (SWITCHED, COXIAN, 1, 0.5, 300),
        (SWITCHED, HYPER, 3, 0.6, 400),
        (MIXED, COXIAN, 2, 0.8, 300),
        (MIXED, ERLANG, 2, 0.3, 60),
        (erlang_arrivals(3, 1.0), COXIAN, 3, 0.8, 250),
        (renewal_arrivals(np.array([0.9, 0.1]), np.array([2.0, 0.3])), HYPER, 2, 0.5, 300),
    ],
)
def test_a_chain_of_servers_with_names(arrivals, service, servers, load, room) -> None:
    arrivals, service = scaled(arrivals, load * servers), in_own_unit(service)
    waits = solve(arrivals, service, servers, servers * (1.0 - load))
    cut = Cut(arrivals, service, servers, room)
    assert cut.rate == pytest.approx(load * servers, rel=1e-11)
    ready = sum(cut.seen(level).sum() for level in range(servers)) / cut.rate
    waiting = sum(cut.seen(servers + k).sum() for k in range(room + 1)) / cut.rate
    queued = sum(k * cut.laws[servers + k].sum() for k in range(room + 1))
    assert waits.ready_probability == pytest.approx(ready, rel=1e-10)
    assert waits.wait_probability == pytest.approx(waiting, rel=1e-10)
    assert waits.empty_probability == pytest.approx(cut.laws[0].sum(), rel=1e-10)
    assert waits.wait_mean == pytest.approx(queued / cut.rate, rel=1e-10)
    for time in (0.01, 0.7, 6.0):
        wait, response = cut.tails(time)
        assert waits.wait_tail(time) == pytest.approx(wait, rel=1e-10)
        assert waits.response_tail(time) == pytest.approx(response, rel=1e-10)


def random_queue(
    seed: int, load: float, arrival_phases: int, phases: int, servers: int
) -> tuple[Waits, float]:
    random = np.random.default_rng(seed)
    arrivals = MarkovArrivals(
        hidden=10 ** random.uniform(-3, 1, (arrival_phases, arrival_phases)),
        marked=10 ** random.uniform(-3, 1, (arrival_phases, arrival_phases)),
    )
    service = PhaseService(
        start=random.dirichlet(np.ones(phases)),
        moves=10 ** random.uniform(-2, 1, (phases, phases)) * (1 - np.eye(phases)),
        exits=10 ** random.uniform(-1, 1, phases),
    )
    arrivals = scaled(arrivals, load * servers)
    return solve(arrivals, in_own_unit(service), servers, servers * (1.0 - load)), load * servers


queues = given(
    st.integers(0, 10**6), st.floats(1e-6, 0.999999), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5)
)


@laws
@queues
def test_arrivals_wait_or_do_not(seed, load, arrival_phases, phases, servers) -> None:
    """Two sums over different levels, normalized by the servers at rest, make 1."""
    waits, _ = random_queue(seed, load, arrival_phases, phases, servers)
    assert waits.ready_probability + waits.wait_probability == pytest.approx(1.0, rel=1e-11)
    assert waits.wait_tail(0.0) == pytest.approx(waits.wait_probability, rel=1e-12)
    assert waits.response_tail(0.0) == pytest.approx(1.0, rel=1e-11)


@settings(laws, max_examples=8)
@queues
def test_the_area_of_the_tail_is_the_mean(seed, load, arrival_phases, phases, servers) -> None:
    waits, _ = random_queue(seed, min(load, 0.95), arrival_phases, phases, servers)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    for tail, mean in ((waits.wait_tail, waits.wait_mean), (waits.response_tail, 1.0 + waits.wait_mean)):
        area, low, high = 0.0, 0.0, 0.02
        while low < 1e4 and tail(low) > 1e-13 * mean:
            times = low + (high - low) * (nodes + 1) / 2
            area += (high - low) / 2 * float(weights @ [tail(t) for t in times])
            low, high = high, high + min(1.3 * (high - low), 0.5 * (1.0 + waits.wait_mean / mean))
        assert area == pytest.approx(mean, rel=1e-9)


@laws
@queues
def test_a_response_is_longer_than_its_wait(seed, load, arrival_phases, phases, servers) -> None:
    waits, _ = random_queue(seed, load, arrival_phases, phases, servers)
    before = 1.0
    for time in (1e-3, 0.1, 1.0, 3.0, 30.0):
        wait, response = waits.wait_tail(time), waits.response_tail(time)
        assert 0.0 <= wait <= response <= before
        assert waits.response_tail(1.001 * time) < response
        before = response


def test_first_passage_solves_its_equation() -> None:
    random = np.random.default_rng(5)
    up, within, down = (random.random((4, 4)) * scale for scale in (0.5, 1.0, 2.0))
    np.fill_diagonal(within, 0.0)
    passage = first_passage(up, within, down)
    own = within - np.diag((up + within + down).sum(axis=1))
    assert np.abs(down + own @ passage + up @ passage @ passage).max() < 1e-14
    assert passage.sum(axis=1) == pytest.approx(np.ones(4), rel=1e-15)


def exact_matrix(rates: np.ndarray, exits: np.ndarray) -> mp.matrix:
    """diag(outflow) - rates at many digits."""
    size = len(exits)
    matrix = mp.matrix(size, size)
    for i in range(size):
        for j in range(size):
            if i != j:
                matrix[i, j] = -mp.mpf(float(rates[i, j]))
                matrix[i, i] += mp.mpf(float(rates[i, j]))
        matrix[i, i] += mp.mpf(float(exits[i]))
    return matrix


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_inverse_and_stationary_law_entry_by_entry(size: int) -> None:
    random = np.random.default_rng(size)
    rates = 10 ** random.uniform(-40, 5, (size, size))
    exits = 10 ** random.uniform(-60, -20, size)
    with mp.workdps(400):
        truth = exact_matrix(rates, exits) ** -1
        found = inverse(rates, exits)
        worst = max(abs(found[i, j] / truth[i, j] - 1) for i in range(size) for j in range(size))
        assert worst < 1e-13
        closed = exact_matrix(rates, np.zeros(size)).T
        for j in range(size):
            closed[size - 1, j] = 1
        right = mp.matrix(size, 1)
        right[size - 1] = 1
        law, found = mp.lu_solve(closed, right), stationary(rates)
        assert max(abs(found[j] / law[j] - 1) for j in range(size)) < 1e-13


def test_small_rates_do_not_underflow() -> None:
    tiny = inverse(np.array([[0.0, 1e-200], [3e-200, 0.0]]), np.array([1e-200, 2e-200]))
    assert tiny * 1e-200 == pytest.approx(np.array([[5.0, 1.0], [3.0, 2.0]]) / 7.0, rel=1e-14)


@pytest.mark.parametrize("time", [0.0, 1e-3, 0.37, 1.0, 12.5, 300.0, 12345.678])
def test_absorption_at_fifty_digits(time: float) -> None:
    rates = np.array([[0.0, 3.0, 1e-9, 0.001], [2.0, 0.0, 0.5, 0.0], [1e-4, 1.0, 0.0, 0.02], [0, 0, 0, 0]])
    start = np.array([0.2, 0.0, 0.8, 0.0])
    found = Absorption(rates, start).at(time)
    with mp.workdps(50):
        generator = -exact_matrix(rates, np.zeros(4))
        law = mp.matrix([[float(p) for p in start]]) * mp.expm(generator * mp.mpf(time), method="taylor")
        for j in range(4):
            assert found[j] == law[j] == 0.0 or abs(found[j] / law[j] - 1) < 1e-12


def test_absorption_far_out() -> None:
    chain = Absorption(np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([1.0, 0.0]))
    assert chain.at(320.0)[0] == pytest.approx(math.exp(-640.0), rel=1e-12)
    for time in (1e5, 1e300, math.inf):
        assert list(chain.at(time)) == [0.0, 1.0]
    slow = Absorption(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1e-12], [0, 0, 0]]), np.array([1.0, 0.0, 0.0]))
    # the slower of the two rates, 1 + e/2 - sqrt(1 + e^2/4), without its cancellation
    rate = 1e-12 / (1.0 + 5e-13 + math.sqrt(1.0 + 2.5e-25))
    assert slow.at(1e12)[:2].sum() == pytest.approx(math.exp(-rate * 1e12), rel=1e-11)


def test_occupancies_by_hand() -> None:
    pair, single = Occupancies(COXIAN, 2), Occupancies(COXIAN, 1)
    assert (pair.states, single.states) == ([(0, 2), (1, 1), (2, 0)], [(0, 1), (1, 0)])
    assert pair.moves.tolist() == [[0, 0.2, 0], [0.5, 0, 0.1], [0, 1.0, 0]]
    assert pair.ends(single).times(np.eye(2)).tolist() == [[0.8, 0], [1.5, 0.4], [0, 3.0]]
    assert single.starts(pair).after(np.eye(2)).tolist() == [[0.2, 0.8, 0], [0, 0.2, 0.8]]
    shares = COXIAN.shares
    expected = [shares[1] ** 2, 2 * shares[0] * shares[1], shares[0] ** 2]
    assert pair.stationary() == pytest.approx(np.array(expected), rel=1e-14)
    busy = pair.ends(single).times(single.starts(pair).after(np.eye(2)))
    assert stationary(pair.moves + busy) == pytest.approx(pair.stationary(), rel=1e-14)
    for servers, phases in ((0, 3), (4, 1), (5, 3), (3, 6)):
        service = PhaseService(
            start=np.ones(phases) / phases, moves=np.zeros((phases, phases)), exits=np.ones(phases)
        )
        states = Occupancies(service, servers).states
        assert len(set(states)) == len(states) == math.comb(servers + phases - 1, servers)
        assert all(sum(state) == servers for state in states)
        assert states[-1] == (servers, *(0,) * (phases - 1))


def test_phases_of_durations() -> None:
    for family, scv, count in (
        (Family.EXPONENTIAL, 1.0, 1),
        (Family.ERLANG, 0.25, 4),
        (Family.HYPEREXPONENTIAL, 9.0, 2),
    ):
        duration = Duration(family=family, mean_s=1e-9, scv=scv)
        service = PhaseService.of(duration)
        assert PhaseService.count(duration) == len(service.start) == count
        assert mean_of(service) == pytest.approx(1.0, rel=1e-15)
        times = inverse(service.moves, service.exits)
        second = 2.0 * float(service.start @ times @ times.sum(axis=1))
        assert second - 1.0 == pytest.approx(scv, rel=1e-14)
    assert HYPER.shares == pytest.approx(np.array([0.5, 0.5]), rel=1e-15)
    with pytest.raises(
        DomainError, match="service must be exponential, erlang or hyperexponential, got gamma"
    ):
        PhaseService.count(Duration(family=Family.GAMMA, mean_s=1.0, scv=0.3))


def test_many_servers_at_low_load_do_not_overflow() -> None:
    """M/H2/c loses nothing to the waiting room: P(N = 0) = e^-a; and P(N = c) is below 1e-308."""
    waits = solve(erlang_arrivals(1, 2e-3), HYPER, servers=150, spare=150 - 2e-3)
    assert waits.empty_probability == pytest.approx(math.exp(-2e-3), rel=1e-13)
    assert waits.ready_probability == pytest.approx(1.0, rel=1e-13)
    assert waits.wait_probability < 1e-300
    assert waits.wait_mean < 1e-300


def test_too_many_states_are_refused() -> None:
    hyper = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=2.0)
    require_phases(1, hyper, 999)
    require_phases(2, Duration(family=Family.EXPONENTIAL, mean_s=1.0), 10**9)
    with pytest.raises(
        DomainError, match=r"states of 1000 busy servers must be <= 1000, got 1001 .*simulate"
    ):
        require_phases(1, hyper, 1000)
    with pytest.raises(DomainError, match=r"got 1002 \(2 arrival x 2 service phases\)"):
        require_phases(2, hyper, 500)
