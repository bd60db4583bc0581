"""Parallel: replications over worker processes, behind the one seam that every executor fits."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from capacity.errors import DependencyError

Input = TypeVar("Input")
Output = TypeVar("Output")


class Mapper(Protocol):
    """What `map` is: a function over tasks, with its results in the order of the tasks."""

    def __call__(self, function: Callable[[Input], Output], tasks: Iterable[Input], /) -> Iterable[Output]:
        """Results in the order of the tasks."""


@contextmanager
def workers(count: int) -> Iterator[Mapper]:
    """A mapper over `count` processes, started with the first task; in this process for one.

    Raises:
        DependencyError: a worker was killed or could not start.
    """
    if count <= 1:
        yield map
        return
    # Fresh processes: a forked one would inherit the locks of this one's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as executor:
        try:
            yield over(executor)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def over(executor: Executor) -> Mapper:
    """The mapper of an executor, local or on a cluster."""

    def mapper(function: Callable[[Input], Output], tasks: Iterable[Input], /) -> Iterable[Output]:
        try:
            return list(executor.map(function, tasks))
        except BrokenExecutor:
            raise DependencyError("a worker process died (out of memory?); use --workers 1") from None

    return mapper


def check_abandoned() -> None:
    """Placeholder until the seam for interrupts is merged."""
