"""Workers: run tasks on threads, or on any other `concurrent.futures.Executor`, with results in order.

Results come in the order of the tasks, so that an answer has the same bytes for any number of workers. A window of
tasks is submitted at a time: a hundred thousand of them are never held at once.

A thread cannot be killed. Long loops in a thread call `leave_if_abandoned` block by block, so that they end soon
after an interrupt instead of delaying the end of the program.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")

# Tasks submitted and not yet taken, for each worker: enough that a slow one at the head delays no other.
_WINDOW_PER_WORKER = 4
# How often to check whether a silent executor is still alive.
_POLL_S = 1.0
_here = threading.local()


class Mapper(Protocol):
    """A `map`: a function over tasks, with its results in the order of the tasks."""

    def __call__(self, function: Callable[[Input], Output], tasks: Iterable[Input], /) -> Iterable[Output]:
        """Results in the order of the tasks."""


class Abandoned(BaseException):
    """Raised when nothing waits for a task any more; not an `Exception`, so that no error handler catches it."""


def leave_if_abandoned() -> None:
    """Raise `Abandoned` if nothing waits for this task; long loops call it every few milliseconds.

    Outside a worker thread it never does: the main thread is interrupted by its own exception.
    """
    stop: threading.Event | None = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise Abandoned


@contextmanager
def workers(count: int) -> Iterator[Mapper]:
    """A mapper over `count` threads, which share memory; `map` in this thread for one.

    The compiled kernel computes outside Python's lock; SimPy does not, and gains nothing from threads.
    """
    if count <= 1:
        yield map
        return
    executor = ThreadPoolExecutor(count, thread_name_prefix="capacity")
    mapper = ExecutorMapper(executor, window=_WINDOW_PER_WORKER * count)
    try:
        yield mapper
    finally:
        mapper.abandon()
        executor.shutdown(wait=False, cancel_futures=True)


class ExecutorMapper:
    """The mapper of an executor, local or on a cluster.

    Args:
        window: largest number of submitted tasks whose results are not yet taken.
        check: called about every second while no result comes; raises if none ever will.
    """

    def __init__(self, executor: Executor, *, window: int, check: Callable[[], None] = lambda: None) -> None:
        self._executor, self._window, self._check = executor, window, check
        self._stops: set[threading.Event] = set()

    def __call__(self, function: Callable[[Input], Output], tasks: Iterable[Input], /) -> Iterator[Output]:
        """Results in the order of the tasks; nothing is submitted before the first is asked for."""
        stop = threading.Event()
        self._stops.add(stop)
        if isinstance(self._executor, ThreadPoolExecutor):
            function = partial(_until, stop, function)
        pending: deque[Future[Output]] = deque()
        try:
            for task in tasks:
                pending.append(self._executor.submit(function, task))
                if len(pending) >= self._window:
                    yield self._result(pending.popleft())
            while pending:
                yield self._result(pending.popleft())
        finally:
            stop.set()
            self._stops.discard(stop)
            for future in pending:
                future.cancel()

    def abandon(self) -> None:
        """Signal to every task still running in a thread that nothing waits for it."""
        for stop in tuple(self._stops):
            stop.set()

    def _result(self, future: Future[Output]) -> Output:
        while True:
            try:
                return future.result(_POLL_S)
            except TimeoutError:
                if future.done():  # the task's own
                    raise
                self._check()


def _until(stop: threading.Event, function: Callable[[Input], Output], task: Input) -> Output:
    """Call the function, in a thread that knows by `stop` whether its result is still wanted."""
    _here.stop = stop
    try:
        leave_if_abandoned()
        return function(task)
    finally:
        _here.stop = None
