"""Staffing: the fewest M/M/c servers that keep wait or response within a limit."""

import math
from collections.abc import Callable

from capacity.errors import DomainError
from capacity.queues.markov.erlang import SERVERS_MAX, halfin_whitt, servers_stable_min
from capacity.queues.markov.mmc import MMc, log_response_tail
from capacity.units import format_quantile, require_not_negative, require_positive, require_quantile

_ROUNDED_UP = 1.0 + 1e-13  # so that a share hit exactly counts as met: 0.3 rps of 0.1 s each, at 0.03


def servers_for_wait(
    arrival_rate_rps: float, service_rate_rps: float, quantile: float, limit_s: float
) -> int:
    """Smallest number of servers at which the wait's quantile is within the limit.

    Args:
        arrival_rate_rps: requests per second.
        service_rate_rps: requests per second of one busy server.
        quantile: fraction in (0, 1); 0.99 is P99.
        limit_s: longest wait allowed; 0.0 asks that a fraction `quantile` does not wait at all.

    Raises:
        DomainError: an argument out of range, or more than 5e9 servers are needed.

    Source:
        Halfin & Whitt (1981), Operations Research 29(3), for the first guess; then the exact law,
        which falls in c, so the answer is always the smallest.

    >>> servers_for_wait(100.0, 1.0, 0.99, 0.1)
    118
    """
    require_quantile(quantile)
    require_not_negative("limit_s", limit_s)
    limit = service_rate_rps * limit_s

    def roughly(waiting: float, spare: float) -> bool:
        return waiting * math.exp(-spare * limit) <= 1.0 - quantile

    def meets(queue: MMc) -> bool:
        return queue.wait_quantile_s(quantile) <= limit_s

    return _smallest(arrival_rate_rps, service_rate_rps, roughly, meets)


def servers_for_response(
    arrival_rate_rps: float, service_rate_rps: float, quantile: float, limit_s: float
) -> int:
    """Smallest number of servers at which the response time's quantile is within the limit.

    Args: as `servers_for_wait`, the limit on wait and service together.

    Raises:
        DomainError: an argument out of range, a limit that service alone does not meet (found
            before any search), or more than 5e9 servers are needed.

    Source:
        Halfin & Whitt (1981) for the first guess; then the exact law, which falls in c.

    >>> servers_for_response(100.0, 1.0, 0.99, 4.7)
    106
    """
    require_quantile(quantile)
    require_not_negative("limit_s", limit_s)
    require_positive("service_rate_rps", service_rate_rps)
    log_tail, limit = math.log1p(-quantile), service_rate_rps * limit_s
    if -log_tail / service_rate_rps >= limit_s:
        raise DomainError(
            f"limit_s must be above the {format_quantile(float(quantile))} of service alone, "
            f"{-log_tail / service_rate_rps:.6g} s at {service_rate_rps:g} rps, got {limit_s:.6g}; "
            f"no number of servers helps: serve faster or allow more"
        )

    def roughly(waiting: float, spare: float) -> bool:
        return log_response_tail(waiting, spare, limit) <= log_tail

    def meets(queue: MMc) -> bool:
        return queue.response_quantile_s(quantile) <= limit_s

    return _smallest(arrival_rate_rps, service_rate_rps, roughly, meets)


def servers_for_wait_probability(arrival_rate_rps: float, service_rate_rps: float, limit: float) -> int:
    """Smallest number of servers at which at most a share `limit` of requests waits at all.

    Args:
        arrival_rate_rps: requests per second.
        service_rate_rps: requests per second of one busy server.
        limit: of P(W > 0), in (0, 1); one that is hit exactly is met, whatever its last digits.

    Raises:
        DomainError: an argument out of range, or more than 5e9 servers are needed.

    Source:
        Erlang (1917) for the law; Halfin & Whitt (1981), Operations Research 29(3), for the first
        guess, which is square-root staffing.

    >>> servers_for_wait_probability(100.0, 1.0, 0.2)
    111
    """
    if isinstance(limit, bool) or not 0.0 < limit < 1.0:
        raise DomainError(f"limit of the wait probability must be in (0, 1), got {limit!r}; 20 % is 0.2")

    def roughly(waiting: float, spare: float) -> bool:
        return waiting <= limit

    def meets(queue: MMc) -> bool:
        return queue.wait_probability <= limit * _ROUNDED_UP

    return _smallest(arrival_rate_rps, service_rate_rps, roughly, meets)


def _smallest(
    arrival_rate_rps: float,
    service_rate_rps: float,
    roughly: Callable[[float, float], bool],
    meets: Callable[[MMc], bool],
) -> int:
    """Smallest count that meets a limit, by growing steps away from a guess, then bisection."""

    def good(servers: int) -> bool:
        return meets(
            MMc(arrival_rate_rps=arrival_rate_rps, service_rate_rps=service_rate_rps, servers=servers)
        )

    stable, most = servers_stable_min(arrival_rate_rps, service_rate_rps), int(SERVERS_MAX)
    guess = halfin_whitt(arrival_rate_rps / service_rate_rps, roughly) if stable <= most else math.inf
    high = max(stable, math.ceil(min(guess, most)))
    low, step = stable - 1, 1  # low never meets: it is unstable
    while high > most or not good(high):
        if high >= most:
            raise DomainError(
                f"{arrival_rate_rps:g} rps at service_rate_rps {service_rate_rps:g} need more than "
                f"{SERVERS_MAX:g} servers, beyond what can be sized; serve faster or split the traffic"
            )
        low, high, step = high, min(high + step, most), 2 * step
    step = 1
    while high - step > low and good(high - step):
        high, step = high - step, 2 * step
    low = max(low, high - step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high
