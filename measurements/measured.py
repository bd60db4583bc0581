"""Measured: the performance that a load test found, as theory and simulation say theirs."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from capacity.performance import Interval, Kind, Performance
from measurements.load_run import LoadRun
from measurements.sections import mean_interval, quantile_interval, rate_interval, share_interval

_MEDIAN_FIELDS = ("throughput_rps", "batch_size_mean", "utilization", "response_mean_s", "loss_probability")


def measured_performance(
    run: LoadRun,
    quantiles: Iterable[float],
    confidence: float,
    *,
    batch_size_mean: float | None = None,
    utilization: float | None = None,
) -> Performance:
    """What one run shows; a quantile of which too few answers lie on either side is absent."""
    start_s, end_s = run.window_s
    found = {
        "response_mean_s": mean_interval(run.responses_s, confidence),
        "loss_probability": share_interval(run.losses, confidence),
        "throughput_rps": rate_interval(run.answered_at_s, start_s, end_s, confidence),
    }
    known = {name: interval for name, interval in found.items() if interval is not None}
    values: dict[str, Any] = {name: interval.value for name, interval in known.items()}
    at_quantiles = {q: quantile_interval(run.responses_s, q, confidence) for q in quantiles}
    return Performance(
        kind=Kind.MEASUREMENT,
        batch_size_mean=batch_size_mean,
        utilization=utilization,
        response_quantiles_s={q: x for q, x in at_quantiles.items() if x is not None},
        intervals=known,
        **values,
    )


def median_performance(performances: Sequence[Performance]) -> Performance:
    """By quantity the median over runs, between the medians of its ends; what some run lacks is absent.

    Medians keep their order, so that an interval's value stays within its ends.
    """
    names = [name for name in _MEDIAN_FIELDS if all(getattr(p, name) is not None for p in performances)]
    with_ends = [name for name in names if all(name in p.intervals for p in performances)]
    quantiles = [
        q
        for q in performances[0].response_quantiles_s
        if all(q in p.response_quantiles_s for p in performances)
    ]
    values: dict[str, Any] = {
        name: statistics.median(getattr(p, name) for p in performances) for name in names
    }
    return Performance(
        kind=performances[0].kind,
        response_quantiles_s={
            q: median_interval([p.response_quantiles_s[q] for p in performances]) for q in quantiles
        },
        intervals={name: median_interval([p.intervals[name] for p in performances]) for name in with_ends},
        **values,
    )


def median_interval(intervals: Sequence[Interval]) -> Interval:
    """Median of the values, between the medians of the ends."""
    return Interval(
        value=statistics.median(x.value for x in intervals),
        low=statistics.median(x.low for x in intervals),
        high=statistics.median(x.high for x in intervals),
    )
