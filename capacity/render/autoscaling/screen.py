"""Screen of `autoscale`: the answer, a table of fleets, the reasons, and the course of the day."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.console import RenderableType
from rich.text import Text

from capacity.autoscaling.findings import Days, Kept, ScaledScreen, setting_of
from capacity.performance import Interval, format_span
from capacity.render.autoscaling.reasons import reasons
from capacity.render.tables import sparkline, table
from capacity.traffic.daily import clock
from capacity.units import format_duration, format_percent, format_rate

_STEPS = 60  # steps of the course, at most
_MISSED = 3  # exit code of a limit that is missed


def autoscale_tables(screen: ScaledScreen, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
    """The screen of `capacity autoscale`."""
    yield Text(answer_text(screen), style="bold")
    yield from (Text(line) for line in reasons(screen))
    yield fleet_table(screen, verbose=verbose)
    if (tries := screen.found.attempts_mean) is not None:
        yield Text(f"Clients make {format_span('{:.4g}'.format, tries)} attempts at a request.")
    if verbose:
        found = screen.found
        yield from course_lines(found, width)
        yield Text(
            f"{found.requests:,} requests; replicas asked for {found.replicas_mean:.3g} in the mean, "
            f"{found.replicas_most} at most; lost {format_percent(found.lost_share, 3)}."
        )


def answer_text(screen: ScaledScreen) -> str:
    """Cost and late requests, compared with the smallest fixed fleet; what would hold a limit that is missed is too."""
    found = screen.found
    told = f"The autoscaled fleet takes {_cost(found)} and {', and '.join(_fate(found, one) for one in found.kept)}"
    fixed = screen.smallest
    if fixed is None:
        return f"{told}."
    count = fixed.fleet.replicas
    fleet = f"{count} replicas that hold" if count != 1 else "the single replica that holds"
    held = "it" if len(fixed.kept) == 1 else "them"
    if screen.remedies and any(one.exit_code == _MISSED for one in found.kept):
        best = min(screen.remedies, key=lambda one: one.replica_hours.value)
        fixed_text = f"{count} replica{'s' if count > 1 else ''} all the time"
        return f"{told}; {setting_of(found.fleet, best.fleet)} holds {held} for {_saving(best, fixed)} {fixed_text}."
    return f"{told}; that is {_saving(found, fixed)} {fleet} {held} all the time."


def _fate(found: Days, one: Kept) -> str:
    """What a limited quantile is, and what that is for its limit."""
    limit, what = format_duration(one.limit.allowed), one.limit.what
    says = {0: f"within {limit}", 3: f"over the limit of {limit}", 4: f"too near {limit} to tell"}
    if one.found_s.value == math.inf:
        lost = format_percent(found.lost_share, 2)
        return f"loses {lost} of the requests, too many for a {what}, {says[one.exit_code]}"
    return f"has a {what} of {_interval(one.found_s)}, {says[one.exit_code]}"


def _saving(found: Days, fixed: Days) -> str:
    """Saving in whole percents, with the ends of the interval if they differ."""
    hours, whole = found.replica_hours, fixed.replica_hours.value
    saved, low, high = (
        round(100.0 * (1.0 - value / whole)) for value in (hours.value, hours.high, hours.low)
    )
    if low == high:
        return "as much as" if saved == 0 else f"{_percents(saved)} than"
    if low < 0 < high or saved == 0:
        return f"{_percents(saved)} ({_percents(low)} to {_percents(high)}) than"
    low, high = sorted((abs(low), abs(high)))
    return f"{abs(saved)} % ({low} to {high} %) {'less' if saved > 0 else 'more'} than"


def _percents(saved: int) -> str:
    return f"{abs(saved)} % {'more' if saved < 0 else 'less'}"


def _cost(found: Days) -> str:
    price, hours = found.cost_usd, found.replica_hours
    if price is None:
        return f"{hours.value:.3g} replica-hours{_ends(hours, '.3g')}"
    return f"{price.value:.2f} USD{_ends(price, '.2f')} for {hours.value:.3g} replica-hours"


def _ends(interval: Interval, spec: str) -> str:
    """The ends in brackets, if they differ as shown."""
    low, high = format(interval.low, spec), format(interval.high, spec)
    return "" if low == high else f" ({low} to {high})"


def _limited(one: Kept) -> str:
    return format_duration(one.found_s.value)


def _interval(interval: Interval) -> str:
    beyond = "or more" if interval.high == math.inf else f"to {format_duration(interval.high)}"
    return f"{format_duration(interval.value)} ({format_duration(interval.low)} {beyond})"


def fleet_table(screen: ScaledScreen, *, verbose: bool = False) -> RenderableType:
    """A row each for the autoscaled fleet, the fixed one and the alternatives; if asked, with numbers of replicas."""
    rows = [("autoscaled", screen.found)]
    if screen.smallest is not None:
        rows.append((f"{screen.smallest.fleet.replicas} all the time", screen.smallest))
    rows += [(setting_of(screen.found.fleet, one.fleet), one) for one in screen.remedies]
    has_price = screen.found.cost_usd is not None
    kept = screen.found.kept
    columns = ["<fleet", *(one.limit.what for one in kept), *(_late(one, kept) for one in kept), "hours"]
    columns += ["USD"] if has_price else []
    columns += ["mean", "most", "changes"] if verbose else []
    return table(columns, [_row(name, one)[: len(columns)] for name, one in rows], is_plain=True)


def _late(one: Kept, kept: Sequence[Kept]) -> str:
    """`late`; beside other limits, with the limit that it is late by."""
    return "late" if len(kept) == 1 else f"late by {one.limit.what}"


def _row(name: str, found: Days) -> tuple[str, ...]:
    price = found.cost_usd
    return (
        name,
        *(
            f"> {one.limit.lost_text} lost" if one.found_s.value == math.inf else _limited(one)
            for one in found.kept
        ),
        *(format_percent(one.late_share.value, 2) for one in found.kept),
        f"{found.replica_hours.value:.1f}",
        *([] if price is None else [f"{price.value:.2f}"]),
        f"{found.replicas_mean:.2f}",
        str(found.replicas_most),
        f"{found.scalings.value:.0f}",
    )


def course_lines(found: Days, width: int) -> Iterator[Text]:
    """Arrivals, replicas and late requests over time, one below the other."""
    course, fleet = found.course, found.fleet
    count = min(_STEPS, max(10, width - 34), len(course.arrived))
    late = [
        late / arrived if arrived else 0.0
        for late, arrived in zip(_thinned(course.late, count), _thinned(course.arrived, count), strict=True)
    ]
    lines = [
        ("arrivals", _thinned(course.arrived, count), format_rate(max(course.arrived) / 60.0)),
        ("replicas that serve", _thinned(course.ready, count), f"{max(course.ready):.3g}"),
        (_late(found.binding, found.kept), late, format_percent(max(late), 1)),
    ]
    yield Text(f"From {clock(fleet.begins_s)} to {clock(fleet.ends_s)}, and the highest of each:")
    for name, values, most in lines:
        drawn = sparkline(values) if max(values) > 0.0 else "▁" * count
        yield Text(f" {name:<19}  {drawn}  {most}")


def _thinned(values: Sequence[float], count: int) -> list[float]:
    """Means over this many stretches."""
    edges = [round(place * len(values) / count) for place in range(count + 1)]
    return [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
