"""Options: the flags of commands, and those that several share.

Everything heavy is imported inside the function that needs it, so that help and `queue` start at once.
"""

import os
import stat
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, NamedTuple

import typer

from capacity.commands.output import Format
from capacity.errors import InputError
from capacity.files import JOURNAL_SUFFIX, printable

_FILES = "capacity.files"  # where a command's context keeps what its flags read and write


def option(*names: str, help: str, callback: Callable[..., Any] | None = None) -> Any:  # noqa: A002  (Typer's own word)
    """A flag by its names, with one sentence of help, and what looks at its value before all else."""
    return typer.Option(*names, help=help, callback=callback, show_default=True)


def note_input(
    context: typer.Context, parameter: typer.CallbackParam, value: str | list[str] | None
) -> str | list[str] | None:
    """What looks at the value of a flag or an argument that may name files to read."""
    for text in [value] if isinstance(value, str) else value or []:
        for name in {text, text.removeprefix("trace:"), text.partition("=")[2]}:
            _note(context, parameter, name, is_output=False)
    return value


def _note_arrivals(
    context: typer.Context, parameter: typer.CallbackParam, value: str | None
) -> str | list[str] | None:
    """Of `trace FILE` all that would be said is that the file was not expected."""
    if value == "trace":
        raise InputError("--arrivals trace names no file; write the two as one word: --arrivals trace:FILE")
    return note_input(context, parameter, value)


def _note_output(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    if value is not None:
        for name in (value, value + JOURNAL_SUFFIX):
            _note(context, parameter, name, is_output=True)
    return value


def _note(context: typer.Context, parameter: typer.CallbackParam, name: str, *, is_output: bool) -> None:
    """Keep what a flag names, where that is a file; by whatever name, none is written that is read too.

    Raises:
        InputError: it would replace an input of the command, or another output.
    """
    try:
        found = os.stat(name)  # noqa: PTH116  (a path may be empty)
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(found.st_mode):
        return
    flag = "/".join(parameter.opts)
    noted = context.meta.setdefault(_FILES, [])
    for other, other_flag, is_other_output in noted:
        if (is_output or is_other_output) and os.path.samestat(found, other):
            writer, reader = (flag, other_flag) if is_output else (other_flag, flag)
            does = "writes" if is_output and is_other_output else "reads"
            raise InputError(
                f"{writer} would replace {printable(name)}, which {reader} {does}; write to another file"
            )
    noted.append((found, flag, is_output))


REQUIRED = Parameter.empty


class Flag(NamedTuple):
    """A flag of a command; one without a default is required.

    Attributes:
        names: as they are typed, where that is not `--` and the parameter's name.
        callback: looks at the value before all else: `note_input` where it may name a file to read, which no
            output of the same command may replace, one of its own where it names one to write.
        argument: what it is instead, where it is typed without a name.
    """

    kind: Any
    default: Any
    help: str = ""
    names: tuple[str, ...] = ()
    callback: Callable[..., Any] | None = None
    argument: Any = None

    def parameter(self, name: str) -> Parameter:
        """As Typer reads it from a signature."""
        names = self.names or (f"--{name.replace('_', '-')}",)
        info = self.argument or option(*names, help=self.help, callback=self.callback)
        kind = self.kind | None if self.default is None else self.kind
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=self.default)


def reads(kind: Any, default: Any, help: str) -> Flag:  # noqa: A002
    """A flag that may name a file to read."""
    return Flag(kind, default, help, callback=note_input)


def writes(help: str, *names: str) -> Flag:  # noqa: A002
    """A flag that names a file to write; -o where it is the command's only one."""
    return Flag(str, None, help, names or ("-o", "--output"), _note_output)


def argument(kind: Any, default: Any, help: str, **settings: Any) -> Flag:  # noqa: A002
    """A file to read that is typed without a flag."""
    return Flag(kind, default, argument=typer.Argument(help=help, callback=note_input, **settings))


FLAGS: Mapping[str, Flag] = {
    "profile": reads(str, REQUIRED, "A bundled profile's name, or a .json or .csv file."),
    "replicas": Flag(int, REQUIRED, "How many replicas."),
    "rate": Flag(str, None, "Arrival rate with its unit: 500rps, 30000/min; a trace has its own."),
    "slo_p50": Flag(str, None, "Limit on the median response time: 50ms."),
    "slo_p90": Flag(str, None, "Limit on P90."),
    "slo_p95": Flag(str, None, "Limit on P95."),
    "slo_p99": Flag(str, None, "Limit on P99: 200ms."),
    "slo_p999": Flag(str, None, "Limit on P99.9."),
    "slo_mean": Flag(str, None, "Limit on the mean response time."),
    "slo_wait": Flag(list[str], None, "Limit on a quantile of the wait: p99=5ms; may be repeated."),
    "loss_max": Flag(str, None, "Share of requests that may be lost, with --queue-limit: 0.1%."),
    "utilization_max": Flag(str, None, "Share of time that a replica may be busy: 80%."),
    "tier": Flag(str, None, "Ready-made limits: interactive, batch or background."),
    "batch_size_max": Flag(int, None, "Largest batch; the profile's largest by default."),
    "batch_wait": Flag(str, "0ms", "How long the oldest request may wait for a batch to fill: 2ms."),
    "timer": Flag(
        str, "oldest", "Since when --batch-wait counts: oldest (request's arrival) or open (batch)."
    ),
    "routing": Flag(
        str,
        "round-robin",
        "round-robin, random, least-outstanding, power-of-two or shared-queue.",
    ),
    "queue_limit": Flag(int, None, "Waiting places of each queue; who finds none is lost."),
    "arrivals": Flag(
        str,
        "poisson",
        "poisson, deterministic, gamma:cv=2, mmpp:ratio=5,burst=10s,calm=60s or trace:FILE.",
        callback=_note_arrivals,
    ),
    "users": Flag(int, None, "So many users take turns, instead of arrivals at a rate."),
    "think_time": Flag(str, None, "Mean think time of a user: 300ms."),
    "request_overhead": Flag(str, None, "Time outside the server, on every response: 5ms."),
    "instances_per_device": Flag(int, None, "Replicas that share one device and its work."),
    "quantile": Flag(list[float], None, "Quantile to report, 0.999; may be repeated."),
    "seed": Flag(int, 0, "Same seed and input, same bytes out."),
    "confidence": Flag(float, 0.95, "Confidence of intervals and verdicts."),
    "precision": Flag(float, 0.02, "Relative half-width wanted of the decisive quantile."),
    "requests_max": Flag(int, 100_000_000, "Requests to simulate for one plan at most."),
    "engine": Flag(str, "kernel", "kernel (compiled) or simpy (readable, slow); both give the same bytes."),
    "workers": Flag(int, None, "Threads (SimPy: processes); all cores by default; same answer."),
    "cluster": Flag(str, None, "A Dask scheduler to send the work to, instead: tcp://HOST:8786."),
    "output": Flag(Format, Format.TABLE, "What to print.", ("--format",)),
    "as_json": Flag(bool, False, "Short for --format json.", ("--json",)),
}
OBJECTIVE = "slo_p50 slo_p90 slo_p95 slo_p99 slo_p999 slo_mean slo_wait loss_max utilization_max tier"
EFFORT = "seed confidence precision requests_max engine workers cluster"

Command = Callable[..., None]


def flags(names: str | None = None, /, **own: Flag) -> Callable[[Command], Command]:
    """Give a command its flags in this order, of which `output` and `as_json` are always the last.

    The command takes those that it looks at by itself; all are in its context.

    Args:
        names: of its flags, where it does not take each of them.
        own: those that are not as in `FLAGS`.
    """

    def decorate(command: Command) -> Command:
        taken = signature(command).parameters
        takes_all = any(one.kind is Parameter.VAR_KEYWORD for one in taken.values())
        listed = list(taken) if names is None else names.split()
        ordered = [name for name in listed if name not in ("context", "output", "as_json")]
        parameters = [
            (own.get(name) or FLAGS[name]).parameter(name) for name in (*ordered, "output", "as_json")
        ]
        if "context" in taken:
            parameters.append(Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context))

        @wraps(command)
        def flagged(**given: Any) -> None:
            command(**{name: value for name, value in given.items() if takes_all or name in taken})

        flagged.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        flagged.__annotations__ = {one.name: one.annotation for one in parameters}
        return flagged

    return decorate
