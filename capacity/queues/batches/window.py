"""Bulk window: how long requests wait where a free replica starts at a level or a while after it saw one."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capacity.numerics.counts import Floats, at_least, pmf
from capacity.queues.batches.ages import Ages, Joined
from capacity.queues.batches.chain import Service, Window, window_starts

Counts = NDArray[np.signedinteger[Any]]


class WindowLaw:
    """Waits under a window: greedy, a minimum batch, or the timer that starts when the batch is opened."""

    def __init__(self, service: Service, window: Window) -> None:
        self.service, self.window = service, window
        self.starts, self._openings = window_starts(service, window)
        self._ages = Ages(starts=self.starts)
        self._timed_out = None
        if math.isfinite(window.wait):
            count = len(self.starts.backlog) + service.up
            opened = Joined(service, self._openings[:-1], window.wait, count)
            self._timed_out = opened, Ages(starts=self.starts, after=window.wait)

    def older(self, waits: Floats, beside: float = 0.0) -> float:
        """Requests per cycle that waited longer than `waits`, by the size of their batch.

        Args:
            waits: not negative; where they are, all requests in such batches count. [phases]
            beside: requests beside which next to nothing may be left out, for speed.
        """
        sizes, level = np.arange(1, len(waits) + 1), self.window.level
        total = float((sizes * self.starts.by_size)[waits < 0.0].sum())
        at_once = sizes[(waits >= 0.0) & (sizes >= level)]
        if level > 1 and waits[level - 1] >= 0.0:
            total += self._filled(float(waits[level - 1]))
        if self._timed_out is not None:
            joined, ages = self._timed_out
            is_late = (waits >= 0.0) & (sizes < level)
            within = waits < self.window.wait
            total += joined.requests(sizes[is_late & within], waits)
            total += ages.requests(sizes[is_late & ~within], waits - self.window.wait, beside + total)
        return total + self._ages.requests(at_once, waits, beside + total)

    def waiting_in_window(self) -> float:
        """Integral over a cycle's window of the mean number of requests that wait meanwhile."""
        y = np.arange(len(self._openings) - 1)
        return math.fsum(
            self._openings[opened]
            * float(y[opened:] // self.service.stride @ self._passes(y[opened:] - opened, 0.0))
            for opened in np.flatnonzero(self._openings[:-1])
        )

    def _passes(self, phases: Counts, wait: float) -> Floats:
        """P(the window lasts long enough for more than so many phases, and `wait` on top)."""
        if math.isinf(self.window.wait):
            return np.ones(len(phases))
        return at_least(phases + 1, max(0.0, self.window.wait - wait))

    def _filled(self, wait: float) -> float:
        """Requests per cycle that waited longer than `wait` for the phase that fills the level."""
        at_level = len(self._openings) - 1
        y = np.arange(at_level)
        last = pmf(at_level - 1 - y, wait)
        present = self._ages.older_within(max(0.0, wait - self.window.wait), wait, at_level)
        if wait < self.window.wait:
            present += np.convolve(self._openings[:at_level], self._passes(y, wait))[:at_level]
        return float((y // self.service.stride * last) @ present)
