"""Faults: changes of a replica at an instant."""

from dataclasses import dataclass
from enum import IntEnum

from capacity.errors import DomainError

COLD_BATCHES_MAX = 1_000_000


class Action(IntEnum):
    """State of a replica from an instant on.

    LEAVE: the router forgets it at once, and reroutes its queue in order; it ends its batch, and takes no more.
    CRASH: its batch and its own queue are lost; attempts that the router sends there fail at once.
    HANG: it takes nothing more and never ends its batch; attempts sent there wait.
    HIDE: the router has noticed, and sends it nothing more.
    JOIN: it takes requests again, and the router sends them.
    RESTART: what it still holds is lost, then as JOIN.
    SLOW: batches that start from now on take `value` times as long.
    PAUSE: it starts nothing, and the batch in service ends `value` seconds later.
    RESUME: the pause is over.
    AWAY: it is gone at once, which the router knows; what it holds returns to the router, to begin again elsewhere, or
        to wait until a replica is back.
    """

    LEAVE = 0
    CRASH = 1
    HANG = 2
    HIDE = 3
    JOIN = 4
    RESTART = 5
    SLOW = 6
    PAUSE = 7
    RESUME = 8
    AWAY = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdCache:
    """The first batches that a replica starts after JOIN or RESTART take `factor` times as long."""

    batches: int
    factor: float

    def __post_init__(self) -> None:
        if not 1 <= self.batches <= COLD_BATCHES_MAX:
            raise DomainError(f"cold batches must be from 1 to {COLD_BATCHES_MAX}, got {self.batches}")
        if not 1.0 < self.factor <= 100.0:
            raise DomainError(f"a cold batch's factor must be above 1 and at most 100, got {self.factor:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One change of one replica; `value` is the factor of SLOW and the length of PAUSE in seconds."""

    instant_s: float
    replica: int
    action: Action
    value: float = 0.0

    def __post_init__(self) -> None:
        if not self.instant_s >= 0.0:
            raise DomainError(f"a fault's instant must be >= 0, got {self.instant_s:g} s")
        if self.action in (Action.SLOW, Action.PAUSE) and not self.value > 0.0:
            raise DomainError(f"{self.action.name} needs a value above 0, got {self.value:g}")
