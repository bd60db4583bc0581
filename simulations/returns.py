"""Returns: the instants at which the users of a closed population will ask again, as a binary heap.

Users are alike, so that an instant is all there is to know of one. In compiled code; place 0 of the heap
is its size, so that the array is all there is to hand on (Williams 1964, Algorithm 232, CACM 7(6)).
"""

import numpy as np

from simulations.compiled import inlined
from simulations.records import Floats


def returns_of(users: int, requests: int, spread_s: float) -> Floats:
    """First requests of users, evenly spread, shape `(users + 1,)`; nobody where there are no users.

    Of more users than there are requests, only so many come to ask.
    """
    instants_s = np.arange(min(users, requests)) / max(users, 1) * spread_s
    return np.concatenate([[float(len(instants_s))], instants_s])


@inlined
def next_return_s(heap: Floats) -> float:
    """The earliest instant; infinite where nobody is thinking. [s]"""
    return float(heap[1]) if heap[0] > 0.0 else np.inf


@inlined
def come_back(heap: Floats, instant_s: float) -> None:
    """A user will ask again then."""
    heap[0] += 1.0
    place = int(heap[0])
    while place > 1 and heap[place >> 1] > instant_s:
        heap[place] = heap[place >> 1]
        place >>= 1
    heap[place] = instant_s


@inlined
def take_earliest(heap: Floats) -> None:
    """The earliest asks now."""
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
