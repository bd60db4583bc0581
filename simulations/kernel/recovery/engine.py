"""Engines of language models in the recovery kernel: who comes, who is called off, and what a crash loses."""

import numpy as np

from simulations.compiled import borrowing
from simulations.draws.records import Integers
from simulations.kernel.continuous import (
    DECODING,
    PARTS,
    PAST,
    PROMPT,
    READ,
    drop_tag,
    found,
    join,
    release,
)
from simulations.kernel.continuous import World as Engines
from simulations.kernel.recovery.arrivals import pick, refuse
from simulations.kernel.recovery.clients import fail
from simulations.kernel.recovery.state import (
    CALLED_OFF,
    CRASHED,
    FREE,
    IN_ENGINE,
    NO_ONE,
    REJECTED,
    World,
)

# A pass that is computed and one composed ahead may hold tokens of a request that is called off.
_PASSES_TORN = 2


@borrowing
def is_ready(w: World, e: Engines, r: int) -> bool:
    """Whether an engine computes nothing, and could begin."""
    replica = w.replicas[r]
    is_stuck = replica.is_halted or replica.is_hung or replica.is_paused
    return bool(e.engines[r].ends_s == np.inf and not is_stuck)


@borrowing
def call(w: World, e: Engines, r: int, now_s: float) -> None:
    """An engine at rest looks at its line after all that comes at this instant."""
    if is_ready(w, e, r) and e.engines[r].head != NO_ONE:
        e.engines[r].since_s = now_s


@borrowing
def admit(w: World, e: Engines, lengths: Integers, a: int, now_s: float) -> None:
    """An attempt goes to the line of an engine, or fails at once."""
    r = pick(w, a, now_s)
    if r == NO_ONE:
        return
    limit = w.rules[0].limit
    if limit >= 0 and w.replicas[r].outstanding - e.engines[r].count >= limit:
        refuse(w, a, REJECTED, now_s)
        return
    w.replicas[r].outstanding += 1
    w.attempts[a].where = IN_ENGINE
    row, request = e.rows[a], w.attempts[a].request
    row.input, row.output, row.assumed = lengths[request, 0], lengths[request, 1], lengths[request, 2]
    row.computed = row.generated = row.due = row.held = row.preemptions = 0
    row.finished_s = 0.0
    join(e, r, a, now_s)
    if not is_ready(w, e, r):
        e.engines[r].since_s = np.inf


@borrowing
def retire(w: World, a: int) -> None:
    """An attempt leaves its engine; its place is not used again, since a pass may still hold tokens of it."""
    attempts = w.attempts
    if len(w.places) > 0:
        w.places[attempts[a].number, attempts[a].request] = NO_ONE
    w.replicas[attempts[a].replica].outstanding -= 1
    attempts[a].request = NO_ONE
    attempts[a].is_alive = False
    attempts[a].where = FREE


@borrowing
def break_off(e: Engines, r: int) -> None:
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
def unlink(e: Engines, r: int, a: int) -> None:
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
def stop_running(e: Engines, r: int, place: int) -> None:
    """The attempt at a place among the running ones leaves its engine."""
    engines, running = e.engines, e.running
    a = running[r, place]
    if engines[r].stretch >= 0:
        break_off(e, r)
    for at in range(place, engines[r].count - 1):
        running[r, at] = running[r, at + 1]
    engines[r].count -= 1
    release(e, r, a, 0)


@borrowing
def call_off(w: World, e: Engines, a: int) -> None:
    """An engine that was told so stops an attempt that no client waits for; a hung one does not listen."""
    if w.attempts[a].where != CALLED_OFF:
        return
    r = w.attempts[a].replica
    engines, parts, sizes = e.engines, e.parts, e.sizes
    if w.replicas[r].is_halted or w.replicas[r].is_hung:
        w.attempts[a].where = IN_ENGINE
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
def lose(w: World, a: int, now_s: float) -> None:
    """An attempt dies with its engine."""
    is_alive = w.attempts[a].is_alive
    w.state[0].crashed += 1
    if is_alive:
        fail(w, a, CRASHED, now_s)
    retire(w, a)


@borrowing
def reset(w: World, e: Engines, r: int, now_s: float) -> None:
    """All that an engine holds is lost: who runs, then who waits; its cache is empty."""
    rows, engines = e.rows, e.engines
    for at in range(engines[r].count):
        lose(w, e.running[r, at], now_s)
    a = engines[r].head
    while a != NO_ONE:
        behind = rows[a].behind
        lose(w, a, now_s)
        a = behind
    engines[r].count = engines[r].tags = engines[r].knock = engines[r].thrown_out = engines[r].torn = 0
    engines[r].head = engines[r].tail = NO_ONE
    engines[r].free = engines[r].loose = e.rules[2]
    engines[r].stretch = -1
    engines[r].ends_s = np.inf
    engines[r].since_s = np.inf
    e.sizes[r, :, PARTS] = 0
    w.replicas[r].is_hung = False
    w.replicas[r].is_over = False


@borrowing
def vacate(w: World, e: Engines, lengths: Integers, r: int, now_s: float) -> None:
    """Who waits at an engine and has not begun is routed again, in order."""
    rows, engines = e.rows, e.engines
    a = engines[r].head
    while a != NO_ONE:
        behind = rows[a].behind
        if rows[a].preemptions == 0:
            unlink(e, r, a)
            w.replicas[r].outstanding -= 1
            w.attempts[a].where = FREE
            admit(w, e, lengths, a, now_s)
        a = behind
