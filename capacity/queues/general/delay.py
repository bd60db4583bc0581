"""Delay: the law of a wait that is not 0, fitted to its mean and variability."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from capacity.queues.durations import Duration, Family, Floats

_NEARLY_ONE = 0.01


class Delay(Protocol):
    """A positive law with a density."""

    def tail(self, time: Floats) -> Floats:
        """P(D > t) for t >= 0."""

    def density(self, time: Floats) -> Floats:
        """Density at t >= 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """One of two exponentials."""

    branches: tuple[tuple[float, float], tuple[float, float]]

    def tail(self, time: Floats) -> Floats:
        """P(D > t) for t >= 0."""
        return np.asarray(sum(p * np.exp(-rate * time) for p, rate in self.branches))

    def density(self, time: Floats) -> Floats:
        """Density at t >= 0."""
        return np.asarray(sum(p * rate * np.exp(-rate * time) for p, rate in self.branches))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Two exponentials one after the other, their rates `slow` and `slow + gap`; gap 0 is Erlang-2."""

    slow: float
    gap: float

    def tail(self, time: Floats) -> Floats:
        """P(D > t) = e^-yt (1 + y (1 - e^-gt) / g), which does not cancel where the rates are alike."""
        return np.asarray(np.exp(-self.slow * time) * (1.0 + self.slow * self._ramp(time)))

    def density(self, time: Floats) -> Floats:
        """Density at t >= 0."""
        return np.asarray(self.slow * (self.slow + self.gap) * np.exp(-self.slow * time) * self._ramp(time))

    def _ramp(self, time: Floats) -> Floats:
        return np.asarray(-np.expm1(-self.gap * time) / self.gap) if self.gap > 0.0 else time


def delay_of(mean: float, scv: float) -> Delay:
    """Hyper-exponential (balanced means) above scv 1, exponential at it, two exponentials in a row below.

    Below scv 1/2 it is Erlang-2, whose scv is 1/2.

    Source:
        Whitt (1983), Bell System Technical Journal 62(9), sec. 5; Whitt (1993), sec. 4.

    >>> float(delay_of(2.0, 1.0).tail(np.array(0.0)))
    1.0
    """
    if abs(scv - 1.0) <= _NEARLY_ONE:
        return Mixed(branches=((1.0, 1.0 / mean), (0.0, 1.0 / mean)))
    if scv > 1.0:
        return Mixed(branches=Duration(family=Family.HYPEREXPONENTIAL, mean_s=mean, scv=scv).branches)
    apart = math.sqrt(max(0.0, 2.0 * scv - 1.0))
    slow = 2.0 / (mean * (1.0 + apart))
    return Series(slow=slow, gap=2.0 / (mean * (1.0 - apart)) - slow)
