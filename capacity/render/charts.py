"""Charts for the terminal, by plotext: plain text of a given width, without colours or control codes."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import Any

from capacity.performance import Interval
from capacity.profile.profile import ServiceProfile
from capacity.question.candidate import Verdict
from capacity.queues.curves import Curve, chart_title, require_one_chart, y_range
from capacity.render.figures import NAMES, ObjectiveCurve
from capacity.traffic.scale import RATES

Ticks = dict[float, str]
Spot = tuple[float, float]

MARKS = {Verdict.MET: "o", Verdict.MISSED: "x", Verdict.INCONCLUSIVE: "?"}
TICKS = 6  # about this many on an axis


def line_chart(lines: Sequence[Curve], *, width: int = 80, height: int = 20) -> str:
    """The curves in one frame, one letter each, with a legend below."""
    first, (low, top) = require_one_chart(lines), y_range(lines)
    right, scaled = max(line.x[-1] for line in lines), math.log10 if low > 0.0 else float
    marked = [
        (letter, [(x, scaled(y)) for x, y in zip(line.x, line.y, strict=True) if y >= low])
        for letter, line in zip(ascii_lowercase, lines, strict=False)
    ]
    y_axis = scaled(low), scaled(top), {scaled(y): text for y, text in _ticks(low, top).items()}
    frame = _frame(width, height, marked, (0.0, right, _ticks(0.0, right)), y_axis)
    y_title = first.quantity.axis_title + (", logarithmic" if low > 0.0 else "")
    names = [f"{letter}  {line.label}" for letter, line in zip(ascii_lowercase, lines, strict=False)]
    return _page(width, chart_title(lines), y_title, frame, first.axis.axis_title, names)


def profile_chart(profile: ServiceProfile, *, width: int = 80) -> str:
    """Throughput of one replica by batch size as bars, the knee starred."""
    rates = {size: profile.throughput_rps(size) for size in profile.batch_sizes}
    share = (width - 19) / max(rates.values())
    stars = {profile.knee_batch_size: "*"}
    rows = [
        f"{stars.get(n, '') + str(n):>7} {rps:9.4g}  {'█' * max(1, round(share * rps))}"
        for n, rps in rates.items()
    ]
    title = f"{profile.name}: throughput of one replica by batch size"
    legend = ["*  knee: the largest batch size that pays"]
    return _page(width, title, "  batch       rps", "\n".join(rows), "", legend)


def objective_chart(curve: ObjectiveCurve, *, width: int = 80, height: int = 18) -> str:
    """The limited quantity against rate or replicas: a mark for each verdict, `:` an interval, `-` the limit."""
    left, right = curve.x_range
    ticks = _ticks(0.0, right)
    legend = [f"{mark} {NAMES[verdict]}" for verdict, mark in MARKS.items()] + [
        f"- limit {curve.limit.allowed_text}"
    ]
    if curve.chosen is not None:
        whole = range(math.ceil(left), math.ceil(right), 1 + int(right - left) // (2 * TICKS))
        sizes = curve.sizes if len(curve.sizes) <= TICKS else {}
        ticks = {float(n): f"{n} ({curve.size_name[0]} {sizes[n]})" if n in sizes else str(n) for n in whole}
        legend = ["# chosen", *legend, "^ unstable, refused or beyond the chart"]
    marked = [("-", [(left, curve.allowed), (right, curve.allowed)])]
    for point in curve.points:
        mark = "#" if point.x == curve.chosen else MARKS[point.verdict]
        marked.append((":", [(point.x, point.found.low), (point.x, point.found.high)]))
        marked.append((mark, [(point.x, point.found.value)]))
    marked += [("^", [(replicas, curve.top)]) for replicas in curve.beyond]
    frame = _frame(width, height, marked, (left, right, ticks), (0.0, curve.top, _ticks(0.0, curve.top)))
    return _page(width, curve.title, curve.y_title, frame, curve.x_title, [", ".join(legend)])


def load_chart(
    points: Sequence[tuple[float, Interval]],
    title: str,
    *,
    what: str = "response",
    x_title: str = RATES.title,
    width: int = 80,
) -> str:
    """A duration with its interval against the arrival rate or the users, in milliseconds."""
    top = 1e3 * max(found.value for _, found in points)
    right = max(size for size, _ in points)
    marked: list[tuple[str, list[Spot]]] = []
    for size, found in points:
        marked.append((":", [(size, 1e3 * found.low), (size, min(top, 1e3 * found.high))]))
        marked.append(("o", [(size, 1e3 * found.value)]))
    frame = _frame(width, 18, marked, (0.0, right, _ticks(0.0, right)), (0.0, top, _ticks(0.0, top)))
    return _page(width, title, f"{what} [ms]", frame, x_title, [])


def _frame(
    width: int, height: int, marked: Iterable[tuple[str, Sequence[Spot]]], *axes: tuple[float, float, Ticks]
) -> str:
    """Lines and points by their marks, in plotext's one figure, which is blank before and after."""
    import plotext

    figure: Any = plotext.figure
    plotext.terminal.limit(width=False, height=False)  # as wide as asked even without a terminal
    try:
        figure.clear()
        figure.theme("colorless")
        figure.plot_size(width, height)
        for mark, spots in marked:
            if spots:
                figure.draw(figure.signal(*zip(*spots, strict=True), marker=mark).lines())
        for name, (low, high, ticks) in zip("xy", axes, strict=True):
            figure.ruler(name).lim(low, high)
            figure.ruler(name).ticks(list(ticks), labels=list(ticks.values()))
        rows = figure.build().string(colorless=True).splitlines()
    finally:
        plotext.terminal.limit()
        figure.clear()
    return "\n".join(row.rstrip() for row in rows if row.strip())


def _page(width: int, title: str, y_title: str, frame: str, x_title: str, legend: Sequence[str]) -> str:
    """The frame with its titles above and below, and what its marks mean, within the width."""
    rows = [textwrap.fill(row, width, initial_indent="  ", subsequent_indent="  ") for row in legend]
    parts = [textwrap.fill(title, width), y_title, frame, x_title.center(width).rstrip(), *rows]
    return "\n".join(part for part in parts if part)


def _ticks(low: float, high: float) -> Ticks:
    """Powers of ten from a low end above 0; otherwise steps of 1, 2 or 5 times a power of ten."""
    if low > 0.0:
        first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
        return {10.0**n: f"{10.0**n:g}" for n in range(first, last + 1, 1 + (last - first) // TICKS)}
    power = 10.0 ** math.floor(math.log10(high / TICKS))
    step = next(power * digit for digit in (1.0, 2.0, 5.0, 10.0) if power * digit * TICKS >= high)
    return {step * n: f"{step * n:.6g}" for n in range(math.floor(high / step * (1.0 + 1e-9)) + 1)}
