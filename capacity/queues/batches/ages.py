"""Bulk ages: who has been waiting for how long when a batch starts; sums of positive terms alone.

Look back from a completion by w. The service that was then under way had v left and ended exactly m
full services before the completion, w = m s_B + v: whoever was present in excess of m full batches
is still there. So the number of requests older than w needs no integral over arrival instants:
with r left behind at the start of that service it is r + N(s_b - v) - mB, if that is positive, N Poisson.
The idea is Franx's (2001, Operations Research Letters 29) for M/D/c, here for batches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from capacity.numerics.counts import Floats, at_least, at_least_between, pmf
from capacity.queues.batches.chain import UNHEARD_OF, Service, Starts

Sizes = NDArray[np.signedinteger[Any]]
_NEGLIGIBLE = 1e-17  # of the requests that have been found
_ANY = 0  # the size of a batch, whatever it is


def in_batch(service: Service, size: int, wait: float, count: int) -> Floats:
    """Requests, of j phases present `wait` before, that are in a batch of `size`, j = 0, ..., count - 1."""
    phases = np.arange(count)
    held = np.minimum(phases // service.stride, service.batch_size_max)
    if size == _ANY:
        return held
    if size == service.batch_size_max:
        return np.asarray(held * at_least(service.full - phases, wait))
    counts = pmf(np.arange(1 - service.stride, service.stride * (size + 1)), wait)
    ends = np.convolve(counts, np.ones(service.stride), "valid")[::-1]
    return np.asarray(held[: len(ends)] * ends[:count])


class Joined:
    """Some phases, and those that join them over a span of time, at the end of which a batch starts.

    Args:
        phases: their probabilities per cycle, by number.
        count: phases that may be present at the end.
    """

    def __init__(self, service: Service, phases: Floats, span: float, count: int) -> None:
        self._service, self._phases, self._span, self._count = service, phases, span, count
        self._lines = _lines(service.batch_size_max, phases, span) if _is_linear(service) else None

    def requests(self, sizes: Sizes, waits: Floats) -> float:
        """Requests per cycle in batches of some sizes that were there `waits` before, within the span."""
        singly = sizes
        total = 0.0
        if self._lines is not None:
            smaller = sizes < self._service.batch_size_max
            at_first, per_phase = self._lines
            below, singly = sizes[smaller], sizes[~smaller]
            total += float((at_first[below] + per_phase[below] * (self._span - waits[below - 1])).sum())
        return total + math.fsum(self._of(int(size), float(waits[size - 1])) for size in singly)

    def _of(self, size: int, wait: float) -> float:
        full = size == self._service.batch_size_max
        count = self._count if full else self._service.stride * (size + 1)
        grown = np.convolve(self._phases[:count], pmf(np.arange(count), self._span - wait))[:count]
        return float(in_batch(self._service, size, wait, count)[: len(grown)] @ grown)


def _is_linear(service: Service) -> bool:
    """Whether each phase is a request: of several that make one, the sum has no closed form."""
    return service.stride == 1


def _lines(batch_size_max: int, phases: Floats, span: float) -> tuple[Floats, Floats]:
    """By batch size below B the requests there at first, and those that have come per phase of time.

    Of those that join by the end each was there an instant with the share of the span before it: the
    numbers by an instant are binomial, and their means make straight lines.
    """
    first, counts = phases[:batch_size_max], np.arange(batch_size_max)
    kernel = pmf(counts, span)
    at_first = np.convolve(first * counts[: len(first)], kernel)[:batch_size_max]
    return at_first, np.convolve(first, kernel * counts / span)[:batch_size_max]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ages:
    """Requests by age at a completion or some time after it, per cycle.

    Attributes:
        after: from the completion to the start of the batch. [phases]
        partial_from: services that left no request behind count only if so many full ones followed.
    """

    starts: Starts
    after: float = 0.0
    partial_from: int = 0
    _held: Floats = field(init=False)
    _order: Sizes = field(init=False)
    _growth: Floats | None = field(init=False)
    _backlog: Joined = field(init=False)

    def __post_init__(self) -> None:
        service, starts = self.starts.service, self.starts
        held = np.arange(1, service.batch_size_max + 1) * starts.by_size
        spans, counts = service.phases + self.after, np.arange(1, service.batch_size_max)
        growth = None
        if _is_linear(service):  # of those who came by the end of the span, by time that has passed
            growth = starts.shares[:, None] * counts * pmf(counts, spans[:, None]) / spans[:, None]
        joined = Joined(service, starts.backlog, float(spans[-1]), self._most)
        for name, value in (
            ("_held", held),
            ("_order", np.argsort(-held, kind="stable") + 1),
            ("_growth", growth),
            ("_backlog", joined),
        ):
            object.__setattr__(self, name, value)

    @property
    def _most(self) -> int:
        """Phases that may be present when a batch starts."""
        return len(self.starts.backlog) + self.starts.service.up

    def requests(self, sizes: Sizes, ages: Floats, found: float = 0.0) -> float:
        """Requests in batches of some sizes that had been there `ages` at the completion.

        Args:
            ages: by batch size, those of other sizes not looked at; not negative. [phases]
            found: requests beside which what is next to nothing is left out.
        """
        if len(sizes) == len(ages) and self.after == 0.0 and (ages == ages[0]).all():
            return self._of(_ANY, float(ages[0]), _NEGLIGIBLE * found)
        total = found + self._at_once(sizes, ages)
        several = self._follow_from > 0
        asked = np.zeros(len(ages) + 1, dtype=bool)
        asked[sizes] = True
        if several:  # only full services may have followed
            asked[1:-1] &= ages[:-1] >= self.starts.service.phases[-1]
        order = self._order[asked[self._order]]
        left = np.cumsum(self._held[order - 1][::-1])[::-1]
        for size, rest in zip(order, left, strict=True):
            if rest <= _NEGLIGIBLE * total:
                break
            total += self._of(int(size), float(ages[size - 1]), _NEGLIGIBLE * total / len(ages))
        return total - found

    @property
    def _follow_from(self) -> int:
        """Full services that have followed where a sum is left to do, for batches below B."""
        return 0 if self._growth is None else 1

    def _at_once(self, sizes: Sizes, ages: Floats) -> float:
        """Those in batches below B that came during the last service or were left by it, in closed form."""
        if self._growth is None:
            return 0.0
        below = sizes[sizes < len(ages)]
        phases, young = self.starts.service.phases, ages[below - 1]
        total = 0.0
        if self.partial_from == 0:
            elapsed = np.maximum(0.0, phases[:, None] - young)
            total += float(np.vdot(self._growth[:, below - 1], elapsed))
        below = below[young < phases[-1]]
        return total + self._backlog.requests(below, ages + self.after)

    def _of(self, size: int, age: float, negligible: float) -> float:
        """Those in batches of one size, but for what is in closed form."""
        is_open, total = size in (self.starts.service.batch_size_max, _ANY), 0.0
        for follow, residual in self._under_way(age):
            if follow < self._follow_from and not is_open:
                continue
            elapsed = self.starts.service.phases - residual
            if follow >= self.partial_from:
                total += self._after_partial(size, follow, elapsed, age + self.after, negligible)
            if elapsed[-1] > 0.0 and len(self._held) * self.starts.backlog_share > negligible:
                total += self._after_backlog(size, follow, float(elapsed[-1]), age + self.after)
        return total

    def _after_partial(
        self, size: int, follow: int, elapsed: Floats, wait: float, negligible: float
    ) -> float:
        """Those who came during a service that had left less than a request, before `follow` full ones."""
        service, starts = self.starts.service, self.starts
        reached = _reached(service, size, follow, np.maximum(0.0, elapsed) + wait)
        likely = (elapsed > 0.0) * (size or service.batch_size_max) * starts.shares * reached
        rows = np.flatnonzero(likely * len(elapsed) > negligible)
        if not len(rows):
            return 0.0
        stride, weights = service.stride, self._weights(size, wait)
        counts = follow * service.full - stride + 1 + np.arange(len(weights) + stride - 1)
        kernels = pmf(counts, elapsed[rows, None])
        by_phase = sliding_window_view(np.pad(weights, stride - 1), kernels.shape[1])
        return float(np.vdot(starts.partial[rows], kernels @ by_phase.T))

    def _after_backlog(self, size: int, follow: int, elapsed: float, wait: float) -> float:
        """Those of a backlog, or who came during the full service that left it, before `follow` more."""
        weights = self._weights(size, wait)
        kernel = pmf(np.arange(self.starts.service.up + 1), elapsed)
        return float(weights @ self._backlog_after(kernel, follow * self.starts.service.full, len(weights)))

    def _weights(self, size: int, wait: float) -> Floats:
        """Requests in a batch of `size` by the phases present `wait` before it starts."""
        service = self.starts.service
        is_open = size in (service.batch_size_max, _ANY)
        return in_batch(service, size, wait, self._most if is_open else service.stride * (size + 1))

    def older_within(self, youngest: float, oldest: float, count: int) -> Floats:
        """Integral of `older` over ages from `youngest` to `oldest`, shape `(count,)`."""
        service, partial = self.starts.service, self.starts.partial
        result = np.zeros(count)
        for follow in range(math.floor(oldest / service.phases[-1]) + 1):
            ended = follow * float(service.phases[-1])
            high = service.phases - max(0.0, youngest - ended)
            low = np.maximum(0.0, service.phases - (oldest - ended))
            rows = np.flatnonzero((high > low) & (self.starts.shares > UNHEARD_OF))
            for phase in range(service.stride):
                counts = follow * service.full - phase + np.arange(count)
                between = at_least_between(np.maximum(counts, 0) + 1, low[rows, None], high[rows, None])
                result += partial[rows, phase] @ np.where(counts >= 0, between, 0.0)
            if high[-1] > low[-1]:
                kernel = at_least_between(np.arange(1, service.up + 2), low[-1], high[-1])
                result += self._backlog_after(kernel, follow * service.full, count)
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

    def _backlog_after(self, kernel: Floats, base: int, count: int) -> Floats:
        """Sum over y of backlog[y] kernel[base + j - y], j = 0, ..., count - 1."""
        first = max(0, base - len(kernel) + 1)
        behind = self.starts.backlog[first : base + count]
        result = np.zeros(count)
        if len(behind):
            summed = np.convolve(behind, kernel)[base - first :][:count]
            result[: len(summed)] = summed
        return result


def _reached(service: Service, size: int, follow: int, phases: Floats) -> Floats:
    """At least P(a batch of `size` comes, after `follow` full ones, so many phases after nobody was left)."""
    at_size, spread = service.stride * size + follow * service.full, service.stride - 1
    if size in (service.batch_size_max, _ANY):
        return at_least(at_size - spread, phases)
    likeliest = np.clip(np.floor(phases), at_size - spread, at_size + spread)
    return np.asarray((2 * spread + 1) * pmf(likeliest, phases))
