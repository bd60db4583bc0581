"""Daily curve: the arrival rate over a day, in steps, read from a small CSV."""

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from capacity.errors import DomainError, InputError, quoted
from capacity.files import csv_rows, printable, read_text
from capacity.units import parse_rate_rps

DAY_S = 86_400
HOUR_S = 3600
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
# Seconds over which each column counts requests; None if each cell has its own unit.
_PERIOD_S: dict[str, float | None] = {"rate_rps": 1.0, "rate_per_min": 60.0, "rate": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyCurve:
    """Arrival rates over a repeating day: each holds from its time to the next, the last one past midnight.

    All of it is looked at, or the part between two times.

    Attributes:
        times_s: seconds since midnight, rising, within [0, 86400), shape `(steps,)`. [s]
        rates_rps: rate from each of the times on, shape `(steps,)`; at least one is not 0. [requests/s]
        name: name of the curve.
        begins_s, ends_s: the part that is looked at. [s since midnight]

    Raises:
        DomainError: no step, not as many times as rates, times that do not rise or lie outside the day, a rate that
            is negative or not finite, no arrivals all day, or a part that is empty or has no arrivals.

    >>> curve = DailyCurve(times_s=(6 * 3600.0, 18 * 3600.0), rates_rps=(30.0, 10.0))
    >>> curve.rate_rps(3 * 3600.0), curve.mean_rate_rps, curve.peak_rate_rps, curve.requests_per_day
    (10.0, 20.0, 30.0, 1728000.0)
    """

    times_s: tuple[float, ...]
    rates_rps: tuple[float, ...]
    name: str = "daily curve"
    begins_s: float = 0.0
    ends_s: float = float(DAY_S)

    def __post_init__(self) -> None:
        if not self.times_s or len(self.times_s) != len(self.rates_rps):
            raise DomainError(
                f"{self.name} must have as many times as rates, one at least, got {len(self.times_s)} and "
                f"{len(self.rates_rps)}"
            )
        for time_s in self.times_s:
            if not 0.0 <= time_s < DAY_S:
                raise DomainError(f"{self.name}: a time must be within [0, {DAY_S}) s, got {time_s:g}")
        self._require_rising()
        for time_s, rate_rps in zip(self.times_s, self.rates_rps, strict=True):
            if not 0.0 <= rate_rps < math.inf:
                raise DomainError(
                    f"{self.name}: the rate at {clock(time_s)} must be >= 0 and finite, got {rate_rps:g}"
                )
        if not any(self.rates_rps):
            raise DomainError(f"{self.name} has no arrivals all day; give a rate above 0")
        self._require_part()

    def _require_part(self) -> None:
        """Refuse a part of the day that is empty or has no arrivals."""
        span = f"{clock(self.begins_s)}-{clock(self.ends_s)}"
        if not 0.0 <= self.begins_s < self.ends_s <= DAY_S:
            raise DomainError(f"a part of a day must begin before it ends, from 00:00 to 24:00, got {span}")
        if self.peak_rate_rps == 0.0:
            raise DomainError(
                f"{self.name} has no requests within {span}; look at another part of the day by --between"
            )

    def _require_rising(self) -> None:
        for before_s, after_s in pairwise(self.times_s):
            if not before_s < after_s:
                raise DomainError(
                    f"{self.name}: times must rise, got {clock(after_s)} after {clock(before_s)}; sort them, "
                    "and keep one rate for each"
                )

    @property
    def peak_rate_rps(self) -> float:
        """Highest rate of the part that is looked at."""
        return max(rate_rps for _, _, rate_rps in self.part())

    @property
    def part_mean_rps(self) -> float:
        """Mean rate of the part that is looked at."""
        seen = math.fsum(rate_rps * (to_s - from_s) for from_s, to_s, rate_rps in self.part())
        return seen / (self.ends_s - self.begins_s)

    def part(self) -> list[tuple[float, float, float]]:
        """Begin, end and rate of each step of the part that is looked at."""
        cut = (
            (max(from_s, self.begins_s), min(to_s, self.ends_s), rate) for from_s, to_s, rate in self.steps()
        )
        return [one for one in cut if one[0] < one[1]]

    @property
    def requests_per_day(self) -> float:
        """Mean number of arrivals in a day."""
        return math.fsum(rate_rps * (to_s - from_s) for from_s, to_s, rate_rps in self.steps())

    @property
    def mean_rate_rps(self) -> float:
        """Rate over the whole day."""
        return self.requests_per_day / DAY_S

    @property
    def hourly_rates_rps(self) -> tuple[float, ...]:
        """Highest rate within each of the 24 hours from midnight on, which is what that hour must serve."""
        highest = [0.0] * 24
        for from_s, to_s, rate_rps in self.steps():
            first, beyond = int(from_s // HOUR_S), math.ceil(to_s / HOUR_S)
            for hour in range(first, beyond):
                highest[hour] = max(highest[hour], rate_rps)
        return tuple(highest)

    def rate_rps(self, time_s: float) -> float:
        """Rate at a time since midnight, of any day. [requests/s]"""
        within_s = time_s % DAY_S
        begun = sum(begin_s <= within_s for begin_s in self.times_s)
        return self.rates_rps[begun - 1]  # before the first time, the last step of the day before

    def steps(self) -> list[tuple[float, float, float]]:
        """Begin, end and rate of each step from midnight to midnight, none of them empty."""
        edges_s = [0.0, *self.times_s, float(DAY_S)]
        rates_rps = [self.rates_rps[-1], *self.rates_rps]
        spans = zip(edges_s, edges_s[1:], rates_rps, strict=False)
        return [(from_s, to_s, rate_rps) for from_s, to_s, rate_rps in spans if to_s > from_s]


def read_daily_curve(path: Path) -> DailyCurve:
    """Curve from a CSV: column `time` (HH:MM or HH:MM:SS), and `rate_rps`, `rate_per_min` or `rate`.

    The cells of `rate` carry their unit, as in `500rps`. One row is a constant rate.

    Raises:
        InputError: names the file, the line and the fix.
    """
    shown = printable(path.name)
    rows = csv_rows(read_text(path), shown, mend="give a row for each change of the rate")
    header = next(rows, None)
    if header is None:
        raise InputError(
            f"{shown} is empty; write a line time,rate_rps and then a line for each change of the rate"
        )
    time_column, rate_column, period_s = _columns(header[1], shown)
    times_s: list[float] = []
    rates_rps: list[float] = []
    for number, row in rows:
        where = f"{shown} line {number}"
        if len(row) <= max(time_column, rate_column):
            raise InputError(f"{where}: {len(row)} cells, fewer than the header names; fix or drop the line")
        times_s.append(_time_s(row[time_column].strip(), where))
        rates_rps.append(_rate_rps(row[rate_column].strip(), period_s, where))
        if len(times_s) > 1 and times_s[-1] <= times_s[-2]:
            fault = "is there twice; keep one" if times_s[-1] in times_s[:-1] else "goes back; sort by time"
            raise InputError(f"{where}: {clock(times_s[-1])} {fault}")
    if not times_s:
        raise InputError(f"{shown} has a header and no rows; add a line such as 00:00,500")
    return DailyCurve(times_s=tuple(times_s), rates_rps=tuple(rates_rps), name=shown)


def clock(time_s: float) -> str:
    """A time since midnight as it is typed.

    >>> clock(8 * 3600 + 30 * 60), clock(59.0)
    ('08:30', '00:00:59')
    """
    hours, rest = divmod(round(time_s), HOUR_S)
    minutes, seconds = divmod(rest, 60)
    return f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


def read_span(text: str, flag: str = "--between") -> tuple[float, float]:
    """Start and end of a part of a day such as 07:00-11:30; 24:00 is its end. [s since midnight]

    Raises:
        InputError: says what to write instead.

    >>> read_span("07:00-24:00")
    (25200.0, 86400.0)
    """
    begins, dash, ends = text.partition("-")
    if not dash:
        raise InputError(f"{flag} {quoted(text)} is no part of a day; write 07:00-11:30")
    begins_s = _time_s(begins.strip(), flag)
    ends_s = float(DAY_S) if ends.strip() == "24:00" else _time_s(ends.strip(), flag)
    if begins_s >= ends_s:
        raise InputError(f"{flag} {quoted(text)} ends before it begins; write 07:00-11:30")
    return begins_s, ends_s


def _columns(header: list[str], shown: str) -> tuple[int, int, float | None]:
    """Columns of the time and of the rate, and the period that the rates count in."""
    names = [cell.strip().lower() for cell in header]
    seen = printable(",".join(names))[:60]
    rates = [name for name in names if name in _PERIOD_S]
    if names.count("time") != 1:
        raise InputError(f"{shown} line 1: the columns {seen!r} must hold time once; use time,rate_rps")
    if len(rates) != 1:
        raise InputError(
            f"{shown} line 1: the columns {seen!r} must hold one of {', '.join(_PERIOD_S)}; use time,rate_rps"
        )
    return names.index("time"), names.index(rates[0]), _PERIOD_S[rates[0]]


def _time_s(text: str, where: str) -> float:
    match = _TIME.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (24, 0, 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise InputError(f"{where}: {quoted(text)} is not a time of day; write 00:00 to 23:59, or 23:59:59")
    return float(HOUR_S * hours + 60 * minutes + seconds)


def _rate_rps(text: str, period_s: float | None, where: str) -> float:
    if period_s is None:
        return parse_rate_rps(printable(text), f"{where}: rate", allow_zero=True)
    value = float(text) if len(text) <= 40 and _NUMBER.fullmatch(text) else math.nan
    if not 0.0 <= value < math.inf:
        raise InputError(f"{where}: the rate {quoted(text)} is not a number >= 0; fix the line")
    return value / period_s
