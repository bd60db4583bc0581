"""Figures: curves drawn by matplotlib in the one style of this project, and written as PNG or SVG.

A line is named where it ends, in its own colour, so that no eye travels to a legend. Everything is
drawn through objects: no window, no state of pyplot, the same bytes for the same curves.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.curves import Axis, Curve, chart_title, require_one_chart, y_range
from capacity.labels import AWAY, Spot, beside, column, move, new_name, paths_of, size
from capacity.writing import check_target, format_suffix, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

# Okabe & Ito (2008), Color Universal Design, without yellow, which is lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
FORMATS: dict[str, dict[str, None]] = {  # by suffix: what would differ from day to day, left out
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine measures the same
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text: searchable, and read aloud
    "svg.hashsalt": "capacity",
}
# Everything below is in points, 1/72 inch, as matplotlib's text is.
_WIDTH, _HEIGHT = 540.0, 310.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 58.0, 10.0, 42.0, 48.0
_TITLE_STRIP = 26.0


def draw_curves(lines: Sequence[Curve]) -> "Figure":
    """The curves in one pair of axes, each named at its end; logarithmic upwards where a tail needs it.

    Raises:
        InputError: no curve, more than 24, or curves whose axes differ.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = require_one_chart(lines)
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(dpi=72.0)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        names = [_draw_line(axes, line, number) for number, line in enumerate(lines)]
        _set_scales(axes, lines)
        axes.set(xlabel=first.axis.axis_title, ylabel=first.quantity.axis_title)
        _lay_out(figure, axes, names)
        x, y = _LEFT / figure.bbox.width, 1.0 - 8.0 / figure.bbox.height
        figure.text(x, y, chart_title(lines), va="top", fontsize=10.5, fontweight="bold")
        _place(figure, axes, lines, names)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as its suffix says, `.png` or `.svg`; the same figure gives the same bytes.

    The file is whole, or what was there before.

    Raises:
        InputError: another suffix, or a path that cannot be written.
        DependencyError: the disk failed.
    """
    import matplotlib.style

    check_target(path, "a figure", FORMATS)
    suffix, data = format_suffix(path, FORMATS), BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        figure.savefig(data, format=suffix[1:], metadata=FORMATS[suffix])
    write_whole(path, data.getvalue())


def _draw_line(axes: "Axes", line: Curve, number: int) -> "Annotation":
    """One line and its name, which is placed later: where depends on all the others."""
    color = PALETTE[number % len(PALETTE)]
    axes.plot(line.x, line.y, color=color, linestyle=DASHES[number // len(PALETTE)])
    return new_name(axes, line.label, color, (line.x[-1], line.y[-1]))


def _set_scales(axes: "Axes", lines: Sequence[Curve]) -> None:
    """x from 0 to the last wall; y from 0, or over a few decades."""
    low, top = y_range(lines)
    axes.set_xlim(0.0, max(line.x[-1] for line in lines))
    if low > 0.0:
        axes.set_yscale("log")
    axes.set_ylim(low, (1.1 if low > 0.0 else 1.04) * top)


def _lay_out(figure: "Figure", axes: "Axes", names: Sequence["Annotation"]) -> None:
    """Size of the figure and its axes: room at the right for the widest name, and for all in height."""
    sizes = [size(name) for name in names]
    right = max(width for width, _ in sizes) + 1.5 * AWAY + _RIGHT
    height = max(_HEIGHT, sum(height for _, height in sizes) + _BOTTOM + _TOP)
    figure.set_size_inches(_WIDTH / 72.0, height / 72.0)
    across, up = 1.0 - (_LEFT + right) / _WIDTH, 1.0 - (_BOTTOM + _TOP) / height
    axes.set_position((_LEFT / _WIDTH, _BOTTOM / height, across, up))


def _place(figure: "Figure", axes: "Axes", lines: Sequence[Curve], names: Sequence["Annotation"]) -> None:
    """Names beside the ends where all have room there, otherwise in a column at the right."""
    low = axes.get_ylim()[0]  # a line may end below a logarithmic axis; its name does not
    for name, line in zip(names, lines, strict=True):
        name.xy = (line.x[-1], max(line.y[-1], low))
    ends: list[Spot] = [tuple(axes.transData.transform(name.xy)) for name in names]
    sizes = [size(name) for name in names]
    top = figure.bbox.height - _TITLE_STRIP
    spots = None
    if lines[0].axis is not Axis.UTILIZATION:  # there, all lines end at one x
        spots = beside(ends, sizes, right=figure.bbox.width - 2.0, top=top, paths=paths_of(axes))
    if spots is None:
        left = max(end[0] for end in ends) + 1.5 * AWAY
        spots = column(ends, sizes, left=left, low=_BOTTOM / 2.0, high=top)
    for name, end, spot in zip(names, ends, spots, strict=True):
        move(name, end, spot)
