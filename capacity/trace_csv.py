"""Trace files: instants of arrivals one a line or in a column of a CSV, and what reading them took."""

from pathlib import Path
from typing import NamedTuple

from capacity.errors import InputError
from capacity.reading import ROWS_MAX, csv_rows, printable, read_text
from capacity.trace_stamps import Stamp, instants, is_stamp, parse_stamp, unit_of
from capacity.workload import TraceArrivals

_UNITS = {"t_s": "s", "t_ms": "ms", "t_us": "us", "t_ns": "ns", "timestamp": None}
_NAMES = "t_s, t_ms, t_us, t_ns or timestamp"


class _Column(NamedTuple):
    """Where the instants are.

    Attributes:
        unit: what its name says; None where it says none.
        is_bare: whether the file has no header, but numbers or dates alone.
    """

    place: int
    unit: str | None
    is_bare: bool


def read_trace(path: Path) -> TraceArrivals:
    """A trace from a text file, its instants counted from the first; what its reader decided is in `remarks`.

    One instant a line, or a CSV with a column of them named `t_s`, `t_ms`, `t_us`, `t_ns` or `timestamp`
    (as in the Azure LLM inference traces), in any case. An instant is a number, or a date and time as in ISO
    8601. Bare numbers are seconds; those of a clock since 1970 tell their unit by their size, and no others
    in a column `timestamp` have one. Stamps out of order are sorted, those that are equal stay.

    Raises:
        InputError: with file, line and mend, where a line is no instant, or its meaning is not clear.
    """
    shown = printable(path.name)
    rows = csv_rows(read_text(path), shown, mend=f"cut it to {ROWS_MAX} arrivals")
    column: _Column | None = None
    stamps: list[Stamp] = []
    for number, row in rows:
        where = f"{shown} line {number}"
        if column is None:
            column = _column(row, where)
            if not column.is_bare:
                continue
        if column.place >= len(row) or (column.is_bare and len(row) > 1):
            raise InputError(
                f"{where}: no instant in column {column.place + 1} of {len(row)}; mend or drop the line"
            )
        stamps.append(parse_stamp(row[column.place].strip(), where))
    return _trace(stamps, column, shown)


def _trace(stamps: list[Stamp], column: _Column | None, shown: str) -> TraceArrivals:
    if column is None or len(stamps) < 2:
        return TraceArrivals(instants_s=(0.0,) * len(stamps), name=shown)  # which says what is missing
    unit, remarks = unit_of(stamps, column.unit, shown, guess=column.is_bare)
    instants_s, more = instants(stamps, unit, shown)
    return TraceArrivals(instants_s=instants_s, name=shown, remarks=(*remarks, *more))


def _column(row: list[str], where: str) -> _Column:
    """What the first line says: the names of columns, or already an instant."""
    cells = [cell.strip() for cell in row]
    if len(cells) == 1 and is_stamp(cells[0]):
        return _Column(place=0, unit=None, is_bare=True)
    names = [cell.lower() for cell in cells]
    found = [place for place, name in enumerate(names) if name in _UNITS]
    if not found:
        seen = printable(", ".join(cells))[:60]
        raise InputError(f"{where}: no column {_NAMES} among {seen!r}; name the column of instants so")
    if len(found) > 1:
        twice = ", ".join(printable(cells[place])[:20] for place in found)
        raise InputError(f"{where}: more than one column of instants ({twice}); keep the one that is meant")
    return _Column(place=found[0], unit=_UNITS[names[found[0]]], is_bare=False)
