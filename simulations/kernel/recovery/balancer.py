"""Balancer of the recovery kernel: which replica an attempt goes to, and which are ejected."""

from capacity.recovery.protection import (
    EJECTED_AFTER,
    EJECTED_SHARE,
    EJECTION_MAX_S,
    EJECTION_S,
    EJECTION_SWEEP_S,
)
from simulations.compiled import borrowing
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.state import FAULT, NO_ONE, SWEEP, World
from simulations.routing.candidates import fewer_outstanding
from simulations.routing.policies import LEAST_OUTSTANDING, ROUND_ROBIN, first_place, other_place
from simulations.routing.round_robin import in_turn


@borrowing
def blame(w: World, r: int, now_s: float) -> None:
    """A failure of a replica, as its balancer counts them; too many in a row eject it."""
    replicas = w.replicas
    replicas[r].failures += 1
    if not w.rules[0].ejects or replicas[r].is_ejected or replicas[r].failures < EJECTED_AFTER:
        return
    if w.state[0].ejected < max(1, int(EJECTED_SHARE * len(replicas))):
        w.state[0].ejected += 1
        replicas[r].is_ejected = True
        replicas[r].since_s = now_s
        replicas[r].times += 1
        replicas[r].failures = 0


@borrowing
def may_take(w: World, r: int, request: int, shuns: bool) -> bool:  # noqa: FBT001
    """Whether the router may send an attempt to a replica; a hedge shuns those that hold another."""
    if not w.replicas[r].is_visible or w.replicas[r].is_ejected:
        return False
    if shuns:
        for k in range(w.rules[0].attempts):
            other = w.places[k, request]
            if other != NO_ONE and w.attempts[other].is_alive and w.attempts[other].replica == r:
                return False
    return True


@borrowing
def nth(w: World, place: int, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica at a place among those that may be chosen."""
    for r in range(len(w.replicas)):
        if may_take(w, r, request, shuns):
            if place == 0:
                return r
            place -= 1
    return NO_ONE


@borrowing
def next_in_turn(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The next replica in turn."""
    count = len(w.replicas)
    for step in range(count):
        r = int(in_turn(w.state[0].turn + step, count))
        if may_take(w, r, request, shuns):
            w.state[0].turn = (r + 1) % count
            return r
    return NO_ONE


@borrowing
def least_outstanding(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica with the fewest requests."""
    best = NO_ONE
    for r in range(len(w.replicas)):
        if may_take(w, r, request, shuns):
            best = r if best == NO_ONE else fewer_outstanding(w.replicas, best, r)
    return best


@borrowing
def choice(w: World, request: int, number: int, shuns: bool) -> int:  # noqa: FBT001
    """The router's choice among the replicas that it sees; none if it sees none."""
    replicas, routing = w.replicas, w.rules[0].routing
    if routing == ROUND_ROBIN:
        return next_in_turn(w, request, shuns)
    if routing == LEAST_OUTSTANDING:
        return least_outstanding(w, request, shuns)
    seen = 0
    for r in range(len(replicas)):
        seen += 1 if may_take(w, r, request, shuns) else 0
    if seen == 0:
        return NO_ONE
    uniforms = w.routing[number, request]
    one = first_place(routing, 0, uniforms, 0, seen)
    two = other_place(routing, one, uniforms, 0, seen)
    first = nth(w, one, request, shuns)
    if two == one:
        return first
    return int(fewer_outstanding(replicas, first, nth(w, two, request, shuns)))


@borrowing
def sweep(w: World, now_s: float) -> None:
    """The balancer takes back replicas whose time is over."""
    replicas = w.replicas
    for r in range(len(replicas)):
        if replicas[r].is_ejected:
            if now_s >= replicas[r].since_s + min(EJECTION_S * replicas[r].times, EJECTION_MAX_S):
                replicas[r].is_ejected = False
                replicas[r].failures = 0
                w.state[0].ejected -= 1
        elif replicas[r].times > 0:
            replicas[r].times -= 1
    if w.state[0].events + w.state[0].timeouts > 0 or w.state[0].next < len(w.requests):
        push(w, now_s + EJECTION_SWEEP_S, FAULT, -1, SWEEP)
