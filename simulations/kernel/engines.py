"""Engines: a run of a fleet of a language model, compiled; requests come in order, and engines go on meanwhile."""

from typing import Any

import numpy as np
from numba import types

from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from capacity.server.engine.router import RouterRules
from simulations.compiled import borrowing, either, inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import ALWAYS, Conversations, EngineRules, TokenDraws, TokenRecords
from simulations.kernel.blocks import holds
from simulations.kernel.continuous import advance, is_line_full, join
from simulations.kernel.engine_world import (
    NO_REPLICA,
    World,
    assumed_hits,
    records_of,
    rows_for,
    with_rows,
    world_of,
)
from simulations.kernel.queue import Queue, comes_before, put, take
from simulations.kernel.state import NO_REQUEST, come_back, next_return_s, returns_of, take_earliest
from simulations.routing.candidates import fewer_outstanding
from simulations.routing.conversations.beliefs import BY_SESSION_ALONE, beliefs_of
from simulations.routing.conversations.llm_d_scores import read_replicas
from simulations.routing.conversations.routers import choose_router, fleet_seen, lose
from simulations.routing.conversations.seen import last_reading
from simulations.routing.least_outstanding import longer_unchanged, owe_turn
from simulations.routing.policies import (
    LEAST_OUTSTANDING,
    LEAST_OUTSTANDING_HAPROXY,
    LEAST_OUTSTANDING_NGINX,
    POWER_OF_TWO,
    ROUTINGS,
    base_of,
    first_place,
    less_busy,
    other_place,
)

NO_POLICY = -1  # where a router of conversations picks
NEW_SESSION = -1.0  # in place of the time before a turn that is the first of another session


def serve_engines(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    routing: Routing,
    draws: TokenDraws,
    window_s: tuple[float, float] = ALWAYS,
    queue_limit: int | None = None,
    router: RouterRules | None = None,
) -> TokenRecords:
    """Serve all requests of `draws`; the same records as `run_engines`, bit for bit."""
    draws.require_served(rules)
    count, loop = len(draws.arrived_s), draws.loop
    policy = NO_POLICY if routing.needs_sessions else ROUTINGS.index(routing)
    rows = rows_for(count)
    rows["input"], rows["output"] = draws.input_tokens, draws.output_tokens
    rows["assumed"] = draws.cached_tokens
    sequences = min(rules.sequences_max, max(1, count))
    world = with_rows(_world(table, rules, replicas, sequences, draws, window_s), rows)
    arrived_s, limit = draws.arrived_s, -1 if queue_limit is None else queue_limit
    if draws.sessions is not None:
        fleet = fleet_seen(table, rules, replicas, draws, router)
        beliefs = beliefs_of(routing, fleet, draws.sessions.turns) if routing.needs_sessions else ()
        arrived_s = _serve_turns(world, beliefs, draws.sessions, draws.routing, policy, limit)
    elif loop is None:
        _serve(world, arrived_s, draws.routing, policy, limit)
    else:
        arrived_s, world.window_s[:] = np.zeros(count), np.inf
        returns = returns_of(loop.users, count, loop.spread_s)
        _serve_users(world, returns, loop.think_s, arrived_s, draws.routing, policy, limit, loop.counted)
    rows = world.rows
    if not ((rows["finished_s"] > 0.0) | (rows["replica"] == NO_REPLICA)).all():
        raise RuntimeError("requests were left in the line")
    hit_tokens = assumed_hits(rules, draws) if draws.sessions is None else world.turns["hits"]
    events = world.drafts.rows["events"] if world.drafts else rows["output"]
    return records_of(world, arrived_s, rows, hit_tokens, events)


def _world(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    sequences: int,
    draws: TokenDraws,
    window_s: tuple[float, float],
) -> World:
    """Engines at rest, whose caches requests share if they are turns of sessions."""
    turns = None if draws.sessions is None else draws.sessions.turns
    longest = int((draws.input_tokens + draws.output_tokens).max(initial=1))
    return world_of(table, rules, replicas, sequences, draws.noise_seed, window_s, turns, longest)


def _serve_turns(
    world: World, router: Any, sessions: Conversations, uniforms: Floats, routing: int, limit: int
) -> Floats:
    """Serve all turns that come; instants of their arrivals, NaN of those that do not. [s]

    Args:
        router: as of `_arrive`.
    """
    turns, rows = sessions.turns, world.rows
    arrived_s = np.full(len(rows), np.nan)
    think_s = np.append(np.where(turns.turn > 0, turns.think_s, NEW_SESSION), NEW_SESSION)
    to_come = Queue.of(turns.sessions)
    times = (sessions.starts_s, think_s, turns.pace_s, arrived_s)
    _serve_sessions(world, router, turns.first, *times, to_come, uniforms, routing, limit)
    never = np.isnan(arrived_s)
    rows["replica"][never], rows["first_s"][never], rows["finished_s"][never] = NO_REPLICA, np.nan, np.nan
    return arrived_s


@inlined
def _in_smooth_turn(engines: Any, first: int) -> int:
    """The engine whose smooth turn it is among those with as few requests as the first of them."""
    best, equal = first, 0
    for r in range(first, len(engines)):
        best = owe_turn(engines, first, best, r)
        equal += engines[r].outstanding == engines[first].outstanding
    engines[best].owed -= equal
    return best


@inlined
def _pick_by_policy(
    router: Any, world: World, request: int, turn: int, now_s: float, uniforms: Floats, routing: int
) -> int:
    """The replica that a policy picks which looks at no session."""
    engines = world.engines
    replicas = len(engines)
    r = first_place(routing, turn, uniforms, 2 * request, replicas)
    if base_of(routing) == LEAST_OUTSTANDING:
        for other in range(replicas):
            advance(world, other, now_s, False)  # noqa: FBT003  (compiled code takes positions)
        for other in range(1, replicas):
            if routing == LEAST_OUTSTANDING_HAPROXY:
                r = longer_unchanged(engines, r, other)
            else:
                r = fewer_outstanding(engines, r, other)
    if routing == LEAST_OUTSTANDING_NGINX:
        r = _in_smooth_turn(engines, r)
    if base_of(routing) == POWER_OF_TWO:
        second = other_place(routing, r, uniforms, 2 * request, replicas)
        advance(world, r, now_s, False)  # noqa: FBT003
        advance(world, second, now_s, False)  # noqa: FBT003
        r = less_busy(routing, engines, r, second)
    return int(r)


@inlined
def _read(router: Any, world: World, now_s: float) -> None:
    """Let a router read the engines, if it has not since its last tick; they have not changed since that."""
    if router.tick_s > 0.0:
        reading_s = last_reading(now_s, router.tick_s)
        if reading_s > router.read_s[0]:
            router.read_s[0] = reading_s
            read_replicas(router, world.engines)


@inlined
def _read_before(router: Any, world: World, instant_s: float, until_s: float) -> float:
    """Let a router read the engines as they are before something happens; how far they may go on then. [s]"""
    if router.tick_s > 0.0:
        _read(router, world, np.nextafter(instant_s, -np.inf))
        until_s = min(until_s, max(instant_s, router.read_s[0] + router.tick_s))
    return until_s


@inlined
def _read_nothing(router: Any, world: World, instant_s: float, until_s: float) -> float:
    """How far engines may go on, of which a policy reads nothing. [s]"""
    return until_s


@inlined
def _pick_by_router(
    router: Any, world: World, request: int, turn: int, now_s: float, uniforms: Floats, routing: int
) -> int:
    """The replica that a router of conversations picks, which sees all of them as they are now."""
    engines, rows = world.engines, world.rows
    _read(router, world, now_s)
    if router.rule not in BY_SESSION_ALONE:
        for other in range(len(engines)):
            advance(world, other, now_s, False)  # noqa: FBT003
    return int(choose_router(router, engines, rows, request, uniforms[2 * request], now_s, world, holds))


@inlined
def _lose_nothing(router: Any, request: int) -> None:
    """Do nothing, as a policy notes nothing."""


def _is_router(router: Any) -> bool:
    """Whether a router, by its type, is one of conversations."""
    return isinstance(router, types.NamedTuple)


_pick = either(_pick_by_policy, _pick_by_router, _is_router)
_limit_s = either(_read_nothing, _read_before, _is_router)
_lose = either(_lose_nothing, lose, _is_router)


@inlined
def _arrive(
    world: World,
    router: Any,
    request: int,
    turn: int,
    now_s: float,
    uniforms: Floats,
    routing: int,
    limit: int,
) -> None:
    """A request arrives at the replica that the router picks, which refuses it where too many wait.

    Args:
        router: what a router of conversations believes, or empty where a policy picks.
        turn: how many came before it.
    """
    rows, engines = world.rows, world.engines
    r = _pick(router, world, request, turn, now_s, uniforms, routing)
    advance(world, r, now_s, False)  # noqa: FBT003
    engines[r].changed_s, engines[r].changed = now_s, turn + 1
    if is_line_full(engines[r].outstanding - engines[r].count, limit):
        row = rows[request]
        row.replica, row.first_s, row.finished_s = NO_REPLICA, np.nan, np.nan
        _lose(router, request)
    else:
        rows[request].replica = r
        engines[r].outstanding += 1
        join(world, r, request, now_s)


@borrowing
def _serve(world: World, arrived_s: Floats, uniforms: Floats, routing: int, limit: int) -> None:
    """Let requests arrive, one after the other."""
    for request in range(len(arrived_s)):
        _arrive(world, (), request, request, arrived_s[request], uniforms, routing, limit)
    for r in range(len(world.engines)):
        advance(world, r, np.inf, False)  # noqa: FBT003


@inlined
def _event_s(world: World, r: int) -> float:
    """The instant at which something happens at a replica; a pass from rest begins just after it. [s]"""
    engine = world.engines[r]
    if engine.ends_s < np.inf:
        return float(engine.ends_s)
    return np.inf if engine.head == NO_REQUEST else float(np.nextafter(engine.since_s, np.inf))


@inlined
def _earliest(world: World, before_s: float) -> tuple[int, float]:
    """The replica at which something happens first, and how far it may go on before others might change that. [s]"""
    first, first_s, second_s = NO_REPLICA, np.inf, before_s
    for r in range(len(world.engines)):
        instant_s = _event_s(world, r)
        if instant_s < first_s and instant_s <= before_s:
            first, first_s, second_s = r, instant_s, min(first_s, second_s)
        else:
            second_s = min(second_s, instant_s)
    return first, second_s


@inlined
def _count_from(world: World, request: int, counted: tuple[int, int], now_s: float) -> None:
    """Time counts from the arrival of the first request that counts to that of the first that no longer does."""
    for end in range(2):
        if request == counted[end]:
            world.window_s[end] = now_s


@borrowing
def _serve_users(
    world: World,
    returns: Floats,
    think_s: Floats,
    arrived_s: Floats,
    uniforms: Floats,
    routing: int,
    limit: int,
    counted: tuple[int, int],
) -> None:
    """Let users send, wait and think until all requests have come, and serve those that are left.

    Args:
        returns: heap of the instants at which users send.
        arrived_s: is filled, by request.
        counted: as in `Loop`; until then nothing counts.
    """
    rows, engines = world.rows, world.engines
    for request in range(len(rows)):
        while True:
            now_s = next_return_s(returns)
            r, until_s = _earliest(world, now_s)
            if r == NO_REPLICA:
                break
            advance(world, r, until_s, True)  # noqa: FBT003
            while engines[r].gone != NO_REQUEST:
                done = engines[r].gone
                come_back(returns, rows[done].finished_s + think_s[done])
                engines[r].gone = rows[done].behind
        take_earliest(returns)
        arrived_s[request] = now_s
        _count_from(world, request, counted, now_s)
        _arrive(world, (), request, request, now_s, uniforms, routing, limit)
        if rows[request].replica == NO_REPLICA:
            come_back(returns, now_s + think_s[request])
    for r in range(len(engines)):
        advance(world, r, np.inf, False)  # noqa: FBT003


@inlined
def _await_next(
    world: World, done: int, think_s: Floats, pace_s: Floats, arrived_s: Floats, to_come: Queue
) -> None:
    """The turn that follows another comes when its user has read the answer."""
    if think_s[done + 1] != NEW_SESSION:
        paced_s, read_s = arrived_s[done] + pace_s[done + 1], world.rows[done].finished_s + think_s[done + 1]
        put(to_come, max(paced_s, read_s), done + 1)


@borrowing
def _serve_sessions(
    world: World,
    router: Any,
    first: Integers,
    starts_s: Floats,
    think_s: Floats,
    pace_s: Floats,
    arrived_s: Floats,
    to_come: Queue,
    uniforms: Floats,
    routing: int,
    limit: int,
) -> None:
    """Let sessions begin, and each turn follow the answer to the one before it, until all are served.

    Args:
        router: as of `_arrive`.
        think_s: by turn and once more, `NEW_SESSION` where a session begins.
        to_come: empty; of turns after the first whose instants are known.
        arrived_s: is filled, by turn.
    """
    engines, begun, came = world.engines, 0, 0
    while True:
        row, now_s = -1, np.inf
        if begun < len(starts_s):
            row, now_s = first[begun], starts_s[begun]
        if comes_before(to_come, now_s, row):
            row, now_s = to_come.rows[1], to_come.instants_s[1]
        r, until_s = _earliest(world, now_s)
        if r != NO_REPLICA:
            until_s = _limit_s(router, world, _event_s(world, r), until_s)
            advance(world, r, until_s, True)  # noqa: FBT003
            while engines[r].gone != NO_REQUEST:
                done = engines[r].gone
                engines[r].gone = world.rows[done].behind
                _await_next(world, done, think_s, pace_s, arrived_s, to_come)
            continue
        if row < 0:
            return
        if begun < len(starts_s) and row == first[begun]:
            begun += 1
        else:
            take(to_come)
        arrived_s[row] = now_s
        _arrive(world, router, row, came, now_s, uniforms, routing, limit)
        came += 1
