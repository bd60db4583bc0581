"""GI/M/c: independent gaps of any law between arrivals, one queue in front of c exponential servers."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.queues.durations import Duration, Family
from capacity.queues.law import LawAtRate, settle
from capacity.queues.markov.erlang import require_stable
from capacity.queues.markov.mmc import ExponentialWait
from capacity.queues.numerics.mills import second_remainder
from capacity.queues.numerics.tail import first_true
from capacity.units import require_count, require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaGap:
    """phi(y) = E e^(-yG) = (1 + vy)^(-1/v) of a gap of mean 1; v is 1 if exponential, 1/k if Erlang."""

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


Gap = GammaGap | MixtureGap  # their differences are without cancellation


def gap_of(duration: Duration) -> Gap:
    """The gap of a law, in units of its mean; refused if its transform has no closed form."""
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


def _log1p_over(v: float, y: float) -> float:
    """ln(1 + vy) / v, which is y at v = 0."""
    return math.log1p(v * y) / v if v * y > 0.0 else y


SERVERS_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GIMc(ExponentialWait, LawAtRate):
    """GI/M/c in steady state; an unstable queue is refused, with the smallest fix.

    Raises:
        DomainError: a rate that is not positive and finite; servers not in 1..100000; a law of gaps
            without a Laplace transform (lognormal).
        UnstableError: utilization >= 1, up to the rounding of mean gap and rate.

    Source:
        Takacs (1962), Introduction to the Theory of Queues, ch. 2, theorem 3; Kleinrock (1975),
        Queueing Systems vol. 1, sec. 6.4: M/M/c's laws, with c (1 - sigma) for its spare servers.

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
    _falling: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("servers", self.servers, most=SERVERS_MAX)
        require_positive("service_rate_rps", self.service_rate_rps)
        gap = gap_of(self.arrival)
        require_stable(1.0 / self.arrival.mean_s, self.service_rate_rps, self.servers)
        exact = 1 / (Fraction(self.arrival.mean_s) * Fraction(self.service_rate_rps))
        load, rho = float(exact), float(exact / self.servers)
        falling = decay(gap, rho, float(1 - exact / self.servers))
        settle(
            self,
            offered_load=load,
            wait_probability=_wait_probability(gap, load, self.servers, falling),
            _falling=load * falling,
        )

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy."""
        return self.offered_load / self.servers

    @property
    def throughput_rps(self) -> float:
        """Rate of arrivals, all of which are served."""
        return 1.0 / self.arrival.mean_s


def _wait_probability(gap: Gap, load: float, servers: int, falling: float) -> float:
    """Share of arrivals that find all servers busy: 1 / (1 + (1 - sigma) S).

    S is the sum over j = 1..c of C(c, j) prod_{i <= j} (1 - phi_i) / phi_i
    (c (1 - phi_j) - j) / ((1 - phi_j) (c (1 - sigma) - j)), phi_i = phi(i / a). Its terms are above 0,
    as c (1 - phi_j) - j and c (1 - sigma) - j change sign at the same j. Horner's scheme from j = c.

    Source:
        Takacs (1962), ch. 2, theorem 3.
    """
    log_sigma = gap.log_transform(falling)
    if log_sigma < -700.0:  # fewer than sigma wait
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
