"""JSON from outside, read strictly: each key once, none unknown, finite numbers, no value of another type."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from capacity.errors import InputError
from capacity.reading import ROWS_MAX, TEXT_LENGTH_MAX, printable

_WHOLE_END = 10**100

T = TypeVar("T")


def parse_object(text: str, shown: str, what: str) -> dict[str, Any]:
    """The object that a JSON text is.

    Args:
        shown: what to call the file.
        what: what an object would be, for the message where it is none.

    Raises:
        InputError: not JSON, a key twice in one object, NaN or an infinity, or no object.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "a number is too long" if "int_max_str" in str(error) else printable(str(error))
        raise InputError(f"{shown}: not valid JSON ({reason})") from None
    if not isinstance(document, dict):
        raise InputError(f"{shown}: {what}")
    for place in _infinite(document):
        raise InputError(f"{shown}: {printable(place)} is too large a number; keep it below 1e308")
    return document


def _infinite(document: dict[str, Any]) -> Iterator[str]:
    """Where numbers such as 1e999 stand, which are read as infinite."""
    left: list[tuple[str, Any]] = [("", document)]  # no recursion, as it may be deep
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{place}.{key[:40]}", part) for key, part in value.items()]
        elif isinstance(value, list):
            left += [(f"{place}[{number}]", part) for number, part in enumerate(value)]
        elif isinstance(value, float) and math.isinf(value):
            yield place.removeprefix(".")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for key, value in pairs:
        if key in keys:
            raise ValueError(f"key {key[:40]!r} stands twice in one object; keep one")
        keys[key] = value
    return keys


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


class Fields:
    """The fields of a JSON object, each read by its type; an error names the key and what it must be."""

    def __init__(self, value: Any, where: str, allowed: Collection[str]) -> None:
        """Of a value that must be an object.

        Raises:
            InputError: it is none, or has a key that is not allowed.
        """
        if not isinstance(value, dict):
            raise InputError(f"{where} must be an object, got {shown(value)}")
        unknown = sorted(set(value) - set(allowed))
        if unknown:
            raise InputError(
                f"{where} has the unknown key {printable(unknown[0])[:40]!r}; known are "
                f"{', '.join(sorted(allowed))}"
            )
        self._value: Mapping[str, Any] = value
        self.where = where

    def raw(self, key: str) -> Any:
        """The value as it is.

        Raises:
            InputError: there is none.
        """
        if key not in self._value:
            raise InputError(f"{self.where} has no key {key}")
        return self._value[key]

    def has(self, key: str) -> bool:
        """Whether it is there and not null."""
        return self._value.get(key) is not None

    def optional(self, read: Callable[[str], T], key: str) -> T | None:
        """What `read` finds there, None where it is null; it may not be absent."""
        return None if self.raw(key) is None else read(key)

    def text(self, key: str) -> str:
        """One line of text."""
        return text(self.raw(key), self.at(key))

    def number(self, key: str) -> float:
        """A finite number."""
        return number(self.raw(key), self.at(key))

    def whole(self, key: str) -> int:
        """A whole number."""
        return whole(self.raw(key), self.at(key))

    def items(self, key: str) -> list[Any]:
        """A list."""
        return items(self.raw(key), self.at(key))

    def object(self, key: str, allowed: Collection[str]) -> "Fields":
        """An object with these keys at most."""
        return Fields(self.raw(key), self.at(key), allowed)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object with any keys."""
        value = self.raw(key)
        if not isinstance(value, dict):
            raise InputError(f"{self.at(key)} must be an object, got {shown(value)}")
        return value

    def at(self, key: str) -> str:
        """Where a key stands, for messages."""
        return f"{self.where}.{printable(key)[:40]}"


def text(value: Any, where: str) -> str:
    """One line of text of limited length."""
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not value.isprintable():
        raise InputError(f"{where} must be a text of one line, {TEXT_LENGTH_MAX} characters at most")
    return value


def number(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} must be a number, got {shown(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):  # 1e999 is read as infinite
        raise InputError(f"{where} is too large a number")
    return result


def whole(value: Any, where: str) -> int:
    """A whole number that fits into a message, and into a float."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where} must be a whole number, got {shown(value)}")
    if abs(value) >= _WHOLE_END:
        raise InputError(f"{where} is too large a number; keep it below 1e100")
    return value


def items(value: Any, where: str) -> list[Any]:
    """A list of limited length."""
    if not isinstance(value, list) or len(value) > ROWS_MAX:
        raise InputError(f"{where} must be a list, of {ROWS_MAX} at most")
    return value


def shown(value: Any) -> str:
    """A value for a message; what holds others is only named, as it may be deep or long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return printable(repr(value))[:80]
