"""Ejection: the balancer takes out replicas that fail several times in a row, for longer each time."""

import math

from capacity.recovery.protection import (
    EJECTED_AFTER,
    EJECTED_SHARE,
    EJECTION_MAX_S,
    EJECTION_S,
    EJECTION_SWEEP_S,
)
from simulations.reference.recovery.attempt import Target
from simulations.reference.replica import Clock, Phase

_BEFORE_FAULTS = -1


class Ejection:
    """Envoy's outlier detection by consecutive failures.

    Attributes:
        ejected_s: by replica, since when it is out. [s]

    Source:
        Envoy, outlier_detection_impl.cc: who comes back has not failed yet.
    """

    def __init__(self, clock: Clock, replicas: int) -> None:
        self.ejected_s: dict[int, float] = {}
        self._clock = clock
        self._most = max(1, int(EJECTED_SHARE * replicas))
        self._failures = [0] * replicas  # in a row, since it came back
        self._times = [0] * replicas
        self._sweep_at(1)

    def failed(self, target: Target) -> None:
        """A client had no reply from it."""
        index = target.index
        self._failures[index] += 1
        is_bad = self._failures[index] >= EJECTED_AFTER and index not in self.ejected_s
        if is_bad and len(self.ejected_s) < self._most:
            self.ejected_s[index] = self._clock.now
            self._times[index] += 1

    def answered(self, target: Target) -> None:
        """A client had a reply in time."""
        self._failures[target.index] = 0

    def _sweep_at(self, number: int) -> None:
        self._clock.call(number * EJECTION_SWEEP_S, Phase.FAULT, _BEFORE_FAULTS, lambda: self._sweep(number))

    def _sweep(self, number: int) -> None:
        """Who has been out for long enough comes back; others are forgiven one ejection."""
        for index, times in enumerate(self._times):
            if index not in self.ejected_s:
                self._times[index] = max(0, times - 1)
            elif self._clock.now >= self.ejected_s[index] + min(EJECTION_S * times, EJECTION_MAX_S):
                del self.ejected_s[index]
                self._failures[index] = 0
        if self._clock.peek() < math.inf:  # as long as anything else is to happen
            self._sweep_at(number + 1)
