"""Queues of the recovery kernel: who waits, and whether a batch is due."""

from simulations.compiled import borrowing
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.state import DISPATCH, FREE, LEAVING, NO_ONE, TIMER, WAITING, World
from simulations.kernel.state import (
    SHARED_QUEUE,
)


@borrowing
def queue_of(w: World, replica: int) -> int:
    """The queue in front of a replica."""
    return 0 if w.rules[0].routing == SHARED_QUEUE else replica


@borrowing
def is_free(w: World, r: int) -> bool:
    """Whether a replica could start a batch."""
    replica = w.replicas[r]
    return bool(replica.is_up and not replica.is_paused and replica.size == 0)


@borrowing
def free_count(w: World, q: int) -> int:
    """Replicas of a queue that could start a batch."""
    if w.rules[0].routing != SHARED_QUEUE:
        return 1 if is_free(w, q) else 0
    return int(w.state[0].free)


@borrowing
def count_free(w: World) -> None:
    """Count which replicas could start a batch, after anything else than a batch has changed that."""
    count = 0
    for r in range(len(w.replicas)):
        count += 1 if is_free(w, r) else 0
    w.state[0].free = count


@borrowing
def lowest_free(w: World, q: int) -> int:
    """The free replica of a queue with the lowest index, or nobody."""
    if w.rules[0].routing != SHARED_QUEUE:
        return q if is_free(w, q) else NO_ONE
    if w.state[0].free == 0:
        return NO_ONE
    for r in range(len(w.replicas)):
        if is_free(w, r):
            return r
    return NO_ONE


@borrowing
def is_due(w: World, q: int, now_s: float) -> bool:
    """Whether a batch of a queue must start as soon as a replica is free."""
    queue = w.queues[q]
    if queue.waiting == 0:
        return False
    if queue.waiting >= w.rules[0].size_max:
        return True
    return bool(w.attempts[queue.head].sent_s + w.rules[0].wait_s <= now_s)


@borrowing
def look(w: World, q: int, now_s: float) -> None:
    """Dispatch if a batch is due at a free replica; else wait for the first in line to be due."""
    queue = w.queues[q]
    if queue.waiting == 0 or queue.is_called or lowest_free(w, q) == NO_ONE:
        return
    if is_due(w, q, now_s):
        w.queues[q].is_called = True
        push(w, now_s, DISPATCH, q, 0)
        return
    first = w.attempts[queue.head]
    name = first.request * w.rules[0].attempts + first.number
    if queue.timed != name:
        w.queues[q].timed = name
        push(w, first.sent_s + w.rules[0].wait_s, TIMER, q, 0)


@borrowing
def append(w: World, q: int, a: int) -> None:
    """An attempt at the end of a line."""
    attempts = w.attempts
    attempts[a].where = WAITING
    attempts[a].behind = NO_ONE
    attempts[a].ahead = w.queues[q].tail
    if w.queues[q].waiting == 0:
        w.queues[q].head = a
        attempts[a].ahead = NO_ONE
    else:
        attempts[w.queues[q].tail].behind = a
    w.queues[q].tail = a
    w.queues[q].waiting += 1


@borrowing
def unlink(w: World, q: int, a: int) -> None:
    """An attempt leaves its line, wherever it stands."""
    attempts = w.attempts
    ahead, behind = attempts[a].ahead, attempts[a].behind
    if ahead == NO_ONE:
        w.queues[q].head = behind
    else:
        attempts[ahead].behind = behind
    if behind == NO_ONE:
        w.queues[q].tail = ahead
    else:
        attempts[behind].ahead = ahead
    w.queues[q].waiting -= 1
    attempts[a].where = LEAVING


@borrowing
def leave_memory(w: World, a: int) -> None:
    """Nothing will happen to an attempt any more."""
    attempts = w.attempts
    if len(w.places) > 0:
        w.places[attempts[a].number, attempts[a].request] = NO_ONE
    attempts[a].request = NO_ONE
    attempts[a].is_alive = False
    attempts[a].where = FREE
    w.state[0].used -= 1
    attempts[w.state[0].used].spare = a


@borrowing
def less_outstanding(w: World, a: int) -> None:
    """The balancer counts one request less at the replica of an attempt."""
    if w.attempts[a].replica != NO_ONE:
        w.replicas[w.attempts[a].replica].outstanding -= 1
