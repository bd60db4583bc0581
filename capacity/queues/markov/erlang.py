"""Erlang's loss and delay formulas: real server counts, a millionth to billions of erlangs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Real

from capacity.errors import DomainError, UnstableError
from capacity.performance import Kind, Performance
from capacity.queues.numerics.mills import Number, above, density, integral, up_to
from capacity.queues.numerics.tail import first_true
from capacity.units import QUANTILES, require_positive

SERVERS_MAX = 5e9  # enough to size 1e9 erlangs; the formulas below are not proved beyond
LOAD_MAX = 1e300  # [erlang]
_SPARE_SHARE_MIN = Fraction(1, 2**51)  # two roundings of a rate: 0.3 rps on 3 x 0.1 rps is full


def require_servers(servers: float) -> None:
    """Refuse server counts that are not positive, or beyond what the formulas here are proved for."""
    if not isinstance(servers, Real):
        raise DomainError(f"servers must be a number > 0, got {servers!r}")
    require_positive("servers", servers)
    if servers > SERVERS_MAX:
        raise DomainError(f"servers must be <= {SERVERS_MAX:g}, got {servers!r}")


def exact_load(arrival_rate_rps: float, service_rate_rps: float) -> Fraction:
    """Offered load without rounding, so that servers minus load keeps all its digits."""
    require_positive("arrival_rate_rps", arrival_rate_rps)
    require_positive("service_rate_rps", service_rate_rps)
    return Fraction(arrival_rate_rps) / Fraction(service_rate_rps)


def bounded_load(arrival_rate_rps: float, service_rate_rps: float) -> Fraction:
    """The exact load of a queue that is stable at any load, refused if a double cannot hold it."""
    load = exact_load(arrival_rate_rps, service_rate_rps)
    if not 1 / LOAD_MAX <= load <= LOAD_MAX:
        raise DomainError(
            f"arrival_rate_rps / service_rate_rps must be from {1 / LOAD_MAX:g} to {LOAD_MAX:g}, got "
            f"{arrival_rate_rps!r} / {service_rate_rps!r}"
        )
    return load


def servers_stable_min(arrival_rate_rps: float, service_rate_rps: float) -> int:
    """Smallest number of servers whose utilization is below 1, by more than rounding."""
    return exact_load(arrival_rate_rps, service_rate_rps) // (1 - _SPARE_SHARE_MIN) + 1


def require_stable(arrival_rate_rps: float, service_rate_rps: float, servers: float) -> None:
    """Refuse a queue in which work arrives at least as fast as it can leave."""
    load = exact_load(arrival_rate_rps, service_rate_rps)
    if load < Fraction(servers) * (1 - _SPARE_SHARE_MIN):
        return
    servers_min = servers_stable_min(arrival_rate_rps, service_rate_rps)
    busy = min(load / Fraction(servers), Fraction(10**300))
    raise UnstableError(
        f"unstable queue: utilization {_shown(busy)} >= 1 ({arrival_rate_rps:g} rps on "
        f"{servers} x {service_rate_rps:g} rps); use at least "
        f"{servers_min if servers_min < 10**12 else format(Decimal(servers_min), '.4g')} servers",
        servers_min=servers_min,
    )


def _shown(busy: Fraction) -> str:
    """A utilization in words, however large."""
    return f"{float(busy):.3f}" if busy < 10**6 else f"{float(busy):.3g}"


def erlang_b(offered_load: float, servers: float) -> float:
    """Share of requests rejected when there is no room to wait (M/G/c/c). [dimensionless]

    Below the load the falling products 1/B = 1 + c/a + c(c-1)/a^2 + ..., above it B = pmf /
    P(Poisson(a) <= c), both summed for few servers and by one integral each for many: as exact and
    as fast at 1e9 erlangs as at 1000. The textbook's ratio of powers and factorials overflows at 171
    servers, and the usual recursion takes c steps.

    Args:
        offered_load: a = arrival rate x mean service time. [erlang]
        servers: c > 0, a real number (for interpolation).

    Returns:
        Probability; 0.0 where the true value is beyond the range of a double (1e-308).

    Raises:
        DomainError: an argument is not positive and finite, or servers is above 5e9.

    Source:
        Erlang (1917), Post Office Electrical Engineers' Journal 10; the sums: Jagerman (1974),
        Bell System Technical Journal 53(3), "Some properties of the Erlang loss function".

    Assumes:
        Poisson arrivals, any service law, blocked requests leave at once.

    >>> round(erlang_b(5.0, 10), 6)
    0.018385
    """
    require_positive("offered_load", offered_load)
    require_servers(servers)
    return blocking(offered_load, servers, servers - offered_load)


def blocking(load: Number, servers: float, spare: float) -> float:
    """B for a load that need not be a double, with spare = servers - load rounded once.

    d log B / d log a = c - a + aB, so that rounding the load costs 1e-11 of B at 1e9 erlangs.
    """
    if servers == 0.0:
        return 1.0
    if spare <= 0.0:
        return min(1.0, 1.0 / up_to(float(load), servers, spare))
    pmf = density(load, servers)  # and P(N <= c) from its complement, at most about a half
    return pmf / (1.0 - pmf * above(float(load), servers, spare))


def served_share(offered_load: float, servers: float) -> float:
    """1 - B, which keeps its digits where nearly all requests are lost. [dimensionless]

    1 - B(c) = c / (c + a B(c-1)), and for less than one server 1/B - 1 = c x integral of
    e^(-at) (1+t)^(c-1), by parts from 1/B = a x integral of e^(-at) (1+t)^c.

    Args: as `erlang_b`.

    Source:
        Jagerman (1974), Bell System Technical Journal 53(3), for the recursion and the integral.
    """
    require_positive("offered_load", offered_load)
    require_servers(servers)
    if servers >= 1.0:
        before = blocking(offered_load, servers - 1.0, servers - 1.0 - offered_load)
        return servers / (servers + offered_load * before)
    odds = servers * integral(offered_load - servers, offered_load, mirrored=True)
    return odds / (1.0 + odds)


def ready_sum(load: float, servers: int) -> float:
    """Sum of a^k/k! over k < c, so that P(N = 0) = P(N < c) / sum; infinite beyond 1e308."""
    total, term = 0.0, 1.0
    for k in range(1, servers + 1):
        total += term
        term *= load / k
        if term < 1e-20 * total or total == math.inf:
            break
    return total


def erlang_c(offered_load: float, servers: float) -> float:
    """Share of requests that must wait for a server (M/M/c). [dimensionless]

    C = cB / (c - a + aB): no 1 - rho, which at utilization 0.999999 would cost six digits.

    Args:
        offered_load: a = arrival rate x mean service time. [erlang]
        servers: c > a, a real number (for interpolation).

    Returns:
        Probability; 0.0 where the true value is beyond the range of a double (1e-308).

    Raises:
        DomainError: an argument is not positive and finite, or servers is above 5e9.
        UnstableError: offered_load >= servers.

    Source:
        Erlang (1917); Cooper (1981), Introduction to Queueing Theory, ch. 3.

    Assumes:
        Poisson arrivals, exponential service, no request leaves the queue.

    >>> round(erlang_c(1.0, 2), 6)
    0.333333
    """
    require_positive("offered_load", offered_load)
    require_servers(servers)
    if offered_load >= servers:
        raise UnstableError(
            f"unstable queue: utilization {offered_load / servers:.3f} >= 1 ({offered_load:g} "
            f"erlangs on {servers:g} servers); use at least {math.floor(offered_load) + 1} servers",
            servers_min=math.floor(offered_load) + 1,
        )
    return delay(offered_load, servers, servers - offered_load)


def delay(load: Number, servers: float, spare: float) -> float:
    """C for a load that need not be a double, with spare = servers - load > 0 rounded once."""
    lost = blocking(load, servers, spare)
    return servers * lost / (spare + float(load) * lost)


def halfin_whitt(offered_load: float, good: Callable[[float, float], bool]) -> float:
    """Servers a + b sqrt(a), least b such that `good(C, c - a)`, C = 1 / (1 + b Phi(b) / phi(b)).

    A first guess for many servers: Halfin & Whitt (1981), Operations Research 29(3), theorem 1.
    """

    def good_at(b: float) -> bool:
        density = math.exp(-b * b / 2.0) / math.sqrt(2.0 * math.pi)
        below = math.erfc(-b / math.sqrt(2.0)) / 2.0
        return good(density / (density + b * below), b * math.sqrt(offered_load))

    return offered_load + first_true(good_at, 1e-3, 40.0) * math.sqrt(offered_load)


@dataclass(frozen=True, slots=True, kw_only=True)
class MGcc:
    """M/G/c/c in steady state, at any load; no service law beyond its mean matters.

    Attributes:
        offered_load: arrival rate x mean service time. [erlang]
        servers: c > 0, a real number (for interpolation).

    Raises:
        DomainError: an argument is not positive and finite, or servers is above 5e9.

    Source:
        Erlang (1917); Sevastyanov (1957), Theory of Probability and its Applications 2, for any
        service law; Jagerman (1974), Bell System Technical Journal 53(3), for real server counts.

    Assumes:
        Poisson arrivals, lost requests do not come back, steady state.

    >>> system = MGcc(offered_load=5.0, servers=10)
    >>> round(system.loss_probability, 6), round(system.in_system_mean, 4)
    (0.018385, 4.9081)
    """

    offered_load: float
    servers: float

    def __post_init__(self) -> None:
        require_positive("offered_load", self.offered_load)
        require_servers(self.servers)

    @property
    def load(self) -> float:
        """Offered load of one server."""
        return self.offered_load / self.servers

    @property
    def loss_probability(self) -> float:
        """Share of requests rejected: Erlang B."""
        return erlang_b(self.offered_load, self.servers)

    @property
    def served_share(self) -> float:
        """1 - `loss_probability`, with its digits where nearly all are lost."""
        return served_share(self.offered_load, self.servers)

    @property
    def in_system_mean(self) -> float:
        """Mean number in service: the carried load."""
        return self.offered_load * self.served_share

    @property
    def utilization(self) -> float:
        """Mean share of the servers that is busy."""
        return self.in_system_mean / self.servers

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The performance of this system; without quantiles, since a response is its service, of any law."""
        return Performance(
            kind=Kind.EXACT,
            load=self.load,
            utilization=self.utilization,
            offered_load=self.offered_load,
            loss_probability=self.loss_probability,
            in_system_mean=self.in_system_mean,
        )
