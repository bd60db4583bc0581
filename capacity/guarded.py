"""Guarded: how a command ends that fails or is interrupted: one line on stderr, an exit code, and soon."""

import os
import signal
import sys
import threading
import time
from typing import Any

import typer

from capacity.errors import CapacityError
from capacity.interrupts import Terminated, interrupts_raised
from capacity.standard_streams import guarded_streams
from capacity.strict import StrictGroup

_GRACE_S = 3.0  # that threads at work are given to end by themselves after a failure


class Guarded(StrictGroup):
    """A command group from which no traceback reaches a user, and that an interrupt ends within seconds."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; an error of ours is one line on stderr and its exit code."""
        with guarded_streams(), interrupts_raised():
            try:
                return super().main(*args, **kwargs)
            except CapacityError as error:
                fail(f"error: {error}", error.exit_code, error)
            except Exception as error:
                fail(f"internal error: {type(error).__name__}: {error}; please report it", 1, error)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an interrupt is one line and the usual 128 + the number of the signal."""
        try:
            return super().invoke(ctx)
        except Terminated as stop:
            fail("terminated", 128 + signal.SIGTERM, stop)
        except KeyboardInterrupt as stop:
            fail("interrupted", 128 + signal.SIGINT, stop)
        except Exception as error:  # that a library made of an interrupt, while it cleaned up
            if _is_behind(error, Terminated):
                fail("terminated", 128 + signal.SIGTERM, KeyboardInterrupt())
            if _is_behind(error, KeyboardInterrupt):
                fail("interrupted", 128 + signal.SIGINT, KeyboardInterrupt())
            raise


def _is_behind(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error came up while one of another kind was dealt with."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def fail(message: str, exit_code: int, error: BaseException) -> None:
    """One line on stderr, with the notes that the error carries, and the end."""
    typer.echo(" ".join("; ".join([message, *getattr(error, "__notes__", [])]).split()), err=True)
    _await_threads(exit_code)
    sys.exit(exit_code)


def _await_threads(exit_code: int) -> None:
    """Python would wait for its threads without end; here one that goes on is left, as by a second Ctrl-C."""
    until_s = time.monotonic() + _GRACE_S
    ours = (threading.main_thread(), threading.current_thread())
    others = [thread for thread in threading.enumerate() if thread not in ours and not thread.daemon]
    try:
        for thread in others:
            thread.join(max(0.0, until_s - time.monotonic()))
    except KeyboardInterrupt:
        os._exit(exit_code)
    if any(thread.is_alive() for thread in others):
        os._exit(exit_code)
