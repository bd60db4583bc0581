"""Fourier: a survival function from its transform, on frequencies that an octave of times shares."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex128]
_PERIODS = 16  # period over the octave's last time: later times leak in with e^-36 of their values
_DAMPING = 36.0
_FILTER = 5.9  # erfc(5.9) = 7e-17: the filter is 1 at the first frequency and 0 at the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Octave:
    """Frequencies for the times in (last/2, last]: `side**2` of them, as a square.

    The inversion integral on the line Re s = damping - tilt by the trapezoidal rule, which by
    Poisson's summation formula only adds the values one, two, ... periods later, each damped by
    e^-36. The sum is ended not by a cut but by an error-function filter, whose effect on a time t
    dies like a Gaussian in the distance to the nearest jump or kink, here that at time 0: with
    32^2 frequencies it is below rounding. A tail that falls like e^(-theta t) keeps its
    relative accuracy, however small it is, where the tilt is near theta.

    Attributes:
        last: last time of the octave.
        tilt: what is inverted is e^(tilt t) P(X > t); below the decay rate of P(X > t).
        side: square root of the number of frequencies.

    Source:
        Abate & Whitt (1992), Queueing Systems 10, sec. 4-5 (summation formula, damping); Vandeven
        (1991), Journal of Scientific Computing 6(2), and Boyd (1996), in Proc. ICOSAHOM 95, 267-276
        (error-function filter).

    >>> octave = Octave(last=2.0, tilt=0.0, side=32)
    >>> round(octave.value(octave.coefficients(1.0 / (octave.nodes() + 1.0)), 1.5), 14)
    0.22313016014843
    >>> round(math.exp(-1.5), 14)
    0.22313016014843
    """

    last: float
    tilt: float
    side: int

    @property
    def spacing(self) -> float:
        """Distance between two frequencies. [radian per time]"""
        return 2.0 * math.pi / (_PERIODS * self.last)

    @property
    def abscissa(self) -> float:
        """Real part of every node."""
        return _DAMPING / (_PERIODS * self.last) - self.tilt

    @property
    def rows(self) -> Complexes:
        """Nodes of the first column, shape `(side,)`; a node is its row's plus its column's."""
        return np.asarray(self.abscissa + 1j * (self.spacing * self.side) * np.arange(self.side))

    @property
    def columns(self) -> Complexes:
        """Steps along a row, shape `(side,)`."""
        return np.asarray(1j * self.spacing * np.arange(self.side))

    def nodes(self) -> Complexes:
        """Nodes at which the transform of P(X > t) is needed, shape `(side, side)`."""
        return np.asarray(self.rows[:, None] + self.columns)

    def coefficients(self, transform: Complexes) -> Complexes:
        """Weights of the cosines and sines from the transform at the nodes."""
        from scipy.special import erfc

        place = np.arange(self.side**2).reshape(self.side, self.side) / self.side**2
        weights = transform * (0.5 * self.spacing / math.pi * erfc(_FILTER * (2.0 * place - 1.0)))
        weights[0, 0] *= 0.5
        return weights

    def value(self, coefficients: Complexes, time: float) -> float:
        """P(X > t), with the sign that rounding gives it if it vanishes."""
        along = np.exp(self.columns * time)
        down = np.exp((self.rows - self.abscissa) * time)
        # not a BLAS product, which at this size waits milliseconds for its threads on a busy machine
        total = np.einsum("ij,j->i", coefficients, along)
        return math.exp(self.abscissa * time) * float((down @ total).real)


def octave_end(time: float) -> float:
    """Smallest power of two not below a positive time."""
    mantissa, exponent = math.frexp(time)
    return math.ldexp(1.0, exponent - (mantissa == 0.5))
