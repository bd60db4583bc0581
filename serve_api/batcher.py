"""Batcher: one queue, one batch at a time, and the rule that says when the next one starts."""

import asyncio
import math
import time
from collections import deque

from serve_api.alarm import Alarm
from serve_api.backend import FloatRows, Predictions
from serve_api.batch import Again, Batch, Blame, ModelRefused, Outcome, Served, Waiting
from serve_api.breaker import CircuitState
from serve_api.deployment import Deployment
from serve_api.inference_thread import InferenceThread
from serve_api.log import Seldom, say
from serve_api.metrics import BatchEnd, Metrics
from serve_api.refusal import Reason, Refused
from serve_api.rollout import Rollout
from serve_api.settings import Settings
from serve_api.waiting_line import WaitingLine

# To look through a full queue takes as long as half a request, so that it is not done more often.
_SWEEP_INTERVAL_S = 0.01


class Batcher:
    """The queue of one server. All of it runs in the event loop; only `Backend.predict` does not.

    While idle it starts a batch as soon as the queue holds `size_max` rows or the oldest request has waited
    `wait_max_s`; for a request with less time than twice that, when half of it is over. It takes the oldest
    requests up to `size_max` rows and never splits one. When a batch ends the next one is on its way before
    the answers are written.

    Requests of a batch that failed are served again before all others: by the version that serves where it
    was another one that failed, else in halves, so that a request that the model cannot bear fails alone.
    The other one has failed if it does not work at all, or if the one that serves answers what it did not.
    """

    def __init__(self, settings: Settings, versions: Rollout, metrics: Metrics) -> None:
        self._batch = settings.batch
        self._queue_max = settings.limits.queue_max
        self._inference = settings.inference
        self._versions = versions
        self._metrics = metrics
        self._thread = InferenceThread(nice=settings.inference.nice, done=self._ended)
        self._loop: asyncio.AbstractEventLoop
        self._line = WaitingLine()
        self._again: deque[Again] = deque()
        self._running: Batch | None = None
        self._hung: Batch | None = None
        self._due = Alarm(self._on_due)
        self._late = Alarm(self._on_late, _SWEEP_INTERVAL_S)
        self._swept_s = -math.inf
        self._watch: asyncio.TimerHandle | None = None
        self._waits = metrics.queue_wait_seconds.labels()
        self._failures = Seldom("batch_failed")
        metrics.queue_length.set_function(self.__len__)
        metrics.model_hung.set_function(lambda: self.hung)

    @property
    def hung(self) -> bool:
        """Whether the version that serves was given a batch and does not come back from it."""
        return self._hung is not None

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
        if self._hung is not None:
            raise self._hung_up(self._hung)
        breaker = self._versions.serving.breaker
        if not (breaker.closed or breaker.admits(now_s, self._in_system())):
            raise _circuit_open(breaker.retry_after_s(now_s))
        if len(self._line) >= self._queue_max and not self._makes_room(now_s):
            raise Refused(Reason.QUEUE_FULL, "too many requests wait", retry_after_s=1.0)

    def submit(self, rows: FloatRows, deadline_s: float) -> asyncio.Future[Served]:
        """Put a request into the queue; who leaves before the answer cancels it, and is not computed.

        Raises:
            Refused: there is no room for it.
        """
        now_s = time.monotonic()
        self.check_room(now_s)
        answer: asyncio.Future[Served] = self._loop.create_future()
        due_s = now_s + min(self._batch.wait_max_s, (deadline_s - now_s) / 2)
        self._line.append(
            Waiting(rows=rows, arrived_s=now_s, due_s=due_s, deadline_s=deadline_s, answer=answer)
        )
        if deadline_s < self._late.at_s:
            self._late.set(deadline_s, now_s)
        if self._running is None:
            self._consider(now_s)
        return answer

    def left(self) -> None:
        """Somebody has cancelled its answer: it takes no place, and makes no batch full."""
        now_s = time.monotonic()
        self._line.left()
        if now_s < self._late.at_s:
            self._late.set(now_s, now_s)

    def __len__(self) -> int:
        """Requests that wait."""
        again = list(self._again)  # at one stroke, since the metrics are read by another thread
        return len(self._line) + sum(len(group.members) for group in again)

    def _in_system(self) -> int:
        return len(self) + (0 if self._running is None else len(self._running.members))

    def _consider(self, now_s: float) -> None:
        """Start a batch if one is due, or see to it that it will be."""
        line = self._line
        while self._running is None:
            if now_s >= line.late_s:
                self._sweep(now_s)
            if self._again:
                members, blame = self._again.popleft()
                self._start(self._versions.serving, line.staying(members, now_s), now_s, blame)
            elif line.rows >= self._batch.size_max or line.due_s() <= now_s:
                deployment = self._versions.draw(now_s)
                size_max, requests_max = self._batch.size_max, deployment.breaker.batch_requests_max
                self._start(deployment, line.take(size_max, requests_max), now_s)
            else:
                self._due.set(line.due_s(), now_s)
                return

    def _start(
        self, deployment: Deployment, members: list[Waiting], now_s: float, blame: Blame | None = None
    ) -> None:
        if not members:  # all had waited too long, or left
            return
        self._due.set(math.inf, now_s)
        size = sum(len(member.rows) for member in members)
        batch = Batch(deployment=deployment, members=members, size=size, taken_s=now_s, blame=blame)
        self._running = batch
        self._watch = self._loop.call_later(self._inference.time_max_s, self._on_hang, batch)
        self._thread.give(batch)

    def _on_due(self) -> None:
        if self._running is None:
            self._consider(time.monotonic())  # a timer of the loop may be early by less than 1 ms

    def _on_late(self) -> None:
        """Tell whose deadline has passed; one timer for all who wait."""
        now_s = time.monotonic()
        self._sweep(now_s)
        self._late.set(self._line.late_s, now_s)

    def _makes_room(self, now_s: float) -> bool:
        if now_s - self._swept_s >= _SWEEP_INTERVAL_S:
            self._sweep(now_s)
        return len(self._line) < self._queue_max

    def _sweep(self, now_s: float) -> None:
        self._swept_s = now_s
        self._line.drop_late(now_s)

    def _ended(self, batch: Batch, outcome: Outcome) -> None:
        now_s = time.monotonic()
        self._metrics.batch_cpu_seconds.inc(outcome.cpu_s)
        if self._running is not batch:
            self._came_back(batch, now_s)
            return
        self._running = None
        if self._watch is not None:
            self._watch.cancel()
        predictions, serving = outcome.predictions, self._versions.serving
        if predictions is None or (predictions.unanswered and batch.deployment is not serving):
            self._failed(batch, outcome, now_s)
            self._next(now_s)
            return
        batch.deployment.breaker.succeeded()  # first of all, since it says whether another may follow
        if batch.blame is not None:
            self._judge(batch.blame, predictions, now_s)
        self._next(now_s)
        self._count(batch, now_s)
        batch.answer(predictions, now_s)

    def _failed(self, batch: Batch, outcome: Outcome, now_s: float) -> None:
        """Who can be served after all waits again; a model that answers what it must has not failed."""
        deployment, members = batch.deployment, batch.members
        deployment.batches[BatchEnd.FAILED].inc()
        failure = outcome.failure or "no finite answer"
        self._failures.say(now_s, version=deployment.version, rows=batch.size, failure=failure)
        if deployment is not self._versions.serving:
            self._again.appendleft(Again(members, self._blame(batch, outcome, now_s)))
        elif not outcome.works:
            deployment.breaker.failed(now_s)
            batch.refuse(ModelRefused(deployment, Reason.MODEL_FAILED, "the model failed"))
        elif len(members) > 1:
            middle = len(members) // 2
            self._again.extendleft([Again(members[middle:]), Again(members[:middle])])
        else:
            message = "the model failed at this request, and answers others"
            batch.refuse(ModelRefused(deployment, Reason.MODEL_FAILED, message))

    def _blame(self, batch: Batch, outcome: Outcome, now_s: float) -> Blame | None:
        """For what another version did not answer; None where it is known already that it fails."""
        if not outcome.works:
            batch.deployment.breaker.failed(now_s)
            return None
        predictions = outcome.predictions
        return Blame(batch.deployment, batch.size if predictions is None else len(predictions.unanswered))

    def _judge(self, blame: Blame, predictions: Predictions, now_s: float) -> None:
        """Another version has failed where the one that serves has answered more."""
        if len(predictions.unanswered) < blame.unanswered:
            blame.deployment.breaker.failed(now_s)

    def _next(self, now_s: float) -> None:
        """Go on with the queue, or give it up where the model is to be left alone."""
        breaker = self._versions.serving.breaker
        if breaker.state(now_s) is CircuitState.OPEN:
            self._refuse_all(_circuit_open(breaker.retry_after_s(now_s)))
        else:
            self._consider(now_s)

    def _count(self, batch: Batch, now_s: float) -> None:
        batch.deployment.batches[BatchEnd.OK].inc()
        batch.deployment.batch_seconds(batch.size).observe(now_s - batch.taken_s)
        for member in batch.members:
            self._waits.observe(batch.taken_s - member.arrived_s)

    def _on_hang(self, batch: Batch) -> None:
        """Give up a batch; its thread cannot be killed, and nothing is computed in it until it is back.

        Where it is another version than the one that serves, that one goes on in a thread of its own, and the
        other is not asked again before it is back: a process started anew would only hang in it again.
        """
        deployment = batch.deployment
        self._running = None
        deployment.breaker.hold()
        deployment.batches[BatchEnd.HUNG].inc()
        say("model_hung", version=deployment.version, after_s=self._inference.time_max_s)
        if deployment is self._versions.serving:
            self._hung = batch
            batch.refuse(self._hung_up(batch))
            self._refuse_all(self._hung_up(batch))
        else:
            self._thread.stop()
            self._thread = InferenceThread(nice=self._inference.nice, done=self._ended)
            self._thread.start(self._loop)
            self._again.appendleft(Again(batch.members))
            self._next(time.monotonic())

    def _came_back(self, batch: Batch, now_s: float) -> None:
        """A batch that was given up has ended after all: its answers are nobody's, but its thread is free."""
        if batch is self._hung:
            self._hung = None
        batch.deployment.breaker.trip(now_s)
        say("model_back", version=batch.deployment.version, after_s=round(now_s - batch.taken_s, 3))

    def _hung_up(self, batch: Batch) -> Refused:
        retry_after_s = self._inference.time_max_s
        message = "the model does not answer"
        return ModelRefused(batch.deployment, Reason.MODEL_HUNG, message, retry_after_s=retry_after_s)

    def _refuse_all(self, refused: Refused) -> None:
        for waiting in (waiting for group in self._again for waiting in group.members):
            waiting.refuse(refused)
        self._again.clear()
        self._line.refuse_all(refused)


def _circuit_open(retry_after_s: float) -> Refused:
    return Refused(Reason.CIRCUIT_OPEN, "the model fails and is left alone", retry_after_s=retry_after_s)
