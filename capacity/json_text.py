"""JSON text: parsed within limits, and read as a type, with messages that say what to mend."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from capacity.errors import InputError, quoted
from capacity.files import ROWS_MAX, TEXT_LENGTH_MAX, printable

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails


T = TypeVar("T")
VALUES_MAX = 8_000_000  # values of a JSON text, each of which takes 60 bytes or more


_WHOLE_END = 10**100  # fits into a message, and into a float


def parse_object(text: str, shown: str, what: str) -> dict[str, Any]:
    """The object in a JSON text.

    Args:
        shown: name of the file in messages.
        what: what an object would be, for the message if it is none.

    Raises:
        InputError: not JSON, a key twice in one object, NaN or an infinity, or not an object.
    """
    document = _parse(text, shown)
    if not isinstance(document, dict):
        raise InputError(f"{shown}: {what}")
    return document


def parse_list(text: str, shown: str, what: str) -> list[Any]:
    """The list in a JSON text; see `parse_object`."""
    document = _parse(text, shown)
    if not isinstance(document, list):
        raise InputError(f"{shown}: {what}")
    return document


def _parse(text: str, shown: str) -> Any:
    """The value in a JSON text, within limits."""
    if sum(map(text.count, ",[{")) > VALUES_MAX:
        raise InputError(f"{shown} has more than {VALUES_MAX} values; keep fewer")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "a number is too long" if "int_max_str" in str(error) else printable(str(error))
        raise InputError(f"{shown}: not valid JSON ({reason})") from None
    for refusal in _beyond_limits(document):
        raise InputError(f"{shown}: {printable(refusal)}")
    return document


def _beyond_limits(document: Any) -> Iterator[str]:
    """Lists that are too long, whole numbers beyond 100 digits, and 1e999, which is read as infinite."""
    left: list[tuple[str, Any]] = [("", document)]  # no recursion, as it may be deep
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{place}.{key[:40]}", part) for key, part in value.items() if _may_be_beyond(part)]
        elif not isinstance(value, list):
            if _may_be_beyond(value):
                yield f"{place.removeprefix('.')} is too large; keep it below 1e100"
        elif len(value) > ROWS_MAX:
            yield f"{place.removeprefix('.')} must be a list, of {ROWS_MAX} at most"
        else:
            left += [
                (f"{place}[{number}]", part) for number, part in enumerate(value) if _may_be_beyond(part)
            ]


def _may_be_beyond(value: Any) -> bool:
    """Whether a value is a number beyond the limits, or holds others; most are neither, and then take no memory."""
    if isinstance(value, int | float):
        return not -_WHOLE_END < value < _WHOLE_END if isinstance(value, int) else math.isinf(value)
    return isinstance(value, dict | list)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for key, value in pairs:
        if key in keys:
            raise ValueError(f"key {quoted(key)} appears twice in one object; keep one")
        keys[key] = value
    return keys


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


class OneLine:
    """Annotation of a text read from JSON: it must be one line of limited length."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """The hook that pydantic calls, so that this module need not import it."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_one_line, handler(source))


Line = Annotated[str, OneLine()]


def _one_line(text: str) -> str:
    if len(text) > TEXT_LENGTH_MAX or not text.isprintable():
        raise ValueError(f"must be a text of one line, {TEXT_LENGTH_MAX} characters at most")
    return text


def read_as(kind: type[T], value: Any, where: str = "", *, ignore_extra: bool = False) -> T:
    """A JSON value read strictly as a type, such as a dataclass with its keys and no others.

    Args:
        where: place of the value, for messages; empty for a whole file.

    Raises:
        InputError: the first misfit, by its path, and what is allowed there.
    """
    from pydantic import ValidationError

    wanted: Any = kind
    try:
        found: T = _adapter(wanted, ignore_extra).validate_json(json.dumps({where: value}))[where]
    except ValidationError as error:
        raise InputError(_misfit(error.errors(include_url=False)[0], kind)) from None
    except RecursionError:
        raise InputError(f"{where or 'the file'} is nested too deeply") from None
    return found


@cache
def _adapter(kind: Any, ignore_extra: bool) -> "TypeAdapter[dict[str, Any]]":  # noqa: FBT001
    """The reader of a dictionary, so that nouns in it need no settings of pydantic, and errors begin with its key."""
    from pydantic import ConfigDict, TypeAdapter

    extra: Literal["ignore", "forbid"] = "ignore" if ignore_extra else "forbid"
    return TypeAdapter(dict[str, kind], config=ConfigDict(strict=True, extra=extra, allow_inf_nan=False))


_MUST_BE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "string_type": "a text",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
}


def _misfit(error: "ErrorDetails", kind: Any) -> str:
    """The error of pydantic on one line."""
    path, what = error["loc"], error["type"]
    if what == "json_invalid":
        return "the file is nested too deeply"
    if what == "missing":
        return f"{_place(path[:-1])} has no key {path[-1]}"
    if what == "unexpected_keyword_argument":
        known = ", ".join(sorted(field.name for field in fields(_kind_at(kind, path[1:-1]))))
        unknown = printable(str(path[-1]))[:40]
        return f"{_place(path[:-1])} has an unknown key {unknown!r}; known keys are {known}"
    place = f"{_place(path[:-2])}: each key" if path[-1] == "[key]" else _place(path)
    if what == "value_error":
        told, is_text = str(error["ctx"]["error"]), isinstance(error["input"], str)
        return f"{place} {told}" if is_text else f"{place}: {told}"
    if what == "too_long":
        most, found = error["ctx"]["max_length"], error["ctx"]["actual_length"]
        return f"{place} must be a list of {most} at most, got {found}"
    expected = error.get("ctx", {}).get("expected", "").replace("'", "").replace(" or ", ", ")
    allowed = f"one of {expected}" if expected else _MUST_BE.get(what, error["msg"])
    return f"{place} must be {allowed}, got {shown(error['input'])}"


def _place(path: Sequence[str | int]) -> str:
    """A path as `question.profiles[0].sha256`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{printable(step)[:80]}" for step in path)
    return "".join(steps).lstrip(".") or "the file"


def _kind_at(kind: Any, path: Sequence[str | int]) -> Any:
    """The dataclass that a path leads to from another."""
    for step in path:
        kind = (
            get_type_hints(kind)[str(step)]
            if is_dataclass(kind)
            else get_args(kind)[-1 if isinstance(step, str) else 0]
        )
        if get_origin(kind) in (Union, UnionType):
            kind = get_args(kind)[0]
    return kind


def shown(value: Any) -> str:
    """A value for a message; a list or an object is only named, as it may be deep or long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return printable(repr(value))[:80]
