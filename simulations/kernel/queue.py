"""Queue: turns to come, those that come first in front; of one instant, the lowest row first. Compiled."""

from typing import NamedTuple, Self

import numpy as np

from simulations.compiled import inlined
from simulations.draws.records import Floats, Integers


class Queue(NamedTuple):
    """A heap, counted from place 1 on (Williams 1964, Algorithm 232, CACM 7(6)).

    Attributes:
        size: shape `(1,)`.
        instants_s, rows: shape `(most + 1,)` each. [s]
    """

    size: Integers
    instants_s: Floats
    rows: Integers

    @classmethod
    def of(cls, most: int) -> Self:
        """An empty queue for at most this many turns at once."""
        return cls(np.zeros(1, dtype=np.int64), np.zeros(most + 1), np.zeros(most + 1, dtype=np.int64))


@inlined
def comes_before(queue: Queue, instant_s: float, row: int) -> bool:
    """Whether the first turn of a queue comes before another one, which is none if its row is negative."""
    if queue.size[0] == 0:
        return False
    first_s = queue.instants_s[1]
    return bool(row < 0 or first_s < instant_s or (first_s == instant_s and queue.rows[1] < row))


@inlined
def put(queue: Queue, instant_s: float, row: int) -> None:
    """A turn will come at an instant."""
    instants_s, rows = queue.instants_s, queue.rows
    queue.size[0] += 1
    place = queue.size[0]
    while place > 1 and (
        instants_s[place >> 1] > instant_s or (instants_s[place >> 1] == instant_s and rows[place >> 1] > row)
    ):
        instants_s[place], rows[place] = instants_s[place >> 1], rows[place >> 1]
        place >>= 1
    instants_s[place], rows[place] = instant_s, row


@inlined
def take(queue: Queue) -> None:
    """The first turn comes now."""
    instants_s, rows, count = queue.instants_s, queue.rows, queue.size[0]
    instant_s, row = instants_s[count], rows[count]
    queue.size[0] -= 1
    place = 1
    while 2 * place < count:
        child = 2 * place
        if child + 1 < count and (
            instants_s[child + 1] < instants_s[child]
            or (instants_s[child + 1] == instants_s[child] and rows[child + 1] < rows[child])
        ):
            child += 1
        if instant_s < instants_s[child] or (instant_s == instants_s[child] and row < rows[child]):
            break
        instants_s[place], rows[place] = instants_s[child], rows[child]
        place = child
    instants_s[place], rows[place] = instant_s, row
