"""Guides of the recovery kernel: how an engine is chosen, by a policy or by a router of conversations.

Each comes as a pair, of which the type of the router settles the one that is compiled.
"""

from typing import Any

import numpy as np
from numba import types

from simulations.compiled import callee, either, inlined
from simulations.kernel.blocks import holds
from simulations.kernel.recovery.arrivals import find_alive, pick
from simulations.kernel.recovery.balancer import may_take
from simulations.kernel.recovery.clients import leave_memory
from simulations.kernel.recovery.state import NO_ONE, World
from simulations.kernel.state import Structs
from simulations.routing.conversations.llm_d_scores import read_replicas
from simulations.routing.conversations.routers import choose_router, leave, lose


def is_router(router: Any) -> bool:
    """Whether a router, by its type, is one of conversations."""
    return isinstance(router, types.NamedTuple)


@inlined
def _choose_by_policy(router: Any, w: World, s: Any, a: int, now_s: float) -> int:
    """The engine that a policy picks."""
    return pick(w, a, now_s)


@callee
def _look_around(router: Any, w: World) -> bool:
    """Let a router know which replicas may be chosen; whether any may."""
    is_any = False
    for r in range(len(w.replicas)):
        may = may_take(w, r, 0, False)  # noqa: FBT003  (compiled code takes positions)
        router.replicas[r].here = may
        is_any = is_any or may
    return is_any


@callee
def _choose_by_router(router: Any, w: World, s: Any, a: int, now_s: float) -> int:
    """The engine that a router of conversations picks, who sends nothing again that no client waits for."""
    request, number, r = w.attempts[a].request, w.attempts[a].number, NO_ONE
    if not w.attempts[a].is_alive:
        w.state[0].dropped += 1
        leave_memory(w, a)
        return NO_ONE
    if _look_around(router, w):
        uniform = w.routing[number, request, 0]
        r = choose_router(router, w.replicas, s.answers, request, uniform, now_s, s.passes, holds)
    alive = find_alive(w, a, r, now_s)
    if alive == NO_ONE:
        _end_way(router, s, request)
    return int(alive)


@inlined
def _end_no_way(router: Any, s: Any, request: int) -> None:
    """Do nothing, as a policy remembers nothing."""


@callee
def _end_way(router: Any, s: Any, request: int) -> None:
    """No attempt at a request is under way any more."""
    lose(router, request)
    s.answers[request].first_s = np.nan


@inlined
def _note_nothing(router: Any, s: Any, request: int, now_s: float) -> None:
    """Do nothing, as a policy remembers nothing."""


@inlined
def _note_first(router: Any, s: Any, request: int, now_s: float) -> None:
    """A request has its first token, which its router finds out when it chooses next."""
    s.answers[request].first_s = now_s


@inlined
def _leave_nothing(router: Any, r: int) -> None:
    """Do nothing, as a policy remembers nothing."""


choose = either(_choose_by_policy, _choose_by_router, is_router)
end_way = either(_end_no_way, _end_way, is_router)
note_first = either(_note_nothing, _note_first, is_router)
leave_pool = either(_leave_nothing, leave, is_router)


@inlined
def next_tick_s(router: Any) -> float:
    """The instant at which a router reads the engines next. [s]"""
    if router.read_s[0] < 0.0:
        return 0.0
    return float((np.rint(router.read_s[0] / router.tick_s) + 1.0) * router.tick_s)


@callee
def read_engines(router: Any, w: World, engines: Structs, tick_s: float) -> None:
    """A router reads the engines."""
    _look_around(router, w)
    router.read_s[0] = tick_s
    read_replicas(router, engines)
