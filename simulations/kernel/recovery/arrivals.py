"""Arrivals of the recovery kernel: an attempt is sent, and routed or refused."""

import math

import numpy as np

from simulations.compiled import callee
from simulations.kernel.recovery.balancer import choice, count, leave_out, try_out
from simulations.kernel.recovery.clients import deposit, fail, leave_memory, pays
from simulations.kernel.recovery.events import push, push_timeout
from simulations.kernel.recovery.room import keep, will_be_back
from simulations.kernel.recovery.state import ARRIVAL, CRASHED, FIRST_TRIES, HEDGE, NO_ONE, REJECTED, World


@callee
def pick(w: World, a: int, now_s: float) -> int:
    """The replica that an attempt is sent to, or `NO_ONE` if it is refused; hedges avoid replicas that hold another."""
    attempts = w.attempts
    request, number = attempts[a].request, attempts[a].number
    shuns = w.rules[0].hedge_s >= 0.0
    leave_out(w, now_s)
    r = choice(w, request, number, shuns, now_s)
    if r == NO_ONE and shuns:
        r = choice(w, request, number, False, now_s)  # noqa: FBT003  (compiled code takes positions)
    try_out(w, r, now_s)
    return find_alive(w, a, r, now_s)


@callee
def find_alive(w: World, a: int, r: int, now_s: float) -> int:
    """The replica that was chosen for an attempt, unless it is dead; without one, it waits for who will be back."""
    w.attempts[a].replica = r
    if r == NO_ONE and will_be_back(w):
        keep(w, a)
        return NO_ONE
    if r == NO_ONE:
        refuse(w, a, REJECTED, now_s)
        return NO_ONE
    if w.replicas[r].is_dead:
        count(w, r, 0)
        refuse(w, a, CRASHED, now_s)
        return NO_ONE
    return int(r)


@callee
def refuse(w: World, a: int, kind: int, now_s: float) -> None:
    """An attempt does not get into any queue."""
    if kind == CRASHED:
        w.state[0].crashed += 1
    else:
        w.state[0].rejected += 1
    if w.attempts[a].is_alive:
        fail(w, a, kind, now_s)
    leave_memory(w, a)


@callee
def send(w: World, request: int, number: int, now_s: float) -> int:
    """The place of an attempt that is sent, to be routed; `NO_ONE` if its request has a reply already."""
    rules, state = w.rules[0], w.state
    if number > 0 and not math.isnan(w.requests[request].ended_s):  # answered at this very instant
        return NO_ONE
    w.sent[int(now_s)] += 1
    w.requests[request].sent = number + 1
    if number == 0:
        state[0].active += 1
        w.requests[request].used = 1
        w.requests[request].live = 1
        if rules.budget == FIRST_TRIES:
            deposit(w)
    a = w.attempts[state[0].used].spare
    state[0].used += 1
    attempt = w.attempts[a]
    attempt.request = request
    attempt.number = number
    attempt.replica = NO_ONE
    attempt.sent_s = now_s
    attempt.until_s = min(now_s + rules.timeout_s, w.requests[request].arrived_s + rules.deadline_s)
    attempt.is_alive = True
    attempt.is_called_off = False
    name = request * rules.attempts + number
    if attempt.until_s < np.inf:
        push_timeout(w, attempt.until_s, name, a)
    if rules.hedge_s >= 0.0:
        w.places[number, request] = a
        if number + 1 < rules.attempts:
            push(w, now_s + rules.hedge_s, ARRIVAL, name + 1, HEDGE)
    return int(a)


@callee
def hedges(w: World, request: int, number: int, now_s: float) -> bool:
    """Whether another attempt is made beside those that wait: not with a reply, or another made meanwhile."""
    if not math.isnan(w.requests[request].ended_s) or w.requests[request].used != number:
        return False
    if now_s >= w.requests[request].arrived_s + w.rules[0].deadline_s or not pays(w, now_s):
        return False
    w.requests[request].used += 1
    w.requests[request].live += 1
    w.state[0].active += 1
    w.state[0].retries += 1
    return True
