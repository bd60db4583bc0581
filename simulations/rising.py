"""Rising: where a value belongs in a rising array, for compiled code, as `numpy.searchsorted` says it elsewhere.

Compiled code that calls numpy's own search, or its sums of arrays, loads half of numba and scipy.linalg with it, which
takes longer than reading the code.
"""

from simulations.compiled import inlined
from simulations.draws.records import Floats


@inlined
def first_not_below(rising: Floats, value: float) -> int:
    """Index of the first element that is not below the value; the length if there is none."""
    low, high = 0, len(rising)
    while low < high:
        middle = (low + high) >> 1
        if rising[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def first_above(rising: Floats, value: float) -> int:
    """Index of the first element that is above the value; the length if there is none."""
    low, high = 0, len(rising)
    while low < high:
        middle = (low + high) >> 1
        if rising[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low
