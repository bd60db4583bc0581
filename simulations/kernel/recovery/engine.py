"""Engines of language models in the recovery kernel: who comes, who is called off, what a fault does, and passes.

Passes lie in no heap: each engine goes through a run of passes as far as the next event of anybody else, since no
client sees these passes.
"""

from typing import NamedTuple

import numpy as np

from simulations.compiled import borrowing, inlined
from simulations.draws.records import Integers
from simulations.kernel.continuous import (
    DECODING,
    LLAMA_CPP,
    PARTS,
    PAST,
    PROMPT,
    READ,
    begin_pass,
    drop_tag,
    empty_slots,
    end_pass,
    found,
    idle,
    is_line_full,
    join,
    release,
    run_on,
)
from simulations.kernel.continuous import World as Passes
from simulations.kernel.recovery.arrivals import pick, refuse
from simulations.kernel.recovery.clients import forget, less_outstanding, lose, succeed
from simulations.kernel.recovery.loop import run_loop
from simulations.kernel.recovery.state import (
    COMPLETION,
    CRASH,
    DISPATCH,
    FREE,
    HANG,
    IN_ENGINE,
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
    World,
)
from simulations.kernel.state import Structs

# What is on record of the attempt at a request that was answered.
ANSWER = np.dtype(
    [("first_s", np.float64), ("finished_s", np.float64), ("preemptions", np.int64), ("replica", np.int64)]
)


class Engines(NamedTuple):
    """What engines of language models have beside the world.

    Attributes:
        passes: engines, and by place of an attempt the request that it is to its engine.
        lengths: of the requests: prompt, output and cached tokens, shape `(requests, 3)`.
        answers: of the requests, shape `(requests,)`.
    """

    passes: Passes
    lengths: Integers
    answers: Structs


# A pass that is computed and one composed ahead may hold tokens of a request that is called off.
_PASSES_TORN = 2


@borrowing
def is_ready(w: World, e: Passes, r: int) -> bool:
    """Whether an engine computes nothing, and could begin."""
    replica = w.replicas[r]
    is_stuck = not replica.is_up or replica.is_hung or replica.is_paused
    return bool(e.engines[r].ends_s == np.inf and not is_stuck)


@borrowing
def call(w: World, e: Passes, r: int, now_s: float) -> None:
    """An engine at rest looks at its line after all that comes at this instant."""
    if is_ready(w, e, r) and e.engines[r].head != NO_ONE:
        e.engines[r].since_s = now_s


@borrowing
def admit(w: World, s: Engines, a: int, now_s: float) -> None:
    """An attempt goes to the line of an engine, or fails at once."""
    e = s.passes
    r = pick(w, a, now_s)
    if r == NO_ONE:
        return
    if is_line_full(w.replicas[r].outstanding - e.engines[r].count, w.rules[0].limit):
        refuse(w, a, REJECTED, now_s)
        return
    w.replicas[r].outstanding += 1
    w.attempts[a].where = IN_ENGINE
    row, request = e.rows[a], w.attempts[a].request
    row.input, row.output, row.assumed = s.lengths[request, 0], s.lengths[request, 1], s.lengths[request, 2]
    row.computed = row.generated = row.due = row.held = row.preemptions = 0
    row.finished_s = 0.0
    join(e, r, a, now_s)
    if not is_ready(w, e, r):
        e.engines[r].since_s = np.inf


@borrowing
def retire(w: World, a: int) -> None:
    """An attempt leaves its engine; its place is not used again, since a pass may still hold tokens of it."""
    less_outstanding(w, a)
    forget(w, a)


@borrowing
def break_off(e: Passes, r: int) -> None:
    """Tell the requests of a run of passes what has become of them, while its last pass is computed."""
    rows, engines, running, parts, sizes = e.rows, e.engines, e.running, e.parts, e.sizes
    block, ahead = e.rules[3], e.rules[5]
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


@borrowing
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
    tag = found(e, r, a) if rows[a].preemptions > 0 else NO_ONE
    if tag != NO_ONE:
        drop_tag(e, r, tag)


@borrowing
def stop_running(e: Passes, r: int, place: int) -> None:
    """The attempt at a place among the running ones leaves its engine."""
    engines, running = e.engines, e.running
    a = running[r, place]
    if engines[r].stretch >= 0:
        break_off(e, r)
    for at in range(place, engines[r].count - 1):
        running[r, at] = running[r, at + 1]
    if e.rules[8] == LLAMA_CPP:
        idle(e, r, e.rows[a].slot)
    engines[r].count -= 1
    release(e, r, a, 0)


@borrowing
def call_off(w: World, s: Engines, a: int, now_s: float) -> None:
    """An attempt that is called off leaves its engine; a hung one does not listen."""
    if not w.attempts[a].is_called_off:
        return
    w.attempts[a].is_called_off = False
    e, r = s.passes, w.attempts[a].replica
    engines, parts, sizes = e.engines, e.parts, e.sizes
    if not w.replicas[r].is_up or w.replicas[r].is_hung:
        return
    place = 0
    while place < engines[r].count and e.running[r, place] != a:
        place += 1
    if place < engines[r].count:
        stop_running(e, r, place)
    else:
        unlink(e, r, a)
    for buffer in range(2):  # passes that hold tokens of it compute these for nothing
        for at in range(sizes[r, buffer, PARTS]):
            if parts[r, buffer, at].request == a:
                parts[r, buffer, at].brings = 0
                engines[r].torn = _PASSES_TORN
    w.state[0].dropped += 1
    retire(w, a)


@borrowing
def _call_off_others(w: World, s: Engines, request: int, now_s: float) -> None:
    """Attempts of a request that was answered elsewhere."""
    for k in range(len(w.places)):
        if w.places[k, request] != NO_ONE:
            call_off(w, s, w.places[k, request], now_s)


@borrowing
def reset(w: World, e: Passes, r: int, now_s: float) -> None:
    """All that an engine holds is lost: who runs, then who waits; its cache is empty."""
    rows, engines = e.rows, e.engines
    for at in range(engines[r].count):
        lose(w, e.running[r, at], now_s)
        forget(w, e.running[r, at])
    a = engines[r].head
    while a != NO_ONE:
        behind = rows[a].behind
        lose(w, a, now_s)
        forget(w, a)
        a = behind
    if engines[r].ends_s < np.inf or w.replicas[r].is_hung:
        engines[r].busy_s += now_s - engines[r].started_s
        engines[r].worked_s += now_s - engines[r].started_s
    engines[r].count = engines[r].tags = engines[r].knock = engines[r].thrown_out = engines[r].torn = 0
    engines[r].head = engines[r].tail = NO_ONE
    engines[r].free = engines[r].loose = e.rules[2]
    empty_slots(e, r)
    engines[r].stretch = -1
    engines[r].ends_s = np.inf
    engines[r].since_s = np.inf
    e.sizes[r, :, PARTS] = 0
    w.replicas[r].is_hung = False
    w.replicas[r].is_over = False


@borrowing
def vacate(w: World, s: Engines, r: int, now_s: float) -> None:
    """Route again, in order, the requests that wait at an engine; those that have begun are served to the end."""
    rows, engines = s.passes.rows, s.passes.engines
    a = engines[r].head
    while a != NO_ONE:
        behind = rows[a].behind
        if rows[a].preemptions == 0:
            unlink(s.passes, r, a)
            w.replicas[r].outstanding -= 1
            w.attempts[a].where = FREE
            admit(w, s, a, now_s)
        a = behind


@borrowing
def suffer(w: World, s: Engines, number: int, now_s: float) -> None:
    """What a fault does to an engine's passes and its line."""
    fault = w.faults[number]
    r, action, replica, engine = (
        fault.replica,
        fault.action,
        w.replicas[fault.replica],
        s.passes.engines[fault.replica],
    )
    if action == LEAVE:
        vacate(w, s, r, now_s)
    elif action in (CRASH, RESTART):
        reset(w, s.passes, r, now_s)
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


@borrowing
def _begin(e: Passes, r: int, now_s: float) -> None:
    """The next pass of an engine."""
    begin_pass(e, r, now_s)


@borrowing
def _run(e: Passes, r: int, until_s: float) -> bool:
    """A run of passes as far as an instant; whether it is over."""
    return run_on(e, r, until_s)


@borrowing
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
                answer, row = s.answers[attempts[a].request], rows[a]
                answer.first_s, answer.finished_s = row.first_s, now_s
                answer.preemptions, answer.replica = row.preemptions, r
                succeed(w, a, now_s)
                _call_off_others(w, s, attempts[a].request, now_s)
            else:
                state[0].for_nobody += 1
            retire(w, a)
    e.engines[r].torn = max(0, e.engines[r].torn - 1)
    _begin(e, r, now_s)


@inlined
def act(w: World, s: Engines, phase: int, r: int, now_s: float) -> None:
    """A pass ends, and the next one begins; or one begins from rest."""
    if phase == DISPATCH:
        _begin(s.passes, r, now_s)
    else:
        _complete(w, s, r, now_s)


@borrowing
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


@borrowing
def _order(e: Passes, r: int) -> int:
    """The order of what an engine does next, among all events of that instant."""
    return (DISPATCH if e.engines[r].ends_s == np.inf else COMPLETION) * RANKS + r


@borrowing
def _earliest(w: World, e: Passes) -> int:
    """The engine that does something first, if any does."""
    best, best_s = NO_ONE, np.inf
    for r in range(len(e.engines)):
        instant_s = _instant_s(w, e, r)
        if instant_s < best_s or (best != NO_ONE and instant_s == best_s and _order(e, r) < _order(e, best)):
            best, best_s = r, instant_s
    return best


@borrowing
def _is_running(w: World, e: Passes, r: int) -> bool:
    """Whether an engine is in the middle of a run of passes."""
    return bool(e.engines[r].stretch >= 0 and not w.replicas[r].is_over and not w.replicas[r].is_hung)


@borrowing
def _first(w: World, e: Passes) -> int:
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
def _compute(w: World, e: Passes, until_s: float) -> None:
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


@inlined
def _own(w: World, s: Engines, before_s: float) -> tuple[float, int]:
    """Go through runs of passes as far as an instant; when an engine does something first, and its order then."""
    e = s.passes
    _compute(w, e, before_s)
    r = _earliest(w, e)
    if r == NO_ONE:
        return np.inf, 0
    return _instant_s(w, e, r), _order(e, r)


@inlined
def _are_at_rest(w: World, s: Engines) -> bool:
    """Whether no engine computes anything that ends."""
    return _first(w, s.passes) == NO_ONE


@borrowing
def advance(w: World, s: Engines, until_s: float) -> int:
    """The loop of `loop.run_loop` for engines."""
    return int(run_loop(w, s, until_s, _own, _are_at_rest, act, admit, call_off, suffer))
