"""World of the recovery kernel: clients, faults and replicas at rest, more memory for them, and what they came to."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.question.plan import Routing
from capacity.recovery.faults import Fault
from capacity.recovery.protection import EJECTION_SWEEP_S, Ejecting, Protection
from capacity.traffic.clients import Clients
from simulations.draws.attempts import AttemptDraws, Outcomes
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.loop import is_full
from simulations.kernel.recovery.state import (
    ABANDONED,
    ATTEMPT,
    BUDGETS,
    EJECTIONS,
    EVENT,
    FAILURES,
    FAULT,
    FREE,
    NO_ONE,
    REPLICA,
    REQUEST,
    ROOM,
    RULES,
    SHEDDINGS,
    STATE,
    STRIKE,
    SWEEP,
    World,
)
from simulations.kernel.state import Structs
from simulations.routing.policies import ROUTINGS


def world_for(
    rules: Structs, replicas: int, draws: AttemptDraws, clients: Clients, faults: Sequence[Fault]
) -> World:
    """Clients, faults and idle replicas, before anything has happened."""
    count = len(draws.arrived_s)
    requests = np.zeros(count, dtype=REQUEST)
    requests["scale"] = 1.0 if draws.scale is None else draws.scale
    requests["arrived_s"] = outside_s = draws.outside_s
    requests["answered_s"] = requests["ended_s"] = requests["started_s"] = np.nan
    state = np.zeros(1, dtype=STATE)
    state["tokens"], state["free"], state["moves"] = clients.budget.tokens, replicas, 1
    state["room_head"] = state["room_tail"] = NO_ONE
    state["slow_until_s"] = -np.inf
    hedges = clients.hedge_s is not None
    return World(
        rules=rules,
        state=state,
        replicas=_replicas(replicas),
        attempts=_room_for(0, ROOM),
        events=np.zeros(2 * ROOM + len(faults), dtype=EVENT),
        timeouts=np.zeros(ROOM, dtype=EVENT),
        faults=_strikes(faults),
        requests=requests,
        places=np.full((clients.attempts, count) if hedges else (0, 0), NO_ONE, dtype=np.int64),
        sent=np.zeros(int(np.nanmax(outside_s, initial=0.0)) + 1, dtype=np.int64),
        routing=draws.routing,
        backoff=draws.backoff,
    )


def schedule(w: World, faults: Sequence[Fault], protection: Protection) -> None:
    """Have all faults happen, and the balancer look after those that it ejects."""
    for number, fault in enumerate(faults):
        if fault.instant_s < math.inf:
            push(w, fault.instant_s, FAULT, number, 0)
    if protection.ejection is Ejecting.ENVOY:
        push(w, EJECTION_SWEEP_S, FAULT, -1, SWEEP)


def with_faults(w: World, more: Sequence[Fault]) -> World:
    """The same with more faults to come, at finite instants."""
    if not more:
        return w
    first = len(w.faults)
    w = w._replace(faults=np.concatenate([w.faults, _strikes(more)]))
    for number, fault in enumerate(more, start=first):
        if is_full(w, 0.0, 0):
            w = with_more_room(w)
        push(w, fault.instant_s, FAULT, number, 0)
    return w


def _strikes(faults: Sequence[Fault]) -> Structs:
    """Faults in numbers, shape `(faults,)`."""
    return np.array([(fault.replica, int(fault.action), fault.value) for fault in faults], dtype=STRIKE)


def _room_for(first: int, count: int) -> Structs:
    """Memory for some attempts, from place `first` on, all of it spare."""
    attempts = np.zeros(count, dtype=ATTEMPT)
    attempts["spare"] = np.arange(first, first + count)
    return attempts


def rules_for(routing: Routing, queue_limit: int | None, clients: Clients, protection: Protection) -> Structs:
    """Settings of the router, the clients and the protection in numbers, shape `(1,)`."""
    rules, budget = np.zeros(1, dtype=RULES), clients.budget
    target_s = min(protection.codel_target_s, protection.codel_interval_s)
    if clients.backoff is not None:
        for retry in range(1, clients.attempts):
            rules["backoff_s"][0, retry] = clients.backoff.longest_s(retry)
    values: dict[str, float | bool] = {
        "routing": NO_ONE if routing.needs_sessions else ROUTINGS.index(routing),
        "limit": -1 if queue_limit is None else min(queue_limit, 2**53),
        "new_max": -1 if protection.limits_new is None else protection.limits_new,
        "timeout_s": math.inf if clients.timeout_s is None else clients.timeout_s,
        "deadline_s": math.inf if clients.deadline_s is None else clients.deadline_s,
        "attempts": clients.attempts,
        "hedge_s": -1.0 if clients.hedge_s is None else clients.hedge_s,
        "retried": sum(1 << bit for bit, kind in enumerate(FAILURES) if kind in clients.retried),
        "budget": BUDGETS.index(budget.kind),
        "ratio": budget.ratio,
        "cost": budget.cost,
        "tokens_max": budget.tokens,
        "tokens_per_s": budget.tokens_per_s,
        "at_least": budget.at_least,
        "shedding": SHEDDINGS.index(protection.shedding),
        "margin_s": protection.late_margin_s,
        "target_s": target_s,
        "interval_s": protection.codel_interval_s,
        "abandoned": ABANDONED.index(protection.abandoned),
        "ejection": EJECTIONS.index(protection.ejection),
        "slow_start_s": protection.slow_start_s,
        "has_backoff": clients.backoff is not None,
    }
    for name, value in values.items():
        rules[name] = value
    return rules


def _replicas(count: int) -> Structs:
    """Replicas at rest, all of them up."""
    replicas = np.zeros(count, dtype=REPLICA)
    replicas["is_up"] = replicas["is_visible"] = True
    replicas["slow"], replicas["finish_s"], replicas["head"] = 1.0, np.inf, NO_ONE
    replicas["back_s"] = -np.inf
    return replicas


def with_more_room(w: World) -> World:
    """The same with twice the memory for attempts and events, or else for the seconds of the run."""
    if not is_full(w, 0.0, 0):
        return w._replace(sent=np.concatenate([w.sent, np.zeros(len(w.sent), dtype=np.int64)]))
    room, attempts = len(w.attempts), _longer(w.attempts, 2 * len(w.attempts))
    attempts["spare"][room:] = np.arange(room, 2 * room)
    timeouts = w.timeouts
    if 2 * w.state["timeouts"][0] > len(timeouts):
        timeouts = _longer(np.roll(timeouts, -w.state["first_timeout"][0]), 2 * len(timeouts))
        w.state["first_timeout"] = 0
    return w._replace(
        attempts=attempts,
        events=_longer(w.events[: w.state["events"][0]], 2 * len(w.events)),
        timeouts=timeouts,
    )


def with_more_requests(w: World, fresh: World) -> World:
    """The same with all requests of a world that has not begun, of which it has the first ones."""
    _copy(w.requests, fresh.requests)
    fresh.places[:, : w.places.shape[1]] = w.places
    return w._replace(
        requests=fresh.requests,
        places=fresh.places,
        routing=fresh.routing,
        backoff=fresh.backoff,
    )


def _longer(structs: Structs, count: int) -> Structs:
    """The same with zeros behind."""
    longer = np.zeros(count, dtype=structs.dtype)
    _copy(structs, longer)
    return longer


def _copy(structs: Structs, to: Structs) -> None:
    """Copy into the beginning of another; byte by byte, as numpy would look at each field."""
    to.view(np.uint8)[: structs.nbytes] = structs.view(np.uint8)


def outcomes_of(w: World) -> Outcomes:
    """The outcomes of all requests so far; attempts that are held but that no client waits for are dropped."""
    state, requests = w.state[0], w.requests
    left = (w.attempts["where"] != FREE) & ~w.attempts["is_alive"]
    return Outcomes(
        arrived_s=requests["arrived_s"].copy(),
        answered_s=requests["answered_s"].copy(),
        ended_s=np.where(np.isnan(requests["ended_s"]), np.inf, requests["ended_s"]),
        attempts=requests["sent"].copy(),
        sent=np.trim_zeros(w.sent, "b"),
        served=int(state["served"]),
        for_nobody=int(state["for_nobody"]),
        rejected=int(state["rejected"]),
        shed=int(state["shed"]),
        crashed=int(state["crashed"]),
        dropped=int(state["dropped"]) + int(left.sum()),
        timed_out=int(state["timed_out"]),
        started_s=requests["started_s"].copy(),
        batch_size=requests["size"].copy(),
        busy_s=requests["busy_s"].copy(),
        batches=requests["batches"].copy(),
    )
