"""Profiles as CSV: raw samples `batch_size,latency_ms`, or a summary `batch_size,mean_ms[,p50_ms,...]`."""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import partial

from capacity.errors import InputError
from capacity.profile import BATCH_SIZE_LIMIT, BatchTiming, ServiceProfile, check_duration
from capacity.reading import csv_rows, located, printable
from capacity.units import in_seconds

UNITS = ("s", "ms", "us")
PERCENTILES = ("p50", "p90", "p95", "p99")
_MAIN_COLUMNS = ("latency", "mean")
_TIMING_COLUMN = re.compile(rf"(latency|mean|{'|'.join(PERCENTILES)})_({'|'.join(UNITS)})")


def parse_csv(text: str, file_name: str, profile_name: str) -> ServiceProfile:
    """A profile from raw samples `batch_size,latency_ms` or a summary `batch_size,mean_ms,...`."""
    rows = csv_rows(text, file_name, "keep fewer samples")
    line, header = next(rows, (1, []))
    where = f"{file_name} line {line}"
    columns = [_column(name.strip(), where) for name in header]
    _check_header(columns, where)
    if any(name == "latency" for name, _ in columns):
        timings = _raw_timings(rows, columns, file_name)
    else:
        timings = _summary_timings(rows, columns, file_name)
    column = next(f"{name}_{unit}" for name, unit in columns if name in _MAIN_COLUMNS)
    return located(
        file_name, partial(ServiceProfile, name=profile_name, timings=timings, timings_column=column)
    )


def _column(name: str, where: str) -> tuple[str, str]:
    """Quantity and unit of a column."""
    if name == "batch_size":
        return name, ""
    match = _TIMING_COLUMN.fullmatch(name)
    if match:
        return match[1], match[2]
    if name in ("latency", "mean", *PERCENTILES):
        raise InputError(f"{where}: column {name} has no unit; name it {name}_ms, {name}_s or {name}_us")
    raise InputError(
        f"{where}: unknown column {printable(name)!r}; use batch_size with latency_ms (raw samples), "
        "or with mean_ms and any of p50_ms, p90_ms, p95_ms, p99_ms (_s and _us likewise)"
    )


def _check_header(columns: list[tuple[str, str]], where: str) -> None:
    names = [name for name, _ in columns]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a column is given twice; keep one of each")
    if "batch_size" not in names:
        raise InputError(f"{where}: no column batch_size; the first line must name the columns")
    if ("latency" in names) == ("mean" in names) or ("latency" in names and len(names) > 2):
        raise InputError(f"{where}: give either latency_ms (raw samples) or mean_ms (a summary)")


def _raw_timings(
    rows: Iterator[tuple[int, list[str]]], columns: list[tuple[str, str]], file_name: str
) -> tuple[BatchTiming, ...]:
    samples_s: dict[int, list[float]] = {}
    for line, row in rows:
        where = f"{file_name} line {line}"
        cells = _cells(row, columns, where)
        size = int(cells["batch_size"])
        located(where, partial(check_duration, cells["latency"], size))
        samples_s.setdefault(size, []).append(cells["latency"])
    return tuple(
        located(file_name, partial(BatchTiming, batch_size=size, samples_s=tuple(samples)))
        for size, samples in samples_s.items()
    )


def _summary_timings(
    rows: Iterator[tuple[int, list[str]]], columns: list[tuple[str, str]], file_name: str
) -> tuple[BatchTiming, ...]:
    seen: dict[int, int] = {}
    timings = []
    for line, row in rows:
        where = f"{file_name} line {line}"
        cells = _cells(row, columns, where)
        size = int(cells.pop("batch_size"))
        if size in seen:
            raise InputError(f"{where}: batch size {size} stands on line {seen[size]} already; keep one")
        seen[size] = line
        fields = {f"{name}_s": value for name, value in cells.items()}
        timings.append(located(where, partial(_summary_timing, size, fields)))
    return tuple(timings)


def _summary_timing(batch_size: int, fields: dict[str, float]) -> BatchTiming:
    """A timing whose figures do not contradict each other, so that the line can still be named."""
    timing = BatchTiming(batch_size=batch_size, samples_s=(), **fields)
    timing.law()
    return timing


def _cells(row: list[str], columns: list[tuple[str, str]], where: str) -> dict[str, float]:
    """Numbers of one row by quantity, durations in seconds; an empty percentile is absent."""
    if len(row) != len(columns):
        raise InputError(f"{where}: {len(row)} cells for {len(columns)} columns; complete or drop the row")
    cells: dict[str, float] = {}
    for text, (name, unit) in zip(row, columns, strict=True):
        if name == "batch_size":
            cells[name] = _batch_size(text.strip(), where)
        elif text.strip() or name not in PERCENTILES:
            cells[name] = seconds(text.strip(), unit, f"{where}: {name}_{unit}")
    return cells


def _batch_size(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError(f"{where}: batch_size must be a whole number, got {printable(text)!r}")
    if not 1 <= int(text) <= BATCH_SIZE_LIMIT:
        raise InputError(f"{where}: batch_size must be from 1 to {BATCH_SIZE_LIMIT}, got {text}")
    return int(text)


def seconds(text: str, unit: str, where: str) -> float:
    """A positive duration written in `unit`. [s]"""
    try:
        value = Decimal(text if text.isascii() and "_" not in text else "not a number")
    except InvalidOperation:
        raise InputError(f"{where} must be a number, got {printable(text)!r}; mend or drop the row") from None
    if not value.is_finite() or value <= 0:
        raise InputError(f"{where} must be positive and finite, got {printable(text)}; mend or drop the row")
    return float(in_seconds(value, unit))
