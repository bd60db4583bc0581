"""Doors: verbs as functions, whose keywords, signatures and descriptions come from the table of flags."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial, wraps
from inspect import Parameter, Signature, cleandoc, signature
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

from capacity.errors import CapacityError, InputError
from capacity.question.arguments import Asked, many
from capacity.question.asked import FLAGS, GONE, TRIGGERS
from capacity.question.flag import (
    CONFIDENCE,
    COUNT,
    FILE,
    NUMBER,
    OBJECTIVE,
    PRICE,
    PROFILE,
    QUANTILE,
    REQUIRED,
    SWITCH,
    Flag,
    Kind,
)
from capacity.question.parse import require_unit
from capacity.question.verbs import VERBS, keywords, typed_name

Found = TypeVar("Found")
Door = Callable[..., Found]


def door(verb: str) -> Callable[[Callable[[Asked], Found]], Door[Found]]:
    """Turn a function of `Asked` into the verb that users call, with its keywords.

    The function itself is kept as `body`, for the command, whose messages name flags.
    """

    def decorate(body: Callable[[Asked], Found]) -> Door[Found]:
        taken = _signature(verb, body)

        @wraps(body)
        def call(*args: Any, **given: Any) -> Found:
            bound = _bound(taken, body.__name__, args, given)
            fitting = dict(_fitting(verb, bound))
            try:
                return _work(body, Asked(verb, fitting))
            except CapacityError as error:
                if not _AT_WORK.get():
                    error.args = (in_keywords(str(error)), *error.args[1:])
                raise

        call.__signature__ = taken  # type: ignore[attr-defined]
        call.__doc__ = _described(verb, body)
        call.verb, call.body = verb, body  # type: ignore[attr-defined]
        return call

    return decorate


def ask(
    function: Door[Found], typed: Mapping[str, Any], told: Collection[str] | None = None, **others: Any
) -> Found:
    """Call a verb from its command, with messages that name flags.

    Args:
        typed: values by the names of flags; flags that only the command has are left out.
        told: names of those that were typed, and have no value by default or from a file; None for all.
        others: keywords without a flag.
    """
    verb, body = function.verb, function.body  # type: ignore[attr-defined]
    flags = {name: flag for name, flag in VERBS[verb].flags.items() if flag.is_typed and flag.keyword != ""}
    named = {flag.keyword or name: typed[name] for name, flag in flags.items() if name in typed}
    known = (
        None if told is None else {*others, *(flags[name].keyword or name for name in told if name in flags)}
    )
    try:
        found: Found = _work(body, Asked(verb, {**named, **others}, known))
    except CapacityError as error:
        error.args = (_in_flags(str(error), flags), *error.args[1:])
        raise
    return found


def _in_flags(text: str, flags: Mapping[str, Flag]) -> str:
    """A message of a noun, which opens with the name of its field, with that field's flag in its place."""
    name, mark, rest = text.partition(" must be ")
    is_field = mark and name in flags and not flags[name].names  # a flag typed otherwise has another field
    return f"{typed_name(name, flags[name])}{mark}{rest}" if is_field else text


# Whether a verb is running: one that it calls leaves messages to it, since its caller may be a command.
_AT_WORK: ContextVar[bool] = ContextVar("at work", default=False)


def _work(body: Callable[[Asked], Found], asked: Asked) -> Found:
    """Call the body of a verb."""
    before = _AT_WORK.set(True)
    try:
        return body(asked)
    finally:
        _AT_WORK.reset(before)


def _bound(taken: Signature, name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name.

    Raises:
        TypeError: one is missing, unknown or given twice; names the nearest keyword.
    """
    try:
        return dict(taken.bind(*args, **given).arguments)
    except TypeError as error:
        from difflib import get_close_matches

        unknown = next((one for one in given if one not in taken.parameters), "")
        near = get_close_matches(unknown, taken.parameters, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        for others, how in ((GONE, "it is now"), (TRIGGERS, "it is asked here as")):
            instead = in_keywords(others.get(f"--{unknown.replace('_', '-')}", ""))
            meant = f"; {how} {instead}" if instead.partition(" ")[0] in taken.parameters else meant
        raise TypeError(f"{name}() {error}{meant}") from None


def _fitting(verb: str, bound: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of the right types; None is the default if there is one.

    Raises:
        InputError: a value that no command could be given.
    """
    flags = keywords(verb)
    for name, value in bound.items():
        flag = flags.get(name)
        if flag is None:
            yield name, value
        elif value is None and flag.default is REQUIRED:
            raise InputError(f"{name} is None; give one")
        elif value is not None:
            fits = _fit(flag.kind)
            fits = partial(_text_or, fits) if flag.is_axis else fits
            is_list = flag.is_many or (
                flag.is_axis and isinstance(value, Iterable) and not isinstance(value, str)
            )
            yield name, [fits(name, one) for one in many(value)] if is_list else fits(name, value)


def _fit(kind: Kind) -> Callable[[str, Any], Any]:
    """What a value of a kind passes: its name and itself."""
    if kind.unit:
        return partial(require_unit, kind.unit)
    return _text if kind.is_text else _FITS.get(kind, _any)


def _text_or(fits: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    """A value that may be a list or a range, as text, or else what fits."""
    return value if isinstance(value, str) else fits(name, value)


def _any(_: str, value: Any) -> Any:
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, got {value!r:.40}")
    return value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputError(f"{name} must be a whole number, got {value!r:.40}")
    return int(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {value!r:.40}")
    return value if isinstance(value, int | float) else float(value)


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name} must be True or False, got {value!r:.40}")
    return bool(value)


def _path(name: str, value: Any) -> Any:
    if not isinstance(value, str | Path):
        raise InputError(f"{name} must be the path of a file, got a {type(value).__name__}; save it as one")
    return value


def _profile(name: str, value: Any) -> Any:
    if isinstance(value, bytes | Real):
        raise InputError(f"{name} must be a name, a file, a DataFrame or a profile, got {value!r:.40}")
    return value


def _objective(name: str, value: Any) -> Any:
    if not hasattr(value, "limits"):  # told apart without importing its module
        raise InputError(f"{name} must be a cap.Objective, got {value!r:.40}; or give slo_p99 and the like")
    return value


_FITS: dict[Kind, Callable[[str, Any], Any]] = {
    COUNT: _whole,
    NUMBER: _number,
    QUANTILE: _number,
    CONFIDENCE: _number,
    PRICE: _number,
    SWITCH: _yes_or_no,
    FILE: _path,
    PROFILE: _profile,
    OBJECTIVE: _objective,
}


def _signature(verb: str, body: Callable[[Asked], Any]) -> Signature:
    """Signature of a verb: positional parameters, then keywords."""
    first = VERBS[verb].positional
    flags = keywords(verb)
    names = [*(flags_name(verb, one) for one in first)]
    ordered = [*names, *(one for one in flags if one not in names)]
    found = [one for name in ordered for one in _parameters(name, flags[name], is_first=name in names)]
    found.sort(key=lambda one: one.kind)
    return Signature(found, return_annotation=signature(body).return_annotation)


def flags_name(verb: str, name: str) -> str:
    """The keyword of a flag."""
    return VERBS[verb].flags[name].keyword or name


def _parameters(name: str, flag: Flag, *, is_first: bool) -> Iterator[Parameter]:
    """Parameters of a flag: its keyword, and the one that takes the same in SI."""
    kind = Parameter.POSITIONAL_OR_KEYWORD if is_first else Parameter.KEYWORD_ONLY
    default = Parameter.empty if flag.default is REQUIRED else flag.default
    yield Parameter(name, kind, default=default, annotation=_annotation(flag, flag.kind.python))
    if flag.kind.unit:
        unit = f"{name}_{flag.kind.unit}"
        yield Parameter(
            unit, Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(flag, "float", si=True)
        )


def _annotation(flag: Flag, one: str, *, si: bool = False) -> str:
    each = f"{one} | Iterable[{one}]" if flag.is_many or flag.is_axis else one
    each = f"{each} | str" if flag.is_axis and not si and "str" not in one else each
    return f"{each} | None" if si or flag.default is None else each


def _described(verb: str, body: Callable[[Asked], Any]) -> str:
    """Description of a verb: what it does, each keyword with its sentence, and the rest."""
    text = cleandoc(body.__doc__ or "")
    head, mark, rest = text.partition("\n\nRaises:")
    lines = [
        f"    {name}{f', {name}_{flag.kind.unit}' if flag.kind.unit else ''}: {in_keywords(flag.help)}"
        for name, flag in keywords(verb).items()
        if flag.help
    ]
    return "\n".join([f"{head}\n\nArgs:", *lines]) + mark + rest


_TYPED = {
    typed_name(name, flag): flag.keyword or name
    for flags in (FLAGS, *(verb.flags for verb in VERBS.values()))
    for name, flag in flags.items()
    if flag.is_typed and flag.keyword != "" and flag.argument is None
}
# A command as it is typed, which stays as it is; or a flag, but not within a file's name or a quoted text.
_FLAG = re.compile(r"(capacity [a-z][a-z-]* [^;,]*)|(?<![\w.'\"=-])(--[a-z][a-z0-9-]*)(?![\w'\"=/-]|\.\w)")


def in_keywords(text: str) -> str:
    """A message with keywords in place of its flags.

    >>> in_keywords("give --slo-p99 too, or run capacity plan --rate 5rps")
    'give slo_p99 too, or run capacity plan --rate 5rps'
    """
    return _FLAG.sub(lambda match: match[1] or _TYPED.get(match[2], match[2]), text)
