"""Report figures: charts of a report page, small enough for a phone, with labels at the lines."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from capacity.performance import Interval, Window
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit
from capacity.render.plot import DARK, GREY, PALETTE, Panels, Plot, count_by_whole, new_plot, new_stack
from capacity.units import format_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.7, 2.8  # inches, at 9 point letters
ACCENT, LIMIT, LIMIT_TEXT = PALETTE[0], PALETTE[1], "#a84300"  # small letters need a darker one
TOP = 2.0  # multiple of the limit at which an axis ends
# Batches from small to large; a dark page reverses them.
SHADES = ("#b9d7ec", "#86b9dc", "#4d95c6", "#1f6fad", "#08417a")
DARK_SHADES = ("#1f3d5c", "#2b5f8f", "#3d86c6", "#79b8f5", "#cbe4ff")
DARK_COLOURS = DARK | dict(zip(SHADES, DARK_SHADES, strict=True)) | {LIMIT_TEXT: "#ff9d5c"}
# What a page's style needs of them.
PAGE_COLOURS = {
    "shades": list(enumerate(SHADES)),
    "dark_shades": list(enumerate(DARK_SHADES)),
    "dark": list(DARK_COLOURS.items()),
}
_LABEL: dict[str, Any] = {"fontsize": 8.5}
_MARKS: dict[Verdict, dict[str, Any]] = {
    Verdict.MET: {"marker": "o", "color": ACCENT},
    Verdict.MISSED: {"marker": "x", "color": LIMIT},
    Verdict.INCONCLUSIVE: {"marker": "s", "color": GREY, "markerfacecolor": "none"},
}
Spot = tuple[float, Interval, Verdict]


def scale_of(limit: Limit) -> float:
    """Factor to milliseconds for durations and to percent for shares, as in the page's axes and tables."""
    return 1e3 if limit.measure.is_duration else 1e2


def axis_title(limit: Limit) -> str:
    """The limited quantity with its unit."""
    return f"{limit.what} [{'ms' if limit.measure.is_duration else '%'}]"


def draw_rates(spots: Sequence[Spot], limit: Limit, today_rps: float, accepted_rps: float | None) -> Plot:
    """The limited quantity over the arrival rate, with its interval, its limit, today's rate and the headroom."""
    plot = _plot("arrival rate [rps]", axis_title(limit))
    axes, scale = plot.axes, scale_of(limit)
    top = TOP * scale * limit.allowed
    drawn = [(x, found.scaled(scale), verdict) for x, found, verdict in spots if math.isfinite(found.value)]
    rates_rps = [x for x, _, _ in drawn]
    lows, highs = [found.low for _, found, _ in drawn], [found.high for _, found, _ in drawn]
    axes.fill_between(rates_rps, lows, highs, color=ACCENT, alpha=0.2, linewidth=0.0)
    axes.plot(rates_rps, [found.value for _, found, _ in drawn], color=ACCENT)
    _draw_marks(axes, drawn)
    right = max(x for x, _, _ in spots)
    axes.set(xlim=(0.0, 1.03 * right), ylim=(0.0, top))
    _level(axes, scale * limit.allowed, f"objective {limit.allowed_text}")
    _upright(axes, today_rps, f"planned {format_rate(today_rps)}", 0.97)
    if accepted_rps is not None and accepted_rps > today_rps:
        _upright(axes, accepted_rps, f"headroom {format_rate(accepted_rps)}", 0.86)
    return plot


def draw_distribution(
    quantiles_s: dict[float, Interval], limits_s: dict[float, float], what: str = "response time"
) -> Plot:
    """The share of requests that take longer, on a logarithmic scale, and the limits."""
    plot = _plot(f"{what} [ms]", "share of requests that take longer [%]", y_log=True)
    axes = plot.axes
    known = {q: one.scaled(1e3) for q, one in quantiles_s.items() if math.isfinite(one.high)}
    shares = [100.0 * (1.0 - q) for q in known]
    lows, highs = [one.low for one in known.values()], [one.high for one in known.values()]
    axes.fill_betweenx(shares, lows, highs, color=ACCENT, alpha=0.2, linewidth=0.0)
    axes.plot([one.value for one in known.values()], shares, color=ACCENT)
    right = max([*highs, *(1e3 * limit_s for limit_s in limits_s.values())])
    least = min([*shares, *(100.0 * (1.0 - q) for q in limits_s)])
    axes.set(xlim=(0.0, 1.08 * right), ylim=(0.8 * least, 100.0))
    for quantile, limit_s in limits_s.items():
        share = 100.0 * (1.0 - quantile)
        axes.plot([1e3 * limit_s] * 2, [share, 100.0], "--", color=LIMIT, linewidth=1.2)
        axes.plot([0.0, 1e3 * limit_s], [share] * 2, "--", color=LIMIT, linewidth=1.2)
        is_right = 1e3 * limit_s > 0.5 * right
        axes.annotate(
            f"at most {share:.4g} % above {1e3 * limit_s:.4g} ms", (1e3 * limit_s, share),
            xytext=(-4.0 if is_right else 4.0, 4.0), textcoords="offset points",
            ha="right" if is_right else "left", color=LIMIT_TEXT, **_LABEL,
        )  # fmt: skip
    return plot


def draw_frontier(
    spots: Sequence[Spot], chosen: tuple[float, float], limit: Limit, *, is_priced: bool
) -> Plot:
    """The limited quantity over a fleet's price, and the fleets that no fleet as cheap beats.

    Args:
        is_priced: whether costs are prices [USD/h], and not numbers of replicas.
    """
    plot = _plot("price [USD/h]" if is_priced else "replicas", axis_title(limit))
    axes, scale = plot.axes, scale_of(limit)
    drawn = [(x, found.scaled(scale), v) for x, found, v in spots if found.value <= TOP * limit.allowed]
    best = frontier([one for one in drawn if one[2] is Verdict.MET])
    axes.step([x for x, _, _ in best], [found.value for _, found, _ in best], where="post", color=ACCENT)
    _draw_marks(axes, drawn)
    xs = [x for x, _, _ in drawn]
    axes.set(xlim=(0.0, 1.12 * max(xs)), ylim=(0.0, TOP * scale * limit.allowed))
    if not is_priced:
        count_by_whole(axes.xaxis)
    _level(axes, scale * limit.allowed, f"objective {limit.allowed_text}")
    x, y = chosen[0], scale * chosen[1]
    axes.plot([x], [y], "o", markersize=11.0, color=ACCENT, fillstyle="none")
    is_low = y < 0.2 * axes.get_ylim()[1]
    axes.annotate(
        "chosen", (x, y), xytext=(-9.0, 9.0 if is_low else -9.0), textcoords="offset points", ha="right",
        va="bottom" if is_low else "top", color=ACCENT, **_LABEL,
    )  # fmt: skip
    return plot


def frontier(spots: Sequence[Spot]) -> list[Spot]:
    """The spots below which there is no spot that is as cheap or cheaper; rising in price."""
    best: list[Spot] = []
    for spot in sorted(spots, key=lambda one: (one[0], one[1].value)):
        if not best or spot[1].value < best[-1][1].value:
            best.append(spot)
    return best


def shade_ends(window: Window) -> list[int]:
    """Largest batch size of each shade, rising; as many shades as sizes, five at most."""
    sizes = sorted({batch.size for batch in window.batches}) or [1]
    count = min(len(SHADES), len(sizes))
    return [sizes[(len(sizes) * (number + 1)) // count - 1] for number in range(count)]


def shade_of(size: int, ends: Sequence[int]) -> int:
    """Index of a batch size's shade."""
    place = next(number for number, end in enumerate(ends) if size <= end)
    return place if len(ends) == len(SHADES) else place * (len(SHADES) - 1) // max(1, len(ends) - 1)


def draw_window(window: Window) -> Panels:
    """A lane for each replica, a bar for each batch, dark if large; below, the number of waiting requests."""
    from matplotlib.ticker import FuncFormatter

    shown = window.replicas_shown
    panels = new_stack(
        ["replica", "waiting"],
        x_title="time [s]" if window.length_s >= 1.0 else "time [ms]",
        shares=(1.0 + 0.5 * shown, 2.0),
        width=WIDTH,
        height=1.9 + 0.22 * shown,
    )
    lanes, queue = (plot.axes for plot in panels.plots)
    _draw_bars(lanes, window)
    lanes.set(xlim=(0.0, window.length_s), ylim=(shown - 0.5, -0.5))
    lanes.set_yticks(range(shown), [str(number + 1) for number in range(shown)])
    lanes.grid(visible=False)
    lanes.tick_params(length=0.0)
    queue.fill_between(
        window.instants_s, window.waiting, step="post", color=ACCENT, alpha=0.25, linewidth=0.0
    )
    queue.step(window.instants_s, window.waiting, where="post", color=ACCENT, linewidth=1.0)
    queue.set_ylim(0.0, 1.1 * max(1, *window.waiting))
    count_by_whole(queue.yaxis, 3)
    scale = 1.0 if window.length_s >= 1.0 else 1e3
    queue.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{scale * x:.6g}"))
    return panels


def _draw_bars(axes: "Axes", window: Window) -> None:
    """Draw one path for all batches of a shade, which keeps the page small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    ends = shade_ends(window)
    corners: dict[int, list[tuple[float, float]]] = {}
    for batch in window.batches:
        left, right = max(0.0, batch.started_s), min(window.length_s, batch.finished_s)
        low, high = batch.replica - 0.36, batch.replica + 0.36
        square = [(left, low), (right, low), (right, high), (left, high), (left, low)]
        corners.setdefault(shade_of(batch.size, ends), []).extend(square)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    for shade, points in sorted(corners.items()):
        path = Path(points, codes * (len(points) // 5))
        axes.add_patch(PathPatch(path, facecolor=SHADES[shade], edgecolor="#ffffff", linewidth=0.5))


def _plot(x_title: str, y_title: str, *, y_log: bool = False) -> Plot:
    return new_plot(x_title=x_title, y_title=y_title, title="", y_log=y_log, width=WIDTH, height=HEIGHT)


def _draw_marks(axes: "Axes", spots: Sequence[Spot]) -> None:
    for verdict, form in _MARKS.items():
        some = [(x, found.value) for x, found, seen in spots if seen is verdict]
        if some:
            xs, ys = zip(*some, strict=True)
            axes.plot(xs, ys, linestyle="none", markersize=4.0, **form)


def _level(axes: "Axes", y: float, label: str) -> None:
    axes.axhline(y, color=LIMIT, linestyle="--", linewidth=1.2)
    axes.annotate(
        label, (0.0, y), xycoords=("axes fraction", "data"), xytext=(4.0, 3.0), textcoords="offset points",
        color=LIMIT_TEXT, **_LABEL,
    )  # fmt: skip


def _upright(axes: "Axes", x: float, label: str, height: float) -> None:
    """Draw a line at x, with its label on the side that has room."""
    left, right = axes.get_xlim()
    is_right = x > left + 0.5 * (right - left)
    axes.axvline(x, color=GREY, linestyle=":", linewidth=1.2)
    axes.annotate(
        label, (x, height), xycoords=("data", "axes fraction"), xytext=(-4.0 if is_right else 4.0, 0.0),
        textcoords="offset points", ha="right" if is_right else "left", va="top", color=GREY,
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 1.0}, **_LABEL,
    )  # fmt: skip


_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_STYLE = re.compile(r"\s*<style[^>]*>.*?</style>", re.DOTALL)
_SIZE = re.compile(r' (?:width|height)="[^"]*pt"')
_GROUP = re.compile(r'<g id="[^"]*">')  # nothing refers to groups
_FAMILY = re.compile(r" font-family: [^;\"]*;")  # the page has its own
_NAMESPACES = re.compile(r' xmlns(?::\w+)?="[^"]*"')


def inline_svg(figure: Panels, key: str, title: str) -> str:
    """An SVG for a page: without prologue and style, with unique ids, and named for screen readers.

    Args:
        key: beginning of its ids, different for each figure of the page.
        title: plain text without markup, already escaped.
    """
    text = _METADATA.sub("", _PROLOGUE.sub("", figure.svg().decode()))
    text = _NAMESPACES.sub("", _STYLE.sub("", text)).replace("xlink:href", "href")
    text = _FAMILY.sub("", _GROUP.sub("<g>", text))
    text = re.sub(r' id="', f' id="{key}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{key}-", text)
    head, rest = text.split(">", 1)
    named = f'preserveAspectRatio="xMinYMid" role="img" aria-label="{title}"'
    return f"{_SIZE.sub('', head)} {named}>{_without_blanks(rest)}"


def _without_blanks(text: str) -> str:
    return re.sub(r"\n\s*", "\n", text).strip()
