"""Heat maps: a number in each cell, dark where it is large, and edges around the accepted cells."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from capacity.curves import LINEAR_RATIO_MAX
from capacity.figures import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFUSED_COLOR = "#dddddd"
DARK_SHARE = 0.55  # from here on, the colour is dark enough for white letters


def draw_cells(
    axes: "Axes", columns: Sequence[str], rows: Sequence[str], values: Sequence[Sequence[float]]
) -> None:
    """The cells with their numbers, rows from below; grey with a dash where a value is not finite."""
    import matplotlib as mpl
    from matplotlib.colors import Normalize

    shares = _shares(values)
    colors = mpl.colormaps["Blues"].with_extremes(bad=REFUSED_COLOR)
    norm = Normalize(0.0, 1.15)  # the darkest blue leaves no room for an outline
    axes.imshow(shares, cmap=colors, norm=norm, origin="lower", aspect="auto", interpolation="none")
    for row, (numbers, cells) in enumerate(zip(values, shares, strict=True)):
        for column, (value, share) in enumerate(zip(numbers, cells, strict=True)):
            text = f"{value:.3g}" if math.isfinite(value) else "–"
            color = "white" if share > DARK_SHARE else "#222222"
            axes.text(column, row, text, ha="center", va="center", color=color)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0.0)
    axes.grid(visible=False)
    axes.set(xlim=(-0.55, len(columns) - 0.45), ylim=(-0.55, len(rows) - 0.45))


def _shares(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """How dark each cell is, from 0 to 1; by the logarithm where values lie far apart."""
    known = [value for row in values for value in row if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scaled = math.log if low > 0.0 and high > LINEAR_RATIO_MAX * low / 10.0 else float
    width = (scaled(high) - scaled(low) or 1.0) if known else 1.0
    return [
        [(scaled(value) - scaled(low)) / width if math.isfinite(value) else math.nan for value in row]
        for row in values
    ]


def outline(axes: "Axes", accepted: Sequence[Sequence[bool]]) -> None:
    """A thick edge around what is accepted, pale beneath, so that it is seen on light and dark cells."""
    for color, width in (("white", 4.6), (PALETTE[1], 2.6)):
        for x, y in steps_between(accepted):
            axes.plot(x, y, color=color, linewidth=width, solid_capstyle="projecting")


def steps_between(accepted: Sequence[Sequence[bool]]) -> list[tuple[list[float], list[float]]]:
    """Edges between accepted and other cells of a heat map, outer edges of accepted ones included."""
    edge = [False] * (len(accepted[0]) + 2)
    padded = [edge, *([False, *row, False] for row in accepted), edge]
    upright = [
        ([c - 0.5, c - 0.5], [r - 1.5, r - 0.5])
        for r, row in enumerate(padded)
        for c, (left, right) in enumerate(pairwise(row))
        if left != right
    ]
    level = [
        ([c - 1.5, c - 0.5], [r - 0.5, r - 0.5])
        for r, (below, above) in enumerate(pairwise(padded))
        for c, (low, high) in enumerate(zip(below, above, strict=True))
        if low != high
    ]
    return upright + level
