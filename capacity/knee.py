"""Knee: how far a rising curve may be followed until it breaks a promise."""

import math
from collections.abc import Sequence
from itertools import pairwise

from capacity.errors import DomainError, InputError


def knee(x: Sequence[float], y: Sequence[float], limit: float) -> float:
    """Largest x up to which y keeps the limit; nan where not even the first y does, the last x where all do.

    Between two points 1/y is taken to be straight, as that of any quantile of M/M/1's response is against the
    utilization: with points as close as those of `capacity.curves.utilization_grid` little is left to err.

    Args:
        x: rising, shape `(points,)`: utilizations, say.
        y: positive, shape `(points,)`: P99 at each x. If it also falls, its first crossing counts.
        limit: what y may be, in the unit of y.

    Raises:
        InputError: fewer than two points, or lengths that differ.
        DomainError: x does not rise, or a y or the limit is not positive and finite.

    >>> response_s = [1.0 / (1.0 - rho) for rho in (0.1, 0.5, 0.9)]
    >>> round(knee((0.1, 0.5, 0.9), response_s, 4.0), 9)
    0.75
    """
    if len(x) != len(y) or len(x) < 2:
        raise InputError(f"a knee needs as many x as y, two at least, got {len(x)} and {len(y)}")
    if any(right <= left for left, right in pairwise(x)):
        raise DomainError("x of a knee must rise from point to point; sort the points")
    if not all(0.0 < value < math.inf for value in (*y, limit)):
        raise DomainError(f"y and limit of a knee must be positive and finite, got a limit of {limit!r}")
    if y[0] > limit:
        return math.nan
    for (left, kept), (right, broken) in pairwise(zip(x, y, strict=True)):
        if broken > limit:
            share = (1.0 / kept - 1.0 / limit) / (1.0 / kept - 1.0 / broken)
            return float(left + share * (right - left))
    return float(x[-1])
