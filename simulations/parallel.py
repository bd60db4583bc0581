"""Parallel: tasks over workers, behind the one seam that every `concurrent.futures.Executor` fits.

A mapper gives its results in the order of the tasks, so that an answer has the same bytes for any number of
workers, threads or processes, here or on a cluster. It submits a window of tasks at a time: a hundred
thousand of them are never held at once. The first error is raised as soon as it happens, not in its turn;
what waits is cancelled then, and what runs is not waited for.

A thread cannot be killed. Long loops that run in one call `leave_if_abandoned` now and then, block by block,
so that they end soon after an interrupt instead of holding up the end of the program.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from capacity.errors import DependencyError
from simulations.worker_processes import DIED, worker_processes

Input = TypeVar("Input")
Output = TypeVar("Output")

# Tasks that are submitted and not done, for each worker: one that runs, one that waits for it to end.
_SUBMITTED_PER_WORKER = 2
# How often a silent executor is asked whether it still lives.
_POLL_S = 1.0
_here = threading.local()


class WorkerKind(StrEnum):
    """What a worker is.

    THREADS: for what computes outside Python's lock; start at once and share memory.
    PROCESSES: for pure Python, such as SimPy; start afresh and are sent their tasks.
    """

    THREADS = "threads"
    PROCESSES = "processes"


class Mapper(Protocol):
    """What `map` is: a function over tasks, with its results in the order of the tasks."""

    def __call__(self, function: Callable[[Input], Output], tasks: Iterable[Input], /) -> Iterable[Output]:
        """Results in the order of the tasks."""


class Abandoned(BaseException):
    """Nobody waits for this task any more; no error, so that no handler of errors holds it up."""


def abandoned() -> bool:
    """Whether the mapper that this thread works for was interrupted, or raised the error of another task.

    Always False outside a worker thread: the main thread is interrupted by its exception, a worker
    process is ended from outside.
    """
    stop: threading.Event | None = getattr(_here, "stop", None)
    return stop is not None and stop.is_set()


def leave_if_abandoned() -> None:
    """For long loops, once a block of some milliseconds: raises `Abandoned` when nobody waits any more."""
    if abandoned():
        raise Abandoned


@contextmanager
def workers(count: int, kind: WorkerKind = WorkerKind.THREADS) -> Iterator[Mapper]:
    """A mapper over `count` workers, started with the first task; `map` in this thread for one.

    However the context is left, no worker outlives it by more than its present block of work.

    Raises:
        DependencyError: a worker was killed or could not start.
    """
    if count <= 1:
        yield map
    elif kind is WorkerKind.THREADS:
        with _threads(count) as mapper:
            yield mapper
    else:
        with _processes(count) as mapper:
            yield mapper


@contextmanager
def _threads(count: int) -> Iterator[Mapper]:
    executor = ThreadPoolExecutor(count, thread_name_prefix="capacity")
    mapper = ExecutorMapper(executor, submitted_max=_SUBMITTED_PER_WORKER * count)
    try:
        yield mapper
    finally:
        # What is still wanted was taken; what runs beyond that is told to end, and not waited for.
        mapper.abandon()
        executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _processes(count: int) -> Iterator[Mapper]:
    with worker_processes(count) as pool:
        yield ExecutorMapper(pool, submitted_max=_SUBMITTED_PER_WORKER * count, check=pool.check)


class ExecutorMapper:
    """The mapper of an executor, local or on a cluster.

    Args:
        submitted_max: tasks that are submitted and not done, at most; as many may be done and wait for
            their turn.
        lost: the message of an executor that broke.
        failures: the errors by which an executor says that it broke.
        check: called about every second while nothing finishes; raises when nothing ever will.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        submitted_max: int,
        lost: str = DIED,
        failures: tuple[type[BaseException], ...] = (BrokenExecutor, CancelledError),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._executor = executor
        self._submitted_max = submitted_max
        self._lost = lost
        self._failures = failures
        self._check = check
        self._stops: set[threading.Event] = set()

    def __call__(self, function: Callable[[Input], Output], tasks: Iterable[Input], /) -> Iterator[Output]:
        """Results in the order of the tasks; nothing is submitted before the first is asked for.

        Raises:
            DependencyError: the executor broke.
        """
        stop = threading.Event()
        self._stops.add(stop)
        if isinstance(self._executor, ThreadPoolExecutor):
            function = partial(_until, stop, function)
        pending: dict[Future[Output], int] = {}
        try:
            yield from self._results(function, enumerate(tasks), pending)
        except self._failures:
            raise DependencyError(self._lost) from None
        finally:
            stop.set()
            self._stops.discard(stop)
            self._cancel(pending)

    def _cancel(self, pending: Iterable[Future[Output]]) -> None:
        """What waits, except in a pool of processes, which does the few that do.

        A cancelled one would kill the thread that tells the others of a dead worker (CPython before 3.12).
        """
        if not isinstance(self._executor, ProcessPoolExecutor):
            for future in pending:
                future.cancel()

    def abandon(self) -> None:
        """Tell every task that still runs in a thread that nobody waits for it."""
        for stop in tuple(self._stops):
            stop.set()

    def _results(
        self,
        function: Callable[[Input], Output],
        numbered: Iterator[tuple[int, Input]],
        pending: dict[Future[Output], int],
    ) -> Iterator[Output]:
        ready: dict[int, Output] = {}
        finished: SimpleQueue[Future[Output]] = SimpleQueue()
        turn = 0
        while True:
            room = min(self._submitted_max, 2 * self._submitted_max - len(ready)) - len(pending)
            for number, task in islice(numbered, max(0, room)):
                future = self._submit(function, task)
                pending[future] = number
                future.add_done_callback(finished.put)
            if not pending:
                return
            done = _taken(finished)
            if not done:
                self._check()
            for future in sorted(done, key=pending.__getitem__):
                ready[pending.pop(future)] = future.result()
            while turn in ready:
                yield ready.pop(turn)
                turn += 1

    def _submit(self, function: Callable[[Input], Output], task: Input) -> Future[Output]:
        try:
            return self._executor.submit(function, task)
        except BrokenExecutor:
            raise
        except (OSError, RuntimeError) as error:
            raise DependencyError(f"no worker could be started ({error}); use --workers 1") from None


def _taken(finished: SimpleQueue[Future[Output]]) -> list[Future[Output]]:
    """What has finished, as soon as something has; nothing where nothing does for long.

    `concurrent.futures.wait` would wait by a lock that an interrupt can release under a worker (CPython's
    `Condition`), which then tells of it.
    """
    taken: list[Future[Output]] = []
    with suppress(Empty):
        taken.append(finished.get(timeout=_POLL_S))
        while True:
            taken.append(finished.get_nowait())
    return taken


def _until(stop: threading.Event, function: Callable[[Input], Output], task: Input) -> Output:
    """The function of a task, in a thread that knows by `stop` whether somebody still waits."""
    _here.stop = stop
    try:
        leave_if_abandoned()
        return function(task)
    finally:
        _here.stop = None
