"""Interrupts: Ctrl-C and SIGTERM as exceptions, raised where they are neither lost nor break what runs.

Python raises at whatever instruction it is at. In a destructor, and where an import forgets its lock, the
exception would be printed and forgotten, so that work goes on; within LLVM's bindings it would leave compiled
code half told of, whose end is then a crash. An interrupt that comes there comes again a moment later.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SHELTERED = ("importlib._bootstrap.", "llvmlite.binding.")
_AGAIN_S = 0.02
# More often than that it is not put off: a destructor that waits for something must be left in the end.
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
    try:
        yield
    finally:
        raiser.forget()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Raiser:
    """Handler of signals that raises, at once or as soon as it may."""

    def __init__(self) -> None:
        self._put_off = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._put_off < _AGAIN_MAX and _is_sheltered(frame):
            self._put_off += 1
            signal.signal(signal.SIGALRM, lambda _, later: self(number, later))
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        elif number == signal.SIGTERM:
            raise Terminated
        else:
            raise KeyboardInterrupt

    def forget(self) -> None:
        """What was put off comes no more."""
        if self._put_off:
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def _is_sheltered(frame: FrameType | None) -> bool:
    """Whether code is at work somewhere up the stack in which nothing must be raised."""
    while frame is not None:
        module = f"{frame.f_globals.get('__name__')}."
        if frame.f_code.co_name == "__del__" or module.startswith(_SHELTERED):
            return True
        frame = frame.f_back
    return False

