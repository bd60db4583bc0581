"""Priority: classes of requests share c exponential servers, the highest waiting class first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise

from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.queues.law import LawAtRate, settle
from capacity.queues.markov.erlang import SERVERS_MAX, blocking, ready_sum, require_stable
from capacity.queues.numerics.tail import quantile_of
from capacity.units import QUANTILES, require_count, require_positive

_STEP = 0.125  # of the trapezoidal rule: its error is e^-(pi^2 / 2 step), 1e-17
_END = 12.5  # beyond it, the integrand falls as e^-3u
_EXPONENT_MAX = 700.0  # the tail is right down to its e-th power
_NEGLIGIBLE_LOAD = 1e-290


@dataclass(frozen=True, slots=True)
class PriorityWait:
    """Rates, in departures of the busy servers, and their probabilities; all positive.

    A request finds a geometric number of requests of its class and above ahead of it, and later ones
    of a higher class go first: the wait is as many busy periods of the higher classes
    alone. Their transform e has a cut, on which its inverse is elementary: with b = `load`, s =
    `higher`, w = b / sqrt(s), the wait (1 - b) e / (1 - b e) has the tail

        2 (1 - b) / pi x integral over 0 < p < pi of
            sin(p)^2 / (1 - 2 w cos(p) + w^2) x e^-(x t) / x,   x = 1 + s - 2 sqrt(s) cos(p)

    and if w > 1 a pole besides, (b^2 - s) / (b (b - s)) x e^-((1 - b)(1 - s/b) t). Every term is
    positive. With tan(p / 2) = e^u the trapezoidal rule converges exponentially, however many scales
    the integrand has.

    Source:
        Davis (1966), Operations Research 14(1), and Kella & Yechiali (1985), Naval Research Logistics
        Quarterly 32, for the transform; Abate & Whitt (1997), Queueing Systems 25, for the cut, the
        pole and the three kinds of tail.
    """

    rates: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def behind(cls, higher: Fraction, load: Fraction) -> "PriorityWait":
        """The wait behind the higher classes, `load` with its own class; both per server, so below 1."""
        terms = list(_pole(higher, load))
        if higher > _NEGLIGIBLE_LOAD:
            terms += _cut(higher, load)
        rates, shares = zip(*terms, strict=True)
        return cls(rates, shares)

    @classmethod
    def mixture(cls, waits: Sequence["PriorityWait"], weights: Sequence[float]) -> "PriorityWait":
        """The wait of requests that belong to each class in proportion to its weight."""
        total = math.fsum(weights)
        shares = (
            share * weight / total
            for wait, weight in zip(waits, weights, strict=True)
            for share in wait.shares
        )
        return cls(tuple(rate for wait in waits for rate in wait.rates), tuple(shares))

    def tail(self, departures: float) -> float:
        """P(W > t | W > 0), t in the departures that busy servers have in it."""
        return math.fsum(
            share * math.exp(-rate * departures) for rate, share in zip(self.rates, self.shares, strict=True)
        )

    def in_service_tail(self, time: float, servers: int) -> float:
        """P(W + S > t | W > 0) - P(S > t) for an exponential service S, t in its means: no difference."""
        return time * math.fsum(
            share * _between(servers * rate, time)
            for rate, share in zip(self.rates, self.shares, strict=True)
        )


def _between(rate: float, time: float) -> float:
    """Integral of e^-(t (v rate + 1 - v)) over 0 < v < 1, in which nothing cancels at a rate near 1."""
    apart = abs(rate - 1.0) * time
    return math.exp(-min(rate, 1.0) * time) * (-math.expm1(-apart) / apart if apart > 0.0 else 1.0)


def _pole(higher: Fraction, load: Fraction) -> Iterator[tuple[float, float]]:
    """Rate and share of the exponential term, if there is one."""
    own, bend = load - higher, load * load - higher
    if bend > 0 or higher <= _NEGLIGIBLE_LOAD:
        yield float((1 - load) * own / load), float(bend / (load * own)) if higher > _NEGLIGIBLE_LOAD else 1.0


def _cut(higher: Fraction, load: Fraction) -> Iterator[tuple[float, float]]:
    """Rates and shares of the trapezoidal rule."""
    root = math.sqrt(higher)
    gap = float(1 - higher) / (1.0 + root)  # 1 - sqrt(s)
    ratio = float(load) / root
    off = float((load * load - higher) / higher) / (ratio + 1.0)  # w - 1
    scale = 16.0 * _STEP * float(1 - load) / math.pi
    # Where the far tail, e^-700, comes from; forty e-foldings below, or 13 where it falls as e^3u.
    far = 0.5 * gap / math.sqrt(_EXPONENT_MAX)
    flat = math.log(far) - 39.0
    start = max(flat, math.log(min(far, abs(off))) - 13.0) if off else flat
    for k in range(math.floor(start / _STEP), math.ceil(_END / _STEP)):
        square = math.exp(2.0 * k * _STEP)  # tan(p/2)^2
        half = square / (1.0 + square)  # sin(p/2)^2
        rate = gap * gap + 4.0 * root * half
        area = math.exp(k * _STEP) * half / (1.0 + square) ** 2
        yield rate, scale * area / (rate * (off * off + 4.0 * ratio * half))


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityClass(LawAtRate):
    """The steady state of one class of `Priority`, or of all requests together; `Priority` makes it.

    Arrivals, waits, responses and mean numbers are those of the class; load, utilization and the
    probability that the system is empty are the whole system's.

    Attributes:
        load: load of the whole system.
        wait_probability: P(W > 0), the same for every class.
        wait: the law of a wait that is not 0.
    """

    arrival_rate_rps: float
    service_rate_rps: float
    servers: int
    load: float = field()  # as for `wait_mean_s`: else the base's property would pass for a default
    wait_probability: float
    empty_probability: float
    wait_mean_s: float = field()
    wait: PriorityWait = field(repr=False)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy, with any class."""
        return self.load

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return self.wait_mean_s + 1.0 / self.service_rate_rps

    @property
    def queue_length_mean(self) -> float:
        """Mean number of the class waiting."""
        return self.arrival_rate_rps * self.wait_mean_s

    @property
    def in_system_mean(self) -> float:
        """Mean number of the class waiting or in service."""
        return self.queue_length_mean + self.offered_load

    @property
    def _wait_mean(self) -> float:
        return self.wait_mean_s * self.service_rate_rps

    def _wait_quantile(self, quantile: float) -> float:
        if self.wait_probability <= 1.0 - quantile:
            return 0.0
        return quantile_of(self._wait_tail, quantile, self._wait_mean)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._response_tail, quantile, self.response_mean_s * self.service_rate_rps)

    def _wait_tail(self, time: float) -> float:
        return self.wait_probability * self.wait.tail(self.servers * time)

    def _response_tail(self, time: float) -> float:
        if time == math.inf:
            return 0.0
        return math.exp(-time) + self.wait_probability * self.wait.in_service_tail(time, self.servers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """Non-preemptive priorities in M/M/c with one service rate, in steady state.

    A free server takes the oldest request of the highest waiting class; no service is interrupted.
    That changes which requests wait, not how many: all together wait as long in the mean as in M/M/c.

    Attributes:
        arrival_rates_rps: rate of each class, the highest first.
        classes: each class's own law, in the same order.
        together: the law of all requests, of whatever class.

    Raises:
        DomainError: no class; a rate that is not positive and finite; servers not an integer in
            1..5e9.
        UnstableError: utilization >= 1 with all classes, up to the rounding of the rates.

    Source:
        Cobham (1954), Operations Research 2(1), for the means; Davis (1966), Operations Research
        14(1), and Kella & Yechiali (1985), Naval Research Logistics Quarterly 32, for the laws.

    Assumes:
        Poisson arrivals, exponential service of the same rate for all, FIFO within a class, unlimited
        queue, steady state.

    >>> queue = Priority(arrival_rates_rps=(1.0, 2.0), service_rate_rps=2.0, servers=2)
    >>> [round(law.wait_mean_s, 4) for law in (*queue.classes, queue.together)]
    [0.2143, 0.8571, 0.6429]
    """

    arrival_rates_rps: tuple[float, ...]
    service_rate_rps: float
    servers: int
    classes: tuple[PriorityClass, ...] = field(init=False, repr=False, compare=False)
    together: PriorityClass = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.arrival_rates_rps, tuple) or not self.arrival_rates_rps:
            raise DomainError(
                f"arrival_rates_rps must be a tuple of one rate or more, the highest class first, "
                f"got {self.arrival_rates_rps!r}"
            )
        for k, rate in enumerate(self.arrival_rates_rps):
            require_positive(f"arrival_rates_rps[{k}]", rate)
        require_count("servers", self.servers, most=int(SERVERS_MAX))
        require_stable(math.fsum(self.arrival_rates_rps), self.service_rate_rps, self.servers)
        *classes, together = _classes(self.arrival_rates_rps, self.service_rate_rps, self.servers)
        settle(self, classes=tuple(classes), together=together)

    def performances(self, quantiles: tuple[float, ...] = QUANTILES) -> tuple[Performance, ...]:
        """Performance of each class."""
        return tuple(law.performance(quantiles) for law in self.classes)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """Performance of all requests together; the quantiles are those of the mixture of the classes."""
        return self.together.performance(quantiles)


def _classes(
    rates_rps: tuple[float, ...], service_rate_rps: float, servers: int
) -> tuple[PriorityClass, ...]:
    """Each class, then all together: W_k = C / (c mu (1 - s_(k-1)) (1 - s_k)), s_k the load of 1 to k."""
    unit = Fraction(service_rate_rps) * servers
    loads = list(accumulate((Fraction(rate) / unit for rate in rates_rps), initial=Fraction(0)))
    load, spare = loads[-1] * servers, float((1 - loads[-1]) * servers)
    lost = blocking(load, servers, spare)
    waiting = servers * lost / (spare + float(load) * lost)
    ready = spare * (1.0 - lost) / (spare + float(load) * lost)
    waits = [PriorityWait.behind(higher, upto) for higher, upto in pairwise(loads)]
    idle = [(1 - higher) * (1 - upto) for higher, upto in pairwise(loads)]
    together = PriorityWait.mixture(waits, rates_rps)
    return tuple(
        PriorityClass(
            arrival_rate_rps=rate,
            service_rate_rps=service_rate_rps,
            servers=servers,
            load=float(loads[-1]),
            wait_probability=waiting,
            empty_probability=ready / ready_sum(float(load), servers),
            wait_mean_s=waiting / servers / float(share) / service_rate_rps,
            wait=wait,
        )
        for rate, share, wait in zip(
            (*rates_rps, math.fsum(rates_rps)), (*idle, 1 - loads[-1]), (*waits, together), strict=True
        )
    )
