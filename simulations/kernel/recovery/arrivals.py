"""Arrivals of the recovery kernel: an attempt is sent, routed, and queued or refused."""

import math

import numpy as np

from simulations.compiled import borrowing
from simulations.kernel.recovery.balancer import choice
from simulations.kernel.recovery.clients import deposit, fail, pays
from simulations.kernel.recovery.events import push, push_timeout
from simulations.kernel.recovery.queue import append, free_count, leave_memory, look
from simulations.kernel.recovery.state import (
    ARRIVAL,
    CRASHED,
    FIRST_TRIES,
    HEDGE,
    NOBODY,
    REJECTED,
    World,
)
from simulations.kernel.state import (
    SHARED_QUEUE,
)


@borrowing
def route(w: World, a: int, now_s: float) -> None:
    """An attempt goes to a replica's queue, or fails at once; where clients hedge, not beside its like."""
    rules, attempts, q = w.rules[0], w.attempts, 0
    attempts[a].replica = NOBODY
    if rules.routing != SHARED_QUEUE:
        request, number = attempts[a].request, attempts[a].number
        shuns = rules.hedge_s >= 0.0
        r = choice(w, request, number, shuns)
        if r == NOBODY and shuns:
            r = choice(w, request, number, False)  # noqa: FBT003  (compiled code takes positions)
        if r == NOBODY:
            refuse(w, a, REJECTED, now_s)
            return
        attempts[a].replica = r
        if w.replicas[r].is_dead:
            refuse(w, a, CRASHED, now_s)
            return
        q = r
    if rules.limit >= 0 and w.queues[q].waiting >= rules.limit + rules.size_max * free_count(w, q):
        refuse(w, a, REJECTED, now_s)
        return
    if attempts[a].replica != NOBODY:
        w.replicas[attempts[a].replica].outstanding += 1
    append(w, q, a)
    look(w, q, now_s)


@borrowing
def refuse(w: World, a: int, kind: int, now_s: float) -> None:
    """An attempt does not get into any queue."""
    if kind == CRASHED:
        w.state[0].crashed += 1
    else:
        w.state[0].rejected += 1
    if w.attempts[a].is_alive:
        fail(w, a, kind, now_s)
    leave_memory(w, a)


@borrowing
def arrive(w: World, request: int, number: int, now_s: float) -> None:
    """An attempt is sent."""
    rules, state = w.rules[0], w.state
    if number > 0 and not math.isnan(w.requests[request].ended_s):  # answered at this very instant
        return
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
    attempt.replica = NOBODY
    attempt.sent_s = now_s
    attempt.until_s = min(now_s + rules.timeout_s, w.requests[request].arrived_s + rules.deadline_s)
    attempt.is_alive = True
    name = request * rules.attempts + number
    if attempt.until_s < np.inf:
        push_timeout(w, attempt.until_s, name, a)
    hedges = rules.hedge_s >= 0.0
    if hedges:
        w.places[number, request] = a
        if number + 1 < rules.attempts:
            push(w, now_s + rules.hedge_s, ARRIVAL, name + 1, HEDGE)
    route(w, a, now_s)


@borrowing
def hedge(w: World, request: int, number: int, now_s: float) -> None:
    """Another attempt beside those that wait, unless there is a reply or another was made meanwhile."""
    if not math.isnan(w.requests[request].ended_s) or w.requests[request].used != number:
        return
    if now_s >= w.requests[request].arrived_s + w.rules[0].deadline_s or not pays(w, now_s):
        return
    w.requests[request].used += 1
    w.requests[request].live += 1
    w.state[0].active += 1
    w.state[0].retries += 1
    arrive(w, request, number, now_s)
