"""Cells: durations counted by the first bits of their logarithm, 1024 cells an octave."""

import numpy as np

from simulations.compiled import inlined

PER_OCTAVE = 1024
# Durations below 1 ps lie in the first cell, those above half a year in the last.
_LOWEST_S, _OCTAVES = 2.0**-40, 64
CELLS = _OCTAVES * PER_OCTAVE + 1
BITS = 52 - 10  # of the mantissa, which 1024 cells an octave leave out
LOWEST_CELL = int(np.float64(_LOWEST_S).view(np.int64)) >> BITS


@inlined
def cell_of(duration_s: float) -> int:
    """The cell of a positive duration, from the bits of its exponent and the first of its mantissa."""
    cell = (np.float64(duration_s).view(np.int64) >> BITS) - LOWEST_CELL + 1
    return int(np.minimum(np.maximum(cell, 0), CELLS - 1))


@inlined
def middle_of(cell: int, above_s: float, below_s: float) -> float:
    """The middle of a cell, or of its part between two durations. [s]

    The first cell begins at 0; the last has no end, and is taken to be as wide as others for its place.
    """
    low_s = np.int64(cell - 1 + LOWEST_CELL << BITS).view(np.float64) if cell > 0 else 0.0
    high_s = np.int64(cell + LOWEST_CELL << BITS).view(np.float64) if cell < CELLS - 1 else np.inf
    low_s, high_s = max(low_s, above_s), min(high_s, below_s)
    if high_s == np.inf:
        high_s = low_s * (1.0 + 1.0 / PER_OCTAVE)
    return float(low_s + (high_s - low_s) / 2.0)
