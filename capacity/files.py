"""Files: reading with limits, JSON without surprises, writing whole or not at all, versions."""

import csv
import io
import json
import math
import os
import platform
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from capacity.errors import CapacityError, DependencyError, InputError

FILE_BYTES_MAX = 64 * 2**20
ROWS_MAX = 1_000_000
TEXT_LENGTH_MAX = 500

T = TypeVar("T")

_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|(?:/dev|/proc/self)/fd/(\d{1,9})")
_REFUSED = (
    (stat.S_ISDIR, "a directory; give the name of a file"),
    (stat.S_ISFIFO, "a pipe; save it to a file first"),
    (stat.S_ISSOCK, "a socket; save what it sends to a file first"),
    (stat.S_ISCHR, "a device; give the name of a file"),
    (stat.S_ISBLK, "a device; give the name of a file"),
)


def read_text(path: Path, bytes_max: int = FILE_BYTES_MAX) -> str:
    """Text of a file of limited size."""
    shown = printable(path.name) or "a file without a name"
    try:
        with os.fdopen(_open(path, shown), "rb") as file:
            data = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise InputError(f"cannot read {shown}: {reason}; check the path") from None
    if len(data) > bytes_max:
        raise InputError(f"{shown} is larger than {bytes_max} bytes; keep fewer samples")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _open(path: Path, shown: str) -> int:
    """A descriptor to read from; what would be waited for, or never end, is refused.

    A pipe that the shell has opened, as of `... | capacity` or `<(...)`, has a writer and an end.
    """
    mode = path.stat().st_mode
    number = own_descriptor(path)
    if number is not None and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return os.dup(number)
    for is_such, what in _REFUSED:
        if is_such(mode):
            raise InputError(f"cannot read {shown}: it is {what}")
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # should a pipe have just taken its place


def own_descriptor(path: Path) -> int | None:
    """Number of the open file of this process that a path such as `/dev/stdin` stands for; else None."""
    found = _DESCRIPTOR.fullmatch(str(path))
    if found is None:
        return None
    return int(found[2]) if found[1] is None else _STANDARD[found[1]]


def csv_rows(text: str, shown: str, mend: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV with their line numbers; blank lines are passed over.

    Where the first line has semicolons or tabs and no comma, these separate the cells, and a comma is the
    decimal point, as in the files of a spreadsheet set to German or French.

    Args:
        shown: what to call the file.
        mend: what to do about more than `ROWS_MAX` rows.
    """
    separator = _separator(text)
    lines = io.StringIO(text, newline=None)  # they may end in any usual way
    reader = csv.reader(lines, strict=True, delimiter=separator)
    try:
        for count, row in enumerate(reader):
            if count > ROWS_MAX:
                raise InputError(f"{shown} has more than {ROWS_MAX} rows; {mend}")
            if any(cell.strip() for cell in row):
                yield reader.line_num, row if separator == "," else [_with_point(cell) for cell in row]
    except csv.Error as error:
        raise InputError(f"{shown} line {reader.line_num}: not valid CSV ({error})") from None


def _separator(text: str) -> str:
    header = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    return next((one for one in ";\t" if one in header and "," not in header), ",")


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell, re.ASCII) else cell


def printable(text: str) -> str:
    """Text from outside without control characters, of limited length, safe on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:TEXT_LENGTH_MAX])


def located(where: str, build: Callable[[], T]) -> T:
    """What `build` gives; its error says where."""
    try:
        return build()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


_WHOLE_END = 10**100

Read = TypeVar("Read")


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

    def optional(self, read: Callable[[str], Read], key: str) -> Read | None:
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


JOURNAL_SUFFIX = ".partial"  # of what is kept beside a file until that is whole


def check_target(path: Path, what: str, suffixes: Collection[str]) -> None:
    """Refuse early what could not be written after hours of work.

    Args:
        what: what the file would be: `a plan`.

    Raises:
        InputError: another suffix, a directory, no such folder, or one that must not be written to.
        DependencyError: the disk failed.
    """
    shown = printable(str(path))
    try:
        if is_stream(path):
            return
        if path.suffix.lower() not in suffixes:
            raise InputError(f"cannot write {shown}: {what} is a {' or a '.join(suffixes)} file; name it so")
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise InputError(f"cannot write {shown}: it is a directory; give the name of a file")
        if not target.parent.is_dir():
            raise InputError(f"cannot write {shown}: no such directory; make it, or check the path")
        _require_writable(target, shown)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def _require_writable(target: Path, shown: str) -> None:
    """Refuse a file that is protected from writing, which a new one could replace all the same."""
    if target.exists():
        if not target.is_file():
            raise InputError(f"cannot write {shown}: it is not a file; give the name of a file")
        with target.open("r+b"):
            pass
    with tempfile.TemporaryFile(dir=target.parent):
        pass


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a terminal, `/dev/null` or an open file of this process, as `/dev/stdout`.

    Raises:
        OSError: links that lead nowhere but to each other, or a folder that must not be looked into.
        ValueError: not a path at all.
    """
    if own_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def format_suffix(path: Path, suffixes: Collection[str]) -> str:
    """The suffix that says in which format a path is written; of a stream without one, the first."""
    suffix = path.suffix.lower()
    return suffix if suffix in suffixes or not is_stream(path) else next(iter(suffixes))


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file and put it in its place, over what was there; a stream is written straight.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    shown = printable(str(path))
    try:
        if is_stream(path):
            _write_straight(path, data)
        else:
            target = Path(os.path.realpath(path))  # a link stays one
            _require_writable(target, shown)
            _replace(target, data)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def _write_straight(path: Path, data: bytes) -> None:
    """An open file goes on where it is: to open it by its name would write over what it has."""
    number = own_descriptor(path)
    with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes) -> None:
    beside = target.with_name(f".{secrets.token_hex(8)}.part")  # never one that a killed run has left
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            _take_over(file.fileno(), target)
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def _take_over(descriptor: int, target: Path) -> None:
    """Owner, group and mode of the file that is replaced; a new one has what the umask leaves."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def refused(error: OSError | ValueError, shown: str) -> CapacityError:
    """What a file that cannot be opened or written means to who asked for it."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return InputError(f"cannot write {shown}: {error.strerror}; check the path")
    if isinstance(error, ValueError):
        return InputError(f"cannot write {shown}: not a valid path; check the path")
    return DependencyError(f"cannot write {shown}: {error.strerror}; free or change the disk")


COMPUTING = ("capacity", "numpy", "scipy", "simpy", "numba")
_DISTRIBUTIONS = {"capacity": "capacity-planner"}  # `capacity` on PyPI is another project


def versions() -> dict[str, str]:
    """Version of each package that computes, and of Python."""
    known = {package: version(_DISTRIBUTIONS.get(package, package)) for package in COMPUTING}
    return {**known, "python": platform.python_version()}
