"""Loop command: a program that a stage runs and waits for, as a person would."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from capacity.errors import CapacityError, DependencyError, InconclusiveError, InputError
from capacity.interrupts import Terminated

# Commands that an interrupt reaches say what they have, and are given so long to do so.
_GRACE_S = 15.0


def installed() -> str:
    """The installed `capacity`, of the environment that this runs in."""
    beside = Path(sys.executable).with_name("capacity")
    if not beside.exists():
        raise InputError("the capacity command is not installed here; pip install '.[measure,train]'")
    return str(beside)


def run(command: Sequence[str], answers: Sequence[int] = (0,)) -> str:
    """Standard output of a command.

    Raises:
        InputError, InconclusiveError: it ended so, and has said why.
        DependencyError: it ended otherwise than by an answer.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        try:
            output, _ = child.communicate()
        except KeyboardInterrupt as stop:
            _end(child, stop)
            raise
    if output and child.returncode in answers:
        return output
    kinds: dict[int, type[CapacityError]] = {
        error.exit_code: error for error in (InputError, InconclusiveError)
    }
    kind = kinds.get(child.returncode, DependencyError)
    raise kind(f"{' '.join(command[1:4])} ended with {child.returncode}; see above")


def _end(child: "subprocess.Popen[str]", stop: KeyboardInterrupt) -> None:
    """Let a command finish that Ctrl-C has reached as it did us; SIGTERM is passed on."""
    if isinstance(stop, Terminated):
        child.terminate()
    try:
        child.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
