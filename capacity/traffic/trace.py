"""Trace files: instants of arrivals, one a line or in a column of a CSV, and how they were read."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from capacity.errors import InputError, quoted
from capacity.files import ROWS_MAX, csv_rows, printable, read_text
from capacity.traffic.workload import TraceArrivals
from capacity.units import SECONDS_PER_UNIT, format_duration, in_seconds

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_CLOCK = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,18})?"
    r" ?(?:([Zz]|UTC)|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_EPOCH_UNITS = ("s", "ms", "us", "ns")
# Stamps of the years 2001 to 2286 in each unit since 1970; smaller numbers are not taken for an epoch.
_EPOCH_MIN, _EPOCH_MAX = Decimal(10) ** 9, Decimal(10) ** 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One instant as written.

    Attributes:
        value: seconds since 1970 for a date and time, else the number as it is; exact.
        zone: whether a date and time names its zone; None for a number.
    """

    value: Decimal
    zone: bool | None = None


def is_stamp(text: str) -> bool:
    """Whether a cell looks like an instant, valid or not, and not like a column name."""
    return bool(re.match(r"[+-]?\.?[0-9]", text)) or text.lower() in ("nan", "inf", "-inf", "+inf")


def parse_stamp(text: str, where: str) -> Stamp:
    """A number, or a date and time with or without a zone; all digits are kept.

    Raises:
        InputError: neither, or a date or time that does not exist.

    >>> parse_stamp("2023-11-16T18:15:46.6805900Z", "line 2").value
    Decimal('1700158546.6805900')
    """
    if _NUMBER.fullmatch(text):
        return Stamp(value=Decimal(text))
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise InputError(
            f"{where}: {quoted(text)} is not a finite number, nor a date and time such as "
            "2023-11-16 18:15:46.68; fix or drop the line"
        )
    try:
        whole_s = _whole_s(clock[1])
    except ValueError as error:
        raise InputError(f"{where}: {printable(text)} is {error}; fix the line") from None
    value = Decimal(whole_s - _offset_s(clock, where))
    return Stamp(value=value + Decimal(clock[2]) if clock[2] else value, zone=bool(clock[3] or clock[4]))


@lru_cache(maxsize=4096)  # stamps of the same second follow each other
def _whole_s(text: str) -> int:
    """Seconds since 1970 of `YYYY-MM-DD HH:MM:SS`."""
    year, month, day, hour, minute, second = (int(part) for part in re.split(r"[-:Tt ]", text))
    try:
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        raise ValueError("not a day of the calendar") from None
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("not a time of day, 00:00:00 to 23:59:59")
    return 86_400 * days + 3600 * hour + 60 * minute + second


def _offset_s(clock: re.Match[str], where: str) -> int:
    """Offset of a date and time's zone from UTC. [s]"""
    if clock[4] is None:
        return 0
    hours, minutes = int(clock[5]), int(clock[6])
    if hours > 23 or minutes > 59:
        raise InputError(f"{where}: {clock[4]}{clock[5]}:{clock[6]} is not an offset from UTC; fix the line")
    return (60 * hours + minutes) * (60 if clock[4] == "+" else -60)


def unit_of(
    stamps: Sequence[Stamp], declared: str | None, shown: str, *, guess: bool
) -> tuple[str, list[str]]:
    """Unit of the stamps, and what was decided to find it.

    Args:
        declared: unit in the column's name; None if it has none.
        guess: whether small numbers without a unit are seconds, as in a file of bare numbers.

    Raises:
        InputError: dates mixed with numbers, zones on some stamps only, or an unclear unit.
    """
    zones = {stamp.zone for stamp in stamps}
    if len(zones) > 1:
        mixed = "numbers and dates" if None in zones else "times with a zone and times without"
        raise InputError(f"{shown} mixes {mixed}; write all of them in one way")
    if zones != {None}:
        if declared is not None:
            raise InputError(f"{shown} has dates in column t_{declared}; name that column timestamp")
        return "s", []
    numbers = [stamp.value for stamp in stamps]
    low, high = min(numbers), max(numbers)
    if declared is not None:
        _require_plausible(low, high, declared, shown)
        return declared, []
    units = {_epoch_unit(low), _epoch_unit(high)}
    (unit,) = units if len(units) == 1 else (None,)
    if unit is not None:
        named = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
        return unit, [f"{shown}: timestamps near {float(low):.3g} are read as {named} since 1970"]
    if guess and high < _EPOCH_MIN:
        return "s", []
    ends = f"{float(low):.6g} to {float(high):.6g}"
    raise InputError(
        f"{shown}: the unit of the timestamps from {ends} is unclear; name their column t_s, t_ms, t_us or "
        "t_ns"
    )


def _epoch_unit(number: Decimal) -> str | None:
    """The unit in which a number is a present-day time; None if there is none."""
    for power, unit in enumerate(_EPOCH_UNITS):
        if _EPOCH_MIN <= number / 1000**power < _EPOCH_MAX:
            return unit
    return None


def _require_plausible(low: Decimal, high: Decimal, declared: str, shown: str) -> None:
    """Refuse present-day stamps in a finer unit than the column's name says."""
    unit = _epoch_unit(low)
    if unit is not None and unit == _epoch_unit(high) and SECONDS_PER_UNIT[unit] < SECONDS_PER_UNIT[declared]:
        raise InputError(
            f"{shown}: timestamps near {float(low):.3g} in column t_{declared} look like {unit} since 1970; "
            f"name it t_{unit}"
        )


def instants(stamps: Sequence[Stamp], unit: str, shown: str) -> tuple[tuple[float, ...], list[str]]:
    """Seconds since the earliest stamp, sorted, and what was found on the way.

    The earliest is subtracted before digits are lost: at seconds since 1970 a double resolves 240 ns at best.
    """
    values = [stamp.value for stamp in stamps]
    remarks = list(_order_remarks(values, unit, shown))
    values.sort()
    first = values[0]
    same = sum(a == b for a, b in pairwise(values))
    if same:
        remarks.append(
            f"{shown}: {same} of {len(values)} arrivals have the timestamp of the one before, and are "
            "treated as simultaneous"
        )
    return tuple(float(in_seconds(value - first, unit)) for value in values), remarks


def unit_and_instants(
    stamps: Sequence[Stamp], declared: str | None, shown: str
) -> tuple[list[int], tuple[float, ...], tuple[str, ...]]:
    """Order of the rows by time, their instants since the first, and what was decided.

    Raises:
        InputError: as in `unit_of`.
    """
    unit, remarks = unit_of(stamps, declared, shown, guess=False)
    order = sorted(range(len(stamps)), key=lambda row: stamps[row].value)
    instants_s, more = instants(stamps, unit, shown)
    return order, instants_s, (*remarks, *more)


def _order_remarks(values: Sequence[Decimal], unit: str, shown: str) -> Iterator[str]:
    back = [a - b for a, b in pairwise(values) if b < a]
    if back:
        farthest = format_duration(float(in_seconds(max(back), unit)))
        steps = "1 timestamp goes" if len(back) == 1 else f"{len(back)} timestamps go"
        yield f"{shown}: {steps} back in time, by at most {farthest}; they were sorted"


_UNITS = {"t_s": "s", "t_ms": "ms", "t_us": "us", "t_ns": "ns", "timestamp": None}
_NAMED_MAX = 8  # columns that are named one by one
_NAMES = "t_s, t_ms, t_us, t_ns or timestamp"


class _Column(NamedTuple):
    """Where the instants are.

    Attributes:
        unit: unit in its name; None if it has none.
        is_bare: whether the file has no header, only numbers or dates.
        remarks: remarks on the other columns.
    """

    place: int
    unit: str | None
    is_bare: bool
    remarks: tuple[str, ...] = ()


def read_trace(path: Path) -> TraceArrivals:
    """Arrivals from a text file, counted from the first; `remarks` say what its reader decided.

    One instant a line, or a CSV with a column named `t_s`, `t_ms`, `t_us`, `t_ns` or `timestamp` (as in the Azure LLM
    inference traces), in any case. An instant is a number, or a date and time as in ISO 8601. Bare numbers are
    seconds; clock times since 1970 show their unit by their size, which a column `timestamp` requires. Stamps out of
    order are sorted; equal ones stay.

    Raises:
        InputError: names file, line and fix if a line is no instant, or its meaning is unclear.
    """
    shown = printable(path.name)
    rows = csv_rows(read_text(path), shown, mend=f"cut it to {ROWS_MAX} arrivals")
    column: _Column | None = None
    stamps: list[Stamp] = []
    for number, row in rows:
        where = f"{shown} line {number}"
        if column is None:
            column = _column(row, where, shown)
            if not column.is_bare:
                continue
        if column.place >= len(row) or (column.is_bare and len(row) > 1):
            raise InputError(
                f"{where}: no time in column {column.place + 1} of {len(row)}; fix or drop the line"
            )
        stamps.append(parse_stamp(row[column.place].strip(), where))
    return _trace(stamps, column, shown)


def _trace(stamps: list[Stamp], column: _Column | None, shown: str) -> TraceArrivals:
    if column is None or len(stamps) < 2:
        return TraceArrivals(instants_s=(0.0,) * len(stamps), name=shown)  # which reports what is missing
    unit, remarks = unit_of(stamps, column.unit, shown, guess=column.is_bare)
    instants_s, more = instants(stamps, unit, shown)
    return TraceArrivals(instants_s=instants_s, name=shown, remarks=(*remarks, *more, *column.remarks))


def unused_columns(names: Sequence[str], used: Collection[int], shown: str) -> tuple[str, ...]:
    """A remark on the columns of a trace that are not used; empty if all are.

    >>> unused_columns(["t_s", "user", "session_id"], {0}, "log.csv")
    ('log.csv: columns user and session_id are not used',)
    """
    others = [
        printable(name)[:40] or "without a name" for place, name in enumerate(names) if place not in used
    ]
    if not others:
        return ()
    *first, last = others if len(others) <= _NAMED_MAX else [*others[: _NAMED_MAX - 1], "others"]
    told = f"columns {', '.join(first)} and {last} are" if first else f"column {last} is"
    return (f"{shown}: {told} not used",)


def _column(row: list[str], where: str, shown: str) -> _Column:
    """The column of instants, from the first line: a header, or already an instant."""
    cells = [cell.strip() for cell in row]
    if len(cells) == 1 and is_stamp(cells[0]):
        return _Column(place=0, unit=None, is_bare=True)
    names = [cell.lower() for cell in cells]
    found = [place for place, name in enumerate(names) if name in _UNITS]
    if not found:
        seen = printable(", ".join(cells))[:60]
        raise InputError(
            f"{where}: no column {_NAMES} among {seen!r}; give the column of times one of these names"
        )
    if len(found) > 1:
        twice = ", ".join(printable(cells[place])[:20] for place in found)
        raise InputError(f"{where}: more than one column of times ({twice}); keep one")
    remarks = unused_columns(cells, found, shown)
    return _Column(place=found[0], unit=_UNITS[names[found[0]]], is_bare=False, remarks=remarks)
