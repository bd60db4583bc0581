"""Plots for notebooks and commands: theory as lines, simulation as points with bars, each named directly.

A plot is filled by its methods and laid out when it is shown or saved; no window and no state of pyplot.
`axes` is matplotlib's own, for the little that is not offered here.
"""

import math
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.errors import InputError
from capacity.figures import DASHES, PALETTE
from capacity.heat_map import draw_cells, outline
from capacity.labels import wrapped
from capacity.performance import Interval
from capacity.plot_frame import Frame, new_figure, style
from capacity.plot_labels import LIMIT_COLOR, PlotLabels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS = {
    "theory": "line: theory",
    "simulated": "dot: simulation, with its confidence interval",
    "measured": "square: measured",
    "accepted": "outlined: accepted",
    "refused": "–: refused",
}


def new_plot(
    *,
    x_title: str,
    y_title: str,
    title: str,
    x_log: bool = False,
    y_log: bool = False,
    width: float = 7.5,
    height: float = 4.3,
) -> "Plot":
    """An empty plot. Titles of axes carry their units; width and height in inches, at 9 point letters."""
    with style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        _set_axes(axes, x_title, y_title, x_log=x_log, y_log=y_log)
        frame = Frame(figure, title, [axes])
    return Plot(axes, frame, frame.labels[0])


def new_panels(
    titles: Sequence[str],
    *,
    x_title: str,
    y_title: str,
    title: str,
    x_log: bool = False,
    y_log: bool = False,
    share_y: bool = True,
    width: float = 11.0,
    height: float = 4.0,
) -> "Panels":
    """Empty plots side by side in one figure, one for each title.

    Args:
        share_y: whether all have one y axis, whose numbers stand at the first.
    """
    if not titles:
        raise InputError("panels need at least one title, got none")
    with style():
        figure = new_figure(width, height)
        every: list[Axes] = []
        for number in range(len(titles)):
            place = (number / len(titles), 0.1, 0.8 / len(titles), 0.7)
            every.append(figure.add_axes(place, sharey=every[0] if share_y and every else None))
            first = not share_y or number == 0
            _set_axes(every[-1], x_title, y_title if first else "", x_log=x_log, y_log=y_log)
            every[-1].tick_params(labelleft=first)
        frame = Frame(figure, title, every, titles)
    return Panels(frame)


class Panels:
    """Plots side by side: `plots`, each filled as any plot is."""

    def __init__(self, frame: Frame) -> None:
        self.figure: Figure = frame.figure
        self.plots = [Plot(axes, frame, own) for axes, own in zip(frame.axes, frame.labels, strict=True)]
        self._frame = frame
        for plot in self.plots:
            plot.beside = self.plots

    def save(self, path: Path) -> None:
        """Write all of them as one `.png` or `.svg`; the same data give the same bytes."""
        self.plots[0].save(path)

    def _repr_png_(self) -> bytes:
        return self._frame.png(self.plots[0].key())


class Plot:
    """One pair of axes. Colours count from 0 in `number`, dashes in `dash`; both start again when used up."""

    def __init__(self, axes: "Axes", frame: Frame, labels: PlotLabels) -> None:
        self.axes = axes
        self.figure: Figure = frame.figure
        self.beside: list[Plot] = [self]
        self._frame = frame
        self._labels = labels
        self._keys: set[str] = set()
        self._unit = ""

    def theory(
        self, x: Sequence[float], y: Sequence[float], label: str = "", *, number: int = 0, dash: int = 0
    ) -> None:
        """A line, named at its end. Where y is not finite, as in an unstable queue, it has a gap.

        Raises:
            InputError: x and y differ in length, or nothing of it can be drawn.
        """
        right, up = _floats(x, "x"), _floats(y, "y")
        _require_same_length(right, up)
        up = [b if self._can_be_drawn(a, b) else math.nan for a, b in zip(right, up, strict=True)]
        if all(map(math.isnan, up)):
            raise InputError("nothing to draw: no value is finite, or none is positive on a logarithmic axis")
        with style():
            self.axes.plot(right, up, color=_color(number), linestyle=DASHES[dash % len(DASHES)])
            if label:
                self._labels.add_series(label, _color(number), *_finite(right, up))
        self._keys.add("theory")

    def simulated(
        self, x: Sequence[float], intervals: Sequence[Interval], label: str = "", *, number: int = 0
    ) -> None:
        """Points, each with a bar along its interval.

        Raises:
            InputError: x and intervals differ in length, or one of them cannot be drawn.
        """
        self._draw_points(_floats(x, "x"), intervals, label, number, {"fmt": "o", "markersize": 4.0})
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
        up = _floats(y, "y")
        spans = [Interval.exact(value) for value in up] if intervals is None else list(intervals)
        _require_same_length(up, spans)
        form = {"fmt": "s", "markersize": 4.5, "markerfacecolor": "white"}
        self._draw_points(_floats(x, "x"), spans, label, number, form)
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
        lengths = _floats(values, "values")
        spans = [Interval.exact(value) for value in lengths] if intervals is None else list(intervals)
        _require_same_length(names, lengths)
        _require_same_length(lengths, spans)
        _require_finite(lengths)
        places = range(len(lengths))
        with style():
            self.axes.barh(places, lengths, height=0.6, color=_color(number))
            if intervals is not None:
                errors = [[s.value - s.low for s in spans], [s.high - s.value for s in spans]]
                self.axes.errorbar(lengths, places, xerr=errors, fmt="none", ecolor="black", capsize=2.5)
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
    ) -> None:
        """A number in each cell, rows from below; what is accepted is outlined, and nan is refused.

        Raises:
            InputError: values or accepted are not one row for each of rows, one cell for each column.
        """
        cells = _grid(values, columns, rows, "values")
        with style():
            draw_cells(self.axes, [str(name) for name in columns], [str(name) for name in rows], cells)
            if accepted is not None:
                region = [[bool(cell) for cell in row] for row in _grid(accepted, columns, rows, "accepted")]
                outline(self.axes, region)
                self._keys.add("accepted")
        if any(math.isnan(cell) for row in cells for cell in row):
            self._keys.add("refused")
        self._unit = unit

    def limit(self, value: float, label: str, *, axis: str = "y") -> None:
        """A thin dashed line for an objective or a wall: level at a y, or upright at an x.

        Raises:
            InputError: an axis other than x and y, or a value that cannot be drawn.
        """
        if axis not in ("x", "y"):
            raise InputError(f'axis must be "x" or "y", got {axis!r}')
        _require_finite([value])
        with style():
            if axis == "y":
                self.axes.axhline(value, color=LIMIT_COLOR, linestyle=(0, (4, 3)), linewidth=1.0)
                self._labels.add_limit(label, float(value))
            else:
                self.axes.axvline(value, color=LIMIT_COLOR, linestyle=(0, (4, 3)), linewidth=1.0)
                self._labels.add_wall(label, float(value))

    def note(self, x: float, y: float, text: str) -> None:
        """A text near a data point, with a short pointer to it.

        Raises:
            InputError: the point cannot be drawn.
        """
        _require_finite([x, y])
        with style():
            self._labels.add_note(float(x), float(y), text)

    def key(self) -> list[str]:
        """What the marks of the figure mean, where there is more than lines."""
        seen = set().union(*(plot._keys for plot in self.beside))
        units = sorted({plot._unit for plot in self.beside} - {""})
        kinds = [words for key, words in KEYS.items() if key in seen]
        return [f"cells: {unit}" for unit in units] + ([] if seen == {"theory"} else kinds)

    def save(self, path: Path) -> None:
        """Write the figure as `.png` or `.svg`; the same data give the same bytes.

        Raises:
            InputError: another suffix, or a path that cannot be written.
            DependencyError: the disk failed.
        """
        self._frame.save(Path(path), self.key())

    def _repr_png_(self) -> bytes:
        return self._frame.png(self.key())

    def _draw_points(
        self, x: list[float], intervals: Sequence[Interval], label: str, number: int, form: dict[str, Any]
    ) -> None:
        _require_same_length(x, intervals)
        values = [span.value for span in intervals]
        _require_finite([*x, *(end for span in intervals for end in (span.low, span.value, span.high))])
        if not all(self._can_be_drawn(a, b) for a, b in zip(x, values, strict=True)):
            raise InputError("a point at 0 or below cannot be drawn on a logarithmic axis; leave it out")
        below = [span.value - span.low for span in intervals]
        above = [span.high - span.value for span in intervals]
        with style():
            line = {"color": _color(number), "elinewidth": 1.2, "capsize": 2.5, "zorder": 3.0}
            self.axes.errorbar(x, values, yerr=[below, above], **form, **line)
            self._labels.add_points(x, [(span.low, span.high) for span in intervals])
            if label:
                self._labels.add_series(label, _color(number), x, values)

    def _can_be_drawn(self, x: float, y: float) -> bool:
        x_fits = x > 0.0 or self.axes.get_xscale() != "log"
        y_fits = y > 0.0 or self.axes.get_yscale() != "log"
        return math.isfinite(x) and math.isfinite(y) and x_fits and y_fits


def _set_axes(axes: "Axes", x_title: str, y_title: str, *, x_log: bool, y_log: bool) -> None:
    axes.set(xlabel=x_title, ylabel=y_title)
    if x_log:
        axes.set_xscale("log")
    if y_log:
        axes.set_yscale("log", nonpositive="clip")
    axes.margins(x=0.02, y=0.06)


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def _floats(values: Sequence[float], what: str) -> list[float]:
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a sequence of numbers") from None
    if not found:
        raise InputError(f"{what} must have at least one value, got none")
    return found


def _finite(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
    return [a for a, _ in points], [b for _, b in points]


def _require_same_length(one: Sized, other: Sized) -> None:
    if len(one) != len(other):
        raise InputError(f"lengths differ: {len(one)} and {len(other)}; give one value for each")


def _require_finite(values: Sequence[float]) -> None:
    wrong = next((value for value in values if not math.isfinite(value)), None)
    if wrong is not None:
        raise InputError(f"cannot draw {wrong}: values, points and ends of intervals must be finite")


def _grid(
    cells: Sequence[Sequence[float]], columns: Sequence[object], rows: Sequence[object], what: str
) -> list[list[float]]:
    found = [_floats(row, what) for row in cells]
    if not found or len(found) != len(rows) or any(len(row) != len(columns) for row in found):
        raise InputError(f"{what} must be {len(rows)} rows of {len(columns)} cells, one for each name")
    return found
