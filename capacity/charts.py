"""Charts for the terminal: curves and profiles as plain text of a given width, drawn by plotext.

No colour and no control code, so that a chart may go to a file, a pipe or a commit message; lines
are told apart by the letter that they are drawn with.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from string import ascii_lowercase
from typing import Any

from capacity.curves import Curve, chart_title, require_one_chart, y_range
from capacity.errors import DomainError
from capacity.profile import KNEE_GAIN_PER_DOUBLING, BatchTiming, ServiceProfile
from capacity.rates_curve import MARKS, NAMES, RateCurve
from capacity.replicas_curve import ReplicasCurve
from capacity.units import format_duration

WIDTH_MIN, WIDTH_MAX = 60, 1000
HEIGHT_MIN, HEIGHT_MAX = 8, 1000
TICKS = 6


def line_chart(lines: Sequence[Curve], *, width: int = 80, height: int = 20) -> str:
    """The curves in one frame, one letter each, and below it what the letters stand for.

    Args:
        width: columns, 60 to 1,000.
        height: rows of the frame with its axes, 8 to 1,000; title and names come on top.

    Raises:
        InputError: no curve, more than 24, or curves whose axes differ.
        DomainError: a width or height out of range.
    """
    first = require_one_chart(lines)
    _require_size(width, height)
    low, top = y_range(lines)
    right = max(line.x[-1] for line in lines)
    with _figure(width, height) as figure:
        for letter, line in zip(ascii_lowercase, lines, strict=False):
            points = [(x, _scaled(y, low)) for x, y in zip(line.x, line.y, strict=True) if y >= low]
            if points:
                figure.draw(figure.signal(*zip(*points, strict=True), marker=letter).lines())
        _set_ruler(figure, "x", 0.0, right, _round_ticks(right))
        _set_ruler(figure, "y", _scaled(low, low), _scaled(top, low), _y_ticks(low, top))
        frame = _text(figure)
    names = [_named(letter, line, width) for letter, line in zip(ascii_lowercase, lines, strict=False)]
    y_title = first.quantity.axis_title + (", logarithmic" if low > 0.0 else "")
    return "\n".join(
        [chart_title(lines), y_title, frame, first.axis.axis_title.center(width).rstrip(), *names]
    )


def profile_chart(profile: ServiceProfile, *, width: int = 80) -> str:
    """Batch by batch: mean and P99 service time, throughput as a number and as a bar, the knee starred.

    A P99 that was not measured is shown as `-`.

    Args:
        width: columns, 60 to 1,000.

    Raises:
        DomainError: a width out of range.
    """
    _require_size(width, HEIGHT_MIN)
    ticks = {}
    with _figure(width, len(profile.timings) + 2) as figure:
        for place, timing in enumerate(reversed(profile.timings), start=1):
            bar = [0.0, profile.throughput_rps(timing.batch_size)]
            figure.draw(figure.signal(bar, [place, place], marker="█").lines())
            ticks[float(place)] = _row(profile, timing)
        _set_ruler(figure, "x", 0.0, max(profile.throughput_rps(size) for size in profile.batch_sizes), {})
        _set_ruler(figure, "y", 1.0, max(2.0, len(ticks)), ticks)  # an axis needs two ends
        frame = _text(figure)
    title = f"{profile.name}: service time and throughput of one replica by batch size"
    head = _columns("batch", "mean", "P99", "rps").rstrip()
    note = (
        f"* knee: the largest batch size that pays, {100.0 * KNEE_GAIN_PER_DOUBLING:g} % more requests per "
        f"second for each doubling up to it"
    )
    return "\n".join([*textwrap.wrap(title, width), head, frame, *textwrap.wrap(note, width)])


def rate_chart(curve: RateCurve, *, width: int = 80, height: int = 18) -> str:
    """What is promised against the rate: a mark for each verdict, `:` along an interval, `-` the limit.

    Args:
        width: columns, 60 to 1,000, of title and legend too.

    Raises:
        DomainError: a width or height out of range.
    """
    _require_size(width, height)
    right = curve.right_rps
    with _figure(width, height) as figure:
        figure.draw(figure.signal([0.0, right], [curve.limit, curve.limit], marker="-").lines())
        for rate_rps, found, verdict in curve.points:
            ends = [rate_rps, rate_rps], [found.low, found.high]
            figure.draw(figure.signal(*ends, marker=":").lines())
            figure.draw(figure.signal([rate_rps], [found.value], marker=MARKS[verdict]))
        _set_ruler(figure, "x", 0.0, right, _round_ticks(right))
        _set_ruler(figure, "y", 0.0, curve.top, _round_ticks(curve.top))
        frame = _text(figure)
    legend = ", ".join(f"{mark} {NAMES[verdict]}" for verdict, mark in MARKS.items()) + ", - limit"
    return "\n".join(
        [
            *textwrap.wrap(curve.title, width),
            curve.axis_title,
            frame,
            "arrival rate [rps]".center(width).rstrip(),
            *textwrap.wrap(legend, width, initial_indent="  ", subsequent_indent="  "),
        ]
    )


def replicas_chart(curve: ReplicasCurve, *, width: int = 80, height: int = 18) -> str:
    """What is promised against replicas: a mark for each verdict, `:` along an interval, `-` the limit.

    `#` is the chosen fleet, and `^` one that is unstable, refused or beyond the chart.

    Raises:
        DomainError: a width or height out of range.
    """
    _require_size(width, height)
    fleets = [*(point.replicas for point in curve.points), *curve.beyond]
    low, high = min(fleets) - 0.5, max(fleets) + 0.5
    with _figure(width, height) as figure:
        figure.draw(figure.signal([low, high], [curve.limit, curve.limit], marker="-").lines())
        for point in curve.points:
            ends = [point.replicas, point.replicas], [point.found.low, point.found.high]
            figure.draw(figure.signal(*ends, marker=":").lines())
            mark = "#" if point.replicas == curve.chosen else MARKS[point.verdict]
            figure.draw(figure.signal([point.replicas], [point.found.value], marker=mark))
        for replicas in curve.beyond:
            figure.draw(figure.signal([replicas], [curve.top], marker="^"))
        step = 1 + (max(fleets) - min(fleets)) // (2 * TICKS)
        sizes = {point.replicas: f" (B {point.batch_size_max})" for point in curve.points}
        sizes = sizes if len(fleets) <= TICKS else {}
        ticks = {float(n): f"{n}{sizes.get(n, '')}" for n in range(min(fleets), max(fleets) + 1, step)}
        _set_ruler(figure, "x", low, high, ticks)
        _set_ruler(figure, "y", 0.0, curve.top, _round_ticks(curve.top))
        frame = _text(figure)
    legend = ", ".join(f"{mark} {NAMES[verdict]}" for verdict, mark in MARKS.items())
    legend = f"# chosen, {legend}, - limit {curve.limit_text}, ^ unstable, refused or beyond the chart"
    return "\n".join(
        [
            *textwrap.wrap(curve.title, width),
            curve.axis_title,
            frame,
            "replicas (B: largest batch)".center(width).rstrip(),
            *textwrap.wrap(legend, width, initial_indent="  ", subsequent_indent="  "),
        ]
    )


@contextmanager
def _figure(width: int, height: int) -> Iterator[Any]:
    """The one figure that plotext has, blank before and after, as wide as asked even without a terminal."""
    import plotext

    figure = plotext.figure
    plotext.terminal.limit(width=False, height=False)
    try:
        figure.clear()
        figure.theme("colorless")
        figure.plot_size(width, height)
        yield figure
    finally:
        plotext.terminal.limit()
        figure.clear()


def _text(figure: Any) -> str:
    rows = figure.build().string(colorless=True).splitlines()
    return "\n".join(row.rstrip() for row in rows if row.strip())


def _set_ruler(figure: Any, axis: str, low: float, high: float, ticks: dict[float, str]) -> None:
    ruler = figure.ruler(axis)
    ruler.lim(low, high)
    ruler.ticks(list(ticks), labels=list(ticks.values()))


def _scaled(value: float, low: float) -> float:
    """A value where it is drawn: plotext's axis stays linear, so that its ticks are ours."""
    return math.log10(value) if low > 0.0 else value


def _y_ticks(low: float, top: float) -> dict[float, str]:
    """Round numbers from 0, or powers of ten."""
    if low == 0.0:
        return _round_ticks(top)
    lowest, highest = math.ceil(math.log10(low)), math.floor(math.log10(top))
    powers = range(lowest, highest + 1, 1 + (highest - lowest) // TICKS)
    return {float(power): f"{10.0**power:g}" for power in powers}


def _round_ticks(high: float) -> dict[float, str]:
    """From 0 up in steps of 1, 2 or 5 times a power of ten, about six of them."""
    power = 10.0 ** math.floor(math.log10(high / TICKS))
    step = next(power * digit for digit in (1.0, 2.0, 5.0, 10.0) if power * digit * TICKS >= high)
    return {step * n: f"{step * n:.6g}" for n in range(math.floor(high / step * (1.0 + 1e-9)) + 1)}


def _named(letter: str, line: Curve, width: int) -> str:
    return textwrap.fill(line.label, width, initial_indent=f"  {letter}  ", subsequent_indent="     ")


def _row(profile: ServiceProfile, timing: BatchTiming) -> str:
    """One batch size in columns."""
    size, rate = timing.batch_size, profile.throughput_rps(timing.batch_size)
    is_known = timing.samples_s or timing.p99_s is not None
    p99_s = profile.law(size).quantile_s(0.99) if is_known else None
    return _columns(
        f"{'*' if size == profile.knee_batch_size else ''}{size}",
        format_duration(profile.service_mean_s(size)),
        "-" if p99_s is None else format_duration(p99_s),
        f"{rate:.4g}" if rate < 1000.0 else f"{rate:.0f}",
    )


def _columns(batch: str, mean: str, p99: str, rps: str) -> str:
    return f"{batch:>7}  {mean:>8}  {p99:>8}  {rps:>8} "


def _require_size(width: int, height: int) -> None:
    if not WIDTH_MIN <= width <= WIDTH_MAX:
        raise DomainError(f"width must be from {WIDTH_MIN} to {WIDTH_MAX} columns, got {width}")
    if not HEIGHT_MIN <= height <= HEIGHT_MAX:
        raise DomainError(f"height must be from {HEIGHT_MIN} to {HEIGHT_MAX} rows, got {height}")
