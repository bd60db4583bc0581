"""Absence: a replica is away for a while, in one of several ways."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from capacity.errors import DomainError
from capacity.question.resilience import Breakdowns
from capacity.recovery.faults import Action, Fault

BREAKDOWNS_MAX = 100_000  # of a run, on average


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


def with_breakdowns(
    absences: Sequence[Absence],
    breakdowns: Breakdowns,
    *,
    replicas: int,
    detection_s: float,
    until_s: float,
    uniforms: Callable[[int], Callable[[], float]],
) -> tuple[Absence, ...]:
    """Absences of a trigger, and replicas that crash at random beside.

    A replica runs for an exponential time and is down for the recovery time. Each is up or down at first as at any
    other instant. Who is away by the trigger does not break down, and whoever is down when the trigger takes it
    comes back at the later of both ends.

    Args:
        absences: at most one of each replica.
        detection_s: from a crash until the balancer sends nothing there any more. [s]
        until_s: nobody breaks down at this instant or later. [s]
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
    """When one replica is down; the first may have begun before the run. [s]"""

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
