"""Clock: a SimPy environment whose events at one instant happen in the order of the batching semantics."""

from enum import IntEnum
from heapq import heappush
from typing import Self

from simpy import Environment, Event
from simpy.events import EventPriority


class Phase(IntEnum):
    """Order at one instant: completions, dispatch, arrivals, dispatch, timers.

    One DISPATCH is enough: a replica that completes dispatches within its own completion, so that
    completions and their dispatches come first, lowest replica first; what arrivals or a timer
    set off comes after all arrivals of the instant.
    """

    COMPLETION = 0
    ARRIVAL = 1
    DISPATCH = 2
    TIMER = 3


_RANKS = 2**32  # more than there are replicas


class Clock(Environment):
    """Simulated time. Instants are absolute, so that none drifts by the rounding of a delay."""

    def enter(self, instant_s: float, order: EventPriority, event: Event) -> None:
        """Schedule `event` at `instant_s`, ahead of all with a higher `order` at that instant."""
        heappush(self._queue, (instant_s, order, next(self._eid), event))


class Moment(Event):
    """An event that is told when to happen: at an instant, in a phase, lowest rank first."""

    env: Clock

    def at(self, instant_s: float, phase: Phase, rank: int = 0) -> Self:
        """Happen then; SimPy's own Timeout sets its outcome in advance likewise."""
        self._ok = True
        self._value = None
        self.env.enter(instant_s, EventPriority(phase * _RANKS + rank), self)
        return self

    def moved(self, instant_s: float, phase: Phase, rank: int = 0) -> "Moment":
        """Another moment that happens then in its stead: what waited for this one waits for that."""
        other = Moment(self.env).at(instant_s, phase, rank)
        other.callbacks, self.callbacks = self.callbacks, []
        return other
