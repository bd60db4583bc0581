"""Compounding: bounds of a geometric sum's tail on a lattice, by one fast Fourier transform."""

import numpy as np

from capacity.queues.durations import Floats

_PERIODS = 8  # transform length over the lattice: what wraps around is damped by e^-40
_DAMPING = 40.0
_ROUNDING = 1e-13


def tail_bounds(residual: Floats, rho: float) -> tuple[float, float]:
    """Proved lower and upper bound of P(W > t), W a geometric(rho) number of residuals added up.

    Each residual is rounded down, or up, to the lattice; a sum rounded term by term stays on its
    side. The tails of the compound law have the generating function rho G(z) / (1 - rho r(z)), G that
    of the residual's tails: all positive, so that only rounding, 1e-13, is left outside the proof.

    Args:
        residual: P(R > i h) for i = 0, 1, ..., n + 1 with n h = t; shape `(n + 2,)`.

    Source:
        Dufresne & Gerber (1989), ASTIN Bulletin 19(1), "Three methods to calculate the probability of
        ruin" (both bounds); Grübel & Hermesmeier (1999), ASTIN Bulletin 29(2) (transform, damping).

    >>> low, high = tail_bounds(np.exp(-np.arange(2050) / 1024), 0.5)  # M/M/1 at t = 2
    >>> low < 0.5 * float(np.exp(-1.0)) < high, high - low < 1e-3
    (True, True)
    """
    masses = residual[:-1] - residual[1:]
    up = _compound_tail(np.append(0.0, masses[:-1]), residual[:-1], rho)
    down = _compound_tail(masses, residual[1:], rho)
    return max(0.0, down - _ROUNDING), min(1.0, up + _ROUNDING)


def _compound_tail(masses: Floats, tails: Floats, rho: float) -> float:
    """Last coefficient of rho G(z) / (1 - rho r(z)), on a circle so small that nothing wraps around."""
    count = len(masses)
    size = _PERIODS * count
    damping = np.exp(-_DAMPING / size * np.arange(count))
    compound = rho * np.fft.rfft(tails * damping, size)
    compound /= 1.0 - rho * np.fft.rfft(masses * damping, size)
    return float(np.fft.irfft(compound, size)[count - 1] / damping[-1])
