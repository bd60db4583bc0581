"""Departures: the wait behind a line of geometric length, counted by departures, never cancelling."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from operator import mul

from scipy.special import gammainc

from capacity.queues.law import LawAtRate
from capacity.queues.numerics.mills import above, density, log_density, up_to
from capacity.queues.numerics.tail import quantile_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """P(at least m found) for m = 0, 1, ...; time is counted in mean exponential services, FIFO.

    A request that finds m waits for m services, Erlang(m), and P(Erlang(m) > t) = P(Poisson(t) < m): the tail
    of the wait is the sum over k of P(at least k + 1 found) P(Poisson(t) = k), positive terms only.

    Attributes:
        levels: probabilities from m = 0, where it is 1, on.
        fall: relative fall from each level beyond `levels` to the next; 1 if none follow.
    """

    levels: tuple[float, ...]
    fall: float = 1.0

    @property
    def wait_probability(self) -> float:
        """P(W > 0)."""
        return self.levels[1]

    @property
    def wait_mean(self) -> float:
        """Mean number found. [services]"""
        return math.fsum(self.levels[1:-1]) + self.levels[-1] / self.fall

    def wait_tail(self, time: float) -> float:
        """P(W > t)."""
        return _mixed(self.levels[1:], self.fall, time)

    def response_tail(self, time: float) -> float:
        """P(T > t): the arrival's own service is added to the wait."""
        return _mixed(self.levels, self.fall, time)

    def wait_quantile(self, quantile: float) -> float:
        """Wait that a fraction `quantile` stays within."""
        return quantile_of(self.wait_tail, quantile, self._scale(quantile))

    def response_quantile(self, quantile: float) -> float:
        """Response that a fraction `quantile` stays within."""
        return quantile_of(self.response_tail, quantile, self._scale(quantile))

    def _scale(self, quantile: float) -> float:
        return -math.log1p(-quantile) / self.fall


class JoiningLaw(LawAtRate):
    """A law of replicas with a queue each, from what an arrival finds in the queue that it joins."""

    __slots__ = ()

    _joined: Joined

    @property
    def wait_probability(self) -> float:
        """P(W > 0)."""
        return self._joined.wait_probability

    @property
    def _wait_mean(self) -> float:
        return self._joined.wait_mean

    def _wait_tail(self, time: float) -> float:
        return self._joined.wait_tail(time)

    def _response_tail(self, time: float) -> float:
        return self._joined.response_tail(time)

    def _wait_quantile(self, quantile: float) -> float:
        return self._joined.wait_quantile(quantile)

    def _response_quantile(self, quantile: float) -> float:
        return self._joined.response_quantile(quantile)


def _mixed(levels: tuple[float, ...], fall: float, time: float) -> float:
    """Sum over k of level k x P(Poisson(t) = k), the geometric end in closed form."""
    if time == 0.0 or math.isinf(time):
        return levels[0] if time == 0.0 else 0.0
    last, log_time = len(levels) - 1, math.log(time)
    total = math.fsum(
        level * math.exp(k * log_time - time - math.lgamma(k + 1.0)) for k, level in enumerate(levels[:-1])
    )
    end = levels[-1] * float(gammainc(last, (1.0 - fall) * time)) if last > 0 else levels[-1]
    if end > 0.0:
        total += math.exp(math.log(end) - last * math.log1p(-fall) - fall * time)
    return min(1.0, total)


_LOG_NEGLIGIBLE = 800.0  # e^-800 times any window's sum is below the smallest double


def exact_log(ratio: Fraction) -> float:
    """log of a ratio, with all digits where it is near 1."""
    off = float(ratio - 1)
    return math.log1p(off) if -0.5 < off < 0.5 else math.log(ratio)


def geometric(log_ratio: float, terms: int) -> float:
    """1 + q + ... + q^(k-1) from log q <= 0, also where q is 1 or nearly so."""
    if log_ratio == 0.0 or terms <= 1:
        return float(terms)
    return math.expm1(terms * log_ratio) / math.expm1(log_ratio)


def ramp(log_ratio: float, terms: int) -> tuple[float, float]:
    """1 + q + ... + q^(k-1) and 0 + q + 2 q^2 + ... + (k-1) q^(k-1), by doubling k: all positive."""
    done, total, first = 0, 0.0, 0.0
    for bit in f"{terms:b}":
        power = math.exp(done * log_ratio) if done else 1.0
        total, first, done = total + power * total, first + power * (first + done * total), 2 * done
        if bit == "1":
            power = math.exp(done * log_ratio) if done else 1.0
            total, first, done = total + power, first + power * done, done + 1
    return total, first


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartureWeights:
    """Weights e^scale b^(l - origin) (1 + q + ... + q^(|l - zero| - 1)) of l = low ... high departures.

    Attributes:
        origin: where b^(l - origin) is 1, so that no huge power meets its inverse.
        zero: the geometric sum has |l - zero| terms.
    """

    low: int
    high: int
    log_scale: float
    log_base: float
    log_ratio: float
    origin: int
    zero: int

    def expected(self, mean: float) -> float:
        """Expected weight of a Poisson number of departures, 0 outside `low` ... `high`.

        The terms are b^l e^-x x^l/l! but for the slow geometric sums: from the largest of them
        outwards by their ratios, ten standard deviations far, in O(sqrt(high)).
        """
        step = math.exp(self.log_base) * mean
        peak = round(min(max(step, self.low), self.high))
        log_peak = self.log_scale + (peak - self.origin) * self.log_base + log_density(mean, peak)
        if log_peak < -_LOG_NEGLIGIBLE:
            return 0.0
        width = 60 + int(11.0 * math.sqrt(peak))
        first, last = max(self.low, peak - width), min(self.high, peak + width)
        upwards = accumulate((step / count for count in range(peak + 1, last + 1)), mul)
        downwards = accumulate((count / step for count in range(peak, first, -1)), mul)
        terms = math.fsum(map(mul, upwards, self._sums(peak + 1, 1)))
        terms += math.fsum(map(mul, downwards, self._sums(peak - 1, -1)))
        return math.exp(log_peak) * (terms + geometric(self.log_ratio, abs(peak - self.zero)))

    def _sums(self, start: int, step: int) -> Iterator[float]:
        """Geometric sums of start, start + step, ... departures."""
        length, step = abs(start - self.zero), step if start >= self.zero else -step
        if self.log_ratio == 0.0:
            while True:
                yield float(length)
                length += step
        last = math.expm1(self.log_ratio)
        while True:
            yield math.expm1(length * self.log_ratio) / last
            length += step


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line with room for m behind c exponential servers, as a request meets it; time in mean services.

    A request that finds c + j others, with a probability proportional to rho^j for j < m, waits for j + 1
    departures, which come c per mean service.

    Attributes:
        places: m >= 0.
        log_load: log rho.
        log_load_less: log of the load of c - 1 servers; infinite for one.
        end_share: P(N = c) if rho <= 1, else P(N = c + m), relative to P(N < c + m).
    """

    servers: int
    places: int
    log_load: float
    log_load_less: float
    end_share: float

    def wait_tail(self, time: float) -> float:
        """P(W > t): sum over j of P(N = c + j) P(Poisson(c t) <= j).

        Summed by the departures l instead, with weights rho^l + ... + rho^(m-1); from the other
        end, with 1/rho, if rho > 1.
        """
        if time == math.inf or self.end_share == 0.0 or self.places == 0:
            return 0.0
        growth = max(0.0, self.log_load)
        weights = DepartureWeights(
            low=0,
            high=self.places - 1,
            log_scale=math.log(self.end_share) - growth,
            log_base=self.log_load - growth,
            log_ratio=-abs(self.log_load),
            origin=0,
            zero=self.places,
        )
        return weights.expected(self.servers * time)

    def in_service_tail(self, time: float) -> float:
        """P(W <= t < W + S) for those who wait.

        Once a request is in service, each departure is its own with probability 1/c. So after l of them a
        request that found c + j others, j < l, is in service with probability s^(l-1-j), s = 1 - 1/c; the sum
        of rho^j s^(l-1-j) over j is b^(l-1) (1 + q + ... + q^(l-1)) with the larger of rho and s
        as b, their ratio as q. Each departure beyond the m-th adds a factor of s.
        """
        if time == 0.0 or time == math.inf or self.end_share == 0.0 or self.places == 0:
            return 0.0
        m, mean = self.places, self.servers * time
        log_stay = math.log1p(-1.0 / self.servers) if self.servers > 1 else -math.inf
        weights = DepartureWeights(
            low=1,
            high=m,
            log_scale=math.log(self.end_share),
            log_base=max(self.log_load, log_stay),
            log_ratio=-abs(self.log_load_less),
            origin=m + 1 if self.log_load > 0.0 else 1,
            zero=0,
        )
        at_m = weights.log_scale + (m - weights.origin) * weights.log_base
        at_m += math.log(geometric(weights.log_ratio, m))
        return weights.expected(mean) + _thinned_beyond(m, mean, log_stay, at_m)


def _thinned_beyond(count: int, mean: float, log_stay: float, log_scale: float) -> float:
    """e^scale x the sum over l > n of s^(l-n) e^-x x^l/l!, which is a tail of Poisson(s x)."""
    kept = math.exp(log_stay) * mean
    if kept <= count:
        return math.exp(log_scale + log_density(mean, count)) * above(kept, count, count - kept)
    tail = 1.0 - density(kept, count) * up_to(kept, count, count - kept)
    return math.exp(log_scale - count * log_stay - (mean - kept)) * tail
