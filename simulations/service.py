"""Service times: one uniform number and the size of a batch -> how long the batch takes."""

import math
from collections.abc import Callable

from capacity.profile import ServiceProfile
from capacity.service_law import ServiceLaw

ServiceTimes = Callable[[int, float], float]


class ProfileTimes:
    """Draws from a measured profile by inverse quantile function; laws are interpolated once per size."""

    def __init__(self, profile: ServiceProfile) -> None:
        self._profile = profile
        self._laws: dict[int, ServiceLaw] = {}

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        law = self._laws.get(batch_size)
        if law is None:
            law = self._laws[batch_size] = self._profile.law(batch_size)
        return law.quantile_s(uniform)


class ExponentialTimes:
    """Exponential service whatever the batch size, for the queues that theory knows exactly."""

    def __init__(self, mean_s: float) -> None:
        self._mean_s = mean_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time by inversion. [s]"""
        return -self._mean_s * math.log1p(-uniform)
