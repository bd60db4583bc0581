"""Absence: a replica that is away for a while, in one of several ways."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from capacity.errors import DomainError
from capacity.question.resilience import Breakdowns
from capacity.recovery.faults import Action, Fault

BREAKDOWNS_MAX = 100_000  # in a run, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A replica that is away from one instant to another.

    Attributes:
        how: the way it leaves: LEAVE, CRASH, HANG or AWAY.
        noticed_s: when the balancer stops sending to it; infinite if that is at once, or never. [s]
        lost_s: when a replica that left dies with the batch that it still serves; infinite if it does not. [s]
    """

    replica: int
    how: Action
    gone_s: float
    back_s: float
    noticed_s: float = math.inf
    lost_s: float = math.inf

    def faults(self) -> Iterator[Fault]:
        """Faults of the replica, in order."""
        yield self._at(self.gone_s, self.how)
        if self.noticed_s < self.back_s:
            yield self._at(self.noticed_s, Action.HIDE)
        if self.lost_s <= self.back_s:
            yield self._at(self.lost_s, Action.CRASH)
        stays = self.how in (Action.LEAVE, Action.AWAY) and math.isinf(self.lost_s)
        yield self._at(self.back_s, Action.JOIN if stays else Action.RESTART)

    def _at(self, instant_s: float, action: Action) -> Fault:
        return Fault(instant_s=instant_s, replica=self.replica, action=action)


def in_order(absences: Iterable[Absence], others: Iterable[Fault] = ()) -> tuple[Fault, ...]:
    """All faults by instant; at one instant those of the absences come in their order, then the others."""
    faults = [fault for absence in absences for fault in absence.faults()]
    return tuple(sorted([*faults, *others], key=lambda fault: fault.instant_s))


def with_breakdowns(
    absences: Sequence[Absence],
    breakdowns: Breakdowns,
    *,
    replicas: int,
    detection_s: float,
    until_s: float,
    uniforms: Callable[[int], Callable[[], float]],
) -> tuple[Absence, ...]:
    """Absences of a trigger, and of replicas that also crash at random.

    A replica runs for an exponential time and is down for the recovery time. At the start each is up or down as at
    any other instant. A replica that the trigger takes away does not break down meanwhile, and one that is down when
    the trigger takes it returns at the later of both ends.

    Args:
        absences: at most one for each replica.
        detection_s: time from a crash until the balancer stops sending to the replica. [s]
        until_s: no replica breaks down at this instant or later. [s]
        uniforms: draws in [0, 1) for each replica.

    Raises:
        DomainError: they would break down too often.
    """
    if replicas * until_s > BREAKDOWNS_MAX * (breakdowns.mtbf_s + breakdowns.recovery_s):
        raise DomainError(
            f"a run of {until_s:g} s has more than {BREAKDOWNS_MAX} breakdowns, which are too many; give a longer "
            "--mtbf or a shorter --horizon"
        )
    taken = {absence.replica: absence for absence in absences}
    found = []
    for replica in range(replicas):
        planned = taken.get(replica)
        for gone_s, back_s in _down(breakdowns, planned, until_s, uniforms(replica)):
            if planned is not None and gone_s <= planned.gone_s < back_s:
                planned = replace(planned, back_s=back_s)
            found.append(
                Absence(
                    replica=replica,
                    how=Action.CRASH,
                    gone_s=max(0.0, gone_s),
                    back_s=back_s,
                    noticed_s=max(0.0, gone_s + detection_s),
                )
            )
        found += [] if planned is None else [planned]
    return tuple(found)


def _down(
    breakdowns: Breakdowns, planned: Absence | None, until_s: float, uniform: Callable[[], float]
) -> Iterator[tuple[float, float]]:
    """Times when one replica is down; the first may have begun before the run. [s]"""

    def up_s() -> float:
        return -breakdowns.mtbf_s * math.log1p(-uniform())

    first = uniform() / breakdowns.down_share
    gone_s = -first * breakdowns.recovery_s if first < 1.0 else up_s()
    while gone_s < until_s:
        if planned is not None and planned.gone_s <= gone_s < planned.back_s:
            gone_s = planned.back_s + up_s()  # what is left of an exponential time is one again
            continue
        back_s = gone_s + breakdowns.recovery_s
        if planned is not None and gone_s < planned.gone_s < back_s:
            back_s = max(back_s, planned.back_s)
        yield gone_s, back_s
        gone_s = back_s + up_s()
