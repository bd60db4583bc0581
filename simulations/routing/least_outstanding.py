"""Least outstanding: the replica with the fewest requests outstanding.

Its compiled form is `smallest` of a tournament of outstanding requests where the loop keeps one, and otherwise
`fewer_outstanding` of all.
"""

from collections.abc import Sequence

from simulations.compiled import inlined
from simulations.draws.records import Floats
from simulations.routing.candidates import Chosen, Policy, fewest_outstanding


def least_outstanding(count: int) -> Policy[Chosen]:
    """The candidate with the fewest requests; the lowest index of equal ones."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        return fewest_outstanding(candidates)

    return choose


@inlined
def least_of_ranks(ranks: Floats) -> int:
    """The replica whose leaf in a tournament is the smallest: outstanding requests times leaves, plus its index."""
    return int(ranks[1]) & ((len(ranks) >> 1) - 1)
