"""Guarded: how a command ends that fails or is interrupted: one line on stderr, and an exit code."""

import signal
import sys
from typing import Any

import typer

from capacity.errors import CapacityError
from capacity.standard_streams import guarded_streams
from capacity.strict import StrictGroup


class Guarded(StrictGroup):
    """A command group from which no traceback reaches a user."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; an error of ours is one line on stderr and its exit code."""
        with guarded_streams():
            try:
                return super().main(*args, **kwargs)
            except CapacityError as error:
                fail(f"error: {error}", error.exit_code, error)
            except Exception as error:
                fail(f"internal error: {type(error).__name__}: {error}; please report it", 1, error)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is one line and the usual exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            fail("interrupted", 128 + signal.SIGINT, stop)


def fail(message: str, exit_code: int, error: BaseException) -> None:
    """One line on stderr, with the notes that the error carries, and the end."""
    typer.echo(" ".join("; ".join([message, *getattr(error, "__notes__", [])]).split()), err=True)
    sys.exit(exit_code)
