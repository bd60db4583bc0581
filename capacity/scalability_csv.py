"""Scalability as CSV: throughput by size, `n,throughput_rps`, one measurement a row."""

from functools import partial
from pathlib import Path

from capacity.errors import InputError
from capacity.queues.domain import require_positive
from capacity.reading import csv_rows, located, printable, read_text
from capacity.units import is_number

_COLUMNS = ("n", "throughput_rps")


def read_points(path: Path) -> dict[float, float]:
    """Throughput by size from a CSV with the columns `n` and `throughput_rps`, in either order.

    Raises:
        InputError: with file, line and mend, where the file is no such table, a number is not
            positive and finite, a size is below 1 or stands twice.
    """
    shown = printable(path.name)
    rows = csv_rows(read_text(path), shown, "keep one for each size")
    line, header = next(rows, (1, []))
    columns = _columns(header, f"{shown} line {line}")
    points: dict[float, float] = {}
    lines: dict[float, int] = {}
    for line, row in rows:
        where = f"{shown} line {line}"
        cells = _cells(row, columns, where)
        size = cells["n"]
        if size in points:
            raise InputError(f"{where}: size {size:g} stands on line {lines[size]} already; keep one of each")
        points[size], lines[size] = cells["throughput_rps"], line
    return points


def _columns(header: list[str], where: str) -> list[str]:
    columns = [name.strip() for name in header]
    for name in columns:
        if name not in _COLUMNS:
            mend = "name it throughput_rps" if name == "throughput" else "use n,throughput_rps"
            raise InputError(f"{where}: unknown column {printable(name)!r}; {mend}")
    if len(set(columns)) < len(columns):
        raise InputError(f"{where}: a column is given twice; keep one of each")
    for name in _COLUMNS:
        if name not in columns:
            raise InputError(f"{where}: no column {name}; the first line must be n,throughput_rps")
    return columns


def _cells(row: list[str], columns: list[str], where: str) -> dict[str, float]:
    if len(row) != len(columns):
        raise InputError(f"{where}: {len(row)} cells for {len(columns)} columns; complete or drop the row")
    cells = {name: _number(text.strip(), name, where) for name, text in zip(columns, row, strict=True)}
    if cells["n"] < 1.0:
        raise InputError(f"{where}: n must be >= 1, got {cells['n']:g}; it counts users, threads or replicas")
    return cells


def _number(text: str, name: str, where: str) -> float:
    if not is_number(text):
        raise InputError(f"{where}: {name} must be a number, got {printable(text)!r}; mend or drop the row")
    value = float(text)
    located(where, partial(require_positive, name, value))
    return value
