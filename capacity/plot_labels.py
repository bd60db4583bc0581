"""Labels of one plot: what is named and noted, and putting all of it where it is free."""

import math
from typing import TYPE_CHECKING

from capacity.labels import AWAY, LINE, Spot, box_of, new_name, size, wrapped
from capacity.plot_layout import boxes_of_points, end_of, place_above, place_names, place_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation, Text
    from matplotlib.transforms import Bbox

LIMIT_COLOR = "#444444"


class PlotLabels:
    """Names at the ends of series and limits, names above walls, notes at points."""

    def __init__(self, axes: "Axes") -> None:
        self.axes = axes
        self._series: list[tuple[Annotation, list[float], list[float]]] = []
        self._limits: list[tuple[Annotation, float]] = []
        self._walls: list[tuple[Text, float]] = []
        self._notes: list[Annotation] = []
        self._points: list[tuple[list[float], list[Spot]]] = []

    def add_series(self, label: str, color: str, x: list[float], y: list[float]) -> None:
        """A name at the end of a line."""
        self._series.append((new_name(self.axes, label, color, (x[-1], y[-1])), x, y))

    def add_points(self, x: list[float], spans: list[Spot]) -> None:
        """What no label may cover."""
        self._points.append((x, spans))

    def add_limit(self, label: str, value: float) -> None:
        """A name at the right end of a level line."""
        self._limits.append((new_name(self.axes, label, LIMIT_COLOR, (0.0, value)), value))

    def add_wall(self, label: str, value: float) -> None:
        """A name above an upright line."""
        at = {"transform": self.axes.transAxes, "ha": "center", "va": "center"}
        name = self.axes.text(0.0, 0.0, label, at, color=LIMIT_COLOR)
        self._walls.append((name, value))

    def add_note(self, x: float, y: float, text: str) -> None:
        """A text near a point, with a pointer."""
        arrow = {"arrowstyle": "-", "linewidth": 0.6, "color": LIMIT_COLOR, "shrinkA": 1.0, "shrinkB": 3.0}
        note = self.axes.annotate(
            wrapped(text), (x, y), (0.0, 0.0), textcoords="offset points", va="center", arrowprops=arrow
        )
        self._notes.append(note)

    @property
    def _names(self) -> "list[Annotation]":
        return [name for name, _, _ in self._series] + [name for name, _ in self._limits]

    def reset(self) -> None:
        """Back to where they began: the size of a text depends on its place, in the last digits."""
        for name in (*self._names, *self._notes):
            name.xyann = (0.0, 0.0)
        for name, x, y in self._series:
            name.xy = (x[-1], y[-1])
        for name, value in self._limits:
            name.xy = (0.0, value)
        for wall, _ in self._walls:
            wall.set_position((0.0, 0.0))

    def lowest(self) -> float:
        """The lowest of all points, infinite where there is none."""
        return min((low for _, spans in self._points for low, _ in spans if low > 0.0), default=math.inf)

    def width(self) -> float:
        """What the widest name takes beside the axes, with its distance."""
        return max([0.0, *(size(name)[0] + 1.5 * AWAY for name in self._names)])

    def height(self) -> float:
        """What all names take, one below the other."""
        return sum(size(name)[1] for name in self._names)

    def strip(self) -> float:
        """What the names above the axes take."""
        return 1.3 * LINE if self._walls else 0.0

    def place(self, room: "Bbox") -> bool:
        """Put every label where it is free; whether all names fit into the room."""
        taken = [box for x, spans in self._points for box in boxes_of_points(self.axes, x, spans)]
        shown = self._shown()
        names, ends = [name for name, _ in shown], [end for _, end in shown]
        fits = not names or place_names(self.axes, names, ends, taken, room=room)
        taken += [box_of(name) for name in names]
        for note in self._notes:
            taken.append(place_note(self.axes, note, taken))
        place_above(self.axes, [name for name, _ in self._walls], [x for _, x in self._walls], room=room)
        return fits

    def _shown(self) -> "list[tuple[Annotation, Spot]]":
        """Names of what is in view, and where each belongs; the others are hidden."""
        found = [(name, end_of(self.axes, x, y)) for name, x, y in self._series]
        found += [(name, self._edge(value)) for name, value in self._limits]
        for name, end in found:
            name.set_visible(end is not None)
        return [(name, end) for name, end in found if end is not None]

    def _edge(self, value: float) -> Spot | None:
        """Where a level line meets the right edge."""
        up = float(self.axes.transData.transform((self.axes.get_xlim()[0], value))[1])
        is_in_view = self.axes.bbox.y0 - 1.0 <= up <= self.axes.bbox.y1 + 1.0
        return (float(self.axes.bbox.x1), up) if is_in_view else None
