"""State of the kernels: queues and replicas, and the heap of users who will send again.

Users are alike, so an instant is all there is to know about one. In compiled code place 0 of the heap
is its size, so the array is all that is passed on (Williams 1964, Algorithm 232, CACM 7(6)).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from simulations.compiled import either, inlined
from simulations.draws.records import Floats
from simulations.routing.tournament import tournament

NO_REQUEST = -1
UNKNOWN = -1  # size of the batch of a request that is not served yet; 0 is lost

Structs = npt.NDArray[np.void]
Struct = Any  # one of them, whose fields compiled code reads and writes as attributes

# What the draws say of a request, what became of it, and who waits next after it in its queue. Until it is served,
# the first of a batch that is collected ahead has in `started_s` when that closes, in `oldest` how many it has.
REQUEST = np.dtype(
    [
        ("arrived_s", np.float64),
        ("service", np.float64),
        ("think_s", np.float64),
        ("started_s", np.float64),
        ("finished_s", np.float64),
        ("oldest", np.int64),
        ("behind", np.int64),
        ("size", np.int32),
        ("replica", np.int32),
    ]
)
# The same where a balancer may hold a request back: also when it came to its replica, from which its wait counts. That
# stands first: numba takes a record that only has more at its end for the other, and runs what is compiled for that.
HELD_REQUEST = np.dtype([("came_s", np.float64), *REQUEST.descr])
# A queue: its first and last request, how many wait, when a batch will be due if no other request comes.
# Of one replica: the size of its batch, 0 where it is free, when that began, when it ends or the last one ended, and
# how long all that have ended took.
# Of all: when the last one ended, and how many are free. The first request of the last batch, if collected ahead.
QUEUE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("waiting", np.int64),
        ("due_s", np.float64),
        ("in_service", np.int64),
        ("finish_s", np.float64),
        ("free", np.int64),
        ("opener", np.int64),
        ("began_s", np.float64),
        ("busy_s", np.float64),
    ]
)
# What a replica serves, and how long all that it has served took. On a device that it shares, also how far it is, and
# how many of its instances are busy, at the first.
JOB = np.dtype(
    [
        ("oldest", np.int64),
        ("size", np.int64),
        ("busy", np.int64),
        ("started_s", np.float64),
        ("work_s", np.float64),
        ("since_s", np.float64),
        ("ends_s", np.float64),
        ("busy_s", np.float64),
    ]
)


def empty_queues(count: int, replicas: int) -> Structs:
    """Empty queues, each with this many free replicas, shape `(count,)`."""
    queues = np.zeros(count, dtype=QUEUE)
    queues["free"] = replicas
    queues["finish_s"] = -np.inf
    return queues


def requests_in_memory(count: int, *, may_be_held: bool = False) -> Structs:
    """Room for requests, shape `(count,)`.

    Args:
        may_be_held: whether a balancer may hold them back.
    """
    return np.zeros(count, dtype=HELD_REQUEST if may_be_held else REQUEST)


@inlined
def _came_at_arrival(request: Struct) -> float:
    """Instant of the arrival, at which the request came to its replica. [s]"""
    return float(request.arrived_s)


@inlined
def _came_when_noted(request: Struct) -> float:
    """Instant at which the request came to its replica. [s]"""
    return float(request.came_s)


@inlined
def _note_nothing(request: Struct, now_s: float) -> None:
    """Do nothing, as requests come to their replicas as they arrive."""


@inlined
def _note(request: Struct, now_s: float) -> None:
    """A request comes to its replica now."""
    request.came_s = now_s


def _is_held(request: Any) -> bool:
    """Whether a request, by its type, may be held back."""
    return "came_s" in dict(request.members)


came_s = either(_came_at_arrival, _came_when_noted, _is_held)
note_coming = either(_note_nothing, _note, _is_held)


def no_jobs(replicas: int) -> Structs:
    """Replicas that serve nothing, shape `(replicas,)`."""
    return np.zeros(replicas, dtype=JOB)


def at_rest(replicas: int) -> Floats:
    """A tournament of replicas without any events to come."""
    return tournament(np.full(replicas, np.inf))


def returns_of(users: int, requests: int, spread_s: float) -> Floats:
    """First requests of users, evenly spread, shape `(users + 1,)`; none if there are no users.

    If there are more users than requests, only as many users as requests send one.
    """
    instants_s = np.arange(min(users, requests)) / max(users, 1) * spread_s
    return np.concatenate([[float(len(instants_s))], instants_s])


@inlined
def next_return_s(heap: Floats) -> float:
    """The earliest instant; infinite if no user is thinking. [s]"""
    return float(heap[1]) if heap[0] > 0.0 else np.inf


@inlined
def come_back(heap: Floats, instant_s: float) -> None:
    """A user will send again then."""
    heap[0] += 1.0
    place = int(heap[0])
    while place > 1 and heap[place >> 1] > instant_s:
        heap[place] = heap[place >> 1]
        place >>= 1
    heap[place] = instant_s


@inlined
def take_earliest(heap: Floats) -> None:
    """The earliest sends now."""
    count = int(heap[0])
    instant_s = heap[count]
    heap[0] -= 1.0
    place = 1
    while 2 * place < count:
        child = 2 * place
        child += child + 1 < count and heap[child + 1] < heap[child]
        if heap[child] >= instant_s:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = instant_s
