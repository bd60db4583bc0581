"""Replica: a server of batches with its queue and its device, and the clock that all of the model goes by."""

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count as numbers
from typing import Protocol, Self

from simpy import Environment, Event
from simpy.events import EventPriority

from capacity.server.batch.plan import BatchPlan
from simulations.draws.records import Batch
from simulations.draws.service import ServiceTimes
from simulations.reference.batching import rule_for
from simulations.routing.candidates import Counted


class Phase(IntEnum):
    """Order at one instant: faults, completions, dispatch, arrivals, dispatch, timers, timeouts.

    One DISPATCH is enough: a replica that completes a batch dispatches within its own completion, so
    completions and their dispatches come first, lowest replica first; what arrivals or a timer
    cause comes after all arrivals of the instant.
    """

    FAULT = 0
    COMPLETION = 1
    ARRIVAL = 2
    DISPATCH = 3
    TIMER = 4
    TIMEOUT = 5


_RANKS = 2**32  # more than there are replicas


def order_of(phase: Phase, rank: int) -> int:
    """The order of an event among all of its instant."""
    return phase * _RANKS + rank


class Clock(Environment):
    """Simulated time. Instants are absolute, so that none drifts by the rounding of a delay.

    Attributes:
        changes: numbers of what changes, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changes = numbers(1)

    def enter(self, instant_s: float, order: EventPriority, event: Event) -> None:
        """Schedule `event` at `instant_s`, ahead of all with a higher `order` at that instant."""
        heappush(self._queue, (instant_s, order, next(self._eid), event))

    @property
    def next_order(self) -> int:
        """The order of the next event among all of its instant."""
        return self._queue[0][1]

    def call(self, instant_s: float, phase: Phase, rank: int, action: Callable[[], None]) -> "Moment":
        """Have something done at an instant; it is called off by clearing the moment's callbacks."""
        moment = Moment(self).at(instant_s, phase, rank)
        moment.callbacks = [lambda _: action()]
        return moment


class Moment(Event):
    """An event that is set to happen at an instant, in a phase, lowest rank first."""

    env: Clock

    def at(self, instant_s: float, phase: Phase, rank: int = 0) -> Self:
        """Happen then; SimPy's own Timeout also sets its outcome in advance."""
        self._ok = True
        self._value = None
        self.env.enter(instant_s, EventPriority(order_of(phase, rank)), self)
        return self

    def moved(self, instant_s: float, phase: Phase, rank: int = 0) -> "Moment":
        """Another moment that happens then instead: what waited for this one waits for that."""
        other = Moment(self.env).at(instant_s, phase, rank)
        other.callbacks, self.callbacks = self.callbacks, []
        return other


class Job(Protocol):
    """The batch that a replica serves: the work left at an instant, and when it will end at that rate.

    The instant is in the future while its replica pauses until then.
    """

    work_s: float
    since_s: float
    ends_s: float
    end: Moment


@dataclass(slots=True)
class Served:
    """A `Job` of a replica that never fails."""

    work_s: float
    since_s: float
    ends_s: float
    end: Moment


class Device:
    """The instances of one device and what they are busy with.

    Args:
        slowdowns: how many times as long a batch takes while 1, 2, ... instances are busy.
    """

    def __init__(self, clock: Clock, slowdowns: Sequence[float]) -> None:
        self._clock = clock
        self._slowdowns = slowdowns
        self._jobs: dict[int, Job] = {}  # by replica; empty where there is no other instance to slow down

    def serve(self, replica: int, work_s: float) -> Moment:
        """A replica starts a batch, from rest or right after another; the moment at which that ends."""
        now_s = self._clock.now
        ends_s = now_s + work_s * self.enter(replica)
        end = Moment(self._clock).at(ends_s, Phase.COMPLETION, replica)
        self.hold(replica, Served(work_s, now_s, ends_s, end))
        return end

    def enter(self, replica: int) -> float:
        """A replica starts a batch, from rest or right after another: how many times as long as alone it takes now."""
        if len(self._slowdowns) == 1:
            return 1.0
        busy = len(self._jobs)
        if replica not in self._jobs:
            busy += 1
            self._change(self._clock.now, busy - 1, busy)
        return self._slowdowns[busy - 1]

    def hold(self, replica: int, job: Job) -> None:
        """This is what a replica serves that has entered."""
        if len(self._slowdowns) > 1:
            self._jobs[replica] = job

    def rest(self, replica: int) -> None:
        """A replica has nothing to serve, at once or since before."""
        if self._jobs.pop(replica, None) is not None:
            busy = len(self._jobs)
            self._change(self._clock.now, busy + 1, busy)

    def pause(self, replica: int, length_s: float) -> None:
        """A replica stands still for a while, and keeps its place here."""
        job = self._jobs.get(replica)
        if job is not None:
            self._work_off(job, len(self._jobs))
            job.since_s += length_s

    def _change(self, now_s: float, before: int, after: int) -> None:
        """The other batches that end later go on at the new rate; none ends at the instant of the change itself."""
        if before == 0 or after == 0 or self._slowdowns[before - 1] == self._slowdowns[after - 1]:
            return
        for replica, job in self._jobs.items():
            if job.ends_s > now_s:
                self._work_off(job, before)
                ends_s = job.since_s + job.work_s * self._slowdowns[after - 1]
                job.ends_s = max(ends_s, math.nextafter(now_s, math.inf))
                job.end = job.end.moved(job.ends_s, Phase.COMPLETION, replica)

    def _work_off(self, job: Job, busy: int) -> None:
        """A job is worked on until now, beside this many busy ones; not if its replica pauses until later."""
        now_s = self._clock.now
        if now_s > job.since_s:
            job.work_s -= (now_s - job.since_s) / self._slowdowns[busy - 1]
            job.since_s = now_s


class RequestQueue:
    """A FIFO queue in front of one replica, or in front of all of them.

    A request is its number in order of arrival; it comes here then, or later if a balancer held it back. Each free
    replica has room for a batch; a request that finds no room there and the limit reached is rejected.
    """

    def __init__(self, clock: Clock, plan: BatchPlan, replicas: int) -> None:
        self._clock = clock
        self._plan = plan
        self._rule = rule_for(plan)
        self._limit = plan.queue_limit
        self._free = replicas  # that serve no batch, called or not
        self._waiting: deque[tuple[int, float]] = deque()  # each with the instant at which it came here
        self._idle: list[tuple[int, Moment]] = []  # a heap: the lowest replica is called first
        self._ended_s = -math.inf  # when the last batch ended that was taken from here, at any replica
        self._timed: tuple[int, float] | None = None  # the request for which the latest timer was set

    def join(self, request: int) -> bool:
        """A request arrives at the end of the queue; False if it finds no room and is rejected."""
        if self._limit is not None and len(self._waiting) >= self._limit + self._room():
            return False
        self._waiting.append((request, self._clock.now))
        self._rule.joins(self._clock.now)
        self._call_replica()
        return True

    def is_due(self) -> bool:
        """Whether an idle replica must start a batch now."""
        return bool(self._waiting) and self._starts_s() <= self._clock.now

    def take(self) -> list[int]:
        """The oldest requests, as many as the next batch has; those that stay have called a replica already."""
        self._free -= 1
        size = self._rule.take(len(self._waiting), self._oldest_s(), self._clock.now)
        return [self._waiting.popleft()[0] for _ in range(size)]

    def occupy(self) -> None:
        """A replica serves a batch at the start whose requests did not come from here."""
        self._free -= 1

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
        """Room in the next batches of the free replicas."""
        return self._free * self._plan.batch_size_max

    def _call_replica(self) -> None:
        """Call the lowest idle replica if a batch is due; else set a timer for the oldest request."""
        if not self._idle or not self._waiting:
            return
        self._rule.sees(self._clock.now)
        if self.is_due():
            replica, call = heappop(self._idle)
            call.at(self._clock.now, Phase.DISPATCH, replica)
        elif self._timed != self._waiting[0]:
            self._timed = self._waiting[0]
            self._clock.call(self._starts_s(), Phase.TIMER, 0, self._call_replica)

    def _starts_s(self) -> float:
        """Start of the next batch if a replica is free from now on. [s]"""
        return self._rule.starts_s(len(self._waiting), self._oldest_s(), self._clock.now)

    def _oldest_s(self) -> float:
        """Instant at which the oldest request came. [s]"""
        return self._waiting[0][1]


class Replica(Counted):
    """One server: waits for its queue's call, takes a batch, is busy until its device has done the work."""

    def __init__(self, index: int, queue: RequestQueue, device: Device, clock: Clock) -> None:
        super().__init__(index, clock.changes)
        self.queue = queue
        self.device = device
        self._begun_ends_s = -math.inf  # when the batch ends that it serves at the start

    def begin(self, size: int, ends_s: float) -> None:
        """Serve a batch at the start, whose requests are not among those of the run."""
        self.queue.occupy()
        self.outstanding, self._begun_ends_s = size, ends_s

    def join(self, request: int) -> bool:
        """A request arrives here; False if it finds no room and is rejected."""
        is_accepted = self.queue.join(request)
        self.count(int(is_accepted))
        return is_accepted

    def serve(
        self,
        clock: Clock,
        service_times: ServiceTimes,
        uniforms: Sequence[float],
        finish: Callable[[Batch], None],
    ) -> Generator[Moment, None, None]:
        """Serve forever. A batch's work is drawn with the uniform number of its oldest request."""
        if (begun := self.outstanding) > 0:
            yield Moment(clock).at(self._begun_ends_s, Phase.COMPLETION, self.index)
            self.queue.release()
            self.count(-begun)
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
            self.count(-len(requests))
            finish(Batch(self.index, started_s, clock.now, requests))
