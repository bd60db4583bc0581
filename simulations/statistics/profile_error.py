"""Profile error: how far the sampling error of the profile may have moved a prediction."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from capacity.confidence import student_t
from capacity.performance import Interval, Performance, Quantiles
from capacity.profile.profile import ServiceProfile
from capacity.profile.sampling import has_samples, resampled
from simulations.case import Case, run_length, tasks
from simulations.draws.arrivals import Purpose, Seed
from simulations.draws.records import Floats
from simulations.replication import replicate
from simulations.statistics.pool import merged
from simulations.statistics.sample import Length, Sample
from simulations.workers import Mapper

Key = TypeVar("Key")
RESAMPLES = 20
_REPLICATIONS = 2  # for each resampled profile


def sampling_intervals(
    profiles: Sequence[ServiceProfile],
    statistics: Callable[..., Sequence[float]],
    *,
    confidence: float = 0.95,
    resamples: int = 400,
    seed: int = 1,
) -> list[Interval]:
    """Statistics of some profiles with the intervals that their own samples give them.

    They say how far the samples of these runs may be off, not what another machine would do. If
    no profile has samples, the intervals have no width.

    Args:
        statistics: takes as many profiles and returns the same number of values each time.

    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 (percentile intervals).
    """
    values = statistics(*profiles)
    generator = np.random.default_rng(seed)
    drawn = [statistics(*(resampled(one, generator) for one in profiles)) for _ in range(resamples)]
    tail = (1.0 - confidence) / 2.0
    lows, highs = np.quantile(np.asarray(drawn, dtype=float), (tail, 1.0 - tail), axis=0)
    return [
        Interval(value=value, low=min(float(low), value), high=max(float(high), value))
        for value, low, high in zip(values, lows, highs, strict=True)
    ]


def with_profile_error(
    performance: Performance,
    case: Case,
    length: Length,
    confidence: float,
    seed: Seed,
    mapper: Mapper,
) -> Performance:
    """The performance with the profile's own sampling error in its intervals, except those of waits and loss.

    Args:
        case: what was simulated, in runs of this length.
    """
    statistics: dict[str | tuple[str, float], Callable[[Sample], float]] = {
        (name, q): partial(statistic, q)
        for name, statistic in _QUANTILES_MOVED.items()
        for q in getattr(performance, name)
    }
    statistics.update((name, statistic) for name, statistic in _MOVED_BY_PROFILE.items())
    extra = half_widths(case, length, statistics, confidence, seed, mapper)
    performance = with_widened_quantiles(performance, extra)
    others = {
        name: widened(interval, extra[name]) if name in extra else interval
        for name, interval in performance.intervals.items()
    }
    return replace(performance, intervals=others)


def with_widened_quantiles(performance: Performance, extra: Mapping[Any, float]) -> Performance:
    """The performance with half-widths of logarithms, by field and quantile, added to those of responses."""

    def wider(name: str) -> Quantiles:
        known: Quantiles = getattr(performance, name)
        return {q: widened(found, extra.get((name, q), 0.0)) for q, found in known.items()}

    return replace(
        performance,
        response_quantiles_s=wider("response_quantiles_s"),
        response_quantiles_with_losses_s=wider("response_quantiles_with_losses_s"),
    )


def half_widths(
    case: Case,
    length: Length,
    statistics: Mapping[Key, Callable[[Sample], float]],
    confidence: float,
    seed: Seed,
    mapper: Mapper,
) -> dict[Key, float]:
    """Half-width of the logarithm of each positive statistic from the profile's sampling error alone.

    The same requests are simulated under resampled profiles; the scatter of their statistics is the
    profile's share of the error (and some simulation noise, which errs on the wide side). Logarithms, since
    near saturation an error upwards costs far more than one downwards saves.

    Source:
        Barton & Schruben (2001), Resampling methods for input modeling, Proc. Winter Simulation Conf.
    """
    if not has_samples(case.scenario.profile):
        return dict.fromkeys(statistics, 0.0)
    moved = _resampled(case, length, statistics, seed, mapper)
    return {key: half_width(values, confidence) for key, values in moved.items()}


def half_width(values: Floats, confidence: float) -> float:
    """Half-width of the logarithm; infinite where only some resamples put a quantile among the lost."""
    is_finite = np.isfinite(values)
    if not is_finite.all():
        return math.inf if is_finite.any() else 0.0
    return student_t(confidence, len(values) - 1) * float(np.std(np.log(values), ddof=1))


def resampled_quantiles_s(
    case: Case, quantiles: Sequence[float], seed: Seed, mapper: Mapper
) -> dict[tuple[str, float], Floats]:
    """Response quantiles under resampled profiles, shape `(RESAMPLES,)`; of one profile the same ones. [s]

    By the field of a performance, and the quantile.
    """
    statistics = {
        (name, q): partial(statistic, q) for name, statistic in _QUANTILES_MOVED.items() for q in quantiles
    }
    return _resampled(case, run_length(case), statistics, seed, mapper)


def _resampled(
    case: Case,
    length: Length,
    statistics: Mapping[Key, Callable[[Sample], float]],
    seed: Seed,
    mapper: Mapper,
) -> dict[Key, Floats]:
    """Statistics of the same requests under resampled profiles, shape `(RESAMPLES,)` each."""
    generator = seed.generator(Purpose.PROFILE)
    cases = [
        replace(case, scenario=replace(case.scenario, profile=resampled(case.scenario.profile, generator)))
        for _ in range(RESAMPLES)
    ]
    own = tasks(case, length, seed, range(_REPLICATIONS))  # the same bursts, cut alike
    batch = [
        replace(task, workload=one.workload, strata=one.strata)
        for other in cases
        for task, one in zip(tasks(other, length, seed, range(_REPLICATIONS)), own, strict=True)
    ]
    samples = list(mapper(replicate, batch))
    groups = [
        merged(samples[first : first + _REPLICATIONS]) for first in range(0, len(samples), _REPLICATIONS)
    ]
    return {key: np.array([statistic(group) for group in groups]) for key, statistic in statistics.items()}


def response_quantile_s(quantile: float, sample: Sample) -> float:
    """A quantile of what is resampled. [s]"""
    return sample.responses.quantile_s(quantile)


def response_quantile_with_losses_s(quantile: float, sample: Sample) -> float:
    """The same, counting a lost request as infinitely late. [s]"""
    return sample.responses.with_lost(sample.lost).quantile_s(quantile)


_QUANTILES_MOVED: dict[str, Callable[[float, Sample], float]] = {
    "response_quantiles_s": response_quantile_s,
    "response_quantiles_with_losses_s": response_quantile_with_losses_s,
}
# What has no quantile and is never 0, by its name in a performance.
_MOVED_BY_PROFILE: dict[str, Callable[[Sample], float]] = {
    "response_mean_s": lambda sample: sample.responses.total_s / sample.counted,
    "utilization": lambda sample: sample.busy_s / sample.window_s,
}


def widened(interval: Interval, extra: float) -> Interval:
    """The interval with an independent error of its logarithm added in quadrature."""
    value, low, high = interval.value, interval.low, interval.high
    if extra == 0.0 or value == 0.0:
        return interval
    if math.isinf(extra):
        return Interval(value=value, low=0.0, high=math.inf)
    if math.isinf(value):  # if it lies among the lost in every resample, its lower end has no middle
        return Interval(value=value, low=low * math.exp(-extra), high=high)
    up = math.hypot(math.log(high / value), extra)
    down = math.inf if low == 0.0 else math.hypot(math.log(value / low), extra)
    return Interval(value=value, low=value * math.exp(-down), high=value * math.exp(up))
