"""Watching: somebody who looks at a run from time to time, and changes the fleet or ends the run."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from capacity.recovery.faults import Fault
from simulations.draws.records import Floats, Integers


class Sight(NamedTuple):
    """A fleet at an instant, after all that happens then.

    Attributes:
        waiting: attempts in each queue: one a replica, or one for all; shape `(queues,)`.
        serving: attempts in the batch of each replica, shape `(replicas,)`.
        busy_s: how long each replica has served batches so far, shape `(replicas,)`. [s]
    """

    now_s: float
    waiting: Integers
    serving: Integers
    busy_s: Floats


class Watcher(Protocol):
    """Looks at a run, which does not end before the watcher is done.

    Attributes:
        next_s: when it next looks, later than the last time; infinite once it is done. [s]
    """

    @property
    def next_s(self) -> float:
        """When it next looks. [s]"""

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """What shall happen from now on, sorted by instant, at finite ones; None ends the run."""


class Unwatched:
    """Nobody looks."""

    next_s = math.inf

    def look(self, sight: Sight) -> Sequence[Fault] | None:
        """Nothing shall happen."""
        return ()
