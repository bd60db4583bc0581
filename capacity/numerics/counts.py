"""Counts: probabilities and tails of Poisson counts, for many counts and many means at once."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaincc, gammaln

Floats = NDArray[np.float64]
_TABLE_MAX = 1_000_000
_LOG_OF_NOTHING = -1e300


def pmf(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """P(N = k), 0 for k < 0; shapes broadcast. [dimensionless]

    By logarithms, which lose the digits that k ln(mean) has before the point: 1e-13 at a thousand.

    >>> [round(float(p), 6) for p in pmf([-1, 0, 2], 2.0)]
    [0.0, 0.135335, 0.270671]
    """
    k, at = np.asarray(counts), _floats(mean)
    held = np.maximum(k, 0).astype(np.int64)
    with np.errstate(divide="ignore"):
        log_mean = np.maximum(np.log(at), _LOG_OF_NOTHING)  # so that 0 times it is 0
    return np.asarray(np.where(k < 0, 0.0, np.exp(held * log_mean - at - _log_factorials(held))))


def _log_factorials(counts: NDArray[np.int64]) -> Floats:
    """ln k!, read from a table where it is not too long."""
    most = int(counts.max(initial=0))
    if most > _TABLE_MAX:
        return np.asarray(gammaln(counts + 1.0))
    return _table(1 << most.bit_length())[counts]


@cache
def _table(length: int) -> Floats:
    """ln k! for k < length."""
    return np.asarray(gammaln(np.arange(length) + 1.0))


def at_least(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """P(N >= k), 1 for k <= 0; computed directly, however small. [dimensionless]

    >>> [round(float(p), 6) for p in at_least([0, 1, 3], 2.0)]
    [1.0, 0.864665, 0.323324]
    """
    k = _floats(counts)
    return np.asarray(np.where(k <= 0.0, 1.0, gammainc(np.maximum(k, 1.0), _floats(mean))))


def at_least_between(counts: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """P(N(high) >= k) - P(N(low) >= k), k >= 1: the k-th arrival lies between, in time of rate 1.

    From the tails or from their complements, whichever are smaller.

    >>> [round(float(p), 6) for p in at_least_between([1, 3], 1.0, 2.0)]
    [0.232544, 0.243022]
    """
    k, start, end = _floats(counts), _floats(low), _floats(high)
    below = gammainc(k, start)
    near_one = gammaincc(k, start) - gammaincc(k, end)
    return np.asarray(np.where(below > 0.5, near_one, gammainc(k, end) - below))


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
