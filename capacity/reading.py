"""Reading from outside: files of limited size, text that is safe to show, errors that say where."""

import csv
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from capacity.errors import InputError

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

    Args:
        shown: what to call the file.
        mend: what to do about more than `ROWS_MAX` rows.
    """
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)  # lines may end in any usual way
    try:
        for count, row in enumerate(reader):
            if count > ROWS_MAX:
                raise InputError(f"{shown} has more than {ROWS_MAX} rows; {mend}")
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{shown} line {reader.line_num}: not valid CSV ({error})") from None


def printable(text: str) -> str:
    """Text from outside without control characters, of limited length, safe on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:TEXT_LENGTH_MAX])


def located(where: str, build: Callable[[], T]) -> T:
    """What `build` gives; its error says where."""
    try:
        return build()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
