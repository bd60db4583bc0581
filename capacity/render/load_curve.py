"""Load curve in words: where the response time of a fleet explodes."""

from collections.abc import Iterator, Sequence

from capacity.performance import Interval, format_interval
from capacity.traffic.scale import Scale

_FACTORS = {2.0: "doubles", 5.0: "reaches 5 times that", 10.0: "reaches 10 times that"}
Point = tuple[float | None, float, Interval]


def load_curve_texts(fleet: str, name: str, points: Sequence[Point], scale: Scale) -> Iterator[str]:
    """Sentences with the quantile at the lowest load, and the loads at which it is a multiple of that.

    Args:
        fleet: the fleet in words.
        points: load, which users do not have, size [requests/s, or users] and the quantile [s], rising.
        scale: the words for sizes.
    """
    if not points:
        yield f"{fleet}: no load could be simulated to the asked precision."
        return
    load, size, alone = points[0]
    at = f"with {scale.brief(size)}" if load is None else f"at load {load:.2f} ({scale.brief(size)})"
    yield f"{fleet}: {name} is {format_interval(alone)} {at}."
    for factor, words in _FACTORS.items():
        above = [n for n, (_, _, found) in enumerate(points) if found.value >= factor * alone.value]
        if not above:
            load, size, _ = points[-1]
            end = scale.brief(size) if load is None else f"load {load:.2f}"
            yield f"Up to {end} it stays below {factor:.0f} times that."
            return
        yield f"It {words} between {_between(points[max(0, above[0] - 1)], points[above[0]], scale)}."


def _between(before: Point, after: Point, scale: Scale) -> str:
    """Two neighbouring points, by their loads and sizes."""
    (low, low_size, _), (high, high_size, _) = before, after
    if low is None or high is None:
        return f"{scale.brief(low_size)} and {scale.brief(high_size)}"
    return f"load {low:.2f} and {high:.2f}, {scale.brief(low_size)} to {scale.brief(high_size)}"
