"""Ejection: the balancer leaves out replicas that fail several times, by the rule of Envoy or that of nginx."""

import math
from collections.abc import Sequence
from typing import Protocol

from capacity.recovery.protection import (
    EJECTED_AFTER,
    EJECTED_SHARE,
    EJECTION_MAX_S,
    EJECTION_S,
    EJECTION_SWEEP_S,
    LEFT_OUT_S,
    Ejecting,
)
from capacity.traffic.clients import Failure
from simulations.reference.recovery.attempt import Target
from simulations.reference.replica import Clock, Phase

_BEFORE_FAULTS = -1


class Ejection(Protocol):
    """Which replicas the balancer leaves out."""

    def is_out(self, target: Target) -> bool:
        """Whether nothing is sent there just now."""

    def chosen(self, target: Target) -> None:
        """Something is sent there."""

    def failed(self, target: Target, failure: Failure) -> None:
        """A client had no reply from it."""

    def answered(self, target: Target) -> None:
        """A client had a reply in time."""


class EnvoyEjection:
    """Envoy's outlier detection by consecutive failures.

    Source:
        Envoy, outlier_detection_impl.cc: who comes back has not failed yet.
    """

    def __init__(self, clock: Clock, replicas: Sequence[Target]) -> None:
        self._ejected_s: dict[int, float] = {}  # by replica, since when it is out
        self._clock, self._replicas = clock, replicas
        self._most = max(1, int(EJECTED_SHARE * len(replicas)))
        self._failures = [0] * len(replicas)  # in a row, since it came back
        self._times = [0] * len(replicas)
        self._sweep_at(1)

    def is_out(self, target: Target) -> bool:
        """Whether it is ejected."""
        return target.index in self._ejected_s

    def chosen(self, target: Target) -> None:
        """Do nothing, as only outcomes count."""

    def failed(self, target: Target, _: Failure) -> None:
        """A client had no reply from it."""
        index = target.index
        self._failures[index] += 1
        is_bad = self._failures[index] >= EJECTED_AFTER and index not in self._ejected_s
        if is_bad and len(self._ejected_s) < self._most:
            self._ejected_s[index] = self._clock.now
            self._times[index] += 1

    def answered(self, target: Target) -> None:
        """A client had a reply in time."""
        self._failures[target.index] = 0

    def _sweep_at(self, number: int) -> None:
        self._clock.call(number * EJECTION_SWEEP_S, Phase.FAULT, _BEFORE_FAULTS, lambda: self._sweep(number))

    def _sweep(self, number: int) -> None:
        """Who has been out for long enough comes back; others are forgiven one ejection."""
        for index, times in enumerate(self._times):
            if index not in self._ejected_s:
                self._times[index] = max(0, times - 1)
            elif self._clock.now >= self._ejected_s[index] + min(EJECTION_S * times, EJECTION_MAX_S):
                del self._ejected_s[index]
                self._failures[index] = 0
                self._replicas[index].count(0)
        if self._clock.peek() < math.inf:  # as long as anything else is to happen
            self._sweep_at(number + 1)


class NginxEjection:
    """nginx's `max_fails` and `fail_timeout`: out for a while after failures, then on trial until one is answered.

    Source:
        nginx, ngx_http_upstream_round_robin.c (`fails`, `accessed` and `checked`): failures are forgotten by an answer
        after a trial that was later than the last of them. A refusal is an answer too.
    """

    def __init__(self, clock: Clock, replicas: Sequence[Target]) -> None:
        self._clock = clock
        self._failures = [0] * len(replicas)
        self._failed_s = [0] * len(replicas)
        self._tried_s = [0] * len(replicas)

    def is_out(self, target: Target) -> bool:
        """Whether it has failed often, and just now."""
        index = target.index
        return self._failures[index] >= EJECTED_AFTER and self._second() - self._tried_s[index] <= LEFT_OUT_S

    def chosen(self, target: Target) -> None:
        """It is on trial, unless it was a moment ago."""
        if self._second() - self._tried_s[target.index] > LEFT_OUT_S:
            self._tried_s[target.index] = self._second()

    def failed(self, target: Target, failure: Failure) -> None:
        """A client had no reply from it, or a refusal."""
        if failure is Failure.REJECTED:
            self.answered(target)
            return
        self._failures[target.index] += 1
        self._failed_s[target.index] = self._tried_s[target.index] = self._second()

    def answered(self, target: Target) -> None:
        """A client had a reply in time."""
        if self._failed_s[target.index] < self._tried_s[target.index]:
            self._failures[target.index] = 0

    def _second(self) -> int:
        return math.floor(self._clock.now)


def ejection_for(rule: Ejecting, clock: Clock, replicas: Sequence[Target]) -> Ejection | None:
    """The ejection of a balancer; None without any."""
    if rule is Ejecting.NONE:
        return None
    return EnvoyEjection(clock, replicas) if rule is Ejecting.ENVOY else NginxEjection(clock, replicas)
