"""Performances: results of a pool of runs for a fleet, with intervals, for each kind of server."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from capacity.performance import Interval, Kind, Performance, Share
from capacity.question.objective import Measure
from simulations.statistics.pool import Pool, served, with_lost, within_one
from simulations.statistics.sample import Sample
from simulations.statistics.sessions import SessionTotals
from simulations.statistics.tally import Tally
from simulations.statistics.tokens import TokenSample, sessions_of

# Means in an engine's performance.
_MEANS = (Measure.TTFT_MEAN, Measure.TPOT_MEAN, Measure.ITL_MEAN, Measure.RESPONSE_MEAN)


def batch_performance(
    pool: Pool, *, load: float | None, replicas: int, quantiles: Sequence[float], confidence: float
) -> Performance:
    """Steady-state performance of this many replicas, with intervals of the quantiles.

    Numbers in queue and in system follow by Little's law from the counted requests.
    """
    whole = pool.whole
    waits, served, window_s = whole.waits, whole.responses, whole.window_s
    beyond = quantiles if whole.lost else ()

    def with_losses(measure: Measure) -> dict[float, Interval]:
        return {q: pool.of_measure(measure, q).interval(confidence) for q in beyond}

    return Performance(
        kind=Kind.SIMULATION,
        load=load,
        utilization=min(1.0, whole.busy_s / (replicas * window_s)),
        throughput_rps=whole.counted / window_s,
        batch_size_mean=whole.counted / whole.batches,
        wait_probability=waits.positive / waits.count,
        queue_length_mean=waits.total_s / window_s,
        in_system_mean=served.total_s / window_s,
        wait_mean_s=waits.total_s / waits.count,
        response_mean_s=served.total_s / served.count,
        loss_probability=whole.lost / (whole.lost + whole.counted),
        wait_quantiles_s={q: pool.wait_quantile(q).interval(confidence) for q in quantiles},
        response_quantiles_s={q: pool.response_quantile(q).interval(confidence) for q in quantiles},
        wait_quantiles_with_losses_s=with_losses(Measure.WAIT),
        response_quantiles_with_losses_s=with_losses(Measure.RESPONSE),
        intervals={}
        if len(pool.sections) == 1
        else {
            "utilization": within_one(pool.utilization(replicas).interval(confidence)),
            "response_mean_s": pool.mean(Measure.RESPONSE_MEAN).interval(confidence),
            "loss_probability": pool.loss_interval(confidence),
        },
    )


def engine_performance(
    pool: Pool,
    *,
    load: float | None,
    replicas: int,
    simulated: int,
    quantiles: Sequence[float],
    confidence: float,
    has_limits: bool,
    may_lose: bool = False,
    kind: Kind = Kind.SIMULATION,
) -> Performance:
    """Performance of a fleet of engines, with intervals of its quantiles and means.

    Args:
        replicas, simulated: number in the fleet, and number that was simulated for it.
        has_limits: whether there are limits that a request can miss.
        may_lose: whether requests may be lost.
    """
    whole = cast("TokenSample", pool.whole)
    times, gaps = replicas / simulated, whole.events - whole.counted
    offered = whole.counted + whole.lost

    measures: tuple[Measure, ...] = (Measure.TTFT, Measure.TPOT, Measure.ITL, Measure.RESPONSE)
    if whole.sessions is not None:
        measures = (*measures, Measure.SESSION)
    found: dict[str, Any] = {one.value: _quantiles(pool, one, quantiles, confidence) for one in measures}
    if whole.lost:
        found |= {
            one.with_losses: _quantiles(pool, one, quantiles, confidence, with_losses=True)
            for one in measures
        }
    return Performance(
        kind=kind,
        load=load,
        utilization=min(1.0, whole.busy_s / (simulated * whole.window_s)),
        throughput_rps=times * whole.counted / whole.window_s,
        output_tokens_per_s=times * whole.output_tokens / whole.window_s,
        ttft_mean_s=whole.waits.total_s / whole.counted,
        tpot_mean_s=whole.tpot.total_s / whole.tpot.count if whole.tpot.count else None,
        itl_mean_s=whole.itl.total_s / gaps if gaps else None,
        response_mean_s=whole.responses.total_s / whole.counted,
        goodput=1.0 - whole.missed / offered if has_limits else None,
        preemption_rate=whole.preemptions / whole.counted,
        kv_utilization=whole.block_s / whole.busy_s if whole.busy_s else 0.0,
        running_mean=times * whole.running_s / whole.window_s,
        queue_length_mean=times * max(0.0, (whole.engine_s - whole.running_s) / whole.window_s),
        in_system_mean=times * whole.responses.total_s / whole.window_s,
        loss_probability=whole.lost / offered if may_lose else None,
        **found,
        **({} if whole.sessions is None else _of_sessions(pool, whole.sessions, times, confidence)),
        intervals={}
        if len(pool.sections) == 1
        else _of_means(pool, confidence, has_limits=has_limits, may_lose=may_lose),
    )


def _of_sessions(pool: Pool, totals: SessionTotals, times: float, confidence: float) -> dict[str, Any]:
    """What is said of sessions alone.

    Args:
        times: replicas for each that was simulated.
    """
    window_s, hits, prompts = pool.whole.window_s, totals.hit_tokens, totals.prompt_tokens
    seen = int(np.flatnonzero(prompts)[-1]) + 1
    is_one = len(pool.sections) == 1
    share = (
        Interval.exact(totals.hit_share)
        if is_one
        else pool.ratio(_hit_tokens, _prompt_tokens).interval(confidence)
    )
    return {
        "hit_share": Share.of(share),
        "hit_share_by_turn": tuple((hits[:seen] / np.maximum(prompts[:seen], 1.0)).tolist()),
        "cached_tokens_per_s": times * float(hits.sum()) / window_s,
        "sessions_live_mean": times * totals.live_s / window_s,
        "sessions_cut": totals.cut / max(1.0, totals.sessions),
        "session_response_mean_s": totals.responses.total_s / max(1, totals.responses.count),
    }


def _hit_tokens(sample: Sample) -> float:
    return float(sessions_of(sample).hit_tokens.sum())


def _prompt_tokens(sample: Sample) -> float:
    return float(sessions_of(sample).prompt_tokens.sum())


def _quantiles(
    pool: Pool,
    measure: Measure,
    quantiles: Sequence[float],
    confidence: float,
    *,
    with_losses: bool = False,
) -> dict[float, Interval]:
    """Quantiles of a duration of engines, of served requests or of all; empty if no request has it."""
    tally: Callable[[Sample], Tally] = partial(with_lost, measure) if with_losses else served(measure)
    if not pool.whole.durations(measure).count:
        return {}
    if len(pool.sections) == 1:
        return {q: Interval.exact(tally(pool.whole).quantile_s(q)) for q in quantiles}
    return {q: pool.quantile(q, tally).interval(confidence) for q in quantiles}


def _of_means(pool: Pool, confidence: float, *, has_limits: bool, may_lose: bool) -> Mapping[str, Interval]:
    """Intervals of means, by field name, and of the shares of requests beyond a limit, and lost."""
    means = {measure: pool.mean(measure) for measure in _MEANS}
    found = {
        measure.value: estimate.interval(confidence)
        for measure, estimate in means.items()
        if estimate.value > 0.0
    }
    shares = {"missed_share": pool.missed_interval(confidence)} if has_limits else {}
    return found | shares | ({"loss_probability": pool.loss_interval(confidence)} if may_lose else {})
