"""Faulty replica: a server of batches that may leave, crash, hang, pause or be slow."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from simulations.draws.attempts import BatchFleet
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.faulty_server import FaultyServer, Work
from simulations.reference.recovery.protected_queue import ProtectedQueue
from simulations.reference.recovery.surroundings import Surroundings
from simulations.reference.replica import Device, Phase


@dataclass(slots=True)
class Batch(Work):
    """The attempts that a replica serves together, as a `Job` of its device."""

    attempts: list[Attempt]
    work_s: float
    since_s: float


class FaultyReplica(FaultyServer[Batch]):
    """A server that takes batches from a queue, its own or one that it shares with all others."""

    def __init__(
        self, index: int, fleet: BatchFleet, queue: ProtectedQueue, device: Device, around: Surroundings
    ) -> None:
        super().__init__(index, around)
        self._queue = queue
        self._device = device
        self._owns_queue = not fleet.is_shared
        self._service_times = fleet.service_times
        self._cold = fleet.cold
        self._cold_left = 0  # batches until it is as fast as before it was away
        self._draws = around.draws
        queue.servers.append(self)

    @property
    def serving(self) -> int:
        """Attempts in its batch."""
        return 0 if self._work is None else len(self._work.attempts)

    def admit(self, attempt: Attempt) -> bool:
        """An attempt is sent here; False if its queue is full."""
        return self._queue.admit(attempt)

    def vacate(self) -> list[Attempt]:
        """It takes no more; who waits in its own queue leaves, in order."""
        self.is_up = self.is_visible = False
        return self._queue.clear() if self._owns_queue else []

    def look(self) -> None:
        """It may be able to take a batch."""
        self._queue.look()

    def start(self) -> None:
        """Start a batch, if anybody in line is to be served."""
        attempts = self._queue.take()
        if not attempts:
            return
        for attempt in attempts:
            attempt.place = self
        now_s, work_s = self._clock.now, self._work_s(attempts) * self._coldness()
        ends_s = now_s + work_s * self._device.enter(self.index)
        end = self._clock.call(ends_s, Phase.COMPLETION, self.index, self._complete)
        self._work = Batch(now_s, ends_s, end, attempts, work_s, now_s)
        self._device.hold(self.index, self._work)

    def abandon(self, attempt: Attempt) -> None:
        """A batch that no client waits for ends at once, unless it hangs."""
        batch = self._work
        if batch is None or self.hangs or any(one.is_waited_for for one in batch.attempts):
            return
        batch.end.callbacks = []
        batch.ends_s = self._clock.now
        batch.end = self._clock.call(batch.ends_s, Phase.COMPLETION, self.index, self._stop)

    def drop_the_abandoned(self) -> None:
        """The run is over: who is in a batch that hangs will not be served."""
        if self._work is not None:
            self._counts.dropped += sum(not attempt.is_waited_for for attempt in self._work.attempts)

    def clear(self) -> list[Attempt]:
        """Its batch leaves, then its own queue."""
        attempts = self._end_batch()
        self._device.rest(self.index)
        return attempts + self._queue.clear() if self._owns_queue else attempts

    def _hang(self) -> None:
        super()._hang()
        self._device.rest(self.index)

    def _pause(self, length_s: float) -> None:
        if not self.hangs:
            self._device.pause(self.index, length_s)
        super()._pause(length_s)

    def _join(self) -> None:
        self._cold_left = 0 if self._cold is None else self._cold.batches
        super()._join()

    def _work_s(self, attempts: list[Attempt]) -> float:
        """Duration by the first one's uniform number, longer after a rest, by the longest, and as slow as now. [s]"""
        first, scale = attempts[0], self._draws.scale
        uniform = float(self._draws.service[first.number, first.request.number])
        work_s = self._service_times(len(attempts), uniform)
        if self._queue.is_rested():
            work_s += self._service_times.wake_s
        if scale is not None:
            work_s *= max(float(scale[attempt.request.number]) for attempt in attempts)
        return work_s * self._slowness

    def _coldness(self) -> float:
        """How many times as long a batch takes that starts now, as the replica has been away."""
        if self._cold is None or self._cold_left == 0:
            return 1.0
        self._cold_left -= 1
        return self._cold.factor

    def _complete(self) -> None:
        began_s = math.nan if self._work is None else self._work.began_s
        attempts = self._end_batch()
        for attempt in attempts:
            self._counts.served += 1
            if attempt.is_waited_for:
                self._population.answer(attempt)
                self._population.served_with(attempt, began_s, len(attempts))
            else:
                self._counts.for_nobody += 1
        self._look_for_batch()

    def _stop(self) -> None:
        """A batch ends that no client waits for."""
        self._counts.dropped += len(self._end_batch())
        self._look_for_batch()

    def _end_batch(self) -> list[Attempt]:
        """All leave, in order."""
        batch = self._work
        attempts = [] if batch is None else batch.attempts
        if batch is not None:
            self._population.share(attempts, self._clock.now - batch.began_s)
        self._end_work()
        for attempt in attempts:
            attempt.leave()
        return attempts

    def _look_for_batch(self) -> None:
        self._queue.batch_ended()
        if self.is_free and self._queue.is_due():
            self.start()
        if self._work is None:
            self._device.rest(self.index)
        self._queue.look()


def replicas_of(
    fleet: BatchFleet, around: Surroundings
) -> tuple[list[FaultyReplica], list[ProtectedQueue], Callable[[], None]]:
    """The replicas of a fleet, their queues, one each or one for all, and nothing on record of tokens."""
    count = 1 if fleet.is_shared else fleet.replicas
    queues = [ProtectedQueue(fleet.plan, rank, around) for rank in range(count)]
    instances = len(fleet.slowdowns)
    devices = [Device(around.clock, fleet.slowdowns) for _ in range(-(-fleet.replicas // instances))]
    replicas = [
        FaultyReplica(
            index, fleet, queues[0 if fleet.is_shared else index], devices[index // instances], around
        )
        for index in range(fleet.replicas)
    ]
    return replicas, queues, lambda: None
