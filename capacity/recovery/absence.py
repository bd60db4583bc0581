"""Absence: a replica is away for a while, in one of several ways."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from capacity.recovery.faults import Action, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """One replica is away from an instant to another.

    Attributes:
        how: it goes: LEAVE, CRASH or HANG.
        noticed_s: when the balancer sends nothing there any more; infinite where that is at once, or never. [s]
        lost_s: when a replica that left dies with the batch that it still serves; infinite where it does not. [s]
    """

    replica: int
    how: Action
    gone_s: float
    back_s: float
    noticed_s: float = math.inf
    lost_s: float = math.inf

    def faults(self) -> Iterator[Fault]:
        """What happens to the replica, in order."""
        yield self._at(self.gone_s, self.how)
        if self.noticed_s < self.back_s:
            yield self._at(self.noticed_s, Action.HIDE)
        if self.lost_s <= self.back_s:
            yield self._at(self.lost_s, Action.CRASH)
        stays = self.how is Action.LEAVE and math.isinf(self.lost_s)
        yield self._at(self.back_s, Action.JOIN if stays else Action.RESTART)

    def _at(self, instant_s: float, action: Action) -> Fault:
        return Fault(instant_s=instant_s, replica=self.replica, action=action)


def in_order(absences: Iterable[Absence], others: Iterable[Fault] = ()) -> tuple[Fault, ...]:
    """All faults by instant; those of one instant stay in the order of the absences, and the others come last."""
    faults = [fault for absence in absences for fault in absence.faults()]
    return tuple(sorted([*faults, *others], key=lambda fault: fault.instant_s))
