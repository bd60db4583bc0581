"""Replicas of the recovery kernel: what they take off a queue, and when they are done."""

import numpy as np

from simulations.compiled import borrowing
from simulations.draws.service import duration_s
from simulations.kernel.recovery.clients import fail, succeed
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.queue import (
    is_due,
    is_free,
    leave_memory,
    less_outstanding,
    look,
    lowest_free,
    queue_of,
    unlink,
)
from simulations.kernel.recovery.state import (
    CODEL,
    COMPLETION,
    DROPPED,
    IN_SERVICE,
    LATE,
    LEAVING,
    LIFO,
    NO_ONE,
    REJECTED,
    World,
)


@borrowing
def rest(w: World, r: int, now_s: float) -> None:
    """A replica serves nothing any more."""
    if w.replicas[r].size > 0:
        w.replicas[r].busy_s += now_s - w.replicas[r].began_s
    was_free = is_free(w, r)
    w.replicas[r].size = 0
    w.state[0].free += is_free(w, r) - was_free
    w.replicas[r].head = NO_ONE
    w.replicas[r].finish_s = np.inf
    w.replicas[r].is_hung = False
    w.replicas[r].is_stopped = False


@borrowing
def is_turned_away(w: World, q: int, a: int, now_s: float) -> bool:
    """Whether an attempt is shed as it is taken off the line."""
    rules = w.rules[0]
    if rules.shedding == LATE:
        return bool(w.attempts[a].until_s - now_s < rules.margin_s)
    if rules.shedding != CODEL:
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
def take(w: World, q: int, r: int, now_s: float) -> int:
    """Attempts off the line into the batch of a replica, as many as fit; how many those are."""
    rules, attempts, state = w.rules[0], w.attempts, w.state
    size, last = 0, NO_ONE
    w.replicas[r].waited_for = 0
    w.replicas[r].scale = 0.0
    while size < rules.size_max and w.queues[q].waiting > 0:
        a = w.queues[q].tail if rules.shedding == LIFO else w.queues[q].head
        unlink(w, q, a)
        if rules.abandoned == DROPPED and not attempts[a].is_alive:
            state[0].dropped += 1
        elif is_turned_away(w, q, a, now_s):
            state[0].shed += 1
            if attempts[a].is_alive:
                fail(w, a, REJECTED, now_s)
        else:
            attempts[a].where = IN_SERVICE
            attempts[a].behind = NO_ONE
            if attempts[a].replica == NO_ONE:  # of a shared queue
                w.replicas[r].outstanding += 1
            attempts[a].replica = r
            if last == NO_ONE:
                w.replicas[r].head = a
            else:
                attempts[last].behind = a
            last = a
            size += 1
            w.replicas[r].scale = max(w.replicas[r].scale, w.requests[attempts[a].request].scale)
            w.replicas[r].waited_for += 1 if attempts[a].is_alive else 0
            continue
        less_outstanding(w, a)
        leave_memory(w, a)
    return size


@borrowing
def service_s(w: World, size: int, uniform: float) -> float:
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
def start(w: World, q: int, r: int, now_s: float) -> None:
    """A free replica takes a batch that is due."""
    size = take(w, q, r, now_s)
    if size == 0:
        return
    first = w.attempts[w.replicas[r].head]
    work_s = service_s(w, size, w.service[first.number, first.request])
    if w.rules[0].wake_s > 0.0 and now_s > w.queues[q].ended_s:
        work_s += w.rules[0].wake_s
    work_s *= w.replicas[r].scale
    work_s *= w.replicas[r].slow
    if w.replicas[r].cold > 0:
        work_s *= w.rules[0].cold_factor
        w.replicas[r].cold -= 1
    w.replicas[r].size = size
    w.state[0].free -= 1
    w.replicas[r].began_s = now_s
    w.replicas[r].finish_s = now_s + work_s
    push(w, w.replicas[r].finish_s, COMPLETION, r, r)


@borrowing
def dispatch(w: World, q: int, now_s: float) -> None:
    """Free replicas take what is due, the lowest first."""
    w.queues[q].is_called = False
    while is_due(w, q, now_s):
        r = lowest_free(w, q)
        if r == NO_ONE:
            return
        start(w, q, r, now_s)
    look(w, q, now_s)


@borrowing
def complete(w: World, r: int, now_s: float) -> None:
    """A replica has served its batch, and starts the next if one is due."""
    replicas, attempts, state = w.replicas, w.attempts, w.state
    a, q, is_stopped = replicas[r].head, queue_of(w, r), replicas[r].is_stopped
    rest(w, r, now_s)
    w.queues[q].ended_s = now_s
    member = a
    while member != NO_ONE:
        attempts[member].where = LEAVING
        member = attempts[member].behind
    while a != NO_ONE:
        behind = attempts[a].behind
        replicas[r].outstanding -= 1
        if is_stopped:
            state[0].dropped += 1
        elif attempts[a].is_alive:
            state[0].served += 1
            replicas[r].failures = 0
            succeed(w, a, now_s)
        else:
            state[0].served += 1
            state[0].for_nobody += 1
        leave_memory(w, a)
        a = behind
    if is_free(w, r) and is_due(w, q, now_s):
        start(w, q, r, now_s)
    look(w, q, now_s)
