"""Bulk window: how long requests wait where a free replica starts at a level or a while after it saw one."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capacity.numerics.counts import Floats, at_least, pmf
from capacity.queues.batches.ages import Ages
from capacity.queues.batches.chain import Service, Window, window_starts

Counts = NDArray[np.signedinteger[Any]]


def into_batch(service: Service, size: int, wait: float) -> Floats:
    """P(a batch of `size` < B | j phases `wait` before its start), j = 0, ..., c size + c - 1."""
    at_size, stride = service.stride * size, service.stride
    counts = pmf(np.arange(1 - stride, at_size + stride), wait)
    return np.asarray(np.convolve(counts, np.ones(stride), "valid")[::-1])


def in_batch(service: Service, size: int, wait: float, phases: Floats) -> float:
    """Requests, of j phases present `wait` before, that are in a batch of `size`; phases by j."""
    held = np.minimum(np.arange(len(phases)) // service.stride, service.batch_size_max)
    if size < service.batch_size_max:
        reach = service.stride * (size + 1)
        return float((held * phases)[:reach] @ into_batch(service, size, wait)[: len(phases)])
    return float((held * phases) @ at_least(service.full - np.arange(len(phases)), wait))


class WindowLaw:
    """Waits under a window: greedy, a minimum batch, or the timer that starts when the batch is opened."""

    def __init__(self, service: Service, window: Window) -> None:
        self.service, self.window = service, window
        self.starts, self._openings = window_starts(service, window)
        self._ages = Ages(starts=self.starts)

    def older(self, size: int, wait: float) -> float:
        """Requests per cycle that are served in batches of `size` and waited longer than `wait`."""
        total = 0.0
        if size >= self.window.level:
            total += in_batch(self.service, size, wait, self._ages.older(wait, self._reach(size)))
        elif math.isfinite(self.window.wait):
            total += in_batch(self.service, size, wait, self._timed_out(size, wait))
        return total + self._filled(wait) if size == self.window.level else total

    def waiting_in_window(self) -> float:
        """Integral over a cycle's window of the mean number of requests that wait meanwhile."""
        y = np.arange(len(self._openings) - 1)
        return math.fsum(
            self._openings[opened]
            * float(y[opened:] // self.service.stride @ self._passes(y[opened:] - opened, 0.0))
            for opened in np.flatnonzero(self._openings[:-1])
        )

    def _reach(self, size: int) -> int | None:
        """Number of phase counts that can end in a batch of `size`."""
        return self.service.stride * (size + 1) if size < self.service.batch_size_max else None

    def _timed_out(self, size: int, wait: float) -> Floats:
        """Phases present `wait` before the timer ended the window."""
        reach = self.service.stride * (size + 1)
        if wait >= self.window.wait:
            return self._ages.older(wait - self.window.wait, reach)
        return np.convolve(self._openings[:reach], pmf(np.arange(reach), self.window.wait - wait))[:reach]

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
