"""M/M/c: Poisson arrivals share one queue in front of c exponential servers."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.queues.law import LawAtRate, LawInServices, settle
from capacity.queues.markov.erlang import blocking, exact_load, ready_sum, require_servers, require_stable
from capacity.queues.numerics.tail import first_true, in_atom


class ExponentialWait(LawInServices):
    """A wait that is exponential where it is not 0, and an independent exponential service.

    Source:
        Cooper (1981), Introduction to Queueing Theory, ch. 3; Kleinrock (1975), Queueing Systems
        vol. 1, sec. 3.5.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def wait_probability(self) -> float:
        """P(W > 0)."""

    @property
    @abstractmethod
    def _falling(self) -> float:
        """Rate at which a wait's tail falls, per mean service."""

    @property
    def _wait_mean(self) -> float:
        return self.wait_probability / self._falling

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load + self.queue_length_mean

    def _wait_tail(self, time: float) -> float:
        return self.wait_probability * math.exp(-self._falling * time)

    def _wait_quantile(self, quantile: float) -> float:
        if in_atom(self.wait_probability, quantile):
            return 0.0
        return (math.log(self.wait_probability) - math.log1p(-quantile)) / self._falling

    def _response_tail(self, time: float) -> float:
        return math.exp(log_response_tail(self.wait_probability, self._falling, time))

    def _response_quantile(self, quantile: float) -> float:
        """Bisection on log P(T > t) to adjacent doubles.

        The bracket is exact: a response is at least its service, and P(T > x + y) <= P(S > x) + P(W > y).
        """
        log_tail, waiting, falling = math.log1p(-quantile), self.wait_probability, self._falling
        longest = math.log(2.0) - log_tail
        if waiting > 0.0:
            longest += max(0.0, (math.log(2.0 * waiting) - log_tail) / falling)
        return first_true(lambda x: log_response_tail(waiting, falling, x) <= log_tail, -log_tail, longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class MMc(ExponentialWait, LawAtRate):
    """M/M/c in steady state; an unstable queue is refused, with the smallest fix.

    Everything is computed from the spare servers c - a, rounded once from exact rationals:
    1 - rho from rounded numbers would be wrong in the tenth digit at utilization 0.999999.
    A server count that is not whole interpolates: Erlang's formula and the laws that follow from it
    are smooth in c (Jagerman 1974). P(N = 0) is then absent.

    Raises:
        DomainError: a rate that is not positive and finite; servers not in (0, 1e9].
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Erlang (1917); Kleinrock (1975), Queueing Systems vol. 1, sec. 3.5; Cooper (1981),
        Introduction to Queueing Theory, ch. 3, for the laws.

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
    _falling: float = field(init=False, repr=False, compare=False)
    _blocking: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_servers(self.servers)
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.servers)
        exact = exact_load(self.arrival_rate_rps, self.service_rate_rps)
        load, spare = float(exact), float(Fraction(self.servers) - exact)
        lost = blocking(exact, self.servers, spare)
        settle(self, offered_load=load, _falling=spare, _blocking=lost)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.offered_load / self.servers

    @property
    def wait_probability(self) -> float:
        """P(W > 0) by Erlang's delay formula, from the spare servers as in `erlang_c`."""
        return self.servers * self._blocking / (self._falling + self.offered_load * self._blocking)

    @property
    def empty_probability(self) -> float | None:
        """P(N = 0) = P(N < c) / sum of a^k/k! over k < c; None for a count that is not whole."""
        if self.servers != self.servers // 1:
            return None
        if self.offered_load > 709.0:  # e^a overflows; the truth is below 1e-307
            return 0.0
        ready = self._falling * (1.0 - self._blocking)
        ready /= self._falling + self.offered_load * self._blocking
        return ready / ready_sum(self.offered_load, int(self.servers))

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting, without those in service; Kleinrock (1975) sec. 3.5."""
        return self.wait_probability * self.offered_load / self._falling


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
