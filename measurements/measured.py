"""Measured: the performance that load tests found, as theory and simulation say theirs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from capacity.performance import Interval, Kind, Performance
from measurements.load_run import LoadRun
from measurements.mean_interval import ratio_interval
from measurements.schedule import Floats
from measurements.sections import (
    mean_interval,
    quantile_interval,
    rate_interval,
    share_interval,
)
from measurements.server_use import ServerUse


def measured_performance(
    runs: Sequence[LoadRun],
    quantiles: Iterable[float],
    confidence: float,
    *,
    uses: Sequence[ServerUse] = (),
    replicas: int = 1,
) -> Performance:
    """What runs show together: their answers are pooled, one run after another.

    A quantile of which too few answers lie on either side is absent. Requests that were given up are in mean
    and quantiles as what they would have taken at least, and an interval that reaches them is open above.

    Args:
        uses: of the servers in consecutive sections of the runs; none where their metrics were not seen.
        replicas: that were used.
    """
    at_least_s, at_most_s = (
        np.concatenate([getattr(run, name) for run in runs]) for name in ("at_least_s", "at_most_s")
    )
    found = {
        "response_mean_s": _open_above(mean_interval(at_least_s, confidence), at_most_s),
        "loss_probability": share_interval(np.concatenate([run.losses for run in runs]), confidence),
        "abandon_probability": share_interval(np.concatenate([run.given_up for run in runs]), confidence),
        "throughput_rps": _throughput(runs, confidence),
        **_use_intervals(uses, replicas, confidence),
    }
    known = {name: interval for name, interval in found.items() if interval is not None}
    values: dict[str, Any] = _use_values(uses, replicas)
    values |= {name: interval.value for name, interval in known.items()}
    asked = tuple(quantiles)
    return Performance(
        kind=Kind.MEASUREMENT,
        response_quantiles_s=_at_quantiles(at_least_s, at_most_s, asked, confidence),
        response_quantiles_with_losses_s=_with_losses(runs, asked, confidence),
        intervals=known,
        **values,
    )


def _at_quantiles(
    at_least_s: Floats, at_most_s: Floats, quantiles: Sequence[float], confidence: float
) -> dict[float, Interval]:
    """By quantile, those of which enough answers lie on either side."""
    found = {q: quantile_interval(at_least_s, q, confidence, at_most_s) for q in quantiles}
    return {q: interval for q, interval in found.items() if interval is not None}


def _with_losses(
    runs: Sequence[LoadRun], quantiles: Sequence[float], confidence: float
) -> dict[float, Interval]:
    """The same with each refused request as infinitely late; nothing where none was refused."""
    if not any(run.losses.any() for run in runs):
        return {}
    at_least_s = np.concatenate([run.with_losses_s(run.at_least_s) for run in runs])
    at_most_s = np.concatenate([run.with_losses_s(run.at_most_s) for run in runs])
    return _at_quantiles(at_least_s, at_most_s, quantiles, confidence)


def _open_above(interval: Interval | None, at_most_s: Floats) -> Interval | None:
    """Without an upper end where a single value may be of any length, since a mean has no other."""
    if interval is None or bool(np.isfinite(at_most_s).all()):
        return interval
    return replace(interval, high=math.inf)


def _throughput(runs: Sequence[LoadRun], confidence: float) -> Interval | None:
    """Good answers per second of all windows, as if each began where the one before ended."""
    starts_s = [0.0]
    instants_s = []
    for run in runs:
        start_s, end_s = run.window_s
        instants_s.append(run.answered_at_s - start_s + starts_s[-1])
        starts_s.append(starts_s[-1] + end_s - start_s)
    return rate_interval(np.concatenate(instants_s), 0.0, starts_s[-1], confidence)


def _use_values(uses: Sequence[ServerUse], replicas: int) -> dict[str, float]:
    """Mean batch and utilization of all sections together."""
    batches, lasting_s = sum(use.batches for use in uses), sum(use.lasting_s for use in uses)
    values = {}
    if batches:
        values["batch_size_mean"] = sum(use.requests for use in uses) / batches
    if lasting_s > 0.0:
        values["utilization"] = sum(use.busy_s for use in uses) / (replicas * lasting_s)
    return values


def _use_intervals(uses: Sequence[ServerUse], replicas: int, confidence: float) -> dict[str, Interval | None]:
    """Of the same, where the sections are enough to tell."""
    batches, requests, busy_s, lasting_s = (
        np.array([getattr(use, name) for use in uses], dtype=np.float64)
        for name in ("batches", "requests", "busy_s", "lasting_s")
    )
    return {
        "batch_size_mean": ratio_interval(requests.tolist(), batches.tolist(), confidence),
        "utilization": ratio_interval(busy_s.tolist(), (replicas * lasting_s).tolist(), confidence),
    }
