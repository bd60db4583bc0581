"""Replica: a SimPy process that serves one batch at a time; its queue knows when a batch is due."""

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush

from capacity.plan import BatchTimer, Plan
from simulations.clock import Clock, Moment, Phase
from simulations.device import Device
from simulations.records import Batch
from simulations.service import ServiceTimes


class RequestQueue:
    """A FIFO queue in front of one replica, or in front of all of them.

    A batch is due as soon as `batch_size_max` requests wait or the oldest has waited
    `batch_wait_max_s`, counted from its arrival. A request is its number in order of arrival. Each
    free replica has room for a batch; who finds no room there and the limit reached is lost.
    """

    def __init__(self, clock: Clock, plan: Plan, arrived_s: Sequence[float], replicas: int) -> None:
        self._clock = clock
        self._plan = plan
        self._limit = plan.queue_limit
        self._arrived_s = arrived_s
        self._free = replicas  # that serve no batch, called or not
        self._waiting: deque[int] = deque()
        self._idle: list[tuple[int, Moment]] = []  # a heap: the lowest replica is called first
        self._ended_s = -math.inf  # when the last batch ended that was taken from here, at any replica
        self._timed: int | None = None  # the request whose deadline the latest timer was set for

    def join(self, request: int) -> bool:
        """A request arrives at the end of the queue; False where it finds no place and is lost."""
        if self._limit is not None and len(self._waiting) >= self._limit + self._room():
            return False
        self._waiting.append(request)
        self._call_replica()
        return True

    def is_due(self) -> bool:
        """Whether an idle replica must start a batch now."""
        if not self._waiting:
            return False
        return len(self._waiting) >= self._plan.batch_size_max or self._deadline_s() <= self._clock.now

    def take(self) -> list[int]:
        """The oldest requests, as many as a batch may hold.

        No other replica need be told of what stays: each arrival that made a batch due has called one.
        """
        self._free -= 1
        size = min(len(self._waiting), self._plan.batch_size_max)
        return [self._waiting.popleft() for _ in range(size)]

    def release(self) -> None:
        """A replica has finished its batch."""
        self._free += 1
        self._ended_s = self._clock.now

    def is_rested(self) -> bool:
        """Whether no batch has ended at this instant, so that one that starts now must wake its replica."""
        return self._clock.now > self._ended_s

    def call_for(self, replica: int) -> Moment:
        """The moment at which an idle replica should look at the queue again."""
        call = Moment(self._clock)
        heappush(self._idle, (replica, call))
        self._call_replica()
        return call

    def _room(self) -> int:
        """Places in the next batches of the free replicas."""
        return self._free * self._plan.batch_size_max

    def _call_replica(self) -> None:
        """Call the lowest idle replica if a batch is due; else set a timer for the oldest request."""
        if not self._idle or not self._waiting:
            return
        if self.is_due():
            replica, call = heappop(self._idle)
            call.at(self._clock.now, Phase.DISPATCH, replica)
        elif self._timed != self._waiting[0]:
            self._timed = self._waiting[0]
            timer = Moment(self._clock).at(self._deadline_s(), Phase.TIMER)
            timer.callbacks = [lambda _: self._call_replica()]

    def _deadline_s(self) -> float:
        return self._arrived_s[self._waiting[0]] + self._plan.batch_wait_max_s


class OpenQueue(RequestQueue):
    """A queue whose timer starts when an idle replica sees that somebody waits.

    The idle replicas of a shared queue collect one batch together: one timer runs, and starts anew
    when a batch has been taken and others wait.
    """

    def __init__(self, clock: Clock, plan: Plan, arrived_s: Sequence[float], replicas: int) -> None:
        super().__init__(clock, plan, arrived_s, replicas)
        self._opened_s: float | None = None  # since when a replica was idle and a request waited

    def take(self) -> list[int]:
        """The oldest requests; for what stays the timer has not begun."""
        self._opened_s = None
        return super().take()

    def _call_replica(self) -> None:
        if self._opened_s is None and self._idle and self._waiting:
            self._opened_s = self._clock.now
        super()._call_replica()

    def _deadline_s(self) -> float:
        opened_s = self._clock.now if self._opened_s is None else self._opened_s
        return opened_s + self._plan.batch_wait_max_s


def queue_for(clock: Clock, plan: Plan, arrived_s: Sequence[float], replicas: int) -> RequestQueue:
    """The queue that a plan's timer asks for, in front of so many replicas."""
    kind = OpenQueue if plan.timer is BatchTimer.OPEN else RequestQueue
    return kind(clock, plan, arrived_s, replicas)


class Replica:
    """One server: waits for its queue's call, takes a batch, is busy until its device has done the work."""

    def __init__(self, index: int, queue: RequestQueue, device: Device, outstanding: list[int]) -> None:
        self.index = index
        self.queue = queue
        self.device = device
        self.outstanding = outstanding  # by replica: requests routed there and not yet finished

    def join(self, request: int) -> None:
        """A request arrives here; one that finds no place is lost."""
        if self.queue.join(request):
            self.outstanding[self.index] += 1

    def serve(
        self,
        clock: Clock,
        service_times: ServiceTimes,
        uniforms: Sequence[float],
        finish: Callable[[Batch], None],
    ) -> Generator[Moment, None, None]:
        """Serve for ever. A batch's work is drawn by the uniform number of its oldest request."""
        while True:
            while not self.queue.is_due():
                self.device.rest(self.index)
                yield self.queue.call_for(self.index)
            requests = self.queue.take()
            started_s = clock.now
            work_s = service_times(len(requests), uniforms[requests[0]])
            if self.queue.is_rested():
                work_s += service_times.wake_s
            yield self.device.serve(self.index, work_s)
            self.queue.release()
            self.outstanding[self.index] -= len(requests)
            finish(Batch(self.index, started_s, clock.now, requests))
