"""Alarm: one timer of the event loop, set again and again."""

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Rings once for each time that it was set to, at the earliest after a pause.

    Attributes:
        at_s: when it rings; infinity where it does not.
    """

    def __init__(self, ring: Callable[[], None], pause_s: float = 0.0) -> None:
        self._ring = ring
        self._pause_s = pause_s
        self._timer: asyncio.TimerHandle | None = None
        self.at_s = math.inf

    def set(self, at_s: float, now_s: float) -> None:
        """Ring then, and not at the time before; infinity is not at all."""
        if at_s == self.at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.at_s, self._timer = at_s, None
        if at_s < math.inf:
            in_s = max(at_s - now_s, self._pause_s)
            self._timer = asyncio.get_running_loop().call_later(in_s, self._rings)

    def _rings(self) -> None:
        self.at_s, self._timer = math.inf, None
        self._ring()
