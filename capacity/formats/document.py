"""Document: a file of another tool, read within limits, as JSON, as lines of JSON or as rows."""

import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from capacity.errors import InputError
from capacity.files import (
    LINES_MAX,
    ROWS_MAX,
    csv_rows,
    decimals,
    is_read_once,
    printable,
    read_lines,
    read_parts,
    read_text,
)
from capacity.formats.captured import Unwrap, unwrapping
from capacity.json_text import parse_list, parse_object

_DIGITS_MAX = 40
_ROWS_ALIKE, _ROWS_SEEN = 10, 100  # rows of a CSV that show how many decimals its tool writes
T = TypeVar("T")

_HEAD = 4096  # characters by which a format is recognised
_BEGINNING = 65_536  # enough for the first request in a log, after the messages at the server's start
# Units of durations in tools' files, as powers of ten.
SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?")
_UNIT_NAMES = {"nanoseconds": "ns", "microseconds": "us", "milliseconds": "ms", "seconds": "s"}


@dataclass(frozen=True)  # without slots, for cached properties
class Document:
    """The text of a file, and its name in messages.

    A large file is read again for each pass over its lines or rows, so that only what a reader keeps of them takes
    memory; its whole text is read if a reader asks for that.

    Attributes:
        start: the text, or the beginning of the text in `path`.
        path: file with the rest of it; None if there is no more.
        unwrap: function that unwraps the file's lines from what Docker, Kubernetes or a terminal put around them.
        is_end: whether a last line without a line end is visibly complete.
    """

    name: str
    start: str = field(repr=False)
    path: Path | None = field(default=None, repr=False)
    unwrap: Unwrap | None = field(default=None, repr=False)
    is_end: Callable[[str], Any] = field(default=lambda line: False, repr=False)

    @classmethod
    def read(cls, path: Path) -> "Document":
        """A text file, gzipped or not; a captured log is unwrapped.

        Raises:
            InputError: it cannot be read, is not text, or is a pipe with more than `capacity.files.FILE_BYTES_MAX`.
        """
        shown = printable(path.name)
        if is_read_once(path):
            return cls.of(shown, read_text(path))
        parts = read_parts(path)
        start, more = next(parts, b""), next(parts, b"")
        if not more:
            return cls.of(shown, read_text(path))
        text = start.decode("utf-8-sig", errors="replace")
        unwrap = unwrapping(text, shown)
        return cls(shown, _unwrapped(text[: text.rfind("\n") + 1], unwrap) if unwrap else text, path, unwrap)

    @classmethod
    def of(cls, name: str, text: str) -> "Document":
        """A document whose text is all there."""
        unwrap = unwrapping(text, name)
        return cls(name, _unwrapped(text, unwrap) if unwrap else text)

    @cached_property
    def text(self) -> str:
        """The whole text. Raises InputError: it is too large, or not text."""
        if self.path is None:
            return self.start
        text = read_text(self.path)
        return _unwrapped(text, self.unwrap) if self.unwrap else text

    @property
    def head(self) -> str:
        """Its first characters, after any blanks."""
        return self.start[:_HEAD].lstrip()

    @cached_property
    def first_lines(self) -> list[str]:
        """The lines within its first 64 kB."""
        return self.start[:_BEGINNING].split("\n")

    def ending(self, is_end: Callable[[str], Any]) -> "Document":
        """The same file, whose last line needs no line end if it is visibly complete.

        Args:
            is_end: whether a stripped line can only be a whole one.
        """
        return replace(self, is_end=is_end)

    def ended_by(self, last: re.Pattern[str]) -> "Document":
        """The same report, which is complete once the last line that its tool prints is there.

        Args:
            last: pattern of that line, stripped and whole; anything may follow it.
        """
        has_end = any(last.fullmatch(line.strip()) for line in self.text.splitlines())
        return self.ending(lambda line: True) if has_end else self

    def numbered(self) -> Iterator[tuple[int, str]]:
        """Its lines without their ends, counted from 1, however large it is.

        Raises:
            InputError: more than `capacity.files.LINES_MAX` lines, or one that is not text.
        """
        return ((number, line.removesuffix("\n")) for number, line in enumerate(self._lines(), 1))

    def records(self) -> Iterator[tuple[int, str]]:
        """Its lines, each a record; the last one may have been cut off.

        Raises:
            InputError: as in `numbered`; or the last line has no end, and may not be whole.
        """
        for number, line in enumerate(self._lines(), 1):
            if not line.endswith("\n") and not self.is_end(line.strip()):
                raise InputError(
                    f"{self.name} line {number} has no line end: was the file cut off there? if it is whole, end it "
                    "with a new line"
                )
            yield number, line.removesuffix("\n")

    def _lines(self) -> Iterator[str]:
        """Lines with their ends, each a line break."""
        if self.path is None:
            return io.StringIO(self.start, newline=None)
        lines = read_lines(self.path)
        return self.unwrap(lines) if self.unwrap else lines

    @cached_property
    def keys(self) -> frozenset[str]:
        """Keys of its JSON object; empty if it is none."""
        if not self.head.startswith("{") or self.has_lines_of_json:
            return frozenset()
        try:
            return frozenset(self.object)
        except InputError:
            return frozenset()

    @cached_property
    def object(self) -> dict[str, Any]:
        """Its JSON object. Raises InputError: it is none."""
        return parse_object(self.text, self.name, "this format is a JSON object")

    @cached_property
    def parts(self) -> "list[Part]":
        """The objects in its JSON list. Raises InputError: it is none."""
        found = parse_list(self.text, self.name, "this format is a JSON list")
        return [Part(f"{self.name}[{number}]", one) for number, one in enumerate(found)]

    @cached_property
    def first_line(self) -> dict[str, Any]:
        """The JSON object in its first line; empty if there is none."""
        if not self.head.startswith("{"):
            return {}
        try:
            return parse_object(self.start.lstrip().partition("\n")[0], self.name, "a JSON object")
        except InputError:
            return {}

    @property
    def has_lines_of_json(self) -> bool:
        """Whether a large file has an object on its first line and more below; its whole text is then not needed."""
        return self.path is not None and bool(self.first_line) and "\n" in self.start.strip()

    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        """The JSON object on each line that is not blank, and its place.

        Raises:
            InputError: a line without an object, more than `ROWS_MAX`, or a text too large to keep.
        """
        _ = self.text  # which is limited in size
        found = []
        for one in self.each_line():
            found.append(one)
            if len(found) > ROWS_MAX:
                raise InputError(f"{self.name} has more than {ROWS_MAX} lines; keep fewer requests")
        return found

    def each_line(self, *words: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of `lines`, one at a time, for files of which only a part is kept.

        Args:
            words: if any are given, lines with none of them are skipped unread.
        """
        for number, line in self.numbered():
            if (not words or any(word in line for word in words)) and line.strip():
                where = f"{self.name} line {number}"
                yield where, parse_object(line, where, "each line is a JSON object")

    def found(self, pattern: re.Pattern[str]) -> "list[tuple[str, re.Match[str]]]":
        """The stripped lines that match a pattern, and their places."""
        found = ((number, pattern.fullmatch(line.strip())) for number, line in self.records())
        return [(f"{self.name} line {number}", match) for number, match in found if match]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Cells of its first row as a CSV; empty if it is none."""
        if self.head.startswith(("{", "[", "<")):
            return ()
        try:
            return tuple(cell.strip() for cell in next(csv_rows(self.start, self.name, ""), (1, []))[1])
        except InputError:
            return ()

    def rows(self, columns: Sequence[str] = (), unread: Collection[str] = ()) -> "Iterator[Row]":
        """The rows of its CSV, below the header.

        Args:
            columns: names for the columns of a file without a header.
            unread: columns that its reader does not use; in such a column the last row may be cut off.

        Raises:
            InputError: not a CSV, two columns of the same name, or a row of another length.
        """
        last = (columns or self.columns)[-1:]
        document = self.ending(lambda line: True) if set(last) & set(unread) else self
        rows = document.cells(LINES_MAX)
        names = tuple(columns) or tuple(cell.strip() for cell in next(rows, (1, []))[1])
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise InputError(f"{self.name} has two columns {_shown(twice[0])}; keep one")
        for line, cells in rows:
            where = f"{self.name} line {line}"
            if len(cells) != len(names):
                raise InputError(
                    f"{where} has {len(cells)} cells for {len(names)} columns; was the file cut off?"
                )
            yield Row(where, dict(zip(names, cells, strict=True)))

    def cells(self, rows_max: int = ROWS_MAX) -> Iterator[tuple[int, list[str]]]:
        """The rows of its CSV with their line numbers, header included.

        Raises:
            InputError: not a CSV, more rows than that, or a last row that may have been cut off: without a line end,
                and without as many decimals in its last cell as all rows above it.
        """
        above: list[int | None] = []
        document = self.ending(lambda line: self.is_end(line) or _is_as_precise(line, above))
        lines = (f"{_noted(line, above)}\n" for _, line in document.records())
        return csv_rows(lines, self.name, f"cut it to {rows_max} rows", rows_max)


def _unwrapped(text: str, unwrap: Unwrap) -> str:
    return "".join(unwrap(io.StringIO(text, newline=None)))


def _noted(line: str, above: list[int | None]) -> str:
    """The line; the decimals of its last cell are added to those of the first rows."""
    if len(above) < _ROWS_SEEN:
        above.append(decimals(line))
    return line


def _is_as_precise(line: str, above: Sequence[int | None]) -> bool:
    """Whether a row ends in a number with as many decimals as its tool always writes, so that no digit is missing."""
    usual = [count for count in above if count is not None]
    return len(usual) >= _ROWS_ALIKE and set(usual) == {decimals(line)} and usual[0] > 0


class Row:
    """A row of a CSV, or an element's attributes; its texts are read strictly by name."""

    __slots__ = ("_cells", "_noun", "where")

    def __init__(self, where: str, cells: Mapping[str, str], noun: str = "column") -> None:
        self.where, self._cells, self._noun = where, cells, noun

    def __contains__(self, column: str) -> bool:
        return bool(self._cells.get(column, "").strip())

    def place(self, column: str) -> str:
        """Place of a cell, for messages."""
        return f"{self.where} {self._noun} {column}"

    def text(self, column: str) -> str:
        """The cell in a column, which may be empty."""
        if column not in self._cells:
            raise InputError(f"{self.where} has no {self._noun} {column}, which is needed")
        return self._cells[column].strip()

    def number(self, column: str) -> float:
        """The finite number in a column."""
        return parsed(self.text(column), self.place(column))

    def whole(self, column: str) -> int:
        """The whole number in a column."""
        text = self.text(column)
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
            return int(text)  # nanoseconds since 1970 are more than a float holds
        return whole(self.number(column), self.place(column))


def placed(document: Document, where: str, build: Callable[[], T]) -> T:
    """The result of `build`; its error says where, if it does not already."""
    try:
        return build()
    except InputError as error:
        said = str(error)
        known = said.startswith(tuple(document.name + mark for mark in (" ", ".", ":", ",")))
        raise (error if known else InputError(f"{where}: {said}")) from None


class Part:
    """An object in a document, whose values are read strictly, with messages that name the place."""

    def __init__(self, where: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise InputError(f"{where} must be an object, got {_shown(values)}")
        self.where, self._values = where, values

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys with a value, in the order of the file."""
        return tuple(key for key in self._values if self._values[key] is not None)

    def numbers(self) -> dict[str, float]:
        """All its values, which must be numbers."""
        return {key: self.number(key) for key in self._values}

    def part(self, key: str) -> "Part":
        """The object under a key."""
        return Part(f"{self.where}.{key}", self._get(key))

    def parts(self, key: str) -> "list[Part]":
        """The objects in the list under a key; empty if it is absent."""
        found = self.list(key) if key in self else []
        return [Part(f"{self.where}.{key}[{number}]", one) for number, one in enumerate(found)]

    def list(self, key: str) -> Sequence[Any]:
        """The list under a key."""
        found = self._get(key)
        if not isinstance(found, list):
            raise InputError(f"{self.where}.{key} must be a list, got {_shown(found)}")
        return found

    def number(self, key: str) -> float:
        """The finite number under a key."""
        return number(self._get(key), f"{self.where}.{key}")

    def whole(self, key: str) -> int:
        """The whole number under a key."""
        return whole(self._get(key), f"{self.where}.{key}")

    def text(self, key: str) -> str:
        """The text under a key."""
        found = self._get(key)
        if not isinstance(found, str):
            raise InputError(f"{self.where}.{printable(key)[:80]} must be a text, got {_shown(found)}")
        return found

    def values(self, key: str) -> Sequence[Any]:
        """The list under a key; empty if it is absent, as protocol buffers leave empty lists out."""
        return self.list(key) if key in self else []

    def scalar(self, key: str) -> Any:
        """The text, number or boolean under a key."""
        found = self._get(key)
        if isinstance(found, list | dict):
            raise InputError(f"{self.where}.{key} must be a single value, got {_shown(found)}")
        return found

    def texts(self) -> dict[str, str]:
        """The texts under all its keys."""
        return {key: self.text(key) for key in self._values}

    def value(self, key: str) -> Any:
        """The value under a key, of any type; None if it is absent."""
        return self._values.get(key)

    def is_true(self, key: str) -> bool:
        """Whether the value under a key is true."""
        return self._values.get(key) is True

    def _get(self, key: str) -> Any:
        found = self._values.get(key)
        if found is None:
            raise InputError(f"{self.where} has no {printable(key)[:80]}, which is needed")
        return found


def number(value: Any, where: str) -> float:
    """A finite number. Raises InputError: another value; names its place."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where} must be a number, got {_shown(value)}")
    return float(value)


def parsed(text: str, where: str) -> float:
    """A finite number written in digits. Raises InputError: another text; names its place."""
    if not _NUMBER.fullmatch(text):
        raise InputError(f"{where} must be a number, got {_shown(text)}")
    return float(text)


def whole(value: Any, where: str) -> int:
    """A whole number, also one written as 12.0. Raises InputError: another value; names its place."""
    found = number(value, where)
    if found != math.floor(found):
        raise InputError(f"{where} must be a whole number, got {_shown(value)}")
    return int(value)  # nanoseconds since 1970 are more than a float holds


def each(values: Sequence[Any], where: str, read: Callable[[Any, str], float]) -> list[float]:
    """The values of a list, each read as a number. Raises InputError: one that is none; names its place."""
    return [read(value, f"{where}[{number}]") for number, value in enumerate(values)]


def seconds_per(unit: Any, where: str) -> float:
    """Seconds of a unit as tools name it. Raises InputError: an unknown unit."""
    known = _UNIT_NAMES.get(str(unit), str(unit))
    if known not in SECONDS_PER:
        raise InputError(f"{where} has the unit {_shown(unit)}; known are {', '.join(SECONDS_PER)}")
    return SECONDS_PER[known]


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return printable(repr(value))[:40]
