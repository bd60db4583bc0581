"""Relaxation: how long a queue remembers, and what that makes of laws that forget the past."""

import math

from capacity.queues.domain import require_count, require_positive
from capacity.queues.erlang import require_stable

# Period over relaxation time, and the largest error measured from there on: see `measured_error`.
_MEASURED_ERRORS = ((100.0, 0.003), (30.0, 0.01), (10.0, 0.06), (3.0, 0.25))


def relaxation_time_s(arrival_rate_rps: float, service_rate_rps: float, servers: int) -> float:
    """How long M/M/c remembers: 1 / (sqrt(c mu) - sqrt(lambda))^2, at least a service. [s]

    Exact for one server and for many at high load; else at most 10 % too short.

    Raises:
        DomainError: a rate not positive and finite, or servers not an integer in 1..1e9.
        UnstableError: utilization >= 1.

    Source:
        Morse (1958), Queues, Inventories and Maintenance, ch. 6; Karlin & McGregor (1958), Pacific
        Journal of Mathematics 8, "Many server queueing processes".

    >>> relaxation_time_s(16.0, 5.0, 5)
    1.0
    """
    require_count("servers", servers, most=10**9)
    require_stable(arrival_rate_rps, service_rate_rps, servers)
    capacity_rps = servers * service_rate_rps
    roots = (capacity_rps - arrival_rate_rps) / (math.sqrt(capacity_rps) + math.sqrt(arrival_rate_rps))
    return max(1.0 / service_rate_rps, 1.0 / roots**2)


def measured_error(period_s: float, relaxation_s: float) -> float:
    """Largest relative error measured at such a ratio of period to relaxation time; infinite below 3.

    Of the P99 wait of the day (`PointwiseStationary`) and of the waiting probability at the peak
    (`modified_offered_load`, and the law of the peak's rate): sinusoids on 1, 2, 10 and 30
    servers that peak at 80 to 93 % of capacity, against the exact equations of state.

    Raises:
        DomainError: a time not positive and finite.

    >>> measured_error(86_400.0, 120.0), measured_error(600.0, 120.0), measured_error(60.0, 120.0)
    (0.003, 0.25, inf)
    """
    require_positive("period_s", period_s)
    require_positive("relaxation_s", relaxation_s)
    return next((error for ratio, error in _MEASURED_ERRORS if period_s >= ratio * relaxation_s), math.inf)
