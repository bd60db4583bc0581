"""Measured: the performance in load tests, in the form that theory and simulation have."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from capacity.measurement.sections import (
    REQUESTS_MIN,
    Floats,
    mean_interval,
    quantile_interval,
    rate_interval,
    ratio_interval,
    share_interval,
)
from capacity.performance import Interval, Kind, Performance
from capacity.verification.run import LoadRun
from capacity.verification.watch import ServerUse


def measured_performance(
    runs: Sequence[LoadRun], quantiles: Iterable[float], confidence: float, *, replicas: int = 1
) -> Performance:
    """Performance of all runs together: their answers are pooled, one run after another.

    A quantile with too few answers on either side is absent. Requests that were given up count in mean and quantiles
    with the time that they would have taken at least, and an interval that reaches them is open above.

    Args:
        replicas: number of replicas.
    """
    asked = tuple(quantiles)
    ends_s = at_least_s, at_most_s = _endured_s(runs)
    losses, given_up = (
        np.concatenate([getattr(run, name) for run in runs]) for name in ("losses", "given_up")
    )
    found = {
        "response_mean_s": _mean(at_least_s, at_most_s, confidence),
        "loss_probability": share_interval(losses, confidence),
        "abandon_probability": share_interval(given_up, confidence),
        "throughput_rps": _throughput(runs, confidence),
    }
    values: dict[str, Any] = {}
    _add_use([use for run in runs for use in run.uses], replicas, confidence, values, found)
    known = {name: interval for name, interval in found.items() if interval is not None}
    with_losses_s = _endured_s(runs, with_losses=True) if losses.any() else None
    return Performance(
        kind=Kind.MEASUREMENT,
        response_quantiles_s=_at_quantiles(ends_s, asked, confidence),
        response_quantiles_with_losses_s=(with_losses_s and _at_quantiles(with_losses_s, asked, confidence))
        or {},
        intervals=known,
        **(values | {name: interval.value for name, interval in known.items()}),
    )


def _endured_s(runs: Sequence[LoadRun], *, with_losses: bool = False) -> tuple[Floats, Floats]:
    """Lower and upper bound of each response. [s]"""
    least, most = (
        np.concatenate([run.endured_s(at_most=at_most, with_losses=with_losses) for run in runs])
        for at_most in (False, True)
    )
    return least, most


def _mean(at_least_s: Floats, at_most_s: Floats, confidence: float) -> Interval | None:
    """Mean without an upper end if a single value may be of any length, since then it has none."""
    found = mean_interval(at_least_s, confidence) if len(at_least_s) >= REQUESTS_MIN else None
    if found is None or np.isfinite(at_most_s).all():
        return found
    return replace(found, high=math.inf)


def _at_quantiles(
    ends_s: tuple[Floats, Floats], quantiles: Sequence[float], confidence: float
) -> dict[float, Interval]:
    """Intervals by quantile, if enough answers lie on either side."""
    found = {q: quantile_interval(ends_s[0], q, confidence, ends_s[1]) for q in quantiles}
    return {q: interval for q, interval in found.items() if interval is not None}


def _throughput(runs: Sequence[LoadRun], confidence: float) -> Interval | None:
    """Good answers per second of all windows, as if each began where the one before ended."""
    lasted_s, instants_s = 0.0, []
    for run in runs:
        start_s, end_s = run.window_s
        instants_s.append(run.answered_at_s - start_s + lasted_s)
        lasted_s += end_s - start_s
    return rate_interval(np.concatenate(instants_s), lasted_s, confidence)


def _add_use(
    uses: Sequence[ServerUse],
    replicas: int,
    confidence: float,
    values: dict[str, Any],
    found: dict[str, Interval | None],
) -> None:
    """Add mean batch and utilization of all sections, with intervals if there are enough sections."""
    batches, requests, busy_s, lasting_s = (
        [float(getattr(use, name)) for use in uses] for name in ("batches", "requests", "busy_s", "lasting_s")
    )
    for field, sums, counts in (
        ("batch_size_mean", requests, batches),
        ("utilization", busy_s, [replicas * one_s for one_s in lasting_s]),
    ):
        if sum(counts) > 0.0:
            values[field] = sum(sums) / sum(counts)
            found[field] = ratio_interval(sums, counts, confidence)
