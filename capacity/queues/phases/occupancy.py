"""Occupancy: how many of n busy servers are in each phase of service, and the steps between such counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.numerics.mmatrix import inverse
from capacity.queues.durations import Duration, Family

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhaseService:
    """A service of phase type in its own unit of time, the mean service.

    Attributes:
        start: probabilities of the first phase, `(phases,)`.
        moves: rates between phases, `(phases, phases)`; the diagonal is not read.
        exits: rates of ending, `(phases,)`.
    """

    start: Floats
    moves: Floats
    exits: Floats

    @staticmethod
    def count(duration: Duration) -> int:
        """Number of phases of a duration.

        Raises:
            DomainError: a family that is not of phase type.
        """
        match duration.family:
            case Family.EXPONENTIAL | Family.ERLANG:
                return duration.stages
            case Family.HYPEREXPONENTIAL:
                return 2
            case _:
                raise DomainError(
                    f"service must be exponential, erlang or hyperexponential, got {duration.family}; "
                    "use erlang or hyperexponential of the same mean and scv, or simulate"
                )

    @classmethod
    def of(cls, duration: Duration) -> Self:
        """The phases of a duration, scaled to mean 1.

        Raises:
            DomainError: a family that is not of phase type.
        """
        unit = Duration(family=duration.family, mean_s=1.0, scv=duration.scv)
        start, generator = unit.phases()
        moves = generator.copy()
        np.fill_diagonal(moves, 0.0)
        return cls(start=start, moves=moves, exits=-generator.sum(axis=1))

    @property
    def shares(self) -> Floats:
        """Share of a service that each phase takes."""
        times = self.start @ inverse(self.moves, self.exits)
        return np.asarray(times / times.sum())


def occupancy_count(busy: int, phases: int) -> int:
    """Number of ways in which busy servers can be spread over phases."""
    return math.comb(busy + phases - 1, phases - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """A sparse matrix in batches of entries, in each of which no row and no column occurs twice."""

    shape: tuple[int, int]
    batches: tuple[tuple[Indices, Indices, Floats], ...]

    def times(self, matrices: Floats) -> Floats:
        """This matrix times each `(..., columns, k)`: `(..., rows, k)`."""
        result = np.zeros((*matrices.shape[:-2], self.shape[0], matrices.shape[-1]))
        for rows, columns, entries in self.batches:
            result[..., rows, :] += entries[:, None] * matrices[..., columns, :]
        return result

    def after(self, vectors: Floats) -> Floats:
        """Each row vector `(..., rows)` times this matrix: `(..., columns)`."""
        result = np.zeros((*vectors.shape[:-1], self.shape[1]))
        for rows, columns, entries in self.batches:
            result[..., columns] += vectors[..., rows] * entries
        return result


class Occupancies:
    """The ways in which `busy` servers can be spread over the phases of a service.

    All in the first phase comes last: each family here comes back to that one.

    >>> erlang = PhaseService.of(Duration(family=Family.ERLANG, mean_s=3.0, scv=0.5))
    >>> pair = Occupancies(erlang, 2)
    >>> pair.states
    [(0, 2), (1, 1), (2, 0)]
    >>> pair.moves
    array([[0., 0., 0.],
           [2., 0., 0.],
           [0., 4., 0.]])
    >>> pair.ends(Occupancies(erlang, 1)).times(np.eye(2))
    array([[4., 0.],
           [0., 2.],
           [0., 0.]])
    """

    def __init__(self, service: PhaseService, busy: int) -> None:
        self.service, self.busy = service, busy
        self.states = _spread(busy, len(service.start))
        self.index = {state: i for i, state in enumerate(self.states)}

    def __len__(self) -> int:
        return len(self.states)

    @property
    def moves(self) -> Floats:
        """Rates of a server's going to another phase within its service."""
        matrix = np.zeros((len(self), len(self)))
        for source, target in zip(*np.nonzero(self.service.moves), strict=True):
            rate = float(self.service.moves[source, target])
            for i, state in enumerate(self.states):
                if state[source]:
                    j = self.index[_moved(_moved(state, source, -1), target, 1)]
                    matrix[i, j] += state[source] * rate
        return matrix

    def ends(self, fewer: "Occupancies") -> Steps:
        """Rates to the occupancies of one server fewer."""
        return self._steps(fewer, -1, lambda busy, phase: busy * float(self.service.exits[phase]))

    def starts(self, more: "Occupancies") -> Steps:
        """Probabilities of the occupancies after one more service has begun."""
        return self._steps(more, 1, lambda _, phase: float(self.service.start[phase]))

    def _steps(self, other: "Occupancies", step: int, rate: Callable[[int, int], float]) -> Steps:
        """Rates, by how many servers are in a phase and by the phase, at which it loses or gains one."""
        batches = []
        for phase in range(len(self.service.start)):
            found = [(i, state, rate(state[phase], phase)) for i, state in enumerate(self.states)]
            found = [entry for entry in found if entry[2] > 0.0]
            sources = np.array([i for i, _, _ in found], dtype=np.intp)
            targets = [other.index[_moved(state, phase, step)] for _, state, _ in found]
            rates = np.array([weight for _, _, weight in found])
            batches.append((sources, np.array(targets, dtype=np.intp), rates))
        return Steps(shape=(len(self), len(other)), batches=tuple(batches))

    def stationary(self) -> Floats:
        """Law while no server ever rests: multinomial, server by server the shares of a service."""
        shares = [float(share) for share in self.service.shares]
        return np.array([_multinomial(state, shares) for state in self.states])


def _spread(busy: int, phases: int) -> list[Counts]:
    """All counts with sum `busy` in ascending order: where phases - 1 bars may stand among the servers."""
    places = busy + phases - 1
    bars = ((-1, *found, places) for found in combinations(range(places), phases - 1))
    return [tuple(right - left - 1 for left, right in pairwise(row)) for row in bars]


def _moved(state: Counts, phase: int, step: int) -> Counts:
    return (*state[:phase], state[phase] + step, *state[phase + 1 :])


def _multinomial(state: Counts, shares: list[float]) -> float:
    law, left = 1.0, sum(state)
    for count, share in zip(state, shares, strict=True):
        law *= math.comb(left, count) * share**count
        left -= count
    return law
