"""Intervals of what runs estimate: means and shares by Student's t, quantiles such as P99 by the share beyond them.

The error of the profile's samples is included through percentiles of the same requests under resampled profiles.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from capacity.confidence import has_upper_end, student_t
from capacity.errors import DomainError
from capacity.performance import Interval, Width
from simulations.draws.records import Floats
from simulations.statistics.tally import Tally

_RESAMPLES_MIN = 19
_TIMES_MAX, _TIMES_STEP = 1e6, 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A statistic with its standard error, and the degrees of freedom of that error."""

    value: float
    standard_error: float
    degrees: int

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """The mean of independent values, for example one from each run.

        Raises:
            DomainError: fewer than two values.
        """
        found = np.asarray(values, dtype=float)
        if found.ndim != 1 or len(found) < 2:
            raise DomainError("a standard error needs two values at least, in one row")
        error = float(found.std(ddof=1)) / math.sqrt(len(found))
        return cls(value=float(found.mean()), standard_error=error, degrees=len(found) - 1)

    @property
    def moved_by(self) -> Floats | None:
        """Shifts by resampled profiles, shape `(resamples,)`; None if they are left out or unknown."""
        return None

    def interval(self, confidence: float) -> Interval:
        """The interval of the statistic, with all known errors."""
        return self.simulated(confidence)

    def simulated(self, confidence: float) -> Interval:
        """Student-t interval; a duration or a probability is never below 0."""
        half_width = student_t(confidence, self.degrees) * self.standard_error
        return Interval(value=self.value, low=max(0.0, self.value - half_width), high=self.value + half_width)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResampledEstimate(Estimate):
    """An estimate with the error of the profile's samples: the shift by each resampled profile."""

    moves: Floats

    @property
    def moved_by(self) -> Floats:
        """Shifts by resampled profiles, shape `(resamples,)`."""
        return self.moves

    def interval(self, confidence: float) -> Interval:
        """Percentiles of the shifted values, at least as wide as the simulation's own interval."""
        simulated = self.simulated(confidence)
        if not self.moves.any():
            return simulated
        values = self.value + self.moves + self.standard_error * normal_scores(len(self.moves))
        return moved_interval(simulated, np.maximum(0.0, values), confidence)


def resamples_for(confidence: float) -> int:
    """Number of resamples whose smallest and largest are the percentiles of an interval.

    >>> resamples_for(0.95)
    39
    """
    return max(_RESAMPLES_MIN, math.ceil(2.0 / (1.0 - confidence) - 1e-9) - 1)


def normal_scores(count: int) -> Floats:
    """Normal quantiles at even levels, shape `(count,)`, rising: errors for resamples in any order."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((place + 0.5) / count) for place in range(count)])


def without_noise(values: Floats, halves: Floats) -> Floats:
    """Values of simulated resamples, as far apart as if each had been simulated for ever.

    What two independent halves of a resample's runs have in common is the resample's own, and the rest is chance: the
    covariance of the halves estimates the variance between resamples, which is not negative. One standard error of it
    is added, so that little is removed if little is known.

    Args:
        values: values of whole runs, shape `(resamples,)`; infinite ones stay infinite.
        halves: values of the halves of these runs, shape `(resamples, 2)`.

    Source:
        Sun, Apley & Staum (2011), Efficient nested simulation for estimating the variance of a conditional
        expectation, Operations Research 59(4), 998-1007.
    """
    known = np.isfinite(values) & np.isfinite(halves).all(axis=1)
    if known.sum() < 2 or not np.ptp(values[known]) > 0.0:
        return values
    one, other = halves[known].T
    own, middle = float(((one - one.mean()) * (other - other.mean())).mean()), float(values[known].mean())
    error = math.sqrt((float(one.var() * other.var()) + own**2) / int(known.sum()))
    kept = math.sqrt(min(1.0, (max(0.0, own) + error) / float(values[known].var())))
    return np.where(np.isfinite(values), middle + kept * (values - middle), values)


def like_many(values: Floats, count: int) -> Floats:
    """A few values expanded to the number that percentiles take, shape `(count,)`, by the law that they leave open.

    It is the law of a further value of a normal distribution whose mean and variance are estimated by these (Hahn &
    Meeker 1991, Statistical Intervals, sec. 4.7), in any order but a rising one. If any is infinite there is no such
    law, and they are repeated.
    """
    if not np.isfinite(values).all():
        return np.resize(values, count)
    places = np.random.default_rng(0).permutation(count)
    shares = (2.0 * places + 1.0 - count) / (count + 1.0)  # between these and their opposites
    scores = np.array([math.copysign(student_t(abs(share), len(values) - 1), share) for share in shares])
    return np.asarray(values.mean() + float(values.std(ddof=1)) * math.sqrt(1.0 + 1.0 / len(values)) * scores)


def moved_interval(simulated: Interval, values: Floats, confidence: float) -> Interval:
    """The interval of a simulation, widened to the percentiles of the values under resampled profiles.

    Among B of them a share of 1/(B + 1) is expected below the smallest, as for independent draws of one law.

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 (percentile intervals);
        Barton & Schruben (2001), Resampling methods for input modeling, Proc. Winter Simulation Conf.
    """
    ordered = np.sort(values)
    rank = max(1, int((len(ordered) + 1) * (1.0 - confidence) / 2.0 + 1e-9))
    low, high = float(ordered[rank - 1]), float(ordered[-rank])
    return replace(simulated, low=min(simulated.low, low), high=max(simulated.high, high))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileEstimate:
    """A quantile of durations with the share of them beyond it, which carries the error.

    The share beyond is a mean, whose scatter between sections is that of the pool. A burst hardly moves the quantile
    of a section, which grows only with the logarithm of the share, so sections' quantiles would claim too much. Hence
    the interval of the share is converted to durations by the pooled law.

    Attributes:
        above, from_value: shares of the durations above the pooled quantile, and from it on; they differ if the law
            has an atom there.

    Source:
        Woodruff (1952), Confidence intervals for medians and other position measures, JASA 47(260),
        with the error of the share by sectioning.
    """

    quantile: float
    value: float
    tally: Tally
    above: Estimate
    from_value: Estimate

    @property
    def independent_exceedances(self) -> float:
        """Number of independent durations beyond it that would say as much; see `Pool.independent_exceedances`."""
        late = self.above if math.isfinite(self.value) else self.from_value
        if late.standard_error == 0.0:
            return math.inf
        return (1.0 - self.quantile) * late.value * (1.0 - late.value) / late.standard_error**2

    @property
    def standard_error(self) -> float:
        """Half the distance between the quantiles one standard error of the share below and above. [s]"""
        interval = self._within(1.0)
        return (interval.high - interval.low) / 2.0

    @property
    def moved_by(self) -> Floats | None:
        """Shifts by resampled profiles, shape `(resamples,)`; None if they are left out or unknown. [s]"""
        return None

    def interval(self, confidence: float) -> Interval:
        """The interval of the quantile, with all known errors."""
        return self.simulated(confidence)

    def simulated(self, confidence: float) -> Interval:
        """Interval from the pooled durations, with the share uncertain by Student's t."""
        return self._within(student_t(confidence, self.above.degrees))

    def _within(self, errors: float) -> Interval:
        """Interval between the quantiles at this many standard errors of the share lower and higher."""
        low_s = self.tally.quantile_s(max(0.0, self.quantile - errors * self.from_value.standard_error))
        high_s = self.tally.quantile_s(min(1.0, self.quantile + errors * self.above.standard_error))
        # Outwards to the edges of their cells, anywhere in which the true end may lie.
        return Interval(
            value=self.value,
            low=(1.0 - self.tally.relative_error_of(low_s)) * low_s,
            high=(1.0 + self.tally.relative_error_of(high_s)) * high_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResampledQuantile(QuantileEstimate):
    """A quantile with the error of the profile's samples too.

    A quantile in a gap of its law jumps from one side to the other as samples come and go, while the share of
    requests beyond it moves little by little: so each resample's quantile is a level of the simulated law, at which
    the pooled durations are read. No end lies where nothing was seen.

    Attributes:
        levels: levels of the quantiles under resampled profiles, shape `(resamples,)`; infinite beyond everything
            that the same requests did under the measured profile.
        moved: the quantiles under resampled profiles. [s]
        samples: number of independent samples that would say as much about what lies beyond; infinite if nothing is
            random.
    """

    levels: Floats
    moved: Floats
    samples: float

    @property
    def moved_by(self) -> Floats:
        """Shifts by resampled profiles, shape `(resamples,)`. [s]"""
        return self._values(1.0, self.levels) - self.value

    def interval(self, confidence: float) -> Interval:
        """Percentiles of the shifted values, at least as wide as the simulation's own interval."""
        simulated = self.simulated(confidence)
        if not (self.levels != self.quantile).any():
            return simulated
        scores = normal_scores(len(self.levels))
        errors = np.where(scores > 0.0, self.above.standard_error, self.from_value.standard_error)
        values = self._values(1.0, self.levels + scores * errors)
        return self._open(moved_interval(simulated, values, confidence), 1.0, confidence)

    def with_samples(self, times: float, confidence: float) -> Interval:
        """The interval with `times` as many samples, if they were alike and the simulation had no error."""
        levels = self.quantile + (self.levels - self.quantile) / math.sqrt(times)
        found = moved_interval(Interval.exact(self.value), self._values(times, levels), confidence)
        return self._open(found, times, confidence)

    def _open(self, found: Interval, times: float, confidence: float) -> Interval:
        """The interval, without its upper end if too few samples lie beyond for one."""
        if math.isinf(found.high) or has_upper_end(self.quantile, times * self.samples, confidence):
            return found
        return replace(found, high=math.inf, known_to=found.high)

    def times_enough(self, is_enough: Callable[[Interval], bool], confidence: float) -> float:
        """Multiple of the samples that would make an interval good enough, if they were alike; to 5 %.

        Infinite if a million times the samples would not be enough.
        """
        low, high = 1.0, 4.0
        while not is_enough(self.with_samples(high, confidence)):
            if high > _TIMES_MAX:
                return math.inf
            low, high = high, 4.0 * high
        while high / low > _TIMES_STEP:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if is_enough(self.with_samples(middle, confidence)) else (middle, high)
        return high

    def _values(self, times: float, levels: Floats) -> Floats:
        """The pooled durations at some levels, or that much closer to what lies beyond all of them. [s]"""
        beyond = self.moved
        if math.isfinite(self.value):
            beyond = self.value + (self.moved - self.value) / math.sqrt(times)
        seen = [self.tally.quantile_s(min(max(level, 0.0), 1.0)) for level in levels]
        return np.where(np.isfinite(levels), seen, beyond)


def width_of(estimate: QuantileEstimate, precision: float, confidence: float) -> Width:
    """Width of a quantile's interval, and the multiple of the samples that would make it as precise as asked."""
    simulated = estimate.simulated(confidence).relative_half_width
    if not isinstance(estimate, ResampledQuantile):
        return Width(found=simulated, simulated=simulated)
    return Width(
        found=estimate.interval(confidence).relative_half_width,
        simulated=simulated,
        samples_times=estimate.times_enough(
            lambda interval: interval.relative_half_width <= precision, confidence
        ),
    )


def level_of(tally: Tally, value: float, quantile: float) -> float:
    """The level of a value in a tally: the quantile's level if that fits, infinite beyond all values."""
    above, from_value = tally.share_above(value), tally.share_from(value)
    if from_value == 0.0:
        return math.inf
    if above == 1.0:
        return -math.inf
    low, high = 1.0 - from_value, 1.0 - above
    return quantile if low <= quantile <= high else (low + high) / 2.0
