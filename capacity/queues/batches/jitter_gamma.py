"""Gamma shape: the law of service times that share a coefficient of variation, whatever their mean."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammainccinv, gammaincinv

Floats = NDArray[np.float64]
_MASS_BELOW = 1e-18  # of the law before the first edge
_MASS_BEYOND = 1e-20  # and after the last one
_RATIO_MAX = 20.0  # of edges near 0, where the density is a power of time
_DEVIATIONS = 4.0  # between edges elsewhere
_STIRLING_FROM = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaShape:
    """Gamma laws of any mean with shape k = 1 / cv^2.

    Attributes:
        shape: k.
        edges: ascending times, in means, between which Gauss quadrature in log time resolves the
            density; all but 1e-18 of the law lies between the first and the last.

    Source:
        Johnson, Kotz & Balakrishnan (1994), Continuous Univariate Distributions vol. 1, ch. 17.

    >>> law = GammaShape(shape=1.0)
    >>> round(float(law.density(np.array([2.0]), 2.0)[0]), 12) == round(0.5 * math.exp(-1.0), 12)
    True
    """

    shape: float
    edges: Floats = field(init=False, repr=False, compare=False)
    _log_peak: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", _edges(self.shape))
        peak = 0.5 * math.log(self.shape / (2.0 * math.pi)) - stirling_rest(self.shape)
        object.__setattr__(self, "_log_peak", peak)

    def density(self, time: Floats, mean: Floats | float) -> Floats:
        """Of a law with `mean`, per unit of time, for times > 0 of any shape.

        Written around the mean, where e^-kx (kx)^k alone would overflow and then cancel at small cv.
        """
        x = time / mean
        log_x = np.log(x)
        return np.asarray(np.exp(self.shape * (log_x - (x - 1.0)) - log_x + self._log_peak) / mean)

    def tail(self, time: float, mean: Floats) -> Floats:
        """P(S > t) for laws of each mean."""
        return np.asarray(gammaincc(self.shape, self.shape * time / mean))


def stirling_rest(k: float) -> float:
    """log Gamma(k) - (k - 1/2) log k + k - log(2 pi)/2, without the cancellation at large k.

    Source:
        Abramowitz & Stegun (1964), 6.1.41.
    """
    if k < _STIRLING_FROM:
        return math.lgamma(k) - (k - 0.5) * math.log(k) + k - 0.5 * math.log(2.0 * math.pi)
    square = k * k
    return (1.0 - (1.0 - (2.0 / 7.0 - 3.0 / (14.0 * square)) / square) / (30.0 * square)) / (12.0 * k)


def _edges(shape: float) -> Floats:
    """From quantile to quantile; the root of kx has a standard deviation of about 1/2 wherever it is."""
    last = float(gammainccinv(shape, _MASS_BEYOND)) / shape
    edges = [float(gammaincinv(shape, _MASS_BELOW)) / shape]
    while edges[-1] < last:
        by_root = (math.sqrt(shape * edges[-1]) + 0.5 * _DEVIATIONS) ** 2 / shape
        edges.append(min(edges[-1] * _RATIO_MAX, by_root))
    return np.append(edges[:-1], last)
