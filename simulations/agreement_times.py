"""Service times of the laws that the simulator is held against, by one uniform number a batch."""

import math

import numpy as np
from scipy.special import gammaincinv, ndtri

from capacity.queues.durations import Duration, Family
from simulations.records import Floats
from simulations.service_table import DRAWN, EXPONENTIAL, FIXED, ServiceTable


class TableTimes:
    """Batches that take a known time by their size."""

    def __init__(self, times_s: tuple[float, ...]) -> None:
        self._times_s = times_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch, whatever the draw. [s]"""
        return self._times_s[batch_size - 1]

    def table(self, batch_size_max: int) -> ServiceTable:
        """The times up to a batch size."""
        return ServiceTable(kind=FIXED, times_s=np.array(self._times_s[:batch_size_max]))


class TableExponentialTimes:
    """Batches that take an exponential time whose mean goes by their size."""

    def __init__(self, means_s: tuple[float, ...]) -> None:
        self._means_s = means_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch by inversion. [s]"""
        return -self._means_s[batch_size - 1] * math.log1p(-uniform)

    def table(self, batch_size_max: int) -> ServiceTable:
        """The means up to a batch size."""
        return ServiceTable(kind=EXPONENTIAL, times_s=np.array(self._means_s[:batch_size_max]))


class DurationTimes:
    """Service of a given law whatever the batch size.

    By inversion; of the hyper-exponential law the uniform number first chooses the branch, and what
    is left of it is uniform again (Devroye 1986, Non-Uniform Random Variate Generation, sec. II.4).
    """

    def __init__(self, law: Duration) -> None:
        self._law = law

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        match self._law.family:
            case Family.DETERMINISTIC:
                return self._law.mean_s
            case Family.EXPONENTIAL:
                return -self._law.mean_s * math.log1p(-uniform)
            case _:
                return float(self._draw(np.array([uniform]))[0])

    def table(self, batch_size_max: int) -> ServiceTable:
        """A time or a mean where the law has one parameter, else durations drawn beforehand."""
        kinds = {Family.DETERMINISTIC: FIXED, Family.EXPONENTIAL: EXPONENTIAL}
        kind = kinds.get(self._law.family, DRAWN)
        draw = self._draw if kind == DRAWN else None
        return ServiceTable(kind=kind, times_s=np.full(batch_size_max, self._law.mean_s), draw=draw)

    def _draw(self, uniforms: Floats) -> Floats:
        """Durations of many uniform numbers; numpy's functions give one and many of them the same digits."""
        law, scv = self._law, self._law.variability
        match law.family:
            case Family.HYPEREXPONENTIAL:
                (fast, fast_rate), (slow, slow_rate) = law.branches
                rest = np.where(uniforms < fast, uniforms / fast, np.maximum(uniforms - fast, 0.0) / slow)
                return -np.log1p(-rest) / np.where(uniforms < fast, fast_rate, slow_rate)
            case Family.LOGNORMAL:
                spread = math.sqrt(math.log1p(scv))
                return np.asarray(law.mean_s * np.exp(spread * ndtri(uniforms) - spread**2 / 2.0))
            case _:
                return np.asarray(law.mean_s * scv * gammaincinv(1.0 / scv, uniforms))
