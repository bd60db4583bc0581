"""Watching: a watcher looks at a run from time to time, and changes the fleet or ends the run."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from capacity.recovery.faults import Fault
from simulations.draws.records import Floats, Integers


class Sight(NamedTuple):
    """State of a fleet at an instant, after all events of that instant.

    Attributes:
        waiting: attempts in each queue, one queue for each replica or one for all; shape `(queues,)`.
        serving: attempts in the batch of each replica, shape `(replicas,)`.
        busy_s: time that each replica has served batches so far, shape `(replicas,)`. [s]
    """

    now_s: float
    waiting: Integers
    serving: Integers
    busy_s: Floats


class Watcher(Protocol):
    """Looks at a run, which does not end before the watcher is done.

    Attributes:
        next_s: time of the next look, later than the last; infinite once it is done. [s]
    """

    @property
    def next_s(self) -> float:
        """Time of the next look. [s]"""

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """Faults from now on, sorted by instant, at finite ones; None ends the run."""


class Unwatched:
    """A watcher that never looks."""

    next_s = math.inf

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """No faults."""
        return ()


_LOOKS = 64  # at what waits, in a run


class StormWatch:
    """Ends a run in which so much waits for an eighth of it that retries alone keep the fleet down; a `Watcher`.

    Attributes:
        waiting_max: number of attempts that may wait.
        until_s: arrival of the last request, after which the queues drain. [s]
    """

    def __init__(self, waiting_max: float, until_s: float) -> None:
        self._waiting_max = waiting_max
        self._until_s = until_s if waiting_max < math.inf else -math.inf
        self._step_s = until_s / _LOOKS
        self._looked = self._in_a_row = 0

    @property
    def next_s(self) -> float:
        """Time of the next look. [s]"""
        next_s = (self._looked + 1) * self._step_s
        return next_s if 0.0 < next_s < self._until_s else math.inf

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """No faults; the end of the run in a storm."""
        self._looked += 1
        self._in_a_row = self._in_a_row + 1 if sight.waiting.sum() > self._waiting_max else 0
        return None if self._in_a_row > _LOOKS // 8 else ()


_MINUTE_S = 60.0


class BacklogWatch:
    """Ends a run once more wait, of those who came since it counts, than its limits allow; a `Watcher`.

    Attributes:
        waiting_max: number of attempts that may wait.
        begins_s, ends_s: the time that counts. [s]
    """

    def __init__(self, waiting_max: float, begins_s: float, ends_s: float) -> None:
        self._waiting_max, self._ends_s = waiting_max, ends_s
        self._before: int | None = None  # who waits as it begins
        self._next_s = begins_s if waiting_max < math.inf else math.inf

    @property
    def next_s(self) -> float:
        """Time of the next look. [s]"""
        return self._next_s if self._next_s < self._ends_s else math.inf

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """No faults; the end of the run once too many wait."""
        self._next_s += _MINUTE_S
        waiting = int(sight.waiting.sum())
        self._before = waiting if self._before is None else self._before
        return None if waiting - self._before > self._waiting_max else ()
