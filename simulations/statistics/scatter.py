"""Scatter: intervals from how much independent runs differ."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.confidence import student_t
from capacity.performance import Interval
from simulations.draws.records import Floats


def pooled_quantiles(
    runs: Sequence[Floats], quantiles: Sequence[float], confidence: float, overhead_s: float = 0.0
) -> dict[float, Interval]:
    """Quantiles of the pooled requests, with ends at the quantiles that the scatter of the runs allows. [s]

    Args:
        runs: response times of each, in any order; lost requests are infinite.
        overhead_s: is added to all of them.

    Source:
        Woodruff (1952), JASA 47(260), 635-646: an interval of the share beyond, read off as durations.
    """
    pooled = np.sort(np.concatenate(runs))
    found: dict[float, Interval] = {}
    for quantile in quantiles:
        value_s = _at(pooled, quantile)
        shares = [float((one > value_s).mean()) for one in runs]
        half = _half_width(shares, confidence)
        low_s, high_s = _at(pooled, max(0.0, quantile - half)), _at(pooled, min(1.0, quantile + half))
        found[quantile] = Interval(
            value=value_s + overhead_s, low=low_s + overhead_s, high=high_s + overhead_s
        )
    return found


def mean_of_runs(values: Sequence[float], confidence: float) -> Interval:
    """Mean of what cannot be negative, one value a run, with its interval.

    >>> mean_of_runs([1.0, 3.0], 0.5).high
    3.0
    """
    mean, half = math.fsum(values) / len(values), _half_width(values, confidence)
    return Interval(value=mean, low=max(0.0, mean - half), high=mean + half)


def _half_width(values: Sequence[float], confidence: float) -> float:
    deviation = float(np.std(values, ddof=1))
    return student_t(confidence, len(values) - 1) * deviation / math.sqrt(len(values))


def _at(ordered: Floats, quantile: float) -> float:
    return float(ordered[min(len(ordered) - 1, max(0, math.ceil(quantile * len(ordered)) - 1))])
