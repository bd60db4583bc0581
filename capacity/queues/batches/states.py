"""Bulk states: what c servers with exponential batches of 1, ..., B are busy with, as sparse matrices."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from capacity.errors import InconclusiveError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_ROUNDS_MAX = 20_000
_SETTLED = 1e-13  # change of a round, summed over the states, below which the first rise is rounding


def count_of_states(batch_size_max: int, servers: int, places: int) -> int:
    """States with an idle server, and those with none times the places to wait (0 to places - 1)."""
    idle = math.comb(servers - 1 + batch_size_max, batch_size_max)
    return idle + math.comb(servers + batch_size_max - 1, servers) * places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BulkStates:
    """Configurations (the sizes being served) and, behind c busy servers, 0 ... places - 1 waiting.

    States with an idle server come first; then for each full configuration, those with fewer full
    batches before those with more, the states with q = 0, 1, ... waiting.

    Attributes:
        rates: completions per unit of time of a batch of 1, ..., B; shape `(B,)`.
        arrival_rate: per unit of time.
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
        for name, value in (("idle", idle), ("full", full), ("_index", index)):
            object.__setattr__(self, name, value)

    @property
    def batch_size_max(self) -> int:
        """B."""
        return len(self.rates)

    @property
    def count(self) -> int:
        """Number of states."""
        return len(self.idle) + len(self.full) * self.places

    def full_batches(self, configuration: tuple[int, ...]) -> int:
        """How many servers have a batch of B."""
        return configuration.count(self.batch_size_max)

    def completions(self, configurations: list[tuple[int, ...]]) -> tuple[Indices, Indices, Floats]:
        """By configuration and size d in it: its number, the state once a d is done, the rate n_d mu_d."""
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
        """Rates of completions that find less than B waiting, and leave nobody."""
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

    A regular splitting: what restarts is taken from the last round, what leads onward is solved for,
    block after block, by elimination within the band of B. A round is one step of the chain that
    looks at the system only where the queue has just become empty, which forgets its start quickly at any
    load. The rounds add what is positive; they end when nothing moves any more.

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
    """x with x (diag(leaving) - onward) = inflow; no pivot is needed: diagonals dominate their rows."""
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
