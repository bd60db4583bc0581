"""Ranks: a tournament of how many requests each replica has, by which compiled loops route.

A leaf is the number of requests outstanding at a replica times a scale, plus what settles ties: the replica's index, or
for HAProxy's rule the number of the last change. An infinite one is never chosen. With it go the marks of each
replica: for HAProxy's rule its last change, and at the end that of all; for nginx's what smooth round robin owes it.
"""

import numpy as np

from capacity.question.plan import Routing
from simulations.compiled import compiled, inlined
from simulations.draws.records import Floats, Integers
from simulations.routing.least_outstanding import least_of_ranks, smooth_turn_of_ranks
from simulations.routing.policies import (
    LEAST_OUTSTANDING,
    LEAST_OUTSTANDING_HAPROXY,
    LEAST_OUTSTANDING_NGINX,
    POWER_OF_TWO,
)
from simulations.routing.tournament import at, change, leftmost, tournament

# More changes than a run has; of numbers up to 2^53 it leaves those of two million requests at a replica.
_CHANGES = 2**32


def first_ranks(routing: Routing, outstanding: Integers) -> Floats:
    """Ranks of replicas with this much outstanding, before any change."""
    leaves = 1 << max(0, len(outstanding) - 1).bit_length()
    scale = _CHANGES if routing is Routing.LEAST_OUTSTANDING_HAPROXY else leaves
    return tournament(np.arange(len(outstanding), dtype=np.float64) + outstanding * scale)


def first_marks(routing: Routing, replicas: int) -> Floats:
    """Marks before any change or choice: none but for the balancers that remember."""
    if routing is Routing.LEAST_OUTSTANDING_HAPROXY:
        return np.arange(replicas + 1, dtype=np.float64)
    return np.zeros(replicas if routing is Routing.LEAST_OUTSTANDING_NGINX else 0)


@inlined
def count_more(routing: int, replica: int, more: int, ranks: Floats, marks: Floats) -> None:
    """The count of a replica changes by this much; by nothing if a request was refused at once."""
    rank = at(ranks, replica)
    if routing != LEAST_OUTSTANDING_HAPROXY:
        change(ranks, replica, rank + more * (len(ranks) >> 1))
        return
    last = len(marks) - 1
    marks[last] += 1.0
    change(ranks, replica, rank + more * float(_CHANGES) + (marks[last] - marks[replica]))
    marks[replica] = marks[last]


@compiled
def put_back(routing: int, replica: int, outstanding: int, ranks: Floats, marks: Floats) -> None:
    """A replica that could not be chosen may be, with this much outstanding."""
    rank = float(replica)
    if routing == LEAST_OUTSTANDING_HAPROXY:
        rank = marks[replica]
    change(ranks, replica, rank)
    count_more(routing, replica, outstanding, ranks, marks)


@compiled
def take_out(replica: int, ranks: Floats) -> None:
    """A replica cannot be chosen any more."""
    change(ranks, replica, np.inf)


@inlined
def chosen_by_ranks(routing: int, one: int, two: int, ranks: Floats, marks: Floats) -> int:
    """The choice among both places that a policy looks at, or among all."""
    if routing < LEAST_OUTSTANDING:
        return one
    if routing == LEAST_OUTSTANDING:
        return int(least_of_ranks(ranks))
    if routing == LEAST_OUTSTANDING_HAPROXY:
        return int(leftmost(ranks))
    if routing == LEAST_OUTSTANDING_NGINX:
        return int(smooth_turn_of_ranks(ranks, marks))
    return two if is_second(routing, one, two, at(ranks, one), at(ranks, two)) else one


@inlined
def is_second(routing: int, one: int, two: int, rank_one: float, rank_two: float) -> bool:
    """Whether a policy chooses the second of both places that it looks at, which may be one.

    Args:
        rank_one: a multiple of the requests outstanding at the first, plus its index.
    """
    if routing == POWER_OF_TWO:
        return bool(rank_two < rank_one)
    return bool(rank_two - two <= rank_one - one)
