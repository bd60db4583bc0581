"""Shedding: which attempts are turned away as a batch is taken."""

from collections.abc import Callable

from capacity.recovery.protection import Protection, Shedding
from simulations.reference.recovery.attempt import Attempt

# Whether an attempt that is looked at now is turned away.
Rule = Callable[[Attempt, float], bool]


class ControlledDelay:
    """Overloaded while the least wait of the last interval was above the target.

    Source:
        folly, executors/Codel.cpp: unlike CoDel's own, it drops every wait above twice the target.
    """

    def __init__(self, target_s: float, interval_s: float) -> None:
        self._target_s = min(target_s, interval_s)
        self._interval_s = interval_s
        self._ends_s = 0.0  # of the interval
        self._wait_min_s = 0.0
        self._begins = True  # whether the next wait is the first one of an interval
        self._is_overloaded = False

    def drops(self, wait_s: float, now_s: float) -> bool:
        """Whether who has waited so long is dropped; never the first one of an interval."""
        if now_s > self._ends_s and not self._begins:
            self._begins = True
            self._ends_s = now_s + self._interval_s
            self._is_overloaded = self._wait_min_s > self._target_s
        if self._begins:
            self._begins = False
            self._wait_min_s = wait_s
            return False
        self._wait_min_s = min(self._wait_min_s, wait_s)
        return self._is_overloaded and wait_s > 2.0 * self._target_s


def rule_for(protection: Protection) -> Rule:
    """The rule of one queue, with a state of its own."""
    codel = ControlledDelay(protection.codel_target_s, protection.codel_interval_s)

    def late(attempt: Attempt, now_s: float) -> bool:
        return attempt.expires_s - now_s < protection.late_margin_s

    def delayed(attempt: Attempt, now_s: float) -> bool:
        return codel.drops(now_s - attempt.sent_s, now_s)

    def never(attempt: Attempt, now_s: float) -> bool:
        return False

    return {Shedding.LATE: late, Shedding.CODEL: delayed}.get(protection.shedding, never)
