"""Workers: results in order, windows that stay small, errors that come out, threads that know when to stop."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from capacity.errors import DependencyError
from simulations.autoscaled import DaySimulation
from simulations.compare import PairedSimulation
from simulations.disturbed import DisturbedSimulation
from simulations.judge import SimulationJudge
from simulations.simulate import Simulation
from simulations.stress import StressSimulation
from simulations.validation.simulation import LawSimulation
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


def test_an_abandoned_mapper_ends_its_tasks() -> None:
    """While its results are still held, as on an interrupt; with one thread, the third task never begins."""
    began, over = threading.Event(), time.monotonic() + 5.0
    seen: list[int] = []

    def work(number: int) -> None:
        seen.append(number)
        if number > 0:
            began.set()
        while number > 0 and time.monotonic() < over:
            leave_if_abandoned()
            time.sleep(0.002)

    with ThreadPoolExecutor(1) as executor:
        mapper = ExecutorMapper(executor, window=3)
        results = iter(mapper(work, range(3)))
        next(results)
        assert began.wait(5.0)
        mapper.abandon()
        with pytest.raises(Abandoned):
            next(results)
    assert seen == [0, 1]
    assert time.monotonic() < over


def test_tasks_that_have_not_begun_are_cancelled_when_the_results_are_closed() -> None:
    submitted: list[Future] = []

    class Later(Executor):
        def submit(self, fn, /, *args, **kwargs):
            submitted.append(Future())
            return submitted[-1]

    results = iter(ExecutorMapper(Later(), window=4)(abs, range(9)))
    first = threading.Timer(0.01, lambda: submitted[0].set_result(0))
    first.start()
    assert next(results) == 0
    results.close()
    assert [future.cancelled() for future in submitted] == [False, True, True, True]


def test_four_tasks_a_thread_are_submitted_ahead() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with workers(3) as mapper:
        assert next(iter(mapper(abs, tasks()))) == 0
        assert len(taken) == 12


def test_leaving_the_workers_does_not_wait_for_a_running_task() -> None:
    began, release, ended = (threading.Event() for _ in range(3))

    def work(number: int) -> None:
        if number > 0:
            began.set()
            release.wait(3.0)
            ended.set()

    with workers(2) as mapper:
        results = iter(mapper(work, range(2)))
        next(results)
        assert began.wait(3.0)
    assert not ended.is_set()
    release.set()
    assert ended.wait(3.0)


@pytest.mark.parametrize(
    "simulation",
    [
        SimulationJudge(),
        Simulation(),
        PairedSimulation(),
        StressSimulation(),
        DisturbedSimulation(),
        DaySimulation(),
        LawSimulation(requests=5, quantiles=(0.5,)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_mapper_is_left_out_of_the_repr(simulation: object) -> None:
    """A function is shown with its address, which differs from process to process."""
    assert "mapper" not in repr(simulation)
