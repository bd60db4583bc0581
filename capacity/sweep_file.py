"""Sweep file: a table as CSV, JSON or Parquet, by its suffix; whole or not there, same rows same bytes."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capacity.errors import DependencyError
from capacity.report import dumps
from capacity.sweep_table import Column, Row, Value, sweep_document
from capacity.writing import check_target, format_suffix, write_whole

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_file(path: Path) -> None:
    """Refuse early what could not be written after hours of work.

    Raises:
        InputError: another suffix, a directory, or no such folder.
        DependencyError: Parquet without pyarrow.
    """
    check_target(path, "a sweep", _FORMATS)
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def write_file(path: Path, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Write a table beside the file and put it in its place, over what was there.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    write_whole(path, _FORMATS[format_suffix(path, _FORMATS)](columns, rows))


def _csv(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([_plain(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _plain(value: Value) -> Value:
    """A text that a spreadsheet would run as a formula is quoted, as spreadsheets do."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _json(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    return (dumps(sweep_document(columns, rows)) + "\n").encode()


def _parquet(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    arrow: Any = _pyarrow()
    from pyarrow import parquet

    types = {"text": arrow.string(), "count": arrow.int64(), "number": arrow.float64()}
    schema = arrow.schema([(column.name, types[column.holds]) for column in columns])
    values = [[row[at] for row in rows] for at in range(len(columns))]
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(values, schema=schema), buffer)
    return buffer.getvalue()


def _pyarrow() -> Any:
    try:
        import pyarrow as arrow
    except ImportError:
        raise DependencyError(
            "a .parquet file needs pyarrow, which is not installed; pip install 'capacity[parquet]'"
        ) from None
    return arrow


_FORMATS: dict[str, Callable[[Sequence[Column], Sequence[Row]], bytes]] = {
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
}
