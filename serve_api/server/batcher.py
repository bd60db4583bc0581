"""Batcher: one queue, one batch at a time, and the rule that starts the next batch."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from serve_api.server.backend import Answers, FloatRows, Predictor
from serve_api.server.breaker import CircuitState
from serve_api.server.log import kind_of, say
from serve_api.server.metrics import Metrics
from serve_api.server.refusal import Reason, Refused
from serve_api.server.settings import Settings
from serve_api.server.versions import Deployment, Versions, step_back


class Served(NamedTuple):
    """Answer to one request, with its time in the queue and in its batch of this many rows."""

    labels: list[int]
    probabilities: list[list[float]]
    version: str
    queue_s: float
    batch_s: float
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """A request in the queue; a batch starts for it when it is due, and it is refused when it expires."""

    rows: FloatRows
    arrived_s: float
    due_s: float
    answer: asyncio.Future[Served]
    expiry: asyncio.TimerHandle

    def refuse(self, refused: Refused) -> None:
        """Answer with a refusal, unless it was answered already."""
        if not self.answer.done():
            self.answer.set_exception(refused)


class Batcher:
    """The queue of one server. All of it runs in the event loop, except `Backend.predict`.

    While idle it starts a batch as soon as the queue holds `batch_size_max` rows or the oldest request has waited
    `batch_wait_max_s`; for a request with less time than twice that, when half of it has passed. It takes the oldest
    requests up to `batch_size_max` rows and never splits one. When a batch ends, the next one starts before the
    answers are written.
    """

    def __init__(self, settings: Settings, versions: Versions, metrics: Metrics) -> None:
        self._settings = settings
        self._versions = versions
        self._metrics = metrics
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._changed = asyncio.Event()
        self._idle = True
        self._ended_s = -math.inf  # end of the last batch, unless the server has rested since
        self._thread = self._new_thread()
        self.hung = False  # the serving version does not return
        self.abandoned = False  # a thread hangs with a canary
        metrics.queue_length.set_function(self.__len__)
        metrics.model_hung.set_function(lambda: self.hung)

    def __len__(self) -> int:
        """Number of waiting requests."""
        return len(self._queue)

    def submit(self, rows: FloatRows, deadline_s: float) -> asyncio.Future[Served]:
        """Put a request into the queue, or refuse it."""
        now_s = time.monotonic()
        self.check_room(now_s)
        loop, left_s = asyncio.get_running_loop(), deadline_s - now_s
        answer: asyncio.Future[Served] = loop.create_future()
        waiting = Waiting(
            rows=rows,
            arrived_s=now_s,
            due_s=now_s + min(self._settings.batch_wait_max_s, left_s / 2),
            answer=answer,
            expiry=loop.call_later(left_s, self._expire, answer),
        )
        self._queue.append(waiting)
        self._rows += len(rows)
        if self._idle:
            self._changed.set()
        return answer

    def check_room(self, now_s: float) -> None:
        """Refuse a request if the model hangs, its circuit is open, or the queue is full."""
        if self.hung:
            raise self._hung_up()
        breaker = self._versions.serving.breaker
        if breaker.state(now_s) is CircuitState.OPEN:
            raise _circuit_open(breaker.retry_after_s(now_s))
        if len(self._queue) >= self._settings.queue_max:
            raise Refused(Reason.QUEUE_FULL, "too many requests wait", retry_after_s=1.0)

    async def run(self) -> None:
        """Serve batch after batch until cancelled."""
        members: list[Waiting] = []
        try:
            while True:
                await self._until_due()
                if members := self._take():  # empty if all were late
                    await self._serve(members)
        except Exception as error:  # a bug of ours, which only a restart cures
            say("internal_error", failure=kind_of(error))
            self.hung = True
            self._refuse_all(members, self._hung_up())
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _until_due(self) -> None:
        self._idle = True
        while self._rows < self._settings.batch_size_max:
            # A quick check: a queue with less than a batch of rows has less than a batch of requests.
            due_s = min((waiting.due_s for waiting in self._queue), default=None)
            wait_s = None if due_s is None else due_s - time.monotonic()
            if wait_s is not None and wait_s <= 0.0:
                break
            self._changed.clear()
            self._ended_s = -math.inf
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                break
        self._idle = False

    def _take(self) -> list[Waiting]:
        """The oldest requests that fit; none is split and none overtakes."""
        taken: list[Waiting] = []
        room = self._settings.batch_size_max
        while self._queue and len(self._queue[0].rows) <= room:
            oldest = self._queue.popleft()
            oldest.expiry.cancel()
            self._rows -= len(oldest.rows)
            room -= len(oldest.rows)
            taken.append(oldest)
        return taken

    def _expire(self, answer: asyncio.Future[Served]) -> None:
        """Refuse a request that still waits at its deadline."""
        late = next(waiting for waiting in self._queue if waiting.answer is answer)
        self._queue.remove(late)
        self._rows -= len(late.rows)
        late.refuse(Refused(Reason.DEADLINE, "its deadline passed while it waited"))

    def _start_s(self, members: Sequence[Waiting]) -> float:
        """Start of the next batch: now, or the end of the one before if its oldest request waited for that.

        What the server does between two batches delays that request as a batch does, so it counts as part of one.
        """
        ended_s, self._ended_s = self._ended_s, -math.inf
        return time.monotonic() if ended_s == -math.inf else max(ended_s, members[0].arrived_s)

    async def _serve(self, members: list[Waiting], deployment: Deployment | None = None) -> None:
        """Serve one batch; requests that a canary fails are served again by the serving version."""
        taken_s = self._start_s(members)
        serving = self._versions.serving
        asked = deployment or self._versions.draw(taken_s)
        rows = np.concatenate([member.rows for member in members])
        computing = asyncio.get_running_loop().run_in_executor(self._thread, _compute, asked.backend, rows)
        done, _ = await asyncio.wait({computing}, timeout=self._settings.inference_time_max_s)
        if not done:
            self._end(asked, "hung")
            asked.breaker.hold()
            say("model_hung", version=asked.version, after_s=self._settings.inference_time_max_s)
            if asked is serving:
                await self._wait_out(asked, members, computing)
            else:
                self.abandoned, self._thread = True, self._new_thread()
                await self._serve(members, serving)
            return
        try:
            answers, cpu_s = computing.result()
        except Exception as error:
            self._end(asked, "failed")
            asked.breaker.failed(time.monotonic())
            say("batch_failed", version=asked.version, rows=len(rows), failure=kind_of(error))
            if asked is not serving:
                await self._serve(members, serving)
            else:
                self._give_up(members)
            return
        asked.breaker.succeeded()
        self._metrics.batch_cpu_seconds.inc(cpu_s)
        self._end(asked, "ok")
        self._answer(members, asked.version, answers, taken_s)

    def _answer(self, members: Sequence[Waiting], version: str, answers: Answers, taken_s: float) -> None:
        """Answer each member with its part; a row without a finite answer refuses its own request alone."""
        self._ended_s = time.monotonic()
        batch_s, size = self._ended_s - taken_s, len(answers.labels)
        self._metrics.batch_seconds.labels(version, str(size)).observe(batch_s)
        first = 0
        for member in members:
            its = slice(first, first + len(member.rows))
            first = its.stop
            queue_s = taken_s - member.arrived_s
            self._metrics.queue_wait_seconds.observe(queue_s)
            if not all(answers.finite[its]):
                message = "the model has no finite answer; send numbers closer to the training data"
                member.refuse(Refused(Reason.NO_ANSWER, message))
            elif not member.answer.done():
                labels, probabilities = answers.labels[its], answers.probabilities[its]
                member.answer.set_result(Served(labels, probabilities, version, queue_s, batch_s, size))

    async def _wait_out(
        self, asked: Deployment, members: list[Waiting], computing: asyncio.Future[tuple[Answers, float]]
    ) -> None:
        """Refuse everything while a model hangs: a thread cannot be killed, only the process restarted."""
        self.hung = True
        self._refuse_all(members, self._hung_up())
        await asyncio.wait({computing})
        computing.exception()  # retrieved and ignored: the batch was given up
        self.hung = False
        asked.breaker.failed(time.monotonic())
        say("model_back", version=asked.version)

    def _give_up(self, members: list[Waiting]) -> None:
        """Refuse a batch that failed, and everything waiting if that opened the circuit."""
        now_s, breaker = time.monotonic(), self._versions.serving.breaker
        for member in members:
            member.refuse(Refused(Reason.MODEL_FAILED, "the model failed"))
        if breaker.state(now_s) is CircuitState.OPEN:
            self._refuse_all([], _circuit_open(breaker.retry_after_s(now_s)))

    def _refuse_all(self, members: list[Waiting], refused: Refused) -> None:
        for waiting in (*members, *self._queue):
            waiting.expiry.cancel()
            waiting.refuse(refused)
        self._queue.clear()
        self._rows = 0

    def _new_thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, initializer=step_back, initargs=(self._settings.inference_nice,))

    def _end(self, asked: Deployment, outcome: str) -> None:
        self._metrics.batches.labels(asked.version, outcome).inc()

    def _hung_up(self) -> Refused:
        wait_s = self._settings.inference_time_max_s
        return Refused(Reason.MODEL_HUNG, "the model does not answer", retry_after_s=wait_s)


def _compute(backend: Predictor, rows: FloatRows) -> tuple[Answers, float]:
    """Answers, and the CPU time that they took."""
    began_s = time.thread_time()
    answers = backend.predict(rows)
    if len(answers.labels) != len(rows):
        raise ValueError("not exactly one answer for each row")
    return answers, time.thread_time() - began_s


def _circuit_open(retry_after_s: float) -> Refused:
    return Refused(Reason.CIRCUIT_OPEN, "the model fails and is left alone", retry_after_s=retry_after_s)
