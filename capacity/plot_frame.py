"""Frame: the figure around one or more plots: its title, its key, its margins."""

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.figures import FORMATS, STYLE, save
from capacity.labels import size
from capacity.plot_labels import PlotLabels
from capacity.plot_layout import overhangs, set_ticks, set_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGE = 8.0  # from the figure's edge to what is nearest to it, and between panels
KEY_COLOR = "#555555"
# Mean width of a letter, in shares of its size, on the wide side.
LETTER, BOLD_LETTER = 0.56, 0.68


def style() -> "AbstractContextManager[None]":
    """The one style of this project, whatever the user's own is."""
    import matplotlib.style

    return matplotlib.style.context(["default", STYLE])


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure whose pixels are points; within `style()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=72.0)
    FigureCanvasAgg(figure)
    return figure


class Frame:
    """Lays out a figure: all panels equally wide, room at the right of each where its names need it."""

    def __init__(
        self, figure: "Figure", title: str, axes: Sequence["Axes"], titles: Sequence[str] = ()
    ) -> None:
        self.figure = figure
        self.axes = list(axes)
        self.labels = [PlotLabels(one) for one in axes]
        across = figure.bbox.width - 2.0 * EDGE
        heading = textwrap.fill(title, int(across / (10.5 * BOLD_LETTER)))
        self.title = figure.text(0.0, 0.0, heading, va="top", fontsize=10.5, fontweight="bold")
        self.key = figure.text(0.0, 0.0, "", va="top", fontsize=8.0, color=KEY_COLOR)
        self.titles = [figure.text(0.0, 0.0, text, va="bottom", fontweight="bold") for text in titles]
        self._height = figure.bbox.height

    def png(self, key: Sequence[str]) -> bytes:
        """The figure as PNG."""
        self.lay_out(key)
        data = BytesIO()
        with style():
            self.figure.savefig(data, format="png", metadata=FORMATS[".png"])
        return data.getvalue()

    def save(self, path: Path, key: Sequence[str]) -> None:
        """Write the figure as its suffix says."""
        self.lay_out(key)
        save(self.figure, path)

    def lay_out(self, key: Sequence[str]) -> None:
        """Margins, ticks and labels for all that is drawn by now; the same again gives the same."""
        with style():
            self._write_key(key)
            self._start_anew()
            rights = [0.0] * len(self.axes)
            for _ in range(3):  # how far ticks stand out depends on how much room they have
                self._set_positions(rights)
            fits = self._place_labels(rights)
            if not all(fits):
                rights = [0.0 if fit else one.width() for fit, one in zip(fits, self.labels, strict=True)]
                self._set_positions(rights)
                self._place_labels(rights)

    def _start_anew(self) -> None:
        """As if it had never been laid out, so that laying out again changes nothing."""
        self.figure.set_size_inches(self.figure.bbox.width / 72.0, self._height / 72.0)
        for number, (axes, labels) in enumerate(zip(self.axes, self.labels, strict=True)):
            axes.set_position((number / len(self.axes), 0.1, 0.8 / len(self.axes), 0.7))
            set_view(axes, labels.lowest())
            set_ticks(axes)
            labels.reset()
        for text in (self.title, self.key, *self.titles):
            text.set_position((0.0, 0.0))

    def _write_key(self, key: Sequence[str]) -> None:
        letters = int((self.figure.bbox.width - 2.0 * EDGE) / (8.0 * LETTER))
        parts = [part.replace(" ", "\xa0") for part in key]  # a line breaks between parts only
        self.key.set_text("\n".join(textwrap.wrap("   ".join(parts), letters, break_long_words=False)))

    def _strip(self) -> float:
        """Height of all that stands above the axes."""
        key = size(self.key)[1] + 2.0 if self.key.get_text() else 0.0
        panel = 14.0 if self.titles else 0.0
        return EDGE + size(self.title)[1] + key + panel + max(one.strip() for one in self.labels) + 8.0

    def _set_positions(self, rights: Sequence[float]) -> None:
        """Axes within what stands out of them; the figure as high as its names need."""
        sides = [overhangs(axes) for axes in self.axes]
        below, strip = EDGE + max(bottom for _, _, bottom in sides), self._strip()
        height = max(self._height, below + strip + max(one.height() for one in self.labels))
        width = self.figure.bbox.width
        self.figure.set_size_inches(width / 72.0, height / 72.0)
        right = [max(own, wide) for (_, own, _), wide in zip(sides, rights, strict=True)]
        gaps = EDGE * (1.0 + len(self.axes)) + EDGE * (len(self.axes) - 1.0)
        inner = max(60.0, (width - sum(left for left, _, _ in sides) - sum(right) - gaps) / len(self.axes))
        x = EDGE
        for axes, (left, _, _), wide in zip(self.axes, sides, right, strict=True):
            axes.set_position(
                (
                    (x + left) / width,
                    below / height,
                    inner / width,
                    max(40.0, height - below - strip) / height,
                )
            )
            x += left + inner + wide + 2.0 * EDGE
        self._set_titles(height)

    def _set_titles(self, height: float) -> None:
        left, width = EDGE, self.figure.bbox.width
        self.title.set_position((left / width, 1.0 - EDGE / height))
        self.key.set_position((left / width, 1.0 - (EDGE + size(self.title)[1] + 2.0) / height))
        for title, axes, own in zip(self.titles, self.axes, self.labels, strict=False):
            title.set_position((axes.bbox.x0 / width, (axes.bbox.y1 + own.strip() + 5.0) / height))

    def _place_labels(self, rights: Sequence[float]) -> list[bool]:
        from matplotlib.transforms import Bbox

        fits = []
        for axes, labels, right in zip(self.axes, self.labels, rights, strict=True):
            box = axes.bbox
            room = Bbox([[box.x0, box.y0 - 6.0], [box.x1 + right + EDGE - 2.0, box.y1 + 6.0]])
            fits.append(labels.place(room))
        return fits
