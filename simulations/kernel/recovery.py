"""Kernel of recovery: clients that try again, faults and shedding, as compiled code.

The same draws give the outcomes of `reference.recovery`, bit for bit. Events lie in one heap, ordered by
instant, phase and rank; memory grows between two events, when there may not be enough for the next.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from capacity.errors import DomainError
from capacity.question.plan import BatchTimer, Plan, Routing
from capacity.recovery.clients import ATTEMPTS_MAX, BudgetKind, Clients, Failure
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import (
    EJECTED_AFTER,
    EJECTED_SHARE,
    EJECTION_MAX_S,
    EJECTION_S,
    EJECTION_SWEEP_S,
    Abandoned,
    Protection,
    Shedding,
)
from simulations.compiled import borrowing
from simulations.draws.attempts import AttemptDraws, Outcomes
from simulations.draws.records import Floats, Integers
from simulations.draws.service import FIXED, KNOTS, SCALED, ServiceTable, ServiceTimes, duration_s
from simulations.kernel.state import (
    LEAST_OUTSTANDING,
    RANDOM,
    ROUND_ROBIN,
    ROUTINGS,
    SHARED_QUEUE,
    Structs,
)

# Phases of an instant, as in the reference; a retry and a hedge arrive like a first try.
FAULT, COMPLETION, ARRIVAL, DISPATCH, TIMER, TIMEOUT = range(6)
_RANKS = 2**48  # more than there are attempts
_SWEEP, _HEDGE, _RETRY = -1, -2, -3
_NOBODY = -1
# Where an attempt is.
_FREE, _WAITING, _IN_SERVICE, _LEAVING = range(4)
_REJECTED, _TIMED_OUT, _CRASHED = range(3)
_FAILURES = (Failure.REJECTED, Failure.TIMED_OUT, Failure.CRASHED)
_BUDGETS = tuple(BudgetKind)
_NO_BUDGET, _FIRST_TRIES, _SUCCESSES, _CONCURRENT, _THROTTLE = range(len(_BUDGETS))
_SHEDDINGS = tuple(Shedding)
_SHED_NONE, _LATE, _CODEL, _LIFO = range(len(_SHEDDINGS))
_ABANDONED = tuple(Abandoned)
_SERVED, _DROPPED, _STOPPED = range(len(_ABANDONED))
_LEAVE, _CRASH, _HANG, _HIDE, _JOIN, _RESTART, _SLOW, _PAUSE, _RESUME = (int(action) for action in Action)
_EJECTED_AFTER, _EJECTED_SHARE = EJECTED_AFTER, EJECTED_SHARE
_SWEEP_S, _EJECTION_S, _EJECTION_MAX_S = EJECTION_SWEEP_S, EJECTION_S, EJECTION_MAX_S
_OVER, _FULL, _LATER = range(3)
_ASKED_EVERY_S = 5.0
_ROOM = 1024  # for attempts and events at first

_RULES = np.dtype(
    [
        ("routing", np.int64),
        ("size_max", np.int64),
        ("wait_s", np.float64),
        ("limit", np.int64),
        ("timeout_s", np.float64),
        ("deadline_s", np.float64),
        ("attempts", np.int64),
        ("hedge_s", np.float64),
        ("retried", np.int64),
        ("budget", np.int64),
        ("ratio", np.float64),
        ("cost", np.float64),
        ("tokens_max", np.float64),
        ("tokens_per_s", np.float64),
        ("at_least", np.int64),
        ("shedding", np.int64),
        ("margin_s", np.float64),
        ("target_s", np.float64),
        ("interval_s", np.float64),
        ("abandoned", np.int64),
        ("ejects", np.bool_),
        ("has_backoff", np.bool_),
        ("backoff_s", np.float64, (ATTEMPTS_MAX,)),
        ("law", np.int64),
        ("sizes", np.int64),
        ("knots", np.int64),
        ("wake_s", np.float64),
    ]
)
# What changes as the run goes on, and what all attempts have come to.
_STATE = np.dtype(
    [
        ("events", np.int64),
        ("used", np.int64),
        ("next", np.int64),
        ("turn", np.int64),
        ("active", np.int64),
        ("retries", np.int64),
        ("tokens", np.float64),
        ("deposited_s", np.float64),
        ("ejected", np.int64),
        ("served", np.int64),
        ("for_nobody", np.int64),
        ("rejected", np.int64),
        ("shed", np.int64),
        ("crashed", np.int64),
        ("dropped", np.int64),
        ("timed_out", np.int64),
    ]
)
_REPLICA = np.dtype(
    [
        ("is_up", np.bool_),
        ("is_visible", np.bool_),
        ("is_dead", np.bool_),
        ("is_paused", np.bool_),
        ("is_ejected", np.bool_),
        ("is_hung", np.bool_),
        ("is_stopped", np.bool_),
        ("size", np.int64),
        ("waited_for", np.int64),
        ("head", np.int64),
        ("finish_s", np.float64),
        ("slow", np.float64),
        ("outstanding", np.int64),
        ("failures", np.int64),
        ("times", np.int64),
        ("since_s", np.float64),
    ]
)
_QUEUE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("waiting", np.int64),
        ("is_called", np.bool_),
        ("timed", np.int64),
        ("ended_s", np.float64),
        ("interval_end_s", np.float64),
        ("delay_min_s", np.float64),
        ("is_overloaded", np.bool_),
        ("is_reset", np.bool_),
    ]
)
_ATTEMPT = np.dtype(
    [
        ("request", np.int64),
        ("number", np.int64),
        ("replica", np.int64),
        ("sent_s", np.float64),
        ("until_s", np.float64),
        ("is_alive", np.bool_),
        ("where", np.int64),
        ("ahead", np.int64),
        ("behind", np.int64),
        ("spare", np.int64),
    ]
)
_REQUEST = np.dtype(
    [
        ("arrived_s", np.float64),
        ("answered_s", np.float64),
        ("ended_s", np.float64),
        ("sent", np.int64),
        ("used", np.int64),
        ("live", np.int64),
    ]
)
_EVENT = np.dtype([("instant_s", np.float64), ("order", np.int64), ("what", np.int64)])
_FAULT = np.dtype([("replica", np.int64), ("action", np.int64), ("value", np.float64)])


class World(NamedTuple):
    """Everything that a run reads and writes.

    Attributes:
        attempts: in memory, by place; their `spare` is a stack of free places, of which `state.used` are taken.
        requests: attempts `sent`; `used`: sent or scheduled; `live`: waited for or scheduled.
        places: of the attempts of a request, shape `(attempts, requests)`, where clients hedge.
        law_places, law_values: arrays of the service times' law, one behind the other.
    """

    rules: Structs
    state: Structs
    replicas: Structs
    queues: Structs
    attempts: Structs
    events: Structs
    faults: Structs
    requests: Structs
    places: Integers
    sent: Integers
    service: Floats
    routing: Floats
    backoff: Floats
    law_places: Integers
    law_values: Floats


@borrowing
def _push(w: World, instant_s: float, phase: int, rank: int, what: int) -> None:
    """Something will happen then."""
    events, order = w.events, phase * _RANKS + rank
    place = w.state[0].events
    w.state[0].events += 1
    while place > 0:
        parent = (place - 1) >> 1
        above = events[parent]
        if above.instant_s < instant_s or (above.instant_s == instant_s and above.order <= order):
            break
        events[place].instant_s = above.instant_s
        events[place].order = above.order
        events[place].what = above.what
        place = parent
    events[place].instant_s = instant_s
    events[place].order = order
    events[place].what = what


@borrowing
def _pop(w: World) -> None:
    """Take the earliest event off the heap, after it has been read."""
    events = w.events
    count = w.state[0].events - 1
    w.state[0].events = count
    instant_s, order, what = events[count].instant_s, events[count].order, events[count].what
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        if child + 1 < count:
            left, right = events[child], events[child + 1]
            if right.instant_s < left.instant_s or (
                right.instant_s == left.instant_s and right.order < left.order
            ):
                child += 1
        below = events[child]
        if below.instant_s > instant_s or (below.instant_s == instant_s and below.order >= order):
            break
        events[place].instant_s = below.instant_s
        events[place].order = below.order
        events[place].what = below.what
        place = child
    events[place].instant_s = instant_s
    events[place].order = order
    events[place].what = what


@borrowing
def _queue_of(w: World, replica: int) -> int:
    return 0 if w.rules[0].routing == SHARED_QUEUE else replica


@borrowing
def _is_free(w: World, r: int) -> bool:
    replica = w.replicas[r]
    return bool(replica.is_up and not replica.is_paused and replica.size == 0)


@borrowing
def _free_count(w: World, q: int) -> int:
    """Replicas of a queue that could start a batch."""
    if w.rules[0].routing != SHARED_QUEUE:
        return 1 if _is_free(w, q) else 0
    count = 0
    for r in range(len(w.replicas)):
        count += 1 if _is_free(w, r) else 0
    return count


@borrowing
def _lowest_free(w: World, q: int) -> int:
    """The free replica of a queue with the lowest index, or nobody."""
    if w.rules[0].routing != SHARED_QUEUE:
        return q if _is_free(w, q) else _NOBODY
    for r in range(len(w.replicas)):
        if _is_free(w, r):
            return r
    return _NOBODY


@borrowing
def _is_due(w: World, q: int, now_s: float) -> bool:
    queue = w.queues[q]
    if queue.waiting == 0:
        return False
    if queue.waiting >= w.rules[0].size_max:
        return True
    return bool(w.attempts[queue.head].sent_s + w.rules[0].wait_s <= now_s)


@borrowing
def _look(w: World, q: int, now_s: float) -> None:
    """Dispatch if a batch is due at a free replica; else wait for the first in line to be due."""
    queue = w.queues[q]
    if queue.waiting == 0 or queue.is_called or _lowest_free(w, q) == _NOBODY:
        return
    if _is_due(w, q, now_s):
        w.queues[q].is_called = True
        _push(w, now_s, DISPATCH, q, 0)
        return
    first = w.attempts[queue.head]
    name = first.request * w.rules[0].attempts + first.number
    if queue.timed != name:
        w.queues[q].timed = name
        _push(w, first.sent_s + w.rules[0].wait_s, TIMER, q, 0)


@borrowing
def _append(w: World, q: int, a: int) -> None:
    """An attempt at the end of a line."""
    attempts = w.attempts
    attempts[a].where = _WAITING
    attempts[a].behind = _NOBODY
    attempts[a].ahead = w.queues[q].tail
    if w.queues[q].waiting == 0:
        w.queues[q].head = a
        attempts[a].ahead = _NOBODY
    else:
        attempts[w.queues[q].tail].behind = a
    w.queues[q].tail = a
    w.queues[q].waiting += 1


@borrowing
def _unlink(w: World, q: int, a: int) -> None:
    """An attempt leaves its line, wherever it stands."""
    attempts = w.attempts
    ahead, behind = attempts[a].ahead, attempts[a].behind
    if ahead == _NOBODY:
        w.queues[q].head = behind
    else:
        attempts[ahead].behind = behind
    if behind == _NOBODY:
        w.queues[q].tail = ahead
    else:
        attempts[behind].ahead = ahead
    w.queues[q].waiting -= 1
    attempts[a].where = _LEAVING


@borrowing
def _leave_memory(w: World, a: int) -> None:
    """Nothing will happen to an attempt any more."""
    attempts = w.attempts
    if len(w.places) > 0:
        w.places[attempts[a].number, attempts[a].request] = _NOBODY
    attempts[a].request = _NOBODY
    attempts[a].is_alive = False
    attempts[a].where = _FREE
    w.state[0].used -= 1
    attempts[w.state[0].used].spare = a


@borrowing
def _less_outstanding(w: World, a: int) -> None:
    if w.attempts[a].replica != _NOBODY:
        w.replicas[w.attempts[a].replica].outstanding -= 1


@borrowing
def _pays(w: World, now_s: float) -> bool:
    """Whether the budget allows one more attempt, which is then paid for."""
    rules, state = w.rules[0], w.state
    if rules.budget == _NO_BUDGET:
        return True
    if rules.budget == _CONCURRENT:
        return bool(state[0].retries < max(float(rules.at_least), rules.ratio * state[0].active))
    if rules.budget == _THROTTLE:
        return bool(state[0].tokens > rules.tokens_max / 2.0)
    if rules.budget == _FIRST_TRIES and rules.tokens_per_s > 0.0:
        earned = rules.tokens_per_s * (now_s - state[0].deposited_s)
        state[0].tokens = min(rules.tokens_max, state[0].tokens + earned)
        state[0].deposited_s = now_s
    if state[0].tokens < rules.cost:
        return False
    state[0].tokens -= rules.cost
    return True


@borrowing
def _deposit(w: World) -> None:
    w.state[0].tokens = min(w.rules[0].tokens_max, w.state[0].tokens + w.rules[0].ratio)


@borrowing
def _stops_waiting(w: World, number: int) -> None:
    """One attempt less that a client waits for."""
    w.state[0].active -= 1
    if number > 0:
        w.state[0].retries -= 1


@borrowing
def _blame(w: World, r: int, now_s: float) -> None:
    """A failure of a replica, as its balancer counts them; too many in a row eject it."""
    replicas = w.replicas
    replicas[r].failures += 1
    if not w.rules[0].ejects or replicas[r].is_ejected or replicas[r].failures < _EJECTED_AFTER:
        return
    if w.state[0].ejected < max(1, int(_EJECTED_SHARE * len(replicas))):
        w.state[0].ejected += 1
        replicas[r].is_ejected = True
        replicas[r].since_s = now_s
        replicas[r].times += 1
        replicas[r].failures = 0


@borrowing
def _fail(w: World, a: int, kind: int, now_s: float) -> None:
    """An attempt has failed; its client tries again, or gives up."""
    rules, state = w.rules[0], w.state
    request, number = w.attempts[a].request, w.attempts[a].number
    w.attempts[a].is_alive = False
    w.requests[request].live -= 1
    _stops_waiting(w, number)
    if rules.budget == _THROTTLE:
        state[0].tokens = max(0.0, state[0].tokens - 1.0)
    if w.attempts[a].replica != _NOBODY and rules.routing != SHARED_QUEUE:
        _blame(w, w.attempts[a].replica, now_s)
    if not math.isnan(w.requests[request].ended_s):
        return
    used = w.requests[request].used
    if used < rules.attempts and (rules.retried >> kind) & 1:
        again_s = now_s
        if rules.has_backoff:
            again_s = now_s + w.backoff[used, request] * rules.backoff_s[used]
        if again_s < w.requests[request].arrived_s + rules.deadline_s and _pays(w, now_s):
            w.requests[request].used += 1
            w.requests[request].live += 1
            state[0].active += 1
            state[0].retries += 1
            _push(w, again_s, ARRIVAL, request * rules.attempts + used, _RETRY)
    if w.requests[request].live == 0:
        w.requests[request].ended_s = now_s


@borrowing
def _stop(w: World, a: int, now_s: float) -> None:
    """Nobody waits for an attempt any more, and the server is told so; a hung one does not listen."""
    if w.rules[0].abandoned != _STOPPED:
        return
    r = w.attempts[a].replica
    if w.attempts[a].where == _WAITING:
        q = _queue_of(w, r)
        _unlink(w, q, a)
        _less_outstanding(w, a)
        w.state[0].dropped += 1
        _leave_memory(w, a)
        _look(w, q, now_s)
    elif w.attempts[a].where == _IN_SERVICE:
        w.replicas[r].waited_for -= 1
        if w.replicas[r].waited_for == 0 and not w.replicas[r].is_hung:
            w.replicas[r].is_stopped = True
            w.replicas[r].finish_s = now_s
            _push(w, now_s, COMPLETION, r, r)


@borrowing
def _rest(w: World, r: int) -> None:
    w.replicas[r].size = 0
    w.replicas[r].head = _NOBODY
    w.replicas[r].finish_s = np.inf
    w.replicas[r].is_hung = False
    w.replicas[r].is_stopped = False


@borrowing
def _is_turned_away(w: World, q: int, a: int, now_s: float) -> bool:
    """Whether an attempt is shed as it is taken off the line."""
    rules = w.rules[0]
    if rules.shedding == _LATE:
        return bool(w.attempts[a].until_s - now_s < rules.margin_s)
    if rules.shedding != _CODEL:
        return False
    queues, delay_s = w.queues, now_s - w.attempts[a].sent_s
    if now_s > queues[q].interval_end_s and not queues[q].is_reset:
        queues[q].is_reset = True
        queues[q].interval_end_s = now_s + rules.interval_s
        queues[q].is_overloaded = queues[q].delay_min_s > rules.target_s
    if queues[q].is_reset:
        queues[q].is_reset = False
        queues[q].delay_min_s = delay_s
        return False
    queues[q].delay_min_s = min(queues[q].delay_min_s, delay_s)
    return bool(queues[q].is_overloaded and delay_s > 2.0 * rules.target_s)


@borrowing
def _take(w: World, q: int, r: int, now_s: float) -> int:
    """Attempts off the line into the batch of a replica, as many as fit; how many those are."""
    rules, attempts, state = w.rules[0], w.attempts, w.state
    size, last = 0, _NOBODY
    w.replicas[r].waited_for = 0
    while size < rules.size_max and w.queues[q].waiting > 0:
        a = w.queues[q].tail if rules.shedding == _LIFO else w.queues[q].head
        _unlink(w, q, a)
        if rules.abandoned == _DROPPED and not attempts[a].is_alive:
            state[0].dropped += 1
        elif _is_turned_away(w, q, a, now_s):
            state[0].shed += 1
            if attempts[a].is_alive:
                _fail(w, a, _REJECTED, now_s)
        else:
            attempts[a].where = _IN_SERVICE
            attempts[a].behind = _NOBODY
            if attempts[a].replica == _NOBODY:  # of a shared queue
                w.replicas[r].outstanding += 1
            attempts[a].replica = r
            if last == _NOBODY:
                w.replicas[r].head = a
            else:
                attempts[last].behind = a
            last = a
            size += 1
            w.replicas[r].waited_for += 1 if attempts[a].is_alive else 0
            continue
        _less_outstanding(w, a)
        _leave_memory(w, a)
    return size


@borrowing
def _work_s(w: World, size: int, uniform: float) -> float:
    """Service time of a batch; the arrays of its law lie one behind the other."""
    rules, places, values = w.rules[0], w.law_places, w.law_values
    sizes, knots = rules.sizes, rules.knots
    by_size, probabilities, durations_s = (
        values[:sizes],
        values[sizes : sizes + knots],
        values[sizes + knots :],
    )
    work_s = duration_s(
        rules.law, by_size, places[:sizes], by_size, places[sizes:], probabilities, durations_s, size, uniform
    )  # fmt: skip
    return float(work_s)


@borrowing
def _start(w: World, q: int, r: int, now_s: float) -> None:
    """A free replica takes a batch that is due."""
    size = _take(w, q, r, now_s)
    if size == 0:
        return
    first = w.attempts[w.replicas[r].head]
    work_s = _work_s(w, size, w.service[first.number, first.request])
    if w.rules[0].wake_s > 0.0 and now_s > w.queues[q].ended_s:
        work_s += w.rules[0].wake_s
    work_s *= w.replicas[r].slow
    w.replicas[r].size = size
    w.replicas[r].finish_s = now_s + work_s
    _push(w, w.replicas[r].finish_s, COMPLETION, r, r)


@borrowing
def _dispatch(w: World, q: int, now_s: float) -> None:
    """Free replicas take what is due, the lowest first."""
    w.queues[q].is_called = False
    while _is_due(w, q, now_s):
        r = _lowest_free(w, q)
        if r == _NOBODY:
            return
        _start(w, q, r, now_s)
    _look(w, q, now_s)


@borrowing
def _succeed(w: World, a: int, now_s: float) -> None:
    """A reply in time: its request is answered, and its other attempts have lost their client."""
    request, number = w.attempts[a].request, w.attempts[a].number
    w.attempts[a].is_alive = False
    w.requests[request].live -= 1
    w.requests[request].answered_s = now_s
    w.requests[request].ended_s = now_s
    _stops_waiting(w, number)
    if w.rules[0].budget == _SUCCESSES or w.rules[0].budget == _THROTTLE:
        _deposit(w)
    if w.requests[request].live == 0 or len(w.places) == 0:
        return
    for k in range(w.rules[0].attempts):
        other = w.places[k, request]
        if other != _NOBODY and w.attempts[other].is_alive:
            w.attempts[other].is_alive = False
            w.requests[request].live -= 1
            _stops_waiting(w, k)
            _stop(w, other, now_s)
    while w.requests[request].live > 0:  # retries that would have been sent at this very instant
        w.requests[request].live -= 1
        _stops_waiting(w, 1)


@borrowing
def _complete(w: World, r: int, now_s: float) -> None:
    """A replica has served its batch, and starts the next if one is due."""
    replicas, attempts, state = w.replicas, w.attempts, w.state
    a, q, is_stopped = replicas[r].head, _queue_of(w, r), replicas[r].is_stopped
    _rest(w, r)
    w.queues[q].ended_s = now_s
    member = a
    while member != _NOBODY:
        attempts[member].where = _LEAVING
        member = attempts[member].behind
    while a != _NOBODY:
        behind = attempts[a].behind
        replicas[r].outstanding -= 1
        if is_stopped:
            state[0].dropped += 1
        elif attempts[a].is_alive:
            state[0].served += 1
            replicas[r].failures = 0
            _succeed(w, a, now_s)
        else:
            state[0].served += 1
            state[0].for_nobody += 1
        _leave_memory(w, a)
        a = behind
    if _is_free(w, r) and _is_due(w, q, now_s):
        _start(w, q, r, now_s)
    _look(w, q, now_s)


@borrowing
def _may_take(w: World, r: int, request: int, shuns: bool) -> bool:  # noqa: FBT001
    """Whether the router may send an attempt to a replica; a hedge shuns those that hold another."""
    if not w.replicas[r].is_visible or w.replicas[r].is_ejected:
        return False
    if shuns:
        for k in range(w.rules[0].attempts):
            other = w.places[k, request]
            if other != _NOBODY and w.attempts[other].is_alive and w.attempts[other].replica == r:
                return False
    return True


@borrowing
def _nth(w: World, place: int, request: int, shuns: bool) -> int:  # noqa: FBT001
    """The replica at a place among those that may be chosen."""
    for r in range(len(w.replicas)):
        if _may_take(w, r, request, shuns):
            if place == 0:
                return r
            place -= 1
    return _NOBODY


@borrowing
def _next_in_turn(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    count = len(w.replicas)
    for step in range(count):
        r = int((w.state[0].turn + step) % count)
        if _may_take(w, r, request, shuns):
            w.state[0].turn = (r + 1) % count
            return r
    return _NOBODY


@borrowing
def _least_outstanding(w: World, request: int, shuns: bool) -> int:  # noqa: FBT001
    best = _NOBODY
    for r in range(len(w.replicas)):
        if not _may_take(w, r, request, shuns):
            continue
        if best == _NOBODY or w.replicas[r].outstanding < w.replicas[best].outstanding:
            best = r
    return best


@borrowing
def _choice(w: World, request: int, number: int, shuns: bool) -> int:  # noqa: FBT001
    """The router's choice among the replicas that it sees; nobody if it sees none."""
    replicas, routing = w.replicas, w.rules[0].routing
    if routing == ROUND_ROBIN:
        return _next_in_turn(w, request, shuns)
    if routing == LEAST_OUTSTANDING:
        return _least_outstanding(w, request, shuns)
    seen = 0
    for r in range(len(replicas)):
        seen += 1 if _may_take(w, r, request, shuns) else 0
    if seen == 0:
        return _NOBODY
    one = int(w.routing[number, request, 0] * seen)
    if routing == RANDOM or seen == 1:
        return _nth(w, one, request, shuns)
    two = (one + 1 + int(w.routing[number, request, 1] * (seen - 1))) % seen
    first, second = _nth(w, one, request, shuns), _nth(w, two, request, shuns)
    more, less = max(first, second), min(first, second)
    return more if replicas[more].outstanding < replicas[less].outstanding else less


@borrowing
def _route(w: World, a: int, now_s: float) -> None:
    """An attempt goes to a replica's queue, or fails at once; where clients hedge, not beside its like."""
    rules, attempts, q = w.rules[0], w.attempts, 0
    attempts[a].replica = _NOBODY
    if rules.routing != SHARED_QUEUE:
        request, number = attempts[a].request, attempts[a].number
        shuns = rules.hedge_s >= 0.0
        r = _choice(w, request, number, shuns)
        if r == _NOBODY and shuns:
            r = _choice(w, request, number, False)  # noqa: FBT003  (compiled code takes positions)
        if r == _NOBODY:
            _refuse(w, a, _REJECTED, now_s)
            return
        attempts[a].replica = r
        if w.replicas[r].is_dead:
            _refuse(w, a, _CRASHED, now_s)
            return
        q = r
    if rules.limit >= 0 and w.queues[q].waiting >= rules.limit + rules.size_max * _free_count(w, q):
        _refuse(w, a, _REJECTED, now_s)
        return
    if attempts[a].replica != _NOBODY:
        w.replicas[attempts[a].replica].outstanding += 1
    _append(w, q, a)
    _look(w, q, now_s)


@borrowing
def _refuse(w: World, a: int, kind: int, now_s: float) -> None:
    """An attempt does not get into any queue."""
    if kind == _CRASHED:
        w.state[0].crashed += 1
    else:
        w.state[0].rejected += 1
    if w.attempts[a].is_alive:
        _fail(w, a, kind, now_s)
    _leave_memory(w, a)


@borrowing
def _arrive(w: World, request: int, number: int, now_s: float) -> None:
    """An attempt is sent."""
    rules, state = w.rules[0], w.state
    if number > 0 and not math.isnan(w.requests[request].ended_s):  # answered at this very instant
        return
    w.sent[int(now_s)] += 1
    w.requests[request].sent = number + 1
    if number == 0:
        state[0].active += 1
        w.requests[request].used = 1
        w.requests[request].live = 1
        if rules.budget == _FIRST_TRIES:
            _deposit(w)
    a = w.attempts[state[0].used].spare
    state[0].used += 1
    attempt = w.attempts[a]
    attempt.request = request
    attempt.number = number
    attempt.replica = _NOBODY
    attempt.sent_s = now_s
    attempt.until_s = min(now_s + rules.timeout_s, w.requests[request].arrived_s + rules.deadline_s)
    attempt.is_alive = True
    name = request * rules.attempts + number
    if attempt.until_s < np.inf:
        _push(w, attempt.until_s, TIMEOUT, name, a)
    hedges = rules.hedge_s >= 0.0
    if hedges:
        w.places[number, request] = a
        if number + 1 < rules.attempts:
            _push(w, now_s + rules.hedge_s, ARRIVAL, name + 1, _HEDGE)
    _route(w, a, now_s)


@borrowing
def _hedge(w: World, request: int, number: int, now_s: float) -> None:
    """Another attempt beside those that wait, unless there is a reply or another was made meanwhile."""
    if not math.isnan(w.requests[request].ended_s) or w.requests[request].used != number:
        return
    if now_s >= w.requests[request].arrived_s + w.rules[0].deadline_s or not _pays(w, now_s):
        return
    w.requests[request].used += 1
    w.requests[request].live += 1
    w.state[0].active += 1
    w.state[0].retries += 1
    _arrive(w, request, number, now_s)


@borrowing
def _time_out(w: World, a: int, name: int, now_s: float) -> None:
    """A client stops waiting, if it still does."""
    attempt = w.attempts[a]
    if not attempt.is_alive or attempt.request * w.rules[0].attempts + attempt.number != name:
        return
    w.state[0].timed_out += 1
    _fail(w, a, _TIMED_OUT, now_s)
    _stop(w, a, now_s)


@borrowing
def _lose(w: World, a: int, now_s: float) -> None:
    """An attempt dies with its replica."""
    w.state[0].crashed += 1
    _less_outstanding(w, a)
    w.attempts[a].where = _LEAVING
    if w.attempts[a].is_alive:
        _fail(w, a, _CRASHED, now_s)
    _leave_memory(w, a)


@borrowing
def _lose_all(w: World, r: int, now_s: float) -> None:
    """All that a replica holds: its batch, then its own queue."""
    a = w.replicas[r].head
    _rest(w, r)
    while a != _NOBODY:
        behind = w.attempts[a].behind
        _lose(w, a, now_s)
        a = behind
    if w.rules[0].routing != SHARED_QUEUE:
        while w.queues[r].waiting > 0:
            a = w.queues[r].head
            _unlink(w, r, a)
            _lose(w, a, now_s)


@borrowing
def _move_queue(w: World, r: int, now_s: float) -> None:
    """The queue of a replica that leaves is routed anew, in order."""
    for _ in range(w.queues[r].waiting):
        a = w.queues[r].head
        _unlink(w, r, a)
        w.replicas[r].outstanding -= 1
        _route(w, a, now_s)


@borrowing
def _fault(w: World, number: int, now_s: float) -> None:  # noqa: C901  (one branch an action)
    fault = w.faults[number]
    r, action, replicas = fault.replica, fault.action, w.replicas
    if action == _LEAVE:
        replicas[r].is_up = False
        replicas[r].is_visible = False
        if w.rules[0].routing != SHARED_QUEUE:
            _move_queue(w, r, now_s)
    elif action == _CRASH:
        replicas[r].is_up = False
        replicas[r].is_dead = True
        _lose_all(w, r, now_s)
    elif action == _HANG:
        replicas[r].is_up = False
        replicas[r].is_hung = replicas[r].size > 0
        replicas[r].finish_s = np.inf
    elif action == _HIDE:
        replicas[r].is_visible = False
    elif action in (_JOIN, _RESTART):
        if action == _RESTART:
            _lose_all(w, r, now_s)
        replicas[r].is_up = True
        replicas[r].is_visible = True
        replicas[r].is_dead = False
    elif action == _SLOW:
        replicas[r].slow = fault.value
    elif action == _PAUSE:
        replicas[r].is_paused = True
        if replicas[r].finish_s < np.inf:
            replicas[r].finish_s += fault.value
            _push(w, replicas[r].finish_s, COMPLETION, r, r)
    elif action == _RESUME:
        replicas[r].is_paused = False
    if action in (_JOIN, _RESTART, _RESUME):
        _look(w, _queue_of(w, r), now_s)


@borrowing
def _sweep(w: World, now_s: float) -> None:
    """The balancer takes back replicas whose time is over."""
    replicas = w.replicas
    for r in range(len(replicas)):
        if replicas[r].is_ejected:
            if now_s >= replicas[r].since_s + min(_EJECTION_S * replicas[r].times, _EJECTION_MAX_S):
                replicas[r].is_ejected = False
                replicas[r].failures = 0
                w.state[0].ejected -= 1
        elif replicas[r].times > 0:
            replicas[r].times -= 1
    if w.state[0].events > 0 or w.state[0].next < len(w.requests):
        _push(w, now_s + _SWEEP_S, FAULT, -1, _SWEEP)


@borrowing
def _happen(w: World, instant_s: float, order: int, what: int) -> None:  # noqa: C901  (one branch a phase)
    """What an event does."""
    if order < 0:
        _sweep(w, instant_s)
        return
    phase, rank = order // _RANKS, order % _RANKS
    if phase == COMPLETION:
        if w.replicas[rank].size > 0 and w.replicas[rank].finish_s == instant_s:  # else it was moved
            _complete(w, rank, instant_s)
    elif phase == TIMEOUT:
        _time_out(w, what, rank, instant_s)
    elif phase == DISPATCH:
        _dispatch(w, rank, instant_s)
    elif phase == TIMER:
        _look(w, rank, instant_s)
    elif phase == FAULT:
        _fault(w, rank, instant_s)
    else:
        request, number = rank // w.rules[0].attempts, rank % w.rules[0].attempts
        if what == _HEDGE:
            _hedge(w, request, number, instant_s)
        else:
            _arrive(w, request, number, instant_s)


@borrowing
def _is_full(w: World, instant_s: float, order: int) -> bool:
    """Whether memory might not be enough for an event and all that follows from it."""
    used = w.state[0].used
    if w.state[0].events + used + 16 > len(w.events) or used + 2 > len(w.attempts):
        return True
    return bool(order // _RANKS == ARRIVAL and instant_s >= len(w.sent))


@borrowing
def _advance(w: World, until_s: float) -> int:  # noqa: C901  (one loop)
    """Let things happen until an instant, the end, or until memory might not be enough; why it stopped."""
    events, state, requests = w.events, w.state, w.requests
    while True:
        request = state[0].next
        instant_s, order, what, is_first = np.inf, 0, 0, request < len(requests)
        if is_first:
            instant_s, order = requests[request].arrived_s, ARRIVAL * _RANKS + request * w.rules[0].attempts
        elif state[0].events == 0:
            return _OVER
        if state[0].events > 0:
            top = events[0]
            if top.instant_s < instant_s or (top.instant_s == instant_s and top.order < order):
                instant_s, order, what, is_first = top.instant_s, top.order, top.what, False
        if instant_s > until_s:
            return _LATER
        if _is_full(w, instant_s, order):
            return _FULL
        if is_first:
            state[0].next += 1
            _arrive(w, request, 0, instant_s)
        else:
            _pop(w)
            _happen(w, instant_s, order, what)


def run(
    plan: Plan,
    service_times: ServiceTimes,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
    is_hopeless: Callable[[float, int], bool] | None = None,
) -> Outcomes:
    """Serve all requests of `draws`, whose clients try again, while faults happen; as `reference.recovery.run`.

    Args:
        faults: sorted by instant.
        is_hopeless: asked every some seconds, with the instant and how many attempts wait, whether to stop;
            requests without a reply by then have failed.

    Raises:
        DomainError: what the model does not have: a timer other than the oldest request's, too few draws, faults
            out of order or of no replica.
    """
    check(plan, draws, clients, protection, faults)
    w = _world(plan, service_times, draws, clients, protection, faults)
    for number, fault in enumerate(faults):
        if fault.instant_s < math.inf:
            _push(w, fault.instant_s, FAULT, number, 0)
    if protection.ejects:
        _push(w, EJECTION_SWEEP_S, FAULT, -1, _SWEEP)
    until_s = math.inf if is_hopeless is None else _ASKED_EVERY_S
    while (why := _advance(w, until_s)) != _OVER:
        if why == _FULL:
            w = _with_more_room(w)
        elif is_hopeless is not None and is_hopeless(until_s, int(w.queues["waiting"].sum())):
            return replace(_outcomes(w), stopped_s=until_s)
        else:
            until_s += _ASKED_EVERY_S
    return _outcomes(w)


def check(
    plan: Plan, draws: AttemptDraws, clients: Clients, protection: Protection, faults: Sequence[Fault]
) -> None:
    """Raise a DomainError for what the model does not have; see `run`."""
    if plan.timer is not BatchTimer.OLDEST:
        raise DomainError(f"recovery is simulated with the timer {BatchTimer.OLDEST}, not {plan.timer}")
    if len(draws.service) < clients.attempts:
        raise DomainError(f"{clients.attempts} attempts need as many rows of draws, got {len(draws.service)}")
    if any(later.instant_s < fault.instant_s for fault, later in pairwise(faults)):
        raise DomainError("faults must be sorted by instant")
    if any(not 0 <= fault.replica < plan.replicas for fault in faults):
        raise DomainError(f"faults must name one of {plan.replicas} replicas")


def _world(
    plan: Plan,
    service_times: ServiceTimes,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
) -> World:
    """A run that has not begun."""
    count, tries = len(draws.arrived_s), clients.attempts
    table = service_times.table(plan.batch_size_max).require(plan.batch_size_max, is_closed=False)
    service = draws.service[:tries]
    if table.kind == SCALED and table.draw is not None:
        service = table.draw(service)
    requests = np.zeros(count, dtype=_REQUEST)
    requests["arrived_s"], requests["answered_s"], requests["ended_s"] = draws.arrived_s, np.nan, np.nan
    state = np.zeros(1, dtype=_STATE)
    state["tokens"] = clients.budget.tokens
    hedges = clients.hedge_s is not None
    return World(
        rules=_rules(plan, table, clients, protection),
        state=state,
        replicas=_replicas(plan.replicas),
        queues=_queues(1 if plan.routing is Routing.SHARED_QUEUE else plan.replicas),
        attempts=_room_for(0, _ROOM),
        events=np.zeros(2 * _ROOM + len(faults), dtype=_EVENT),
        faults=np.array([(f.replica, int(f.action), f.value) for f in faults], dtype=_FAULT),
        requests=requests,
        places=np.full((tries, count) if hedges else (0, 0), _NOBODY, dtype=np.int64),
        sent=np.zeros(int(draws.arrived_s[-1]) + 1 if count else 1, dtype=np.int64),
        service=np.ascontiguousarray(service) if table.kind != FIXED else np.zeros((tries, count)),
        routing=draws.routing,
        backoff=draws.backoff,
        law_places=np.concatenate([table.below, table.first]),
        law_values=np.concatenate([_by_size(table), table.probabilities, table.durations_s]),
    )


def _by_size(table: ServiceTable) -> Floats:
    """What a law says of each batch size: its time, or its weight between two measured ones."""
    return table.weight if table.kind == KNOTS else table.times_s


def _room_for(first: int, count: int) -> Structs:
    """Memory for some attempts, from place `first` on, all of it spare."""
    attempts = np.zeros(count, dtype=_ATTEMPT)
    attempts["spare"] = np.arange(first, first + count)
    return attempts


def _rules(plan: Plan, table: ServiceTable, clients: Clients, protection: Protection) -> Structs:
    """All settings in numbers, shape `(1,)`."""
    rules, budget = np.zeros(1, dtype=_RULES), clients.budget
    target_s = min(protection.codel_target_s, protection.codel_interval_s)
    if clients.backoff is not None:
        for retry in range(1, clients.attempts):
            rules["backoff_s"][0, retry] = clients.backoff.longest_s(retry)
    values: dict[str, float | bool] = {
        "routing": ROUTINGS.index(plan.routing),
        "size_max": plan.batch_size_max,
        "wait_s": plan.batch_wait_max_s,
        "limit": -1 if plan.queue_limit is None else min(plan.queue_limit, 2**53),
        "timeout_s": math.inf if clients.timeout_s is None else clients.timeout_s,
        "deadline_s": math.inf if clients.deadline_s is None else clients.deadline_s,
        "attempts": clients.attempts,
        "hedge_s": -1.0 if clients.hedge_s is None else clients.hedge_s,
        "retried": sum(1 << bit for bit, kind in enumerate(_FAILURES) if kind in clients.retried),
        "budget": _BUDGETS.index(budget.kind),
        "ratio": budget.ratio,
        "cost": budget.cost,
        "tokens_max": budget.tokens,
        "tokens_per_s": budget.tokens_per_s,
        "at_least": budget.at_least,
        "shedding": _SHEDDINGS.index(protection.shedding),
        "margin_s": protection.late_margin_s,
        "target_s": target_s,
        "interval_s": protection.codel_interval_s,
        "abandoned": _ABANDONED.index(protection.abandoned),
        "ejects": protection.ejects,
        "has_backoff": clients.backoff is not None,
        "law": table.kind,
        "sizes": len(_by_size(table)),
        "knots": len(table.probabilities),
        "wake_s": table.wake_s,
    }
    for name, value in values.items():
        rules[name] = value
    return rules


def _replicas(count: int) -> Structs:
    """Replicas at rest, all of them up."""
    replicas = np.zeros(count, dtype=_REPLICA)
    replicas["is_up"] = replicas["is_visible"] = True
    replicas["slow"], replicas["finish_s"], replicas["head"] = 1.0, np.inf, _NOBODY
    return replicas


def _queues(count: int) -> Structs:
    """Empty queues."""
    queues = np.zeros(count, dtype=_QUEUE)
    queues["head"] = queues["tail"] = queues["timed"] = _NOBODY
    queues["ended_s"], queues["is_reset"] = -np.inf, True
    return queues


def _with_more_room(w: World) -> World:
    """The same with twice the memory for attempts and events."""
    room = len(w.attempts)
    return w._replace(
        attempts=np.concatenate([w.attempts, _room_for(room, room)]),
        events=np.concatenate([w.events, np.zeros(2 * len(w.events), dtype=_EVENT)]),
        sent=np.concatenate([w.sent, np.zeros(len(w.sent), dtype=np.int64)]),
    )


def _outcomes(w: World) -> Outcomes:
    """What has become of all."""
    state, requests = w.state[0], w.requests
    left = w.attempts[w.attempts["where"] != _FREE]
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
        dropped=int(state["dropped"]) + int((~left["is_alive"]).sum()),
        timed_out=int(state["timed_out"]),
    )
