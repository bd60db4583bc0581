"""Kernel of recovery for engines of language models: clients that try again, and faults.

The same draws give the outcomes of `reference.recovery.engines`, bit for bit. Passes lie in no heap: each engine
goes through a run of passes as far as the next event of anybody else, since no client sees these passes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from capacity.recovery.clients import Clients
from capacity.recovery.faults import Fault
from capacity.recovery.protection import Protection
from simulations.compiled import borrowing
from simulations.draws.attempts import AttemptDraws, EngineFleet, Outcomes, check_engines
from simulations.draws.records import Integers
from simulations.draws.tokens import ALWAYS, TokenDraws
from simulations.kernel.continuous import PARTS, begin_pass, end_pass, rows_for, run_on, world_of
from simulations.kernel.continuous import World as Engines
from simulations.kernel.recovery.arrivals import hedges, send
from simulations.kernel.recovery.balancer import sweep
from simulations.kernel.recovery.clients import succeed, time_out
from simulations.kernel.recovery.engine import (
    admit,
    break_off,
    call,
    call_off,
    reset,
    retire,
    vacate,
)
from simulations.kernel.recovery.events import pop, pop_timeout
from simulations.kernel.recovery.run import (
    check_faults,
    is_full,
    outcomes_of,
    rules_for,
    schedule,
    with_more_room,
    world_for,
)
from simulations.kernel.recovery.state import (
    ARRIVAL,
    ASKED_EVERY_S,
    COMPLETION,
    CRASH,
    DISPATCH,
    FAULT,
    FULL,
    HANG,
    HEDGE,
    HIDE,
    JOIN,
    LATER,
    LEAVE,
    LEAVING,
    NO_ONE,
    OVER,
    PAUSE,
    RANKS,
    RESTART,
    RESUME,
    SLOW,
    TIMEOUT,
    World,
)


@borrowing
def _strike(  # noqa: C901  (one branch an action)
    w: World, e: Engines, lengths: Integers, number: int, now_s: float
) -> None:
    """A fault happens to an engine."""
    fault = w.faults[number]
    r, action, replica, engine = (
        fault.replica,
        fault.action,
        w.replicas[fault.replica],
        e.engines[fault.replica],
    )
    if action == LEAVE:
        replica.is_visible = False
        vacate(w, e, lengths, r, now_s)
    elif action == HANG:
        replica.is_halted = True
        replica.is_hung = replica.is_hung or engine.ends_s < np.inf
        engine.ends_s = np.inf
        engine.since_s = np.inf
    elif action == HIDE:
        replica.is_visible = False
    elif action == SLOW:
        engine.slow = fault.value
    elif action == PAUSE:
        replica.is_paused = True
        engine.ends_s += fault.value
        engine.since_s = np.inf
    elif action == RESUME:
        replica.is_paused = False
    if action in (CRASH, RESTART):
        reset(w, e, r, now_s)
        replica.is_halted = False
        replica.is_dead = True
    if action in (JOIN, RESTART):
        replica.is_visible = True
        replica.is_dead = False
        replica.is_halted = False
    if action in (JOIN, RESTART, RESUME):
        call(w, e, r, now_s)


# Each of these two is called from two places, and takes seconds to compile wherever it is a part of another.


@borrowing
def _begin(e: Engines, r: int, now_s: float) -> None:
    """The next pass of an engine."""
    begin_pass(e, r, now_s)


@borrowing
def _run(e: Engines, r: int, until_s: float) -> bool:
    """A run of passes as far as an instant; whether it is over."""
    return run_on(e, r, until_s)


@borrowing
def _complete(w: World, e: Engines, r: int, now_s: float) -> None:
    """A pass has ended: who has all its tokens is answered, and the next one begins."""
    rows, parts, attempts, state = e.rows, e.parts, w.attempts, w.state
    if e.engines[r].stretch >= 0:
        e.engines[r].stretch -= 1  # the last pass of a run ends like any other
        break_off(e, r)
    w.replicas[r].is_over = False
    end_pass(e, r, now_s)
    buffer = e.engines[r].which
    count = e.sizes[r, buffer, PARTS]
    for at in range(count):
        a = parts[r, buffer, at].request
        if parts[r, buffer, at].brings and rows[a].generated == rows[a].output:
            attempts[a].where = LEAVING
    for at in range(count):
        a = parts[r, buffer, at].request
        if parts[r, buffer, at].brings and attempts[a].where == LEAVING:
            state[0].served += 1
            if attempts[a].is_alive:
                w.replicas[r].failures = 0
                succeed(w, a, now_s)
                _call_off_others(w, e, attempts[a].request)
            else:
                state[0].for_nobody += 1
            retire(w, a)
    e.engines[r].torn = max(0, e.engines[r].torn - 1)
    _begin(e, r, now_s)


@borrowing
def _call_off_others(w: World, e: Engines, request: int) -> None:
    """Attempts of a request that was answered elsewhere."""
    for k in range(len(w.places)):
        if w.places[k, request] != NO_ONE:
            call_off(w, e, w.places[k, request])


@borrowing
def _happen(w: World, e: Engines, lengths: Integers, instant_s: float, order: int, what: int) -> None:
    """What an event does that is no engine's own."""
    if order < 0:
        sweep(w, instant_s)
        return
    phase, rank = order // RANKS, order % RANKS
    if phase == TIMEOUT:
        time_out(w, what, rank, instant_s)
        call_off(w, e, what)
    elif phase == FAULT:
        _strike(w, e, lengths, rank, instant_s)
    else:
        request, number = rank // w.rules[0].attempts, rank % w.rules[0].attempts
        if what != HEDGE or hedges(w, request, number, instant_s):
            a = send(w, request, number, instant_s)
            if a != NO_ONE:
                admit(w, e, lengths, a, instant_s)


@borrowing
def _instant_s(w: World, e: Engines, r: int) -> float:
    """When an engine does what others can see: it rests, is in the middle of a run of passes, or hangs, at no time."""
    engine = e.engines[r]
    if w.replicas[r].is_hung:
        return np.inf
    if engine.ends_s == np.inf:
        return float(engine.since_s)
    if engine.stretch >= 0 and not w.replicas[r].is_over:
        return np.inf
    return float(engine.ends_s)


@borrowing
def _order(e: Engines, r: int) -> int:
    """Of what an engine does next, among all at that instant."""
    return (DISPATCH if e.engines[r].ends_s == np.inf else COMPLETION) * RANKS + r


@borrowing
def _earliest(w: World, e: Engines) -> int:
    """The engine that does something first, if any does."""
    best, best_s = NO_ONE, np.inf
    for r in range(len(e.engines)):
        instant_s = _instant_s(w, e, r)
        if instant_s < best_s or (best != NO_ONE and instant_s == best_s and _order(e, r) < _order(e, best)):
            best, best_s = r, instant_s
    return best


@borrowing
def _is_running(w: World, e: Engines, r: int) -> bool:
    """Whether an engine is in the middle of a run of passes."""
    return bool(e.engines[r].stretch >= 0 and not w.replicas[r].is_over and not w.replicas[r].is_hung)


@borrowing
def _first(w: World, e: Engines) -> int:
    """The engine whose pass ends first, or begins from rest, whoever sees it."""
    best = NO_ONE
    best_s, best_order = np.inf, 0
    for r in range(len(e.engines)):
        is_idle = e.engines[r].ends_s == np.inf
        instant_s = e.engines[r].since_s if is_idle else e.engines[r].ends_s
        if w.replicas[r].is_hung or instant_s == np.inf:
            continue
        order = _order(e, r)
        if instant_s < best_s or (instant_s == best_s and order < best_order):
            best, best_s, best_order = r, instant_s, order
    return best


@borrowing
def _compute(w: World, e: Engines, until_s: float) -> None:
    """Let engines go through runs of passes as far as an instant.

    Where clients hedge, a reply of one engine calls off an attempt at another, so that all go pass by pass.
    """
    engines = e.engines
    if w.rules[0].hedge_s < 0.0:
        for r in range(len(engines)):
            if _is_running(w, e, r) and engines[r].ends_s <= until_s:
                w.replicas[r].is_over = _run(e, r, until_s)
        return
    while True:
        r = _first(w, e)
        if r == NO_ONE or not _is_running(w, e, r) or engines[r].ends_s > until_s:
            return
        w.replicas[r].is_over = _run(e, r, engines[r].ends_s)


@borrowing
def _advance(w: World, e: Engines, lengths: Integers, until_s: float) -> int:  # noqa: C901  (one loop)
    """Let things happen until an instant, the end, or until memory might not be enough; why it stopped."""
    events, state, requests = w.events, w.state, w.requests
    while True:
        request = state[0].next
        instant_s, order, what, is_first = np.inf, 0, 0, request < len(requests)
        is_in_line = False  # of the timeouts
        if is_first:
            instant_s, order = requests[request].arrived_s, ARRIVAL * RANKS + request * w.rules[0].attempts
        if state[0].events > 0:
            top = events[0]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, is_first = top.instant_s, top.order, top.what, False
        if state[0].timeouts > 0:
            top = w.timeouts[state[0].first_timeout]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, is_first = top.instant_s, top.order, top.what, False
                is_in_line = True
        seen_s = (
            instant_s if order >= RANKS else np.nextafter(instant_s, -np.inf)
        )  # faults come before passes end
        _compute(w, e, min(seen_s, until_s))
        r = _earliest(w, e)
        if r != NO_ONE:
            here_s = _instant_s(w, e, r)
            if here_s < instant_s or (here_s == instant_s and _order(e, r) < order):
                if here_s > until_s:
                    return LATER
                if is_full(w, here_s, COMPLETION * RANKS):
                    return FULL
                if e.engines[r].ends_s == np.inf:
                    _begin(e, r, here_s)
                else:
                    _complete(w, e, r, here_s)
                continue
        if instant_s == np.inf and _first(w, e) == NO_ONE:
            return OVER
        if instant_s > until_s:
            return LATER
        if is_full(w, instant_s, order):
            return FULL
        if is_first:
            state[0].next += 1
        elif is_in_line:
            pop_timeout(w)
        else:
            pop(w)
        _happen(w, e, lengths, instant_s, order, what)


def run_engines(
    fleet: EngineFleet,
    tokens: TokenDraws,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    is_hopeless: Callable[[float, int], bool] | None = None,
) -> Outcomes:
    """Serve all requests, whose clients try again, while faults happen; as `reference.recovery.engines`.

    Args:
        tokens: lengths of the requests and the seed of the passes' noise; its routing is not used.
        draws: of the attempts; engines use no service draws.
        faults: sorted by instant.
        is_hopeless: as of `run`.

    Raises:
        DomainError: what the model does not have; see `check_engines`.
    """
    check_engines(fleet, tokens, draws, protection)
    check_faults(faults, fleet.replicas)
    rules = rules_for(fleet.routing, fleet.queue_limit, clients, protection)
    w = world_for(rules, fleet.replicas, draws, clients, faults)
    most = min(fleet.rules.sequences_max, max(1, clients.attempts * len(draws.arrived_s)))
    e = world_of(fleet.table, fleet.rules, fleet.replicas, most, tokens.noise_seed, ALWAYS)
    e = e._replace(rows=rows_for(len(w.attempts)))
    lengths = np.column_stack([tokens.input_tokens, tokens.output_tokens, tokens.cached_tokens]).astype(
        np.int64
    )
    schedule(w, faults, protection)
    until_s = math.inf if is_hopeless is None else ASKED_EVERY_S
    while (why := _advance(w, e, lengths, until_s)) != OVER:
        if why == FULL:
            w = with_more_room(w)
            if len(e.rows) < len(w.attempts):
                e = e._replace(rows=np.concatenate([e.rows, rows_for(len(e.rows))]))
        elif is_hopeless is not None and is_hopeless(until_s, _waiting(w, e)):
            return replace(outcomes_of(w), stopped_s=until_s)
        else:
            until_s += ASKED_EVERY_S
    return outcomes_of(w)


def _waiting(w: World, e: Engines) -> int:
    return int(w.replicas["outstanding"].sum() - e.engines["count"].sum())
