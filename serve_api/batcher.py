"""Batcher: one queue, one batch at a time, and the rule that says when the next one starts."""

import asyncio
import time
from collections import deque
from typing import Protocol

from serve_api.backend import FloatRows, Predictions
from serve_api.batch import Batch, Outcome, Served, Waiting
from serve_api.breaker import CircuitState
from serve_api.deployment import Deployment
from serve_api.inference_thread import InferenceThread
from serve_api.log import say
from serve_api.metrics import Metrics
from serve_api.refusal import Reason, Refused
from serve_api.settings import Settings


class Versions(Protocol):
    """Who says which version takes the next batch."""

    serving: Deployment

    def draw(self, now_s: float) -> Deployment:
        """The version of the next batch."""


class Batcher:
    """The queue of one server. All of it runs in the event loop; only `Backend.predict` does not.

    While idle it starts a batch as soon as the queue holds `size_max` rows or the oldest request has waited
    `wait_max_s`. It takes the oldest requests up to `size_max` rows and never splits one. When a batch ends
    the next one is on its way before the answers are written.
    """

    def __init__(self, settings: Settings, versions: Versions, metrics: Metrics) -> None:
        self._batch = settings.batch
        self._queue_max = settings.limits.queue_max
        self._time_max_s = settings.inference.time_max_s
        self._versions = versions
        self._metrics = metrics
        self._thread = InferenceThread(nice=settings.inference.nice, done=self._ended)
        self._loop: asyncio.AbstractEventLoop
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._running: Batch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.hung = False
        self._waits = metrics.queue_wait_seconds.labels()
        metrics.queue_length.set_function(self.__len__)

    def start(self) -> None:
        """Begin to serve, in the loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._thread.start(self._loop)

    def stop(self) -> None:
        """End the thread after its batch."""
        self._thread.stop()

    def check_room(self, now_s: float) -> None:
        """Whether one more request could be taken.

        Raises:
            Refused: the model hangs, its circuit is open, or the queue is full.
        """
        if self.hung:
            raise self._hung_up()
        breaker = self._versions.serving.breaker
        if not breaker.admits(now_s, self._in_system()):
            raise _circuit_open(breaker.retry_after_s(now_s))
        if len(self._queue) >= self._queue_max:
            raise Refused(Reason.QUEUE_FULL, "too many requests wait", retry_after_s=1.0)

    def submit(self, rows: FloatRows, deadline_s: float) -> asyncio.Future[Served]:
        """Put a request into the queue.

        Raises:
            Refused: there is no room for it.
        """
        now_s = time.monotonic()
        self.check_room(now_s)
        answer: asyncio.Future[Served] = self._loop.create_future()
        self._queue.append(Waiting(rows=rows, arrived_s=now_s, deadline_s=deadline_s, answer=answer))
        self._rows += len(rows)
        if self._running is None:
            self._consider(now_s)
        return answer

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def _in_system(self) -> int:
        return len(self._queue) + (0 if self._running is None else len(self._running.members))

    def _consider(self, now_s: float) -> None:
        """Start a batch if one is due, or see to it that it will be."""
        while self._queue and self._running is None:
            due_s = self._queue[0].arrived_s + self._batch.wait_max_s
            if self._rows < self._batch.size_max and now_s < due_s:
                if self._timer is None:
                    self._timer = self._loop.call_later(due_s - now_s, self._on_timer)
                return
            self._start(now_s)

    def _on_timer(self) -> None:
        self._timer = None
        self._consider(time.monotonic())  # a timer of the loop may be early by less than 1 ms

    def _start(self, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        members, size = self._take(now_s)
        if not members:  # all had waited too long
            return
        batch = Batch(deployment=self._versions.draw(now_s), members=members, size=size, taken_s=now_s)
        self._running = batch
        self._watch = self._loop.call_later(self._time_max_s, self._on_hang, batch)
        self._thread.give(batch)

    def _take(self, now_s: float) -> tuple[list[Waiting], int]:
        """The oldest requests that fit, without those whose deadline has passed."""
        members: list[Waiting] = []
        size = 0
        while self._queue and size + len(self._queue[0].rows) <= self._batch.size_max:
            waiting = self._queue.popleft()
            self._rows -= len(waiting.rows)
            if waiting.deadline_s <= now_s:
                _refuse(waiting, Refused(Reason.DEADLINE, "its deadline passed while it waited"))
                continue
            members.append(waiting)
            size += len(waiting.rows)
        return members, size

    def _ended(self, batch: Batch, outcome: Outcome) -> None:
        now_s = time.monotonic()
        self._metrics.batch_cpu_seconds.inc(outcome.cpu_s)
        if self._running is not batch:
            self._came_back(batch, now_s)
            return
        self._running = None
        if self._watch is not None:
            self._watch.cancel()
        self._judge(batch, outcome, now_s)
        self._next(now_s)
        self._count(batch, outcome, now_s)
        _answer(batch, outcome, now_s)

    def _came_back(self, batch: Batch, now_s: float) -> None:
        """A batch that was given up has ended after all: its answers are nobody's, but its thread is free."""
        self.hung = False
        say("model_back", version=batch.deployment.version, after_s=round(now_s - batch.taken_s, 3))

    def _judge(self, batch: Batch, outcome: Outcome, now_s: float) -> None:
        """Tell the circuit; first of all, since it says whether another batch may follow."""
        deployment = batch.deployment
        if outcome.predictions is not None:
            deployment.breaker.succeeded()
            return
        deployment.breaker.failed(now_s)
        say("batch_failed", version=deployment.version, rows=batch.size, failure=outcome.failure)

    def _next(self, now_s: float) -> None:
        """Go on with the queue, or give it up where the model is to be left alone."""
        breaker = self._versions.serving.breaker
        if breaker.state(now_s) is CircuitState.OPEN:
            self._refuse_all(_circuit_open(breaker.retry_after_s(now_s)))
        else:
            self._consider(now_s)

    def _count(self, batch: Batch, outcome: Outcome, now_s: float) -> None:
        if outcome.predictions is None:
            return
        batch.deployment.batch_seconds(batch.size).observe(now_s - batch.taken_s)
        for member in batch.members:
            self._waits.observe(batch.taken_s - member.arrived_s)

    def _on_hang(self, batch: Batch) -> None:
        """Give up a batch; its thread cannot be killed, so that nothing is computed until it comes back."""
        self.hung = True
        self._running = None
        batch.deployment.breaker.trip(time.monotonic())
        say("model_hung", version=batch.deployment.version, after_s=self._time_max_s)
        for member in batch.members:
            _refuse(member, self._hung_up())
        self._refuse_all(self._hung_up())

    def _hung_up(self) -> Refused:
        return Refused(Reason.MODEL_HUNG, "the model does not answer", retry_after_s=self._time_max_s)

    def _refuse_all(self, refused: Refused) -> None:
        while self._queue:
            _refuse(self._queue.popleft(), refused)
        self._rows = 0


def _circuit_open(retry_after_s: float) -> Refused:
    return Refused(Reason.CIRCUIT_OPEN, "the model fails and is left alone", retry_after_s=retry_after_s)


def _refuse(waiting: Waiting, refused: Refused) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(refused)


def _answer(batch: Batch, outcome: Outcome, now_s: float) -> None:
    if outcome.predictions is None:
        for member in batch.members:
            _refuse(member, Refused(Reason.MODEL_FAILED, "the model failed"))
        return
    first = 0
    for member in batch.members:
        last = first + len(member.rows)
        if not member.answer.done():
            member.answer.set_result(_part(batch, member, outcome.predictions, slice(first, last), now_s))
        first = last


def _part(batch: Batch, member: Waiting, all_of_it: Predictions, its: slice, now_s: float) -> Served:
    return Served(
        labels=all_of_it.labels[its],
        probabilities=all_of_it.probabilities[its],
        deployment=batch.deployment,
        queue_s=batch.taken_s - member.arrived_s,
        batch_s=now_s - batch.taken_s,
        batch_size=batch.size,
    )
