"""Queues of the recovery kernel: who waits for a batch, and whether one is due."""

from typing import NamedTuple

import numpy as np

from simulations.compiled import callee, inlined
from simulations.draws.records import Floats, Integers
from simulations.kernel.batching import due_s, over_s
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.state import DISPATCH, LEAVING, NO_ONE, TIMER, WAITING, World
from simulations.kernel.state import Structs
from simulations.routing.policies import SHARED_QUEUE

# Which law the service times have, and how long a batch takes after a rest or an absence.
TIMES = np.dtype(
    [
        ("law", np.int64),
        ("sizes", np.int64),
        ("knots", np.int64),
        ("wake_s", np.float64),
        ("cold_batches", np.int64),
        ("cold_factor", np.float64),
    ]
)
# The last batch that was collected ahead, as Ray Serve does: its number, how many have joined it, and when it closes;
# with TorchServe's rule, when the wait ends that runs since a free replica saw a request. A replica works off what it
# has on its device since an instant, and others there slow it down.
QUEUE = np.dtype(
    [
        ("collected", np.int64),
        ("joined", np.int64),
        ("closes_s", np.float64),
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


JOB = np.dtype([("is_busy", np.bool_), ("work_s", np.float64), ("since_s", np.float64)])


class Batches(NamedTuple):
    """What replicas that serve batches have beside the world.

    Attributes:
        plan, sizes: as `kernel.batching` has them.
        times: as `TIMES`, shape `(1,)`.
        queues: one a replica, or one for all.
        jobs: what each replica does on its device, shape `(replicas,)`.
        slowdowns: by busy instances of a device less 1, shape `(instances,)`.
        service: uniforms, or durations of mean 1, shape `(attempts, requests)`.
        law_places, law_values: arrays of the service times' law, one behind the other.
    """

    plan: Structs
    sizes: Integers
    times: Structs
    queues: Structs
    jobs: Structs
    slowdowns: Floats
    service: Floats
    law_places: Integers
    law_values: Floats


@callee
def queue_of(w: World, replica: int) -> int:
    """The queue in front of a replica."""
    return 0 if w.rules[0].routing == SHARED_QUEUE else replica


@callee
def is_free(w: World, r: int) -> bool:
    """Whether a replica could start a batch."""
    replica = w.replicas[r]
    return bool(replica.is_up and not replica.is_paused and replica.size == 0)


@callee
def free_count(w: World, q: int) -> int:
    """Replicas of a queue that could start a batch."""
    if w.rules[0].routing != SHARED_QUEUE:
        return 1 if is_free(w, q) else 0
    return int(w.state[0].free)


@callee
def count_free(w: World) -> None:
    """Count which replicas could start a batch, after anything else than a batch has changed that."""
    count = 0
    for r in range(len(w.replicas)):
        count += 1 if is_free(w, r) else 0
    w.state[0].free = count


@callee
def lowest_free(w: World, q: int) -> int:
    """The free replica of a queue with the lowest index, or `NO_ONE`."""
    if w.rules[0].routing != SHARED_QUEUE:
        return q if is_free(w, q) else NO_ONE
    if w.state[0].free == 0:
        return NO_ONE
    for r in range(len(w.replicas)):
        if is_free(w, r):
            return r
    return NO_ONE


@inlined
def _over_s(w: World, s: Batches, q: int, now_s: float) -> float:
    """End of the wait of a queue's next batch; now if the batch was collected ahead and has closed. [s]"""
    queue, rules, first = s.queues[q], s.plan[0], w.attempts[s.queues[q].head]
    if rules.is_collected:
        is_closed = first.batch != queue.collected or queue.joined == rules.size_max
        return now_s if is_closed else queue.closes_s
    if rules.is_open and queue.closes_s < np.inf:
        return float(queue.closes_s)
    return over_s(rules.is_open, first.sent_s, now_s, rules.wait_s)


@inlined
def _starts_s(w: World, s: Batches, q: int, now_s: float) -> float:
    """Start of a queue's next batch if a replica is free from now on. [s]"""
    return due_s(s.queues[q].waiting, s.plan[0].due_size, _over_s(w, s, q, now_s), now_s)


@callee
def is_due(w: World, s: Batches, q: int, now_s: float) -> bool:
    """Whether a batch of a queue must start as soon as a replica is free."""
    return bool(s.queues[q].waiting > 0 and _starts_s(w, s, q, now_s) <= now_s)


@callee
def look(w: World, s: Batches, q: int, now_s: float) -> None:
    """Dispatch if a batch is due at a free replica; else wait for the first in line to be due."""
    queue = s.queues[q]
    if queue.waiting == 0 or queue.is_called or lowest_free(w, q) == NO_ONE:
        return
    if s.plan[0].is_open and queue.closes_s == np.inf:  # a free replica sees a request
        s.queues[q].closes_s = now_s + s.plan[0].wait_s
    starts_s = _starts_s(w, s, q, now_s)
    if starts_s <= now_s:
        s.queues[q].is_called = True
        push(w, now_s, DISPATCH, q, 0)
        return
    first = w.attempts[queue.head]
    name = first.request * w.rules[0].attempts + first.number
    if queue.timed != name:
        s.queues[q].timed = name
        push(w, starts_s, TIMER, q, 0)


@callee
def append(w: World, s: Batches, q: int, a: int, now_s: float) -> None:
    """An attempt comes to the end of a line, and where batches are collected ahead, into the last one or a new one."""
    attempts = w.attempts
    attempts[a].where = WAITING
    attempts[a].behind = NO_ONE
    attempts[a].ahead = s.queues[q].tail
    if s.queues[q].waiting == 0:
        s.queues[q].head = a
        attempts[a].ahead = NO_ONE
    else:
        attempts[s.queues[q].tail].behind = a
    s.queues[q].tail = a
    s.queues[q].waiting += 1
    if s.plan[0].is_collected:
        if s.queues[q].joined == s.plan[0].size_max or s.queues[q].closes_s < now_s:
            close_batch(s, q)
            s.queues[q].joined = 0
            s.queues[q].closes_s = now_s + s.plan[0].wait_s
        s.queues[q].joined += 1
        attempts[a].batch = s.queues[q].collected


@callee
def close_batch(s: Batches, q: int) -> None:
    """No batch is collected any more, and no wait runs."""
    s.queues[q].collected += 1
    s.queues[q].joined = s.plan[0].size_max
    s.queues[q].closes_s = np.inf


@callee
def forget_batch(s: Batches, q: int) -> None:
    """No batch is collected any more, no wait runs, and no timer is set."""
    close_batch(s, q)
    s.queues[q].timed = NO_ONE


@callee
def unlink(w: World, s: Batches, q: int, a: int) -> None:
    """An attempt leaves its line, wherever it stands."""
    attempts = w.attempts
    ahead, behind = attempts[a].ahead, attempts[a].behind
    if ahead == NO_ONE:
        s.queues[q].head = behind
    else:
        attempts[ahead].behind = behind
    if behind == NO_ONE:
        s.queues[q].tail = ahead
    else:
        attempts[behind].ahead = ahead
    s.queues[q].waiting -= 1
    if s.plan[0].is_open and s.queues[q].waiting == 0:
        s.queues[q].closes_s = np.inf
    attempts[a].where = LEAVING
