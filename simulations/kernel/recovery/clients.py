"""Clients of the recovery kernel: what a failure, a reply and a timeout set off, and who pays for retries."""

import math

from simulations.compiled import callee
from simulations.kernel.recovery.balancer import blame, count
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.state import (
    ARRIVAL,
    CONCURRENT,
    CRASHED,
    FIRST_TRIES,
    FREE,
    LEAVING,
    NO_BUDGET,
    NO_ONE,
    RETRY,
    STOPPED,
    SUCCESSES,
    THROTTLE,
    TIMED_OUT,
    World,
)
from simulations.routing.policies import SHARED_QUEUE


@callee
def pays(w: World, now_s: float) -> bool:
    """Whether the budget allows one more attempt, which is then paid for."""
    rules, state = w.rules[0], w.state
    if rules.budget == NO_BUDGET:
        return True
    if rules.budget == CONCURRENT:
        return bool(state[0].retries < max(float(rules.at_least), rules.ratio * state[0].active))
    if rules.budget == THROTTLE:
        return bool(state[0].tokens > rules.tokens_max / 2.0)
    if rules.budget == FIRST_TRIES and rules.tokens_per_s > 0.0:
        earned = rules.tokens_per_s * (now_s - state[0].deposited_s)
        state[0].tokens = min(rules.tokens_max, state[0].tokens + earned)
        state[0].deposited_s = now_s
    if state[0].tokens < rules.cost:
        return False
    state[0].tokens -= rules.cost
    return True


@callee
def deposit(w: World) -> None:
    """Tokens for a first try, or for a success."""
    w.state[0].tokens = min(w.rules[0].tokens_max, w.state[0].tokens + w.rules[0].ratio)


@callee
def stops_waiting(w: World, number: int) -> None:
    """One attempt less that a client waits for."""
    w.state[0].active -= 1
    if number > 0:
        w.state[0].retries -= 1


@callee
def fail(w: World, a: int, kind: int, now_s: float) -> None:
    """An attempt has failed; its client tries again, or gives up."""
    rules, state = w.rules[0], w.state
    request, number = w.attempts[a].request, w.attempts[a].number
    w.attempts[a].is_alive = False
    w.requests[request].live -= 1
    stops_waiting(w, number)
    if rules.budget == THROTTLE:
        state[0].tokens = max(0.0, state[0].tokens - 1.0)
    if w.attempts[a].replica != NO_ONE and rules.routing != SHARED_QUEUE:
        blame(w, w.attempts[a].replica, kind, now_s)
    if not math.isnan(w.requests[request].ended_s):
        return
    used = w.requests[request].used
    if used < rules.attempts and (rules.retried >> kind) & 1:
        again_s = now_s
        if rules.has_backoff:
            again_s = now_s + w.backoff[used, request] * rules.backoff_s[used]
        if again_s < w.requests[request].arrived_s + rules.deadline_s and pays(w, now_s):
            w.requests[request].used += 1
            w.requests[request].live += 1
            state[0].active += 1
            state[0].retries += 1
            push(w, again_s, ARRIVAL, request * rules.attempts + used, RETRY)
    if w.requests[request].live == 0:
        w.requests[request].ended_s = now_s


@callee
def call_off(w: World, a: int) -> None:
    """A client no longer waits for an attempt; where clients say so, its server is to stop it."""
    where = w.attempts[a].where
    if w.rules[0].abandoned == STOPPED and where != LEAVING and where != FREE:
        w.attempts[a].is_called_off = True


@callee
def succeed(w: World, a: int, now_s: float) -> None:
    """A reply in time: its request is answered, and its other attempts have lost their client.

    The server that gave it stops those that are called off.
    """
    request, number = w.attempts[a].request, w.attempts[a].number
    w.attempts[a].is_alive = False
    w.requests[request].live -= 1
    w.requests[request].answered_s = now_s
    w.requests[request].ended_s = now_s
    stops_waiting(w, number)
    if w.rules[0].budget == SUCCESSES or w.rules[0].budget == THROTTLE:
        deposit(w)
    if w.requests[request].live == 0 or len(w.places) == 0:
        return
    for k in range(w.rules[0].attempts):
        other = w.places[k, request]
        if other != NO_ONE and w.attempts[other].is_alive:
            w.attempts[other].is_alive = False
            w.requests[request].live -= 1
            stops_waiting(w, k)
            call_off(w, other)
    while w.requests[request].live > 0:  # retries that would have been sent at this very instant
        w.requests[request].live -= 1
        stops_waiting(w, 1)


@callee
def time_out(w: World, a: int, name: int, now_s: float) -> bool:
    """Whether a client stops waiting, as it still did; the loop has the server stop an attempt that is called off."""
    attempt = w.attempts[a]
    if not attempt.is_alive or attempt.request * w.rules[0].attempts + attempt.number != name:
        return False
    w.state[0].timed_out += 1
    fail(w, a, TIMED_OUT, now_s)
    call_off(w, a)
    return True


@callee
def less_outstanding(w: World, a: int) -> None:
    """The balancer counts one request less at the replica of an attempt."""
    if w.attempts[a].replica != NO_ONE:
        count(w, w.attempts[a].replica, -1)


@callee
def forget(w: World, a: int) -> None:
    """An attempt is over; its place is not yet free."""
    attempts = w.attempts
    if len(w.places) > 0:
        w.places[attempts[a].number, attempts[a].request] = NO_ONE
    attempts[a].request = NO_ONE
    attempts[a].is_alive = False
    attempts[a].where = FREE


@callee
def leave_memory(w: World, a: int) -> None:
    """An attempt is over, and another may have its place."""
    forget(w, a)
    w.state[0].used -= 1
    w.attempts[w.state[0].used].spare = a


@callee
def lose(w: World, a: int, now_s: float) -> None:
    """An attempt dies with its server."""
    w.state[0].crashed += 1
    less_outstanding(w, a)
    w.attempts[a].where = LEAVING
    if w.attempts[a].is_alive:
        fail(w, a, CRASHED, now_s)
