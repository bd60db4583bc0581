"""Circuit breaker: leaves a model that keeps failing alone for a while, then tries it with one batch."""

import math
from enum import IntEnum


class CircuitState(IntEnum):
    """State of a circuit, as in `serve_circuit_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The circuit of one version; times are passed in, so that it has no clock of its own."""

    def __init__(self, *, failures_max: int, cooldown_s: float) -> None:
        self._failures_max = failures_max
        self._cooldown_s = cooldown_s
        self._failures = 0
        self._opened_s: float | None = None

    def state(self, now_s: float) -> CircuitState:
        """Open for the cool-down, then half-open until a batch succeeds or fails."""
        if self._opened_s is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self.retry_after_s(now_s) <= 0.0 else CircuitState.OPEN

    def retry_after_s(self, now_s: float) -> float:
        """Time until the circuit is half-open."""
        return 0.0 if self._opened_s is None else self._opened_s + self._cooldown_s - now_s

    def succeeded(self) -> None:
        """Record an answered batch, which closes the circuit."""
        self._failures = 0
        self._opened_s = None

    def failed(self, now_s: float) -> None:
        """Record a failed batch: one too many in a row opens the circuit, and so does one while it is half-open."""
        self._failures += 1
        if self._opened_s is not None or self._failures >= self._failures_max:
            self._opened_s = now_s

    def hold(self) -> None:
        """Open the circuit until a batch is answered or fails: the model hangs."""
        self._opened_s = math.inf
