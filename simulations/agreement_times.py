"""Service times of the laws that the simulator is held against, by one uniform number a batch."""

import math

import numpy as np
from scipy.special import gammaincinv, ndtri

from capacity.queues.durations import Duration, Family
from simulations.records import Floats
from simulations.service_table import FIXED, SCALED, ServiceTable, unit_exponential


class TableTimes:
    """Batches that take a known time by their size."""

    wake_s = 0.0

    def __init__(self, times_s: tuple[float, ...]) -> None:
        self._times_s = times_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch, whatever the draw. [s]"""
        return self._times_s[batch_size - 1]

    def table(self, batch_size_max: int) -> ServiceTable:
        """The times up to a batch size."""
        return ServiceTable(kind=FIXED, times_s=np.array(self._times_s[:batch_size_max]))


class DurationTimes:
    """Service of a given law whatever the batch size.

    By inversion; of the hyper-exponential law the uniform number first chooses the branch, and what
    is left of it is uniform again (Devroye 1986, Non-Uniform Random Variate Generation, sec. II.4).
    """

    wake_s = 0.0

    def __init__(self, law: Duration) -> None:
        self._law = law

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        if self._law.family is Family.DETERMINISTIC:
            return self._law.mean_s
        return self._law.mean_s * float(self._draw(np.array([uniform]))[0])

    def table(self, batch_size_max: int) -> ServiceTable:
        """The one time or mean, and how its multiples are drawn."""
        times_s = np.full(batch_size_max, self._law.mean_s)
        if self._law.family is Family.DETERMINISTIC:
            return ServiceTable(kind=FIXED, times_s=times_s)
        return ServiceTable(kind=SCALED, times_s=times_s, draw=self._draw)

    def _draw(self, uniforms: Floats) -> Floats:
        """Durations of mean 1; numpy's functions give one and many of them the same digits."""
        law, scv = self._law, self._law.variability
        match law.family:
            case Family.EXPONENTIAL:
                return unit_exponential(uniforms)
            case Family.HYPEREXPONENTIAL:
                (fast, fast_rate), (slow, slow_rate) = law.branches
                rest = np.where(uniforms < fast, uniforms / fast, np.maximum(uniforms - fast, 0.0) / slow)
                rates = law.mean_s * np.where(uniforms < fast, fast_rate, slow_rate)
                return unit_exponential(rest) / rates
            case Family.LOGNORMAL:
                spread = math.sqrt(math.log1p(scv))
                return np.asarray(np.exp(spread * ndtri(uniforms) - spread**2 / 2.0))
            case _:
                return np.asarray(scv * gammaincinv(1.0 / scv, uniforms))
