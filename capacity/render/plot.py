"""Plots by matplotlib: theory as lines, simulation as points with bars, one legend.

It opens no window and uses no state of pyplot. `axes` of a plot is matplotlib's own, for what is not offered here.
"""

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.errors import InputError
from capacity.files import check_target, format_suffix, write_whole
from capacity.performance import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe & Ito (2008), Color Universal Design, without yellow, which is lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
LIMITS: tuple[Any, ...] = ("--", "-.", ":", (0.0, (9.0, 3.0)))
# Colours on a dark page: paper and ink change places, lines stay apart.
DARK = {
    "#ffffff": "#0d1117", "#000000": "#e6e6e6", "#444444": "#b0b7c0", "#e4e4e4": "#30363d",
    "#dddddd": "#30363d", "#0072b2": "#58a6ff", "#d55e00": "#ff8c42", "#009e73": "#3fb98a",
}  # fmt: skip
GREY, PALE = "#444444", "#dddddd"
_DARK_SHARE = 0.8  # from there on white stands out from the blue of a heat map more than black does
KINDS: dict[str, dict[str, Any]] = {
    "theory": {},
    "simulation, with its interval": {"marker": "o", "markersize": 4.0, "linestyle": "none"},
    "measured": {"marker": "s", "markersize": 4.5, "markerfacecolor": "white", "linestyle": "none"},
}
THEORY, SIMULATED, MEASURED = KINDS
FORMATS: dict[str, dict[str, Any]] = {  # by suffix; metadata that would change from day to day is left out
    ".png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 4}},  # 6 is slower, no smaller
    ".svg": {"metadata": {"Date": None, "Creator": None}},
}
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine measures the same
    "font.size": 9.0,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.dpi": 150,
    "svg.fonttype": "none",  # text stays text: searchable, and read aloud
    "svg.hashsalt": "capacity",
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
    return new_panels(
        [""],
        x_title=x_title,
        y_title=y_title,
        title=title,
        x_log=x_log,
        y_log=y_log,
        width=width,
        height=height,
    ).plots[0]


def new_panels(
    titles: Sequence[str],
    *,
    x_title: str,
    y_title: str | Sequence[str],
    title: str,
    x_log: bool = False,
    y_log: bool = False,
    width: float = 11.0,
    height: float = 4.0,
) -> "Panels":
    """Empty plots side by side in one figure, one for each title.

    Args:
        y_title: one if all share a y axis, with its numbers at the first panel; else one for each.

    Raises:
        InputError: no title, or more or fewer y_titles than panels.
    """
    is_shared = isinstance(y_title, str)
    y_titles = [y_title] * len(titles) if isinstance(y_title, str) else list(y_title)
    if not titles or len(y_titles) != len(titles):
        raise InputError(f"{len(titles)} panels need a title each, and one y_title or {len(titles)}")
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height))
        figure.suptitle(textwrap.fill(title, int(10.0 * width)), x=0.01, ha="left")
        grid = figure.subplots(1, len(titles), sharey=is_shared, squeeze=False)[0]
        for axes, heading, name in zip(grid, titles, y_titles, strict=True):
            axes.set(title=heading, xlabel=x_title, ylabel=name)
            axes.set(xscale="log" if x_log else "linear", yscale="log" if y_log else "linear")
            axes.margins(x=0.02, y=0.06)
            if is_shared:
                axes.label_outer()
    plots: list[Plot] = []
    plots += [Plot(figure, plots, axes) for axes in grid]
    return Panels(figure, plots)


def new_stack(
    y_titles: Sequence[str], *, x_title: str, shares: Sequence[float], width: float = 7.5, height: float = 4.3
) -> "Panels":
    """Empty plots one above the other, which share their x axis and have no titles.

    Args:
        shares: share of the height of each plot.
    """
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height))
        grid = figure.subplots(
            len(y_titles), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(shares)}
        )[:, 0]
        for axes, name in zip(grid, y_titles, strict=True):
            axes.set(ylabel=name, xlabel=x_title)
            axes.margins(x=0.0, y=0.06)
            axes.label_outer()
    plots: list[Plot] = []
    plots += [Plot(figure, plots, axes) for axes in grid]
    return Panels(figure, plots)


class Panels:
    """Plots in one figure, each filled like any plot; one legend if all need the same."""

    def __init__(self, figure: "Figure", plots: "list[Plot]") -> None:
        self.figure = figure
        self.plots = plots

    def save(self, path: Path) -> None:
        """Write the figure as `.png` or `.svg`, whole; the same data give the same bytes.

        Raises:
            InputError: another suffix, or a path that cannot be written.
            DependencyError: the disk failed.
        """
        path = Path(path)
        check_target(path, "a figure", FORMATS)
        write_whole(path, self._drawn(format_suffix(path, FORMATS)))

    def png(self) -> bytes:
        """The figure as the bytes of a PNG, as a notebook shows it."""
        return self._drawn(".png")

    _repr_png_ = png

    def svg(self) -> bytes:
        """The figure as the bytes of an SVG, as `save` writes it."""
        return self._drawn(".svg")

    def _drawn(self, suffix: str) -> bytes:
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        data = BytesIO()
        with _style():
            self._write_legends()
            for plot in self.plots:
                _set_view(plot.axes)
                plot.axes.set_position(plot.place)  # a second layout begins like the first
                plot.axes.set_in_layout(True)
            # As the figure's own layout engine it would draw everything twice.
            ConstrainedLayoutEngine().execute(self.figure)
            self.figure.savefig(data, format=suffix[1:], **FORMATS[suffix])
        return _with_dark(data.getvalue()) if suffix == ".svg" else data.getvalue()

    def _write_legends(self) -> None:
        """Legends to the right of each plot, or of the last one if all need the same."""
        every = [plot.entries for plot in self.plots]
        is_shared = len({tuple(entries) for entries in every}) == 1
        for plot, entries in zip(self.plots, every, strict=True):
            shown = {} if is_shared and plot is not self.plots[-1] else entries
            columns = 1 + len(shown) // 16  # as many as fit beside the usual height
            plot.axes.legend(
                list(shown.values()), list(shown), ncols=columns, loc="upper left", bbox_to_anchor=(1.0, 1.0)
            )


def _with_dark(svg: bytes) -> bytes:
    """An SVG with dark colours for readers who prefer them; matplotlib writes colours inline."""
    rules = [
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    ]
    text = "text:not([style*='fill:']){fill:#e6e6e6!important}"
    css = f"@media (prefers-color-scheme: dark){{{text}{''.join(rules)}}}"
    return svg.replace(b"</style>", css.encode() + b"</style>", 1)


class Plot(Panels):
    """One pair of axes, shown and saved with those beside it. Colours count from 0 in `number`."""

    def __init__(self, figure: "Figure", plots: "list[Plot]", axes: "Axes") -> None:
        super().__init__(figure, plots)
        self.axes, self.place = axes, axes.get_position()
        self._kinds: set[str] = set()
        self._limits = 0

    @property
    def entries(self) -> dict[str, Any]:
        """Handles of the legend by label: what was drawn, and what its marks mean beside lines."""
        from matplotlib.lines import Line2D

        handles, labels = self.axes.get_legend_handles_labels()
        found = dict(zip(map(_wrapped, labels), handles, strict=True))
        kinds = [kind for kind in KINDS if kind in self._kinds] if self._kinds != {THEORY} else []
        for kind in kinds:
            found.setdefault(_wrapped(kind), Line2D([], [], color=GREY, **KINDS[kind]))
        return found

    def theory(
        self, x: Sequence[float], y: Sequence[float], label: str = "", *, number: int = 0, dash: int = 0
    ) -> None:
        """Draw a line; it has a gap where y is not finite, as in an unstable queue."""
        with _style():
            dashes = DASHES[dash % len(DASHES)]
            self.axes.plot(list(x), list(y), dashes, color=_color(number), label=label or None)
        self._kinds.add(THEORY)

    def reference(self, x: Sequence[float], y: Sequence[float], label: str = "") -> None:
        """Draw a thin dashed line for a claimed or ideal value."""
        with _style():
            self.axes.plot(list(x), list(y), "--", color=GREY, linewidth=1.0, label=label or None)

    def simulated(
        self, x: Sequence[float], intervals: Sequence[Interval], label: str = "", *, number: int = 0
    ) -> None:
        """Draw points, each with a bar along its interval."""
        self._points(SIMULATED, x, intervals, label, number)

    def measured(
        self,
        x: Sequence[float],
        y: Sequence[float],
        label: str = "",
        *,
        number: int = 0,
        intervals: Sequence[Interval] | None = None,
    ) -> None:
        """Draw open squares, with bars for the given intervals."""
        self._points(MEASURED, x, intervals or [Interval.exact(value) for value in y], label, number)

    def bars(
        self,
        names: Sequence[str],
        values: Sequence[float],
        *,
        number: int = 0,
        intervals: Sequence[Interval] | None = None,
    ) -> None:
        """Draw horizontal bars, the first on top, each with its value at its end."""
        errors = None if intervals is None else _errors(intervals)
        with _style():
            made = self.axes.barh(
                list(names), list(values), height=0.6, color=_color(number), xerr=errors, capsize=2.5
            )
            self.axes.bar_label(made, fmt="{:.4g}", padding=4.0)
            self.axes.yaxis.set_inverted(True)
            self.axes.grid(visible=False, axis="y")
            self.axes.margins(x=0.12)

    def limit(self, value: float, label: str, *, axis: str = "y") -> None:
        """Draw a thin broken line for a limit: horizontal at a y, or vertical at an x."""
        dashes = LIMITS[self._limits % len(LIMITS)]  # so that the legend tells them apart
        draw = {"x": self.axes.axvline, "y": self.axes.axhline}[axis]
        with _style():
            draw(value, color=GREY, linestyle=dashes, linewidth=1.0, label=label)
        self._limits += 1

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
        """Draw a number in each cell, rows from below; accepted cells are outlined, and nan is a dash.

        Args:
            values: shape `(rows, columns)`, in `unit`; large ones are dark, on a logarithmic scale if far apart.
            accepted: of the same shape.
            outlined, missing: what the legend says of the outline and of the dash.
        """
        import matplotlib as mpl
        import numpy as np
        from matplotlib.colors import LogNorm, Normalize

        axes, cells = self.axes, np.ma.masked_invalid(np.asarray(values, float))
        inner = np.zeros(cells.shape, bool) if accepted is None else np.asarray(accepted, bool)
        if not cells.shape == inner.shape == (len(rows), len(columns)):
            raise InputError(f"values and accepted need {len(rows)} rows of {len(columns)} cells")
        low, high = (float(cells.min()), float(cells.max())) if cells.count() else (0.0, 1.0)
        shares = (LogNorm if 0.0 < 10.0 * low < high else Normalize)(low, high)(cells)
        colors = mpl.colormaps["Blues"].with_extremes(bad=PALE)
        with _style():
            # The darkest blue leaves no room for an outline.
            axes.imshow(
                shares, colors, vmin=0.0, vmax=1.2, origin="lower", aspect="auto", interpolation="none"
            )
            _write_cells(axes, cells, shares.filled(0.0))
            if unit:
                axes.plot([], [], " ", label=f"cells: {unit}")
            if inner.any():
                _outline(axes, np.pad(inner, 1), outlined)
            if cells.count() < cells.size:
                axes.fill_between([], [], color=PALE, label=f"– {missing}")
            axes.spines[:].set_visible(False)
            axes.set_xticks(range(len(columns)), [str(name) for name in columns])
            axes.set_yticks(range(len(rows)), [str(name) for name in rows])
            axes.tick_params(length=0.0)
            axes.grid(visible=False)
            axes.set(xlim=(-0.55, len(columns) - 0.45), ylim=(-0.55, len(rows) - 0.45))

    def _points(
        self, kind: str, x: Sequence[float], intervals: Sequence[Interval], label: str, number: int
    ) -> None:
        draw_points(self.axes, x, intervals, label=label or None, color=_color(number), **KINDS[kind])
        self._kinds.add(kind)


def _write_cells(axes: "Axes", cells: Any, shares: Any) -> None:
    """Write the number in each cell, or a dash; in white on dark ones."""
    import numpy as np

    for row, column in np.ndindex(*cells.shape):
        text = f"{cells[row, column]:.3g}" if cells[row, column] is not np.ma.masked else "–"
        color = "white" if shares[row, column] > _DARK_SHARE else "#222222"
        axes.text(column, row, text, ha="center", va="center", color=color)


def _outline(axes: "Axes", padded: Any, label: str) -> None:
    """Draw a line around the cells that are true in an array with a border of false ones."""
    import numpy as np

    y, x = np.nonzero(padded[:, 1:] != padded[:, :-1])
    axes.vlines(x - 0.5, y - 1.5, y - 0.5, PALETTE[1], linewidth=2.6, label=label)
    y, x = np.nonzero(padded[1:] != padded[:-1])
    axes.hlines(y - 0.5, x - 1.5, x - 0.5, PALETTE[1], linewidth=2.6)


def draw_points(axes: "Axes", x: Sequence[float], intervals: Sequence[Interval], **form: Any) -> None:
    """Draw points, each with a bar along its interval."""
    values = [span.value for span in intervals]
    with _style():
        axes.errorbar(list(x), values, _errors(intervals), elinewidth=1.2, capsize=2.5, zorder=3.0, **form)


def count_by_whole(axis: "Axis", most: int = 10) -> None:
    """Put ticks at whole numbers alone, on an axis that counts.

    Args:
        most: largest number of steps between them.
    """
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=True))


def _style() -> "AbstractContextManager[None]":
    """The style of this project, whatever the user's own is."""
    import matplotlib.style

    return matplotlib.style.context(["default", STYLE])


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def _wrapped(label: str) -> str:
    return textwrap.fill(label, 26, break_long_words=False)


def _errors(intervals: Sequence[Interval]) -> list[list[float]]:
    """Distance of each end from its value, in matplotlib's form."""
    return [[span.value - span.low for span in intervals], [span.high - span.value for span in intervals]]


def _set_view(axes: "Axes") -> None:
    """Start axes of nonnegative values at 0, unless limits were set; write plain numbers on logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.autoscale_view()
    if axes.get_autoscaley_on() and axes.get_yscale() == "linear" and axes.dataLim.y0 >= 0.0:
        axes.set_ylim(0.0, auto=None)
    if axes.get_autoscalex_on() and axes.get_xscale() == "linear" and axes.dataLim.x0 >= 0.0:
        axes.set_xlim(max(0.0, axes.get_xlim()[0]), auto=None)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            left, right = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if right < 200.0 * left else (1.0,)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
