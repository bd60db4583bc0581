"""Worker processes: a process pool that Ctrl-C, a killed worker or a killed owner leaves no trace of.

`concurrent.futures` alone would wait without end for a worker that was killed in the middle of sending a
result, would leave workers behind a killed owner, and has them all print a traceback at Ctrl-C.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.queues import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from capacity.errors import DependencyError

Output = TypeVar("Output")
Parameters = ParamSpec("Parameters")

DIED = "a worker process died (out of memory?); use --workers 1"
# For a worker without owner to send what it is sending; the owner may still read it.
_LAST_WORD_S = 2.0
# Held by a worker's main thread except while it computes, so that it is never ended while it sends.
_sending = threading.Lock()


@contextmanager
def worker_processes(count: int) -> Iterator["WorkerProcesses"]:
    """A pool of fresh processes; those that are at work when it is left by an exception end at once."""
    # Fresh: a forked one would inherit the locks of this one's threads.
    context = _RememberingContext()
    life, lifeline = multiprocessing.Pipe(duplex=False)
    pool = WorkerProcesses(count, mp_context=context, initializer=_live_by, initargs=(life,))
    pool.context = context
    try:
        yield pool
        pool.shutdown(cancel_futures=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        lifeline.close()
        life.close()


class _RememberingContext(SpawnContext):
    """Remembers the processes and the pipe of results that the pool makes, which it does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []
        self.results: SimpleQueue[Any] | None = None

    # The pool calls it by this name, and takes any process: only the class attribute has a type to override.
    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        """The next worker."""
        self.started.append(SpawnProcess(*args, **kwargs))
        return self.started[-1]

    def SimpleQueue(self) -> "SimpleQueue[Any]":  # noqa: N802
        """The pipe by which results come."""
        self.results = super().SimpleQueue()
        return self.results


class WorkerProcesses(ProcessPoolExecutor):
    """The pool. Its processes inherit that SIGINT is blocked, for Ctrl-C reaches all in a terminal."""

    context: _RememberingContext
    _dead_before = 0

    def submit(
        self, fn: Callable[Parameters, Output], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Output]:
        """As ever; this process gets a SIGINT of meanwhile when it is done."""
        work = partial(_computing, fn, *args, **kwargs)
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(work)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def check(self) -> None:
        """Called now and then while nothing finishes.

        Raises:
            DependencyError: a worker was found dead the time before, and the pool has not noticed since:
                it waits for the rest of a result that nobody is going to send.
        """
        if self._dead_before and self.context.results is not None:
            self.context.results.close()  # whoever waits for the rest sees the end
            raise DependencyError(DIED)
        self._dead_before = sum(process.exitcode is not None for process in self.context.started)


def _computing(function: Callable[[], Output], *args: Any, **kwargs: Any) -> Output:
    """The function, during which a worker may be ended."""
    _sending.release()
    try:
        return function(*args, **kwargs)
    finally:
        _sending.acquire()


def _live_by(life: Connection) -> None:
    """Ends this worker process, whatever it computes, once the other end is closed or its owner is gone."""

    def watch() -> None:
        life.poll(None)
        _sending.acquire(timeout=_LAST_WORD_S)
        os._exit(1)

    _sending.acquire()
    threading.Thread(target=watch, daemon=True).start()
