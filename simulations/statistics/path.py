"""Path: recorded arrivals, served again with other service times; and their sections, for similar traffic."""

import math
from collections.abc import Collection, Sequence

from capacity.errors import InconclusiveError
from capacity.traffic.workload import Demand, TraceArrivals, Workload
from capacity.units import format_quantile
from simulations.statistics.pool import SECTIONS
from simulations.statistics.sample import Length

# With fewer independent responses beyond the quantile, one path has seen too few of its bursts to speak for other
# days: for M/D/1 paths worth fewer, intervals hold the exact P99 in 30 to 90 % instead of 95 %.
INDEPENDENT_MIN = 20
# A path happened once, from its own start: at most this share of it is warm-up.
_WARM_UP_SHARE = 0.1
# Requests that a path needs beyond a quantile, and that each of its sections has; a short path has fewer sections.
_EXCEEDANCES_MIN, _EXCEEDANCES_PER_SECTION = 50, 5


def path_length(requests: int, warm_up: int) -> Length:
    """The counted part of a path: all but its start, and no more of that than a tenth."""
    warm_up = min(warm_up, int(_WARM_UP_SHARE * requests))
    return Length(warm_up=warm_up, measured=requests - warm_up, cool_down=0)


def sections_of(counted: int, quantile: float) -> int:
    """Number of consecutive sections of the counted requests."""
    return min(SECTIONS, int(_beyond(counted, quantile) / _EXCEEDANCES_PER_SECTION))


def _beyond(requests: int, quantile: float) -> float:
    """Number of requests beyond a quantile, free of the rounding in 1 - q."""
    return round((1.0 - quantile) * requests, 6)


def has_enough(requests: int, quantile: float) -> bool:
    """Whether a path is long enough for a quantile."""
    return _beyond(requests, quantile) >= _EXCEEDANCES_MIN


def tellable(quantiles: Sequence[float], asked: Collection[float], counted: int) -> list[float]:
    """The quantiles that are asked for, or that the counted requests of a path are enough for."""
    return [q for q in quantiles if q in asked or has_enough(counted, q)]


def require_enough(demand: Demand, quantile: float, mend: str = "") -> None:
    """Refuse a recorded path that is too short for a quantile; other demands pass.

    Args:
        mend: what else would help, after a comma.

    Raises:
        InconclusiveError: says how many requests it takes.
    """
    if not isinstance(demand, Workload) or not isinstance(demand.arrivals, TraceArrivals):
        return
    requests = len(demand.arrivals.instants_s)
    if has_enough(requests, quantile):
        return
    needed = math.ceil(round(_EXCEEDANCES_MIN / (1.0 - quantile), 6))
    raise InconclusiveError(
        f"{demand.arrivals.name} has {requests} arrivals; {format_quantile(quantile)} with an interval needs at least "
        f"{needed}: record for longer, or use a lower percentile{mend}"
    )
