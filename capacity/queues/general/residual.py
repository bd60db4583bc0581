"""Residual: what is left of a service that an arrival finds in progress, as a tail and as transforms.

Times are in mean services. The residual R has density P(S > x); its own residual has the transform

    Q(s) = (1 - R(s)) / s = (s - 1 + B(s)) / s^2,    B(s) = E e^(-s S), R(s) = (1 - B(s)) / s,

from which all laws of M/G/1 follow without a difference that vanishes at s = 0.
"""

import math

import numpy as np
from numpy.typing import NDArray

from capacity.queues.durations import Duration, Family

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
_SERIES_TERMS = 60
_LOG_NEGLIGIBLE = 42.0  # e^-42 = 6e-19
_STEP_MAX, _STEP_OF_SPREAD = 0.3, 0.28  # right to 1e-14, measured to scv 1000
_EXPONENT_MAX = 9.0  # e^(-9^2/2) = 3e-18
_TURN_MAX = 2.5  # the Gaussian weight grows by e^(turn^2 / 2) where the path of integration is turned


def residual_tail(service: Duration, time: Floats) -> Floats:
    """P(R > t) = E (S - t)^+ / E S, for times >= 0 in mean services.

    Source:
        Cox (1962), Renewal Theory, sec. 5.2; lognormal: Black & Scholes (1973), eq. 13.

    >>> law = Duration(family=Family.DETERMINISTIC, mean_s=3.0)
    >>> residual_tail(law, np.array([0.0, 0.25, 2.0])).tolist()
    [1.0, 0.75, 0.0]
    """
    from scipy.special import gammaincc, ndtr

    c = service.variability
    match service.family:
        case Family.DETERMINISTIC:
            return np.maximum(0.0, 1.0 - time)
        case Family.HYPEREXPONENTIAL:
            parts = [p / rate * np.exp(-rate * time) for p, rate in unit_branches(service)]
            return np.asarray(parts[0] + parts[1])
        case Family.LOGNORMAL:
            spread = math.sqrt(math.log1p(c))
            with np.errstate(divide="ignore"):
                depth = np.log(time) / spread
            beyond = ndtr(spread / 2.0 - depth) - time * ndtr(-spread / 2.0 - depth)
            return np.maximum(0.0, beyond)
        case _:  # exponential and Erlang are gamma laws
            shape, x = 1.0 / c, time / c
            return np.maximum(0.0, gammaincc(shape + 1.0, x) - time * gammaincc(shape, x))


def unit_branches(service: Duration) -> list[tuple[float, float]]:
    """Branches of a hyper-exponential law at mean 1: probability and rate, slow branch last."""
    return [(p, 2.0 * p) for p, _ in service.branches]


def transforms(service: Duration, s: Complexes) -> tuple[Complexes, Complexes]:
    """Q(s) and R(s) of a gamma law (Erlang, exponential) for Re s > -1/scv, of a lognormal for Re s > 0.

    Both to rounding, however large or small: R is not 1 - s Q where s is large.
    """
    if service.family is Family.LOGNORMAL:
        return _of_lognormal(service.variability, s)
    return _of_gamma(service.variability, s)


def ratios(z: Complexes) -> tuple[Complexes, Complexes]:
    """(e^-z - 1 + z) / z^2 and (1 - e^-z) / z, by their series near 0. [dimensionless]

    >>> [float(ratio[0].real) for ratio in ratios(np.array([0j]))]
    [0.5, 1.0]
    """
    second, first = np.empty_like(z), np.empty_like(z)
    near = np.abs(z) < 1.0
    close, far = z[near], z[~near]
    term = np.full_like(close, 0.5)
    total = np.zeros_like(close)
    for k in range(3, 22):
        total += term
        term *= -close / k
    second[near], first[near] = total, 1.0 - close * total
    fallen = 1.0 - np.exp(-far)
    second[~near], first[~near] = (far - fallen) / far**2, fallen / far
    return second, first


def _of_gamma(c: float, s: Complexes) -> tuple[Complexes, Complexes]:
    """B(s) = (1 + c s)^(-1/c); near 0 the series of its moments, whose ratio tends to c."""
    second, first = np.empty_like(s), np.empty_like(s)
    near = np.abs(s) * max(c, 1.0) < 0.3
    close, far = s[near], s[~near]
    term = np.full_like(close, (1.0 + c) / 2.0)
    total = np.zeros_like(close)
    for k in range(2, _SERIES_TERMS):
        total += term
        term *= -close * ((1.0 + k * c) / (k + 1))
    second[near], first[near] = total, 1.0 - close * total
    fallen = -np.expm1(_log1p(c * far) / -c)
    second[~near], first[~near] = (far - fallen) / far**2, fallen / far
    return second, first


def _log1p(z: Complexes) -> Complexes:
    """log(1 + z) that keeps its digits where z is small, which numpy's does not for complex z."""
    x, y = z.real, z.imag
    return np.asarray(0.5 * np.log1p(x * (2.0 + x) + y * y) + 1j * np.arctan2(y, 1.0 + x))


def _of_lognormal(c: float, s: Complexes) -> tuple[Complexes, Complexes]:
    """Q(s) and R(s), with B(s) = 0 where it is below rounding.

    There |B(s)| is about exp(-Re(w^2 + 2 w) / (2 variance)), w Lambert's W(s median variance):
    Asmussen, Jensen & Rojas-Nandayapa (2016), Methodology and Computing in Applied Probability 18.
    """
    from scipy.special import lambertw

    variance = math.log1p(c)
    w = np.asarray(lambertw(s * (math.exp(-variance / 2.0) * variance), 0))
    heard = (w * (w + 2.0)).real < 2.0 * variance * _LOG_NEGLIGIBLE
    second, first = (s - 1.0) / s**2, 1.0 / s
    second[heard], first[heard] = _by_exponent(variance, s[heard])
    return second, first


def _by_exponent(variance: float, s: Complexes) -> tuple[Complexes, Complexes]:
    """E S^2 q(s S) and E S p(s S), of the two `ratios` q and p: the trapezoidal rule over log S.

    The path of integration is turned so that s S is as real as can be, which stops the oscillation
    (Asmussen et al. 2016, sec. 3). The rule converges faster than any power: Trefethen & Weideman
    (2014), SIAM Review 56(3).
    """
    spread = math.sqrt(variance)
    step = min(_STEP_MAX, _STEP_OF_SPREAD / spread)
    steps = round((_EXPONENT_MAX + spread) / step)
    turn = np.clip(np.angle(s) / spread, -_TURN_MAX, _TURN_MAX)
    exponent = step * np.arange(-steps, steps + 1) - 1j * turn[..., None]
    duration = np.exp(spread * exponent + 1.5 * variance)  # under the law weighted with S^2
    weights = np.exp(-0.5 * exponent**2) * (step * math.exp(variance) / math.sqrt(2.0 * math.pi))
    second, first = ratios(s[..., None] * duration)
    return np.sum(second * weights, axis=-1), np.sum(first * (weights / duration), axis=-1)
