"""Options: the flags of the table as Typer takes them, and checks of the files that they name.

Everything heavy is imported inside the function that needs it, so that help and `queue` start at once.
"""

import os
import stat
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from inspect import Parameter, Signature, signature
from types import GenericAlias
from typing import Annotated, Any

import typer

from capacity.commands.defaults import variable_of
from capacity.commands.output import Format, emit_and_write, outputs, run
from capacity.errors import InputError
from capacity.files import JOURNAL_SUFFIX, printable
from capacity.question.asked import FLAGS
from capacity.question.flag import REQUIRED, Flag, Kind, Reads, switch
from capacity.question.verbs import VERBS

_FILES = "capacity.files"  # key of a command's context for what its flags read and write


def option(*names: str, help: str, metavar: str | None = None, callback: Any = None) -> Any:  # noqa: A002
    """A flag by its names, with one sentence of help; for commands that write out their signature."""
    return typer.Option(
        *names,
        help=help,
        metavar=metavar,
        callback=callback,
        show_default=True,
        envvar=variable_of(*names),
        show_envvar=False,
    )


def note_input(
    context: typer.Context, parameter: typer.CallbackParam, value: str | list[str] | None
) -> str | list[str] | None:
    """Record the input files that a flag or an argument names."""
    for text in [value] if isinstance(value, str) else value or []:
        for name in {text, text.removeprefix("trace:"), text.partition("=")[2]}:
            _note(context, parameter, name, is_output=False)
    return value


def _note_arrivals(
    context: typer.Context, parameter: typer.CallbackParam, value: str | None
) -> str | list[str] | None:
    """Record the trace of the arrivals; for `trace FILE` the message would only be that a file was not expected."""
    if value == "trace":
        raise InputError("--arrivals trace needs a file, in the same word: --arrivals trace:FILE")
    return note_input(context, parameter, value)


def note_output(
    context: typer.Context, parameter: typer.CallbackParam, value: str | list[str] | None
) -> str | list[str] | None:
    """Record the output files that a flag names."""
    for text in [value] if isinstance(value, str) else value or []:
        for name in (text, text + JOURNAL_SUFFIX):
            _note(context, parameter, name, is_output=True)
    return value


def _note(context: typer.Context, parameter: typer.CallbackParam, name: str, *, is_output: bool) -> None:
    """Record a file that a flag names, and refuse to write one that is also read, under whatever name.

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


Command = Callable[..., None]

_LOOKS = {Reads.INPUT: note_input, Reads.OUTPUT: note_output, Reads.ARRIVALS: _note_arrivals}
_OF_ALL = {
    "output": Flag(
        Kind(typed=Format, python=""), Format.TABLE, "What to print.", ("--format",), panel="Output"
    ),
    "as_json": switch("Same as --format json.", "--json").but(panel="Output"),
}


def parameter(name: str, flag: Flag) -> Parameter:
    """A flag as Typer reads it from a signature."""
    one: Any = str if flag.is_axis else flag.kind.typed  # which a list or a range is typed as
    typed: Any = GenericAlias(list, (one,)) if flag.is_many else one
    kind = typed | None if flag.default is None else typed
    default = Parameter.empty if flag.default is REQUIRED else flag.default
    return Parameter(
        name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, _info(name, flag)], default=default
    )


def _info(name: str, flag: Flag) -> Any:
    looks = None if flag.reads is None else _LOOKS[flag.reads]
    if flag.argument is not None:
        shows = flag.default is REQUIRED
        return typer.Argument(help=flag.help, callback=looks, metavar=flag.argument, show_default=shows)
    names = flag.names or (f"--{name.replace('_', '-')}",)
    return typer.Option(
        *names,
        help=flag.help,
        callback=looks,
        metavar=flag.kind.metavar,
        rich_help_panel=flag.panel,
        show_default=True,
        hidden=flag.is_hidden,
        envvar=variable_of(*names),
        show_envvar=False,
        autocompletion=_completion(flag.values) if flag.values else None,
    )


def _completion(values: tuple[str, ...] | str) -> Callable[[str], list[str]]:
    """Completions of a value: names, and files if it can be one."""

    def complete(incomplete: str) -> list[str]:
        names = values
        if isinstance(names, str):
            module, _, function = names.partition(":")
            names = (*getattr(import_module(module), function)(), *_files_like(incomplete))
        return [one for one in names if one.startswith(incomplete)]

    return complete


def _files_like(incomplete: str) -> list[str]:
    """Profiles and folders that match; hidden ones only if a dot was typed.

    Bash finds files itself if nothing is offered, with spaces in names quoted and none after a folder.
    """
    if os.environ.get("_CAPACITY_COMPLETE") == "complete_bash":
        return []
    folder, slash, start = incomplete.rpartition("/")
    try:
        entries = sorted(os.scandir(f"{folder}{slash}" or "."), key=lambda one: one.name)
    except OSError:
        return []
    seen = [one for one in entries if start.startswith(".") or not one.name.startswith(".")]
    shown = [f"{folder}{slash}{one.name}{'/' if one.is_dir() else ''}" for one in seen]
    return [one for one in shown if one.lower().removesuffix(".gz").endswith(("/", ".json", ".csv"))]


def verb(name: str, **own: Flag) -> Callable[[Command], Command]:
    """Give a command the flags of the verb of this name; `own` are the command's alone."""
    typed = {one: flag for one, flag in VERBS[name].flags.items() if flag.is_typed}
    return flags(" ".join([*typed, *own]), **typed | own)


def answering(place: str) -> Callable[[Callable[[], None]], Command]:
    """Turn a description into the command of its verb: it asks, prints the answer and writes what `-o` names.

    Args:
        place: module and function of the verb, as `capacity:simulate`.
    """

    def decorate(described: Callable[[], None]) -> Command:
        def command(context: typer.Context, out: list[str] | None, output: Format, *, as_json: bool) -> None:
            module, _, name = place.partition(":")
            paths = outputs(out)
            found = run(getattr(import_module(module), name), context)
            verbose = context.params.get("verbose", False)
            emit_and_write(found, paths, output, as_json=as_json, verbose=verbose)
            raise typer.Exit(found.exit_code)

        command.__doc__, command.__name__ = described.__doc__, described.__name__
        return verb(described.__name__.replace("_", "-"))(command)

    return decorate


def flags(names: str | None = None, /, **own: Flag) -> Callable[[Command], Command]:
    """Give a command its flags in this order, once it is built; `output` and `as_json` always come last.

    The command's parameters are the flags that it reads itself; all flags are in its context.

    Args:
        names: names of its flags, if it does not take each of them as a parameter.
        own: flags that differ from those in `FLAGS`.
    """

    def decorate(command: Command) -> Command:
        taken = signature(command).parameters
        takes_all = any(one.kind is Parameter.VAR_KEYWORD for one in taken.values())
        listed = list(taken) if names is None else names.split()
        ordered = [name for name in listed if name not in ("context", *_OF_ALL)]

        @wraps(command)
        def flagged(**given: Any) -> None:
            command(**{name: value for name, value in given.items() if takes_all or name in taken})

        def add_flags() -> None:
            known = {**FLAGS, **_OF_ALL, **own}
            parameters = [parameter(name, known[name]) for name in (*ordered, *_OF_ALL)]
            if "context" in taken:
                parameters.append(Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context))
            flagged.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
            flagged.__annotations__ = {one.name: one.annotation for one in parameters}

        flagged.add_flags = add_flags  # type: ignore[attr-defined]
        return flagged

    return decorate
