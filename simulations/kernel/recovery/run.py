"""Kernel of recovery: clients that try again, faults and shedding, as compiled code.

The same draws give the outcomes of `reference.recovery`, bit for bit. Events lie in one heap, ordered by
instant, phase and rank; memory grows between two events, when there may not be enough for the next.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from capacity.errors import DomainError
from capacity.question.plan import Batching, Plan, Routing
from capacity.recovery.clients import Clients
from capacity.recovery.faults import ColdCache, Fault
from capacity.recovery.protection import (
    EJECTION_SWEEP_S,
    Protection,
)
from simulations.compiled import borrowing
from simulations.draws.attempts import AttemptDraws, Outcomes
from simulations.draws.records import Floats
from simulations.draws.service import FIXED, KNOTS, SCALED, ServiceTable, ServiceTimes
from simulations.draws.watching import Sight, Unwatched, Watcher
from simulations.kernel.recovery.arrivals import arrive, hedges
from simulations.kernel.recovery.balancer import sweep
from simulations.kernel.recovery.clients import time_out
from simulations.kernel.recovery.events import pop, pop_timeout, push
from simulations.kernel.recovery.faults import strike
from simulations.kernel.recovery.queue import look
from simulations.kernel.recovery.replica import complete, dispatch
from simulations.kernel.recovery.state import (
    ABANDONED,
    ARRIVAL,
    ASKED_EVERY_S,
    ATTEMPT,
    BUDGETS,
    COMPLETION,
    DISPATCH,
    EVENT,
    FAILURES,
    FAULT,
    FREE,
    FULL,
    HEDGE,
    LATER,
    NO_ONE,
    OVER,
    QUEUE,
    RANKS,
    REPLICA,
    REQUEST,
    ROOM,
    RULES,
    SHEDDINGS,
    STATE,
    STRIKE,
    SWEEP,
    TIMEOUT,
    TIMER,
    World,
)
from simulations.kernel.state import (
    ROUTINGS,
    Structs,
)


@borrowing
def _happen(w: World, instant_s: float, order: int, what: int) -> None:  # noqa: C901  (one branch a phase)
    """What an event does."""
    if order < 0:
        sweep(w, instant_s)
        return
    phase, rank = order // RANKS, order % RANKS
    if phase == COMPLETION:
        if w.replicas[rank].size > 0 and w.replicas[rank].finish_s == instant_s:  # else it was moved
            complete(w, rank, instant_s)
    elif phase == TIMEOUT:
        time_out(w, what, rank, instant_s)
    elif phase == DISPATCH:
        dispatch(w, rank, instant_s)
    elif phase == TIMER:
        look(w, rank, instant_s)
    elif phase == FAULT:
        strike(w, rank, instant_s)
    else:
        request, number = rank // w.rules[0].attempts, rank % w.rules[0].attempts
        if what != HEDGE or hedges(w, request, number, instant_s):
            arrive(w, request, number, instant_s)


@borrowing
def is_full(w: World, instant_s: float, order: int) -> bool:
    """Whether memory might not be enough for an event and all that follows from it."""
    used = w.state[0].used
    if w.state[0].events + used + 16 > len(w.events) or used + 2 > len(w.attempts):
        return True
    if w.state[0].timeouts == len(w.timeouts):
        return True
    return bool(order // RANKS == ARRIVAL and instant_s >= len(w.sent))


@borrowing
def _advance(w: World, until_s: float) -> int:  # noqa: C901  (one loop)
    """Let things happen until an instant, the end, or until memory might not be enough; why it stopped."""
    events, state, requests = w.events, w.state, w.requests
    while True:
        request = state[0].next
        instant_s, order, what, is_first = np.inf, 0, 0, request < len(requests)
        is_in_line = False  # of the timeouts
        if is_first:
            instant_s, order = requests[request].arrived_s, ARRIVAL * RANKS + request * w.rules[0].attempts
        elif state[0].events + state[0].timeouts == 0:
            return OVER
        if state[0].events > 0:
            top = events[0]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, is_first = top.instant_s, top.order, top.what, False
        if state[0].timeouts > 0:
            top = w.timeouts[state[0].first_timeout]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, is_first = top.instant_s, top.order, top.what, False
                is_in_line = True
        if instant_s > until_s:
            return LATER
        if is_full(w, instant_s, order):
            return FULL
        if is_first:
            state[0].next += 1
            arrive(w, request, 0, instant_s)
        elif is_in_line:
            pop_timeout(w)
            time_out(w, what, order % RANKS, instant_s)
        else:
            pop(w)
            _happen(w, instant_s, order, what)


def run(
    plan: Plan,
    service_times: ServiceTimes,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    cold: ColdCache | None = None,
    is_hopeless: Callable[[float, int], bool] | None = None,
    rest: Callable[[], AttemptDraws] | None = None,
    watcher: Watcher | None = None,
) -> Outcomes:
    """Serve all requests of `draws`, whose clients try again, while faults happen; as `reference.recovery.run`.

    Args:
        faults: sorted by instant.
        cold: batches of a replica that has come back; None: like any other.
        is_hopeless: asked every some seconds, with the instant and how many attempts wait, whether to stop;
            requests without a reply by then have failed.
        rest: all draws, where `draws` are only those of the first requests; asked when the run goes on beyond them.
        watcher: looks from time to time; requests without a reply when it ends the run have failed.

    Raises:
        DomainError: what the model does not have: another batching rule than Triton's, too few draws, faults
            out of order or of no replica.
    """
    check(plan, draws, clients, protection, faults)
    w = _world(plan, service_times, draws, clients, protection, faults, cold)
    schedule(w, faults, protection)
    watcher = watcher or Unwatched()
    asked_s = math.inf if is_hopeless is None else ASKED_EVERY_S
    known_s = math.inf if rest is None else math.nextafter(draws.arrived_s[-1], -math.inf)
    while (why := _advance(w, min(asked_s, known_s, watcher.next_s))) != OVER or watcher.next_s < math.inf:
        if why == FULL:
            w = with_more_room(w)
        elif rest is not None and known_s <= min(asked_s, watcher.next_s):
            w = _with_more_requests(w, _world(plan, service_times, rest(), clients, protection, faults, cold))
            known_s = math.inf
        elif watcher.next_s <= asked_s:
            now_s = watcher.next_s
            more = watcher.look(_sight(w, now_s))
            if more is None:
                return replace(outcomes_of(w), stopped_s=now_s)
            w = _with_faults(w, more)
        elif is_hopeless is not None and is_hopeless(asked_s, int(w.queues["waiting"].sum())):
            return replace(outcomes_of(w), stopped_s=asked_s)
        else:
            asked_s += ASKED_EVERY_S
    return outcomes_of(w)


def schedule(w: World, faults: Sequence[Fault], protection: Protection) -> None:
    """Have all faults happen, and the balancer look after those that it ejects."""
    for number, fault in enumerate(faults):
        if fault.instant_s < math.inf:
            push(w, fault.instant_s, FAULT, number, 0)
    if protection.ejects:
        push(w, EJECTION_SWEEP_S, FAULT, -1, SWEEP)


def _sight(w: World, now_s: float) -> Sight:
    """The fleet as its watcher sees it."""
    replicas = w.replicas
    so_far_s = np.where(replicas["size"] > 0, now_s - replicas["began_s"], 0.0)
    return Sight(now_s, w.queues["waiting"].copy(), replicas["size"].copy(), replicas["busy_s"] + so_far_s)


def _with_faults(w: World, more: Sequence[Fault]) -> World:
    """The same with more faults to come."""
    if not more:
        return w
    check_faults(more, len(w.replicas))
    first = len(w.faults)
    w = w._replace(faults=np.concatenate([w.faults, _strikes(more)]))
    for number, fault in enumerate(more, start=first):
        if is_full(w, 0.0, 0):
            w = with_more_room(w)
        push(w, fault.instant_s, FAULT, number, 0)
    return w


def check(
    plan: Plan, draws: AttemptDraws, clients: Clients, protection: Protection, faults: Sequence[Fault]
) -> None:
    """Raise a DomainError for what the model does not have; see `run`."""
    if plan.batching is not Batching.TRITON or plan.preferred_sizes:
        raise DomainError(
            f"trouble is simulated with {Batching.TRITON} batching without preferred sizes, not with {plan.batching}; "
            "plan with that to see what a fleet does in trouble"
        )
    if len(draws.service) < clients.attempts:
        raise DomainError(f"{clients.attempts} attempts need as many rows of draws, got {len(draws.service)}")
    check_faults(faults, plan.replicas)


def check_faults(faults: Sequence[Fault], replicas: int) -> None:
    """Raise a DomainError for faults out of order, or of no replica."""
    if any(later.instant_s < fault.instant_s for fault, later in pairwise(faults)):
        raise DomainError("faults must be sorted by instant")
    if any(not 0 <= fault.replica < replicas for fault in faults):
        raise DomainError(f"faults must name one of {replicas} replicas")


def _world(
    plan: Plan,
    service_times: ServiceTimes,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    cold: ColdCache | None,
) -> World:
    """A run that has not begun."""
    count, tries = len(draws.arrived_s), clients.attempts
    table = service_times.table(plan.batch_size_max).require(plan.batch_size_max, is_closed=False)
    service = draws.service[:tries]
    if table.kind == SCALED and table.draw is not None:
        service = table.draw(service)
    rules = rules_for(plan.routing, plan.queue_limit, clients, protection)
    rules["size_max"], rules["wait_s"], rules["wake_s"] = (
        plan.batch_size_max,
        plan.batch_wait_max_s,
        table.wake_s,
    )
    rules["law"], rules["sizes"], rules["knots"] = table.kind, len(_by_size(table)), len(table.probabilities)
    if cold is not None:
        rules["cold_batches"], rules["cold_factor"] = cold.batches, cold.factor
    empty = world_for(rules, plan.replicas, draws, clients, faults)
    return empty._replace(
        queues=_queues(1 if plan.routing is Routing.SHARED_QUEUE else plan.replicas),
        service=np.ascontiguousarray(service) if table.kind != FIXED else np.zeros((tries, count)),
        law_places=np.concatenate([table.below, table.first]),
        law_values=np.concatenate([_by_size(table), table.probabilities, table.durations_s]),
    )


def world_for(
    rules: Structs, replicas: int, draws: AttemptDraws, clients: Clients, faults: Sequence[Fault]
) -> World:
    """Clients, faults and idle replicas, without queues or service times."""
    count = len(draws.arrived_s)
    requests = np.zeros(count, dtype=REQUEST)
    requests["scale"] = 1.0 if draws.scale is None else draws.scale
    requests["arrived_s"], requests["answered_s"], requests["ended_s"] = draws.arrived_s, np.nan, np.nan
    state = np.zeros(1, dtype=STATE)
    state["tokens"], state["free"] = clients.budget.tokens, replicas
    hedges = clients.hedge_s is not None
    return World(
        rules=rules,
        state=state,
        replicas=_replicas(replicas),
        queues=_queues(0),
        attempts=_room_for(0, ROOM),
        events=np.zeros(2 * ROOM + len(faults), dtype=EVENT),
        timeouts=np.zeros(ROOM, dtype=EVENT),
        faults=_strikes(faults),
        requests=requests,
        places=np.full((clients.attempts, count) if hedges else (0, 0), NO_ONE, dtype=np.int64),
        sent=np.zeros(int(draws.arrived_s[-1]) + 1 if count else 1, dtype=np.int64),
        service=np.zeros((0, 0)),
        routing=draws.routing,
        backoff=draws.backoff,
        law_places=np.zeros(0, dtype=np.int64),
        law_values=np.zeros(0),
    )


def _strikes(faults: Sequence[Fault]) -> Structs:
    """Faults in numbers, shape `(faults,)`."""
    return np.array([(fault.replica, int(fault.action), fault.value) for fault in faults], dtype=STRIKE)


def _by_size(table: ServiceTable) -> Floats:
    """What a law says of each batch size: its time, or its weight between two measured ones."""
    return table.weight if table.kind == KNOTS else table.times_s


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
        "routing": ROUTINGS.index(routing),
        "limit": -1 if queue_limit is None else min(queue_limit, 2**53),
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
        "ejects": protection.ejects,
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
    return replicas


def _queues(count: int) -> Structs:
    """Empty queues."""
    queues = np.zeros(count, dtype=QUEUE)
    queues["head"] = queues["tail"] = queues["timed"] = NO_ONE
    queues["ended_s"], queues["is_reset"] = -np.inf, True
    return queues


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


def _with_more_requests(w: World, fresh: World) -> World:
    """The same with all requests of a world that has not begun, of which it has the first ones."""
    _copy(w.requests, fresh.requests)
    fresh.places[:, : w.places.shape[1]] = w.places
    return w._replace(
        requests=fresh.requests,
        places=fresh.places,
        service=fresh.service,
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
    """What has become of all."""
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
    )
