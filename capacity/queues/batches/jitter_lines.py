"""Jitter lines: how many stand in line by the age of the service under way."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaln

from capacity.queues.batches.jitter_chain import JitterChain

Floats = NDArray[np.float64]


def lines(chain: JitterChain, ages: Floats, levels: int) -> tuple[Floats, Floats]:
    """P(line = mB + k) at ages of a full batch, with its start, and of a smaller one, given it.

    The line of a full batch is carried from age to age: it begins with what is left, and grows. A smaller
    batch leaves none. Every step is a sum of positive terms.

    Args:
        chain: what is left when a batch starts, and the arrivals.
        ages: ascending.
        levels: m = 0, ..., levels - 1.

    Returns:
        Shape `(ages, levels * B)` each, k = 1..B within a level, where B stands for all k >= B.

    >>> chain = JitterChain(arrivals=0.5, means=np.array([1.0]), shape=1.0, spare=0.5)
    >>> behind, _ = lines(chain, np.array([1e-9]), 2)
    >>> [round(float(p), 6) for p in behind[0]]  # M/M/1: P(X >= 2), P(X >= 3)
    [0.25, 0.125]
    """
    size, count = chain.size_max, levels * chain.size_max + 1
    line = chain.behind(count)
    behind, alone = (np.empty((len(ages), levels * size)) for _ in range(2))
    for at, (age, before) in enumerate(zip(ages, np.append(0.0, ages), strict=False)):
        line = _grown(line, _counts(chain.arrivals * (age - before), count))
        behind[at] = _folded(line, size)
        alone[at] = _folded(_padded(_counts(chain.arrivals * age, count), count), size)
    return significant(behind), significant(alone)


def poisson(count: Floats | int, mean: Floats | float) -> Floats:
    """P(Poisson = count), for means > 0."""
    return np.asarray(np.exp(count * np.log(mean) - mean - gammaln(np.asarray(count) + 1.0)))


def significant(values: Floats) -> Floats:
    """Without the denormals, which are slow, and all else that no sum would show."""
    values[values < 1e-40 * values.max(initial=0.0)] = 0.0
    return values


def _counts(mean: float, count: int) -> Floats:
    """P(0), P(1), ..., at most `count` of them and as far as they are not negligible, and the rest."""
    reach = min(count, math.ceil(mean + 10.0 * math.sqrt(mean) + 25.0))
    return np.append(poisson(np.arange(float(reach)), mean), gammainc(reach, mean))


def _grown(line: Floats, more: Floats) -> Floats:
    """A law of 0, 1, ... and a rest, after arrivals with a law of the same form, perhaps shorter."""
    count, reach = len(line) - 1, len(more) - 1
    exact = np.convolve(line[:-1], more[:-1])[:count]
    at_least = np.cumsum(more[::-1])[::-1][1:]
    return np.append(exact, line[-1] + line[-2 : -2 - reach : -1] @ at_least)


def _padded(law: Floats, count: int) -> Floats:
    return np.concatenate([law[:-1], np.zeros(count - len(law) + 1), law[-1:]])


def _folded(line: Floats, size: int) -> Floats:
    """A law of 0, 1, ..., levels x B and more as one of k = 1..B at each level, B for all from B on."""
    levels = line[1:-1].copy()
    levels[size - 1 :: size] = np.cumsum(line[::-1])[::-1][size:-1:size]
    return levels
