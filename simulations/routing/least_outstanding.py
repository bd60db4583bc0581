"""Least outstanding: the replica with the fewest requests outstanding; which of equal ones, each balancer has its way.

The compiled form of ours is `smallest` of a tournament of outstanding requests where the loop keeps one, and otherwise
`fewer_outstanding` of all. Balancers' own need to remember more of each replica, their marks: HAProxy's the number of
the last change of its count, nginx's what round robin owes it.

Source:
    HAProxy 3.0.11, src/lb_fwlc.c, fwlc_srv_reposition and fwlc_get_next_server: a server whose count changes goes
    behind those with the same count. nginx 1.26.3, src/http/modules/ngx_http_upstream_least_conn_module.c,
    ngx_http_upstream_get_least_conn_peer: each of equal peers is owed one turn more, and the one that is owed most
    gets this turn and pays for all, for equal weights. HAProxy's count of a server that has any is one more for its
    weight, in fwlc_queue_srv; one that has none comes first whatever it weighs.
"""

from collections.abc import Sequence
from typing import Any

from simulations.compiled import inlined
from simulations.draws.records import Floats
from simulations.routing.candidates import Chosen, Policy, fewest_outstanding, load
from simulations.routing.tournament import at, smallest


def least_outstanding(count: int) -> Policy[Chosen]:
    """The candidate with the fewest requests; the lowest index of equal ones."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        return fewest_outstanding(candidates)

    return choose


def longest_unchanged(count: int) -> Policy[Chosen]:
    """The candidate with the fewest requests; of equal ones the one whose number of them changed longest ago."""

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        return min(candidates, key=lambda one: (one.outstanding and load(one, 1), one.changed, one.index))

    return choose


def in_smooth_turn(count: int) -> Policy[Chosen]:
    """The candidate with the fewest requests; equal ones by smooth round robin among them."""
    owed = [0] * count

    def choose(candidates: Sequence[Chosen], uniforms: Sequence[float]) -> Chosen:
        fewest = min(candidate.outstanding for candidate in candidates)
        equal = [candidate for candidate in candidates if candidate.outstanding == fewest]
        for candidate in equal:
            owed[candidate.index] += 1
        chosen = max(equal, key=lambda candidate: (owed[candidate.index], -candidate.index))
        owed[chosen.index] -= len(equal)
        return chosen

    return choose


@inlined
def least_of_ranks(ranks: Floats) -> int:
    """The replica whose leaf in a tournament is the smallest: outstanding requests times leaves, plus its index."""
    return int(ranks[1]) & ((len(ranks) >> 1) - 1)


@inlined
def smooth_turn_of_ranks(ranks: Floats, marks: Floats) -> int:
    """The replica whose smooth turn it is among those with the fewest requests, by such a tournament. Compiled."""
    most = float(int(smallest(ranks)) | ((len(ranks) >> 1) - 1))  # of those with as few requests
    equal, chosen = 0.0, -1
    for replica in range(len(marks)):
        if at(ranks, replica) <= most:
            equal += 1.0
            marks[replica] += 1.0
            if chosen < 0 or marks[replica] > marks[chosen]:
                chosen = replica
    marks[chosen] -= equal
    return chosen


@inlined
def owe_turn(replicas: Any, first: int, best: int, replica: int) -> int:
    """Owe one turn more to a replica if it has as few requests as the first; who of all so far is owed most. Compiled.

    Args:
        replicas: structs with fields `outstanding` and `owed`, by index.
    """
    if replicas[replica].outstanding != replicas[first].outstanding:
        return best
    replicas[replica].owed += 1
    return replica if replicas[replica].owed > replicas[best].owed else best


@inlined
def longer_unchanged(replicas: Any, one: int, two: int) -> int:
    """The one of two replicas, the second of a higher index, with fewer requests or the same for longer. Compiled.

    Args:
        replicas: structs with fields `outstanding`, `changed_s` and `changed`, by index; the last settles what changed
            at one instant.
    """
    here, there = replicas[one], replicas[two]
    if here.outstanding != there.outstanding:
        return two if there.outstanding < here.outstanding else one
    if here.changed_s != there.changed_s:
        return two if there.changed_s < here.changed_s else one
    return two if there.changed < here.changed else one
