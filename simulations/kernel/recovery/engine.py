"""Engines of language models in the recovery kernel: who comes, who is called off, what a fault does, and passes.

Passes lie in no heap: each engine goes through a run of passes as far as the next event of anybody else, since no
client sees these passes.
"""

from typing import Any, NamedTuple

import numpy as np

from simulations.compiled import borrowing, callee, either, inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.reserves import RATIO_FIRST
from simulations.kernel.blocks import come, empty, forget_all, give_up, hits_of, release
from simulations.kernel.continuous import (
    begin_pass,
    empty_slots,
    end_pass,
    idle,
    is_line_full,
    join,
    run_on,
)
from simulations.kernel.engine_world import DECODING, LLAMA_CPP, PARTS, PAST, PROMPT, READ
from simulations.kernel.engine_world import World as Passes
from simulations.kernel.recovery.arrivals import refuse
from simulations.kernel.recovery.balancer import count, praise
from simulations.kernel.recovery.clients import forget, less_outstanding, lose, succeed
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.guides import (
    choose,
    end_way,
    is_router,
    leave_pool,
    next_tick_s,
    note_first,
    read_engines,
)
from simulations.kernel.recovery.loop import run_loop
from simulations.kernel.recovery.room import drop_from_room, keep
from simulations.kernel.recovery.state import (
    ARRIVAL,
    AWAY,
    COMPLETION,
    CRASH,
    DISPATCH,
    FREE,
    HANG,
    HIDE,
    IN_ENGINE,
    IN_ROOM,
    JOIN,
    LEAVE,
    LEAVING,
    NO_ONE,
    PAUSE,
    RANKS,
    REJECTED,
    RESTART,
    RESUME,
    SLOW,
    TURN,
    World,
)
from simulations.kernel.state import Structs
from simulations.kernel.steps import draft_for, events_of, read_accepted
from simulations.routing.conversations.seen import last_reading

# What is on record of the attempt at a request that was answered.
ANSWER = np.dtype(
    [
        ("first_s", np.float64),
        ("finished_s", np.float64),
        ("preemptions", np.int64),
        ("replica", np.int64),
        ("hits", np.int64),
        ("events", np.int64),
    ]
)
NEW_SESSION = -1.0  # in place of the time before a turn that is the first of another session


class Engines(NamedTuple):
    """What engines of language models have beside the world.

    Attributes:
        passes: engines, and by place of an attempt the request that it is to its engine.
        lengths: of the requests: prompt, output and cached tokens, and whether a session begins; shape
            `(requests, 4)`.
        answers: of the requests, shape `(requests,)`; who is on the way may have a first token.
        router: what a router of conversations believes, or empty where a policy picks.
        given: turns of sessions with what their blocks hold, shape `(requests,)`, or `(0,)` if each comes by itself.
        think_s, pace_s: as in `Turns`, by request and once more, `NEW_SESSION` where a session begins, or `(0,)`. [s]
    """

    passes: Passes
    lengths: Integers
    answers: Structs
    router: Any
    given: Structs
    think_s: Floats
    pace_s: Floats


# A pass that is computed and one composed ahead may hold tokens of a request that is called off.
_PASSES_TORN = 2


@callee
def is_ready(w: World, e: Passes, r: int) -> bool:
    """Whether an engine computes nothing, and could begin."""
    replica = w.replicas[r]
    is_stuck = not replica.is_up or replica.is_hung or replica.is_paused
    return bool(e.engines[r].ends_s == np.inf and not is_stuck)


@callee
def call(w: World, e: Passes, r: int, now_s: float) -> None:
    """An engine at rest looks at its line after all that comes at this instant."""
    if is_ready(w, e, r) and e.engines[r].head != NO_ONE:
        e.engines[r].since_s = now_s


@callee
def admit(w: World, s: Engines, a: int, now_s: float) -> None:
    """An attempt goes to the line of an engine, or fails at once."""
    e, request = s.passes, w.attempts[a].request
    r = choose(s.router, w, s, a, now_s)
    if r == NO_ONE:
        return
    waiting = w.replicas[r].outstanding - e.engines[r].count
    is_shed = s.lengths[request, 3] == 1 and is_line_full(waiting, w.rules[0].new_max)
    if is_shed or is_line_full(waiting, w.rules[0].limit):
        count(w, r, 0)
        refuse(w, a, REJECTED, now_s)
        end_way(s.router, s, request)
        return
    count(w, r, 1)
    e.engines[r].outstanding += 1
    w.attempts[a].where = IN_ENGINE
    row = e.rows[a]
    row.input, row.output, row.assumed = s.lengths[request, 0], s.lengths[request, 1], s.lengths[request, 2]
    row.computed = row.generated = row.due = row.held = row.preemptions = 0
    row.finished_s = 0.0
    come(e, a, s.given, request)
    draft_for(e, a, request)
    join(e, r, a, now_s)
    if not is_ready(w, e, r):
        e.engines[r].since_s = np.inf


@callee
def break_off(e: Passes, r: int) -> None:
    """Tell the requests of a run of passes what has become of them, while its last pass is computed."""
    rows, engines, running, parts, sizes = e.rows, e.engines, e.running, e.parts, e.sizes
    block, ahead = e.rules.block_tokens, e.rules.ahead
    done, members = engines[r].stretch, engines[r].count
    engines[r].stretch = -1
    for at in range(members):
        row = rows[running[r, at]]
        row.generated += done
        row.computed += done
        row.held = -(-row.computed // block)
        row.due = 1 + ahead
        if done > 0:
            row.token_s = engines[r].started_s
    for later in range(1 + ahead):
        buffer = engines[r].which if later == 0 else 1 - engines[r].which
        read = 0
        for at in range(members):
            computed = rows[running[r, at]].computed - ahead + later
            parts[r, buffer, at].request = running[r, at]
            parts[r, buffer, at].tokens = 1
            parts[r, buffer, at].before = computed - 1
            parts[r, buffer, at].brings = 1
            read += computed
        size = sizes[r, buffer]
        size[PARTS], size[PROMPT], size[PAST], size[DECODING], size[READ] = members, 0, 0, members, read


@callee
def unlink(e: Passes, r: int, a: int) -> None:
    """An attempt leaves the line of an engine."""
    rows, engines = e.rows, e.engines
    before, here = NO_ONE, engines[r].head
    while here != a:
        before, here = here, rows[here].behind
    if before == NO_ONE:
        engines[r].head = rows[a].behind
        engines[r].knock = 1  # who is first now may fit
    else:
        rows[before].behind = rows[a].behind
    if engines[r].tail == a:
        engines[r].tail = before
    give_up(e, r, a)


@callee
def stop_running(e: Passes, r: int, place: int) -> None:
    """The attempt at a place among the running ones leaves its engine."""
    engines, running = e.engines, e.running
    a = running[r, place]
    if engines[r].stretch >= 0:
        break_off(e, r)
    for at in range(place, engines[r].count - 1):
        running[r, at] = running[r, at + 1]
    if e.rules.policy == LLAMA_CPP:
        idle(e, r, e.rows[a].slot)
    engines[r].count -= 1
    engines[r].full = 0
    if engines[r].cut == a:
        engines[r].cut = NO_ONE
    release(e, r, a, 0)


@inlined
def _tear(e: Passes, r: int, a: int) -> None:
    """Passes that hold tokens of an attempt that is called off compute these for nothing."""
    engines, parts, sizes = e.engines, e.parts, e.sizes
    for buffer in range(2):
        for at in range(sizes[r, buffer, PARTS]):
            if parts[r, buffer, at].request == a:
                read_accepted(e, r, buffer, at)
                parts[r, buffer, at].brings = 0
                engines[r].torn = _PASSES_TORN


@callee
def call_off(w: World, s: Engines, a: int, now_s: float) -> None:
    """An attempt that is called off leaves its engine; a hung one does not listen."""
    if not w.attempts[a].is_alive and w.attempts[a].request != NO_ONE:
        end_way(s.router, s, w.attempts[a].request)
    if not w.attempts[a].is_called_off:
        return
    w.attempts[a].is_called_off = False
    if w.attempts[a].where == IN_ROOM:
        drop_from_room(w, a)
        return
    e, r = s.passes, w.attempts[a].replica
    engines = e.engines
    if not w.replicas[r].is_up or w.replicas[r].is_hung:
        return
    place = 0
    while place < engines[r].count and e.running[r, place] != a:
        place += 1
    if place < engines[r].count:
        stop_running(e, r, place)
    else:
        unlink(e, r, a)
    engines[r].outstanding -= 1
    _tear(e, r, a)
    w.state[0].dropped += 1
    less_outstanding(w, a)
    forget(w, a)  # another may not have its place, since a pass may still hold tokens of it


@callee
def _call_off_others(w: World, s: Engines, request: int, now_s: float) -> None:
    """Attempts of a request that was answered elsewhere."""
    for k in range(len(w.places)):
        if w.places[k, request] != NO_ONE:
            call_off(w, s, w.places[k, request], now_s)


@callee
def _lose_or_keep(w: World, s: Engines, a: int, now_s: float, returns: bool) -> None:  # noqa: FBT001
    """An attempt is lost, or returns to be routed."""
    request, is_alive = w.attempts[a].request, w.attempts[a].is_alive
    if returns:
        less_outstanding(w, a)
        keep(w, a)
    else:
        lose(w, a, now_s)
        forget(w, a)
    if is_alive:
        end_way(s.router, s, request)


@callee
def reset(w: World, s: Engines, r: int, now_s: float, returns: bool) -> None:  # noqa: FBT001
    """All that an engine holds is lost, or returns to be routed: who runs, then who waits; its cache is empty."""
    e = s.passes
    rows, engines = e.rows, e.engines
    for at in range(engines[r].count):
        _lose_or_keep(w, s, e.running[r, at], now_s, returns)
    a = engines[r].head
    while a != NO_ONE:
        behind = rows[a].behind
        _lose_or_keep(w, s, a, now_s, returns)
        a = behind
    if engines[r].ends_s < np.inf or w.replicas[r].is_hung:
        engines[r].busy_s += now_s - engines[r].started_s
        engines[r].worked_s += now_s - engines[r].started_s
    engines[r].count = engines[r].outstanding = engines[r].knock = engines[r].thrown_out = engines[r].torn = 0
    engines[r].head = engines[r].tail = engines[r].cut = NO_ONE
    engines[r].full = engines[r].looks = 0
    engines[r].ratio = RATIO_FIRST
    empty(e, r)
    if e.rules.policy == LLAMA_CPP:
        empty_slots(e, r)
    engines[r].stretch = -1
    engines[r].ends_s = np.inf
    engines[r].since_s = np.inf
    e.sizes[r, :, PARTS] = 0
    w.replicas[r].is_hung = False
    w.replicas[r].is_over = False


@callee
def vacate(w: World, s: Engines, r: int, now_s: float) -> None:
    """Route again, in order, the requests that wait at an engine; those that have begun are served to the end."""
    rows, engines = s.passes.rows, s.passes.engines
    a = engines[r].head
    while a != NO_ONE:
        behind = rows[a].behind
        if rows[a].preemptions == 0:
            unlink(s.passes, r, a)
            count(w, r, -1)
            engines[r].outstanding -= 1
            w.attempts[a].where = FREE
            admit(w, s, a, now_s)
        a = behind


@inlined
def _change_pool(w: World, s: Engines, r: int, action: int) -> None:
    """A replica is in the router's pool no more, or again, with an empty cache; what it still serves goes on."""
    replica = w.replicas[r]
    if action in (LEAVE, HIDE, AWAY):
        leave_pool(s.router, r)
    if action in (JOIN, RESTART) and replica.is_left:
        forget_all(s.passes, r)
    if action in (LEAVE, JOIN, RESTART):
        replica.is_left = action == LEAVE


@callee
def suffer(w: World, s: Engines, number: int, now_s: float) -> None:
    """What a fault does to an engine's passes and its line."""
    fault = w.faults[number]
    r, action, replica, engine = (
        fault.replica,
        fault.action,
        w.replicas[fault.replica],
        s.passes.engines[fault.replica],
    )
    if action in (CRASH, RESTART, AWAY):
        reset(w, s, r, now_s, action == AWAY)
    _change_pool(w, s, r, action)
    if action == LEAVE:
        vacate(w, s, r, now_s)
    elif action == HANG:
        replica.is_hung = replica.is_hung or engine.ends_s < np.inf
        engine.ends_s = np.inf
        engine.since_s = np.inf
    elif action == SLOW:
        engine.slow = fault.value
    elif action == PAUSE:
        engine.ends_s += fault.value
        engine.since_s = np.inf
    if action in (JOIN, RESTART, RESUME):
        call(w, s.passes, r, now_s)


# Each of these two is called from two places, and takes seconds to compile wherever it is a part of another.


@callee
def _begin(e: Passes, r: int, now_s: float) -> None:
    """The next pass of an engine."""
    begin_pass(e, r, now_s)


@callee
def _run(e: Passes, r: int, until_s: float) -> bool:
    """A run of passes as far as an instant; whether it is over."""
    return run_on(e, r, until_s)


@inlined
def _await_next(w: World, s: Engines, request: int, now_s: float) -> None:
    """The turn that follows another comes when its user has read the answer."""
    if len(s.think_s) > 0 and s.think_s[request + 1] != NEW_SESSION:
        paced_s = w.requests[request].arrived_s + s.pace_s[request + 1]
        read_s = now_s + s.think_s[request + 1]
        push(w, max(paced_s, read_s), ARRIVAL, (request + 1) * w.rules[0].attempts, TURN)


@callee
def _complete(w: World, s: Engines, r: int, now_s: float) -> None:
    """A pass has ended: who has all its tokens is answered, and the next one begins."""
    e = s.passes
    rows, parts, attempts, state = e.rows, e.parts, w.attempts, w.state
    is_last_of_run = e.engines[r].stretch >= 0
    if is_last_of_run:
        e.engines[r].stretch -= 1  # it ends like any other
        break_off(e, r)
    w.replicas[r].is_over = False
    end_pass(e, r, now_s, is_last_of_run)
    buffer = e.engines[r].which
    ended = e.sizes[r, buffer, PARTS]
    for at in range(ended):
        a = parts[r, buffer, at].request
        if parts[r, buffer, at].brings and rows[a].generated == 1 and attempts[a].is_alive:
            note_first(s.router, s, attempts[a].request, now_s)
        if parts[r, buffer, at].brings and rows[a].generated == rows[a].output:
            less_outstanding(w, a)
            attempts[a].where = LEAVING
    for at in range(ended):
        a = parts[r, buffer, at].request
        if parts[r, buffer, at].brings and attempts[a].where == LEAVING:
            state[0].served += 1
            if attempts[a].is_alive:
                praise(w, r)
                request = attempts[a].request
                end_way(s.router, s, request)
                answer, row = s.answers[request], rows[a]
                answer.first_s, answer.finished_s = row.first_s, now_s
                answer.preemptions, answer.replica, answer.hits = row.preemptions, r, hits_of(e, a)
                answer.events = events_of(e, a)
                succeed(w, a, now_s)
                _call_off_others(w, s, request, now_s)
                _await_next(w, s, request, now_s)
            else:
                state[0].for_nobody += 1
            forget(w, a)
    e.engines[r].torn = max(0, e.engines[r].torn - 1)
    _begin(e, r, now_s)


@inlined
def act(w: World, s: Engines, phase: int, r: int, now_s: float) -> None:
    """A pass ends, and the next one begins; or one begins from rest."""
    if phase == DISPATCH:
        _begin(s.passes, r, now_s)
    else:
        _complete(w, s, r, now_s)


@callee
def _instant_s(w: World, e: Passes, r: int) -> float:
    """The instant of an engine's next act that others see; infinite at rest, in a run of passes, or if it hangs. [s]"""
    engine = e.engines[r]
    if w.replicas[r].is_hung:
        return np.inf
    if engine.ends_s == np.inf:
        return float(engine.since_s)
    if engine.stretch >= 0 and not w.replicas[r].is_over:
        return np.inf
    return float(engine.ends_s)


@callee
def _order(e: Passes, r: int) -> int:
    """The order of what an engine does next, among all events of that instant."""
    return (DISPATCH if e.engines[r].ends_s == np.inf else COMPLETION) * RANKS + r


@callee
def _earliest(w: World, e: Passes) -> int:
    """The engine that does something first, if any does."""
    best, best_s = NO_ONE, np.inf
    for r in range(len(e.engines)):
        instant_s = _instant_s(w, e, r)
        if instant_s < best_s or (best != NO_ONE and instant_s == best_s and _order(e, r) < _order(e, best)):
            best, best_s = r, instant_s
    return best


@callee
def _is_running(w: World, e: Passes, r: int) -> bool:
    """Whether an engine is in the middle of a run of passes."""
    return bool(e.engines[r].stretch >= 0 and not w.replicas[r].is_over and not w.replicas[r].is_hung)


@callee
def _first(w: World, e: Passes) -> tuple[int, float]:
    """The engine whose pass ends first, or begins from rest, whoever sees it; the same instant of all others. [s]"""
    best = NO_ONE
    best_s, best_order, second_s = np.inf, 0, np.inf
    for r in range(len(e.engines)):
        is_idle = e.engines[r].ends_s == np.inf
        instant_s = e.engines[r].since_s if is_idle else e.engines[r].ends_s
        if w.replicas[r].is_hung or instant_s == np.inf:
            continue
        order = _order(e, r)
        if instant_s < best_s or (instant_s == best_s and order < best_order):
            best, best_s, best_order, second_s = r, instant_s, order, best_s
        else:
            second_s = min(second_s, instant_s)
    return best, second_s


@callee
def _compute(w: World, e: Passes, until_s: float) -> None:
    """Let engines go through runs of passes as far as an instant.

    Where clients hedge, a reply of one engine calls off an attempt at another, and where requests are turns, it lets
    another come: no engine goes beyond what others do first.
    """
    engines = e.engines
    if w.rules[0].hedge_s < 0.0 and len(e.turns) == 0:
        for r in range(len(engines)):
            if _is_running(w, e, r) and engines[r].ends_s <= until_s:
                w.replicas[r].is_over = _run(e, r, until_s)
        return
    while True:
        r, second_s = _first(w, e)
        if r == NO_ONE or not _is_running(w, e, r) or engines[r].ends_s > until_s:
            return
        before_s = max(engines[r].ends_s, np.nextafter(second_s, -np.inf))
        w.replicas[r].is_over = _run(e, r, min(until_s, before_s))


@inlined
def _go_on_unread(router: Any, w: World, e: Passes, before_s: float) -> None:
    """Let engines, of which a policy reads nothing, go through runs of passes as far as an instant."""
    _compute(w, e, before_s)


@callee
def _go_on_read(router: Any, w: World, e: Passes, before_s: float) -> None:
    """Let engines go through runs of passes as far as an instant, while a router reads them from time to time.

    What ends with a tick is read as ended, and what arrives or begins from rest with it as not there yet.
    """
    while router.tick_s > 0.0:
        tick_s = next_tick_s(router)
        _compute(w, e, min(tick_s, before_s))
        r = _earliest(w, e)
        instant_s = np.inf if r == NO_ONE else _instant_s(w, e, r)
        ends_first = r != NO_ONE and instant_s == tick_s and _order(e, r) < DISPATCH * RANKS
        if tick_s > before_s or instant_s < tick_s or ends_first:
            return
        if _first(w, e)[0] == NO_ONE:  # nothing changes any more
            tick_s = max(tick_s, last_reading(before_s, router.tick_s)) if before_s < np.inf else np.inf
        if tick_s == np.inf:
            return
        read_engines(router, w, e.engines, tick_s)
    _compute(w, e, before_s)


_go_on = either(_go_on_unread, _go_on_read, is_router)


@inlined
def _own(w: World, s: Engines, before_s: float) -> tuple[float, int]:
    """Go through runs of passes as far as an instant; when an engine does something first, and its order then."""
    e = s.passes
    _go_on(s.router, w, e, before_s)
    r = _earliest(w, e)
    if r == NO_ONE:
        return np.inf, 0
    return _instant_s(w, e, r), _order(e, r)


@inlined
def _are_at_rest(w: World, s: Engines) -> bool:
    """Whether no engine computes anything that ends."""
    return _first(w, s.passes)[0] == NO_ONE


@borrowing
def advance(w: World, s: Engines, until_s: float) -> int:
    """The loop of `loop.run_loop` for engines."""
    return int(run_loop(w, s, until_s, _own, _are_at_rest, act, admit, call_off, suffer))
