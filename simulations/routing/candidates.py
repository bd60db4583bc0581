"""Candidates: what a policy knows of the replicas that it may choose, in order of their index."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from capacity.recovery.protection import WEIGHT
from simulations.compiled import inlined

# Of a request at a replica of weight 1; any weight up to the whole one divides it.
WORK = 720_720


class Candidate(Protocol):
    """A replica of any kind.

    Attributes:
        outstanding: requests that were routed there and are not finished.
        changed: the number of the last change of that, among all such changes in the fleet; 0 before any.
        weight: what it is to be sent beside others, from 1 to `WEIGHT`, which is its whole share.
    """

    index: int
    outstanding: int
    changed: int
    weight: int


class Counted:
    """A `Candidate` of the readable model.

    Args:
        changes: numbers of changes, of all replicas of a fleet.
    """

    def __init__(self, index: int, changes: Iterator[int]) -> None:
        self.index = index
        self.outstanding = self.changed = 0
        self.weight = WEIGHT
        self._changes = changes

    def count(self, more: int) -> None:
        """The count changes by this much; by nothing if a request was sent there and refused at once."""
        self.outstanding += more
        self.changed = next(self._changes)


Chosen = TypeVar("Chosen", bound=Candidate)
# Which of some candidates, given two uniform numbers.
Policy = Callable[[Sequence[Chosen], Sequence[float]], Chosen]


def load(candidate: Candidate, more: int = 0) -> int:
    """Requests outstanding, and some more, for each unit of weight, as a whole number."""
    return (candidate.outstanding + more) * WORK // candidate.weight


def fewest_outstanding(candidates: Sequence[Chosen]) -> Chosen:
    """The candidate that would have the fewest requests for its weight; the lowest index of equal ones."""
    return min(candidates, key=lambda candidate: (load(candidate, 1), candidate.index))


def drawn(candidates: Sequence[Chosen], uniform: float) -> Chosen:
    """Any of some candidates, each as likely as its weight says."""
    place = int(uniform * sum(candidate.weight for candidate in candidates))
    for candidate in candidates:
        place -= candidate.weight
        if place < 0:
            return candidate
    raise AssertionError("a uniform number is below 1")


@inlined
def fewer_outstanding(replicas: Any, one: int, two: int) -> int:
    """The one of two replicas with fewer requests outstanding; the lower index of equal ones. Compiled.

    Args:
        replicas: structs with a field `outstanding`, by index.
    """
    low, high = min(one, two), max(one, two)
    return high if replicas[high].outstanding < replicas[low].outstanding else low
