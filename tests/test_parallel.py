"""Parallel: order, errors at once, interrupts and dead workers that never hang, windows that stay small."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from capacity.errors import DependencyError
from simulations import parallel
from simulations.parallel import (
    Abandoned,
    ExecutorMapper,
    WorkerKind,
    abandoned,
    leave_if_abandoned,
    workers,
)

ROOT = Path(__file__).parent.parent
KINDS = list(WorkerKind)


pytestmark = pytest.mark.usefixtures("deadline")


def later_first(number: int) -> int:
    """Sleeps the longer, the earlier the task."""
    time.sleep(0.02 * (5 - number % 5))
    return number * number


def sleep_or_fail(seconds: float) -> float:
    if seconds < 0.0:
        raise ZeroDivisionError(seconds)
    time.sleep(seconds)
    return seconds


def until_abandoned(seconds: float) -> None:
    """A long loop that looks up now and then, as the kernel does."""
    if seconds < 0.0:
        time.sleep(0.2)
        raise ZeroDivisionError(seconds)
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        leave_if_abandoned()
        time.sleep(0.01)


def whether_abandoned(_: int) -> bool:
    return abandoned()


class Counting(Executor):
    """Runs at once, and remembers how many tasks nobody had taken yet."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Silent(Executor):
    """Accepts tasks and never does any."""

    def __init__(self, error: Exception | None = None) -> None:
        self.futures: list[Future] = []
        self.error = error

    def submit(self, fn, /, *args, **kwargs):
        if self.error is not None:
            raise self.error
        self.futures.append(Future())
        return self.futures[-1]


# ---- Order and window -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(kind: WorkerKind, count: int) -> None:
    with workers(count, kind) as mapper:
        assert list(mapper(later_first, range(25))) == [number * number for number in range(25)]
        assert list(mapper(later_first, [])) == []
        assert list(mapper(abs, (-3, -1))) == [3, 1]


def test_one_worker_is_this_thread() -> None:
    for kind in KINDS:
        with workers(1, kind) as mapper:
            assert mapper is map


def test_threads_are_the_default_and_share_memory() -> None:
    seen: set[str] = set()
    with workers(2) as mapper:
        assert list(mapper(lambda _: seen.add(threading.current_thread().name), range(8))) == [None] * 8
    assert seen
    assert all(name.startswith("capacity") for name in seen)


def test_processes_are_others() -> None:
    with workers(2, WorkerKind.PROCESSES) as mapper:
        assert os.getpid() not in set(mapper(process_of, range(8)))


def test_an_interrupt_does_not_reach_a_worker_process() -> None:
    """Ctrl-C in a terminal is for the whole group; each would print a traceback of its own."""
    with workers(2, WorkerKind.PROCESSES) as mapper:
        assert list(mapper(interrupted, range(4))) == [0, 1, 2, 3]


def interrupted(number: int) -> int:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    except KeyboardInterrupt:  # which would interrupt pytest too
        return -1
    return number


def process_of(_: int) -> int:
    return os.getpid()


def test_no_more_than_a_window_of_tasks_is_submitted_ahead() -> None:
    executor = Counting()
    results = iter(ExecutorMapper(executor, submitted_max=6)(abs, iter(range(100_000))))
    for taken in range(1, 20):
        next(results)
        assert taken <= executor.submitted <= taken + 12
    results.close()


def test_a_slow_first_task_does_not_let_results_pile_up() -> None:
    release = threading.Event()
    started: list[int] = []
    started_before_release: list[int] = []

    def task(number: int) -> int:
        started.append(number)
        if number == 0:
            release.wait(30.0)
        return number

    with ThreadPoolExecutor(4) as executor:
        results = iter(ExecutorMapper(executor, submitted_max=8)(task, range(100)))
        taker = threading.Timer(0.3, lambda: (started_before_release.extend(started), release.set()))
        taker.start()
        assert next(results) == 0
        assert max(started_before_release) < 16
        assert list(results) == list(range(1, 100))
        taker.join()


def test_nothing_is_submitted_before_the_first_result_is_asked_for() -> None:
    executor = Counting()
    results = ExecutorMapper(executor, submitted_max=6)(abs, range(10))
    assert executor.submitted == 0
    assert list(results) == list(range(10))


# ---- Errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_raised_at_once_and_not_in_its_turn(kind: WorkerKind) -> None:
    began_s = time.monotonic()
    with pytest.raises(ZeroDivisionError), workers(2, kind) as mapper:
        list(mapper(sleep_or_fail, [6.0, -1.0, *[6.0] * 20]))
    assert time.monotonic() - began_s < 5.0


def test_the_first_of_several_errors_is_raised() -> None:
    class Both(Counting):
        def submit(self, fn, /, *args, **kwargs):
            future: Future = Future()
            future.set_exception(ValueError(args[0]))
            return future

    with pytest.raises(ValueError, match="^0$"):
        list(ExecutorMapper(Both(), submitted_max=6)(abs, range(5)))


def test_what_waits_is_cancelled_after_an_error() -> None:
    executor = Silent()
    results = iter(ExecutorMapper(executor, submitted_max=6, check=impatient)(abs, range(100)))
    with pytest.raises(DependencyError, match="nobody there"):
        next(results)
    assert len(executor.futures) == 6
    assert all(future.cancelled() for future in executor.futures)


def impatient() -> None:
    raise DependencyError("nobody there")


@pytest.mark.parametrize("kind", KINDS)
def test_workers_go_on_after_an_error_that_was_caught(kind: WorkerKind) -> None:
    with workers(2, kind) as mapper:
        with pytest.raises(ZeroDivisionError):
            list(mapper(sleep_or_fail, [0.05, -1.0, 0.05]))
        assert list(mapper(whether_abandoned, range(6))) == [False] * 6


def test_an_executor_that_cannot_start_workers_is_an_error_with_its_mend() -> None:
    for error in (OSError("no more processes"), RuntimeError("can't start new thread")):
        with pytest.raises(DependencyError, match=r"no worker could be started \(.*\); use --workers 1"):
            list(ExecutorMapper(Silent(error), submitted_max=6)(abs, [1]))


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_a_killed_worker_is_an_error_and_not_a_hang(after_s: float) -> None:
    began_s = time.monotonic()
    with (
        pytest.raises(DependencyError, match="a worker process died") as error,
        workers(2, WorkerKind.PROCESSES) as mapper,
    ):
        list(mapper(die, [after_s, *[30.0] * 8]))
    assert error.value.exit_code == 5
    assert time.monotonic() - began_s < 20.0


def die(after_s: float) -> None:
    time.sleep(after_s)
    signal.raise_signal(signal.SIGKILL)


def test_a_worker_that_is_killed_while_it_sends_is_an_error_and_not_a_hang() -> None:
    """The pool itself would wait for the rest of the result without end."""
    began_s = time.monotonic()
    before = set(threading.enumerate())
    with (
        pytest.raises(DependencyError, match="a worker process died"),
        workers(2, WorkerKind.PROCESSES) as mapper,
    ):
        list(mapper(die_while_sending, [64, 0, 0, 0]))
    assert_all_end(before)
    assert time.monotonic() - began_s < 20.0


def die_while_sending(megabytes: int) -> bytes:
    main = threading.get_ident()

    def watch() -> None:
        while True:
            frame = sys._current_frames()[main]
            if frame.f_code.co_name == "_send":
                os.kill(os.getpid(), signal.SIGKILL)

    if megabytes:
        threading.Thread(target=watch, daemon=True).start()
    return bytes(megabytes * 2**20)


def test_an_interrupt_while_results_are_sent_leaves_the_pool_whole() -> None:
    """Workers finish what they are sending, or the pool would wait for the rest of it."""
    for moment_s in (0.0, 0.001, 0.003, 0.01, 0.03):
        before = set(threading.enumerate())

        def consume(moment_s: float = moment_s) -> None:
            with workers(2, WorkerKind.PROCESSES) as mapper:
                results = iter(mapper(bytes, [2**24] * 100))
                next(results)
                time.sleep(moment_s)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            consume()
        assert_all_end(before)


# ---- Threads that are told to end -----------------------------------------------------------


def test_threads_are_told_when_another_task_fails() -> None:
    began_s = time.monotonic()
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), workers(4) as mapper:
        list(mapper(until_abandoned, [30.0, -1.0, 30.0]))
    assert_all_end(before)
    assert time.monotonic() - began_s < 5.0


def test_threads_are_told_when_the_consumer_fails_between_two_results() -> None:
    """The traceback of its error still holds the half-read results, so that nothing closes them."""
    before = set(threading.enumerate())
    held = []

    def consume() -> None:
        with workers(2) as mapper:
            held.append(iter(mapper(until_abandoned, [0.0, 30.0, 30.0, 30.0, 30.0])))
            next(held[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert_all_end(before)


def test_threads_are_told_when_results_are_left() -> None:
    before = set(threading.enumerate())
    with workers(2) as mapper:
        results = iter(mapper(until_abandoned, [0.0, 30.0, 30.0, 30.0]))
        next(results)
        results.close()
    assert_all_end(before)


def test_nobody_is_abandoned_outside_a_worker() -> None:
    assert not abandoned()
    leave_if_abandoned()
    assert not issubclass(Abandoned, Exception)


def assert_all_end(before: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - before:
        thread.join(5.0)
        assert not thread.is_alive()


# ---- Interrupts of the whole program --------------------------------------------------------

PROGRAM = """
import os, sys, time
sys.path.insert(0, {tests!r})
from test_parallel import busy, WorkerKind, workers
if __name__ == "__main__":
    with workers(3, WorkerKind({kind!r})) as mapper:  # one of them idle in the end
        for name in mapper(busy, range(4)):
            print(name, flush=True)
"""


def busy(number: int) -> int:
    """Tells who it is at once, then works for a minute, looking up if it can."""
    if number >= 2:
        until_abandoned(60.0)
    return os.getpid()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_a_program_that_was_stopped(kind: WorkerKind, stop: int, tmp_path: Path) -> None:
    """A Ctrl-C goes to the whole group, a SIGKILL to the program alone."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(tests=str(ROOT / "tests"), kind=kind.value), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        names = {int(program.stdout.readline()) for _ in range(2)}
        time.sleep(0.5)
        began_s = time.monotonic()
        if stop == signal.SIGINT:
            os.killpg(program.pid, stop)
        else:
            program.kill()
        program.wait(15.0)
        errors = program.stderr.read()
    assert time.monotonic() - began_s < 8.0
    assert errors.count("Traceback") == (1 if stop == signal.SIGINT else 0), errors
    for name in names:
        wait_for_end(name)


def wait_for_end(process: int) -> None:
    until_s = time.monotonic() + 5.0
    while time.monotonic() < until_s:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} goes on")


def test_what_finished_is_taken_together_and_nothing_is_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(parallel, "_POLL_S", 0.1)
    finished = SimpleQueue()
    assert parallel._taken(finished) == []
    for one in "ab":
        finished.put(one)
    assert parallel._taken(finished) == ["a", "b"]
