"""Intervals of what runs estimate: means and shares by Student's t, quantiles such as P99 by the share beyond them."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from capacity.confidence import student_t
from capacity.errors import DomainError
from capacity.performance import Interval
from simulations.statistics.sample import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A statistic with its standard error and the degrees of freedom of that."""

    value: float
    standard_error: float
    degrees: int

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """The mean of independent values, such as one of each run.

        Raises:
            DomainError: fewer than two values.
        """
        found = np.asarray(values, dtype=float)
        if found.ndim != 1 or len(found) < 2:
            raise DomainError("a standard error needs two values at least, in one row")
        error = float(found.std(ddof=1)) / math.sqrt(len(found))
        return cls(value=float(found.mean()), standard_error=error, degrees=len(found) - 1)

    def interval(self, confidence: float) -> Interval:
        """Student-t interval; a duration or a probability is never below 0."""
        half_width = student_t(confidence, self.degrees) * self.standard_error
        return Interval(value=self.value, low=max(0.0, self.value - half_width), high=self.value + half_width)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileEstimate:
    """A quantile of durations with the share of them that lies beyond it, which carries the error.

    The share beyond is a mean, whose scatter between sections is that of the pool. A burst hardly moves the
    quantile of a section, which grows only with the logarithm of the share, and would claim too much. So
    the interval of the share is converted to durations with the pooled law.

    Attributes:
        above, from_value: shares of the durations above the pooled quantile, and from it on; they differ
            where the law has an atom.

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
        """Independent durations beyond it that would say as much, as of `Pool.independent_exceedances`."""
        late = self.above if math.isfinite(self.value) else self.from_value
        if late.standard_error == 0.0:
            return math.inf
        return (1.0 - self.quantile) * late.value * (1.0 - late.value) / late.standard_error**2

    @property
    def standard_error(self) -> float:
        """Half the distance between the quantiles one standard error of the share below and above. [s]"""
        interval = self._within(1.0)
        return (interval.high - interval.low) / 2.0

    def interval(self, confidence: float) -> Interval:
        """What the pooled durations say of the quantile, where the share is uncertain by Student's t."""
        return self._within(student_t(confidence, self.above.degrees))

    def _within(self, errors: float) -> Interval:
        """Between the quantiles that many standard errors of the share lower and higher."""
        low_s = self.tally.quantile_s(max(0.0, self.quantile - errors * self.from_value.standard_error))
        high_s = self.tally.quantile_s(min(1.0, self.quantile + errors * self.above.standard_error))
        # Outwards to the edges of their cells, anywhere in which the true end may lie.
        return Interval(
            value=self.value,
            low=(1.0 - self.tally.relative_error_of(low_s)) * low_s,
            high=(1.0 + self.tally.relative_error_of(high_s)) * high_s,
        )
