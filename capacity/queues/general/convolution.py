"""Convolution: the tail of a delay and a service added up, by Gauss-Legendre panels in time."""

import math
from functools import lru_cache

import numpy as np

from capacity.queues.durations import Duration, Family, Floats
from capacity.queues.general.delay import Delay

_ORDER = 16
_HALVINGS = 40  # panels halve towards either end: a root of a time at 0 is then below rounding
_FLANK = 10  # standard deviations around the mean in which a steep law falls


def sum_tail(delay: Delay, service: Duration, time: float) -> float:
    """P(D + S > t), t >= 0, times in mean services: P(D > t) and the integral of f_D(t - x) P(S > x).

    >>> from capacity.queues.general.delay import delay_of
    >>> exponential = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
    >>> round(sum_tail(delay_of(1.0, 1.0), exponential, 2.0), 12), round(3.0 * math.exp(-2.0), 12)
    (0.40600584971, 0.40600584971)
    """
    if service.family is Family.DETERMINISTIC:
        return float(delay.tail(np.array(time - 1.0))) if time >= 1.0 else 1.0
    nodes, weights = _panels(service.variability, time)
    served = service.tail(nodes * service.mean_s)
    return float(delay.tail(np.array(time))) + float((weights * served) @ delay.density(time - nodes))


def _panels(scv: float, time: float) -> tuple[Floats, Floats]:
    """Nodes and weights from 0 to t, dense at both ends and where the service law falls."""
    halves = time * 0.5 ** np.arange(1, _HALVINGS + 1)
    flank = 1.0 + math.sqrt(scv) * np.arange(-_FLANK, _FLANK + 1)
    ends = np.unique(np.concatenate([[0.0, time], halves, time - halves, flank]))
    ends = ends[(ends >= 0.0) & (ends <= time)]
    nodes, weights = _legendre()
    widths = np.diff(ends)[:, None] / 2.0
    return (ends[:-1, None] + widths * (nodes + 1.0)).ravel(), (widths * weights).ravel()


@lru_cache(maxsize=1)
def _legendre() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(_ORDER)
