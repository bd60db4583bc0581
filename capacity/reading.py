"""Reading from outside: files of limited size, text that is safe to show, errors that say where."""

import csv
import io
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from capacity.errors import InputError

FILE_BYTES_MAX = 64 * 2**20
ROWS_MAX = 1_000_000
TEXT_LENGTH_MAX = 500

T = TypeVar("T")


def read_text(path: Path, bytes_max: int = FILE_BYTES_MAX) -> str:
    """Text of a file of limited size."""
    shown = printable(path.name) or "a file without a name"
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # it would be waited for, for ever
            raise InputError(f"cannot read {shown}: it is a pipe; save it to a file first")
        with path.open("rb") as file:
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
