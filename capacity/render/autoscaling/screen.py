"""Autoscale on the terminal: the answer, a table of fleets, why, and the course of the day."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.console import RenderableType
from rich.text import Text

from capacity.autoscaling.autoscaler import POLLING_S, SYNC_S, Autoscaler
from capacity.autoscaling.findings import Days, ScaledScreen, Worst
from capacity.performance import Interval
from capacity.render.tables import sparkline, table
from capacity.traffic.daily import HOUR_S, clock
from capacity.units import format_duration, format_rate

_HUNTS_PER_H = 6.0  # changes of the number of replicas that no daily curve explains
_RISES = 1.1  # times the rate before, below which a rate is even
_STEPS = 60  # of the course, at most


def autoscale_tables(screen: ScaledScreen, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
    """The screen of `capacity autoscale`."""
    yield Text(_answer(screen), style="bold")
    yield from (Text(line) for line in _why(screen))
    yield _fleets(screen)
    yield from _course(screen.found, width)
    if verbose:
        found = screen.found
        yield Text(
            f"{found.requests:,} requests; replicas asked for {found.replicas_mean:.3g} in the mean, "
            f"{found.replicas_most} at most; lost {found.lost_share:.3%}."
        )


def _answer(screen: ScaledScreen) -> str:
    """What it costs and holds, beside the smallest fixed fleet."""
    found = screen.found
    limit = format_duration(found.fleet.response_p99_s)
    says = {0: f"within {limit}", 3: f"over the limit of {limit}", 4: f"too near {limit} to tell"}
    if found.response_p99_s.value == math.inf:
        p99 = f"loses {found.lost_share:.2%} of the requests, too many for a P99"
    else:
        p99 = f"has a P99 of {_interval(found.response_p99_s)}"
    told = f"The autoscaled fleet takes {_cost(found)} and {p99}, {says[found.exit_code]}"
    fixed = screen.smallest
    if fixed is None:
        return f"{told}."
    count = fixed.fleet.plan.replicas
    fleet = f"{count} replicas that hold" if count != 1 else "the single replica that holds"
    return f"{told}; that is {_beside(found, fixed)} {fleet} it all the time, with a P99 of {_p99(fixed)}."


def _beside(found: Days, fixed: Days) -> str:
    """How much less it takes, in whole percents."""
    saved = round(100.0 * (1.0 - found.replica_hours.value / fixed.replica_hours.value))
    if saved == 0:
        return "as much as"
    return f"{saved}% less than" if saved > 0 else f"{-saved}% more than"


def _cost(found: Days) -> str:
    price = found.cost_usd
    hours = f"{found.replica_hours.value:.3g} replica-hours"
    return hours if price is None else f"{price:.2f} USD ({hours})"


def _p99(found: Days) -> str:
    return format_duration(found.response_p99_s.value)


def _interval(interval: Interval) -> str:
    ends = " to ".join(_shown(one) for one in (interval.low, interval.high))
    return f"{_shown(interval.value)} ({ends})"


def _shown(seconds: float) -> str:
    return "never" if seconds == math.inf else format_duration(seconds)


def _why(screen: ScaledScreen) -> Iterator[str]:
    """Where the late requests come from, and whether the number of replicas hunts."""
    found, scaler = screen.found, screen.found.fleet.autoscaler
    assert scaler is not None  # noqa: S101  (it is the question)
    worst, per_h = screen.worst, found.scalings.value * HOUR_S / found.fleet.lasts_s
    if worst is not None and (worst.peak_rps > _RISES * worst.before_rps or per_h <= _HUNTS_PER_H):
        yield ("Where it is tightest: " if found.is_held else "Why: ") + _worst(worst, scaler)
    if per_h > _HUNTS_PER_H:
        yield (
            f"The fleet hunts: {per_h:.0f} changes an hour. Once the queues are gone so is the metric; the fleet "
            "shrinks, and the queues come back. A target of utilization is steadier than one of concurrency."
        )
    if not screen.is_searched:
        return
    if screen.smallest is None:
        yield f"Not even {scaler.replicas_max} replicas all the time hold the limit; raise --replicas-max."
    if not found.is_held and not screen.remedies:
        yield "No lower target and no higher --replicas-min that was tried holds the limit."


def _worst(worst: Worst, scaler: Autoscaler) -> str:
    serve = fleet_told(worst.ready) + (" serves" if worst.ready == 1.0 else " serve")
    asked = f"at most {worst.wanted:.2g} {'is' if worst.wanted == 1.0 else 'are'} asked for"
    if worst.wanted >= scaler.replicas_max > 1:
        asked = f"all {scaler.replicas_max} of --replicas-max are asked for"
    return (
        f"{worst.share:.0%} of the late requests arrive from {clock(worst.begins_s)} to {clock(worst.ends_s)}, when "
        f"the rate goes from {format_rate(worst.before_rps)} up to {format_rate(worst.peak_rps)}: {serve} as it "
        f"begins, {asked}, and a new one serves up to {_reaction(worst, scaler)}."
    )


def _reaction(worst: Worst, scaler: Autoscaler) -> str:
    """How long it takes from a change of the load to a replica that serves it, and what of."""
    startup = f"start-up {format_duration(scaler.startup_s)}"
    if scaler.replicas_min == 0 and worst.ready < 1.0:
        whole_s = POLLING_S + scaler.startup_s
        return f"{format_duration(whole_s)} after the first request (a poll every {POLLING_S:g} s, {startup})"
    lag = f"metric lag {format_duration(scaler.metric_lag_s)}"
    whole = format_duration(scaler.reaction_s)
    return f"{whole} after the load has changed ({lag}, a look every {SYNC_S:g} s, {startup})"


def fleet_told(replicas: float) -> str:
    """A mean number of replicas, in words."""
    return "1 replica" if replicas == 1.0 else f"{replicas:.2g} replicas"


def _fleets(screen: ScaledScreen) -> RenderableType:
    """A row for the autoscaled fleet, the fixed one and each way out."""
    rows = [("autoscaled", screen.found)]
    if screen.smallest is not None:
        rows.append((f"{screen.smallest.fleet.plan.replicas} all the time", screen.smallest))
    rows += [(_remedy(screen.found, one), one) for one in screen.remedies]
    has_price = screen.found.cost_usd is not None
    columns = ["<fleet", "P99", "late", "replica-hours", *(["USD"] if has_price else [])]
    return table([*columns, "mean", "most", "changes"], [_row(name, one) for name, one in rows])


def _row(name: str, found: Days) -> tuple[str, ...]:
    price = found.cost_usd
    return (
        name,
        _shown(found.response_p99_s.value),
        f"{found.late_share.value:.2%}",
        f"{found.replica_hours.value:.1f}",
        *([] if price is None else [f"{price:.2f}"]),
        f"{found.replicas_mean:.2f}",
        str(found.replicas_most),
        f"{found.scalings.value:.0f}",
    )


def _remedy(found: Days, remedy: Days) -> str:
    """What was changed, as it is typed."""
    before, after = found.fleet.autoscaler, remedy.fleet.autoscaler
    assert before is not None  # noqa: S101
    assert after is not None  # noqa: S101
    if after.target != before.target:
        return f"--target {after.target}"
    return f"--replicas-min {after.replicas_min}"


def _course(found: Days, width: int) -> Iterator[Text]:
    """Arrivals, replicas and late requests over the time, one below the other."""
    course, fleet = found.course, found.fleet
    count = min(_STEPS, max(10, width - 30), len(course.arrived))
    late = [
        late / arrived if arrived else 0.0
        for late, arrived in zip(_thinned(course.late, count), _thinned(course.arrived, count), strict=True)
    ]
    lines = [
        ("arrivals", _thinned(course.arrived, count), format_rate(max(course.arrived) / 60.0)),
        ("replicas that serve", _thinned(course.ready, count), f"{max(course.ready):.3g}"),
        ("late", late, f"{max(late):.1%}"),
    ]
    yield Text(f"From {clock(fleet.begins_s)} to {clock(fleet.ends_s)}, and the highest of each:")
    for name, values, most in lines:
        drawn = sparkline(values) if max(values) > 0.0 else "▁" * count
        yield Text(f" {name:<19}  {drawn}  {most}")


def _thinned(values: Sequence[float], count: int) -> list[float]:
    """Means of as many stretches."""
    edges = [round(place * len(values) / count) for place in range(count + 1)]
    return [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
