"""Balancer of the recovery kernel: which replica an attempt goes to, and which are ejected.

While a replica that is back has a part of its whole share, choices are made by weight. With whole shares all over they
are those without weights, which take over when the last share has grown.
"""

import math

from capacity.recovery.protection import (
    EJECTED_AFTER,
    EJECTED_SHARE,
    EJECTION_MAX_S,
    EJECTION_S,
    LEFT_OUT_S,
    WEIGHT,
)
from simulations.compiled import callee, inlined
from simulations.kernel.recovery.state import ENVOY, NGINX, NO_ONE, REJECTED, World
from simulations.routing.candidates import WORK, fewer_outstanding
from simulations.routing.least_outstanding import longer_unchanged, owe_turn
from simulations.routing.policies import (
    LEAST_OUTSTANDING,
    LEAST_OUTSTANDING_HAPROXY,
    LEAST_OUTSTANDING_NGINX,
    POWER_OF_TWO_HAPROXY,
    RANDOM,
    ROUND_ROBIN,
    base_of,
    first_place,
    less_busy,
    other_place,
)
from simulations.routing.round_robin import in_turn


@callee
def count(w: World, r: int, more: int) -> None:
    """A replica holds this many attempts more, or fewer; none if one was sent there and refused at once."""
    w.state[0].changes += 1
    w.replicas[r].outstanding += more
    w.replicas[r].changed = w.state[0].changes


@callee
def blame(w: World, r: int, kind: int, now_s: float) -> None:
    """A failure of a replica, as its balancer counts them; too many eject it. For nginx a refusal is an answer."""
    replicas, ejection = w.replicas, w.rules[0].ejection
    if ejection == NGINX and kind == REJECTED:
        praise(w, r)
        return
    replicas[r].failures += 1
    if ejection == NGINX:
        replicas[r].failed_s = replicas[r].tried_s = math.floor(now_s)
    if ejection != ENVOY or replicas[r].is_ejected or replicas[r].failures < EJECTED_AFTER:
        return
    if w.state[0].ejected < max(1, int(EJECTED_SHARE * len(replicas))):
        w.state[0].ejected += 1
        replicas[r].is_ejected = True
        replicas[r].since_s = now_s
        replicas[r].times += 1
        replicas[r].failures = 0


@callee
def praise(w: World, r: int) -> None:
    """A reply of a replica in time: its failures are forgotten, by nginx if it was on trial after them."""
    if w.rules[0].ejection != NGINX or w.replicas[r].failed_s < w.replicas[r].tried_s:
        w.replicas[r].failures = 0


@callee
def leave_out(w: World, now_s: float) -> None:
    """nginx leaves out those that have failed often and just now, before it chooses."""
    if w.rules[0].ejection == NGINX:
        for r in range(len(w.replicas)):
            is_recent = math.floor(now_s) - w.replicas[r].tried_s <= LEFT_OUT_S
            w.replicas[r].is_ejected = is_recent and w.replicas[r].failures >= EJECTED_AFTER


@callee
def try_out(w: World, r: int, now_s: float) -> None:
    """A replica that nginx has chosen is on trial, unless it was a moment ago."""
    if (
        w.rules[0].ejection == NGINX
        and r != NO_ONE
        and math.floor(now_s) - w.replicas[r].tried_s > LEFT_OUT_S
    ):
        w.replicas[r].tried_s = math.floor(now_s)


@callee
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


@callee
def nth(w: World, place: int, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica at a place among those that may be chosen."""
    for r in range(len(w.replicas)):
        if may_take(w, r, request, shuns):
            if place == 0:
                return r
            place -= 1
    return NO_ONE


@callee
def next_in_turn(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The next replica in turn."""
    count = len(w.replicas)
    for step in range(count):
        r = int(in_turn(w.state[0].turn + step, count))
        if may_take(w, r, request, shuns):
            w.state[0].turn = (r + 1) % count
            return r
    return NO_ONE


@callee
def least_outstanding(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica with the fewest requests; who of equal ones, by the rule of the routing."""
    replicas, routing, best = w.replicas, w.rules[0].routing, NO_ONE
    for r in range(len(replicas)):
        if may_take(w, r, request, shuns):
            if best == NO_ONE:
                best = r
            elif routing == LEAST_OUTSTANDING_HAPROXY:
                best = longer_unchanged(replicas, best, r)
            else:
                best = fewer_outstanding(replicas, best, r)
    if routing == LEAST_OUTSTANDING_NGINX and best != NO_ONE:
        return in_smooth_turn(w, best, request, shuns)
    return best


@callee
def in_smooth_turn(w: World, first: int, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica whose smooth turn it is among those with as few requests as the first of them."""
    replicas, best, equal = w.replicas, first, 0
    for r in range(first, len(replicas)):
        if may_take(w, r, request, shuns):
            best = owe_turn(replicas, first, best, r)
            equal += replicas[r].outstanding == replicas[first].outstanding
    replicas[best].owed -= equal
    return int(best)


@callee
def choice(w: World, request: int, number: int, shuns: bool, now_s: float) -> int:  # noqa: FBT001
    """The router's choice among the replicas that it sees; none if it sees none."""
    if now_s < w.state[0].slow_until_s:
        weigh(w, now_s)
        return choice_by_weight(w, request, number, shuns)
    replicas, routing = w.replicas, w.rules[0].routing
    if routing == ROUND_ROBIN:
        return next_in_turn(w, request, shuns)
    if base_of(routing) == LEAST_OUTSTANDING:
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
    return int(less_busy(routing, replicas, first, nth(w, two, request, shuns)))


@callee
def come_back(w: World, r: int, now_s: float) -> None:
    """A replica takes requests again; if its router has sent it none, it starts slowly."""
    if w.rules[0].slow_start_s > 0 and not w.replicas[r].is_visible:
        w.replicas[r].back_s = now_s
        w.state[0].slow_until_s = now_s + w.rules[0].slow_start_s


@callee
def weigh(w: World, now_s: float) -> None:
    """The weight of each replica as it is now."""
    slow_start_s = w.rules[0].slow_start_s
    for r in range(len(w.replicas)):
        weight, back_s = WEIGHT, w.replicas[r].back_s
        if now_s < back_s + slow_start_s:
            weight = min(WEIGHT, 1 + WEIGHT * math.floor(now_s - back_s) // slow_start_s)
        w.replicas[r].weight = weight


@inlined
def load(w: World, r: int, more: int) -> int:
    """Requests outstanding at a replica, and some more, for each unit of its weight, as a whole number."""
    return int((w.replicas[r].outstanding + more) * WORK // w.replicas[r].weight)


@callee
def drawn(w: World, place: int, after: int, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica whose weight a place falls into, of those that may be chosen, in turn from the one after another."""
    count = len(w.replicas)
    for step in range(count):
        r = int(in_turn(after + 1 + step, count))
        if may_take(w, r, request, shuns):
            place -= w.replicas[r].weight
            if place < 0:
                return r
    return NO_ONE


@callee
def next_by_weight(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The next replica in turn that is owed a whole share."""
    count = len(w.replicas)
    for step in range(WEIGHT * count):
        r = int(in_turn(w.state[0].turn + step, count))
        if may_take(w, r, request, shuns):
            w.replicas[r].owed += w.replicas[r].weight
            if w.replicas[r].owed >= WEIGHT:
                w.replicas[r].owed -= WEIGHT
                w.state[0].turn = (r + 1) % count
                return r
    return NO_ONE


@callee
def least_by_weight(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica with the least load; for HAProxy any without a request before all others, longest so first."""
    is_haproxy, best, least, since = w.rules[0].routing == LEAST_OUTSTANDING_HAPROXY, NO_ONE, 0, 0
    for r in range(len(w.replicas)):
        if may_take(w, r, request, shuns):
            is_idle = is_haproxy and w.replicas[r].outstanding == 0
            mine, changed = 0 if is_idle else load(w, r, 1), w.replicas[r].changed if is_haproxy else 0
            if best == NO_ONE or mine < least or (mine == least and changed < since):
                best, least, since = r, mine, changed
    return best


@callee
def choice_by_weight(w: World, request: int, number: int, shuns: bool) -> int:  # noqa: FBT001
    """`choice` while a replica starts slowly."""
    routing = w.rules[0].routing
    if routing == ROUND_ROBIN:
        return next_by_weight(w, request, shuns)
    if routing in (LEAST_OUTSTANDING, LEAST_OUTSTANDING_HAPROXY):
        return least_by_weight(w, request, shuns)
    whole = 0
    for r in range(len(w.replicas)):
        whole += w.replicas[r].weight if may_take(w, r, request, shuns) else 0
    if whole == 0:
        return NO_ONE
    uniforms = w.routing[number, request]
    first = drawn(w, int(uniforms[0] * whole), NO_ONE, request, shuns)
    if routing == POWER_OF_TWO_HAPROXY:
        second = drawn(w, int(uniforms[1] * whole), NO_ONE, request, shuns)
        return first if load(w, second, 0) > load(w, first, 0) else second
    rest = whole - w.replicas[first].weight
    if routing == RANDOM or rest == 0:
        return first
    second = drawn(w, int(uniforms[1] * rest), first, request, shuns)
    low, high = min(first, second), max(first, second)
    return high if load(w, high, 1) < load(w, low, 1) else low


@callee
def sweep(w: World, now_s: float) -> None:
    """The balancer takes back replicas whose time is over."""
    replicas = w.replicas
    for r in range(len(replicas)):
        if replicas[r].is_ejected:
            if now_s >= replicas[r].since_s + min(EJECTION_S * replicas[r].times, EJECTION_MAX_S):
                replicas[r].is_ejected = False
                count(w, r, 0)
                replicas[r].failures = 0
                w.state[0].ejected -= 1
        elif replicas[r].times > 0:
            replicas[r].times -= 1
