"""GI/M/c: independent gaps of any law between arrivals, one line in front of c exponential servers."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from capacity.performance import Interval, Kind, Performance
from capacity.queues.durations import Duration, Family
from capacity.queues.markov.erlang import require_stable
from capacity.queues.markov.mmc import log_response_tail
from capacity.queues.numerics.tail import first_true, in_atom
from capacity.units import QUANTILES, before_zero, require_count, require_positive, require_quantile

_SERIES_BELOW = 1.0


class Gap(Protocol):
    """phi(y) = E e^(-yG) of a gap G with mean 1, and its differences without cancellation."""

    @property
    def second_moment(self) -> float:
        """E G^2."""

    def log_transform(self, y: float) -> float:
        """ln phi(y)."""

    def complement(self, y: float) -> float:
        """1 - phi(y)."""

    def remainder(self, y: float) -> float:
        """phi(y) - 1 + y, which is E G^2 y^2 / 2 at the most."""

    def slope(self, y: float, z: float) -> float:
        """(phi(y) - phi(z)) / (z - y), also where y = z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaGap:
    """phi(y) = (1 + vy)^(-1/v); v = 1 is exponential, 1/k Erlang, 0 deterministic."""

    variability: float

    @property
    def second_moment(self) -> float:
        """1 + v."""
        return 1.0 + self.variability

    def log_transform(self, y: float) -> float:
        """-ln(1 + vy) / v."""
        return -_log1p_over(self.variability, y)

    def complement(self, y: float) -> float:
        """1 - phi(y)."""
        return -math.expm1(self.log_transform(y))

    def remainder(self, y: float) -> float:
        """phi(y) - 1 + y; at u = ln(1 + vy) / v, y = (e^vu - 1) / v, it is a sum of two terms above 0."""
        v, u = self.variability, _log1p_over(self.variability, y)
        return second_remainder(-u) + (second_remainder(v * u) / v if v > 0.0 else 0.0)

    def slope(self, y: float, z: float) -> float:
        """phi(near) (1 - phi(far) / phi(near)) / (far - near)."""
        near, gap = min(y, z), abs(z - y)
        stretch = 1.0 + self.variability * near
        fall = _log1p_over(self.variability, gap / stretch)
        height = math.exp(self.log_transform(near))
        return height * (-math.expm1(-fall) / gap if gap > 0.0 else 1.0 / stretch)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureGap:
    """phi(y) = sum of p r / (r + y) over exponential branches of probability p and rate r."""

    branches: tuple[tuple[float, float], ...]

    @property
    def second_moment(self) -> float:
        """Sum of 2 p / r^2."""
        return 2.0 * math.fsum(p / rate / rate for p, rate in self.branches)

    def log_transform(self, y: float) -> float:
        """ln phi(y)."""
        return math.log(math.fsum(p * (rate / (rate + y)) for p, rate in self.branches))

    def complement(self, y: float) -> float:
        """Sum of p y / (r + y)."""
        return math.fsum(p * (y / (rate + y)) for p, rate in self.branches)

    def remainder(self, y: float) -> float:
        """Sum of p y^2 / (r (r + y)), as the mean, sum of p / r, is 1."""
        return math.fsum(p * (y / rate) * (y / (rate + y)) for p, rate in self.branches)

    def slope(self, y: float, z: float) -> float:
        """Sum of p r / ((r + y) (r + z))."""
        return math.fsum(p * (rate / (rate + y)) / (rate + z) for p, rate in self.branches)


def gap_of(duration: Duration) -> Gap:
    """The gap of a law, in units of its mean.

    Raises:
        DomainError: a law whose transform has no closed form.
    """
    duration.transform(0.0)  # refuses
    if duration.family is Family.HYPEREXPONENTIAL:
        return MixtureGap(branches=tuple((p, rate * duration.mean_s) for p, rate in duration.branches))
    return GammaGap(variability=duration.variability)


def decay(gap: Gap, rho: float, spare: float) -> float:
    """y > 0 where 1 - phi(y) = rho y: waits fall as e^-y a mean gap. 1 - rho is given apart.

    phi(y) is Takacs's sigma. In heavy traffic y is small and the equation reads
    phi(y) - 1 + y = (1 - rho) y, where nothing cancels.
    """
    low = 1.998 * spare / gap.second_moment
    if rho > 0.5:
        return first_true(lambda y: gap.remainder(y) >= spare * y, low, 1.0 / rho)
    return first_true(lambda y: gap.complement(y) <= rho * y, low, 1.0 / rho)


def second_remainder(x: float) -> float:
    """e^x - 1 - x, by its series where that would cancel."""
    if abs(x) > _SERIES_BELOW:
        return math.expm1(x) - x
    term, total, order = x * x / 2.0, 0.0, 2
    while total + term != total:
        total += term
        order += 1
        term *= x / order
    return total


def _log1p_over(v: float, y: float) -> float:
    """ln(1 + vy) / v, which is y at v = 0."""
    return math.log1p(v * y) / v if v * y > 0.0 else y


SERVERS_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GIMc:
    """GI/M/c in steady state; what cannot reach one is refused with the smallest mend.

    Raises:
        DomainError: a rate that is not positive and finite; servers not in 1..100000; a law of gaps
            without a Laplace transform (lognormal).
        UnstableError: utilization >= 1, up to the rounding of mean gap and rate.

    Source:
        Takacs (1962), Introduction to the Theory of Queues, ch. 2, theorem 3; Kleinrock (1975),
        Queueing Systems vol. 1, ch. 6.

    Assumes:
        Independent gaps of one law, exponential service, FIFO, unlimited queue, steady state.

    >>> from capacity.queues.durations import Family
    >>> gap = Duration(family=Family.DETERMINISTIC, mean_s=0.125)
    >>> queue = GIMc(arrival=gap, service_rate_rps=2.0, servers=5)
    >>> round(queue.wait_probability, 4), round(queue.response_mean_s, 4)
    (0.3615, 0.5974)
    """

    arrival: Duration
    service_rate_rps: float
    servers: int
    offered_load: float = field(init=False, repr=False, compare=False)
    wait_probability: float = field(init=False, repr=False, compare=False)
    _spare: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_positive("service_rate_rps", self.service_rate_rps)
        gap = gap_of(self.arrival)
        require_stable(1.0 / self.arrival.mean_s, self.service_rate_rps, self.servers)
        exact = 1 / (Fraction(self.arrival.mean_s) * Fraction(self.service_rate_rps))
        load, rho = float(exact), float(exact / self.servers)
        falling = decay(gap, rho, float(1 - exact / self.servers))
        for name, value in (
            ("offered_load", load),
            ("wait_probability", _wait_probability(gap, load, self.servers, falling)),
            ("_spare", load * falling),
        ):
            object.__setattr__(self, name, value)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.offered_load / self.servers

    @property
    def queue_length_mean(self) -> float:
        """Mean number waiting at any time, by Little's law."""
        return self.offered_load * (self.wait_probability / self._spare)

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service at any time."""
        return self.offered_load + self.queue_length_mean

    @property
    def wait_mean_s(self) -> float:
        """Mean wait: an exponential one for those who wait."""
        return self.wait_probability / self._spare / self.service_rate_rps

    @property
    def response_mean_s(self) -> float:
        """Mean wait and service."""
        return (1.0 + self.wait_probability / self._spare) / self.service_rate_rps

    def wait_tail(self, time_s: float) -> float:
        """P(W > t) = P(W > 0) e^-c mu (1 - sigma) t; 1 before t = 0. [dimensionless]

        Source:
            Takacs (1962), ch. 2; Kleinrock (1975), sec. 6.4.

        >>> from capacity.queues.durations import Family
        >>> gap = Duration(family=Family.DETERMINISTIC, mean_s=0.125)
        >>> round(GIMc(arrival=gap, service_rate_rps=2.0, servers=5).wait_tail(0.5), 4)
        0.0565
        """
        if before_zero(time_s):
            return 1.0
        return self.wait_probability * math.exp(-self._spare * (self.service_rate_rps * time_s))

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1).

        >>> from capacity.queues.durations import Family
        >>> gap = Duration(family=Family.DETERMINISTIC, mean_s=0.125)
        >>> queue = GIMc(arrival=gap, service_rate_rps=2.0, servers=5)
        >>> queue.wait_quantile_s(0.5), round(queue.wait_quantile_s(0.99), 4)
        (0.0, 0.9661)
        """
        require_quantile(quantile)
        if in_atom(self.wait_probability, quantile):
            return 0.0
        log_ratio = math.log(self.wait_probability) - math.log1p(-quantile)
        return log_ratio / self._spare / self.service_rate_rps

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of wait and service together; 1 before t = 0. [dimensionless]

        Source:
            Kleinrock (1975), sec. 6.4, the wait convolved with an exponential service, in the form of
            `log_response_tail`: M/M/c's with c (1 - sigma) in the place of its spare servers.

        >>> from capacity.queues.durations import Family
        >>> gap = Duration(family=Family.DETERMINISTIC, mean_s=0.125)
        >>> round(GIMc(arrival=gap, service_rate_rps=2.0, servers=5).response_tail(1.0), 4)
        0.1821
        """
        if before_zero(time_s):
            return 1.0
        time = self.service_rate_rps * time_s
        return math.exp(log_response_tail(self.wait_probability, self._spare, time))

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of requests stays within. [s]

        Bisection on log P(T > t) to adjacent doubles between that of service alone and
        P(T > x + y) <= P(S > x) + P(W > y).

        Args:
            quantile: fraction in (0, 1), dimensionless; 0.99 is P99.

        Returns:
            Seconds, scalar.

        Raises:
            DomainError: quantile is not in (0, 1).

        Source:
            Kleinrock (1975), sec. 6.4.

        Assumes:
            Independent gaps of one law, exponential service, FIFO, steady state.

        >>> from capacity.queues.durations import Family
        >>> gap = Duration(family=Family.DETERMINISTIC, mean_s=0.125)
        >>> round(GIMc(arrival=gap, service_rate_rps=2.0, servers=5).response_quantile_s(0.99), 4)
        2.4765
        """
        require_quantile(quantile)
        log_tail, waiting = math.log1p(-quantile), self.wait_probability
        longest = math.log(2.0) - log_tail
        if waiting > 0.0:
            longest += max(0.0, (math.log(2.0 * waiting) - log_tail) / self._spare)
        services = first_true(
            lambda x: log_response_tail(waiting, self._spare, x) <= log_tail, -log_tail, longest
        )
        return services / self.service_rate_rps

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this queue as the answer that simulation and measurement give too.

        >>> from capacity.queues.durations import Family
        >>> gap = Duration(family=Family.DETERMINISTIC, mean_s=0.125)
        >>> queue = GIMc(arrival=gap, service_rate_rps=2.0, servers=5)
        >>> round(queue.performance().response_quantiles_s[0.99].value, 4)
        2.4765
        """
        return Performance(
            kind=Kind.EXACT,
            load=self.utilization,
            utilization=self.utilization,
            offered_load=self.offered_load,
            throughput_rps=1.0 / self.arrival.mean_s,
            wait_probability=self.wait_probability,
            queue_length_mean=self.queue_length_mean,
            in_system_mean=self.in_system_mean,
            wait_mean_s=self.wait_mean_s,
            response_mean_s=self.response_mean_s,
            wait_quantiles_s={q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles},
            response_quantiles_s={q: Interval.exact(self.response_quantile_s(q)) for q in quantiles},
        )


def _wait_probability(gap: Gap, load: float, servers: int, falling: float) -> float:
    """Share of arrivals that find all servers busy: 1 / (1 + (1 - sigma) S).

    S is the sum over j = 1..c of C(c, j) prod_{i <= j} (1 - phi_i) / phi_i
    (c (1 - phi_j) - j) / ((1 - phi_j) (c (1 - sigma) - j)), phi_i = phi(i / a). Its terms are above 0,
    as c (1 - phi_j) - j and c (1 - sigma) - j change sign at the same j. Horner's scheme from j = c.

    Source:
        Takacs (1962), ch. 2, theorem 3.
    """
    log_sigma = gap.log_transform(falling)
    if log_sigma < -700.0:  # less than sigma wait
        return 0.0
    total = 0.0
    for j in range(servers, 0, -1):
        log_phi = gap.log_transform(j / load)
        if log_phi < -700.0:
            total = math.inf
            break
        ratio = _vanishing_ratio(gap, load, servers, falling, j)
        total = (servers - j + 1) / j * (ratio * math.exp(-log_phi) + math.expm1(-log_phi) * total)
    return 1.0 / (1.0 + load / servers * falling * total)


def _vanishing_ratio(gap: Gap, load: float, servers: int, falling: float, j: int) -> float:
    """(c (1 - phi_j) - j) / (c (1 - sigma) - j), both of which vanish where j / a = `falling`."""
    y, idle = j / load, servers - j
    if abs(y - falling) < 0.5 * falling:
        return 1.0 - servers / load * gap.slope(y, falling)
    phi, sigma = math.exp(gap.log_transform(y)), math.exp(gap.log_transform(falling))
    return (idle - servers * phi) / (idle - servers * sigma)
