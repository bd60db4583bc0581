"""Inference thread: the one thread in which models are computed, so that the event loop goes on meanwhile."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from serve_api.backend import FloatRows, Predictions, still_answers
from serve_api.batch import Batch, Outcome
from serve_api.log import place_of

Done = Callable[[Batch, Outcome], None]


class InferenceThread:
    """One batch after the other; `done` is called in the event loop."""

    def __init__(self, *, nice: int, done: Done) -> None:
        self._nice = nice
        self._done = done
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work for a loop."""
        # A daemon, since a model that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=(loop,), name="inference", daemon=True).start()

    def give(self, batch: Batch) -> None:
        """The next batch."""
        self._batches.put(batch)

    def stop(self) -> None:
        """No more batches."""
        self._batches.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        step_back(self._nice)
        while (batch := self._batches.get()) is not None:
            outcome = _computed(batch)
            try:
                loop.call_soon_threadsafe(self._done, batch, outcome)
            except RuntimeError:  # the loop has ended meanwhile
                return


def step_back(nice: int) -> None:
    """Lower the priority of the calling thread, if it is not as low already: on Linux each has its own."""
    thread = threading.get_native_id()
    if nice:  # what the process was started with may be lower, and to raise it takes a right that few have
        os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))


def _computed(batch: Batch) -> Outcome:
    backend, began_s = batch.deployment.backend, time.thread_time()
    predictions: Predictions | None = None
    failure, works = "", True
    try:
        predictions = backend.predict(_together(batch))
    except Exception as error:  # whatever a model raises is a failure of its batch, never of the thread
        failure = place_of(error)
    if predictions is None or len(predictions.unanswered) == batch.size:
        works = still_answers(backend)
    if not works:
        predictions, failure = None, failure or "no finite answer"
    return Outcome(predictions, failure, works, time.thread_time() - began_s)


def _together(batch: Batch) -> FloatRows:
    if len(batch.members) == 1:
        return batch.members[0].rows
    return np.concatenate([member.rows for member in batch.members])
