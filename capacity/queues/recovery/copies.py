"""Copies: a request goes to several replicas at once, or to another one after a while; the first reply counts."""

import math
from dataclasses import dataclass, field

import numpy as np

from capacity.errors import DomainError
from capacity.queues.durations import Duration
from capacity.queues.general.mg1_wait import Empirical
from capacity.queues.law import settle
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count, require_not_negative, require_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Redundancy:
    """Replicas with a queue each; a request goes to d of them, and its other copies stop at the first reply.

    Attributes:
        arrival_rate_rps: rate of requests, at all replicas together.
        copies: d, to different replicas at random.

    Raises:
        DomainError: a rate that is not positive and finite, replicas not an integer in 1..10000, more copies than
            replicas.
        UnstableError: arrival rate >= replicas x service rate.

    Source:
        Gardner, Harchol-Balter, Scheller-Wolf, Velednitsky & Zbarsky (2017), Redundancy-d: the power of d choices for
        redundancy, Operations Research 65(4), 1078-1094, theorem 1.

    Assumes:
        Poisson arrivals, exponential services, those of copies independent, FIFO, copies stopped at once, steady state.

    >>> fleet = Redundancy(arrival_rate_rps=2.8, service_rate_rps=1.0, replicas=4, copies=2)
    >>> round(fleet.response_mean_s, 6)
    1.254529
    """

    arrival_rate_rps: float
    service_rate_rps: float
    replicas: int
    copies: int
    response_mean_s: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("replicas", self.replicas, most=10_000)
        require_count("copies", self.copies, most=self.replicas)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.replicas)
        settle(self, response_mean_s=self._mean_s())

    def _mean_s(self) -> float:
        """Sum over i from d to k of 1/(k mu C(k-1, d-1)/C(i-1, d-1) - arrival rate), from i = k down."""
        total_rps, share, terms = self.replicas * self.service_rate_rps, 1.0, []
        for number in range(self.replicas, self.copies - 1, -1):
            terms.append(share / (total_rps - share * self.arrival_rate_rps))
            if number > 1:
                share *= (number - self.copies) / (number - 1)
        return math.fsum(terms)

    @property
    def load(self) -> float:
        """Arrival rate over the largest sustainable one, which copies of exponential services do not change."""
        return self.arrival_rate_rps / (self.replicas * self.service_rate_rps)

    @property
    def in_system_mean(self) -> float:
        """Mean number of requests, each counted once, by Little's law."""
        return self.arrival_rate_rps * self.response_mean_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedged:
    """Two independent servers; the second is asked too if the first has not answered after a while.

    P(T > t) = G(t) G(t - d) with G(t) = P(response of one > t): the one answers in min(X, d + X').

    Attributes:
        response: the law of one server's response.
        delay_s: d, time until the second is asked; 0 asks both at once. [s]

    Raises:
        DomainError: a response that is not a law, a delay that is negative or not finite.

    Source:
        Dean & Barroso (2013), Communications of the ACM 56(2), 74-80 (hedged requests); the law is that of the
        smaller of two independent times.

    Assumes:
        Responses independent, and the same whether requests are hedged or not: the load is low.

    >>> from capacity.queues.durations import Family
    >>> hedged = Hedged(response=Duration(family=Family.EXPONENTIAL, mean_s=1.0), delay_s=1.0)
    >>> round(hedged.response_quantile_s(0.99), 4), round(hedged.extra_load, 4)
    (2.8026, 0.3679)
    """

    response: Duration | Empirical
    delay_s: float

    def __post_init__(self) -> None:
        if not isinstance(self.response, (Duration, Empirical)):
            raise DomainError(f"response must be a Duration or an Empirical, got {self.response!r}")
        require_not_negative("delay_s", self.delay_s)

    @property
    def extra_load(self) -> float:
        """Requests sent to the second server, as a share of all."""
        return self._server_tail(self.delay_s)

    def response_tail(self, time_s: float) -> float:
        """P(T > t). [dimensionless]"""
        second = self._server_tail(time_s - self.delay_s) if time_s >= self.delay_s else 1.0
        return self._server_tail(time_s) * second

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        require_quantile(quantile)
        return quantile_of(self.response_tail, quantile, self.response.mean_s)

    @property
    def response_mean_s(self) -> float:
        """Mean response, the integral of its tail. [s]"""
        from scipy.integrate import quad  # heavy, and not to be loaded before it is needed

        before, _ = quad(self._server_tail, 0.0, self.delay_s, limit=200)
        after, _ = quad(lambda time_s: self.response_tail(self.delay_s + time_s), 0.0, math.inf, limit=200)
        return float(before + after)

    def _server_tail(self, time_s: float) -> float:
        """P(response of one server > t)."""
        return float(self.response.tail(np.array(time_s)))
