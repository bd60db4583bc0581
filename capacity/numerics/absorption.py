"""Absorption: where a chain that is absorbed in the end is at a time, however far off and unlikely."""

import math
import sys

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_NEGLIGIBLE = 1e-20  # the first term of the power series that is left out, of 1
_FLUSHED = 1e-280  # below, numbers on their way to underflow only cost time


class Absorption:
    """Occupation probabilities of a chain whose last state is absorbing.

    e^(Qh) of one short step h is squared again and again, once for all times. Each power is kept
    stochastic, row by row: a rounding of a power's mass would be doubled by every later squaring,
    one that is spread over the row is not. Everything is positive, so that small probabilities
    have all their digits too.

    Args:
        rates: non-negative, `(n, n)`; the diagonal is not read, the last row is 0.
        start: probabilities at time 0, `(n,)`.

    Source:
        Jensen (1953), Skandinavisk Aktuarietidskrift 36, 87-91 (uniformization); the powers: Moler & Van
        Loan (2003), SIAM Review 45(1), method 3; the rows' sums: Grassmann, Taksar & Heyman (1985).

    >>> chain = Absorption(np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([1.0, 0.0]))
    >>> float(chain.at(300.0)[0] / np.exp(-600.0)).__round__(12)
    1.0
    """

    def __init__(self, rates: Floats, start: Floats) -> None:
        jumps = rates.copy()
        np.fill_diagonal(jumps, 0.0)
        outflow = jumps.sum(axis=1)
        # at most half of the steps of the uniformized chain leave a state: its diagonal does not cancel
        self._steps_per_time = 2.0 ** math.frexp(2.0 * float(outflow.max()))[1]
        self._steps = jumps / self._steps_per_time + np.diag(1.0 - outflow / self._steps_per_time)
        self._start = start
        self._powers = [_stochastic(_series(np.eye(len(start)), self._steps, 1.0))]

    def at(self, time: float) -> Floats:
        """Probabilities of the states at a time. `(n,)`"""
        law = self._start
        if time == 0.0:
            return law
        ticks = time * self._steps_per_time
        whole = math.floor(min(ticks, sys.float_info.max))
        if self._over_before(whole.bit_length()):
            return np.append(np.zeros(len(law) - 1), law.sum())
        for bit in range(whole.bit_length()):
            if whole >> bit & 1:
                law = law @ self._powers[bit]
        rest = ticks - whole
        return _series(law, self._steps, rest) * math.exp(-rest) if rest > 0.0 else law

    def _over_before(self, bits: int) -> bool:
        """Whether nothing is left by the time of so many bits; makes the powers for it."""
        while len(self._powers) < bits:
            if not self._powers[-1][:-1, :-1].any():
                return True
            self._powers.append(_stochastic(self._powers[-1] @ self._powers[-1]))
        return False


def _series(law: Floats, steps: Floats, time: float) -> Floats:
    """e^time times the law after a time of at most 1 mean step."""
    total, term, weight, k = law, law, 1.0, 0
    while weight > _NEGLIGIBLE:
        k += 1
        weight *= time / k
        term = (term @ steps) * (time / k)
        total = total + term
    return total


def _stochastic(matrix: Floats) -> Floats:
    matrix[matrix < _FLUSHED] = 0.0
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))
