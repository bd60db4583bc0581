"""Bulk oldest: how long requests wait where the oldest one's arrival starts the batch timer."""

import math

import numpy as np

from capacity.numerics.counts import Floats, at_least, pmf
from capacity.queues.batches.ages import Ages, Joined, in_batch
from capacity.queues.batches.chain import Service, Starts, solve


class OldestLaw:
    """Waits under the timer of the oldest request, T <= service of a full batch.

    Embedded at starts. What a full batch leaves behind is older than T when it ends, so that the next
    starts at once. After any other batch it depends on the first request: if it came more than T
    before the end, the next batch starts at the end; if not, a *window* of T opens with it. By then
    nothing of the past counts but how many phases there were T before the end.
    """

    def __init__(self, service: Service, timer: float) -> None:
        self.service, self.timer = service, timer
        self.starts = self._solve()
        self._ages = Ages(starts=self.starts)
        self._ages_within = Ages(starts=self.starts, partial_from=1)
        stride, partial = service.stride, self.starts.partial
        self._short = service.phases < timer
        # by batch size: phases that were there `_spans` before its end, given a window
        self._spans = np.minimum(service.phases, timer)
        self._before = np.array(
            [
                _spread(partial[i], float(service.phases[i] - self._spans[i]), stride)
                for i in range(len(partial))
            ]
        )
        self._windows = float(self._before.sum())
        early, count = self._early_phases(), len(self.starts.backlog) + service.up
        opened = early.copy()
        opened[stride] += self._windows
        self._early, self._opened = (Joined(service, phases, timer, count) for phases in (early, opened))

    def _early_phases(self) -> Floats:
        """Phases T before the end of a batch, where a request was among them, per cycle."""
        length = self.service.stride + self.service.up
        early = np.zeros(length)
        for i in np.flatnonzero(~self._short):
            early += _spread(self.starts.partial[i], float(self.service.phases[i]) - self.timer, length)
        early[: self.service.stride] = 0.0
        return early

    def older(self, waits: Floats, beside: float = 0.0) -> float:
        """Requests per cycle that waited longer than `waits`, by the size of their batch.

        Args:
            waits: not negative; where they are, all requests in such batches count. [phases]
            beside: requests beside which next to nothing may be left out, for speed.
        """
        sizes, most = np.arange(1, len(waits) + 1), self.service.batch_size_max
        total = float((sizes * self.starts.by_size)[waits < 0.0].sum())
        within = (waits >= 0.0) & (waits < self.timer)
        if within[-1]:
            total += self._filled(float(waits[-1])) + self._early.requests(sizes[-1:], waits)
        total += self._opened.requests(sizes[within & (sizes < most)], waits)
        total += self._ages_within.requests(sizes[within], waits, beside + total)
        return total + self._ages.requests(sizes[waits >= self.timer], waits, beside + total)

    def waiting_in_window(self) -> float:
        """Integral over a cycle's window, after the last batch, of the mean number that wait meanwhile."""
        stride = self.service.stride
        k = np.arange(self.service.full - stride)
        lasts = self._windows * at_least(k + 1, self.timer)
        for before, span in zip(self._before, self._spans, strict=True):
            for phase in range(stride):
                lasts -= before[phase] * at_least(stride - phase + k + 1, float(span))
        return float((k + stride) // stride @ lasts)

    def _filled(self, wait: float) -> float:
        """Requests per cycle, of windows that end in a full batch, that waited longer than `wait` < T."""
        stride, full = self.service.stride, self.service.full
        y = np.arange(stride, full)
        by_arrival = self._windows * at_least(y - stride + 1, self.timer - wait)
        at_end = np.zeros(full + self.service.up)
        for before, span in zip(self._before, self._spans, strict=True):
            if span <= wait or not before.any():
                continue
            for phase in range(stride):
                by_arrival -= before[phase] * at_least(y + 1 - phase, float(span) - wait)
                at_end += before[phase] * pmf(np.arange(len(at_end)) - phase, float(span) - wait)
        at_end[:stride] = 0.0
        arrived = float((y // stride * pmf(full - 1 - y, wait)) @ by_arrival)
        return arrived + float(
            in_batch(self.service, self.service.batch_size_max, wait, len(at_end)) @ at_end
        )

    def _solve(self) -> Starts:
        """Starts, from the chain of the phases present at starts, c, c + 1, ...."""
        service, stride, full = self.service, self.service.stride, self.service.full
        low = [self._row(i // stride, i % stride) for i in range(full)]
        after_full = pmf(np.arange(service.up + 1), service.phases[-1])
        law = solve(
            service,
            lambda i: low[i] if i < full else after_full,
            service.states,
            max(service.up + stride, full),
        )
        backlog = np.concatenate([np.zeros(stride), law[full:]])
        partial = law[:full].reshape(-1, stride)
        return Starts(
            service=service, partial=partial, backlog=backlog, idle_phases=self._idle_phases(partial)
        )

    def _idle_phases(self, partial: Floats) -> float:
        """Mean number of phases that pass, after a batch that left no request, until there is one."""
        stride = self.service.stride
        missing = stride - np.arange(stride)
        return math.fsum(
            float(missing @ _spread(left, float(phases), stride))
            for left, phases in zip(partial, self.service.phases, strict=True)
        )

    def _row(self, index: int, phase: int) -> Floats:
        """The phases at the next start, from c, after a batch of `index + 1` that left `phase` phases."""
        stride, full, length = self.service.stride, self.service.full, self.service.full + self.service.up
        span = min(self.timer, float(self.service.phases[index]))
        left = np.zeros(stride)
        left[phase] = 1.0
        at_timer = _spread(left, float(self.service.phases[index]) - span, length)
        before, early = at_timer[:stride].copy(), at_timer
        early[:stride] = 0.0
        counts = np.arange(length)
        row = np.zeros(length)
        if span == self.timer:
            row += np.convolve(early, pmf(counts, span))[:length]
        row[stride:full] += before.sum() * pmf(counts[: full - stride], self.timer)
        for started in np.flatnonzero(before):
            row[full + 1 :] += before[started] * pmf(counts[full + 1 :] - started, span)
            row[full] += before[started] * self._fills(full - int(started), span)
        return row[stride:]

    def _fills(self, missing: int, span: float) -> float:
        """P(N(T) >= cB - c, but not N(span) > missing): a window that ends full, and leaves nothing."""
        stride, full = self.service.stride, self.service.full
        filled = float(pmf(np.arange(full - stride, missing + 1), self.timer).sum())
        if span < self.timer:
            counts = np.arange(missing + 1)
            filled += float(pmf(counts, span) @ at_least(missing + 1 - counts, self.timer - span))
        return filled


def _spread(phases: Floats, time: float, length: int) -> Floats:
    """The law after `time` more, cut to `length`."""
    return np.convolve(phases, pmf(np.arange(length), time))[:length]
