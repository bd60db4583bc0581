"""Bulk rule: when a free replica starts a batch, and the law of the waits that follow from it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.question.plan import Routing
from capacity.queues.batch.chain import UNHEARD_OF, Service, Starts, Window, solve, window_starts
from capacity.queues.law import settle
from capacity.queues.numerics.chains import (
    Floats,
    at_least,
    at_least_between,
    at_least_between_run,
    likely_counts,
    pmf,
    pmf_run,
    tails_run,
)
from capacity.server.batch.batching import BatchTimer
from capacity.units import require_count, require_not_negative

Sizes = NDArray[np.signedinteger[Any]]
_NEGLIGIBLE = 1e-17  # share of the requests that have been found
_ANY = 0  # a batch of any size


def in_batch(service: Service, size: int, wait: float, count: int) -> Floats:
    """Requests in a batch of `size`, by the number j = 0, ..., count - 1 of phases present `wait` before it."""
    phases = np.arange(count)
    held = np.minimum(phases // service.stride, service.batch_size_max)
    if size == _ANY:
        return held
    if size == service.batch_size_max:
        return np.asarray(held * at_least(service.full - phases, wait))
    counts = pmf_run(1 - service.stride, service.stride * (size + 2) - 1, wait)
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
        grown = np.convolve(self._phases[:count], pmf_run(0, count, self._span - wait))[:count]
        return float(in_batch(self._service, size, wait, count)[: len(grown)] @ grown)


def _is_linear(service: Service) -> bool:
    """Whether each phase is a request: if several make one, the sum has no closed form."""
    return service.stride == 1


def _lines(batch_size_max: int, phases: Floats, span: float) -> tuple[Floats, Floats]:
    """Requests there at first, and those that have come per phase of time, by batch size below B.

    Each of those that join by the end was there by an instant with the probability of the share of the span
    before it: the numbers by an instant are binomial, and their means make straight lines.
    """
    first, counts = phases[:batch_size_max], np.arange(batch_size_max)
    kernel = pmf_run(0, batch_size_max, span)
    at_first = np.convolve(first * counts[: len(first)], kernel)[:batch_size_max]
    return at_first, np.convolve(first, kernel * counts / span)[:batch_size_max]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ages:
    """Requests by age at a completion or some time after it, per cycle.

    Attributes:
        after: time from the completion to the start of the batch. [phases]
        partial_from: services that left no request behind count only if this many full ones followed.
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
        if _is_linear(service):  # for those that came by the end of the span, by the time that has passed
            growth = (
                starts.shares[:, None] * counts * pmf_run(1, len(counts), spans[:, None]) / spans[:, None]
            )
        joined = Joined(service, starts.backlog, float(spans[-1]), self._most)
        order = np.argsort(-held, kind="stable") + 1
        settle(self, _held=held, _order=order, _growth=growth, _backlog=joined)

    @property
    def _most(self) -> int:
        """Largest number of phases present when a batch starts."""
        return len(self.starts.backlog) + self.starts.service.up

    def requests(self, sizes: Sizes, ages: Floats, found: float = 0.0) -> float:
        """Requests in batches of some sizes that had been there `ages` [phases] at the completion.

        Args:
            ages: by batch size, those of other sizes are ignored; not negative.
            found: requests found so far; terms negligible against these are left out.
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
        """Number of full services that have followed where a sum remains to be done, for batches below B."""
        return 0 if self._growth is None else 1

    def _at_once(self, sizes: Sizes, ages: Floats) -> float:
        """Requests in batches below B that came during the last service or were left by it, in closed form."""
        if self._growth is None:
            return 0.0
        below, phases = sizes[sizes < len(ages)], self.starts.service.phases
        total = 0.0
        if self.partial_from == 0:
            young = np.full(len(ages) - 1, math.inf)
            young[below - 1] = ages[below - 1]
            elapsed = np.subtract.outer(phases, young)
            total += float(np.vdot(self._growth, np.maximum(elapsed, 0.0, out=elapsed)))
        below = below[ages[below - 1] < phases[-1]]
        return total + self._backlog.requests(below, ages + self.after)

    def _of(self, size: int, age: float, negligible: float) -> float:
        """Requests in batches of one size, except those in closed form."""
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
        """Requests that came during a service that had left less than a request, before `follow` full ones."""
        service, starts = self.starts.service, self.starts
        reached = _reached(service, size, follow, np.maximum(0.0, elapsed) + wait)
        likely = (elapsed > 0.0) * (size or service.batch_size_max) * starts.shares * reached
        rows = np.flatnonzero(likely * len(elapsed) > negligible)
        if not len(rows):
            return 0.0
        stride, weights, followed = service.stride, self._weights(size, wait), follow * service.full
        first, last = 1 - stride, len(weights) - 1  # phases that came beyond those of full services
        if negligible > UNHEARD_OF:
            fewest, most = likely_counts(float(elapsed[rows].min()), float(elapsed[rows].max()))
            needed = stride * (size - 1) + 1 - likely_counts(wait, wait)[1]
            first, last = max(first, fewest - followed, needed), min(last, most - followed)
        if first > last:
            return 0.0
        kernels = pmf_run(followed + first, last - first + 1, elapsed[rows, None])
        padded = np.zeros(len(weights) + 2 * (stride - 1))
        padded[stride - 1 : stride - 1 + len(weights)] = weights
        by_phase = sliding_window_view(padded[first + stride - 1 : last + 2 * stride - 1], kernels.shape[1])
        return float(np.vdot(starts.partial[rows], kernels @ by_phase.T))

    def _after_backlog(self, size: int, follow: int, elapsed: float, wait: float) -> float:
        """Requests of a backlog, or that came during the full service that left it, before `follow` more."""
        weights = self._weights(size, wait)
        kernel = pmf_run(0, self.starts.service.up + 1, elapsed)
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
            first = max(1, follow * service.full - service.stride + 2)
            between = at_least_between_run(
                first, follow * service.full + count + 1 - first, low[rows, None], high[rows, None]
            )
            for phase in range(service.stride):
                skipped = max(0, phase - follow * service.full)  # no count is negative
                from_ = follow * service.full - phase + skipped + 1 - first
                kept = between[:, from_ : from_ + count - skipped]
                result[skipped:] += partial[rows, phase] @ kept
            if high[-1] > low[-1]:
                kernel = at_least_between(np.arange(1, service.up + 2), low[-1], high[-1])
                result += self._backlog_after(kernel, follow * service.full, count)
        return result

    def _under_way(self, age: float) -> Iterator[tuple[int, float]]:
        """Numbers of full services that may have followed the one in progress, and what was left of that one."""
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
    """Lower bound of P(a batch of `size` comes, after `follow` full ones, this many phases after none was left)."""
    at_size, spread = service.stride * size + follow * service.full, service.stride - 1
    if size in (service.batch_size_max, _ANY):
        return at_least(at_size - spread, phases)
    likeliest = np.clip(np.floor(phases), at_size - spread, at_size + spread)
    return np.asarray((2 * spread + 1) * pmf(likeliest, phases))


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
            waits: if negative, all requests in such batches count. [phases]
            beside: requests found elsewhere; terms negligible against these may be left out, for speed.
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

    @cached_property
    def waiting(self) -> float:
        """Integral over a cycle of the mean number of waiting requests."""
        return self.starts.waiting_in_service() + self._waiting_in_window()

    def _waiting_in_window(self) -> float:
        """Integral of the mean number of waiting requests over the window of a cycle."""
        y = np.arange(len(self._openings) - 1)
        passes = self._passes(y, 0.0)
        return math.fsum(
            self._openings[opened] * float(y[opened:] // self.service.stride @ passes[: len(passes) - opened])
            for opened in np.flatnonzero(self._openings[:-1])
        )

    def _passes(self, phases: Counts, wait: float) -> Floats:
        """P(the window lasts long enough for more than this many phases, plus `wait`)."""
        if math.isinf(self.window.wait):
            return np.ones(len(phases))
        return at_least(phases + 1, max(0.0, self.window.wait - wait))

    def _filled(self, wait: float) -> float:
        """Requests per cycle that waited longer than `wait` for the phase that fills the level."""
        at_level = len(self._openings) - 1
        y = np.arange(at_level)
        last = pmf_run(0, at_level, wait)[::-1]
        present = self._ages.older_within(max(0.0, wait - self.window.wait), wait, at_level)
        if wait < self.window.wait:
            present += np.convolve(self._openings[:at_level], self._passes(y, wait))[:at_level]
        return float((y // self.service.stride * last) @ present)


class OldestLaw:
    """Waits under the timer of the oldest request, T <= service of a full batch.

    Embedded at starts. What a full batch leaves behind is older than T when it ends, so that the next
    starts at once. After any other batch it depends on the first request: if it came more than T
    before the end, the next batch starts at the end; if not, a *window* of T opens with it. By then
    nothing of the past matters except how many phases there were T before the end.
    """

    def __init__(self, service: Service, timer: float) -> None:
        self.service, self.timer = service, timer
        self.starts = self._solve()
        self._ages = Ages(starts=self.starts)
        self._ages_within = Ages(starts=self.starts, partial_from=1)
        stride, partial = service.stride, self.starts.partial
        self._short = service.phases < timer
        # phases that were there `_spans` before the end of a batch, given a window: batches of one span are one row
        self._spans, which = np.unique(np.minimum(service.phases, timer), return_inverse=True)
        self._before = np.zeros((len(self._spans), stride))
        for row, left, phases in zip(which, partial, service.phases, strict=True):
            self._before[row] += _spread(left, float(phases - self._spans[row]), stride)
        self._windows = float(self._before.sum())
        early, count = self._early_phases(), len(self.starts.backlog) + service.up
        opened = early.copy()
        opened[stride] += self._windows
        self._early, self._opened = (Joined(service, phases, timer, count) for phases in (early, opened))

    def _early_phases(self) -> Floats:
        """Phases T before the end of a batch, per cycle, if a request was among them."""
        length = self.service.stride + self.service.up
        early = np.zeros(length)
        for i in np.flatnonzero(~self._short):
            early += _spread(self.starts.partial[i], float(self.service.phases[i]) - self.timer, length)
        early[: self.service.stride] = 0.0
        return early

    def older(self, waits: Floats, beside: float = 0.0) -> float:
        """Requests per cycle that waited longer than `waits`, as in `WindowLaw.older`."""
        sizes, most = np.arange(1, len(waits) + 1), self.service.batch_size_max
        total = float((sizes * self.starts.by_size)[waits < 0.0].sum())
        within = (waits >= 0.0) & (waits < self.timer)
        if within[-1]:
            total += self._filled(float(waits[-1])) + self._early.requests(sizes[-1:], waits)
        total += self._opened.requests(sizes[within & (sizes < most)], waits)
        total += self._ages_within.requests(sizes[within], waits, beside + total)
        return total + self._ages.requests(sizes[waits >= self.timer], waits, beside + total)

    @cached_property
    def waiting(self) -> float:
        """Integral over a cycle of the mean number of waiting requests."""
        return self.starts.waiting_in_service() + self._waiting_in_window()

    def _waiting_in_window(self) -> float:
        """Integral of the mean number waiting over a cycle's window, after the last batch."""
        stride = self.service.stride
        y = np.arange(stride, self.service.full)
        return float(y // stride @ self._windows_open(0.0))

    def _windows_open(self, wait: float) -> Floats:
        """Windows per cycle in which phase y = c, ..., cB - 1 comes, more than `wait` < T before the timer ends."""
        stride, count = self.service.stride, self.service.full - self.service.stride
        some, none = tails_run(1, count, np.array([[self.timer - wait]]))
        spans = np.maximum(self._spans - wait, 0.0)[:, None]
        more, fewer = (_by_phase(self._before, one) for one in tails_run(1, count + stride, spans))
        return np.asarray(
            np.where(some[0] > 0.5, fewer - self._windows * none[0], self._windows * some[0] - more)
        )

    def _filled(self, wait: float) -> float:
        """Requests per cycle, of windows that end in a full batch, that waited longer than `wait` < T."""
        stride, full = self.service.stride, self.service.full
        y, longer = np.arange(stride, full), self._spans > wait
        at_last = pmf_run(0, full - stride, wait)[::-1]
        arrived = float((y // stride * at_last) @ self._windows_open(wait))
        at_end = np.zeros(full + self.service.up)
        present = pmf_run(0, len(at_end), (self._spans[longer] - wait)[:, None])
        for phase in range(stride):
            at_end[phase:] += (self._before[longer, phase] @ present)[: len(at_end) - phase]
        at_end[:stride] = 0.0
        return arrived + float(
            in_batch(self.service, self.service.batch_size_max, wait, len(at_end)) @ at_end
        )

    def _solve(self) -> Starts:
        """Starts, from the chain of the phases present at starts, c, c + 1, ...."""
        service, stride, full = self.service, self.service.stride, self.service.full
        low = [row for index in range(service.batch_size_max) for row in self._rows(index)]
        after_full = pmf_run(0, service.up + 1, service.phases[-1])
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

    def _rows(self, index: int) -> Iterator[Floats]:
        """The phases at the next start, from c, after a batch of `index + 1` that left 0, ..., c - 1 phases.

        More than those of a full batch were there at its end. Of fewer, either a request came more than T before the
        end, so that the next batch starts then, or a window fills the batch or ends with the timer.
        """
        stride, full, phases = self.service.stride, self.service.full, float(self.service.phases[index])
        span = min(self.timer, phases)
        came, later = pmf_run(0, full + 1, phases - span), pmf_run(0, full + 1, span)
        early = np.zeros(full + 1)  # by the number that come in all, if the first request comes early
        if span == self.timer:
            early[stride:] = np.convolve(came[stride:], later)[: full + 1 - stride]
        timed_out = pmf_run(0, full - stride, self.timer)
        fills = np.array([self._fills(full - started, span) for started in range(stride)])
        for phase in range(stride):
            before, row = came[: stride - phase], np.zeros(full + self.service.up)
            row[full + 1 :] = pmf_run(full + 1 - phase, self.service.up - 1, phases)
            row[stride : full + 1] = early[stride - phase : full + 1 - phase]
            row[stride:full] += before.sum() * timed_out
            row[full] += before @ fills[phase:]
            yield row[stride:]
            if span == self.timer:
                last = stride - phase - 1
                early[last:] += came[last] * later[: full + 1 - last]

    def _fills(self, missing: int, span: float) -> float:
        """P(N(T) >= cB - c, but not N(span) > missing): a window that ends full and leaves nothing."""
        stride, full = self.service.stride, self.service.full
        filled = float(pmf_run(full - stride, missing + 1 - full + stride, self.timer).sum())
        if span < self.timer:
            late, _ = tails_run(1, missing + 1, np.array([[self.timer - span]]))
            filled += float(pmf_run(0, missing + 1, span) @ late[0, ::-1])
        return filled


def _by_phase(before: Floats, tails: Floats) -> Floats:
    """Sum over rows and phases p of before[row, p] tails[row, c - p + m], for m = 0, 1, ...."""
    stride, count = before.shape[1], tails.shape[1] - before.shape[1]
    return np.asarray(
        sum(before[:, p] @ tails[:, stride - p : stride - p + count] for p in range(stride)), dtype=np.float64
    )


def _spread(phases: Floats, time: float, length: int) -> Floats:
    """The law after `time` more, cut to `length`."""
    return np.convolve(phases, pmf_run(0, length, time))[:length]


BatchLaw = WindowLaw | OldestLaw
_PHASES_MAX = 2048  # requests of a full batch times replicas under round-robin


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRule:
    """Greedy, a minimum batch, or a batch wait with one of the two timers; each has its exact law.

    Attributes:
        batch_size_min: a, without a batch wait.
        batch_wait_max_s: T; for the timer of the oldest request exact up to the time of a full batch. [s]
    """

    batch_size_min: int
    batch_wait_max_s: float
    timer: BatchTimer

    def require_law(self, batch_times_s: tuple[float, ...]) -> None:
        """Refuse a rule that has no exact law with these batch times, before anything is computed."""
        size_max, full_s = len(batch_times_s), batch_times_s[-1]
        require_count("batch_size_min", self.batch_size_min, most=size_max)
        require_not_negative("batch_wait_max_s", self.batch_wait_max_s)
        if self.batch_wait_max_s > 0.0 and self.batch_size_min > 1:
            raise DomainError(
                f"a minimum batch has no batch wait, got {self.batch_size_min} and "
                f"{self.batch_wait_max_s:g} s; give batch_size_min or batch_wait_max_s"
            )
        if self.timer is BatchTimer.OLDEST and self.batch_wait_max_s > full_s and size_max > 1:
            raise DomainError(
                f"a batch wait of {self.batch_wait_max_s:g} s since the oldest request has an exact law up "
                f"to the service time of a full batch, {full_s:g} s; simulate instead, or take the "
                "timer 'open'"
            )

    def law(self, batch_times_s: tuple[float, ...], phase_rate_rps: float, stride: int) -> BatchLaw:
        """The law, with time in mean gaps of `phase_rate_rps`, of which `stride` make a request."""
        service = Service(phases=phase_rate_rps * np.array(batch_times_s), stride=stride)
        if self.batch_wait_max_s == 0.0 or service.batch_size_max == 1:
            return WindowLaw(service, Window(level=self.batch_size_min, wait=math.inf))
        wait = self.batch_wait_max_s * phase_rate_rps
        if self.timer is BatchTimer.OPEN:
            return WindowLaw(service, Window(level=service.batch_size_max, wait=wait))
        return OldestLaw(service, wait)


def require_routing(routing: Routing, replicas: int, batch_size_max: int) -> None:
    """Refuse a fleet of deterministic batches without an exact law, or with one that takes too long."""
    if replicas > 1 and routing not in (Routing.ROUND_ROBIN, Routing.RANDOM):
        raise DomainError(
            f"routing {routing} of deterministic batches has no exact law, only round-robin and "
            "random have; simulate instead"
        )
    phases = replicas * batch_size_max if routing is Routing.ROUND_ROBIN else batch_size_max
    if phases > _PHASES_MAX:
        raise DomainError(
            f"round-robin over {replicas} replicas with batches up to {batch_size_max} takes "
            f"{phases} phases, more than {_PHASES_MAX}; simulate instead, or take smaller batches"
        )
