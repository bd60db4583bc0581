"""Wait of M/G/1: bounds and transforms of its tail, by the method that its service law allows."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.profile.distribution import ServiceLaw
from capacity.queues.durations import Duration, Family, Floats
from capacity.queues.general.mdc import Backlog
from capacity.queues.law import settle
from capacity.queues.numerics.fourier import Complexes, Octave, octave_end
from capacity.queues.numerics.tail import first_true
from capacity.units import require_not_negative, require_positive

_SERIES_TERMS = 60
_LOG_NEGLIGIBLE = 42.0  # e^-42 = 6e-19
_STEP_MAX, _STEP_OF_SPREAD = 0.3, 0.28  # right to 1e-14, measured to scv 1000
_EXPONENT_MAX = 9.0  # e^(-9^2/2) = 3e-18
_TURN_MAX = 2.5  # the Gaussian weight grows by e^(turn^2 / 2) where the path of integration is turned


def transforms(service: Duration, s: Complexes) -> tuple[Complexes, Complexes]:
    """Q(s) and R(s) of a gamma law (Erlang, exponential) for Re s > -1/scv, of a lognormal for Re s > 0.

    Both are right to rounding, however large or small: R is not 1 - s Q if s is large.
    """
    if service.family is Family.LOGNORMAL:
        return _of_lognormal(service.variability, s)
    return _of_gamma(service.variability, s)


def ratios(z: Complexes) -> tuple[Complexes, Complexes]:
    """(e^-z - 1 + z) / z^2 and (1 - e^-z) / z, by their series near 0. [dimensionless]"""
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
    """Q(s) and R(s) with B(s) = (1 + c s)^(-1/c); near 0 the series of its moments, whose ratio tends to c."""
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


_GAUSS_ORDER = 16  # right to rounding for e^(-s x) where |s| x changes by up to 12
_PHASE_MAX = 12.0
_CHUNK = 4096
_LOW_COLUMNS = 32  # frequencies at which 1 - s + ... would cancel
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
        """The survival function of a quantile function, in units of its mean."""
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

    A piece that is long against the highest frequency is taken by its ends, a short one as points.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Empirical:
    """A service law with the moments and the tail of a `Duration`; jumps of the quantile function allowed.

    Attributes:
        variability: squared coefficient of variation.

    Raises:
        DomainError: probabilities that do not lead from 0 to 1 without falling, durations that fall,
            are negative, not finite or all 0, or not as many of either.

    Source:
        Devroye (1986), Non-Uniform Random Variate Generation, sec. II.2.1.

    >>> from capacity.profile.distribution import from_samples
    >>> law = Empirical(law=from_samples([1.0, 3.0]))
    >>> law.mean_s, law.variability, law.moment(3), law.tail(np.array([0.5, 1.0, 3.0])).tolist()
    (2.0, 0.25, 14.0, [1.0, 0.5, 0.0])
    """

    law: ServiceLaw
    mean_s: float = field(init=False, repr=False, compare=False)
    variability: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.law, ServiceLaw):
            raise DomainError(f"law must be a ServiceLaw, got {self.law!r}; from_samples makes one")
        _require_law(self.law)
        settle(self, mean_s=self.law.mean_s, variability=self.law.scv)

    def moment(self, order: int) -> float:
        """E S^order. [s^order]"""
        pieces = pairwise(zip(self.law.probabilities, self.law.durations_s, strict=True))
        return math.fsum((u1 - u0) * _power_mean(x0, x1, order) for (u0, x0), (u1, x1) in pieces)

    def tail(self, time_s: Floats) -> Floats:
        """P(S > t), for times of any shape; 1 before the shortest duration. [dimensionless]"""
        time = np.maximum(np.asarray(time_s, dtype=float), 0.0)
        return Pieces.of(self.law, 1.0).survival(time)


def _power_mean(low: float, high: float, order: int) -> float:
    """Mean of x^order for x uniform between two ends, without the difference that divides by 0."""
    return math.fsum(low**k * high ** (order - k) for k in range(order + 1)) / (order + 1)


def _require_law(law: ServiceLaw) -> None:
    shares, durations = law.probabilities, law.durations_s
    if len(shares) != len(durations) or len(shares) < 2:
        raise DomainError(
            f"a law needs as many durations as probabilities, 2 at least, got {len(durations)} "
            f"and {len(shares)}"
        )
    if shares[0] != 0.0 or shares[-1] != 1.0 or not all(u0 <= u1 for u0, u1 in pairwise(shares)):
        raise DomainError(f"probabilities must lead from 0 to 1 without falling, got {_shown(shares)}")
    for duration in durations:
        require_not_negative("durations_s", duration)
    if not all(x0 <= x1 for x0, x1 in pairwise(durations)):
        raise DomainError(f"durations_s must not fall, got {_shown(durations)}; sort the samples")
    require_positive("the mean of durations_s", law.mean_s)


def _shown(values: tuple[float, ...]) -> str:
    """A few values, with dots in place of others."""
    return ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")


AT_ONCE = 1e-17  # until then less than rounding has happened: the density of W is below lambda
NEVER = 1e290
TILT_SHARE = 0.99  # of the decay rate
TILT_LEAST = 1e-18
_SIDE_MIN, _SIDE_MAX = 32, 512
_STEEP_SCV = 0.1  # below it the flank of the service law needs more than `_SIDE_MIN` squared frequencies,
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
        settle(self, tilt=0.0 if heavy else TILT_SHARE * _gamma_decay(c, self.rho), side=side)

    @property
    def atoms(self) -> Floats:
        """None, since the response has a density."""
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


_EXPONENT_MAX_ROUGH = 600.0
_SIDES = ((500, 256), (5000, 128), (math.inf, 64))  # up to this many knots; the more, the less each matters


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
        tilt = TILT_SHARE * _decay(pieces, self.spare / self.rho)
        settle(
            self, pieces=pieces, tilt=tilt, side=next(s for knots, s in _SIDES if len(pieces.times) < knots)
        )

    @property
    def atoms(self) -> Floats:
        """Durations with a probability of their own: a response without a wait takes exactly as long."""
        return self.pieces.masses()[0]

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        if not AT_ONCE <= time <= NEVER:
            return self.rho if time < AT_ONCE else 0.0
        octave, wait, _ = _rough_spectra(self, octave_end(time))
        return self._known(time)[0] + max(0.0, octave.value(wait, time))

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0: the wait's tail plus its density over lambda."""
        if time > NEVER:
            return 0.0
        if time < AT_ONCE:
            return self.rho + self.spare * float(self.pieces.survival(np.array(time)))
        octave, _, response = _rough_spectra(self, octave_end(time))
        return sum(self._known(time)) + max(0.0, octave.value(response, time))

    def _known(self, time: float) -> tuple[float, float]:
        """Contributions of zero, one and two residuals to P(W > t), and to the density of W over lambda."""
        tail, density = self.pieces.twice(time)
        wait = self.spare * self.rho * (float(self.pieces.residual_tail(np.array(time))) + self.rho * tail)
        return wait, self.spare * (float(self.pieces.survival(np.array(time))) + self.rho * density)


@lru_cache(maxsize=64)
def _rough_spectra(law: Rough, last: float) -> tuple[Octave, Complexes, Complexes]:
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
    times, masses = points(pieces, _EXPONENT_MAX_ROUGH / last)

    def beyond(theta: float) -> bool:
        second = ratios((-theta * times).astype(complex))[0].real @ (times * times * masses)
        return bool(theta * second >= odds)

    return first_true(beyond, TILT_LEAST, _EXPONENT_MAX_ROUGH / last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """M/D/1: the response is the wait, one service later."""

    backlog: Backlog

    @property
    def atoms(self) -> Floats:
        """The response without a wait, which takes one service."""
        return np.ones(1)

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        return self.backlog.wait_tail(time)

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""
        return self.backlog.wait_tail(time - 1.0) if time >= 1.0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Exponential or hyper-exponential service with balanced means: two exponentials with positive weights.

    The decay rates x > y are the roots of x^2 - (2 - rho) x + P (1 - rho), P = 2 / (scv + 1) the product
    of the branches' rates; the weights follow from P(W > 0) = rho and its slope there, rho (1 - rho).
    P = 1 and x = 1 with weight 0 is M/M/1. Every difference is rewritten as a sum.

    Source:
        Cohen (1982), The Single Server Queue, sec. II.4.5: partial fractions of the
        Pollaczek-Khinchine transform.
    """

    scv: float
    rho: float
    spare: float

    @property
    def atoms(self) -> Floats:
        """None, since the response has a density."""
        return np.zeros(0)

    @property
    def parts(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Weight in P(W > t) and decay rate of either exponential, the slow one last."""
        product, left = 2.0 / (self.scv + 1.0), (self.scv - 1.0) / (self.scv + 1.0)  # left = 1 - product
        root = math.sqrt(4.0 * left * self.spare + self.rho**2)
        fast = (1.0 + self.spare + root) / 2.0
        slow = product * self.spare / fast
        lean = self.rho - 2.0 * left
        above = (root - lean) / 2.0 if lean < 0.0 else 2.0 * product * left / (root + lean)  # fast - product
        weight = self.rho * self.spare * above / (fast * root)
        return (weight, fast), (self.rho * (self.rho + root) / (2.0 * root), slow)

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        return sum(weight * math.exp(-rate * time) for weight, rate in self.parts)

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""
        return sum(weight * (1.0 + rate / self.rho) * math.exp(-rate * time) for weight, rate in self.parts)


Road = Constant | Mixture | Rough | Smooth  # times in mean services; `atoms` are those of the response


def road_for(service: Duration | Empirical, rho: float, spare: float) -> Road:
    """The method for a service law; `spare` is 1 - rho, with digits that a rounded rho has lost."""
    if isinstance(service, Empirical):
        if not service.law.is_deterministic:
            return Rough(service=service, rho=rho, spare=spare)
        return Constant(backlog=Backlog(load=rho, spare=spare, servers=1))
    match service.family:
        case Family.DETERMINISTIC:
            return Constant(backlog=Backlog(load=rho, spare=spare, servers=1))
        case Family.EXPONENTIAL | Family.HYPEREXPONENTIAL:
            return Mixture(scv=service.variability, rho=rho, spare=spare)
        case _:
            return Smooth(service=service, rho=rho, spare=spare)
