"""Crossing: the size at which a limited quantity is guessed to reach its limit, from what trials have seen of it."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from capacity.question.objective import Objective

# Error of the straight line, as a share of the squared distance to the limit in logarithms: far from it the line bends.
_BEND = 0.2
# Share of the quantity by which runs that have not settled may be wrong, and least error of any trial.
_UNSETTLED, _ERROR_MIN = 0.1, 1e-4


class Seen(NamedTuple):
    """A size that was tried: what binds there over its limit, and the relative error of that."""

    size: float
    pressure: float
    error: float

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
    width = found.half_width / found.value
    error = width if math.isfinite(width) else 1.0
    return Seen(size, found.value, max(_ERROR_MIN, error, 0.0 if candidate.settled else _UNSETTLED))


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
