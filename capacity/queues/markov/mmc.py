"""M/M/c: Poisson arrivals share one line in front of c exponential servers."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.performance import Interval, Kind, Performance
from capacity.queues.markov.erlang import blocking, exact_load, ready_sum, require_servers, require_stable
from capacity.queues.numerics.tail import first_true, in_atom
from capacity.units import QUANTILES, before_zero, require_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class MMc:
    """M/M/c in steady state; what cannot reach one is refused with the smallest mend.

    Everything is computed from the spare servers c - a, rounded once from exact rationals:
    1 - rho from rounded numbers would be wrong in the tenth digit at utilization 0.999999.
    A server count that is not whole interpolates: Erlang's formula and the laws that follow from it
    are smooth in c (Jagerman 1974). P(N = 0) is then absent.

    Raises:
        DomainError: a rate that is not positive and finite; servers not in (0, 1e9].
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Erlang (1917); Kleinrock (1975), Queueing Systems vol. 1, sec. 3.5.

    Assumes:
        Poisson arrivals, exponential service, FIFO, unlimited queue, steady state.

    >>> queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
    >>> round(queue.wait_probability, 4), round(queue.response_mean_s, 4)
    (0.8526, 1.0526)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: float
    offered_load: float = field(init=False, repr=False, compare=False)
    _spare: float = field(init=False, repr=False, compare=False)
    _blocking: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_servers(self.servers)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.servers)
        exact = exact_load(self.arrival_rate_rps, self.service_rate_rps)
        load, spare = float(exact), float(Fraction(self.servers) - exact)
        lost = blocking(exact, self.servers, spare)
        for name, value in (("offered_load", load), ("_spare", spare), ("_blocking", lost)):
            object.__setattr__(self, name, value)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.offered_load / self.servers

    @property
    def wait_probability(self) -> float:
        """P(W > 0) by Erlang's delay formula, from the spare servers as in `erlang_c`."""
        return self.servers * self._blocking / (self._spare + self.offered_load * self._blocking)

    @property
    def empty_probability(self) -> float | None:
        """P(N = 0) = P(N < c) / sum of a^k/k! over k < c; None for a count that is not whole."""
        if self.servers != self.servers // 1:
            return None
        if self.offered_load > 709.0:  # e^a overflows; the truth is below 1e-307
            return 0.0
        ready = self._spare * (1.0 - self._blocking)
        ready /= self._spare + self.offered_load * self._blocking
        return ready / ready_sum(self.offered_load, int(self.servers))

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service; Kleinrock (1975) sec. 3.5."""
        return self.wait_probability * self.offered_load / self._spare

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load + self.queue_length_mean

    @property
    def wait_mean_s(self) -> float:
        """Mean wait C / (c mu - lambda)."""
        return self.wait_probability / self._spare / self.service_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return (1.0 + self.wait_probability / self._spare) / self.service_rate_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t) = C e^-(c mu - lambda)t; 1 before t = 0. [dimensionless]

        Source:
            Cooper (1981), Introduction to Queueing Theory, ch. 3.

        >>> queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
        >>> round(queue.wait_tail(1.0), 4)
        0.3137
        """
        if before_zero(time_s):
            return 1.0
        return self.wait_probability * math.exp(-self._spare * (self.service_rate_rps * time_s))

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
        >>> queue.wait_quantile_s(0.1), round(queue.wait_quantile_s(0.99), 3)
        (0.0, 4.446)
        """
        require_quantile(quantile)
        if in_atom(self.wait_probability, quantile):
            return 0.0
        log_ratio = math.log(self.wait_probability) - math.log1p(-quantile)
        return log_ratio / self._spare / self.service_rate_rps

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        Source:
            Cooper (1981), ch. 3, the wait convolved with an exponential service; the form that
            does not cancel where c mu - lambda is near mu: see `log_response_tail`.

        >>> queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
        >>> round(queue.response_tail(1.0), 4)
        0.3916
        """
        if before_zero(time_s):
            return 1.0
        time = self.service_rate_rps * time_s
        return math.exp(log_response_tail(self.wait_probability, self._spare, time))

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Bisection on log P(T > t) to adjacent doubles. The bracket is exact: a response is at
        least its service, and P(T > x + y) <= P(S > x) + P(W > y).

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Returns:
            Seconds, scalar.

        Raises:
            DomainError: quantile is not in (0, 1).

        Source:
            Kleinrock (1975), Queueing Systems vol. 1, sec. 3.5; Cooper (1981), ch. 3.

        Assumes:
            Poisson arrivals, exponential service, FIFO, steady state.

        >>> queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
        >>> round(queue.response_quantile_s(0.99), 3)
        4.669
        """
        require_quantile(quantile)
        log_tail, waiting = math.log1p(-quantile), self.wait_probability
        longest = math.log(2.0) - log_tail
        if waiting > 0.0:
            longest += max(0.0, (math.log(2.0 * waiting) - log_tail) / self._spare)
        services = first_true(
            lambda x: log_response_tail(waiting, self._spare, x) <= log_tail,
            -log_tail,
            longest,
        )
        return services / self.service_rate_rps

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> queue = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
        >>> round(queue.performance().response_quantiles_s[0.99].value, 3)
        4.669
        """
        return Performance(
            kind=Kind.EXACT,
            load=self.utilization,
            utilization=self.utilization,
            offered_load=self.offered_load,
            throughput_rps=self.arrival_rate_rps,
            wait_probability=self.wait_probability,
            empty_probability=self.empty_probability,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
            wait_mean_s=self.wait_mean_s,
            response_mean_s=self.response_mean_s,
            wait_quantiles_s={q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles},
            response_quantiles_s={q: Interval.exact(self.response_quantile_s(q)) for q in quantiles},
        )


def log_response_tail(waiting: float, spare: float, time: float) -> float:
    """log P(T > t), time in mean services: P = e^-t + C t e^-min(1,s)t g(|s-1|t), s = c - a.

    The textbook divides by s - 1, which is 0/0 at s = 1 and garbage near it; g(y) = (1-e^-y)/y is
    smooth there. The slower exponential is taken out of the logarithm: nothing underflows.
    """
    if time == math.inf:
        return -math.inf
    y = abs(spare - 1.0) * time
    ramp = -math.expm1(-y) / y if y > 0.0 else 1.0
    delayed, log_direct = waiting * time * ramp, min(0.0, spare - 1.0) * time
    if log_direct > -1.0:
        return -min(1.0, spare) * time + math.log1p(math.expm1(log_direct) + delayed)
    if delayed == 0.0:
        return -time
    # Both small: nothing is left of 1 - (1 - small), so their logarithms are added instead.
    low, high = sorted((log_direct, math.log(delayed)))
    return -spare * time + high + math.log1p(math.exp(low - high))
