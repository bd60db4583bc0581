"""Plot: one pair of axes that is filled by methods, each kind of source drawn in its own way."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.errors import InputError
from capacity.figures import DASHES, PALETTE
from capacity.heat_map import draw_cells, outline
from capacity.labels import wrapped
from capacity.performance import Interval
from capacity.plot_frame import Frame, style
from capacity.plot_inputs import finite, floats, grid, require_finite, require_same_length
from capacity.plot_labels import LIMIT_COLOR, PlotLabels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS = {
    "theory": "line: theory",
    "simulated": "dot: simulation, with its confidence interval",
    "measured": "square: measured",
}
# How a limit is drawn, and what is claimed.
_DASHED: dict[str, Any] = {"color": LIMIT_COLOR, "linestyle": (0, (4, 3)), "linewidth": 1.0}


class Plot:
    """One pair of axes. Colours count from 0 in `number`, dashes in `dash`; both start again when used up."""

    def __init__(self, axes: "Axes", frame: Frame, labels: PlotLabels) -> None:
        self.axes = axes
        self.figure: Figure = frame.figure
        self.beside: list[Plot] = [self]
        self._frame = frame
        self._labels = labels
        self._keys: set[str] = set()
        self._cells: list[str] = []

    def theory(
        self, x: Sequence[float], y: Sequence[float], label: str = "", *, number: int = 0, dash: int = 0
    ) -> None:
        """A line, named at its end. Where y is not finite, as in an unstable queue, it has a gap.

        Raises:
            InputError: x and y differ in length, or nothing of it can be drawn.
        """
        right, up = floats(x, "x"), floats(y, "y")
        require_same_length(right, up)
        up = [b if self._can_be_drawn(a, b) else math.nan for a, b in zip(right, up, strict=True)]
        if all(map(math.isnan, up)):
            raise InputError("nothing to draw: no value is finite, or none is positive on a logarithmic axis")
        with style():
            self.axes.plot(right, up, color=_color(number), linestyle=DASHES[dash % len(DASHES)])
            if label:
                self._labels.add_series(label, _color(number), *finite(right, up))
        self._keys.add("theory")

    def simulated(
        self, x: Sequence[float], intervals: Sequence[Interval], label: str = "", *, number: int = 0
    ) -> None:
        """Points, each with a bar along its interval.

        Raises:
            InputError: x and intervals differ in length, or one of them cannot be drawn.
        """
        self._draw_points(floats(x, "x"), intervals, label, number, {"fmt": "o", "markersize": 4.0})
        self._keys.add("simulated")

    def measured(
        self,
        x: Sequence[float],
        y: Sequence[float],
        label: str = "",
        *,
        number: int = 0,
        intervals: Sequence[Interval] | None = None,
    ) -> None:
        """Open squares, with bars where intervals are given.

        Raises:
            InputError: lengths differ, or a value cannot be drawn.
        """
        up = floats(y, "y")
        spans = [Interval.exact(value) for value in up] if intervals is None else list(intervals)
        require_same_length(up, spans)
        form = {"fmt": "s", "markersize": 4.5, "markerfacecolor": "white"}
        self._draw_points(floats(x, "x"), spans, label, number, form)
        self._keys.add("measured")

    def bars(
        self,
        names: Sequence[str],
        values: Sequence[float],
        *,
        number: int = 0,
        intervals: Sequence[Interval] | None = None,
    ) -> None:
        """Bars to the right, the first on top, each with its value written at its end.

        Raises:
            InputError: lengths differ, or a value is not finite.
        """
        lengths = floats(values, "values")
        spans = [Interval.exact(value) for value in lengths] if intervals is None else list(intervals)
        require_same_length(names, lengths)
        require_same_length(lengths, spans)
        require_finite(lengths)
        places = range(len(lengths))
        with style():
            self.axes.barh(places, lengths, height=0.6, color=_color(number))
            if intervals is not None:
                errors = [[s.value - s.low for s in spans], [s.high - s.value for s in spans]]
                self.axes.errorbar(
                    lengths, places, xerr=errors, fmt="none", ecolor="black", elinewidth=1.2, capsize=2.5
                )
            for place, value, span in zip(places, lengths, spans, strict=True):
                at = (max(value, span.high), place)
                self.axes.annotate(
                    f"{value:.4g}", at, (4.0, 0.0), textcoords="offset points", va="center", clip_on=False
                )
            self.axes.set_yticks(places, [wrapped(name) for name in names])
            self.axes.set_ylim(len(lengths) - 0.4, -0.6)
            self.axes.grid(visible=False, axis="y")
            self.axes.margins(x=0.12)

    def heat_map(
        self,
        columns: Sequence[object],
        rows: Sequence[object],
        values: Sequence[Sequence[float]],
        *,
        accepted: Sequence[Sequence[bool]] | None = None,
        unit: str = "",
        outlined: str = "accepted",
        missing: str = "refused",
    ) -> None:
        """A number in each cell, rows from below; what is accepted is outlined, and nan is a dash.

        The key above the figure says what outline and dash mean: `outlined` and `missing`.

        Raises:
            InputError: values or accepted are not one row for each of rows, one cell for each column.
        """
        cells = grid(values, columns, rows, "values")
        region = None if accepted is None else grid(accepted, columns, rows, "accepted")
        with style():
            draw_cells(self.axes, [str(name) for name in columns], [str(name) for name in rows], cells)
            if region is not None:
                outline(self.axes, [[bool(cell) for cell in row] for row in region])
        has_gaps = any(math.isnan(cell) for row in cells for cell in row)
        told = {"cells": unit, "outlined": outlined if region is not None else ""}
        told["–"] = missing if has_gaps else ""
        self._cells = [f"{mark}: {meaning}" for mark, meaning in told.items() if meaning]

    def limit(self, value: float, label: str, *, axis: str = "y") -> None:
        """A thin dashed line for an objective or a wall: level at a y, or upright at an x.

        Raises:
            InputError: an axis other than x and y, or a value that cannot be drawn.
        """
        if axis not in ("x", "y"):
            raise InputError(f'axis must be "x" or "y", got {axis!r}')
        require_finite([value])
        with style():
            if axis == "y":
                self.axes.axhline(value, **_DASHED)
                self._labels.add_limit(label, float(value))
            else:
                self.axes.axvline(value, **_DASHED)
                self._labels.add_wall(label, float(value))

    def reference(self, x: Sequence[float], y: Sequence[float], label: str = "") -> None:
        """A thin dashed line for what is claimed or would be ideal, named at its end if it has a name.

        Raises:
            InputError: x and y differ in length, or a point cannot be drawn.
        """
        right, up = floats(x, "x"), floats(y, "y")
        require_same_length(right, up)
        if not all(map(self._can_be_drawn, right, up)):
            raise InputError("a point not finite, or at 0 or below on a logarithmic axis, cannot be drawn")
        with style():
            self.axes.plot(right, up, **_DASHED)
            if label:
                self._labels.add_series(label, LIMIT_COLOR, right, up)

    def note(self, x: float, y: float, text: str) -> None:
        """A text near a data point, with a short pointer to it.

        Raises:
            InputError: the point cannot be drawn.
        """
        require_finite([x, y])
        with style():
            self._labels.add_note(float(x), float(y), text)

    def key(self) -> list[str]:
        """What the marks of the figure mean, where there is more than lines."""
        seen = set().union(*(plot._keys for plot in self.beside))
        kinds = [words for key, words in KEYS.items() if key in seen]
        cells = dict.fromkeys(words for plot in self.beside for words in plot._cells)
        return [*cells, *([] if seen == {"theory"} else kinds)]

    def save(self, path: Path) -> None:
        """Write the figure as `.png` or `.svg`; the same data give the same bytes.

        Raises:
            InputError: another suffix, or a path that cannot be written.
            DependencyError: the disk failed.
        """
        self._frame.save(Path(path), self.key())

    def png(self) -> bytes:
        """The figure as the bytes of a PNG, as a notebook shows it."""
        return self._frame.png(self.key())

    def _repr_png_(self) -> bytes:
        return self.png()

    def _draw_points(
        self, x: list[float], intervals: Sequence[Interval], label: str, number: int, form: dict[str, Any]
    ) -> None:
        require_same_length(x, intervals)
        values = [span.value for span in intervals]
        require_finite([*x, *(end for span in intervals for end in (span.low, span.value, span.high))])
        if not all(self._can_be_drawn(a, b) for a, b in zip(x, values, strict=True)):
            raise InputError("a point at 0 or below cannot be drawn on a logarithmic axis; leave it out")
        below = [span.value - span.low for span in intervals]
        above = [span.high - span.value for span in intervals]
        line: dict[str, Any] = {"color": _color(number), "elinewidth": 1.2, "capsize": 2.5, "zorder": 3.0}
        with style():
            self.axes.errorbar(x, values, yerr=[below, above], **form, **line)
            self._labels.add_points(x, [(span.low, span.high) for span in intervals])
            if label:
                self._labels.add_series(label, _color(number), x, values)

    def _can_be_drawn(self, x: float, y: float) -> bool:
        x_fits = x > 0.0 or self.axes.get_xscale() != "log"
        y_fits = y > 0.0 or self.axes.get_yscale() != "log"
        return math.isfinite(x) and math.isfinite(y) and x_fits and y_fits


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
