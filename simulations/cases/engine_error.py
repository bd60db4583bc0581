"""Engine error: intervals of a fleet of engines, widened by the error of the measured steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from capacity.performance import Interval, Performance, Share
from capacity.question.objective import Measure
from simulations.statistics.pool import Pool
from simulations.statistics.profile_error import apart, scatter, widened
from simulations.statistics.tokens import sessions_of

_DURATIONS = {one.value for one in Measure if one.is_duration}


def widened_by(pools: Sequence[Pool], performance: Performance, confidence: float) -> Performance:
    """The performance with intervals widened by the scatter of pools under resampled profiles, if there are any.


    Source:
        Barton & Schruben (2001), Resampling methods for input modeling, Proc. Winter Simulation Conf.
    """
    if not pools:
        return performance

    def extra(value: Callable[[Pool], float]) -> float:
        values = np.array([value(pool) for pool in pools])
        return scatter(np.log(np.maximum(values, 1e-12)), confidence)

    def wider(measure: Measure) -> dict[float, Interval]:
        known: dict[float, Interval] = getattr(performance, measure.value)
        moved = {q: partial(_quantile_of, measure, q) for q in known}
        return {q: widened(interval, extra(moved[q])) for q, interval in known.items()}

    means = {
        name: widened(interval, extra(partial(_mean_of, Measure(name)))) if name in _DURATIONS else interval
        for name, interval in performance.intervals.items()
    }
    return replace(
        performance,
        ttft_quantiles_s=wider(Measure.TTFT),
        tpot_quantiles_s=wider(Measure.TPOT),
        itl_quantiles_s=wider(Measure.ITL),
        response_quantiles_s=wider(Measure.RESPONSE),
        session_response_quantiles_s=wider(Measure.SESSION),
        intervals=means,
        hit_share=_wider_share(performance.hit_share, pools, confidence),
    )


def _wider_share(share: Share | None, pools: Sequence[Pool], confidence: float) -> Share | None:
    """The share of prompts that is found, widened."""
    if share is None:
        return None
    shares = np.array([sessions_of(pool.whole).hit_share for pool in pools])
    return Share.of(apart(share.interval, scatter(shares, confidence)))


def _quantile_of(measure: Measure, quantile: float, pool: Pool) -> float:
    """The quantile of a pool. [s]"""
    return pool.quantile_s(measure, quantile)


def _mean_of(measure: Measure, pool: Pool) -> float:
    """The mean of a pool. [s]"""
    return pool.mean_s(measure)
