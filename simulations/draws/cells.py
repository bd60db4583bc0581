"""Cells: durations counted by the first bits of their logarithm, 1024 cells an octave."""

import numpy as np

from simulations.compiled import inlined
from simulations.draws.records import Floats, Integers

PER_OCTAVE = 1024
# Durations below 1 ps lie in the first cell, those above half a year in the last.
_LOWEST_S, _OCTAVES = 2.0**-40, 64
CELLS = _OCTAVES * PER_OCTAVE + 1
BITS = 52 - 10  # of the mantissa, which 1024 cells an octave leave out
LOWEST_CELL = int(np.float64(_LOWEST_S).view(np.int64)) >> BITS


def edges(cells: Integers) -> tuple[Floats, Floats]:
    """Lower and upper end of cells; cell -1 is everything below the lowest, the last has no end. [s]"""
    low_s = ((cells + LOWEST_CELL) << BITS).view(np.float64)
    high_s = ((cells + 1 + LOWEST_CELL) << BITS).view(np.float64)
    return np.where(cells < 0, 0.0, low_s), np.where(cells == CELLS - 2, np.inf, high_s)


def middle(low_s: Floats, high_s: Floats) -> Floats:
    """The middle between two ends; without an upper end, as far above the lower as in a cell. [s]"""
    high_s = np.where(np.isinf(high_s), low_s * (1.0 + 1.0 / PER_OCTAVE), high_s)
    return low_s + (high_s - low_s) / 2.0


@inlined
def cell_of(duration_s: float) -> int:
    """The cell of a positive duration, from the bits of its exponent and the first of its mantissa."""
    cell = (np.float64(duration_s).view(np.int64) >> BITS) - LOWEST_CELL + 1
    return int(np.minimum(np.maximum(cell, 0), CELLS - 1))
