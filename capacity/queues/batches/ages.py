"""Bulk ages: who has been waiting for how long when a batch starts; sums of positive terms alone.

Look back from a completion by w. The service that was then under way had v left and ended exactly m
full services before the completion, w = m s_B + v: whoever was present in excess of m full batches
is still there. So the number of requests older than w needs no integral over arrival instants:
with r left behind at the start of that service it is r + N(s_b - v) - mB, if that is positive, N Poisson.
The idea is Franx's (2001, Operations Research Letters 29) for M/D/c, here for batches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from capacity.numerics.counts import Floats, at_least_between, pmf
from capacity.queues.batches.chain import Starts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ages:
    """Phases by age at a completion, as probabilities per cycle."""

    starts: Starts

    def older(self, age: float, count: int | None = None, *, partial_from: int = 0) -> Floats:
        """P(j phases are left of those that were present `age` before), j = 0, ..., count - 1.

        Rightly so from j = stride; what is below a request is not needed.

        Args:
            age: not negative. [phases]
            count: all that may be left where it is not given.
            partial_from: services that left no request behind count only if so many full ones followed.
        """
        service, partial = self.starts.service, self.starts.partial
        total = count or len(self.starts.backlog) + service.up
        result = np.zeros(total)
        for follow, residual in self._under_way(age):
            base, elapsed = follow * service.full, service.phases - residual
            if follow >= partial_from:
                rows = np.flatnonzero((elapsed > 0.0) & (self.starts.by_size > 0.0))
                counts = base - service.stride + 1 + np.arange(total + service.stride - 1)
                kernels = pmf(counts, elapsed[rows, None])
                for phase in range(service.stride):
                    first = service.stride - 1 - phase
                    result += partial[rows, phase] @ kernels[:, first : first + total]
            if elapsed[-1] > 0.0:
                kernel = pmf(np.arange(service.up + 1), elapsed[-1])
                result += self._after_backlog(kernel, base, total)
        return result

    def older_within(self, youngest: float, oldest: float, count: int) -> Floats:
        """Integral of `older` over ages from `youngest` to `oldest`, shape `(count,)`."""
        service, partial = self.starts.service, self.starts.partial
        result = np.zeros(count)
        for follow in range(math.floor(oldest / service.phases[-1]) + 1):
            ended = follow * float(service.phases[-1])
            high = service.phases - max(0.0, youngest - ended)
            low = np.maximum(0.0, service.phases - (oldest - ended))
            rows = np.flatnonzero((high > low) & (self.starts.by_size > 0.0))
            for phase in range(service.stride):
                counts = follow * service.full - phase + np.arange(count)
                between = at_least_between(np.maximum(counts, 0) + 1, low[rows, None], high[rows, None])
                result += partial[rows, phase] @ np.where(counts >= 0, between, 0.0)
            if high[-1] > low[-1]:
                kernel = at_least_between(np.arange(1, service.up + 2), low[-1], high[-1])
                result += self._after_backlog(kernel, follow * service.full, count)
        return result

    def _under_way(self, age: float) -> Iterator[tuple[int, float]]:
        """How many full services may have followed the one under way, and what was left of that."""
        full = float(self.starts.service.phases[-1])
        longest = float(self.starts.service.phases.max())
        rest = math.fmod(age, full)  # exact: else an age of some full services may belong to two of them
        follow = round((age - rest) / full)
        while follow >= 0 and rest < longest:
            yield follow, rest
            follow, rest = follow - 1, rest + full

    def _after_backlog(self, kernel: Floats, base: int, count: int) -> Floats:
        """Sum over y of backlog[y] kernel[base + j - y], j = 0, ..., count - 1."""
        first = max(0, base - len(kernel) + 1)
        behind = self.starts.backlog[first : base + count]
        result = np.zeros(count)
        if len(behind):
            summed = np.convolve(behind, kernel)[base - first :][:count]
            result[: len(summed)] = summed
        return result
