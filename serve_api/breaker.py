"""Circuit breaker: a model that fails again and again is left alone for a while, then tried with care."""

import math
import sys
from enum import IntEnum

from serve_api.settings import BreakerSettings


class CircuitState(IntEnum):
    """As `serve_circuit_state` tells it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The circuit of one version; times are handed in, so that it has no clock of its own."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._opened_s: float | None = None

    def state(self, now_s: float) -> CircuitState:
        """Open for the cool-down, then half-open until a batch has told."""
        if self._opened_s is None:
            return CircuitState.CLOSED
        cooled = now_s - self._opened_s >= self._settings.cooldown_s
        return CircuitState.HALF_OPEN if cooled else CircuitState.OPEN

    @property
    def closed(self) -> bool:
        """Whether the model is left to work, as it does as a rule; needs no time to tell."""
        return self._opened_s is None

    def admits(self, now_s: float, in_system: int) -> bool:
        """Whether one more request may come in beside those that are there already.

        Probes are counted as what is there, not by a counter of their own, which could miss one.
        """
        if self._opened_s is None:
            return True
        return self.state(now_s) is CircuitState.HALF_OPEN and in_system < self._settings.probes_max

    @property
    def batch_requests_max(self) -> int:
        """Requests of one batch at most: as many as fit while it is closed, else the probes."""
        return sys.maxsize if self._opened_s is None else self._settings.probes_max

    def retry_after_s(self, now_s: float) -> float:
        """How long the circuit stays open yet."""
        return 0.0 if self._opened_s is None else max(0.0, self._opened_s + self._settings.cooldown_s - now_s)

    def succeeded(self) -> None:
        """A batch was answered: all is well."""
        self._failures = 0
        self._opened_s = None

    def failed(self, now_s: float) -> None:
        """A batch failed: one too many in a row opens the circuit, and so does a probe."""
        self._failures += 1
        if self._opened_s is not None or self._failures >= self._settings.failures_max:
            self.trip(now_s)

    def trip(self, now_s: float) -> None:
        """Open at once; the cool-down begins."""
        self._opened_s = now_s

    def hold(self) -> None:
        """Open at once, and without an end until it is tripped: there is nothing that could be tried."""
        self._opened_s = math.inf
