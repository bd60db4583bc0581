"""Faulty replica: a server that may leave, crash, hang, pause or be slow."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from capacity.recovery.clients import Failure
from capacity.recovery.faults import Action, ColdCache, Fault
from simulations.draws.service import ServiceTimes
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.counts import Counts
from simulations.reference.recovery.population import Population
from simulations.reference.recovery.protected_queue import ProtectedQueue
from simulations.reference.replica import Clock, Moment, Phase


@dataclass(slots=True)
class Batch:
    """What a replica serves, and when that ends: never, if it hangs."""

    attempts: list[Attempt]
    began_s: float
    ends_s: float
    end: Moment


class FaultyReplica:
    """One server with its state; `Fleet` says what happens to it when.

    Attributes:
        owns_queue: whether no other replica is fed by its queue.
        is_up: takes batches.
        is_visible: the router sends attempts here.
        has_crashed: refuses what is sent here.
    """

    def __init__(
        self,
        index: int,
        clock: Clock,
        queue: ProtectedQueue,
        service_times: ServiceTimes,
        uniforms: list[list[float]],
        scales: list[float],
        population: Population,
        counts: Counts,
        cold: ColdCache | None,
        *,
        owns_queue: bool,
    ) -> None:
        self.index = index
        self.queue = queue
        self.owns_queue = owns_queue
        self.outstanding = 0
        self.is_up = True
        self.is_visible = True
        self.has_crashed = False
        self._is_paused = False
        self._slowness = 1.0  # how many times as long a batch takes that starts now
        self._cold = cold
        self._cold_left = 0  # batches until it is as fast as before it was away
        self._clock = clock
        self._service_times = service_times
        self._uniforms = uniforms
        self._scales = scales  # by request: how many times as long it takes
        self._population = population
        self._counts = counts
        self._batch: Batch | None = None
        self._busy_s = 0.0  # in batches that have ended
        queue.servers.append(self)

    def admit(self, attempt: Attempt) -> bool:
        """An attempt is sent here; False if its queue is full."""
        return self.queue.admit(attempt)

    def vacate(self) -> list[Attempt]:
        """It takes no more; who waits in its own queue leaves, in order."""
        self.is_up = self.is_visible = False
        return self.queue.clear() if self.owns_queue else []

    @property
    def is_free(self) -> bool:
        """Whether it could start a batch."""
        return self.is_up and not self._is_paused and self._batch is None

    @property
    def serving(self) -> int:
        """Attempts in its batch."""
        return 0 if self._batch is None else len(self._batch.attempts)

    def busy_s(self, now_s: float) -> float:
        """How long it has served batches so far. [s]"""
        return self._busy_s + (0.0 if self._batch is None else now_s - self._batch.began_s)

    def start(self) -> None:
        """Start a batch, if anybody in line is to be served."""
        attempts = self.queue.take()
        if not attempts:
            return
        for attempt in attempts:
            attempt.place = self
        ends_s = self._clock.now + self._work_s(attempts) * self._coldness()
        end = self._clock.call(ends_s, Phase.COMPLETION, self.index, self._complete)
        self._batch = Batch(attempts, self._clock.now, ends_s, end)

    def abandon(self, attempt: Attempt) -> None:
        """A batch that no client waits for ends at once, unless it hangs."""
        batch = self._batch
        if batch is None or batch.ends_s == math.inf or any(one.is_waited_for for one in batch.attempts):
            return
        batch.end.callbacks = []
        batch.end = self._clock.call(self._clock.now, Phase.COMPLETION, self.index, self._stop)

    def suffer(self, fault: Fault) -> None:
        """Something happens to it that is no business of others; LEAVE is one of its router."""
        actions: dict[Action, Callable[[], None]] = {
            Action.CRASH: self._crash,
            Action.HANG: self._hang,
            Action.HIDE: self._hide,
            Action.JOIN: self._join,
            Action.RESTART: self._restart,
            Action.SLOW: partial(self._slow, fault.value),
            Action.PAUSE: partial(self._pause, fault.value),
            Action.RESUME: self._resume,
        }
        actions[fault.action]()

    def drop_the_abandoned(self) -> None:
        """The run is over: who is in a batch that hangs will not be served."""
        if self._batch is not None:
            self._counts.dropped += sum(not attempt.is_waited_for for attempt in self._batch.attempts)

    def _crash(self) -> None:
        self.is_up = False
        self.has_crashed = True
        self._lose()

    def _hang(self) -> None:
        """Its batch never ends, even if it comes back."""
        self.is_up = False
        if self._batch is not None:
            self._batch.end.callbacks = []
            self._batch.ends_s = math.inf

    def _hide(self) -> None:
        self.is_visible = False

    def _join(self) -> None:
        self.is_up = self.is_visible = True
        self.has_crashed = False
        self._cold_left = 0 if self._cold is None else self._cold.batches
        self.queue.look()

    def _restart(self) -> None:
        self._lose()
        self._join()

    def _slow(self, factor: float) -> None:
        self._slowness = factor

    def _pause(self, length_s: float) -> None:
        """Its batch ends so much later, and it starts no other."""
        self._is_paused = True
        batch = self._batch
        if batch is not None and batch.ends_s < math.inf:
            batch.ends_s += length_s
            batch.end = batch.end.moved(batch.ends_s, Phase.COMPLETION, self.index)

    def _resume(self) -> None:
        self._is_paused = False
        self.queue.look()

    def _lose(self) -> None:
        """What it holds is lost: its batch, then its own queue."""
        attempts = self._end_batch()
        if self.owns_queue:
            attempts += self.queue.clear()
        for attempt in attempts:
            self._counts.crashed += 1
            if attempt.is_waited_for:
                self._population.fail(attempt, Failure.CRASHED)

    def _work_s(self, attempts: list[Attempt]) -> float:
        """By the uniform number of the first one taken, longer after a rest, by the longest, and as slow as now."""
        first = attempts[0]
        work_s = self._service_times(len(attempts), self._uniforms[first.number][first.request.number])
        if self.queue.is_rested():
            work_s += self._service_times.wake_s
        work_s *= max(self._scales[attempt.request.number] for attempt in attempts)
        return work_s * self._slowness

    def _coldness(self) -> float:
        """How many times as long a batch takes that starts now, as the replica has been away."""
        if self._cold is None or self._cold_left == 0:
            return 1.0
        self._cold_left -= 1
        return self._cold.factor

    def _complete(self) -> None:
        for attempt in self._end_batch():
            self._counts.served += 1
            if attempt.is_waited_for:
                self._population.answer(attempt)
            else:
                self._counts.for_nobody += 1
        self._look_for_batch()

    def _stop(self) -> None:
        """A batch ends that no client waits for."""
        self._counts.dropped += len(self._end_batch())
        self._look_for_batch()

    def _end_batch(self) -> list[Attempt]:
        """All leave, in order."""
        batch, self._batch = self._batch, None
        if batch is None:
            return []
        batch.end.callbacks = []
        self._busy_s += self._clock.now - batch.began_s
        for attempt in batch.attempts:
            attempt.leave()
        return batch.attempts

    def _look_for_batch(self) -> None:
        self.queue.batch_ended()
        if self.is_free and self.queue.is_due():
            self.start()
        else:
            self.queue.look()
