"""Traffic: an arrival process as it is typed, and recorded traces from files."""

import math
import re
from pathlib import Path

from capacity.errors import InputError
from capacity.reading import ROWS_MAX, printable, read_text
from capacity.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)

_CV_MIN, _CV_MAX = 0.01, 20.0  # below, deterministic arrivals say the same
_GAMMA = re.compile(r"gamma:cv=([0-9.]{1,12})")


def parse_arrivals(text: str) -> ArrivalProcess:
    """`poisson`, `deterministic`, `gamma:cv=2` or `trace:FILE`.

    Raises:
        InputError: none of these, or an unreadable trace.

    >>> parse_arrivals("gamma:cv=2")
    GammaArrivals(cv=2.0)
    """
    if text == "poisson":
        return PoissonArrivals()
    if text == "deterministic":
        return DeterministicArrivals()
    if text.startswith("trace:"):
        return read_trace(Path(text.removeprefix("trace:")))
    gamma = _GAMMA.fullmatch(text)
    if gamma is None:
        raise InputError(
            f"unknown arrivals {printable(text)!r}; use poisson, deterministic, gamma:cv=2 or trace:FILE"
        )
    cv = _number(gamma[1], "cv of gamma arrivals")
    if not _CV_MIN <= cv <= _CV_MAX:
        raise InputError(f"cv of gamma arrivals must be from {_CV_MIN} to {_CV_MAX:g}, got {cv:g}")
    return GammaArrivals(cv=cv)


def workload(arrivals: ArrivalProcess, arrival_rate_rps: float | None) -> Workload:
    """A workload at the given rate; a trace has a rate of its own, which may be overruled.

    Raises:
        InputError: no rate, and no trace to take it from.
    """
    if arrival_rate_rps is not None:
        return Workload(arrival_rate_rps=arrival_rate_rps, arrivals=arrivals)
    if isinstance(arrivals, TraceArrivals):
        return Workload(arrival_rate_rps=arrivals.rate_rps, arrivals=arrivals)
    raise InputError("no arrival rate given; use --rate 500rps")


def read_trace(path: Path) -> TraceArrivals:
    """A trace from a text file: one instant in seconds a line, or a CSV whose column `t_s` has them.

    Raises:
        InputError: with file, line and mend, where a line is no instant or goes back in time.
    """
    shown = printable(path.name)
    lines = read_text(path).splitlines()
    if len(lines) > ROWS_MAX:
        raise InputError(f"{shown} has more than {ROWS_MAX} lines; cut it")
    column, first = _column(lines, shown)
    instants_s: list[float] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        cells = line.split(",")
        where = f"{shown} line {number}"
        if column >= len(cells):
            raise InputError(f"{where}: no instant in column {column + 1}; mend or drop the line")
        instants_s.append(_number(cells[column].strip(), where))
        if len(instants_s) > 1 and instants_s[-1] < instants_s[-2]:
            raise InputError(f"{where}: {instants_s[-1]:g} s is before {instants_s[-2]:g} s; sort by time")
    return TraceArrivals(instants_s=tuple(instants_s), name=shown)


def _column(lines: list[str], shown: str) -> tuple[int, int]:
    """Column of the instants and index of the first line that has one."""
    header = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if "t_s" in header:
        return header.index("t_s"), 1
    if len(header) > 1 or (header and re.match(r"[A-Za-z_]", header[0])):
        raise InputError(f"{shown} line 1: no column t_s; name the column of instants, in seconds, t_s")
    return 0, 0


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {printable(text)[:40]!r} is not a finite number of seconds")
    return value
