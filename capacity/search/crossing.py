"""Crossing: the rate, or the users, at which a limit is reached, guessed from those that were tried."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from capacity.question.objective import Objective


class Seen(NamedTuple):
    """A size that was tried: what binds there over its limit, and whether its runs have settled."""

    size: float
    pressure: float
    settled: bool


def seen_at(size: float, candidate: Any, objective: Objective) -> Seen | None:
    """What a trial has seen; None if it has nothing that is limited."""
    if candidate.performance is None:
        return None
    found = objective.binding(candidate.performance).pressure(candidate.performance)
    if found is None or not 0.0 < found.value < math.inf:
        return None
    return Seen(size, found.value, candidate.settled)


def crossing(tried: Iterable[Seen], wall: float) -> float | None:
    """The size at which the limited quantity would reach its limit; None if what was tried does not tell.

    Near saturation a response grows like 1/(1 - load), and far from it like any smooth curve: a straight line in
    1/(1 - size / wall) is drawn through the two sizes that come closest to the limit, settled ones first. A single one
    is taken to be proportional to it.

    Args:
        wall: the size at which queues grow for ever.

    Source:
        Kingman (1962), On queues in heavy traffic, J. R. Stat. Soc. B 24(2), for the growth.
    """
    closest = sorted(
        (one for one in tried if one.size < wall),
        key=lambda one: (not one.settled, abs(math.log(one.pressure))),
    )[:2]
    if not closest:
        return None
    first, x = closest[0], [1.0 / (1.0 - one.size / wall) for one in closest]
    slope = first.pressure / x[0]
    if len(closest) > 1:
        slope = (closest[1].pressure - first.pressure) / (x[1] - x[0])
    if not slope > 0.0:
        return None
    place = x[0] + (1.0 - first.pressure) / slope
    return wall * (1.0 - 1.0 / place) if place > 1.0 else None
