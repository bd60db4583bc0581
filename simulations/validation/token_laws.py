"""Token laws: exact and approximate theory of an engine that batches continuously."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, nbinom, poisson

from capacity.server.engine.plan import TokenScenario
from simulations.draws.records import Floats

_STATES_MAX = 4_000
_NEGLIGIBLE = 1e-13  # of a law that is cut off
_CUT = 1e-10  # of a chain that is cut off, more than the error of solving it
_GAUSS = 12  # points between two jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualPasses:
    """Passes of equal length, unlimited room, and Poisson arrivals: exact, whatever the lengths.

    A request that comes to an idle engine has its first token after one pass, any other after the rest of a pass,
    which is uniform, and one more. Between tokens lies one pass. The number of passes until the engine is idle is
    that of a queue with unlimited servers, in whole passes: `P(empty after n) = P(L <= n) r(n)` after a first
    request, `r(n)` after none, with `r(n) = exp(-λa Σ_{i<n} P(L > i))`, and the one is the other convolved with the
    number of passes.

    Attributes:
        pass_s: a. [s]
        tail: P(output > i) for i = 0, 1, ... until it is 0.
    """

    arrival_rate_rps: float
    pass_s: float
    tail: tuple[float, ...]

    @property
    def idle_share(self) -> float:
        """Share of time, and of arrivals, that find the engine idle."""
        arrivals = self.arrival_rate_rps * self.pass_s
        tail = np.array(self.tail)
        before = np.concatenate([[0.0], np.cumsum(tail)])
        passes = math.exp(arrivals * before[-1]) * float((tail * np.exp(-arrivals * before[:-1])).sum())
        return 1.0 / (1.0 + arrivals * passes)

    @property
    def ttft_mean_s(self) -> float:
        """Mean time to the first token. [s]"""
        return self.pass_s * (1.0 + 0.5 * (1.0 - self.idle_share))

    def ttft_quantile_s(self, quantile: float) -> float:
        """Quantile of the time to the first token. [s]"""
        idle = self.idle_share
        return self.pass_s * (1.0 + max(0.0, quantile - idle) / (1.0 - idle))

    def ttft_share_above(self, time_s: float) -> float:
        """P(TTFT > t)."""
        if time_s < self.pass_s:
            return 1.0
        return (1.0 - self.idle_share) * max(0.0, 2.0 - time_s / self.pass_s)

    @property
    def response_mean_s(self) -> float:
        """Mean response. [s]"""
        return self.ttft_mean_s + self.pass_s * (sum(self.tail) - 1.0)


@dataclass(frozen=True)
class GeometricSlots:
    """Geometric outputs in K slots, exact: a pass of n requests lasts a + gn, a prompt's pass too.

    Between two passes n = min(x, K) of x requests lose a binomial number and gain a Poisson one: a Markov chain. If
    none are left, the engine waits for one arrival. All else are averages over its passes.

    Attributes:
        output_mean: mean of a geometric law from 1 on.
        base_s, per_request_s: a and g. [s]
        slots: K; more than ever fill for an engine without a limit.
    """

    arrival_rate_rps: float
    output_mean: float
    base_s: float
    per_request_s: float
    slots: int

    def pass_s(self, running: Floats) -> Floats:
        """Duration of a pass by the number of running requests. [s]"""
        return self.base_s + self.per_request_s * running

    @property
    def full_s(self) -> float:
        """Duration of a pass with full slots. [s]"""
        return self.base_s + self.per_request_s * self.slots

    @cached_property
    def _steps(self) -> tuple[Floats, Floats, Floats, Floats, float, float]:
        """Requests x = 1, 2, ..., running requests, the pass, its share; P(idle after); E[new · pass]."""
        size = 64
        while True:
            found = self._solved(size)
            if found[3][-4:].max() < _CUT or size >= _STATES_MAX:
                return found
            size *= 2

    def _solved(self, size: int) -> tuple[Floats, Floats, Floats, Floats, float, float]:
        x = np.arange(1, size + 1)
        running = np.minimum(x, self.slots)
        lasts_s = self.pass_s(running.astype(float))
        moves = np.zeros((size, size + 1))
        new_s = np.zeros(size)  # total time of requests that start in the next pass, in that pass
        for at in range(size):
            if x[at] > 2 * self.slots:  # like the row before, shifted by one
                moves[at, 1:] = moves[at - 1, :-1]
                moves[at, -1] += moves[at - 1, -1]
                new_s[at] = new_s[at - 1]
            else:
                moves[at], new_s[at] = self._row(int(x[at]), int(running[at]), float(lasts_s[at]), size)
        idle = moves[:, 0].copy()
        chain = moves[:, 1:].copy()
        chain[:, 0] += idle
        system = chain.T - np.eye(size)
        system[-1] = 1.0
        share = np.linalg.solve(system, np.concatenate([np.zeros(size - 1), [1.0]]))
        share = np.maximum(share, 0.0) / np.maximum(share, 0.0).sum()
        alone_s = float(self.pass_s(np.ones(1))[0])
        new_mean_s = float(share @ (new_s + idle * alone_s))
        return x.astype(float), running.astype(float), lasts_s, share, float(share @ idle), new_mean_s

    def _row(self, x: int, running: int, lasts_s: float, size: int) -> tuple[Floats, float]:
        """Transitions from a pass, and the time of requests that start next in the pass after it. [s]"""
        after = np.arange(size + 1)
        run = np.minimum(after, self.slots)
        next_s = self.pass_s(run.astype(float)) * (after > 0)
        gone = binom.pmf(np.arange(running + 1), running, 1.0 / self.output_mean)
        come = poisson.pmf(after, self.arrival_rate_rps * lasts_s)
        row, new_s = np.zeros(size + 1), 0.0
        for done in np.flatnonzero(gone > _NEGLIGIBLE):
            left = x - int(done)
            moved = np.zeros(size + 1)
            moved[left:] = gone[done] * come[: size + 1 - left]
            moved[-1] += gone[done] * max(0.0, 1.0 - float(come[: size + 1 - left].sum()))
            row += moved
            new_s += float(moved @ (np.maximum(0, run - (running - int(done))) * next_s))
        return row, new_s

    @cached_property
    def _cycle_s(self) -> float:
        """Mean time from one pass to the next. [s]"""
        _, _, lasts_s, share, idle, _ = self._steps
        return float(share @ lasts_s) + idle / self.arrival_rate_rps

    @property
    def busy_share(self) -> float:
        """Share of time in which a pass is computed."""
        _, _, lasts_s, share, _, _ = self._steps
        return float(share @ lasts_s) / self._cycle_s

    @property
    def running_mean(self) -> float:
        """Mean number of running requests, over time."""
        _, running, lasts_s, share, _, _ = self._steps
        return float(share @ (running * lasts_s)) / self._cycle_s

    @property
    def response_mean_s(self) -> float:
        """Mean response, by Little's law. [s]"""
        x, _, lasts_s, share, _, _ = self._steps
        come = self.arrival_rate_rps * lasts_s**2 / 2.0
        return float(share @ (x * lasts_s + come)) / self._cycle_s / self.arrival_rate_rps

    @property
    def ttft_mean_s(self) -> float:
        """Mean time to the first token, by Little's law. [s]"""
        x, running, lasts_s, share, _, new_s = self._steps
        waiting = (x - running) * lasts_s + self.arrival_rate_rps * lasts_s**2 / 2.0
        return (float(share @ waiting) + new_s) / self._cycle_s / self.arrival_rate_rps

    def ttft_share_above(self, time_s: float, own_s: float) -> float:
        """P(TTFT > t) if the first pass of a request lasts `own_s`, or that of full slots if it waits.

        A request that finds y before it starts once y + 1 - K of them are done: those of the current pass, and then
        of passes of full slots.
        """
        x, running, lasts_s, share, idle, _ = self._steps
        alone_s = float(self.pass_s(np.ones(1))[0])
        total = idle / self.arrival_rate_rps * (time_s < alone_s)
        done = 1.0 / self.output_mean
        for n in range(1, self.slots + 1):
            here = np.flatnonzero(running == n)
            if not len(here) or share[here].sum() < _NEGLIGIBLE:
                continue
            whole_s = float(lasts_s[here[0]])
            spare_s = time_s - own_s
            jump_s = spare_s % self.full_s if self.full_s else 0.0
            for low_s, high_s in ((0.0, min(jump_s, whole_s)), (min(jump_s, whole_s), whole_s)):
                if high_s <= low_s:
                    continue
                points, weights = np.polynomial.legendre.leggauss(_GAUSS)
                for point, weight in zip(points, weights, strict=True):
                    rest_s = low_s + (high_s - low_s) * (point + 1.0) / 2.0
                    late = self._late(x[here], share[here], n, whole_s - rest_s, spare_s - rest_s, done)
                    total += late * weight * (high_s - low_s) / 2.0
        return total / self._cycle_s

    def _late(self, x: Floats, share: Floats, n: int, since_s: float, spare_s: float, done: float) -> float:
        """Share of passes in which an arrival this long after their start waits longer than the spare time."""
        if spare_s < 0.0:
            return float(share.sum())
        mean = self.arrival_rate_rps * since_s
        come = poisson.pmf(np.arange(20 + int(mean + 10.0 * math.sqrt(mean))), mean)
        found = np.convolve(share, come)
        before = x[0] + np.arange(len(found))
        full = int(spare_s // self.full_s)
        missing = before + 1 - self.slots
        if n == self.slots:
            return float(found @ binom.cdf(missing - 1, self.slots * (full + 1), done))
        # The current pass has n requests, those after it K.
        first = binom.pmf(np.arange(n + 1), n, done)
        later = binom.cdf(missing[:, None] - 1 - np.arange(n + 1)[None, :], self.slots * full, done)
        return float(found @ (later @ first))

    def ttft_quantile_s(self, quantile: float) -> float:
        """Quantile of the time to first token of a waiting request, at most g(K - 1) too large. [s]"""
        high_s = self.full_s
        while self.ttft_share_above(high_s, self.full_s) > 1.0 - quantile:
            high_s *= 2.0
        return float(
            brentq(
                lambda time_s: self.ttft_share_above(time_s, self.full_s) - (1.0 - quantile),
                0.0,
                high_s,
                xtol=1e-7 * high_s,
            )
        )


@dataclass(frozen=True)
class SharedSlots:
    """Slots with infinitely fine tokens: exponential work in K slots, a birth-death process.

    n requests end at the rate of μ(n) = min(n, K)/(m(a + g min(n, K))), and a wait ends at the rate of μ(K) - λ. It
    is right up to about a pass.

    Attributes:
        slots: K.
    """

    arrival_rate_rps: float
    output_mean: float
    base_s: float
    per_request_s: float
    slots: int

    @property
    def full_rate_rps(self) -> float:
        """μ(K)."""
        return self.slots / (self.output_mean * (self.base_s + self.per_request_s * self.slots))

    @property
    def wait_probability(self) -> float:
        """P(all slots are taken)."""
        n = np.arange(1, self.slots + 1)
        lasts_s = self.output_mean * (self.base_s + self.per_request_s * n) / n
        weights = np.concatenate([[1.0], np.cumprod(self.arrival_rate_rps * lasts_s)])
        load = self.arrival_rate_rps / self.full_rate_rps
        full = weights[-1] / (1.0 - load)
        return float(full / (weights[:-1].sum() + full))

    def wait_quantile_s(self, quantile: float) -> float:
        """Quantile of the wait for a slot. [s]"""
        beyond = self.wait_probability / (1.0 - quantile)
        return max(0.0, math.log(beyond)) / (self.full_rate_rps - self.arrival_rate_rps)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedEngine:
    """Unlimited room, and a pass of n requests that lasts a + gn: generalized processor sharing.

    Each of n requests is served at the rate of 1/(a + gn), as if tokens were infinitely fine: the number of running
    requests is negative binomial, and its mean depends on the outputs by their mean alone. Passes add about half of
    one, for which an arrival waits.

    Source:
        Cohen (1979), The multiple phase service network with generalized processor sharing, Acta Inf. 12.
    """

    arrival_rate_rps: float
    output_mean: float
    base_s: float
    per_request_s: float

    @property
    def load(self) -> float:
        """λmg."""
        return self.arrival_rate_rps * self.output_mean * self.per_request_s

    @property
    def _shape(self) -> float:
        return self.base_s / self.per_request_s + 1.0

    def running_share(self, count: int) -> float:
        """P(`count` requests run)."""
        return float(nbinom.pmf(count, self._shape, 1.0 - self.load))

    @property
    def running_mean(self) -> float:
        """Mean number of running requests."""
        return self._shape * self.load / (1.0 - self.load)

    @property
    def shared_s(self) -> float:
        """m(a + g)/(1 - λmg). [s]"""
        return self.output_mean * (self.base_s + self.per_request_s) / (1.0 - self.load)

    @property
    def until_pass_s(self) -> float:
        """Half of the current pass when a request comes, 0 if there is none. [s]"""
        idle = self.running_share(0)
        return (self.base_s * (1.0 - idle) + self.per_request_s * self.running_mean) / 2.0

    @property
    def response_mean_s(self) -> float:
        """Mean response. [s]"""
        return self.shared_s + self.until_pass_s


def limited_sharing_mean_s(load: float, mean_s: float, square_s2: float, slots: int) -> float:
    """Mean response of K slots that share a processor: approximate, but exact for K = 1, ∞ and at load 1. [s]

    Source:
        Avi-Itzhak & Halfin (1988), Expected response times in a non-symmetric time sharing queue with a
        limited number of service positions, Proc. ITC 12.
    """
    waiting = square_s2 / (2.0 * mean_s) * load**slots / (1.0 - load)
    return waiting + mean_s * (1.0 - load**slots) / (1.0 - load)


def linear_saturation_rps(
    scenario: TokenScenario, *, base_s: float, per_token_s: float, per_request_s: float, per_read_s: float
) -> float:
    """The saturation rate of an engine whose steps are linear. [requests/s]

    A pass costs a, and a request takes part in as many as it gets output tokens, one of K at a time; or the tokens of
    a pass limit it, B of the p + m - 1 that each computes. So 1/λ = a·max(m/K, (p + m - 1)/B) + bp + g(m - 1) +
    d·(tokens read), with K = min(slots, cache/c) requests at once, and m - 1 since the first token comes from the
    prompt's own pass. It is right if slots or B limit; if the cache does, it is too high by what half-filled blocks
    and recomputing after preemptions cost.

    Args:
        base_s, per_token_s, per_request_s, per_read_s: a, b, g, d: time of a step, of a prompt token in it, of a
            decoding request in it, and of a cached token read. [s]
    """
    moments, plan = scenario.lengths.moments, scenario.plan
    context = moments.context
    slots = min(float(plan.sequences_max), scenario.profile.kv.usable_tokens / max(1.0, context))
    read = moments.product - moments.input + (moments.square - moments.output) / 2.0
    passes = max(moments.output / slots, (moments.input + moments.output - 1.0) / plan.batched_tokens_max)
    decode_s = per_request_s * (moments.output - 1.0) + per_read_s * read
    return 1.0 / (base_s * passes + per_token_s * moments.input + decode_s)
