"""Closed sums: the states of a closed station, and the Poisson mixtures that its times are."""

import math
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LOG_OF_NOTHING = 746.0  # e^-746 is 0 in doubles


def states(users: int, think: float, servers: int) -> Floats:
    """P(n at the station), n = 0 ... N, from the most probable state outwards: nothing overflows.

    p(n-1) / p(n) = Z min(n, c) / (S (N - n + 1)) rises with n, so that 1 is passed at the mode.
    """
    n = np.arange(1, users + 1)
    with np.errstate(over="ignore", under="ignore"):
        falling = think * np.minimum(n, servers) / (users - n + 1)
        mode = int(np.count_nonzero(falling <= 1.0))
        below = np.cumprod(falling[:mode][::-1])[::-1]
        above = np.cumprod(1.0 / falling[mode:])
        law = np.concatenate((below, [1.0], above))
        return np.asarray(law / law.sum())


def unserved(departures: Floats, waiting: Floats, stays: float) -> Floats:
    """P(K > 0, K + G > j), j = 0 ... m, with P(G > i) = q^i; q times the one before from m on.

    The part with K < j follows b(j) = q (b(j-1) + P(K = j-1)).
    """
    if not len(departures):
        return departures
    served = accumulate(departures[:-1].tolist(), lambda b, p: stays * (b + p), initial=0.0)
    return np.concatenate((waiting[:1], waiting + np.fromiter(served, float, len(departures))))


def wait_tail(waiting: Floats, departures: float) -> float:
    """Sum over j of Poisson(j; x) P(K > j)."""
    last = len(waiting)
    if departures > 2.0 * (_LOG_OF_NOTHING + last * math.log(2.0)):  # Chernoff's bound at 1/2
        return 0.0
    first, weights = _poisson(departures)
    inside = weights[: max(0, last - first)]
    return min(1.0, float(inside @ waiting[first : first + len(inside)]))


def response_tail(unserved: Floats, servers: int, services: float) -> float:
    """Sum over j of Poisson(j; c t) P(K > 0, K + G > j)."""
    last = len(unserved) - 1
    slack = last * math.log(servers / (servers - 0.5))
    if last < 0 or services > 2.0 * (_LOG_OF_NOTHING + slack + 1.0):  # Chernoff's bound at 1/2
        return 0.0
    stays = 1.0 - 1.0 / servers
    first, weights = _poisson(servers * services)
    split = max(0, last - first)
    inside, beyond = weights[:split], weights[split:]
    steps = np.arange(max(0, first - last), max(0, first - last) + len(beyond))
    with np.errstate(under="ignore"):
        end = float(unserved[last]) * float(beyond @ stays**steps)
    return float(inside @ unserved[first : first + len(inside)]) + end


def _poisson(mean: float) -> tuple[int, Floats]:
    """First index and weights of a Poisson law; less than e^-800 lies below, 1e-21 of it above.

    By ratios from the mode and divided by their sum: no power, no factorial, no exponential. What
    is summed with these weights falls, so that the upper end may be cut by its share.
    """
    mode, deviation = int(mean), math.sqrt(mean)
    first = max(0, int(mean - 40.0 * deviation))
    up = np.arange(mode + 1, int(mean + 12.0 * deviation) + 50)
    down = np.arange(mode, first, -1)
    with np.errstate(under="ignore"):
        weights = np.concatenate((np.cumprod(down / mean)[::-1], [1.0], np.cumprod(mean / up)))
        return first, np.asarray(weights / weights.sum())
