"""M-matrices: their inverses and stationary laws from positive numbers alone, without a subtraction."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def inverse(rates: Floats, exits: Floats) -> Floats:
    """Mean times in state j before the exit, from state i: the inverse of diag(outflow) - rates.

    By halves: one half is left out of the chain, its detours are added to the rates and exits of
    the other. Given the exits, not the diagonal, nothing is subtracted: every entry is right to a
    few roundings, however nearly singular the matrix and however small the entry.

    Args:
        rates: non-negative, `(n, n)`; the diagonal is not read.
        exits: rates of leaving for good, `(n,)`, non-negative; some exit is reached from every state.

    Returns:
        Shape `(n, n)`, non-negative.

    Source:
        Grassmann, Taksar & Heyman (1985), Operations Research 33(5); Alfa, Xue & Ye (2002), Mathematics
        of Computation 71(237), 217-236, for the accuracy entry by entry.

    >>> inverse(np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([1e-30, 1e-30])) * 3e-30
    array([[2., 1.],
           [2., 1.]])
    """
    size = len(exits)
    if size == 1:
        return np.array([[1.0 / exits[0]]])
    if size == 2:
        return _inverse_of_two(float(rates[0, 1]), float(rates[1, 0]), float(exits[0]), float(exits[1]))
    first, last = slice(size // 2), slice(size // 2, size)
    within = inverse(rates[first, first], exits[first] + rates[first, last].sum(axis=1))
    back, over = rates[last, first] @ within, within @ rates[first, last]
    result = np.empty((size, size))
    result[last, last] = inverse(
        rates[last, last] + back @ rates[first, last], exits[last] + back @ exits[first]
    )
    result[first, last] = over @ result[last, last]
    result[last, first] = result[last, last] @ back
    result[first, first] = within + result[first, last] @ back
    return result


def stationary(rates: Floats) -> Floats:
    """Stationary law of the chain with these rates, by halves as in `inverse`, summing to 1.

    Args:
        rates: non-negative, `(n, n)`; the diagonal is not read; the last state is reached from all.

    >>> stationary(np.array([[0.0, 3.0, 0.0], [1.0, 0.0, 3.0], [0.0, 1.0, 0.0]])) * 13.0
    array([1., 3., 9.])
    """
    size = len(rates)
    if size == 1:
        return np.ones(1)
    first, last = slice(size // 2), slice(size // 2, size)
    within = inverse(rates[first, first], rates[first, last].sum(axis=1))
    back = rates[last, first] @ within
    law = stationary(rates[last, last] + back @ rates[first, last])
    law = np.concatenate((law @ back, law))
    return np.asarray(law / law.sum())


def _inverse_of_two(over: float, back: float, first_exit: float, last_exit: float) -> Floats:
    """As by halves, only faster; no product of two small rates, which could underflow."""
    first = 1.0 / (first_exit + over)
    returning = back * first
    last = 1.0 / (last_exit + returning * first_exit)
    crossing = over * first * last
    return np.array([[first + crossing * returning, crossing], [last * returning, last]])
