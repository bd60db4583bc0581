"""Sweep journal: the rows finished so far, line by line, from which an interrupted sweep goes on.

The first line says what was asked, to the digest of every profile; each other line is a row, as JSON. A last
line that was cut off, as by a kill in the middle of writing, is dropped. Who finds the journal of another
sweep in its place is refused, and so is a second sweep while the first one writes.
"""

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from capacity.errors import InputError
from capacity.reading import printable
from capacity.sweep import Outcome
from capacity.sweep_table import Column, Row
from capacity.writing import refused

FILE_BYTES_MAX = 2**30
LINE_BYTES_MAX = 2**20
_FORMAT = 1


class Journal:
    """An open journal.

    Attributes:
        rows: finished before, in the order of the cells.
    """

    def __init__(self, path: Path, file: BinaryIO, rows: list[Row]) -> None:
        self.path = path
        self.rows = rows
        self._file = file

    def append(self, row: Row) -> None:
        """One more row, handed to the system before this returns.

        Raises:
            DependencyError: the disk failed.
        """
        self.write(_line(row))

    def write(self, data: bytes) -> None:
        """Past the buffer of the file, or a full disk would be met once more where that is closed.

        Raises:
            DependencyError: the disk failed.
        """
        try:
            while data:
                data = data[os.write(self._file.fileno(), data) :]
        except OSError as error:
            raise refused(error, printable(str(self.path))) from None

    def remove(self) -> None:
        """After the rows have reached their file."""
        self.path.unlink(missing_ok=True)


@contextmanager
def open_journal(
    path: Path, settings: Mapping[str, Any], columns: Sequence[Column], cells: int, *, fresh: bool
) -> Iterator[Journal]:
    """The journal of a sweep with these settings, begun or gone on with.

    Args:
        fresh: begin anew whatever is there.

    Raises:
        InputError: another sweep's journal, one that is damaged, or a path that cannot be written.
    """
    shown = printable(path.name)
    header = _line({"capacity_sweep": _FORMAT, **settings})
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"cannot write {shown}: it is no file; move it away")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None
    with os.fdopen(descriptor, "r+b") as file:
        _lock(file, path, shown)
        if fresh:
            file.truncate(0)
        rows, end = _read(file, header, columns, cells, shown)
        file.seek(end)
        file.truncate()
        os.lseek(file.fileno(), end, os.SEEK_SET)
        journal = Journal(path, file, rows)
        if end == 0:
            _begin(journal, header)
        yield journal


def _begin(journal: Journal, header: bytes) -> None:
    """A journal that cannot be begun is not left behind."""
    try:
        journal.write(header)
    except BaseException:
        journal.remove()
        raise


def _lock(file: BinaryIO, path: Path, shown: str) -> None:
    """One sweep at a time; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # not everywhere
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError:
        ours = False
    if not ours:
        raise InputError(f"another sweep is writing {shown}; wait for it, or write to another file")


def _read(
    file: BinaryIO, header: bytes, columns: Sequence[Column], cells: int, shown: str
) -> tuple[list[Row], int]:
    """The rows that are whole, and where the last of them ends."""
    if os.fstat(file.fileno()).st_size > FILE_BYTES_MAX:
        raise InputError(f"{shown} is larger than {FILE_BYTES_MAX} bytes; begin anew by --fresh")
    file.seek(0)
    first = file.readline(LINE_BYTES_MAX)
    if not first.endswith(b"\n") and header.startswith(first):
        return [], 0
    _require_same(first, header, shown)
    rows: list[Row] = []
    end = len(first)
    while (line := file.readline(LINE_BYTES_MAX)).endswith(b"\n"):
        row = _parsed(line, columns)
        if row is None or len(rows) == cells:
            raise InputError(f"{shown} line {len(rows) + 2} is no row of this sweep; begin anew by --fresh")
        rows.append(row)
        end += len(line)
    if len(line) == LINE_BYTES_MAX:
        raise InputError(f"{shown} line {len(rows) + 2} is no row of this sweep; begin anew by --fresh")
    return rows, end


def _require_same(first: bytes, header: bytes, shown: str) -> None:
    if first == header:
        return
    found, wanted = _object(first), json.loads(header)
    if found is None or found.get("capacity_sweep") != _FORMAT:
        raise InputError(f"{shown} is no journal of a sweep; move it away, or write to another file")
    other = ", ".join(key for key in wanted if found.get(key) != wanted[key])
    raise InputError(
        f"{shown} is of an unfinished sweep with other settings ({other}); finish that one, write to another "
        "file, or begin anew by --fresh"
    )


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _parsed(line: bytes, columns: Sequence[Column]) -> Row | None:
    """The row of a line, or None where it is none."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or len(values) != len(columns):
        return None
    if not all(_fits(value, column) for value, column in zip(values, columns, strict=True)):
        return None
    return tuple(values)


def _fits(value: object, column: Column) -> bool:
    if column.name == "outcome":
        return isinstance(value, str) and value in set(Outcome)
    if value is None:
        return True
    match column.holds:
        case "text":
            return isinstance(value, str)
        case "count":
            return type(value) is int and 0 <= value < 2**63
        case "number":
            return type(value) is float and math.isfinite(value)


def _line(value: object) -> bytes:
    return (json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n").encode()
