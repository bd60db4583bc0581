"""Files: reads with limits and strict JSON, and writes whole or not at all."""

import csv
import errno
import gzip
import io
import os
import platform
import re
import stat
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    TypeVar,
)
from unicodedata import category

from capacity.errors import CapacityError, DependencyError, InputError, quoted

if TYPE_CHECKING:
    pass

FILE_BYTES_MAX = 64 * 2**20
ROWS_MAX = 1_000_000
_CHUNK_BYTES = 2**20
_HEAD_BYTES = 4000  # largest size of 1000 characters
_GZIP = b"\x1f\x8b"
# Unpacked size of a file read by lines: some million requests of k6, with 14 lines and 3.4 kB for each.
LINES_MAX = 20_000_000
_LINE_BYTES_MAX = 8 * 2**20
TEXT_LENGTH_MAX = 500

T = TypeVar("T")

_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|(?:/dev|/proc/self)/fd/(\d{1,9})")
_REFUSED = (
    (stat.S_ISDIR, "a directory; give a file name"),
    (stat.S_ISFIFO, "a pipe; save it to a file first"),
    (stat.S_ISSOCK, "a socket; save what it sends to a file first"),
    (stat.S_ISCHR, "a device; give a file name"),
    (stat.S_ISBLK, "a device; give a file name"),
)


def read_text(path: Path, bytes_max: int = FILE_BYTES_MAX, mend: str = "keep fewer samples") -> str:
    """Text of a file of limited size, gzipped or not.

    Args:
        mend: what to do if it is larger.
    """
    return _text(read_parts(path), _shown_name(path), bytes_max, mend)


def text_of(data: bytes, shown: str) -> str:
    """Text from the bytes of a file or of an answer; see `read_text`."""
    return _text(
        _in_utf_8(_unpacked_parts(io.BufferedReader(io.BytesIO(data)), shown), shown),
        shown,
        FILE_BYTES_MAX,
        "keep fewer samples",
    )


def _text(parts: Iterable[bytes], shown: str, bytes_max: int, mend: str) -> str:
    data = bytearray()
    for part in parts:
        data += part  # asked for all at once, memory for the limit would be taken
        if len(data) > bytes_max:
            raise InputError(f"{shown} is larger than {bytes_max} bytes; {mend}")
    return _decoded(data, shown)


def _decoded(data: bytes | bytearray, shown: str) -> str:
    """UTF-8 text with or without a byte-order mark. Raises InputError: other text, or none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def read_parts(path: Path) -> Iterator[bytes]:
    """A file's bytes in parts of limited size, unpacked if gzipped.

    Raises:
        InputError: it cannot be read, is no file, or is gzip that is cut off or damaged.
    """
    shown = _shown_name(path)
    try:
        file = os.fdopen(_open(path, shown), "rb")
    except (OSError, ValueError) as error:
        raise _unreadable(error, shown) from None
    with file:
        yield from _in_utf_8(_unpacked_parts(file, shown), shown)


def _in_utf_8(parts: Iterator[bytes], shown: str) -> Iterator[bytes]:
    """The bytes as UTF-8, converted if they begin with the mark of UTF-16, as with PowerShell 5's `>`."""
    first = next(parts, b"")
    if not first.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        yield from chain([first], parts)
        return
    decoder = getincrementaldecoder("utf-16")()
    try:
        for part in chain([first], parts):
            yield decoder.decode(part).encode()
        decoder.decode(b"", final=True)
    except UnicodeError:
        raise InputError(f"{shown} is not UTF-8 text (byte 0); save it as UTF-8") from None


def _unpacked_parts(file: io.BufferedReader, shown: str) -> Iterator[bytes]:
    try:
        is_packed = file.peek(len(_GZIP)).startswith(_GZIP)
        source = gzip.GzipFile(fileobj=file) if is_packed else file
        while part := source.read(_CHUNK_BYTES):
            yield part
    except EOFError:
        raise InputError(f"{shown} is gzip that was cut off; copy it again") from None
    except (gzip.BadGzipFile, zlib.error):
        raise InputError(f"{shown} is gzip that is damaged; copy it again") from None
    except OSError as error:
        raise _unreadable(error, shown) from None


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a text file that may be larger than memory, each with its end; one part of it is kept at a time.

    Raises:
        InputError: as in `read_parts`; a line that is too long or not UTF-8; or more than `LINES_MAX`.
    """
    shown = _shown_name(path)
    count, rest = 0, b""
    for part in read_parts(path):
        whole, end, rest = (rest + part).rpartition(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            raise InputError(f"{shown} has a line of more than {_LINE_BYTES_MAX} bytes; is it a text file?")
        lines = _decoded(whole, f"{shown} from line {count + 1}").split("\n") if end else []
        count += len(lines)
        if count > LINES_MAX:
            raise InputError(f"{shown} has more than {LINES_MAX} lines; keep fewer")
        yield from (line.removesuffix("\r") + "\n" for line in lines)
    if rest:
        yield _decoded(rest, f"{shown} line {count + 1}")


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; False if the path is too long to be one."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; False if the path is too long to be one."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def unpacked_name(path: Path) -> Path:
    """The path without the ending of a packed file; its other ending shows its format."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _shown_name(path: Path) -> str:
    return printable(path.name) or "a file without a name"


def _unreadable(error: OSError | ValueError, shown: str) -> InputError:
    reason = getattr(error, "strerror", None) or "not a valid path"
    return InputError(f"cannot read {shown}: {reason}; check the path")


def holds(path: Path, text: str) -> bool:
    """Whether a readable file has some text among its first 1000 characters."""
    try:
        start = next(read_parts(path), b"")[:_HEAD_BYTES]
        return text in getincrementaldecoder("utf-8")().decode(start)[:1000]
    except (CapacityError, UnicodeDecodeError):
        return False


def _open(path: Path, shown: str) -> int:
    """A descriptor to read from; refuses files that would block or never end.

    A pipe that the shell has opened, as in `... | capacity` or `<(...)`, has a writer and an end.
    """
    mode = path.stat().st_mode
    number = own_descriptor(path)
    if number is not None and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return os.dup(number)
    for is_such, what in _REFUSED:
        if is_such(mode):
            raise InputError(f"cannot read {shown}: it is {what}")
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # should a pipe have just taken its place


def is_read_once(path: Path) -> bool:
    """Whether a path is a pipe that the shell has opened, whose bytes come only once."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return own_descriptor(path) is not None and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def own_descriptor(path: Path) -> int | None:
    """Number of this process's open file that a path such as `/dev/stdin` stands for; else None."""
    found = _DESCRIPTOR.fullmatch(str(path))
    if found is None:
        return None
    return int(found[2]) if found[1] is None else _STANDARD[found[1]]


def csv_rows(
    text: str | Iterable[str], shown: str, mend: str, rows_max: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV with their line numbers; blank lines are skipped.

    If the first line has semicolons or tabs and no comma, these separate the cells, and a comma is the decimal point,
    as in spreadsheets set to German or French.

    Args:
        text: the whole text, or its lines.
        shown: name of the file in messages.
        mend: what to do about more than `rows_max` rows.
        rows_max: `ROWS_MAX` if it is not given.
    """
    if isinstance(text, str):
        _refuse_half_a_number(text, shown)
    # The lines of a text may end in any usual way.
    lines = iter(io.StringIO(text, newline=None) if isinstance(text, str) else text)
    before, separator = _header(lines)
    reader = csv.reader(chain(before, lines), strict=True, delimiter=separator)
    most = ROWS_MAX if rows_max is None else rows_max
    try:
        for count, row in enumerate(reader):
            if count > most:
                raise InputError(f"{shown} has more than {most} rows; {mend}")
            if any(cell.strip() for cell in row):
                yield reader.line_num, row if separator == "," else [_with_point(cell) for cell in row]
    except csv.Error as error:
        raise InputError(f"{shown} line {reader.line_num}: not valid CSV ({error})") from None


_LAST_NUMBER = re.compile(r"(?:.*[,;\t])?\s*[+-]?[0-9]+(?:[.]([0-9]*))?\s*")
_ROWS_TELLING = 30  # rows that all have more decimals than the last one, which is then no chance


def decimals(line: str) -> int | None:
    """Number of decimals of the number at the end of a CSV row; None if it does not end in one."""
    found = _LAST_NUMBER.fullmatch(line)
    return None if found is None else len(found[1] or "")


def _refuse_half_a_number(text: str, shown: str) -> None:
    """Refuse a text that ends within a number: without a line end, and with fewer decimals than in any other row.

    People leave out the last line end in hand-written files, so that alone proves nothing.
    """
    if text.endswith(("\n", "\r")):
        return
    lines = text.rsplit("\n", 1000)[1:]
    found = [decimals(line) for line in lines]
    before = [count for count in found[:-1] if count is not None]
    is_last_of_many = len(before) >= max(_ROWS_TELLING, len(found) - 2)
    if found and found[-1] is not None and is_last_of_many and found[-1] < min(before):
        raise InputError(
            f"{shown} ends in {quoted(lines[-1])}, without a line end and with fewer decimals than in any row above: "
            "was the file cut off? if it is whole, end it with a new line"
        )


def _header(lines: Iterator[str]) -> tuple[list[str], str]:
    """The lines up to the first that is not blank, and the separator of its cells."""
    before = []
    for line in lines:
        before.append(line)
        if line.strip():
            break
    header = before[-1] if before else ""
    return before, next((one for one in ";\t" if one in header and "," not in header), ",")


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell, re.ASCII) else cell


def printable(text: str) -> str:
    """Text from outside without control characters, of limited length, on one line."""
    return "".join(c if c.isprintable() else "?" for c in text[:TEXT_LENGTH_MAX])


def neutral(text: str) -> str:
    r"""Text for a person: what is not printable, other than a new line or a wide space, is a question mark.

    So no escape sequence, no carriage return and no mark that turns the direction of writing reaches a terminal.

    >>> neutral("a\x1b[31mb\rc\n")
    'a?[31mb?c\n'
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" or category(c) == "Zs" else "?" for c in text)


def repeatable(path: str | Path) -> str | None:
    """A path as it was given, for commands that can be typed again; None if it cannot be shown whole."""
    text = str(path)
    return text if printable(text) == text else None


def located(where: str, build: Callable[[], T]) -> T:
    """The result of `build`; its error says where."""
    try:
        return build()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


JOURNAL_SUFFIX = ".partial"  # of the file beside another, until that is whole


def check_target(path: Path, what: str, suffixes: Collection[str]) -> None:
    """Refuse early a file that could not be written after hours of work.

    Args:
        what: what the file would be: `a plan`.

    Raises:
        InputError: another suffix, a directory, no such folder, or one without write permission.
        DependencyError: the disk failed.
    """
    shown = printable(str(path))
    try:
        if is_stream(path):
            return
        if path.suffix.lower() not in suffixes:
            raise InputError(f"cannot write {shown}: {what} is a {_either(suffixes)} file; change its name")
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise InputError(f"cannot write {shown}: it is a directory; give a file name")
        if not target.parent.is_dir():
            raise InputError(f"cannot write {shown}: no such directory; create it, or check the path")
        _require_writable(target, shown)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def _either(names: Collection[str]) -> str:
    """Endings in words, as `.csv, .json or .parquet`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _require_writable(target: Path, shown: str) -> None:
    """Refuse a file without write permission, which a new one could replace all the same."""
    if target.exists():
        if not target.is_file():
            raise InputError(f"cannot write {shown}: it is not a file; give a file name")
        with target.open("r+b"):
            pass
    from tempfile import TemporaryFile

    with TemporaryFile(dir=target.parent):
        pass


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a terminal, `/dev/null` or an open file of this process, such as `/dev/stdout`.

    Raises:
        OSError: links that only lead to each other, or a folder without permission.
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
    """The suffix that gives the format of a path; for a stream without one, the first."""
    suffix = path.suffix.lower()
    return suffix if suffix in suffixes or not is_stream(path) else next(iter(suffixes))


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file and move it into place, over any old file; a stream is written directly.

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
    """Write to an open file where it is: opening it by name would write over its content."""
    number = own_descriptor(path)
    with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes) -> None:
    beside = target.with_name(f".{os.urandom(8).hex()}.part")  # never one that a killed run has left
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
    """Copy owner, group and mode of the file to be replaced; a new one has what the umask leaves."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def refused(error: OSError | ValueError, shown: str) -> CapacityError:
    """The error for a file that cannot be opened or written."""
    if isinstance(error, ValueError):
        return InputError(f"cannot write {shown}: not a valid path; check the path")
    of_path = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    if isinstance(error, of_path) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return InputError(f"cannot write {shown}: {error.strerror}; check the path")
    return DependencyError(f"cannot write {shown}: {error.strerror}; free space, or use another disk")


COMPUTING = ("capacity", "numpy", "scipy", "simpy", "numba")
_DISTRIBUTIONS = {"capacity": "capacity-planner"}  # `capacity` on PyPI is another project


def versions() -> dict[str, str]:
    """Version of each package that computes, and of Python."""
    from importlib.metadata import version

    known = {package: version(_DISTRIBUTIONS.get(package, package)) for package in COMPUTING}
    return {**known, "python": platform.python_version()}
