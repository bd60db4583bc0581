"""Rough: wait and response of M/G/1 whose service law has jumps and bends, its first terms set apart."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from capacity.numerics.fourier import Complexes, Octave, octave_end
from capacity.numerics.tail import first_true
from capacity.queues.durations import Floats
from capacity.queues.empirical import Empirical
from capacity.queues.general.pieces import Pieces, points, transform_at
from capacity.queues.general.residual import ratios
from capacity.queues.general.smooth import AT_ONCE, NEVER, TILT_LEAST, TILT_SHARE

_EXPONENT_MAX = 600.0
_SIDES = ((500, 256), (5000, 128), (math.inf, 64))  # up to so many knots; of many each matters little


@dataclass(frozen=True, slots=True, kw_only=True)
class Rough:
    """Service of straight pieces and jumps at mean 1.

    The wait is a sum of n residual services with probability (1 - rho) rho^n (Beneš 1957). A sum of
    n has bends that its transform shows only as s^-n at high frequencies; so n = 0, 1, 2 are taken in
    time, where their laws are exact polynomials, and the Fourier series begins with n = 3.

    Attributes:
        spare: 1 - rho.

    Source:
        Beneš (1957), Annals of Mathematical Statistics 28(3), "On queues with Poisson arrivals".
    """

    service: Empirical
    rho: float
    spare: float
    pieces: Pieces = field(init=False, repr=False, compare=False)
    tilt: float = field(init=False, repr=False, compare=False)
    side: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pieces = Pieces.of(self.service.law, self.service.mean_s)
        object.__setattr__(self, "pieces", pieces)
        object.__setattr__(self, "tilt", TILT_SHARE * _decay(pieces, self.spare / self.rho))
        object.__setattr__(self, "side", next(side for knots, side in _SIDES if len(pieces.times) < knots))

    @property
    def atoms(self) -> Floats:
        """Durations with a probability of their own: a response without a wait takes just as long."""
        return self.pieces.masses()[0]

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        if not AT_ONCE <= time <= NEVER:
            return self.rho if time < AT_ONCE else 0.0
        octave, wait, _ = _spectra(self, octave_end(time))
        return self._known(time)[0] + max(0.0, octave.value(wait, time))

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0: besides the wait's tail its density over lambda."""
        if time > NEVER:
            return 0.0
        if time < AT_ONCE:
            return self.rho + self.spare * float(self.pieces.survival(np.array(time)))
        octave, _, response = _spectra(self, octave_end(time))
        return sum(self._known(time)) + max(0.0, octave.value(response, time))

    def _known(self, time: float) -> tuple[float, float]:
        """What no, one and two residuals give to P(W > t), and to the density of W over lambda."""
        tail, density = self.pieces.twice(time)
        wait = self.spare * self.rho * (float(self.residual_tail(np.array(time))) + self.rho * tail)
        return wait, self.spare * (float(self.pieces.survival(np.array(time))) + self.rho * density)

    def residual_tail(self, time: Floats) -> Floats:
        """P(R > t) for t >= 0, R what is left of a service in progress."""
        return self.pieces.residual_tail(time)


@lru_cache(maxsize=64)
def _spectra(law: Rough, last: float) -> tuple[Octave, Complexes, Complexes]:
    """An octave, and its coefficients of the wait and of the response, from three residuals on.

    With r = 1 - s Q the transform of the residual, the terms from n = 3 of the wait's tail
    (1 - rho) rho^n (1 - r^n) / s add up to rho^3 Q (1 + (1 - rho) r (1 + r)) / (1 - rho r).
    """
    octave = Octave(last=last, tilt=law.tilt, side=law.side)
    s, second = octave.nodes(), transform_at(law.pieces, octave)
    residual = 1.0 - s * second
    below = law.spare + law.rho * (s * second)
    wait = law.rho**3 * second * (1.0 + law.spare * residual * (1.0 + residual)) / below
    density = law.spare * law.rho**2 * residual**3 / below
    return octave, octave.coefficients(wait), octave.coefficients(wait + density)


def _decay(pieces: Pieces, odds: float) -> float:
    """Largest theta, within e^600, with theta Q(-theta) <= (1 - rho) / rho, where the first pole is."""
    last = pieces.times[-1]
    times, masses = points(pieces, _EXPONENT_MAX / last)

    def beyond(theta: float) -> bool:
        second = ratios((-theta * times).astype(complex))[0].real @ (times * times * masses)
        return bool(theta * second >= odds)

    return first_true(beyond, TILT_LEAST, _EXPONENT_MAX / last)
