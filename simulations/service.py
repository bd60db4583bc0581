"""Service times: one uniform number and the size of a batch -> how long the batch takes."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from capacity.profile import ServiceProfile
from capacity.service_law import ServiceLaw
from simulations.service_table import EXPONENTIAL, ServiceTable, knots, mixed

# A service time by batch size and uniform number. [s]
Draw = Callable[[int, float], float]


class ServiceTimes(Protocol):
    """Service times that either engine can draw, to the same digit."""

    def __call__(self, batch_size: int, uniform: float, /) -> float:
        """Service time of a batch. [s]"""

    def table(self, batch_size_max: int) -> ServiceTable:
        """The same for the compiled engine, up to a batch size."""


class ProfileTimes:
    """Draws from a measured profile by inverse quantile function.

    Of a size between two measured ones each quantile is that far between theirs.
    """

    def __init__(self, profile: ServiceProfile) -> None:
        self._profile = profile
        self._mixtures: dict[int, tuple[ServiceLaw, ServiceLaw, float]] = {}

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        mixture = self._mixtures.get(batch_size)
        if mixture is None:
            mixture = self._mixtures[batch_size] = self._mixture(batch_size)
        low, high, weight = mixture
        if weight == 0.0:
            return low.quantile_s(uniform)
        return mixed(low.quantile_s(uniform), high.quantile_s(uniform), weight)

    def table(self, batch_size_max: int) -> ServiceTable:
        """Knots of the measured sizes, and how each size up to the largest lies between two of them."""
        places = [self._profile.place(size) for size in range(1, batch_size_max + 1)]
        return knots(self._profile.laws, [place for place, _ in places], [weight for _, weight in places])

    def _mixture(self, batch_size: int) -> tuple[ServiceLaw, ServiceLaw, float]:
        place, weight = self._profile.place(batch_size)
        laws = self._profile.laws
        return laws[place], laws[min(place + 1, len(laws) - 1)], weight


class ExponentialTimes:
    """Exponential service whatever the batch size, for the queues that theory knows exactly."""

    def __init__(self, mean_s: float) -> None:
        self._mean_s = mean_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time by inversion. [s]"""
        return -self._mean_s * math.log1p(-uniform)

    def table(self, batch_size_max: int) -> ServiceTable:
        """The one mean, for each batch size."""
        return ServiceTable(kind=EXPONENTIAL, times_s=np.full(batch_size_max, self._mean_s))
