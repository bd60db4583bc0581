"""Guard: refuses bad input before a command starts, and turns each error into a line on stderr and an exit code."""

import gc
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import typer
from typer.core import TyperCommand

from capacity.commands.defaults import defaults_given, defaults_of, report_sources
from capacity.commands.help import Helpful
from capacity.commands.lazy import LazyGroup, LazyTyper, Plain
from capacity.commands.streams import guarded_streams
from capacity.errors import CapacityError, InputError
from capacity.question.asked import GONE, OLD_VALUES, TRIGGERS
from capacity.units import NUMBER_MAX, NUMBER_MIN, is_number

_WHOLE = re.compile(r"[+-]?[0-9]{1,64}")
# A command imports a thousand modules, which make no garbage; to look for some costs a tenth of their import. A plan
# makes 220,000 objects in all.
_COLLECTED_AFTER = (300_000, 5, 5)


class _Strict:
    """Checks that a command or a group makes before it reads any value.

    Mixed into Typer's two classes, which have the parser that the type checker misses here.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, after checking that each word means what it seems to."""
        if not ctx.resilient_parsing:
            try:
                options, _, order = self.make_parser(ctx).parse_args(args=list(args))  # type: ignore[attr-defined]
            except Exception as error:
                _refuse_unknown(ctx.command, getattr(error, "option_name", ""))
                raise
            if not any(
                getattr(one, "is_eager", False) for one in order
            ):  # --help and --version check nothing
                _refuse_twice(ctx.command.name, order)
                _refuse_old_variables(ctx.command)
                _refuse_spellings(ctx.command.params, {**defaults_given(ctx), **options})
        found: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        return found


class StrictCommand(Helpful, _Strict, Plain, TyperCommand):
    """A command that takes no option twice, and only numbers in plain digits."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, after reporting which of its flags have defaults from this folder."""
        report_sources(ctx)
        return super().invoke(ctx)


class StrictGroup(Helpful, _Strict, Plain, LazyGroup):
    """A group of such commands, with options of its own."""


class StrictTyper(LazyTyper):
    """An application whose commands are strict."""

    def __init__(self, *, cls: type[LazyGroup] = StrictGroup, **settings: Any) -> None:
        super().__init__(cls=cls, **settings)

    def add(self, name: str, place: Any, **settings: Any) -> None:
        """Add a command by its name and place."""
        super().add(name, place, **{"cls": StrictCommand, **settings})


def _refuse_unknown(command: Any, name: str) -> None:
    """Answer an unknown flag with the one that asks the same, if the command has that."""
    for others, how in ((GONE, "is now"), (TRIGGERS, "is asked here as")):
        if _has_instead(command, others, name):
            raise InputError(f"{name} {how} {others[name]}")


def _has_instead(command: Any, others: Mapping[str, str], name: str) -> bool:
    known = {spelling for one in command.params for spelling in one.opts}
    return name in others and others[name].split()[0] in known


# Variables of flags that are spelled otherwise now; that of --target is still render's, with other values.
_VARIABLES_GONE = {"CAPACITY_SLO_WAIT": "--slo-wait", "CAPACITY_TARGET": "--target"}


def _refuse_old_variables(command: Any) -> None:
    """Refuse an old variable, or its limit would be ignored silently."""
    for variable, name in _VARIABLES_GONE.items():
        value = os.environ.get(variable, "")
        if value and value.startswith(OLD_VALUES.get(name, "")) and _has_instead(command, GONE, name):
            raise InputError(f"{variable} is no variable any more: {name} is now {GONE[name]}")


def _refuse_twice(command: str, order: Sequence[Any]) -> None:
    """Refuse a flag given twice: the last of two values would win silently."""
    for one, times in Counter(order).items():
        single = not getattr(one, "multiple", True) and not getattr(one, "is_flag", False)
        if times > 1 and single:
            as_list = ", or its values with commas for a plan at each" if _is_axis(command, one) else ""
            raise InputError(f"{max(one.opts, key=len)} is given {_times(times)}; give it once{as_list}")


def _is_axis(command: str, option: Any) -> bool:
    """Whether a list of an option's values is a question at each."""
    from capacity.question.verbs import VERBS

    flag = VERBS[command].flags.get(option.name) if command in VERBS else None
    return flag is not None and flag.is_axis


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _refuse_spellings(params: Sequence[Any], values: Mapping[str, Any]) -> None:
    """Refuse what Python reads as a number beyond plain digits: `4_0`, digits of other scripts, `nan`, `inf`."""
    for one in params:
        kind, given = _kind(one), values.get(one.name)
        if given is None:
            continue
        for text in given if isinstance(given, (list, tuple)) else [given]:
            if kind is not None:
                _refuse_spelling(str(text), max(one.opts, key=len), whole=kind is int)


def _kind(option: Any) -> type | None:
    """`int` or `float` if an option takes such numbers; None if it takes text."""
    annotation = getattr(getattr(option, "type_descriptor", None), "annotation", None)
    if annotation is None:  # Typer before 0.29 has Click's types
        annotation = {"integer": int, "float": float}.get(getattr(getattr(option, "type", None), "name", ""))
    (annotation,) = get_args(annotation) or (annotation,)  # for several values, that of each
    return annotation if annotation in (int, float) else None


def _refuse_spelling(text: str, flag: str, *, whole: bool) -> None:
    digits = text.strip()
    plain = _WHOLE.fullmatch(digits) is not None if whole else is_number(digits)
    if plain:
        if not whole:
            _refuse_beyond(float(digits), digits, flag)
        return
    what, such = ("whole number", "4") if whole else ("number", "0.5")
    shown = "".join(c if c.isprintable() else "?" for c in digits[:40])
    meant = _plainly(digits, whole=whole)
    mend = f"; write {meant}" if meant else f", such as {such}"
    raise InputError(f"{flag} {shown!r} is not a {what} in plain digits{mend}")


def _refuse_beyond(value: float, digits: str, flag: str) -> None:
    """Refuse a ratio, share or count that makes no sense, with which laws would overflow or never end."""
    if value != 0.0 and not NUMBER_MIN <= abs(value) <= NUMBER_MAX:
        raise InputError(
            f"{flag} {digits!r} is outside the supported range, {NUMBER_MIN:g} to {NUMBER_MAX:g};"
            " check the number"
        )


def _plainly(text: str, *, whole: bool) -> str:
    """The same number in plain digits; empty if it is none, or too long."""
    try:
        value = float(text)
    except ValueError:
        return ""
    if not abs(value) < 1e12 or (whole and not value.is_integer()):  # neither nan nor inf
        return ""
    return f"{value:.0f}" if value.is_integer() else repr(value)


class Guarded(StrictGroup):
    """The command group from which no traceback reaches a user."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; an error of ours is one line on stderr and its exit code."""
        gc.set_threshold(*_COLLECTED_AFTER)
        with guarded_streams():
            try:
                return super().main(*args, **kwargs)
            except CapacityError as error:
                fail(f"error: {error}", error.exit_code, error)
            except Exception as error:
                fail(f"internal error: {type(error).__name__}: {error}; please report it", 1, error)

    def invoke(self, ctx: Any) -> Any:
        """Run the command with the defaults of this folder; Ctrl-C ends with one line and the usual exit code."""
        words = {*getattr(ctx, "_protected_args", ()), *ctx.args}
        if not words & {"--help", "-h"}:  # help must work whatever the file says
            ctx.default_map = defaults_of(self, ctx, words)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            fail("interrupted", 128 + signal.SIGINT, stop)
        except SystemError as error:
            if not _was_interrupted(error):
                raise
            fail("interrupted", 128 + signal.SIGINT, error)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C came as compiled code returned: each function on the way out wraps it once more."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def fail(message: str, exit_code: int, error: BaseException) -> None:
    """Print one line on stderr, with the notes of the error, and exit."""
    typer.echo(" ".join("; ".join([message, *getattr(error, "__notes__", [])]).split()), err=True)
    sys.exit(exit_code)
