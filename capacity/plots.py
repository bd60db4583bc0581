"""Plots for notebooks and commands: theory as lines, simulation as points with bars, each named directly.

A plot is filled by its methods and laid out when it is shown or saved; no window and no state of pyplot.
`axes` of a plot is matplotlib's own, for the little that is not offered here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.errors import InputError
from capacity.plot import Plot
from capacity.plot_frame import Frame, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Panels", "Plot", "new_panels", "new_plot"]


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
    y_title: str | Sequence[str],
    title: str,
    x_log: bool = False,
    y_log: bool = False,
    share_y: bool = True,
    width: float = 11.0,
    height: float = 4.0,
) -> "Panels":
    """Empty plots side by side in one figure, one for each title.

    Args:
        y_title: of all, or one for each panel that has a y axis of its own.
        share_y: whether all have one y axis, whose numbers stand at the first.
    """
    if not titles:
        raise InputError("panels need at least one title, got none")
    y_titles = [y_title] * len(titles) if isinstance(y_title, str) else list(y_title)
    if len(y_titles) != len(titles) or (share_y and len(set(y_titles)) > 1):
        raise InputError(
            f"{len(titles)} panels need one y_title, or one for each and share_y=False; got {len(y_titles)}"
        )
    with style():
        figure = new_figure(width, height)
        every: list[Axes] = []
        for number in range(len(titles)):
            place = (number / len(titles), 0.1, 0.8 / len(titles), 0.7)
            every.append(figure.add_axes(place, sharey=every[0] if share_y and every else None))
            first = not share_y or number == 0
            _set_axes(every[-1], x_title, y_titles[number] if first else "", x_log=x_log, y_log=y_log)
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

    def png(self) -> bytes:
        """The figure as the bytes of a PNG, as a notebook shows it."""
        return self._frame.png(self.plots[0].key())

    def _repr_png_(self) -> bytes:
        return self.png()


def _set_axes(axes: "Axes", x_title: str, y_title: str, *, x_log: bool, y_log: bool) -> None:
    axes.set(xlabel=x_title, ylabel=y_title)
    if x_log:
        axes.set_xscale("log")
    if y_log:
        axes.set_yscale("log", nonpositive="clip")
    axes.margins(x=0.02, y=0.06)
