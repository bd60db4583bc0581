"""Whitt: mean wait, wait probability and spread of GI/G/c from two moments, as fitted by Whitt (1993)."""

import math

_SQUEEZE_MAX = 0.24


def wait_ratio(rho: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """Mean wait over (ca^2 + cs^2)/2 times that of M/M/c.

    The interpolation (eq. 2.25) misses two cases whose ratios are known, so they are set apart: one
    server with Poisson arrivals, exactly 1 (Pollaczek-Khinchine), and D/M/c (eq. 2.20).

    Source:
        Whitt (1993), Production and Operations Management 2(2), 114-161, eq. 2.16-2.25.

    >>> round(wait_ratio(0.9, 4, 1.0, 0.0), 6)  # M/D/4
    1.015099
    """
    if servers == 1 and arrival_scv == 1.0:
        return 1.0
    squeeze = _squeeze(rho, servers)
    fixed_service = 1.0 + squeeze
    fixed_gaps = (1.0 - 4.0 * squeeze) * math.exp(-2.0 * (1.0 - rho) / (3.0 * rho))
    if arrival_scv == 0.0 and service_scv == 1.0:
        return fixed_gaps
    scv = (arrival_scv + service_scv) / 2.0
    alike = math.pow(min(1.0, (fixed_service + fixed_gaps) / 2.0), max(0.0, 2.0 * (1.0 - scv)))
    if arrival_scv >= service_scv:
        total = 4.0 * arrival_scv - 3.0 * service_scv
        return (4.0 * (arrival_scv - service_scv) * fixed_service + service_scv * alike) / total
    total = 4.0 * scv
    return ((service_scv - arrival_scv) * fixed_gaps + (service_scv + 3.0 * arrival_scv) * alike) / total


def _squeeze(rho: float, servers: int) -> float:
    """The gamma of eq. 2.16: Cosmetatos' correction, kept below 0.24."""
    root = math.sqrt(4.0 + 5.0 * servers) - 2.0
    return min(_SQUEEZE_MAX, (1.0 - rho) * (servers - 1) * root / (16.0 * servers * rho))


def wait_probability(
    rho: float, servers: int, erlang_c: float, arrival_scv: float, service_scv: float
) -> float:
    """P(W > 0) of GI/G/c; Erlang's C where arrivals are Poisson.

    Source:
        Whitt (1993), eq. 3.5-3.11.

    >>> round(wait_probability(0.5, 1, 0.5, 1.0, 4.0), 3)
    0.5
    """
    if arrival_scv == 1.0 or erlang_c == 0.0:
        return erlang_c
    spread = (arrival_scv + service_scv) / (1.0 + service_scv)
    spare = (1.0 - rho) * math.sqrt(servers)
    heavy = _shifted(erlang_c, spare, spare / spread)
    light = _shifted(erlang_c, spare, 2.0 * spare / (1.0 + arrival_scv))
    few = rho**2 * heavy + (1.0 - rho**2) * light
    gap = (servers - servers * rho - 0.5) / math.sqrt(servers * rho * spread)
    if servers <= 6 or gap <= 0.5 or arrival_scv >= 1.0:
        return few
    many = arrival_scv * few + (1.0 - arrival_scv) * _normal_tail(gap)
    share = 1.0 if gap >= 1.0 else 2.0 * (1.0 - arrival_scv) * (gap - 0.5)
    return share * many + (1.0 - share) * few


def _shifted(erlang_c: float, spare: float, point: float) -> float:
    """min(1, C P(Z > point) / P(Z > spare)) for a normal Z, however small the tails."""
    from scipy.special import log_ndtr

    log_ratio = float(log_ndtr(-point) - log_ndtr(-spare))
    return math.exp(min(0.0, math.log(erlang_c) + log_ratio))


def _normal_tail(point: float) -> float:
    return math.erfc(point / math.sqrt(2.0)) / 2.0


def delay_scv(rho: float, service_scv: float) -> float:
    """Squared coefficient of variation of a wait that is not 0; exact for M/M/c.

    The third moment of the service is that of a hyper-exponential law with balanced means, or of an
    Erlang law. It is printed wrongly; right in Whitt (1983), Bell System Technical Journal 62(9),
    "The queueing network analyzer", sec. 5.

    Source:
        Whitt (1993), eq. 4.2-4.3.

    >>> delay_scv(0.7, 1.0)
    1.0
    """
    second = service_scv + 1.0
    third = 3.0 * service_scv * second if service_scv >= 1.0 else (2.0 * service_scv + 1.0) * second
    return 2.0 * rho - 1.0 + 4.0 * (1.0 - rho) * third / (3.0 * second**2)
