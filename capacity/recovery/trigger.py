"""Trigger: what goes wrong, for how long, and what is left of the fleet meanwhile."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError
from capacity.recovery.absence import Absence
from capacity.recovery.faults import Action, Fault

PAUSES_MAX = 100_000
LASTING_MAX_S = 86_400.0


class TriggerKind(StrEnum):
    """Kinds of trouble."""

    SPIKE = "spike"  # traffic
    LOSE = "lose"  # replicas are taken away, which the balancer knows at once
    CRASH = "crash"  # replicas die with all they hold
    HANG = "hang"  # replicas stop, and still accept
    PAUSE = "pause"  # all replicas stop now and then, as for a garbage collection
    STRAGGLER = "straggler"  # one replica is slow
    ROLLOUT = "rollout"  # one replica after another is replaced
    RESTART = "restart"  # replicas are away for a while, and what they hold begins again
    SPOT = "spot"  # replicas are reclaimed after a notice, and replaced


_OF_REPLICAS = (TriggerKind.LOSE, TriggerKind.CRASH, TriggerKind.HANG, TriggerKind.SPOT, TriggerKind.RESTART)

# How replicas leave, where the router does not take them away in peace.
_HOW = {
    TriggerKind.CRASH: Action.CRASH,
    TriggerKind.HANG: Action.HANG,
    TriggerKind.RESTART: Action.AWAY,
}
ALL = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One incident; settings of other kinds keep their defaults.

    Attributes:
        lasting_s: length, from a notice on; that of a rollout follows from the start-up times. [s]
        factor: factor of the traffic in a spike, or of a straggler's service times.
        replicas: number that is lost, crashed, hung, reclaimed or restarted; `ALL`, of a restart, for all of them.
        pause_s, pauses_per_s: length of a pause, and mean rate of pauses of each replica. [s, 1/s]
        notice_s: time from the notice until a replica is reclaimed; what it serves may end meanwhile. [s]
    """

    kind: TriggerKind
    lasting_s: float = 0.0
    factor: float = 1.0
    replicas: int = 0
    pause_s: float = 0.0
    pauses_per_s: float = 0.0
    notice_s: float = 0.0

    def __post_init__(self) -> None:
        if self.kind is not TriggerKind.ROLLOUT and not 0.0 < self.lasting_s <= LASTING_MAX_S:
            raise DomainError(
                f"trigger {self.kind} must last above 0 and at most {LASTING_MAX_S:g} s, got {self.lasting_s:g} s"
            )
        if self.kind in (TriggerKind.SPIKE, TriggerKind.STRAGGLER) and not 1.0 < self.factor <= 100.0:
            raise DomainError(f"a {self.kind}'s factor must be above 1 and at most 100, got {self.factor:g}")
        if self.kind in _OF_REPLICAS and self.replicas < 1 and not self.hits_all:
            raise DomainError(f"trigger {self.kind} must hit 1 replica or more, got {self.replicas}")
        if self.kind is TriggerKind.SPOT and not self.notice_s > 0.0:
            raise DomainError(
                "a notice must be above 0 s; for none give crash:1,60s, or a short one such as spot:1,1ms,10min"
            )
        if self.kind is TriggerKind.SPOT and not self.notice_s <= self.lasting_s:
            raise DomainError(
                f"a replacement after {self.lasting_s:g} s comes before the notice of {self.notice_s:g} s is over; "
                "write spot:1,2min,10min"
            )
        if self.kind is TriggerKind.PAUSE and not (self.pause_s > 0.0 and self.pauses_per_s > 0.0):
            raise DomainError("a pause needs a length and a rate above 0")
        if self.kind is TriggerKind.PAUSE and self.pause_s * self.pauses_per_s >= 1.0:
            raise DomainError(
                f"pauses of {self.pause_s:g} s, {60 * self.pauses_per_s:g} a minute, leave no time to serve"
            )

    @property
    def hits_all(self) -> bool:
        """Whether all replicas restart, however many there are."""
        return self.kind is TriggerKind.RESTART and self.replicas == ALL

    def hit(self, replicas: int) -> int:
        """How many replicas of a fleet it takes away; of a fleet that is too small for it, more than there are."""
        return replicas if self.hits_all else self.replicas

    def waits(self, replicas: int) -> bool:
        """Whether what arrives is served in the end: something is left of the fleet, or it waits for a restart."""
        is_restart = self.kind is TriggerKind.RESTART and self.hit(replicas) <= replicas
        return is_restart or self.left(replicas) > 0.0

    def lasts_s(self, replicas: int, startup_s: float) -> float:
        """Time from its beginning until the whole fleet serves the usual rate again. [s]"""
        if self.kind is TriggerKind.ROLLOUT:
            return replicas * startup_s
        return self.lasting_s + (startup_s if self.kind in _OF_REPLICAS else 0.0)

    def left(self, replicas: int) -> float:
        """Share of the fleet's capacity that is left meanwhile."""
        if self.kind in _OF_REPLICAS:
            return max(0.0, 1.0 - self.hit(replicas) / replicas)
        if self.kind is TriggerKind.STRAGGLER:
            return 1.0 - (1.0 - 1.0 / self.factor) / replicas
        if self.kind is TriggerKind.ROLLOUT:
            return 1.0 - 1.0 / replicas
        if self.kind is TriggerKind.PAUSE:
            return 1.0 - self.pause_s * self.pauses_per_s
        return 1.0

    def absences(
        self, replicas: int, *, begins_s: float, detection_s: float, startup_s: float
    ) -> tuple[Absence, ...]:
        """Absences of replicas: those with the highest numbers, or all of them in turn.

        Args:
            detection_s: time from a crash or a hang until the balancer stops sending to the replica. [s]
            startup_s: time from the end of an outage until a replica takes requests again. [s]

        Raises:
            DomainError: it would hit more replicas than there are.
        """
        if self.kind is TriggerKind.ROLLOUT:
            return _rollout(replicas, begins_s, startup_s)
        if self.kind not in _OF_REPLICAS:
            return ()
        if self.hit(replicas) > replicas:
            raise DomainError(f"the trigger hits {self.replicas} replicas, and there are {replicas}")
        is_unseen = self.kind in (TriggerKind.CRASH, TriggerKind.HANG)
        return tuple(
            Absence(
                replica=replica,
                how=_HOW.get(self.kind, Action.LEAVE),
                gone_s=begins_s,
                back_s=begins_s + self.lasting_s + startup_s,
                noticed_s=begins_s + detection_s if is_unseen else math.inf,
                lost_s=begins_s + self.notice_s if self.kind is TriggerKind.SPOT else math.inf,
            )
            for replica in range(replicas - self.hit(replicas), replicas)
        )

    def slowdowns(
        self, replicas: int, *, begins_s: float, exponential: Callable[[], float]
    ) -> tuple[Fault, ...]:
        """Faults of replicas that stay: they are slow, or pause.

        Args:
            exponential: draws of mean 1, for the times between pauses.

        Raises:
            DomainError: they would pause too often.
        """
        if self.kind is TriggerKind.STRAGGLER:
            last, ends_s = replicas - 1, begins_s + self.lasting_s
            return (
                Fault(instant_s=begins_s, replica=last, action=Action.SLOW, value=self.factor),
                Fault(instant_s=ends_s, replica=last, action=Action.SLOW, value=1.0),
            )
        if self.kind is TriggerKind.PAUSE:
            return tuple(self._pauses(replicas, begins_s, exponential))
        return ()

    def _pauses(self, replicas: int, begins_s: float, exponential: Callable[[], float]) -> Iterator[Fault]:
        if replicas * self.lasting_s * self.pauses_per_s > PAUSES_MAX:
            raise DomainError(f"more than {PAUSES_MAX} pauses are too many for one run; make it shorter")
        for replica in range(replicas):
            now_s = begins_s + exponential() / self.pauses_per_s
            while now_s < begins_s + self.lasting_s:
                ends_s = now_s + self.pause_s
                yield Fault(instant_s=now_s, replica=replica, action=Action.PAUSE, value=self.pause_s)
                yield Fault(instant_s=ends_s, replica=replica, action=Action.RESUME)
                now_s = ends_s + exponential() / self.pauses_per_s


def _rollout(replicas: int, begins_s: float, startup_s: float) -> tuple[Absence, ...]:
    if not 0.0 < startup_s < math.inf:
        raise DomainError("a rollout needs --startup-time: how long a new replica takes until it serves")
    return tuple(
        Absence(
            replica=replica,
            how=Action.LEAVE,
            gone_s=begins_s + replica * startup_s,
            back_s=begins_s + (replica + 1) * startup_s,
        )
        for replica in range(replicas)
    )
