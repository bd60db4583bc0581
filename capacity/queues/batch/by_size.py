"""M/M_b^[1,B]/c: greedy batches whose exponential time depends on their size, by a Markov chain."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from capacity.errors import DomainError, InconclusiveError
from capacity.queues.batch.chain import exact_batch_load, log_inverse_ratio, require_batch_times
from capacity.queues.law import Law, settle
from capacity.queues.numerics.chains import pmf_between
from capacity.queues.numerics.tail import first_true, quantile_of
from capacity.units import require_count

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_ROUNDS_MAX = 20_000
_SETTLED = 1e-13  # change of a round, summed over the states, below which the first rise is rounding


def count_of_states(batch_size_max: int, servers: int, places: int) -> int:
    """Number of states with an idle server, plus that of the others times the places to wait (0 to places - 1)."""
    idle = math.comb(servers - 1 + batch_size_max, batch_size_max)
    return idle + math.comb(servers + batch_size_max - 1, servers) * places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BulkStates:
    """Configurations (the sizes being served) and, behind c busy servers, 0 ... places - 1 waiting.

    States with an idle server come first, then full configurations by their full batches, each with all q.

    Attributes:
        rates: completions per unit of time of a batch of 1, ..., B; shape `(B,)`.
        places: multiple of B.
    """

    rates: Floats
    arrival_rate: float
    servers: int
    places: int
    idle: list[tuple[int, ...]] = field(init=False)
    full: list[tuple[int, ...]] = field(init=False)
    _index: dict[tuple[int, ...], int] = field(init=False)

    def __post_init__(self) -> None:
        sizes = range(1, self.batch_size_max + 1)
        idle = [x for k in range(self.servers) for x in combinations_with_replacement(sizes, k)]
        full = list(combinations_with_replacement(sizes, self.servers))
        full.sort(key=self.full_batches)
        index = {x: i for i, x in enumerate(idle)}
        index.update((x, len(idle) + i * self.places) for i, x in enumerate(full))
        settle(self, idle=idle, full=full, _index=index)

    @property
    def batch_size_max(self) -> int:
        """B."""
        return len(self.rates)

    @property
    def count(self) -> int:
        """Number of states."""
        return len(self.idle) + len(self.full) * self.places

    def full_batches(self, configuration: tuple[int, ...]) -> int:
        """Number of servers with a batch of B."""
        return configuration.count(self.batch_size_max)

    def completions(self, configurations: list[tuple[int, ...]]) -> tuple[Indices, Indices, Floats]:
        """Completions by configuration and size d in it: its number, the state after a d, the rate n_d mu_d."""
        rows = [
            (i, self._index[before(x, size)], many * self.rates[size - 1])
            for i, x in enumerate(configurations)
            for size, many in Counter(x).items()
        ]
        return (
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=np.int64),
            np.array([row[2] for row in rows]),
        )

    def started(self) -> Indices:
        """State once a batch of b has started in an idle state, at `[state, b - 1]`.

        While other servers stay idle b is 1; the table has 0 elsewhere.
        """
        most = [self.batch_size_max if len(x) == self.servers - 1 else 1 for x in self.idle]
        table = np.zeros((len(self.idle), self.batch_size_max), dtype=np.int64)
        for i, x in enumerate(self.idle):
            for size in range(1, most[i] + 1):
                table[i, size - 1] = self._index[tuple(sorted((*x, size)))]
        return table

    def arrivals(self) -> csr_array:
        """Rates of arrivals, which an idle server takes at once."""
        first = len(self.idle)
        behind = self._places()
        return self._matrix(
            (np.arange(first), self.started()[:, 0], np.full(first, self.arrival_rate)),
            (behind[:, :-1], behind[:, 1:], np.full(behind[:, 1:].shape, self.arrival_rate)),
        )

    def replacements(self) -> csr_array:
        """Rates of completions after which a batch of B starts, to fewer waiting."""
        who, without, rate = self.completions(self.full)
        batch, left = self.batch_size_max, self.places - self.batch_size_max
        after = self.started()[without, -1][:, None] + np.arange(left)
        return self._matrix((self._places()[who, batch:], after, np.repeat(rate[:, None], left, axis=1)))

    def restarting(self) -> csr_array:
        """Rates of completions that find fewer than B waiting, and leave none."""
        started, first = self.started(), len(self.idle)
        who, without, rate = self.completions(self.full)
        behind = first + who * self.places
        fewer, batch = self.completions(self.idle), self.batch_size_max
        return self._matrix(
            fewer,
            (behind, without, rate),
            *((behind + q, started[without, q - 1], rate) for q in range(1, batch)),
        )

    def _places(self) -> Indices:
        """States behind busy servers, by full configuration and queue."""
        return len(self.idle) + np.arange(len(self.full) * self.places).reshape(-1, self.places)

    def _matrix(self, *parts: tuple[NDArray[np.int64], NDArray[np.int64], Floats]) -> csr_array:
        """Sum of rates by state before and after."""
        start, end, rate = (np.concatenate([np.ravel(part[i]) for part in parts]) for i in range(3))
        return csr_array(coo_array((rate, (start, end)), shape=(self.count, self.count)))

    def blocks(self) -> list[slice]:
        """States by number of full batches, idle ones first; arrivals and full batches never lead back."""
        full = [self.full_batches(x) for x in self.full]
        edges = [len(self.idle) + full.index(k) * self.places for k in sorted(set(full))]
        return [slice(a, b) for a, b in zip([0, *edges], [*edges, self.count], strict=True) if b > a]


def before(configuration: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The configuration without one batch of a size."""
    at = configuration.index(size)
    return configuration[:at] + configuration[at + 1 :]


def stationary(states: BulkStates) -> Floats:
    """Stationary probabilities; shape `(count,)`.

    It is a regular splitting: what restarts is taken from the last round, what leads onward is solved for, block by
    block. A round is a step of the chain observed only when the queue has just become empty, which forgets its start
    quickly at any load.

    Source:
        Varga (1962), Matrix Iterative Analysis, sec. 3.6; Stewart (1994), Introduction to the Numerical
        Solution of Markov Chains, sec. 3.2.
    """
    onward, again = csr_array(states.arrivals() + states.replacements()), states.restarting()
    leaving = np.asarray(onward.sum(axis=1) + again.sum(axis=1), dtype=np.float64)
    solve = _block_solver(onward, leaving, states.blocks())
    again = csr_array(again.T)
    law = np.full(states.count, 1.0 / states.count)
    before_change = math.inf
    for _ in range(_ROUNDS_MAX):
        moved = solve(np.asarray(again @ law))
        moved /= moved.sum()
        change = float(np.abs(moved - law).sum())
        law = moved
        if change <= _SETTLED and change >= before_change:
            return law
        before_change = change
    raise InconclusiveError(f"the stationary law still moves by {change:.1e} after {_ROUNDS_MAX} rounds")


def _block_solver(onward: csr_array, leaving: Floats, blocks: list[slice]) -> Callable[[Floats], Floats]:
    """Solver for x with x (diag(leaving) - onward) = inflow; it needs no pivot: diagonals dominate their rows."""
    inward = csr_array(onward.T)
    factors, earlier = [], []
    for block in blocks:
        own = diags_array(leaving[block]) - inward[block, block]
        factors.append(
            splu(csc_array(own), permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        )
        earlier.append(csr_array(inward[block, : block.start]))

    def solve(inflow: Floats) -> Floats:
        law = np.zeros(len(inflow))
        for block, factor, into in zip(blocks, factors, earlier, strict=True):
            law[block] = factor.solve(inflow[block] + into @ law[: block.start])
        return law

    return solve


_FORGOTTEN = 1e-25  # probability left of the request, below which it counts as gone
_STEP_COST = 5_000  # in states
_WORK_MAX = 1e10  # states times steps: about a minute
_PRUNED_BELOW, _PRUNED_EVERY = 1e-45, 64  # before products get slow on denormal numbers


class Tagged:
    """The request after n = 0, 1, ... events of a uniform Poisson stream, as far as asked for.

    Only a completion moves it forward, and only an arrival makes its batch larger, up to B: behind m full
    batches, as one of k in its own, it has the place of the last of its batch, mB + k - 1.

    Args:
        waiting: state that an arrival finds, by full configuration and queue; shape `(configurations, places)`.
        served_at_once: probability of an idle server.

    Source:
        Jensen (1953), Skandinavisk Aktuarietidskrift 36, 87-91 (uniformisation).
    """

    def __init__(self, states: BulkStates, waiting: Floats, served_at_once: float) -> None:
        self._rate = states.arrival_rate + states.servers * float(states.rates.max())
        self._waiting = waiting.ravel().copy()
        self._serving = np.zeros(states.batch_size_max)
        self._serving[0] = served_at_once
        self._moves, self._starts = _steps(states, self._rate)
        self._unfinished = 1.0 - states.rates / self._rate
        self._waits: list[float] = []  # probability to wait after n events
        self._stays: list[float] = []  # probability to wait or be served after n events

    def wait_tail(self, time: float) -> float:
        """P(W > t)."""
        return self._mixture(self._waits, self._rate * time)

    def response_tail(self, time: float) -> float:
        """P(T > t)."""
        return self._mixture(self._stays, self._rate * time)

    def _mixture(self, after: list[float], events: float) -> float:
        """Sum over n of Poisson(n; events) after[n]."""
        last = events + 10.0 * math.sqrt(events) + 40.0
        self._follow(last)
        if events > 400.0 + 4.0 * len(after):  # Poisson(n) below e^-160 wherever anything is left
            return 0.0
        weights = pmf_between(0, math.ceil(last), events)
        known = min(len(after), len(weights))
        return float(weights[:known] @ after[:known])

    def _follow(self, last: float) -> None:
        """Extend to `last` events, or to where the request is gone."""
        while len(self._stays) <= last and not (self._stays and self._stays[-1] < _FORGOTTEN):
            if len(self._stays) * (len(self._waiting) + _STEP_COST) > _WORK_MAX:
                raise DomainError(
                    f"a request would be followed over more than {len(self._stays)} events of "
                    f"{len(self._waiting)} states; simulate, or give batch times that differ less"
                )
            self._waits.append(float(self._waiting.sum()))
            self._stays.append(self._waits[-1] + float(self._serving.sum()))
            self._serving = self._unfinished * self._serving + self._starts @ self._waiting
            self._waiting = np.asarray(self._moves @ self._waiting)
            if len(self._stays) % _PRUNED_EVERY == 0:
                self._waiting[self._waiting < _PRUNED_BELOW] = 0.0


def _steps(states: BulkStates, rate: float) -> tuple[csr_array, csr_array]:
    """One event's probabilities from waiting to waiting and into a batch of b, both transposed."""
    batch, first = states.batch_size_max, len(states.idle)
    place = np.tile(np.arange(states.places), len(states.full))
    who, _, completing = states.completions(states.full)
    completed = np.repeat(np.bincount(who, weights=completing), states.places)
    room = diags_array((place % batch < batch - 1).astype(float))
    onward = states.replacements()[first:, first:] + room @ states.arrivals()[first:, first:]
    staying = 1.0 - (completed + room @ np.full(len(place), states.arrival_rate)) / rate
    next_ = np.flatnonzero(place < batch)
    starts = coo_array((completed[next_] / rate, (place[next_], next_)), shape=(batch, len(place)))
    return csr_array(onward.T / rate + diags_array(staying)), csr_array(starts)


STATES_MAX = 500_000
_NEGLIGIBLE = 1e-22  # probability of the longer queues, which are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkCTMC(Law):
    """Greedy batches of b that take an exponential time of mean s_b, in steady state.

    The chain counts the batches of each size in service and the queue behind c busy servers; a queue longer
    than one with probability below 1e-22 is left out. A request is followed by uniformisation, one sweep
    for all times. All terms are positive; tails are right to 1e-10 of themselves down to 1e-9, and to 1e-20
    below.

    Args:
        batch_times_s: mean time of a batch of 1, 2, ..., B. [s]

    Raises:
        DomainError: a rate or time that is not positive and finite, no batch time, or servers not an
            integer >= 1; more than 500 000 states (many servers, sizes, or a load near 1): simulate.
        UnstableError: arrival_rate_rps >= servers x B / s_B, up to rounding.

    Source:
        Neuts (1967), Annals of Mathematical Statistics 38(3), 759-770 (the general bulk service rule);
        Jensen (1953), Skandinavisk Aktuarietidskrift 36, 87-91 (uniformisation).

    Assumes:
        Poisson arrivals, FIFO, one unlimited queue in front of all servers, steady state.

    >>> queue = BulkCTMC(arrival_rate_rps=3.0, batch_times_s=(0.8, 1.0), servers=2)
    >>> round(queue.response_mean_s, 6), round(queue.response_quantile_s(0.99), 6)
    (2.061196, 8.087221)
    """

    arrival_rate_rps: float
    batch_times_s: tuple[float, ...]
    servers: int
    load: float = field(init=False, repr=False, compare=False)
    utilization: float = field(init=False, repr=False, compare=False)
    batch_size_mean: float = field(init=False, repr=False, compare=False)
    wait_probability: float = field(init=False, repr=False, compare=False)
    empty_probability: float = field(init=False, repr=False, compare=False)
    queue_length_mean: float = field(init=False, repr=False, compare=False)
    in_system_mean: float = field(init=False, repr=False, compare=False)
    _tagged: Tagged = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        states = _states(self.arrival_rate_rps, self.batch_times_s, self.servers)
        law = stationary(states)
        waiting = law[len(states.idle) :].reshape(-1, states.places)
        busy = np.concatenate([law[: len(states.idle)], waiting.sum(axis=1)])
        sizes = [*states.idle, *states.full]
        servers = float(busy @ [len(x) for x in sizes])
        started = float(busy @ [sum(states.rates[b - 1] for b in x) for x in sizes])
        queue = float(waiting.sum(axis=0) @ np.arange(states.places))
        settle(
            self,
            load=states.arrival_rate / self.servers / len(self.batch_times_s),
            utilization=servers / self.servers,
            batch_size_mean=states.arrival_rate / started,
            wait_probability=float(waiting.sum()),
            empty_probability=float(law[0]),
            queue_length_mean=queue,
            in_system_mean=queue + float(busy @ [sum(x) for x in sizes]),
            _tagged=Tagged(states, waiting, float(law[: len(states.idle)].sum())),
        )

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law."""
        return self.queue_length_mean / self.arrival_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service, by Little's law."""
        return self.in_system_mean / self.arrival_rate_rps

    def _units(self, time_s: float) -> float:
        return time_s / self.batch_times_s[-1]

    def _seconds(self, units: float) -> float:
        return units * self.batch_times_s[-1]

    def _wait_tail(self, time: float) -> float:
        return self._tagged.wait_tail(time)

    def _response_tail(self, time: float) -> float:
        return self._tagged.response_tail(time)

    def _wait_quantile(self, quantile: float) -> float:
        return quantile_of(self._tagged.wait_tail, quantile, 1.0)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._tagged.response_tail, quantile, 1.0)


def _states(arrival_rate_rps: float, batch_times_s: tuple[float, ...], servers: int) -> BulkStates:
    """The chain in units of the time of a full batch; refused if it is too large."""
    require_batch_times(batch_times_s)
    require_count("servers", servers)
    batch = len(batch_times_s)
    share = exact_batch_load(arrival_rate_rps, batch_times_s[-1], batch, servers)
    rates = batch_times_s[-1] / np.array(batch_times_s)
    arrivals = float(share * batch * servers)
    slowest = min(log_inverse_ratio(share, batch), *_decays(rates, arrivals, servers))
    blocks = 2 + math.ceil(-math.log(_NEGLIGIBLE) / slowest / batch)
    count = count_of_states(batch, servers, blocks * batch)
    if count > STATES_MAX:
        raise DomainError(
            f"{servers} servers with batches up to {batch} at load {float(share):.4g} need {count:.3g} "
            f"states, at most {STATES_MAX} are supported; simulate"
        )
    return BulkStates(rates=rates, arrival_rate=arrivals, servers=servers, places=blocks * batch)


def _decays(rates: Floats, arrivals: float, servers: int) -> list[float]:
    """Rates x at which the queue's law falls as e^-xq, by number k < c of full batches besides the slowest others.

    x is the root of lambda (e^x - 1) = k mu_B (1 - e^-Bx) + (c - k) min mu_b.
    """
    batch, slow = len(rates), float(rates[:-1].min(initial=math.inf))

    def decay(full: int) -> float:
        least = (servers - full) * slow
        return first_true(
            lambda x: arrivals * math.expm1(x) + full * math.expm1(-batch * x) >= least,
            0.0,
            math.log1p((full + least) / arrivals),
        )

    return [decay(full) for full in range(servers)] if batch > 1 else [math.inf]
