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
