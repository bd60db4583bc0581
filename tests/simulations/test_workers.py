"""Workers: results in order, windows that stay small, errors that come out, threads that know when to stop."""

import contextlib
import threading
import time
from concurrent.futures import Executor, Future

import pytest

from capacity.errors import DependencyError
from simulations.workers import Abandoned, ExecutorMapper, leave_if_abandoned, workers

pytestmark = pytest.mark.usefixtures("deadline")


class Counting(Executor):
    """Runs at once, and remembers how many tasks it was given."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Silent(Executor):
    """Accepts tasks and never does any."""

    def submit(self, fn, /, *args, **kwargs):
        return Future()


def later_first(number: int) -> int:
    """Takes the longer, the earlier the task."""
    time.sleep(0.01 * (5 - number % 5))
    return number * number


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(count: int) -> None:
    with workers(count) as mapper:
        assert list(mapper(later_first, range(25))) == [number * number for number in range(25)]
        assert list(mapper(later_first, [])) == []


def test_one_worker_is_this_thread() -> None:
    with workers(1) as mapper:
        assert mapper is map


def test_no_more_than_a_window_of_tasks_is_submitted_ahead() -> None:
    executor = Counting()
    results = iter(ExecutorMapper(executor, window=6)(abs, iter(range(100_000))))
    assert executor.submitted == 0
    for taken in range(1, 20):
        next(results)
        assert executor.submitted == taken + 5


def test_an_error_is_raised_and_the_workers_go_on() -> None:
    with workers(2) as mapper:
        with pytest.raises(ZeroDivisionError):
            list(mapper(lambda x: 1 // x, [1, 2, 0, 3]))
        assert list(mapper(abs, [-1, -2])) == [1, 2]


def test_a_timeout_of_a_task_is_its_error() -> None:
    def fail(_: int) -> None:
        raise TimeoutError("its own")

    with workers(2) as mapper, pytest.raises(TimeoutError, match="its own"):
        list(mapper(fail, [1]))


def test_a_silent_executor_is_asked_whether_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.workers._POLL_S", 0.01)

    def lost() -> None:
        raise DependencyError("lost")

    with pytest.raises(DependencyError, match="lost"):
        list(ExecutorMapper(Silent(), window=2, check=lost)(abs, [1]))


@pytest.mark.parametrize("fails", [True, False])
def test_threads_are_told_when_nobody_waits_any_more(fails: bool) -> None:
    left = threading.Event()

    def work(number: int) -> None:
        try:
            while number > 0:
                leave_if_abandoned()
                time.sleep(0.005)
        except Abandoned:
            left.set()
            raise

    with contextlib.suppress(ZeroDivisionError), workers(2) as mapper:
        next(iter(mapper(work, range(8))))
        if fails:
            raise ZeroDivisionError
    assert left.wait(5.0)


def test_nobody_is_abandoned_outside_a_worker() -> None:
    leave_if_abandoned()
