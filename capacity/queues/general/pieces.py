"""Pieces: a survival function of straight pieces and jumps, its integrals, convolutions and transform."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.numerics.fourier import Complexes, Octave
from capacity.queues.general.residual import ratios
from capacity.service_law import ServiceLaw

Floats = NDArray[np.float64]
_GAUSS_ORDER = 16  # right to rounding for e^(-s x) where |s| x changes by up to 12
_PHASE_MAX = 12.0
_CHUNK = 4096
_LOW_COLUMNS = 32  # frequencies at which 1 - s + ... must not be left to cancel
_PAIR = np.array([-1.0, 1.0]) / 3.0**0.5  # Gauss-Legendre nodes of order 2: exact for cubics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """P(S > x) between rising times, straight, with a jump at each that has a mass. Mean 1.

    Attributes:
        times: shape `(knots,)`, from 0. [mean services]
        before: P(S >= x), shape `(knots,)`.
        after: P(S > x), shape `(knots,)`; 0 at the last.
        areas: P(R > x), the integral of P(S > y) over y > x, shape `(knots,)`.
    """

    times: Floats
    before: Floats
    after: Floats
    areas: Floats

    @classmethod
    def of(cls, law: ServiceLaw, mean_s: float) -> "Pieces":
        """The survival function of a quantile function, in units of its mean.

        >>> from capacity.service_law import from_samples
        >>> pieces = Pieces.of(from_samples([1.0, 3.0]), 2.0)
        >>> pieces.times.tolist(), pieces.after.tolist(), pieces.areas.tolist()
        ([0.0, 0.5, 1.5], [1.0, 0.5, 0.0], [1.0, 0.5, 0.0])
        """
        times, places = np.unique(np.asarray(law.durations_s) / mean_s, return_index=True)
        shares = 1.0 - np.asarray(law.probabilities)
        lasts = np.append(places[1:], len(shares)) - 1
        before, after = shares[places], shares[lasts]
        if times[0] > 0.0:
            times, before, after = np.append(0.0, times), np.append(1.0, before), np.append(1.0, after)
        steps = np.diff(times) * (after[:-1] + before[1:]) / 2.0
        areas = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
        return cls(times=times, before=before, after=after, areas=areas)

    def survival(self, time: Floats) -> Floats:
        """P(S > t) for t >= 0."""
        piece, share = self._place(time)
        inside = self.after[piece] + share * (self.before[piece + 1] - self.after[piece])
        return np.where(time < self.times[-1], inside, 0.0)

    def residual_tail(self, time: Floats) -> Floats:
        """P(R > t) for t >= 0: the area under what is left of P(S > t)."""
        piece, share = self._place(time)
        rest = (1.0 - share) * (self.times[piece + 1] - self.times[piece])
        here = self.after[piece] + share * (self.before[piece + 1] - self.after[piece])
        inside = self.areas[piece + 1] + rest * (here + self.before[piece + 1]) / 2.0
        return np.where(time < self.times[-1], inside, 0.0)

    def twice(self, time: float) -> tuple[float, float]:
        """P(R + R' > t) and the density of R + R' at t, of two independent residuals, exactly.

        Between the knots x and t - x of either factor the integrands are cubic at most.
        """
        knots = self.times[self.times < time]
        ends = np.unique(np.concatenate([knots, time - knots]))
        middles, halves = (ends[1:] + ends[:-1]) / 2.0, np.diff(ends) / 2.0
        nodes = middles[:, None] + halves[:, None] * _PAIR
        densities = self.survival(nodes)
        rest = time - nodes
        tail = float(halves @ (densities * self.residual_tail(rest)).sum(axis=1))
        density = float(halves @ (densities * self.survival(rest)).sum(axis=1))
        return float(self.residual_tail(np.asarray(time))) + tail, density

    def masses(self) -> tuple[Floats, Floats]:
        """Times with a probability of their own, and these probabilities."""
        jumps = self.before - self.after
        return self.times[jumps > 0.0], jumps[jumps > 0.0]

    def ramps(self) -> tuple[Floats, Floats, Floats]:
        """First and last times and probability of each straight piece that falls."""
        falls = self.after[:-1] - self.before[1:]
        real = falls > 0.0
        return self.times[:-1][real], self.times[1:][real], falls[real]

    def _place(self, time: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Index of the piece, and how far through it a time is."""
        piece = np.searchsorted(self.times, time, side="right") - 1
        piece = np.clip(piece, 0, len(self.times) - 2)
        return piece, (time - self.times[piece]) / (self.times[piece + 1] - self.times[piece])


def points(pieces: Pieces, frequency: float) -> tuple[Floats, Floats]:
    """A law of masses whose transform at |s| up to `frequency` is that of the pieces, to rounding."""
    times, masses = pieces.masses()
    starts, ends, falls = pieces.ramps()
    x, w = _gauss(starts, ends, falls, frequency)
    return np.concatenate([times, x]), np.concatenate([masses, w])


def _gauss(starts: Floats, ends: Floats, falls: Floats, frequency: float) -> tuple[Floats, Floats]:
    counts = np.maximum(1, np.ceil((ends - starts) * frequency / _PHASE_MAX)).astype(int)
    widths = np.repeat((ends - starts) / counts, counts)
    order = np.concatenate([np.arange(n) for n in counts]) if len(counts) else np.zeros(0)
    lefts = np.repeat(starts, counts) + order * widths
    nodes, weights = np.polynomial.legendre.leggauss(_GAUSS_ORDER)
    x = lefts[:, None] + widths[:, None] * (nodes + 1.0) / 2.0
    w = np.repeat(falls / counts, counts)[:, None] * weights / 2.0
    return x.ravel(), w.ravel()


def transform_at(pieces: Pieces, octave: Octave) -> Complexes:
    """Q(s) = (s - 1 + B(s)) / s^2 at the octave's nodes; at the lowest as E S^2 q(s S).

    A piece that is long against the highest frequency enters by its ends, a short one as points.
    """
    rows, columns = octave.rows, octave.columns
    highest = float(abs(rows[-1]) + abs(columns[-1]))
    starts, ends, falls = pieces.ramps()
    long = (ends - starts) * highest > _PHASE_MAX
    x, w = _gauss(starts[~long], ends[~long], falls[~long], highest)
    times, masses = pieces.masses()
    s = octave.nodes()
    transform = _grid(np.concatenate([times, x]), np.concatenate([masses, w]), rows, columns)
    slopes = falls[long] / (ends[long] - starts[long])
    bends, rates = np.concatenate([starts[long], ends[long]]), np.concatenate([slopes, -slopes])
    transform += _grid(bends, rates, rows, columns) / s
    second = (s - 1.0 + transform) / s**2
    if octave.last > 1.0:
        low = s[0, :_LOW_COLUMNS]
        x, w = points(pieces, float(np.abs(low).max()))
        second[0, :_LOW_COLUMNS] = ratios(low[:, None] * x)[0] @ (w * x * x)
    return second


def _grid(x: Floats, weights: Floats, rows: Complexes, columns: Complexes) -> Complexes:
    """Sum of w e^(-s x) at s = row + column: the exponential is a product, the sum a matrix product."""
    total = np.zeros((len(rows), len(columns)), dtype=complex)
    for first in range(0, len(x), _CHUNK):
        times, masses = x[first : first + _CHUNK], weights[first : first + _CHUNK]
        total += (np.exp(-np.outer(rows, times)) * masses) @ np.exp(-np.outer(times, columns))
    return total
