"""Validity: whether a load test was the one that was meant, so that its figures are the server's own."""

from collections.abc import Iterator

import numpy as np

from capacity.units import format_duration
from measurements.load_run import LoadRun

# A request that is sent late is a request that arrives late: other arrivals than those predicted. Of the
# latest hundredth that is forgiven up to a tenth of the median response, and a millisecond in any case.
LAG_QUANTILE = 0.99
LAG_SHARE_MAX, LAG_FORGIVEN_S = 0.1, 1e-3


def faults(run: LoadRun, in_flight_max: int) -> Iterator[str]:
    """What makes a run invalid, each with its numbers and the mend; none where it is valid."""
    if not run.is_complete:
        yield f"the run was broken off after {run.sent} of {run.scheduled} requests; let it end"
        return
    if run.is_overflowed:
        yield (
            f"{in_flight_max} requests were in flight, and no more are allowed: {run.sent} of "
            f"{run.scheduled} were sent; the server does not keep up, so lower --rate"
        )
    elif run.sent < run.scheduled:
        yield f"{run.sent} of {run.scheduled} requests were sent; send them again"
    if len(run.responses_s) == 0:
        yield f"none of {run.counted} requests was answered with status 200; see to the server first"
        return
    yield from _lateness(run)


def _lateness(run: LoadRun) -> Iterator[str]:
    lag_s = float(np.quantile(run.lags_s, LAG_QUANTILE))
    median_s = float(np.median(run.responses_s))
    if lag_s > max(LAG_FORGIVEN_S, LAG_SHARE_MAX * median_s):
        yield (
            f"the load generator fell behind: P99 of its lag is {format_duration(lag_s)}, above "
            f"{format_duration(LAG_FORGIVEN_S)} and a tenth of the median response "
            f"({format_duration(median_s)}); give it a core or a machine of its own, or lower --rate"
        )
