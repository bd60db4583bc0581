"""Faulty server: one of a fleet, of any kind, that may leave, crash, hang, pause or be slow."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import WEIGHT
from capacity.traffic.clients import Failure
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.surroundings import Surroundings
from simulations.reference.replica import Moment, Phase
from simulations.routing.candidates import Counted


@dataclass(slots=True)
class Work:
    """A batch or a pass, and when it ends: never, if its server hangs."""

    began_s: float
    ends_s: float
    end: Moment


AnyWork = TypeVar("AnyWork", bound=Work)


class FaultyServer(Counted, ABC, Generic[AnyWork]):
    """What a fault is to any server; each kind says what it holds, and what it does with it.

    Attributes:
        outstanding: attempts that it holds.
        is_up: starts work.
        is_visible: the router sends attempts here.
        has_crashed: refuses what is sent here.
    """

    def __init__(self, index: int, around: Surroundings) -> None:
        super().__init__(index, around.clock.changes)
        self.is_up = self.is_visible = True
        self.has_crashed = False
        self._is_paused = False
        self._slowness = 1.0  # how many times as long work takes that starts now
        self._slow_start_s = around.protection.slow_start_s
        self._back_s = -math.inf  # when its router saw it again, after it had not
        self._clock, self._population, self._counts = around.clock, around.population, around.counts
        self._work: AnyWork | None = None
        self._busy_s = 0.0  # with work that has ended

    @property
    @abstractmethod
    def serving(self) -> int:
        """Attempts that it serves."""

    @abstractmethod
    def admit(self, attempt: Attempt) -> bool:
        """An attempt is sent here; False if its queue is full."""

    @abstractmethod
    def vacate(self) -> list[Attempt]:
        """It takes no more; who waits here and can go elsewhere leaves, in order."""

    @abstractmethod
    def drop_the_abandoned(self) -> None:
        """The run is over: who is still here and not waited for will not be served."""

    @abstractmethod
    def look(self) -> None:
        """It can start work again, if there is any."""

    @abstractmethod
    def clear(self) -> Sequence[Attempt]:
        """All that it holds leaves, in order."""

    def weigh(self) -> None:
        """Know its weight as it is now, which grows by the second once it is back."""
        now_s, self.weight = self._clock.now, WEIGHT
        if now_s < self._back_s + self._slow_start_s:
            self.weight = min(WEIGHT, 1 + WEIGHT * math.floor(now_s - self._back_s) // self._slow_start_s)

    @property
    def is_free(self) -> bool:
        """Whether it could start work."""
        return self.is_up and not self._is_paused and self._work is None

    @property
    def hangs(self) -> bool:
        """Whether its work never ends."""
        return self._work is not None and self._work.ends_s == math.inf

    def busy_s(self, now_s: float) -> float:
        """How long it has worked so far. [s]"""
        return self._busy_s + (0.0 if self._work is None else now_s - self._work.began_s)

    def suffer(self, fault: Fault) -> None:
        """Something happens to it that is no business of others; its router does the rest of LEAVE and AWAY."""
        actions: dict[Action, Callable[[], None]] = {
            Action.CRASH: self._crash,
            Action.HANG: self._hang,
            Action.HIDE: self._hide,
            Action.JOIN: self._join,
            Action.RESTART: self._restart,
            Action.SLOW: partial(self._slow, fault.value),
            Action.PAUSE: partial(self._pause, fault.value),
            Action.RESUME: self._resume,
            Action.AWAY: self._go,
        }
        actions[fault.action]()

    def _crash(self) -> None:
        self.is_up = False
        self.has_crashed = True
        self._lose()

    def _hang(self) -> None:
        """Its work never ends, even if it comes back; at rest it starts none."""
        self.is_up = False
        if self._work is not None:
            self._work.end.callbacks = []
            self._work.ends_s = math.inf

    def _hide(self) -> None:
        self.is_visible = False

    def _go(self) -> None:
        self.is_up = self.is_visible = False

    def _join(self) -> None:
        if not self.is_visible:
            self._back_s = self._clock.now
        self.is_up = self.is_visible = True
        self.has_crashed = False
        self.count(0)
        self.look()

    def _restart(self) -> None:
        self._lose()
        self._join()

    def _slow(self, factor: float) -> None:
        self._slowness = factor

    def _pause(self, length_s: float) -> None:
        """Its work ends so much later, and it starts no other."""
        self._is_paused = True
        if self._work is not None and not self.hangs:
            self._work.ends_s += length_s
            self._work.end = self._work.end.moved(self._work.ends_s, Phase.COMPLETION, self.index)

    def _resume(self) -> None:
        self._is_paused = False
        self.look()

    def _lose(self) -> None:
        """What it holds is lost."""
        for attempt in self.clear():
            self._counts.crashed += 1
            if attempt.is_waited_for:
                self._population.fail(attempt, Failure.CRASHED)

    def _end_work(self) -> None:
        """It serves nothing any more, whatever becomes of who was served."""
        if self._work is not None:
            self._work.end.callbacks = []
            self._busy_s += self._clock.now - self._work.began_s
            self._work = None
