"""Load curve in words: where the response time of a fleet explodes."""

from collections.abc import Iterator, Sequence

from capacity.performance import Interval, format_interval
from capacity.units import format_rate

_FACTORS = {2.0: "doubles", 5.0: "reaches 5 times that", 10.0: "reaches 10 times that"}
Point = tuple[float, float, Interval]


def load_curve_texts(fleet: str, name: str, points: Sequence[Point]) -> Iterator[str]:
    """Sentences with the quantile at the lowest load, and the loads at which it is a multiple of that.

    Args:
        fleet: the fleet in words.
        points: load, arrival rate [requests/s] and the quantile [s], rising in load.
    """
    if not points:
        yield f"{fleet}: no load could be simulated to the asked precision."
        return
    load, rate_rps, alone = points[0]
    yield f"{fleet}: {name} is {format_interval(alone)} at load {load:.2f} ({format_rate(rate_rps)})."
    for factor, words in _FACTORS.items():
        above = [n for n, (_, _, found) in enumerate(points) if found.value >= factor * alone.value]
        if not above:
            yield f"Up to load {points[-1][0]:.2f} it stays below {factor:.0f} times that."
            return
        (low, low_rps, _), (high, high_rps, _) = points[max(0, above[0] - 1)], points[above[0]]
        yield (
            f"It {words} between load {low:.2f} and {high:.2f}, {format_rate(low_rps)} to "
            f"{format_rate(high_rps)}."
        )
