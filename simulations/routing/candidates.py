"""Candidates: what a policy knows of the replicas that it may choose, in order of their index."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from simulations.compiled import inlined


class Candidate(Protocol):
    """A replica of any kind.

    Attributes:
        outstanding: requests that were routed there and are not finished.
    """

    index: int
    outstanding: int


Chosen = TypeVar("Chosen", bound=Candidate)
# Which of some candidates, given two uniform numbers.
Policy = Callable[[Sequence[Chosen], Sequence[float]], Chosen]


def fewest_outstanding(candidates: Sequence[Chosen]) -> Chosen:
    """The candidate with the fewest requests outstanding; the lowest index of equal ones."""
    return min(candidates, key=lambda candidate: (candidate.outstanding, candidate.index))


@inlined
def fewer_outstanding(replicas: Any, one: int, two: int) -> int:
    """The one of two replicas with fewer requests outstanding; the lower index of equal ones. Compiled.

    Args:
        replicas: structs with a field `outstanding`, by index.
    """
    low, high = min(one, two), max(one, two)
    return high if replicas[high].outstanding < replicas[low].outstanding else low
