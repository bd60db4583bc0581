"""Erlang's loss and delay formulas: real server counts, a millionth to millions of erlangs."""

import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from capacity.errors import DomainError, UnstableError
from capacity.queues.domain import require_positive
from capacity.queues.tail import first_true

SERVERS_MAX = 1e9  # the sums below have about 9 sqrt(servers) terms
_NEGLIGIBLE = 1e-20  # of the sum so far; the whole rest is then below 1e-16 of it
_FORTY_DIGITS = Context(prec=40, traps=[])
_SPARE_SHARE_MIN = Fraction(1, 2**51)  # two roundings of a rate: 0.3 rps on 3 x 0.1 rps is full


def require_servers(servers: float) -> None:
    """Refuse server counts that are not positive or that the sums here are too slow for."""
    require_positive("servers", servers)
    if servers > SERVERS_MAX:
        raise DomainError(f"servers must be <= {SERVERS_MAX:g}, got {servers!r}")


def exact_load(arrival_rate_rps: float, service_rate_rps: float) -> Fraction:
    """Offered load without rounding, so that servers minus load keeps all its digits."""
    require_positive("arrival_rate_rps", arrival_rate_rps)
    require_positive("service_rate_rps", service_rate_rps)
    return Fraction(arrival_rate_rps) / Fraction(service_rate_rps)


def servers_stable_min(arrival_rate_rps: float, service_rate_rps: float) -> int:
    """Smallest number of servers whose utilization is below 1, by more than rounding.

    >>> servers_stable_min(12.0, 3.0), servers_stable_min(0.3, 0.1)
    (5, 4)
    """
    return exact_load(arrival_rate_rps, service_rate_rps) // (1 - _SPARE_SHARE_MIN) + 1


def require_stable(arrival_rate_rps: float, service_rate_rps: float, servers: int) -> None:
    """Refuse a queue that work enters at least as fast as it can leave."""
    servers_min = servers_stable_min(arrival_rate_rps, service_rate_rps)
    if servers >= servers_min:
        return
    busy = min(exact_load(arrival_rate_rps, service_rate_rps) / servers, Fraction(10**300))
    raise UnstableError(
        f"unstable queue: utilization {_shown(busy)} >= 1 ({arrival_rate_rps:g} rps on "
        f"{servers} x {service_rate_rps:g} rps); use at least "
        f"{servers_min if servers_min < 10**12 else format(Decimal(servers_min), '.4g')} servers",
        servers_min=servers_min,
    )


def _shown(busy: Fraction) -> str:
    """A utilization for people, however large."""
    return f"{float(busy):.3f}" if busy < 10**6 else f"{float(busy):.3g}"


def erlang_b(offered_load: float, servers: float) -> float:
    """Share of requests lost when there is no room to wait (M/G/c/c). [dimensionless]

    Two positive sums, each where it converges: below the load the falling products
    1/B = 1 + c/a + c(c-1)/a^2 + ..., above it B = pmf / P(Poisson(a) <= c). The textbook's ratio of
    powers and factorials overflows at 171 servers; the usual recursion takes c steps, not sqrt(c).

    Args:
        offered_load: a = arrival rate x mean service time. [erlang]
        servers: c > 0, a real number (for interpolation).

    Returns:
        Probability; 0.0 where the true value is beyond the range of a double (1e-308).

    Raises:
        DomainError: an argument is not positive and finite, or servers is above 1e9.

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
    if servers > offered_load:
        return _blocking_above_load(offered_load, servers)
    return 1.0 / _blocking_inverse_below_load(offered_load, servers)


def erlang_c(offered_load: float, servers: float) -> float:
    """Share of requests that must wait for a server (M/M/c). [dimensionless]

    C = cB / (c - a + aB): no 1 - rho, which at utilization 0.999999 would cost six digits.

    Args:
        offered_load: a = arrival rate x mean service time. [erlang]
        servers: c > a, a real number (for interpolation).

    Returns:
        Probability; 0.0 where the true value is beyond the range of a double (1e-308).

    Raises:
        DomainError: an argument is not positive and finite, or servers is above 1e9.
        UnstableError: offered_load >= servers.

    Source:
        Erlang (1917); Cooper (1981), Introduction to Queueing Theory, ch. 3.

    Assumes:
        Poisson arrivals, exponential service, nobody leaves the queue.

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
    blocking = _blocking_above_load(offered_load, servers)
    return servers * blocking / (servers - offered_load + offered_load * blocking)


def halfin_whitt(offered_load: float, good: Callable[[float, float], bool]) -> float:
    """Servers a + b sqrt(a), least b such that `good(C, c - a)`, C = 1 / (1 + b Phi(b) / phi(b)).

    A first guess for many servers: Halfin & Whitt (1981), Operations Research 29(3), theorem 1.
    """

    def good_at(b: float) -> bool:
        density = math.exp(-b * b / 2.0) / math.sqrt(2.0 * math.pi)
        below = math.erfc(-b / math.sqrt(2.0)) / 2.0
        return good(density / (density + b * below), b * math.sqrt(offered_load))

    return offered_load + first_true(good_at, 1e-3, 40.0) * math.sqrt(offered_load)


def _blocking_above_load(load: float, servers: float) -> float:
    """B = pmf / P(N <= c) with the probability from its complement, at most about a half."""
    pmf = _poisson_pmf(load, servers)
    return pmf / (1.0 - pmf * _upper_tail_over_pmf(load, servers))


def _upper_tail_over_pmf(load: float, servers: float) -> float:
    """P(N > c) / P(N = c) = a/(c+1) + a^2/((c+1)(c+2)) + ... of N ~ Poisson(a)."""
    total, term, count = 0.0, 1.0, servers
    while term > _NEGLIGIBLE * total:
        count += 1.0
        term *= load / count
        total += term
    return total


def _poisson_pmf(load: float, count: float) -> float:
    """e^-a a^c / c!; large c by Stirling's formula with the exponent to forty digits.

    The exponent is a small difference of large numbers, 1e-9 off in doubles at 1e6 (Loader 2000,
    "Fast and accurate computation of binomial probabilities"). Loader's series mends that but for
    the exponent's own rounding, 1e-13 at e^-700; decimals mend that too, in microseconds.
    """
    if count <= 140.0:  # neither a^c nor c! overflows; pow is right to the last digit
        return math.exp(-load) * math.pow(load, count) / math.gamma(count + 1.0)
    stirling_error = 1 / (12 * count) - 1 / (360 * count**3)  # the rest is below 2e-14
    with localcontext(_FORTY_DIGITS):
        a, c = Decimal(load), Decimal(count)
        exponent = c * (a / c).ln() + c - a - Decimal(stirling_error)
        power = float(exponent.exp()) if exponent > -800 else 0.0
    return power / math.sqrt(2.0 * math.pi * count)


def _blocking_inverse_below_load(load: float, servers: float) -> float:
    """1/B = 1 + c/a (1 + (c-1)/a (...)), down to the fraction that is left of c, or to nothing."""
    total, term, left = 0.0, 1.0, servers
    while left >= 1.0:
        total += term
        term *= left / load
        left -= 1.0
        if term < _NEGLIGIBLE * total:
            return total
    return total + term / _blocking_of_fraction(load, left)


def _blocking_of_fraction(load: float, fraction: float) -> float:
    """B of less than one server, by Legendre's continued fraction of the incomplete gamma function.

    Abramowitz & Stegun (1964), 6.5.31 contracted; it is slow at small loads, where the sum is fast.
    """
    if fraction == 0.0:
        return 1.0
    if load < 2.0:
        return _blocking_above_load(load, fraction)
    rest = 0.0
    for k in range(60, 0, -1):
        rest = k * (k - 1.0 - fraction) / (load + 2.0 * k - fraction - rest)
    return (load - fraction - rest) / load
