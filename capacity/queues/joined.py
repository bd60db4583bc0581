"""Joined: how many an arrival finds in the queue that it joins, and hence its wait and response."""

import math
from dataclasses import dataclass

from scipy.special import gammainc

from capacity.numerics.tail import quantile_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """P(at least m found) for m = 0, 1, ...; time is counted in mean exponential services, FIFO.

    Who finds m waits for m services, Erlang(m), and P(Erlang(m) > t) = P(Poisson(t) < m): the tail of
    the wait is the sum over k of P(at least k + 1 found) P(Poisson(t) = k), terms above 0 only.

    Attributes:
        levels: from m = 0, where it is 1, on.
        fall: share by which what comes after `levels` falls from each m to the next; 1 where nothing does.
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
        """P(T > t): the service of the arrival itself comes on top of the wait."""
        return _mixed(self.levels, self.fall, time)

    def wait_quantile(self, quantile: float) -> float:
        """Wait that a fraction `quantile` stays within."""
        return quantile_of(self.wait_tail, quantile, self._scale(quantile))

    def response_quantile(self, quantile: float) -> float:
        """Response that a fraction `quantile` stays within."""
        return quantile_of(self.response_tail, quantile, self._scale(quantile))

    def _scale(self, quantile: float) -> float:
        return -math.log1p(-quantile) / self.fall


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
