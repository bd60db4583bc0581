"""M/D/c: Poisson arrivals share one queue in front of c servers that all take the same time."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capacity.performance import Performance
from capacity.queues.law import Law, settle
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.mills import second_remainder
from capacity.queues.numerics.tail import first_true, quantile_of
from capacity.units import QUANTILES, require_count, require_positive

Floats = NDArray[np.float64]
_EPSILON_LOG = 37.0  # e^-37 = 1e-16
_SMALLEST_LOG = 745.0  # e^-745 is the smallest double
_TERMS_MAX = 200
_WHOLE_MAX = 1e15  # whole numbers begin to leave the doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Stationary law of Y' = max(0, Y + Poisson(a) - c); time is counted in services.

    By Spitzer's identity Y is compound Poisson: jumps of size k at the rate v_k, which is the sum
    over n >= 1 of P(S_n = k) / n with S_n = Poisson(na) - nc. Hence E Y = sum of k v_k,
    P(Y = 0) = exp(-sum of v_k) and m P(Y = m) = sum over k of k v_k P(Y = m - k): positive terms only.
    Far out P(Y >= m) falls by the factor 1/z a step, z > 1 the root of c ln z = a (z - 1).

    Attributes:
        load: a, in erlangs.
        spare: c - a, which keeps digits that c minus a rounded load has lost.

    Source:
        Spitzer (1956), Transactions of the AMS 82(2), theorem 4.1; the recursion is that of Panjer
        (1981), ASTIN Bulletin 12(1).
    """

    load: float
    spare: float
    servers: int
    decay: float = field(init=False)
    mean: float = field(init=False)
    none_probability: float = field(init=False)
    busy_probability: float = field(init=False)
    _log_root: float = field(init=False)
    _tails: Floats = field(init=False)

    def __post_init__(self) -> None:
        rho = self.load / self.servers
        log_root = _log_root(rho, self.spare / self.servers)
        last = _last(rho, self.servers, log_root)
        drift = self.servers * log_root - self.spare  # a z - c
        terms = _terms(self.servers + drift, drift, last)
        if terms <= _TERMS_MAX:
            jumps, total, at_zero = _jumps_summed(self.load, self.servers, log_root, terms, last)
        else:
            jumps, total, at_zero = _jumps_by_contour(self.servers + drift, drift, log_root, last)
        none = math.exp(-total)
        mean = float(jumps.sum()) + _geometric_sum(last * log_root, log_root)
        settle(
            self,
            decay=self.servers * log_root,
            mean=mean,
            none_probability=none,
            busy_probability=-math.expm1(-total - at_zero),
            _log_root=log_root,
            _tails=_tails(jumps, none, log_root),
        )

    def wait_tail(self, time: float) -> float:
        """P(W > t) = P(Y + Poisson(a (k - t)) >= k c), k the next whole number above t.

        A wait outlasts t where those waiting k services before the end of the last of k that end after t,
        and those who came before it in the rest of that time, fill k rounds of servers.

        Source:
            Franx (2001), Operations Research Letters 29(5), theorem 1, its complement.
        """
        from scipy.special import gammainc, gammaincc  # heavy, and not to be loaded before it is needed

        last = len(self._tails) - 1
        if time * self.servers > _WHOLE_MAX:
            return self._far_tail(time, 1.0)
        rounds = math.floor(time) + 1
        left, needed = rounds - time, float(rounds * self.servers)
        coming = self.load * left
        waiting = np.arange(1, min(last, rounds * self.servers) + 1)
        tail = float(_poisson(needed - waiting, coming) @ self._tails[waiting])
        tail += float(gammainc(needed, coming))
        if needed > last:
            tilted = left * (self.load + self.decay)  # a (k - t) z
            tail += self._far_tail(time, float(gammaincc(needed - last, tilted)))
        return min(1.0, tail)

    def _far_tail(self, time: float, share: float) -> float:
        """A share of P(Y >= last) z^last e^{-decay t}, in logarithms as its factors overflow."""
        last = len(self._tails) - 1
        amplitude = share * float(self._tails[-1])
        if amplitude == 0.0:
            return 0.0
        return math.exp(math.log(amplitude) + last * self._log_root - self.decay * time)


def _log_root(rho: float, spare: float) -> float:
    """x = ln z > 0 where x = rho (e^x - 1), or (e^x - 1 - x) / (e^x - 1) = 1 - rho."""
    high = 3.0 - 2.0 * math.log(rho)
    if rho < 0.5:
        return first_true(lambda x: x * math.exp(-x) <= -rho * math.expm1(-x), 1.0, high)
    return first_true(lambda x: second_remainder(x) >= spare * math.expm1(x), spare, high)


def _last(rho: float, servers: int, log_root: float) -> int:
    """State from which the next roots, a complex pair, have died out against the first, or all underflows."""
    from scipy.special import lambertw  # heavy, and not to be loaded before it is needed

    underflow = _SMALLEST_LOG / log_root
    if underflow < 20.0:
        return 2 + math.ceil(underflow)
    branch, angle = (-1, math.pi - 2.0 * math.pi / servers) if servers > 1 else (-2, math.pi)
    next_root = -lambertw(rho * math.exp(-rho) * np.exp(1j * angle), branch) / rho
    gap = math.log(abs(next_root)) - log_root
    return 2 + math.ceil(min((_EPSILON_LOG + math.log(servers)) / gap, underflow))


def _terms(load: float, drift: float, last: int) -> int:
    """Number of steps after which the walk of load a z, drift a z - c, is above `last` by nine deviations."""
    spread = 9.0 * math.sqrt(load)
    root = (spread + math.sqrt(spread * spread + 4.0 * drift * last)) / (2.0 * drift)
    return math.ceil(root * root) + 1


def _geometric_sum(exponent: float, log_root: float) -> float:
    """z^-k summed over k > last, e^-exponent = z^-last."""
    return math.exp(-exponent - log_root) / -math.expm1(-log_root)


def _jumps_summed(
    load: float, servers: int, log_root: float, terms: int, last: int
) -> tuple[Floats, float, float]:
    """k v_k for k = 1..last, the sum of all v_k, and v_0, as they stand."""
    steps = np.arange(1, terms + 1)[:, None]
    sizes = np.arange(last + 1)
    rates = (_poisson(steps * servers + sizes, steps * load) / steps).sum(axis=0)
    far = last + np.arange(1, math.ceil(_EPSILON_LOG / log_root) + 2)
    total = float(rates[1:].sum() + (np.exp(-log_root * far) / far).sum())
    return rates[1:] * sizes[1:], total, float(rates[0])


def _jumps_by_contour(load: float, drift: float, log_root: float, last: int) -> tuple[Floats, float, float]:
    """The jumps as Laurent coefficients of -ln(1 - e^{a(z-1)} z^-c) on the circle through its root z_0.

    The two singularities there, -ln(1 - 1/z) and -ln(1 - z/z_0), are taken out and added in closed
    form; what is left converges in a wide ring. For heavy traffic, where the sum is long. On this
    circle the walk is one of `load` a z_0 and `drift` a z_0 - c, and v_k comes out times z_0^k.
    """
    size = 1 << (4 * last + 64).bit_length()
    angles = 2.0 * math.pi / size * (np.arange(size) - size // 2 + 0.5)
    point = np.exp(1j * angles)
    turned = load * (np.sin(angles) - angles) + drift * angles
    step = 1j * turned - 2.0 * load * np.sin(angles / 2.0) ** 2
    smooth = np.log(-np.expm1(step)) - np.log(1.0 - math.exp(-log_root) / point) - np.log(1.0 - point)
    # samples at half steps from -pi: e^{-ik angle} = (-1)^k e^{-i pi k / size} x the usual one
    sizes = np.arange(last + 1)
    turns = (1.0 - 2.0 * (sizes % 2)) * np.exp(-1j * math.pi * sizes / size)
    rates = -(np.fft.fft(smooth)[: last + 1] / size * turns).real
    falling = np.exp(-log_root * sizes[1:])
    total = float(rates[1:] @ falling) - math.log(-math.expm1(-log_root))
    return falling * (1.0 + sizes[1:] * rates[1:]), total, float(rates[0])


def _tails(jumps: Floats, none: float, log_root: float) -> Floats:
    """P(Y >= m) for m = 0..last."""
    last = len(jumps)
    law, backwards = np.zeros(last + 1), jumps[::-1].copy()
    law[0] = none
    for m in range(1, last + 1):
        law[m] = law[:m] @ backwards[last - m :] / m
    tails = np.cumsum(law[::-1])[::-1] + law[-1] * _geometric_sum(0.0, log_root)
    return np.asarray(tails)


def _poisson(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """e^-m m^n / n! to nearly the last digit: Loader (2000), "Fast and accurate computation of binomial
    probabilities".
    """
    k, m = np.asarray(counts, dtype=float), np.asarray(mean, dtype=float)
    n = np.maximum(k, 0.5)
    law = np.exp(-_stirling_error(n) - _deviance(n, m)) / np.sqrt(2.0 * math.pi * n)
    return np.asarray(np.where(k > 0.0, law, np.exp(-m)))


def _deviance(n: Floats, m: Floats) -> Floats:
    """n ln(n/m) + m - n, by a series where that would cancel."""
    ratio = (n - m) / (n + m)
    square = ratio * ratio
    series = np.zeros_like(square)
    for order in range(19, 1, -2):
        series = square * (1.0 / order + series)
    near = (n - m) * ratio + 2.0 * n * ratio * series
    with np.errstate(over="ignore", divide="ignore"):  # the probability is 0 then
        return np.asarray(np.where(np.abs(ratio) < 0.1, near, n * np.log(n / m) + m - n))


def _stirling_error(n: Floats) -> Floats:
    """ln n! less Stirling's ln(sqrt(2 pi n) (n/e)^n)."""
    from scipy.special import gammaln  # heavy, and not to be loaded before it is needed

    square = 1.0 / (n * n)
    far = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / n
    few = np.minimum(n, 16.0)
    near = gammaln(few + 1.0) - (few + 0.5) * np.log(few) + few - 0.5 * math.log(2.0 * math.pi)
    return np.asarray(np.where(n > 15.0, far, near))


SERVERS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MDc(Law):
    """M/D/c in steady state; an unstable queue is refused, with the smallest fix.

    Requests in service now are gone one service time later, and none that comes meanwhile is:
    the number in the system is a waiting line observed once per service time (`Backlog`). Everything is
    a sum of positive terms, right to the last digits however rare a wait is.

    Raises:
        DomainError: a rate or a time that is not positive and finite; servers not in 1..20000.
        UnstableError: utilization >= 1, up to the rounding of rate and time.

    Source:
        Crommelin (1932), Post Office Electrical Engineers' Journal 25; Franx (2001), Operations
        Research Letters 29(5), "A simple solution for the M/D/c waiting time distribution".

    Assumes:
        Poisson arrivals, one fixed service time, FIFO, unlimited queue, steady state.

    >>> queue = MDc(arrival_rate_rps=8.0, service_time_s=0.5, servers=5)
    >>> round(queue.wait_probability, 4), round(queue.response_mean_s, 4)
    (0.5336, 0.6445)
    """

    arrival_rate_rps: float
    service_time_s: float
    servers: int
    offered_load: float = field(init=False, repr=False, compare=False)
    _backlog: Backlog = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_positive("service_time_s", self.service_time_s)
        require_stable(self.arrival_rate_rps, 1.0 / self.service_time_s, self.servers)
        exact = Fraction(self.arrival_rate_rps) * Fraction(self.service_time_s)
        load, spare = float(exact), float(self.servers - exact)
        settle(self, offered_load=load, _backlog=Backlog(load=load, spare=spare, servers=self.servers))

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one."""
        return self.utilization

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.offered_load / self.servers

    @property
    def wait_probability(self) -> float:
        """P(W > 0); Crommelin (1934), Post Office Electrical Engineers' Journal 26."""
        return self._backlog.busy_probability

    @property
    def empty_probability(self) -> float:
        """P(N = 0): no request was waiting a service time ago, and none has come since."""
        return self._backlog.none_probability * math.exp(-self.offered_load)

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service."""
        return self._backlog.mean

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load + self.queue_length_mean

    @property
    def wait_mean_s(self) -> float:
        """Mean wait, by Little's law from the mean number waiting."""
        return self.queue_length_mean / self.arrival_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return self.service_time_s + self.wait_mean_s

    def _wait_tail(self, time: float) -> float:
        return self._backlog.wait_tail(time / self.service_time_s)

    def _response_tail(self, time: float) -> float:
        return self.wait_tail(time - self.service_time_s)

    def _wait_quantile(self, quantile: float) -> float:
        scale = -math.log1p(-quantile) / self._backlog.decay
        return quantile_of(self._backlog.wait_tail, quantile, scale) * self.service_time_s

    def _response_quantile(self, quantile: float) -> float:
        return self.service_time_s + self._wait_quantile(quantile)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The performance of this queue."""
        waits_s = {q: self.wait_quantile_s(q) for q in quantiles}
        return self._performance(waits_s, {q: self.service_time_s + wait_s for q, wait_s in waits_s.items()})
