"""Labels: where the names of lines stand, so that none overlaps another or is run through. In points."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path as Path2D
    from matplotlib.text import Annotation, Text
    from matplotlib.transforms import Bbox

Spot = tuple[float, float]

AWAY = 7.0  # from the end of a line to its name
LINE = 12.0
POINTER: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0.0, 0.5), "shrinkA": 1.0}
LABEL_CHARACTERS = 26
# In half lines: where a name is tried beside the end of its line.
RISES = tuple(range(8))


def new_name(axes: "Axes", label: str, color: str, end: Spot) -> "Annotation":
    """A name for what ends at `end`, in data; it is moved later: where to depends on all the others."""
    return axes.annotate(
        wrapped(label),
        xy=end,
        xytext=(0.0, 0.0),
        textcoords="offset points",
        va="center",
        color=darker(color),
        annotation_clip=False,
        arrowprops={"color": color, **POINTER},
    )


def move(name: "Annotation", end: Spot, spot: Spot) -> None:
    """Put a name at a spot, with a pointer to the end where the two are apart."""
    (x, y), (spot_x, spot_y) = end, spot
    name.xyann = (round(spot_x - x, 3), round(spot_y - y, 3))
    near = abs(spot_y - y) < LINE / 3.0 and spot_x - x < 2.0 * AWAY
    if name.arrow_patch is not None:
        name.arrow_patch.set_visible(not near and spot_x > x)  # a short pointer would be clutter


def wrapped(label: str) -> str:
    """A label in short lines, what is in brackets on its own."""
    parts = label.replace(" (", "\n(").split("\n")
    return "\n".join(textwrap.fill(part, LABEL_CHARACTERS) for part in parts)


def darker(color: str) -> tuple[float, ...]:
    """A line's colour dark enough for small letters on white."""
    from matplotlib.colors import to_rgb

    return tuple(0.7 * share for share in to_rgb(color))


def beside(
    ends: Sequence[Spot],
    sizes: Sequence[Spot],
    *,
    right: float,
    top: float,
    paths: "Sequence[Path2D]",
    taken: "Sequence[Bbox]" = (),
    rises: Sequence[int] = RISES,
) -> list[Spot] | None:
    """Right of each end, moved until no line and no other name is in the way; None where one has no room."""
    spots: dict[int, Spot] = {}
    boxes = list(taken)
    for index in sorted(range(len(ends)), key=lambda i: (-ends[i][0], ends[i][1])):
        x, y = ends[index][0] + AWAY, ends[index][1]
        tried = [box_at(x, y + half * LINE / 2.0, sizes[index]) for half in rises]
        fitting = [box for box in tried if box.x1 <= right and box.y1 <= top]
        free = next((box for box in fitting if is_free(box, boxes, paths)), None)
        if free is None:
            return None
        boxes.append(free)
        spots[index] = (x, (free.y0 + free.y1) / 2.0)
    return [spots[index] for index in range(len(ends))]


def is_free(box: "Bbox", taken: "Sequence[Bbox]", paths: "Sequence[Path2D]") -> bool:
    """Whether a name may stand there: on no other and on no line."""
    if any(box.overlaps(other) for other in taken):
        return False
    return not any(path.intersects_bbox(box, filled=False) for path in paths)


def paths_of(axes: "Axes") -> "list[Path2D]":
    """The lines as they are drawn, in points."""
    return [line.get_path().transformed(line.get_transform()) for line in axes.lines]


def column(
    ends: Sequence[Spot], sizes: Sequence[Spot], *, left: float, low: float, high: float
) -> list[Spot]:
    """One below the other from `left`, in the order of the ends, moved no further than needed."""
    order = sorted(range(len(ends)), key=lambda i: (ends[i][1], -i))
    heights = [sizes[i][1] for i in order]
    y = dict(zip(order, spread([ends[i][1] for i in order], heights, low, high), strict=True))
    return [(left, y[index]) for index in range(len(ends))]


def spread(centres: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
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


def box_at(left: float, centre: float, size: Spot) -> "Bbox":
    """The box of a size from `left`, about the height `centre`."""
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(left, centre - size[1] / 2.0, *size)


def size(name: "Text") -> Spot:
    """Width and height of a text, with a little air above and below."""
    box = box_of(name)  # whose last digits depend on its place
    return round(float(box.width), 3), round(float(box.height), 3) + 1.5


def box_of(name: "Text") -> "Bbox":
    """What a text covers, measured for the screen even after it was saved in more dots per inch."""
    from matplotlib.text import Text

    canvas: Any = name.figure.canvas if name.figure is not None else None
    return Text.get_window_extent(name, canvas.get_renderer())  # an annotation's own counts its pointer
