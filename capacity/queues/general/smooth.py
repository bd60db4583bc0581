"""Smooth: wait and response of M/G/1 whose service has a smooth density, by one Fourier series an octave."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from capacity.numerics.fourier import Complexes, Octave, octave_end
from capacity.numerics.tail import first_true
from capacity.queues.durations import Duration, Family, Floats
from capacity.queues.general.residual import residual_tail, transforms

AT_ONCE = 1e-17  # till then less than rounding has happened: the density of W is below lambda
NEVER = 1e290
TILT_SHARE = 0.99  # of the decay rate
TILT_LEAST = 1e-18
_SIDE_MIN, _SIDE_MAX = 32, 512
_STEEP_SCV = 0.1  # below it the flank of the service law needs more than the fewest frequencies,
_STEEP_LAST = 32.0  # up to this many services, whose sum has no flank left


@dataclass(frozen=True, slots=True, kw_only=True)
class Smooth:
    """Gamma, Erlang or lognormal service at mean 1; tails right to about 1e-13.

    The wait's tail has the transform rho Q / (1 - rho + rho s Q), Q(s) = (s - 1 + B(s)) / s^2, and the
    response's has (1 - rho)(1 - B(s)) / s more in the numerator: nothing vanishes at s = 0 or as rho nears 1.
    Gamma laws are tilted by nearly their decay rate, which keeps the relative accuracy of any tail;
    a lognormal has none, and below a tail of about 1e-6 the error is 1e-15 of rho.

    Attributes:
        spare: 1 - rho.

    Source:
        Kleinrock (1975), Queueing Systems vol. 1, eq. 5.105 (Pollaczek-Khinchine transform).
    """

    service: Duration
    rho: float
    spare: float
    tilt: float = field(init=False, repr=False, compare=False)
    side: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        c = self.service.variability
        heavy = self.service.family is Family.LOGNORMAL
        needed = _SIDE_MIN * (_STEEP_SCV / c) ** 0.25
        side = min(_SIDE_MAX, max(_SIDE_MIN, 2 ** math.ceil(math.log2(needed))))
        object.__setattr__(self, "tilt", 0.0 if heavy else TILT_SHARE * _gamma_decay(c, self.rho))
        object.__setattr__(self, "side", side)

    @property
    def atoms(self) -> Floats:
        """None: the response has a density."""
        return np.zeros(0)

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        if time < AT_ONCE:
            return self.rho
        if time > NEVER:
            return 0.0
        octave, wait, _ = _spectra(self, octave_end(time))
        return max(0.0, octave.value(wait, time))

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""
        if time < AT_ONCE:
            return self.rho + self.spare * float(self.service.tail(np.array(time * self.service.mean_s)))
        if time > NEVER:
            return 0.0
        octave, _, response = _spectra(self, octave_end(time))
        return max(0.0, octave.value(response, time))

    def residual_tail(self, time: Floats) -> Floats:
        """P(R > t) for t >= 0, R what is left of a service in progress."""
        return residual_tail(self.service, time)


@lru_cache(maxsize=64)
def _spectra(law: Smooth, last: float) -> tuple[Octave, Complexes, Complexes]:
    """An octave, and its coefficients of the wait and of the response."""
    octave = Octave(last=last, tilt=law.tilt, side=law.side if last <= _STEEP_LAST else _SIDE_MIN)
    s = octave.nodes()
    rows = [transforms(law.service, row) for row in s]  # by rows: little memory
    second, first = np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
    below = law.spare + law.rho * (s * second)
    wait = law.rho * second
    response = wait + law.spare * first
    return octave, octave.coefficients(wait / below), octave.coefficients(response / below)


def _gamma_decay(c: float, rho: float) -> float:
    """Largest theta <= 1/c with B(-theta) <= 1 + theta / rho, where the transform has its first pole."""

    def beyond(theta: float) -> bool:
        return -math.log1p(-c * theta) / c >= math.log1p(theta / rho)

    return first_true(beyond, TILT_LEAST, TILT_SHARE / c)
