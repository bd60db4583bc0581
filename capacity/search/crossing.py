"""Crossing: the size at which a limited quantity is guessed to reach its limit, from what trials have seen of it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from capacity.profile.sampling import reach
from capacity.question.objective import Objective

# Error of the straight line, as a share of the squared distance to the limit in logarithms: far from it the line bends.
_BEND = 0.2
# Share of the quantity by which runs that have not settled may be wrong, and least error of any trial.
_UNSETTLED, _ERROR_MIN = 0.1, 1e-4
_RESAMPLED = 0.02  # error of a long trial, whose interval has that of the profile's samples


class Seen(NamedTuple):
    """A size that was tried: what binds there over its limit, and the relative error of that.

    Attributes:
        ends: of its interval over its value, if they have the error of the profile's samples, which is alike at each
            size and no part of `error`; else None.
    """

    size: float
    pressure: float
    error: float
    ends: tuple[float, float] | None = None

    @property
    def weight(self) -> float:
        """How much it says of where the limit is reached."""
        return 1.0 / (self.error**2 + (_BEND * math.log(self.pressure) ** 2) ** 2)


def seen_at(size: float, candidate: Any, objective: Objective) -> Seen | None:
    """What a trial has seen; None if it has nothing that is limited."""
    if candidate.performance is None:
        return None
    found = objective.binding(candidate.performance).pressure(candidate.performance)
    if found is None or not 0.0 < found.value < math.inf:
        return None
    if candidate.requests_resampled > 0:
        return Seen(size, found.value, _RESAMPLED, (found.low / found.value, reach(found) / found.value))
    width = found.half_width / found.value
    error = max(_ERROR_MIN, width if math.isfinite(width) else 1.0, 0.0 if candidate.settled else _UNSETTLED)
    return Seen(size, found.value, error)


def ends_of(tried: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
    """The lower and the upper ends of what was seen, with the error of the profile's samples if it is known of any."""
    known = [one for one in tried if one.ends is not None]
    nearest = min(known, key=lambda one: abs(math.log(one.pressure)), default=None)
    default = (1.0, 1.0) if nearest is None or nearest.ends is None else nearest.ends

    def moved(end: int) -> Iterator[Seen]:
        for one in tried:
            pressure = one.pressure * (one.ends or default)[end]
            if 0.0 < pressure < math.inf:
                yield one._replace(pressure=pressure)

    return list(moved(0)), list(moved(1))


def crossing(tried: Iterable[Seen], wall: float) -> float | None:
    """The size at which the limited quantity would reach its limit; None if what was tried does not tell.

    Near saturation a response grows like 1/(1 - load), and before it more slowly, as batches grow instead: a straight
    line in the root of 1/(1 - size / wall) is drawn through what was tried, by least squares that weigh most what is
    near the limit and well known. A single size is taken to be proportional to it.

    Args:
        wall: the size at which queues grow for ever.

    Source:
        Kingman (1962), On queues in heavy traffic, J. R. Stat. Soc. B 24(2), for the growth.
    """
    within = [one for one in tried if one.size < wall]
    if not within:
        return None
    total = math.fsum(one.weight for one in within)
    places = [1.0 / math.sqrt(1.0 - one.size / wall) for one in within]
    shares = [one.weight / total for one in within]
    x = math.fsum(share * place for share, place in zip(shares, places, strict=True))
    y = math.fsum(share * one.pressure for share, one in zip(shares, within, strict=True))
    spread = math.fsum(share * (place - x) ** 2 for share, place in zip(shares, places, strict=True))
    slope = y / x
    if spread > 0.0:
        rises = ((place - x) * (one.pressure - y) for place, one in zip(places, within, strict=True))
        slope = math.fsum(share * rise for share, rise in zip(shares, rises, strict=True)) / spread
    if not slope > 0.0:
        return None
    place = x + (1.0 - y) / slope
    return wall * (1.0 - 1.0 / place**2) if place > 1.0 else None
