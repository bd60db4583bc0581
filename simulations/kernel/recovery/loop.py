"""The event loop of the recovery kernel, for servers of any kind: clients, faults and limits are the same for all.

What comes next is a first try, an event of the heap, a timeout of the line, or something that a server does by
itself. Each kind of server compiles the loop into a function of its own, with the functions that the loop calls:

    own(w, s, before_s)               servers do what no other sees before an instant; the instant and the order
                                      of what they do next by themselves
    are_at_rest(w, s)                 whether no server does anything by itself any more
    act(w, s, phase, rank, now_s)     a completion, a dispatch or a timer
    admit(w, s, a, now_s)             an attempt is sent to a server
    call_off(w, s, a, now_s)          an attempt has timed out; a server stops it if it is called off
    suffer(w, s, number, now_s)       a fault happens to a server, once `strike` has been
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from capacity.recovery.protection import EJECTION_SWEEP_S
from simulations.compiled import borrowing, inlined
from simulations.kernel.recovery.arrivals import hedges, send
from simulations.kernel.recovery.balancer import sweep
from simulations.kernel.recovery.clients import time_out
from simulations.kernel.recovery.events import pop, pop_timeout, push
from simulations.kernel.recovery.faults import strike
from simulations.kernel.recovery.room import leave_room
from simulations.kernel.recovery.state import (
    ARRIVAL,
    CALL_ROOM,
    FAULT,
    FIRST_TRIES_COME,
    FULL,
    HEAP,
    HEDGE,
    LATER,
    LINE,
    NO_ONE,
    NOTHING,
    OVER,
    RANKS,
    SERVER,
    SWEEP,
    TIMEOUT,
    TURN,
    World,
)


@borrowing
def is_full(w: World, instant_s: float, order: int) -> bool:
    """Whether memory might not be enough for an event and all that follows from it."""
    used = w.state[0].used
    if w.state[0].events + w.state[0].moves * (used + 16) > len(w.events) or used + 2 > len(w.attempts):
        return True
    if w.state[0].timeouts == len(w.timeouts):
        return True
    return bool(order // RANKS == ARRIVAL and instant_s >= len(w.sent))


@inlined
def run_loop(  # noqa: C901  (one loop)
    w: World,
    s: Any,
    until_s: float,
    own: Callable[..., tuple[float, int]],
    are_at_rest: Callable[..., bool],
    act: Callable[..., None],
    admit: Callable[..., None],
    call_off: Callable[..., None],
    suffer: Callable[..., None],
) -> int:
    """Let things happen until an instant, the end, or until memory might not be enough; why it stopped.

    Args:
        s: state of the servers.
        own, are_at_rest, act, admit, call_off, suffer: compiled functions, see above.
    """
    events, state, requests, attempts_max = w.events, w.state, w.requests, w.rules[0].attempts
    while True:
        first = state[0].next
        instant_s, order, what, source = np.inf, 0, 0, NOTHING
        if first < len(requests):
            instant_s = requests[first].arrived_s
            order, source = ARRIVAL * RANKS + first * attempts_max, FIRST_TRIES_COME
        if state[0].events > 0:
            top = events[0]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, source = top.instant_s, top.order, top.what, HEAP
        if state[0].timeouts > 0:
            top = w.timeouts[state[0].first_timeout]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, source = top.instant_s, top.order, top.what, LINE
        # Faults come before anything that a server does at their instant.
        is_later = source == NOTHING or order >= RANKS
        before_s = instant_s if is_later else np.nextafter(instant_s, -np.inf)
        own_s, own_order = own(w, s, min(before_s, until_s))
        if own_s < instant_s or (own_s == instant_s and own_order < order):
            instant_s, order, source = own_s, own_order, SERVER
        if source == NOTHING and are_at_rest(w, s):
            return OVER
        if instant_s > until_s:
            return LATER
        if is_full(w, instant_s, order):
            return FULL
        if source == FIRST_TRIES_COME:
            state[0].next += 1
            while state[0].next < len(requests) and np.isnan(requests[state[0].next].arrived_s):
                state[0].next += 1  # turns that follow answers
        elif source == HEAP:
            pop(w)
        elif source == LINE:
            pop_timeout(w)
        if order < 0:
            sweep(w, instant_s)
            is_more = state[0].events + state[0].timeouts > 0 or state[0].next < len(requests)
            if is_more or not are_at_rest(w, s):
                push(w, instant_s + EJECTION_SWEEP_S, FAULT, -1, SWEEP)
            continue
        phase, rank = order // RANKS, order % RANKS
        if source == HEAP and what == CALL_ROOM:
            last, a = state[0].room_tail, state[0].room_head
            while a != NO_ONE:
                behind = NO_ONE if a == last else w.attempts[a].behind
                leave_room(w, a)
                admit(w, s, a, instant_s)
                a = behind
        elif phase == TIMEOUT:
            if time_out(w, what, rank, instant_s):
                call_off(w, s, what, instant_s)
        elif phase == FAULT:
            strike(w, rank, instant_s)
            suffer(w, s, rank, instant_s)
        elif phase == ARRIVAL:
            request, number = rank // attempts_max, rank % attempts_max
            if what == TURN:
                requests[request].arrived_s = instant_s
            if what != HEDGE or hedges(w, request, number, instant_s):
                a = send(w, request, number, instant_s)
                if a != NO_ONE:
                    admit(w, s, a, instant_s)
        else:
            act(w, s, phase, rank, instant_s)
