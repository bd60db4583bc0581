"""Service times: one uniform number and the size of a batch -> how long the batch takes."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from capacity.profile import ServiceProfile
from capacity.service_law import ServiceLaw
from simulations.service_table import SCALED, ServiceTable, knots, mixed, unit_exponential

# A service time by batch size and uniform number. [s]
Draw = Callable[[int, float], float]

# Slowdowns of replicas that share nothing: each is alone on its device.
ALONE = (1.0,)


class ServiceTimes(Protocol):
    """Service times that either engine can draw, to the same digit.

    Attributes:
        wake_s: how much longer a batch takes that starts at a rested replica. [s]
    """

    @property
    def wake_s(self) -> float: ...  # noqa: D102  (see above)

    def __call__(self, batch_size: int, uniform: float, /) -> float:
        """Service time of a batch that starts right after another. [s]"""

    def table(self, batch_size_max: int) -> ServiceTable:
        """The same for the compiled engine, up to a batch size."""


class ProfileTimes:
    """Draws from a measured profile by inverse quantile function.

    Of a size between two measured ones each quantile is that far between theirs.
    """

    def __init__(self, profile: ServiceProfile) -> None:
        self._profile = profile
        self.wake_s = profile.wake_s
        self._mixtures: dict[int, tuple[ServiceLaw, ServiceLaw, float]] = {}
        self._tables: dict[int, ServiceTable] = {}

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
        if batch_size_max not in self._tables:
            places, weights = zip(*map(self._profile.place, range(1, batch_size_max + 1)), strict=True)
            self._tables[batch_size_max] = knots(self._profile.laws, places, weights, self.wake_s)
        return self._tables[batch_size_max]

    def _mixture(self, batch_size: int) -> tuple[ServiceLaw, ServiceLaw, float]:
        place, weight = self._profile.place(batch_size)
        laws = self._profile.laws
        return laws[place], laws[min(place + 1, len(laws) - 1)], weight


class ExponentialTimes:
    """Exponential service, for the queues that theory knows exactly.

    Args:
        means_s: one mean whatever the batch size, or by batch size less 1. [s]
        wake_s: how much longer the first batch after a rest takes. [s]
    """

    def __init__(self, means_s: float | Sequence[float], wake_s: float = 0.0) -> None:
        self._means_s = means_s
        self.wake_s = wake_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time by inversion. [s]"""
        return self._mean_s(batch_size) * float(unit_exponential(np.array([uniform]))[0])

    def table(self, batch_size_max: int) -> ServiceTable:
        """Means by batch size, and the inverse of the distribution function."""
        means_s = np.array([self._mean_s(size) for size in range(1, batch_size_max + 1)])
        return ServiceTable(kind=SCALED, times_s=means_s, draw=unit_exponential, wake_s=self.wake_s)

    def _mean_s(self, batch_size: int) -> float:
        return self._means_s if isinstance(self._means_s, float) else self._means_s[batch_size - 1]
