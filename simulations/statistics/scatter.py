"""Scatter: intervals from the differences between independent runs."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from capacity.confidence import student_t
from capacity.performance import Interval
from simulations.draws.records import Floats
from simulations.statistics.tally import Tally


def pooled_quantiles(
    runs: Sequence[Floats], quantiles: Sequence[float], confidence: float, overhead_s: float = 0.0
) -> dict[float, Interval]:
    """Quantiles of the pooled requests, with ends by the scatter of the runs. [s]

    Args:
        runs: response times of each run, in any order; lost requests are infinite.
        overhead_s: time added to all of them.

    Source:
        Woodruff (1952), JASA 47(260), 635-646: an interval of the share beyond, read off as durations.
    """
    pooled = np.sort(np.concatenate(runs))
    shares = [lambda value_s, one=one: float((one > value_s).mean()) for one in runs]
    return _quantiles(lambda q: _at(pooled, q), shares, quantiles, confidence, overhead_s)


def tallied_quantiles(
    runs: Sequence[tuple[Tally, int]], quantiles: Sequence[float], confidence: float, overhead_s: float = 0.0
) -> dict[float, Interval]:
    """Quantiles of the pooled requests of runs that were tallied. [s]

    Args:
        runs: response times of each run, and its number of lost requests.
    """
    whole = Tally.merged([served for served, _ in runs])
    pooled = whole.with_lost(sum(lost for _, lost in runs))
    alike = [(served if whole.is_exact else served.in_cells()).with_lost(lost) for served, lost in runs]
    return _quantiles(
        pooled.quantile_s, [one.share_above for one in alike], quantiles, confidence, overhead_s
    )


def _quantiles(
    at: Callable[[float], float],
    shares_above: Sequence[Callable[[float], float]],
    quantiles: Sequence[float],
    confidence: float,
    overhead_s: float,
) -> dict[float, Interval]:
    """Quantiles of all requests, with their ends by the scatter of each run's share beyond them. [s]"""
    found: dict[float, Interval] = {}
    for quantile in quantiles:
        value_s = at(quantile)
        half = _half_width([share(value_s) for share in shares_above], confidence)
        low_s, high_s = at(max(0.0, quantile - half)), at(min(1.0, quantile + half))
        found[quantile] = Interval(
            value=value_s + overhead_s, low=low_s + overhead_s, high=high_s + overhead_s
        )
    return found


def mean_of_runs(values: Sequence[float], confidence: float) -> Interval:
    """Mean of a nonnegative value, one from each run, with its interval.

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
