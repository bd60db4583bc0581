"""Warm-up: how much of a run that starts empty does not count."""

from dataclasses import dataclass

import numpy as np

from simulations.records import Floats

RELAXATIONS = 10  # relaxation times after which the start is forgotten
_GROUP = 5  # the 5 of MSER-5


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Requests to delete, and whether the series was level from there on."""

    requests: int
    is_level: bool


def mser5(series: Floats) -> WarmUp:
    """The cut that makes the mean of what is left most certain.

    Means of five; delete the first d that minimise Σ(Z_j - Z̄)²/(k - d)² over d < k/2. A minimum at
    the end of that range says that the run is too short.

    Source:
        White (1997), Simulation 69(6); White, Cobb & Spratt (2000), Proc. Winter Simulation Conf.
    """
    groups = len(series) // _GROUP
    if groups < 4:
        return WarmUp(0, is_level=False)
    means = series[: groups * _GROUP].reshape(groups, _GROUP).mean(axis=1)
    means = means - means.mean()  # against cancellation in the sums of squares
    left = groups - np.arange(groups // 2)
    sums = np.cumsum(means[::-1])[::-1][: len(left)]
    squares = np.cumsum(means[::-1] ** 2)[::-1][: len(left)]
    criterion = (squares - sums**2 / left) / left.astype(float) ** 2
    cut = int(np.argmin(criterion))
    return WarmUp(cut * _GROUP, is_level=cut < len(left) - 1)
