"""Replicas of the recovery kernel: which batches they take off their queues, and what stops, loses or delays these."""

import numpy as np

from simulations.compiled import borrowing, callee, inlined
from simulations.draws.service import duration_s
from simulations.kernel.batching import fitting
from simulations.kernel.recovery.arrivals import pick, refuse
from simulations.kernel.recovery.balancer import count, praise
from simulations.kernel.recovery.clients import fail, leave_memory, less_outstanding, lose, succeed
from simulations.kernel.recovery.devices import enter, leave_device, pause_job
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.loop import run_loop
from simulations.kernel.recovery.queue import (
    Batches,
    append,
    close_batch,
    count_free,
    forget_batch,
    free_count,
    is_due,
    is_free,
    look,
    lowest_free,
    queue_of,
    unlink,
)
from simulations.kernel.recovery.room import drop_from_room, keep
from simulations.kernel.recovery.state import (
    AWAY,
    CODEL,
    COMPLETION,
    CRASH,
    DISPATCH,
    DROPPED,
    HANG,
    IN_ROOM,
    IN_SERVICE,
    JOIN,
    LATE,
    LEAVE,
    LEAVING,
    LIFO,
    NO_ONE,
    PAUSE,
    REJECTED,
    RESTART,
    RESUME,
    WAITING,
    World,
)
from simulations.routing.policies import SHARED_QUEUE


@callee
def rest(w: World, r: int, now_s: float) -> None:
    """A replica serves nothing any more; each attempt of its batch has had a share of it."""
    if w.replicas[r].size > 0:
        spent_s = now_s - w.replicas[r].began_s
        w.replicas[r].busy_s += spent_s
        share, a = 1.0 / w.replicas[r].size, w.replicas[r].head
        while a != NO_ONE:
            w.requests[w.attempts[a].request].busy_s += spent_s * share
            w.requests[w.attempts[a].request].batches += share
            a = w.attempts[a].behind
    was_free = is_free(w, r)
    w.replicas[r].size = 0
    w.state[0].free += is_free(w, r) - was_free
    w.replicas[r].head = NO_ONE
    w.replicas[r].finish_s = np.inf
    w.replicas[r].is_hung = False
    w.replicas[r].is_stopped = False


@callee
def is_turned_away(w: World, s: Batches, q: int, a: int, now_s: float) -> bool:
    """Whether an attempt is shed as it is taken off the line."""
    rules = w.rules[0]
    if rules.shedding == LATE:
        return bool(w.attempts[a].until_s - now_s < rules.margin_s)
    if rules.shedding != CODEL:
        return False
    queues, delay_s = s.queues, now_s - w.attempts[a].sent_s
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


@callee
def most_of(w: World, s: Batches, q: int, now_s: float) -> int:
    """Attempts that the next batch has room for; the wait for it, or the collecting of it, is over."""
    plan, first = s.plan[0], w.attempts[s.queues[q].head]
    if plan.is_collected:
        if first.batch == s.queues[q].collected:
            close_batch(s, q)
        return int(plan.size_max)
    if plan.is_open:  # whoever stays may still be the first, if the newest are taken
        forget_batch(s, q)
    return int(fitting(plan, s.sizes, first.sent_s, s.queues[q].waiting, now_s))


@callee
def is_in_batch(w: World, s: Batches, q: int, batch: int) -> bool:
    """Whether anybody waits who may be in a batch; in one that was collected ahead are those who joined it."""
    if s.queues[q].waiting == 0:
        return False
    return bool(not s.plan[0].is_collected or w.attempts[s.queues[q].head].batch == batch)


@callee
def take(w: World, s: Batches, q: int, r: int, now_s: float) -> int:
    """Attempts off the line into the batch of a replica, as many as fit; how many those are."""
    rules, attempts, state = w.rules[0], w.attempts, w.state
    size, last, batch, most = 0, NO_ONE, attempts[s.queues[q].head].batch, most_of(w, s, q, now_s)
    w.replicas[r].waited_for = 0
    w.replicas[r].scale = 0.0
    while size < most and is_in_batch(w, s, q, batch):
        a = s.queues[q].tail if rules.shedding == LIFO else s.queues[q].head
        unlink(w, s, q, a)
        if rules.abandoned == DROPPED and not attempts[a].is_alive:
            state[0].dropped += 1
        elif is_turned_away(w, s, q, a, now_s):
            state[0].shed += 1
            if attempts[a].is_alive:
                fail(w, a, REJECTED, now_s)
        else:
            attempts[a].where = IN_SERVICE
            attempts[a].behind = NO_ONE
            if attempts[a].replica == NO_ONE:  # of a shared queue
                count(w, r, 1)
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


@callee
def service_s(s: Batches, size: int, uniform: float) -> float:
    """Service time of a batch; the arrays of its law lie one behind the other."""
    rules, places, values = s.times[0], s.law_places, s.law_values
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


@callee
def start(w: World, s: Batches, q: int, r: int, now_s: float) -> None:
    """A free replica takes a batch that is due."""
    size = take(w, s, q, r, now_s)
    if size == 0:
        return
    first = w.attempts[w.replicas[r].head]
    work_s = service_s(s, size, s.service[first.number, first.request])
    if s.times[0].wake_s > 0.0 and now_s > s.queues[q].ended_s:
        work_s += s.times[0].wake_s
    work_s *= w.replicas[r].scale
    work_s *= w.replicas[r].slow
    if w.replicas[r].cold > 0:
        work_s *= s.times[0].cold_factor
        w.replicas[r].cold -= 1
    w.replicas[r].size = size
    w.state[0].free -= 1
    w.replicas[r].began_s = now_s
    w.replicas[r].finish_s = now_s + work_s * enter(w, s, r, now_s)
    s.jobs[r].work_s = work_s
    s.jobs[r].since_s = now_s
    push(w, w.replicas[r].finish_s, COMPLETION, r, r)


@callee
def admit(w: World, s: Batches, a: int, now_s: float) -> None:
    """An attempt goes to a replica's queue, or fails at once."""
    rules, attempts, q = w.rules[0], w.attempts, 0
    attempts[a].replica = NO_ONE
    if rules.routing != SHARED_QUEUE:
        q = pick(w, a, now_s)
        if q == NO_ONE:
            return
    if rules.limit >= 0 and s.queues[q].waiting >= rules.limit + s.plan[0].size_max * free_count(w, q):
        if attempts[a].replica != NO_ONE:
            count(w, attempts[a].replica, 0)
        refuse(w, a, REJECTED, now_s)
        return
    if attempts[a].replica != NO_ONE:
        count(w, attempts[a].replica, 1)
    append(w, s, q, a, now_s)
    look(w, s, q, now_s)


@callee
def call_off(w: World, s: Batches, a: int, now_s: float) -> None:
    """An attempt that is called off leaves its queue; a batch that no client waits for ends, unless it hangs."""
    if not w.attempts[a].is_called_off:
        return
    w.attempts[a].is_called_off = False
    if w.attempts[a].where == IN_ROOM:
        drop_from_room(w, a)
        return
    r = w.attempts[a].replica
    if w.attempts[a].where == WAITING:
        q = queue_of(w, r)
        unlink(w, s, q, a)
        less_outstanding(w, a)
        w.state[0].dropped += 1
        leave_memory(w, a)
        look(w, s, q, now_s)
    else:
        w.replicas[r].waited_for -= 1
        if w.replicas[r].waited_for == 0 and not w.replicas[r].is_hung:
            w.replicas[r].is_stopped = True
            w.replicas[r].finish_s = now_s
            push(w, now_s, COMPLETION, r, r)


@callee
def call_off_others(w: World, s: Batches, request: int, now_s: float) -> None:
    """Attempts of a request that was answered elsewhere."""
    for k in range(len(w.places)):
        if w.places[k, request] != NO_ONE:
            call_off(w, s, w.places[k, request], now_s)


@callee
def dispatch(w: World, s: Batches, q: int, now_s: float) -> None:
    """Free replicas take what is due, the lowest first."""
    s.queues[q].is_called = False
    while is_due(w, s, q, now_s):
        r = lowest_free(w, q)
        if r == NO_ONE:
            return
        start(w, s, q, r, now_s)
    look(w, s, q, now_s)


@callee
def complete(w: World, s: Batches, r: int, now_s: float) -> None:
    """A replica has served its batch, and starts the next if one is due; nothing happens if the batch was moved."""
    if w.replicas[r].size == 0 or w.replicas[r].finish_s != now_s:
        return
    replicas, attempts, state = w.replicas, w.attempts, w.state
    a, q, is_stopped = replicas[r].head, queue_of(w, r), replicas[r].is_stopped
    began_s, size = replicas[r].began_s, replicas[r].size
    rest(w, r, now_s)
    s.queues[q].ended_s = now_s
    member = a
    while member != NO_ONE:
        attempts[member].where = LEAVING
        count(w, r, -1)
        member = attempts[member].behind
    while a != NO_ONE:
        behind = attempts[a].behind
        if is_stopped:
            state[0].dropped += 1
        elif attempts[a].is_alive:
            state[0].served += 1
            praise(w, r)
            succeed(w, a, now_s)
            w.requests[attempts[a].request].started_s = began_s
            w.requests[attempts[a].request].size = size
            call_off_others(w, s, attempts[a].request, now_s)
        else:
            state[0].served += 1
            state[0].for_nobody += 1
        leave_memory(w, a)
        a = behind
    if is_free(w, r) and is_due(w, s, q, now_s):
        start(w, s, q, r, now_s)
    if replicas[r].size == 0:
        leave_device(w, s, r, now_s)
    look(w, s, q, now_s)


@callee
def act(w: World, s: Batches, phase: int, rank: int, now_s: float) -> None:
    """A batch ends, or a queue is looked at, at once or when its first has waited long enough."""
    if phase == COMPLETION:
        complete(w, s, rank, now_s)
    elif phase == DISPATCH:
        dispatch(w, s, rank, now_s)
    else:
        look(w, s, rank, now_s)


@callee
def _lose_or_keep(w: World, a: int, now_s: float, returns: bool) -> None:  # noqa: FBT001
    """An attempt is lost, or returns to be routed."""
    if returns:
        less_outstanding(w, a)
        keep(w, a)
    else:
        lose(w, a, now_s)
        leave_memory(w, a)


@callee
def lose_all(w: World, s: Batches, r: int, now_s: float, returns: bool) -> None:  # noqa: FBT001
    """All that a replica holds is lost, or returns to be routed: its batch, then its own queue."""
    a = w.replicas[r].head
    rest(w, r, now_s)
    leave_device(w, s, r, now_s)
    while a != NO_ONE:
        behind = w.attempts[a].behind
        _lose_or_keep(w, a, now_s, returns)
        a = behind
    if w.rules[0].routing != SHARED_QUEUE:
        forget_batch(s, r)
        while s.queues[r].waiting > 0:
            a = s.queues[r].head
            unlink(w, s, r, a)
            _lose_or_keep(w, a, now_s, returns)


@callee
def vacate(w: World, s: Batches, r: int, now_s: float) -> None:
    """A replica takes no more; who waits in its own queue is routed again, in order."""
    w.replicas[r].is_up = False
    if w.rules[0].routing == SHARED_QUEUE:
        return
    forget_batch(s, r)
    for _ in range(s.queues[r].waiting):
        a = s.queues[r].head
        unlink(w, s, r, a)
        count(w, r, -1)
        admit(w, s, a, now_s)


@callee
def suffer(w: World, s: Batches, number: int, now_s: float) -> None:
    """What a fault does to a replica's batch and queue."""
    fault = w.faults[number]
    r, action, replicas = fault.replica, fault.action, w.replicas
    if action == LEAVE:
        vacate(w, s, r, now_s)
    elif action in (CRASH, RESTART, AWAY):
        lose_all(w, s, r, now_s, action == AWAY)
    elif action == HANG:
        replicas[r].is_hung = replicas[r].size > 0
        replicas[r].finish_s = np.inf
        leave_device(w, s, r, now_s)
    elif action == PAUSE and replicas[r].finish_s < np.inf:
        pause_job(s, r, fault.value, now_s)
        replicas[r].finish_s += fault.value
        push(w, replicas[r].finish_s, COMPLETION, r, r)
    if action in (JOIN, RESTART):
        replicas[r].cold = s.times[0].cold_batches
    count_free(w)
    if action in (JOIN, RESTART, RESUME):
        look(w, s, queue_of(w, r), now_s)


@inlined
def _own(w: World, s: Batches, before_s: float) -> tuple[float, int]:
    """All that replicas do by themselves lies among the events."""
    return np.inf, 0


@inlined
def _are_at_rest(w: World, s: Batches) -> bool:
    """Replicas do nothing without an event."""
    return True


@borrowing
def advance(w: World, s: Batches, until_s: float) -> int:
    """The loop of `loop.run_loop` for replicas that serve batches."""
    return int(run_loop(w, s, until_s, _own, _are_at_rest, act, admit, call_off, suffer))
