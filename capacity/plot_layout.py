"""Layout of a plot: its margins, its ticks and where its labels stand, once all is drawn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from capacity.labels import AWAY, LINE, Spot, box_at, column, is_free, move, paths_of, size, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.path import Path as Path2D
    from matplotlib.text import Annotation, Text
    from matplotlib.transforms import Bbox

LOG_RATIO = 1e5  # what a logarithmic axis spans, unless points lie lower
SIDES = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5)  # in half lines, where a name is tried
# Where a note is tried from its data point, nearest first.
NOTE_SPOTS = tuple(
    (across * reach, up * reach)
    for reach in (1.0, 1.8, 2.8, 4.0)
    for up in (18.0, -18.0, 30.0, -30.0, 0.0)
    for across in (16.0, -16.0)
)


def set_ticks(axes: "Axes") -> None:
    """Plain numbers in steps of 1, 2 or 5, on a logarithmic axis powers of ten and, if few, their 2 and 5."""
    from matplotlib.ticker import AutoLocator, MaxNLocator

    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == "log":
            _set_log_ticks(axis)
        elif isinstance(axis.get_major_locator(), AutoLocator):  # not where ticks were set
            axis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))


def _set_log_ticks(axis: "Axis") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    few = low > 0.0 and high / low < 200.0
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _place: float | None = None) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:.0e}".replace("e+0", "e")


def set_view(axes: "Axes", lowest: float) -> None:
    """What is never negative starts at 0 on a linear axis, and spans a few decades on a logarithmic one.

    Args:
        lowest: of all points, which stay in view. Limits that were set stay too.
    """
    axes.autoscale_view()
    if axes.get_yscale() == "log" and axes.get_autoscaley_on():
        low, high = axes.get_ylim()
        top = float(axes.dataLim.y1)
        if low < min(top / LOG_RATIO, lowest / 2.0):
            low, high = min(top / LOG_RATIO, lowest / 2.0), 2.0 * top
        axes.set_ylim(low, high, auto=None)
    if axes.get_yscale() != "log" and axes.get_autoscaley_on() and _lowest(axes) >= 0.0:
        axes.set_ylim(bottom=0.0, auto=None)
    if axes.get_xscale() != "log" and axes.get_autoscalex_on() and axes.dataLim.x0 >= 0.0:
        axes.set_xlim(left=max(0.0, axes.get_xlim()[0]), auto=None)


def _lowest(axes: "Axes") -> float:
    return float(axes.dataLim.y0)


def overhangs(axes: "Axes") -> tuple[float, float, float]:
    """How far the ticks and titles of a pair of axes stand out: left, right and below."""
    canvas: Any = axes.figure.canvas
    renderer = canvas.get_renderer()
    inner = axes.get_window_extent(renderer)
    boxes = [box for axis in (axes.xaxis, axes.yaxis) if (box := axis.get_tightbbox(renderer)) is not None]
    left = max([0.0, *(inner.x0 - box.x0 for box in boxes)])
    right = max([0.0, *(box.x1 - inner.x1 for box in boxes)])
    return left, right, max([0.0, *(inner.y0 - box.y0 for box in boxes)])


def end_of(axes: "Axes", x: Sequence[float], y: Sequence[float]) -> Spot | None:
    """Where a line ends, or leaves the axes for good; in points. None where it is never inside."""
    spots: list[Spot] = [tuple(spot) for spot in axes.transData.transform(list(zip(x, y, strict=True)))]
    room = axes.bbox.padded(0.5)
    inside = [i for i, spot in enumerate(spots) if room.contains(*spot)]
    if not inside:
        return None
    last = inside[-1]
    if last + 1 == len(spots):
        return spots[last]
    return _crossing(room, spots[last], spots[last + 1])


def _crossing(room: "Bbox", inside: Spot, outside: Spot) -> Spot:
    """Where the way from a spot inside to one outside leaves, by halving."""
    if not all(map(_is_finite, outside)):
        return inside
    for _ in range(20):
        middle = ((inside[0] + outside[0]) / 2.0, (inside[1] + outside[1]) / 2.0)
        inside, outside = (middle, outside) if room.contains(*middle) else (inside, middle)
    return inside


def _is_finite(value: float) -> bool:
    return abs(value) < 1e12


def place_names(
    axes: "Axes",
    names: "Sequence[Annotation]",
    ends: Sequence[Spot],
    taken: "Sequence[Bbox]",
    *,
    room: "Bbox",
) -> bool:
    """Names beside their ends, or in a column; whether they fit into the room, which is that of the axes."""
    sizes = [size(name) for name in names]
    spots = _spots(axes, ends, sizes, taken, room)
    for name, end, spot in zip(names, ends, spots, strict=True):
        name.xy = tuple(axes.transData.inverted().transform(end))
        move(name, end, spot)
    return all(x + width <= room.x1 for (x, _), (width, _) in zip(spots, sizes, strict=True))


def _spots(
    axes: "Axes", ends: Sequence[Spot], sizes: Sequence[Spot], taken: "Sequence[Bbox]", room: "Bbox"
) -> list[Spot]:
    """A column where all end at one x, else beside each end; a column right of the axes for the rest."""
    paths = paths_of(axes)
    furthest = max(end[0] for end in ends)
    if len(ends) > 1 and furthest - min(end[0] for end in ends) < 0.05 * axes.bbox.width:
        spots = column(ends, sizes, left=furthest + 1.5 * AWAY, low=room.y0, high=room.y1)
        boxes = [box_at(x, y, own) for (x, y), own in zip(spots, sizes, strict=True)]
        if all(is_free(box, taken, paths) for box in boxes):
            return spots
        return column(ends, sizes, left=axes.bbox.x1 + 1.5 * AWAY, low=room.y0, high=room.y1)
    found = _beside_each(ends, sizes, taken, paths, room)
    out = [i for i, box in enumerate(found) if box is None]
    if out:  # then nothing else may stand where the column is
        out = [i for i, box in enumerate(found) if box is None or box.x1 > axes.bbox.x1]
    left = axes.bbox.x1 + 1.5 * AWAY
    rest = column([ends[i] for i in out], [sizes[i] for i in out], left=left, low=room.y0, high=room.y1)
    spots_of = {i: (box.x0, (box.y0 + box.y1) / 2.0) for i, box in enumerate(found) if box is not None}
    spots_of.update(zip(out, rest, strict=True))
    return [spots_of[i] for i in range(len(ends))]


def _beside_each(
    ends: Sequence[Spot],
    sizes: Sequence[Spot],
    taken: "Sequence[Bbox]",
    paths: "Sequence[Path2D]",
    room: "Bbox",
) -> "list[Bbox | None]":
    """Right of each end or, failing that, left of it; None where it is not free."""
    boxes = list(taken)
    found: list[Bbox | None] = [None] * len(ends)
    for i in sorted(range(len(ends)), key=lambda i: (-ends[i][0], ends[i][1])):
        (x, y), (width, _) = ends[i], sizes[i]
        right = [box_at(x + AWAY, y + half * LINE / 2.0, sizes[i]) for half in SIDES]
        left = [box_at(x - AWAY - width, y + half * LINE / 2.0, sizes[i]) for half in SIDES[:3]]
        inside = [box for box in right + left if _is_within(box, room)]
        found[i] = next((box for box in inside if is_free(box, boxes, paths)), None)
        boxes += [box for box in (found[i],) if box is not None]
    return found


def _is_within(box: "Bbox", room: "Bbox") -> bool:
    return bool(room.x0 < box.x0 and box.x1 < room.x1 and room.y0 < box.y0 and box.y1 < room.y1)


def place_note(axes: "Axes", note: "Annotation", taken: "Sequence[Bbox]") -> "Bbox":
    """A note near its point where it covers nothing, or covers least."""
    from matplotlib.transforms import Bbox

    paths = paths_of(axes)
    x, y = axes.transData.transform(note.xy)
    width, height = size(note)
    boxes = [
        Bbox.from_bounds(x + across - (width if across < 0.0 else 0.0), y + up - height / 2.0, width, height)
        for across, up in NOTE_SPOTS
    ]
    best = min(boxes, key=_badness(axes, taken, lambda box: is_free(box, (), paths)))
    note.xyann = (round(best.x0 - x, 3), round((best.y0 + best.y1) / 2.0 - y, 3))
    return best


def _badness(
    axes: "Axes", taken: "Sequence[Bbox]", is_clear: "Callable[[Bbox], bool]"
) -> "Callable[[Bbox], int]":
    """What is wrong with a box: out of the axes, on another text or point, run through by a line."""
    inner = axes.bbox

    def badness(box: "Bbox") -> int:
        return (
            8 * (not _is_within(box, inner))
            + 2 * sum(box.overlaps(other) for other in taken)
            + (not is_clear(box))
        )

    return badness


def place_above(axes: "Axes", names: "Sequence[Text]", x: Sequence[float], *, room: "Bbox") -> None:
    """Names of upright limits above the axes, side by side."""
    order = sorted(range(len(names)), key=lambda i: x[i])
    centres = [float(axes.transData.transform((x[i], axes.get_ylim()[0]))[0]) for i in order]
    widths = [size(names[i])[0] + 6.0 for i in order]
    for i, centre in zip(order, spread(centres, widths, room.x0, room.x1), strict=True):
        names[i].set_position(tuple(axes.transAxes.inverted().transform((centre, axes.bbox.y1 + LINE / 2.0))))


def boxes_of_points(
    axes: "Axes", x: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> "list[Bbox]":
    """What points with their bars cover, in points."""
    from matplotlib.transforms import Bbox

    ends = [
        axes.transData.transform([(at, low), (at, high)])
        for at, (low, high) in zip(x, intervals, strict=True)
    ]
    boxes = [Bbox([low, high]).padded(3.0) for low, high in ends]
    return [box for box in boxes if all(map(_is_finite, box.extents))]
