"""Interrupts where an exception would be lost or would break what runs: they come again a moment later."""

import os
import signal
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from capacity import interrupts
from capacity.interrupts import Terminated, ctrl_c_by_python, interrupts_raised

BOTH = pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)


def module(name: str) -> types.ModuleType:
    """A module whose `call` calls what it is given."""
    made = types.ModuleType(name)
    exec("def call(function, *arguments): function(*arguments)", made.__dict__)
    return made


def meet(number: int) -> None:
    """Be interrupted here."""
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass


class Ending:
    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        meet(self.number)


def forgotten(number: int) -> None:
    """Interrupt a callback of a weak reference."""
    held = module("held")
    reference = weakref.ref(held, lambda _: meet(number))
    del held
    assert reference() is None


def stop_of(act: Callable[[], object]) -> BaseException | None:
    """What ends an act that goes on for long."""
    try:
        with interrupts_raised():
            act()
            time.sleep(20.0)
    except BaseException as stop:
        return stop
    return None


@BOTH
@pytest.mark.parametrize("act", [Ending, forgotten], ids=["destructor", "callback"])
def test_what_python_cannot_raise_comes_again(
    capfd: pytest.CaptureFixture[str],
    act: Callable[[int], object],
    number: int,
    raised: type[KeyboardInterrupt],
) -> None:
    began_s = time.monotonic()
    assert type(stop_of(lambda: act(number))) is raised
    assert time.monotonic() - began_s < 10.0
    assert capfd.readouterr().err == ""


@BOTH
def test_what_must_not_be_broken_ends_first(number: int, raised: type[KeyboardInterrupt]) -> None:
    did: list[str] = []
    bindings = module("llvmlite.binding.ffi")
    stop = stop_of(lambda: bindings.call(lambda: (meet(number), did.append("whole"))))
    assert type(stop) is raised
    assert did == ["whole"]


@pytest.mark.parametrize("name", ["llvmlite.bindings", "other"])
def test_elsewhere_it_is_raised_at_once(name: str) -> None:
    did: list[str] = []
    with pytest.raises(KeyboardInterrupt), interrupts_raised():
        module(name).call(lambda: (meet(signal.SIGINT), did.append("whole")))
    assert did == []


def test_what_never_ends_is_left_in_the_end() -> None:
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupts_raised():
        module("llvmlite.binding").call(lambda: (meet(signal.SIGINT), time.sleep(30.0)))
    assert 1.0 < time.monotonic() - began_s < 20.0


@pytest.mark.timeout(0)  # it looks at the timer that the limit of a test is kept by
def test_what_ends_before_is_not_interrupted_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_AGAIN_S", 1.0)
    with interrupts_raised():
        module("llvmlite.binding").call(meet, signal.SIGINT)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0.0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


@BOTH
def test_a_signal_that_meets_the_end_is_no_error(number: int, raised: type[KeyboardInterrupt]) -> None:
    raiser = interrupts._Raiser()
    raiser.end()
    raiser(number, None)
    with pytest.raises(raised):
        interrupts._Raiser()(number, None)


def test_handlers_hook_and_alarm_are_given_back() -> None:
    """Those of whoever calls, and of tests that must not hang."""

    def found() -> list[object]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        return [sys.unraisablehook, *(signal.getsignal(number) for number in numbers)]

    signal.setitimer(signal.ITIMER_REAL, 300.0)
    handler = signal.signal(signal.SIGALRM, print)
    try:
        before = found()
        assert type(stop_of(lambda: Ending(signal.SIGINT))) is KeyboardInterrupt
        assert found() == before
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 100.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)


def test_sigterm_is_not_forgotten_over_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_AGAIN_S", 0.5)

    def both() -> None:
        meet(signal.SIGTERM)
        meet(signal.SIGINT)

    assert type(stop_of(lambda: module("llvmlite.binding").call(both))) is Terminated


def test_an_interrupt_that_is_raised_does_not_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though one was put off: what is cleaned up after it is not to be interrupted too."""
    monkeypatch.setattr(interrupts, "_AGAIN_S", 0.3)
    with interrupts_raised():
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            module("llvmlite.binding").call(meet, signal.SIGINT)
            meet(signal.SIGINT)
        time.sleep(0.6)


def test_another_thread_tells_of_what_it_cannot_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: told.append(ignored.exc_value))

    class Stopping:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    with interrupts_raised():
        thread = threading.Thread(target=Stopping)
        thread.start()
        thread.join()
    assert [type(error) for error in told] == [KeyboardInterrupt]


@pytest.mark.parametrize("is_ours", [True, False])
def test_who_asks_for_pythons_own_ctrl_c_has_it_for_a_time(is_ours: bool) -> None:
    """A handler of somebody else's stays."""

    def other(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.getsignal(signal.SIGINT)
    try:
        with interrupts_raised():
            if not is_ours:
                signal.signal(signal.SIGINT, other)
            handler = signal.getsignal(signal.SIGINT)
            with ctrl_c_by_python():
                assert signal.getsignal(signal.SIGINT) is (signal.default_int_handler if is_ours else other)
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    """As for what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_raised():
            meet(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_error_of_a_destructor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: told.append(ignored.exc_value))
    with interrupts_raised():
        forgotten(-1)  # no signal
    assert [type(error) for error in told] == [OSError]


COMMAND = """
import os, signal, time
import cli

class Ending:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass

@cli.app.command()
def story():
    Ending()
    time.sleep(20.0)

cli.app(["story"])
"""


def test_a_command_ends_by_what_came_again(tmp_path: Path) -> None:
    program = [sys.executable, "-c", COMMAND]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
