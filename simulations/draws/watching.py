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
