"""Faults of the recovery kernel: what a replica holds is lost or moved, slowed or delayed."""

import numpy as np

from simulations.compiled import borrowing
from simulations.kernel.recovery.arrivals import route
from simulations.kernel.recovery.clients import fail
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.queue import (
    count_free,
    leave_memory,
    less_outstanding,
    look,
    queue_of,
    unlink,
)
from simulations.kernel.recovery.replica import rest
from simulations.kernel.recovery.state import (
    COMPLETION,
    CRASH,
    CRASHED,
    HANG,
    HIDE,
    JOIN,
    LEAVE,
    LEAVING,
    NO_ONE,
    PAUSE,
    RESTART,
    RESUME,
    SLOW,
    World,
)
from simulations.kernel.state import (
    SHARED_QUEUE,
)


@borrowing
def lose(w: World, a: int, now_s: float) -> None:
    """An attempt dies with its replica."""
    w.state[0].crashed += 1
    less_outstanding(w, a)
    w.attempts[a].where = LEAVING
    if w.attempts[a].is_alive:
        fail(w, a, CRASHED, now_s)
    leave_memory(w, a)


@borrowing
def lose_all(w: World, r: int, now_s: float) -> None:
    """All that a replica holds: its batch, then its own queue."""
    a = w.replicas[r].head
    rest(w, r, now_s)
    while a != NO_ONE:
        behind = w.attempts[a].behind
        lose(w, a, now_s)
        a = behind
    if w.rules[0].routing != SHARED_QUEUE:
        while w.queues[r].waiting > 0:
            a = w.queues[r].head
            unlink(w, r, a)
            lose(w, a, now_s)


@borrowing
def move_queue(w: World, r: int, now_s: float) -> None:
    """The queue of a replica that leaves is routed again, in order."""
    for _ in range(w.queues[r].waiting):
        a = w.queues[r].head
        unlink(w, r, a)
        w.replicas[r].outstanding -= 1
        route(w, a, now_s)


@borrowing
def strike(w: World, number: int, now_s: float) -> None:  # noqa: C901  (one branch an action)
    """A fault happens."""
    fault = w.faults[number]
    r, action, replicas = fault.replica, fault.action, w.replicas
    if action == LEAVE:
        replicas[r].is_up = False
        replicas[r].is_visible = False
        if w.rules[0].routing != SHARED_QUEUE:
            move_queue(w, r, now_s)
    elif action == CRASH:
        replicas[r].is_up = False
        replicas[r].is_dead = True
        lose_all(w, r, now_s)
    elif action == HANG:
        replicas[r].is_up = False
        replicas[r].is_hung = replicas[r].size > 0
        replicas[r].finish_s = np.inf
    elif action == HIDE:
        replicas[r].is_visible = False
    elif action in (JOIN, RESTART):
        if action == RESTART:
            lose_all(w, r, now_s)
        replicas[r].is_up = True
        replicas[r].is_visible = True
        replicas[r].is_dead = False
        replicas[r].cold = w.rules[0].cold_batches
    elif action == SLOW:
        replicas[r].slow = fault.value
    elif action == PAUSE:
        replicas[r].is_paused = True
        if replicas[r].finish_s < np.inf:
            replicas[r].finish_s += fault.value
            push(w, replicas[r].finish_s, COMPLETION, r, r)
    elif action == RESUME:
        replicas[r].is_paused = False
    count_free(w)
    if action in (JOIN, RESTART, RESUME):
        look(w, queue_of(w, r), now_s)
