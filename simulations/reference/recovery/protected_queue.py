"""Protected queue: where attempts wait for a batch, with a limit, shedding, and no room for the abandoned."""

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Failure
from simulations.reference.batching import rule_for
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.surroundings import Surroundings
from simulations.reference.replica import Phase


class Server(Protocol):
    """A replica that takes batches from a queue."""

    @property
    def is_free(self) -> bool:
        """Whether it could start a batch."""

    def start(self) -> None:
        """Start one."""


class ProtectedQueue:
    """A line in front of one replica, or in front of all of them.

    A batch starts by the rule of the plan, whose wait is counted from when the first in line was sent. What is due
    is served by the lowest free replica.

    Attributes:
        servers: the replicas that it feeds, by index.
    """

    def __init__(self, plan: BatchPlan, rank: int, around: Surroundings) -> None:
        self.servers: list[Server] = []
        self._plan, self._rank, self._rule = plan, rank, rule_for(plan)
        self._clock, self._population, self._counts = around.clock, around.population, around.counts
        protection = around.protection
        self._newest_first = protection.shedding is Shedding.LIFO
        self._drops = protection.abandoned is Abandoned.DROPPED
        self._sheds = shedding_for(protection)
        self._line: deque[Attempt] = deque()
        self._ended_s = -math.inf  # when the last batch ended that was taken from here, at any replica
        self._is_called = False  # whether a dispatch is to come at this instant
        self._timed: Attempt | None = None  # the first in line for whom the latest timer was set

    @property
    def waiting(self) -> int:
        """Attempts in line."""
        return len(self._line)

    def admit(self, attempt: Attempt) -> bool:
        """An attempt comes to the end of the line; False if it finds no room."""
        limit = self._plan.queue_limit
        if limit is not None:
            room = self._plan.batch_size_max * len(self._free())
            if len(self._line) >= limit + room:
                return False
        self._line.append(attempt)
        self._rule.joins(self._clock.now)
        attempt.place = self
        self.look()
        return True

    def look(self) -> None:
        """Something has changed: if a replica is free, dispatch what is due, or set a timer for the first."""
        if not self._line or not self._free():
            return
        now_s, first = self._clock.now, self._line[0]
        self._rule.sees(now_s)
        if self.is_due():
            if not self._is_called:
                self._is_called = True
                self._clock.call(now_s, Phase.DISPATCH, self._rank, self._dispatch)
        elif self._timed is not first:
            self._timed = first
            self._clock.call(self._starts_s(), Phase.TIMER, self._rank, self.look)

    def is_due(self) -> bool:
        """Whether a free replica must start a batch now."""
        return bool(self._line) and self._starts_s() <= self._clock.now

    def take(self) -> list[Attempt]:
        """A batch, without those that are not served, whose places others take unless it was collected ahead."""
        batch: list[Attempt] = []
        size = self._rule.take(len(self._line), self._line[0].sent_s, self._clock.now)
        if self._rule.waits_again:  # and whoever stays may still be the first, if the newest are taken
            self._timed = None
        stay = max(0, len(self._line) - size) if self._rule.is_collected else 0
        while len(self._line) > stay and len(batch) < size:
            attempt = self._line.pop() if self._newest_first else self._line.popleft()
            if self._serves(attempt):
                batch.append(attempt)
        return batch

    def batch_ended(self) -> None:
        """A batch that was taken from here has ended."""
        self._ended_s = self._clock.now

    def is_rested(self) -> bool:
        """Whether no batch has ended at this instant, so that one that starts now must wake its replica."""
        return self._clock.now > self._ended_s

    def abandon(self, attempt: Attempt) -> None:
        """It leaves the line; who is first now may be due earlier than who was."""
        self._rule.leaves(self._line.index(attempt), len(self._line))
        self._line.remove(attempt)
        attempt.leave()
        self._counts.dropped += 1
        self.look()

    def clear(self) -> list[Attempt]:
        """All leave, in order."""
        attempts = list(self._line)
        self._line.clear()
        self._rule, self._timed = rule_for(self._plan), None
        for attempt in attempts:
            attempt.leave()
        return attempts

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still here and not waited for will not be served."""
        self._counts.dropped += sum(not attempt.is_waited_for for attempt in self._line)

    def _dispatch(self) -> None:
        self._is_called = False
        while self.is_due() and (free := self._free()):
            free[0].start()
        self.look()

    def _serves(self, attempt: Attempt) -> bool:
        """Whether it gets into the batch; else it is gone."""
        if self._drops and not attempt.is_waited_for:
            attempt.leave()
            self._counts.dropped += 1
            return False
        if self._sheds(attempt, self._clock.now):
            attempt.leave()
            self._counts.shed += 1
            if attempt.is_waited_for:
                self._population.fail(attempt, Failure.REJECTED)
            return False
        return True

    def _free(self) -> list[Server]:
        return [server for server in self.servers if server.is_free]

    def _starts_s(self) -> float:
        """Start of the next batch if a replica is free from now on. [s]"""
        return self._rule.starts_s(len(self._line), self._line[0].sent_s, self._clock.now)


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


def shedding_for(protection: Protection) -> Rule:
    """The rule of one queue, with a state of its own."""
    codel = ControlledDelay(protection.codel_target_s, protection.codel_interval_s)

    def late(attempt: Attempt, now_s: float) -> bool:
        return attempt.expires_s - now_s < protection.late_margin_s

    def delayed(attempt: Attempt, now_s: float) -> bool:
        return codel.drops(now_s - attempt.sent_s, now_s)

    def never(attempt: Attempt, now_s: float) -> bool:
        return False

    return {Shedding.LATE: late, Shedding.CODEL: delayed}.get(protection.shedding, never)
