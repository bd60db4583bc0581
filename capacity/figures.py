"""Figures: curves drawn by matplotlib in the one style of this project, and written as PNG or SVG.

A line is named where it ends, in its own colour, so that no eye travels to a legend. Everything is
drawn through objects: no window, no state of pyplot, the same bytes for the same curves.
"""

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.curves import Axis, Curve, chart_title, require_one_chart, y_range
from capacity.errors import DependencyError, InputError
from capacity.reading import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Path2D
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

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
_POINTER = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0.0, 0.5), "shrinkA": 1.0}
# Everything below is in points, 1/72 inch, as matplotlib's text is.
_WIDTH, _HEIGHT = 540.0, 310.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 58.0, 10.0, 42.0, 48.0
_TITLE_STRIP = 26.0
_AWAY = 7.0  # from the end of a line to its name
_LINE = 12.0
_LABEL_CHARACTERS = 26


Spot = tuple[float, float]


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

    Raises:
        InputError: another suffix, or a path that cannot be written.
        DependencyError: the disk failed.
    """
    import matplotlib.style

    suffix, shown = path.suffix.lower(), printable(str(path))
    if suffix not in FORMATS:
        raise InputError(f"cannot write {shown}: a figure is a .png or a .svg file; use one of the two")
    data = BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        figure.savefig(data, format=suffix[1:], metadata=FORMATS[suffix])
    try:
        path.write_bytes(data.getvalue())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot write {shown}: {error.strerror}; check the path") from None
    except ValueError:
        raise InputError(f"cannot write {shown}: not a valid path; check the path") from None
    except OSError as error:
        raise DependencyError(f"cannot write {shown}: {error.strerror}; free or change the disk") from None


def _draw_line(axes: "Axes", line: Curve, number: int) -> "Annotation":
    """One line and its name, which is placed later: where depends on all the others."""
    color = PALETTE[number % len(PALETTE)]
    axes.plot(line.x, line.y, color=color, linestyle=DASHES[number // len(PALETTE)])
    return axes.annotate(
        _wrapped(line.label),
        xy=(line.x[-1], line.y[-1]),
        xytext=(0.0, 0.0),
        textcoords="offset points",
        va="center",
        color=_darker(color),
        annotation_clip=False,
        arrowprops={"color": color, **_POINTER},
    )


def _wrapped(label: str) -> str:
    """A label in short lines, what is in brackets on its own."""
    parts = label.replace(" (", "\n(").split("\n")
    return "\n".join(textwrap.fill(part, _LABEL_CHARACTERS) for part in parts)


def _darker(color: str) -> tuple[float, ...]:
    """A line's colour dark enough for small letters on white."""
    from matplotlib.colors import to_rgb

    return tuple(0.7 * share for share in to_rgb(color))


def _set_scales(axes: "Axes", lines: Sequence[Curve]) -> None:
    """x from 0 to the last wall; y from 0, or over a few decades."""
    low, top = y_range(lines)
    axes.set_xlim(0.0, max(line.x[-1] for line in lines))
    if low > 0.0:
        axes.set_yscale("log")
    axes.set_ylim(low, (1.1 if low > 0.0 else 1.04) * top)


def _lay_out(figure: "Figure", axes: "Axes", names: Sequence["Annotation"]) -> None:
    """Size of the figure and its axes: room at the right for the widest name, and for all in height."""
    sizes = [_size(name) for name in names]
    right = max(width for width, _ in sizes) + 1.5 * _AWAY + _RIGHT
    height = max(_HEIGHT, sum(height for _, height in sizes) + _BOTTOM + _TOP)
    figure.set_size_inches(_WIDTH / 72.0, height / 72.0)
    across, up = 1.0 - (_LEFT + right) / _WIDTH, 1.0 - (_BOTTOM + _TOP) / height
    axes.set_position((_LEFT / _WIDTH, _BOTTOM / height, across, up))


def _place(figure: "Figure", axes: "Axes", lines: Sequence[Curve], names: Sequence["Annotation"]) -> None:
    """Names beside the ends where all have room there, otherwise in a column at the right."""
    low = axes.get_ylim()[0]  # a line may end below a logarithmic axis; its name does not
    for name, line in zip(names, lines, strict=True):
        name.xy = (line.x[-1], max(line.y[-1], low))
    ends = [tuple(axes.transData.transform(name.xy)) for name in names]
    sizes = [_size(name) for name in names]
    at_one_x = lines[0].axis is Axis.UTILIZATION
    spots = None if at_one_x else _beside(figure, axes, ends, sizes)
    if spots is None:
        spots = _column(figure, ends, sizes)
    for name, (x, y), (spot_x, spot_y) in zip(names, ends, spots, strict=True):
        name.xyann = (spot_x - x, spot_y - y)
        near = abs(spot_y - y) < _LINE / 3.0 and spot_x - x < 2.0 * _AWAY
        if near and name.arrow_patch is not None:  # a pointer would be clutter
            name.arrow_patch.set_visible(False)


def _beside(figure: "Figure", axes: "Axes", ends: Sequence[Spot], sizes: Sequence[Spot]) -> list[Spot] | None:
    """Right of each end, raised until no line and no other name is in the way; None where one has no room."""
    paths = [line.get_path().transformed(axes.transData) for line in axes.lines]
    spots: dict[int, Spot] = {}
    taken: list[Bbox] = []
    for index in sorted(range(len(ends)), key=lambda i: (-ends[i][0], ends[i][1])):
        x, y = ends[index][0] + _AWAY, ends[index][1]
        rises = [_box(x, y + half * _LINE / 2.0, sizes[index]) for half in range(8)]
        free = next((box for box in rises if _is_free(figure, box, taken, paths)), None)
        if free is None:
            return None
        taken.append(free)
        spots[index] = (x, (free.y0 + free.y1) / 2.0)
    return [spots[index] for index in range(len(ends))]


def _is_free(figure: "Figure", box: "Bbox", taken: "Sequence[Bbox]", paths: "Sequence[Path2D]") -> bool:
    """Whether a name may stand there: in the figure, below the title, on no other name and no line."""
    if box.x1 > figure.bbox.width - 2.0 or box.y1 > figure.bbox.height - _TITLE_STRIP:
        return False
    if any(box.overlaps(other) for other in taken):
        return False
    return not any(path.intersects_bbox(box, filled=False) for path in paths)


def _column(figure: "Figure", ends: Sequence[Spot], sizes: Sequence[Spot]) -> list[Spot]:
    """One below the other at the right, in the order of the ends, moved no further than needed."""
    x = max(end[0] for end in ends) + 1.5 * _AWAY
    order = sorted(range(len(ends)), key=lambda i: (ends[i][1], -i))
    heights = [sizes[i][1] for i in order]
    low, high = _BOTTOM / 2.0, figure.bbox.height - _TITLE_STRIP
    y = dict(zip(order, _spread([ends[i][1] for i in order], heights, low, high), strict=True))
    return [(x, y[index]) for index in range(len(ends))]


def _spread(centres: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres moved apart until no two overlap: least squares with the order kept, within low and high.

    Less what lies below each, they need only not fall: pool adjacent violators, Barlow et al. (1972).
    """
    below = [sum(heights[:i]) + heights[i] / 2.0 for i in range(len(heights))]
    pools: list[tuple[float, int]] = []
    for centre, offset in zip(centres, below, strict=True):
        mean, count = centre - offset, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [
        min(max(mean, low), high - sum(heights)) + offset for mean, offset in zip(flat, below, strict=True)
    ]


def _box(left: float, centre: float, size: Spot) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(left, centre - size[1] / 2.0, *size)


def _size(name: "Annotation") -> Spot:
    """Width and height of a text, with a little air above and below."""
    from matplotlib.text import Text

    box = Text.get_window_extent(name)  # not the annotation's own, which counts the pointer too
    return box.width, box.height + 1.5
