"""Callable: measures a Python function that serves a batch of the size it is called with."""

import inspect
import pkgutil
import re
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.errors import DependencyError, InputError
from capacity.files import printable
from capacity.measurement.rounds import Clock, Report, Rounds, TimedBatch, take

if TYPE_CHECKING:
    from capacity.measurement.findings import Measurement

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_MESSAGE_LENGTH_MAX = 200


def measure_callable(
    function: Callable[[int], Any], name: str, rounds: Rounds, confidence: float, report: Report
) -> "Measurement":
    """Time calls of a function in this process; the profile's source records `name`.

    Raises:
        DependencyError: a call failed in the first round.
        InconclusiveError: no round was finished in time.
    """
    # these load numpy, which reads how many threads it may use
    from capacity.measurement.findings import MEASURED_BY, machine, process, sampled

    source = {
        "measured_by": f"{MEASURED_BY} --callable {name}",
        "excludes": "HTTP, network and queue",
        **machine(),
        **process(),
    }
    sampling = take(CallableSubject(function, time.perf_counter), rounds, time.perf_counter, report)
    return sampled(sampling, rounds, confidence, source)


class CallableSubject:
    """Times calls of a function with the batch size.

    The sample is the time of the call, so a call must not return before the batch is done. Work on a GPU is only
    queued when the call that starts it returns, so the function must wait for it, for instance by
    `torch.cuda.synchronize()`. What the function prints goes to stderr, as stdout is for the answer.
    """

    def __init__(self, function: Callable[[int], Any], clock: Clock) -> None:
        self._function, self._clock = function, clock
        self._call: Callable[[int], Any] = self._first_call

    def serve(self, batch_size: int) -> TimedBatch:
        """Call it once.

        Raises:
            DependencyError: the call failed.
            InputError: the first call returned something that is not a served batch yet.
        """
        try:
            with redirect_stdout(sys.stderr):
                began_s = self._clock()
                self._call(batch_size)
                took_s = self._clock() - began_s
        except (KeyboardInterrupt, _UnservedError):
            raise
        except BaseException as error:
            raise DependencyError(
                f"the callable failed on a batch of {batch_size}: {_summary(error)}"
            ) from None
        return TimedBatch(service_s=took_s)

    def _first_call(self, batch_size: int) -> None:
        """Make the only call whose answer is inspected, so that the other calls time the function alone."""
        answer = self._function(batch_size)
        if inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            if inspect.iscoroutine(answer):
                answer.close()  # else Python would warn that it was never awaited
            raise _UnservedError(
                f"the callable gave back a {type(answer).__name__}, which has served nothing yet; name a "
                "function that runs it to completion, as asyncio.run does"
            )
        self._call = self._function


class _UnservedError(InputError):
    """A call that only started something."""


def load(name: str) -> Callable[[int], Any]:
    """The function named by `module:function`; the current directory is searched too.

    Raises InputError: no such function, or one that takes no batch size.
    """
    if _NAME.fullmatch(name) is None:
        shown = printable(name)[:80]
        raise InputError(f"--callable {shown!r} must be module:function, such as bench:predict")
    module, _, function = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):
            pkgutil.resolve_name(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"--callable: there is no module {error.name} in the current directory or installed; check "
                "the name, or change to its directory"
            ) from None
        raise InputError(f"--callable: module {module} cannot be imported: {_summary(error)}") from None
    return _resolved(name, module, function)


def _resolved(name: str, module: str, function: str) -> Callable[[int], Any]:
    try:
        found: Callable[[int], Any] = pkgutil.resolve_name(name)
        inspect.signature(found).bind(1)
    except AttributeError:
        raise InputError(f"--callable {name}: module {module} has no {function}; check the name") from None
    except TypeError:
        raise InputError(
            f"--callable {name} must be a function that takes one argument, the batch size"
        ) from None
    except ValueError:  # some functions written in C do not say what they take
        pass
    return found


def _summary(error: BaseException) -> str:
    """An error from foreign code on one line: type, message and place, without its path."""
    message = printable(" ".join(str(error).split()))[:_MESSAGE_LENGTH_MAX]
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = "" if last.filename == __file__ else f" ({Path(last.filename).name} line {last.lineno})"
    return f"{type(error).__name__}{': ' if message else ''}{message}{place}"
