"""Interrupts: Ctrl-C and SIGTERM as exceptions, raised where they are neither lost nor break what runs.

Python raises at whatever instruction it is at. In a destructor, or in another call that nobody waits for,
the exception is only told of, and work goes on; within LLVM's bindings it leaves compiled code half accounted
for, whose end is then a crash. An interrupt that came there comes again a moment later.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_UNBREAKABLE = "llvmlite.binding."
_AGAIN_S = 0.02
# More often than that it is not put off, for what waits for something must be left in the end.
_AGAIN_MAX = 100


class Terminated(KeyboardInterrupt):
    """SIGTERM; ends work as Ctrl-C does."""


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """SIGTERM raises `Terminated`, and Ctrl-C, unless it is ignored here, `KeyboardInterrupt`.

    Only the main thread may ask for it; in another nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raiser = _Raiser()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, raiser) for number in numbers}
    hook, sys.unraisablehook = sys.unraisablehook, raiser.tell
    try:
        yield
    finally:
        raiser.end()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ctrl_c_by_python() -> Iterator[None]:
    """Ctrl-C by Python's own handler instead of ours, for those who ask which it is, as asyncio does."""
    before = signal.getsignal(signal.SIGINT)
    if not isinstance(before, _Raiser) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Raiser:
    """Handler of signals that raises, at once or as soon as it may."""

    def __init__(self) -> None:
        self._tell = sys.unraisablehook
        self._put_off = 0
        self._is_terminated = False
        self._alarm: tuple[Any, tuple[float, float]] | None = None
        self._is_over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise, or come again; a SIGTERM that waits is not forgotten over a Ctrl-C."""
        if self._is_over:
            return
        self._is_terminated |= number == signal.SIGTERM
        if self._put_off < _AGAIN_MAX and _is_unbreakable(frame):
            self._again()
            return
        if self._alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        if self._is_terminated:
            raise Terminated
        raise KeyboardInterrupt

    def tell(self, ignored: "sys.UnraisableHookArgs") -> None:
        """Of an exception that Python cannot raise, except that an interrupt comes again."""
        is_here = threading.current_thread() is threading.main_thread()
        if is_here and not self._is_over and isinstance(ignored.exc_value, KeyboardInterrupt):
            self._again()
        else:
            self._tell(ignored)

    def _again(self) -> None:
        self._put_off += 1
        handler = signal.signal(signal.SIGALRM, lambda _, frame: self(signal.SIGALRM, frame))
        left_s = signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        if self._alarm is None:
            self._alarm = handler, left_s

    def end(self) -> None:
        """Nothing is raised any more, and the alarm is as it was found."""
        self._is_over = True
        if self._alarm is not None:
            handler, left_s = self._alarm
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
            signal.setitimer(signal.ITIMER_REAL, *left_s)


def _is_unbreakable(frame: FrameType | None) -> bool:
    """Whether LLVM's bindings are at work somewhere up the stack."""
    while frame is not None:
        if f"{frame.f_globals.get('__name__')}.".startswith(_UNBREAKABLE):
            return True
        frame = frame.f_back
    return False
