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
        raiser.forget()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


class _Raiser:
    """Handler of signals that raises, at once or as soon as it may."""

    def __init__(self) -> None:
        self._put_off = 0
        self._tell = sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._put_off < _AGAIN_MAX and _is_unbreakable(frame):
            self._again(number)
        elif number == signal.SIGTERM:
            raise Terminated
        else:
            raise KeyboardInterrupt

    def tell(self, ignored: "sys.UnraisableHookArgs") -> None:
        """Of an exception that Python cannot raise, except that an interrupt comes again."""
        if isinstance(ignored.exc_value, KeyboardInterrupt):
            self._again(signal.SIGTERM if isinstance(ignored.exc_value, Terminated) else signal.SIGINT)
        else:
            self._tell(ignored)

    def _again(self, number: int) -> None:
        self._put_off += 1
        signal.signal(signal.SIGALRM, lambda _, frame: self(number, frame))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)

    def forget(self) -> None:
        """What was put off comes no more."""
        if self._put_off:
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def _is_unbreakable(frame: FrameType | None) -> bool:
    """Whether LLVM's bindings are at work somewhere up the stack."""
    while frame is not None:
        if f"{frame.f_globals.get('__name__')}.".startswith(_UNBREAKABLE):
            return True
        frame = frame.f_back
    return False
