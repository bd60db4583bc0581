"""Buckets: servers' histograms as runs, cumulative or bare, in seconds, with quantiles as intervals."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.load_test import Histogram, LoadRun, Loop, Moment

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
SINCE_START = (
    "these are totals since the server started, with its warm-up; compare two readings to see one period"
)
COUNT_MAX = 2.0**53  # largest whole number that a float counts to
# Units at the end of metric names. [s]
_UNITS = {
    "seconds": 1.0,
    "milliseconds": 1e-3,
    "ms": 1e-3,
    "microseconds": 1e-6,
    "us": 1e-6,
    "nanoseconds": 1e-9,
    "ns": 1e-9,
}


def unit_of(metric: str) -> float | None:
    """Seconds of the unit at the end of a metric's name; None if it is not a unit of time.

    >>> unit_of("http_request_duration_seconds"), unit_of("serve_latency_ms"), unit_of("request_duration")
    (1.0, 0.001, None)
    """
    return _UNITS.get(metric.rpartition("_")[2])


def loop_of(metric: str) -> Loop:
    """Loop of a metric: served, unless its name says that a client measured it, whose loop is unknown.

    Source:
        OpenTelemetry semantic conventions, HTTP and RPC metrics (`http.client.request.duration`).

    >>> [loop_of(metric).value for metric in ("http.server.request.duration", "http_client_request_duration_seconds")]
    ['served', 'unknown']
    """
    return Loop.UNKNOWN if "client" in re.split(r"[._:/-]", metric) else Loop.SERVED


def label(metric: str, labels: Mapping[str, str]) -> str:
    """Name of a series as a run."""
    inner = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return printable(f"{metric}{{{inner}}}" if inner else metric)[:200]


def count(value: float, where: str) -> float:
    """A count as a float holds it. Raises InputError: it is not a count."""
    if not 0.0 <= value <= COUNT_MAX:
        raise InputError(f"{where} must be a count from 0 to 2^53, got {value}")
    return value


def from_cumulative(bounds: Mapping[float, float], unit_s: float, where: str) -> Histogram:
    """A histogram from counts up to each bound, the last of them infinite.

    Raises:
        InputError: no infinite bound, a bound below 0, or counts that fall from one bound to the next.
    """
    rising = sorted(bounds)
    if not rising or rising[-1] != math.inf:
        raise InputError(f'{where} has no bucket le="+Inf", and so no total; export all of its buckets')
    counts = [count(bounds[bound], f"{where}, le={bound:g},") for bound in rising]
    for (low, high), (before, after) in zip(pairwise(rising), pairwise(counts), strict=True):
        if after < before:
            raise InputError(
                f"{where} counts {before:g} up to {low:g} and {after:g} up to {high:g}, which must not fall; "
                "were the buckets of several servers mixed?"
            )
    return from_counts(rising, [b - a for a, b in pairwise([0.0, *counts])], unit_s, where)


def from_counts(upper: Sequence[float], counts: Sequence[float], unit_s: float, where: str) -> Histogram:
    """A histogram from the counts of durations between each upper bound and the one before.

    Bounds up to 0 hold durations too short to measure, which join the bucket above them.

    Raises:
        InputError: no bound above 0, or bounds that do not rise.
    """
    kept = [(bound * unit_s, one) for bound, one in zip(upper, counts, strict=True) if bound > 0.0]
    if not kept:
        raise InputError(f"{where} has no bound above 0, so that it holds no durations")
    none_s = math.fsum(one for bound, one in zip(upper, counts, strict=True) if not bound > 0.0)
    values = [one for _, one in kept]
    values[0] += none_s
    return Histogram(edges_s=(0.0, *(bound_s for bound_s, _ in kept)), counts=tuple(values))


def run_of(
    name: str,
    histogram: Histogram,
    sum_s: float | None = None,
    history: tuple[Moment, ...] = (),
    duration_s: float | None = None,
) -> LoadRun | None:
    """The run that a histogram describes; None if it counts nothing.

    Args:
        duration_s: time over which it was counted; None if unknown. [s]

    Raises:
        InputError: a sum outside its buckets.
    """
    total = histogram.total
    if not total:
        return None
    mean_s = None if sum_s is None else sum_s / total
    if mean_s is not None and not _may_be_mean(mean_s, histogram):
        raise InputError(
            f"{name}: the mean {mean_s:g} s (sum over count) is not one that the buckets allow; were sum and "
            "buckets read at different times, or in different units?"
        )
    return LoadRun(
        name=name,
        loop=loop_of(name.partition("{")[0]),
        counted=math.floor(total),
        duration_s=duration_s,
        throughput_rps=total / duration_s if duration_s else None,
        mean_s=mean_s,
        quantiles_s={q: histogram.quantile(q) for q in QUANTILES},
        histogram=histogram,
        history=history,
    )


def _may_be_mean(mean_s: float, histogram: Histogram) -> bool:
    """Whether all durations could lie in their buckets and have this mean."""
    ends = list(zip(histogram.counts, pairwise(histogram.edges_s), strict=True))
    low_s = math.fsum(one * low for one, (low, _) in ends) / histogram.total
    high_s = math.fsum(one * high for one, (_, high) in ends if one) / histogram.total
    return low_s * (1.0 - 1e-6) <= mean_s <= high_s * (1.0 + 1e-6)
