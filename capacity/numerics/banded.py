"""Banded: the stationary law of a Markov chain on 0, 1, ..., N of bounded steps, without a subtraction."""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from capacity.numerics.mmatrix import inverse

Floats = NDArray[np.float64]
_RESCALE_ABOVE = 1e200
_NOTHING = 1e-300
_BLOCK_MIN, _BLOCK_MAX = 32, 128


def stationary(row: Callable[[int], Floats], last: int, down: int, up: int) -> Floats:
    """Stationary probabilities of a chain from whose state i steps lead to i - down ... i + up.

    Elimination of the states from the last to the first as by Grassmann, Taksar and Heyman: no
    subtraction, so that every entry has full relative accuracy, however small. The order is
    O(last * down * up).

    Args:
        row: for a state i the probabilities of the steps to max(0, i - down), max(0, i - down) + 1,
            ..., shorter than the band where the rest is 0; what leads beyond `last` goes to `last`.
        last: N >= 1.
        down: how far a step may lead down, >= 1.
        up: how far a step may lead up, >= 1.

    Returns:
        Shape `(last + 1,)`, summing to 1.

    Source:
        Grassmann, Taksar & Heyman (1985), Operations Research 33(5), 1107-1116.

    >>> up, stay, down_ = 0.2, 0.3, 0.5
    >>> def step(i):
    ...     return np.array([stay + down_, up]) if i == 0 else np.array([down_, stay, up])
    >>> law = stationary(step, last=40, down=1, up=1)
    >>> round(float(law[3] / law[2]), 12)
    0.4
    """
    matrix = _band(row, last, down, up)
    blocks, rest = _eliminate_blocks(matrix, last, down, up)
    first = _eliminate(matrix, rest, down, up)
    law = np.zeros(last + 1)
    law[first] = 1.0
    for m in range(first + 1, rest + 1):
        top = max(0, m - up)
        law[m] = law[top:m] @ matrix[top:m, m]
        if law[m] > _RESCALE_ABOVE:
            law[: m + 1] /= law[m]
    for visits in reversed(blocks):
        start = rest + 1
        rest += visits.shape[1]
        law[start : rest + 1] = _onward(law[:start], visits)
        law[: rest + 1] /= max(1.0, law[start : rest + 1].max())
    return np.asarray(law / law.sum())


def _eliminate_blocks(matrix: Floats, last: int, down: int, up: int) -> tuple[list[Floats], int]:
    """Blocks of states from the last one on, each at once, down to where one is left that takes care.

    A block is left for the states below it; how often its states are visited meanwhile is a product of
    positive matrices, and as large ones are multiplied many times faster than row by row.

    Returns:
        By block the mean visits from each state just below it, and the last state that is left.
    """
    size, blocks = min(_BLOCK_MAX, down, up), list[Floats]()
    if size < _BLOCK_MIN:
        return blocks, last
    while last >= size:
        low, end = last + 1 - size, last + 1
        left, top = max(0, low - down), max(0, low - up)
        away = np.triu(matrix[low:end, left:low], low - down - left)
        into = np.tril(matrix[top:low, low:end], top + up - low)
        try:
            with np.errstate(all="ignore"):
                visits = into @ inverse(np.asarray(matrix[low:end, low:end]), away.sum(axis=1))
        except ZeroDivisionError:  # by underflow nothing leads below
            break
        if not np.isfinite(visits).all():
            break
        matrix[top:low, left:low] += visits @ away
        blocks.append(visits)
        last = low - 1
    return blocks, last


def _onward(law: Floats, visits: Floats) -> Floats:
    """The law of a block from that of the states below it, which is scaled down where it would overflow."""
    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            block = law[len(law) - len(visits) :] @ visits
        if np.isfinite(block).all():
            return np.asarray(block)
        law /= _RESCALE_ABOVE


def _eliminate(matrix: Floats, last: int, down: int, up: int) -> int:
    """The states from `last` to the first one, one by one; which one that is."""
    for m in range(last, 0, -1):
        left, top = max(0, m - down), max(0, m - up)
        away = matrix[m, left:m]
        leaving = away.sum()
        if leaving < _NOTHING:  # what lies below has a probability as small
            return m
        column = matrix[top:m, m]
        column /= leaving
        matrix[top:m, left:m] += column[:, None] * away
    return 0


def _band(row: Callable[[int], Floats], last: int, down: int, up: int) -> Floats:
    """A square view, of which only the band within `down` and `up` of the diagonal is there."""
    width = down + up + 1
    store = np.zeros((last + 1) * width + up)
    for i in range(last + 1):
        first = max(0, i - down)
        steps = row(i)[: i + up - first + 1]
        inside = min(len(steps), last - first + 1)
        at = i * width + first - i + down
        store[at : at + inside] = steps[:inside]
        store[i * width + min(last, i + up) - i + down] += steps[inside:].sum()
    item = store.itemsize
    base = as_strided(store[down:], shape=(last + 1, last + 1), strides=((width - 1) * item, item))
    return np.asarray(base)
