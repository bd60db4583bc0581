"""Brute found: what the independent simulator of brute_fleet.c finds of a fleet, told as a law tells it."""

from dataclasses import dataclass
from functools import cached_property

import brute_fleet
import numpy as np
from brute_fleet import Floats


@dataclass(frozen=True)
class Found:
    """A fleet as the independent simulator finds it from empty, request by request: told as a law is, with errors.

    Attributes:
        runs, warm_up, counted: independent runs, requests that each leaves out at first, and those that it counts.
        limits_s: rising; quantiles are interpolated between them. [s]
    """

    fleet: brute_fleet.Fleet
    runs: int
    warm_up: int
    counted: int
    limits_s: Floats

    @cached_property
    def _found(self) -> brute_fleet.Runs:
        return brute_fleet.simulate(
            self.fleet,
            seed=1_000_003,
            runs=self.runs,
            counted=self.counted,
            warm_up=self.warm_up,
            response_thresholds_s=self.limits_s,
        )

    @cached_property
    def _late(self) -> Floats:
        """Share of requests that are later than each limit, shape `(limits,)`."""
        return np.array([self._found.late(limit_s).value for limit_s in self.limits_s])

    def response_quantile_s(self, quantile: float) -> float:
        return float(np.interp(1.0 - quantile, self._late[::-1], self.limits_s[::-1]))

    def quantile_error(self, quantile: float) -> float:
        """Standard error of a quantile, as a share of it, from that of the share beyond and the slope there."""
        place = int(np.argmin(np.abs(self._late - (1.0 - quantile))))
        around = slice(max(place - 2, 0), place + 3)
        slope = float(np.ptp(self._late[around]) / np.ptp(np.log(self.limits_s[around])))
        return self._found.late(self.limits_s[place]).error / slope

    @property
    def response_mean_s(self) -> float:
        return self._found.response_mean_s.value

    @property
    def mean_error(self) -> float:
        """Standard error of the mean, as a share of it."""
        return self._found.response_mean_s.error / self.response_mean_s
