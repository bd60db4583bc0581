"""Measured: the performance in load tests, in the form that theory and simulation have."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from capacity.measurement.sections import (
    REQUESTS_MIN,
    SECTIONS_MAX,
    Floats,
    mean_interval,
    quantile_interval,
    rate_interval,
    ratio_interval,
    sections,
    share_interval,
)
from capacity.performance import Interval, Kind, Performance, Share
from capacity.question.objective import Objective
from capacity.verification.conversations import ConversationSchedule
from capacity.verification.run import LoadRun
from capacity.verification.watch import ServerUse


def measured_performance(
    runs: Sequence[LoadRun],
    quantiles: Iterable[float],
    confidence: float,
    *,
    replicas: int = 1,
    objective: Objective | None = None,
) -> Performance:
    """Performance of all runs together: their answers are pooled, one run after another.

    A quantile with too few answers on either side is absent. Requests that were given up count in mean and quantiles
    with the time that they would have taken at least, and an interval that reaches them is open above. TPOT and ITL
    are those of good answers.

    Args:
        replicas: number of replicas.
        objective: limits that a good request keeps all at once.
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
        "missed_share": _missed(runs, objective, confidence),
    }
    values: dict[str, Any] = {"response_quantiles_s": _at_quantiles(ends_s, asked, confidence)}
    if losses.any():
        late_s = _endured_s(runs, with_losses=True)
        values["response_quantiles_with_losses_s"] = _at_quantiles(late_s, asked, confidence)
    for name, times_s in _of_tokens(runs).items():
        found[f"{name}_mean_s"] = _mean(*times_s, confidence)
        values[f"{name}_quantiles_s"] = _at_quantiles(times_s, asked, confidence)
        if losses.any() and name == "ttft":
            late_s = _endured_s(runs, with_losses=True, of_first=True)
            values["ttft_quantiles_with_losses_s"] = _at_quantiles(late_s, asked, confidence)
    if (hits := _hits(runs, confidence)) is not None:
        values["hit_share"] = Share.of(hits)
    _add_use([use for run in runs for use in run.uses], replicas, confidence, values, found)
    known = {name: interval for name, interval in found.items() if interval is not None}
    if (missed := known.get("missed_share")) is not None:
        values["goodput"] = 1.0 - missed.value
    scalars = {name: interval.value for name, interval in known.items() if name != "missed_share"}
    return Performance(kind=Kind.MEASUREMENT, intervals=known, **(values | scalars))


def _of_tokens(runs: Sequence[LoadRun]) -> dict[str, tuple[Floats, Floats]]:
    """Lower and upper bounds of times to and between tokens, by name; empty if requests have no tokens. [s]"""
    if any(run.schedule.lengths is None for run in runs):
        return {}
    per_token_s = np.concatenate([run.per_token_s for run in runs])
    found = {"ttft": _endured_s(runs, of_first=True), "tpot": (per_token_s, per_token_s)}
    gaps_s = [run.all_gaps_s for run in runs]
    if all(one is not None for one in gaps_s):
        pooled_s = np.concatenate([one for one in gaps_s if one is not None])
        found["itl"] = (pooled_s, pooled_s)
    return found


def _hits(runs: Sequence[LoadRun], confidence: float) -> Interval | None:
    """Share of the tokens of prompts that turns of sessions found in a cache; None where servers tell too little."""
    if not all(isinstance(run.schedule, ConversationSchedule) for run in runs):
        return None
    hits, prompts = (np.concatenate(columns) for columns in zip(*(run.hits for run in runs), strict=True))
    found, asked = (
        [float(np.sum(section)) for section in sections(column, SECTIONS_MAX)] for column in (hits, prompts)
    )
    return ratio_interval(found, asked, confidence)


def _missed(runs: Sequence[LoadRun], objective: Objective | None, confidence: float) -> Interval | None:
    """Share of requests beyond any of the limits that a good one keeps; those without a good answer are among them."""
    limits = {} if objective is None else objective.together
    if not limits or any(run.schedule.lengths is None for run in runs):
        return None
    return share_interval(np.concatenate([run.missed(limits) for run in runs]), confidence)


def _endured_s(
    runs: Sequence[LoadRun], *, with_losses: bool = False, of_first: bool = False
) -> tuple[Floats, Floats]:
    """Lower and upper bound of each response, or of the time to its first token. [s]"""
    least, most = (
        np.concatenate(
            [run.endured_s(at_most=at_most, with_losses=with_losses, of_first=of_first) for run in runs]
        )
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
