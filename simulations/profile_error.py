"""Profile error: how far the profile's own few samples may have moved what is predicted."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from capacity.performance import Interval
from capacity.profile import ServiceProfile
from simulations.arrivals import Purpose, Seed
from simulations.case import Case, run_length, tasks
from simulations.parallel import Mapper
from simulations.pool import student_t
from simulations.records import Floats
from simulations.replication import replicate
from simulations.sample import Length, Sample

Key = TypeVar("Key")
RESAMPLES = 20
# Blocks in which samples are drawn that came in spells: so many spells long, and so many of them at least.
_SPELLS_PER_BLOCK, _BLOCKS_MIN = 4.0, 10
_REPLICATIONS = 2  # for each resampled profile


def has_samples(profile: ServiceProfile) -> bool:
    """Whether any batch size was given by raw samples, so that the error can be known."""
    return any(timing.samples_s for timing in profile.timings)


def resampled(profile: ServiceProfile, generator: np.random.Generator) -> ServiceProfile:
    """The profile that other samples of the same size might have given (bootstrap).

    Samples that came in spells are drawn in blocks of neighbours, several spells long: as if each told as
    much as one by itself, their error would come out several times too small (Kuensch 1989, Ann. Stat. 17).
    """
    block = _block(profile)
    timings = tuple(
        replace(timing, samples_s=_resampled_samples(timing.samples_s, block, generator))
        if timing.samples_s
        else timing
        for timing in profile.timings
    )
    return replace(profile, timings=timings)


def sampling_intervals(
    profiles: Sequence[ServiceProfile],
    statistics: Callable[..., Sequence[float]],
    *,
    confidence: float = 0.95,
    resamples: int = 400,
    seed: int = 1,
) -> list[Interval]:
    """Statistics of some profiles with the intervals that their own samples give them.

    They say how far the samples of these very runs may be off, not what another machine would do. Where
    no profile has samples the intervals have no width.

    Args:
        statistics: takes as many profiles and answers with numbers, as many each time.

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


def _block(profile: ServiceProfile) -> int:
    """Rounds of all batch sizes, one after another, in which spells are over."""
    if profile.spells is None:
        return 1
    round_s = math.fsum(profile.service_mean_s(size) for size in profile.batch_sizes)
    return math.ceil(_SPELLS_PER_BLOCK * profile.spells.lasting_s / round_s)


def _resampled_samples(
    samples_s: Sequence[float], block: int, generator: np.random.Generator
) -> tuple[float, ...]:
    """As many samples, in blocks that begin anywhere and go on at the beginning where the samples end."""
    count = len(samples_s)
    block = min(block, max(1, count // _BLOCKS_MIN))
    if block == 1:
        return tuple(generator.choice(samples_s, count).tolist())
    starts = generator.integers(count, size=-(-count // block))
    places = (starts[:, np.newaxis] + np.arange(block)).ravel()[:count] % count
    return tuple(np.asarray(samples_s)[places].tolist())


def profile_half_widths(
    case: Case, quantiles: Sequence[float], confidence: float, seed: Seed, mapper: Mapper
) -> dict[float, float]:
    """Half-width of the logarithm of each response quantile from the profile's sampling error alone."""
    statistics = {q: partial(response_quantile_s, q) for q in quantiles}
    return half_widths(case, run_length(case), statistics, confidence, seed, mapper)


def half_widths(
    case: Case,
    length: Length,
    statistics: Mapping[Key, Callable[[Sample], float]],
    confidence: float,
    seed: Seed,
    mapper: Mapper,
) -> dict[Key, float]:
    """Half-width of the logarithm of each positive statistic from the profile's sampling error alone.

    The same requests are simulated under resampled profiles; what their statistics scatter by is the
    profile's share (and a rest of simulation noise, which errs on the wide side). Logarithms, since
    near saturation an error upwards costs far more than one downwards saves.

    Source:
        Barton & Schruben (2001), Resampling methods for input modeling, Proc. Winter Simulation Conf.
    """
    if not has_samples(case.profile):
        return dict.fromkeys(statistics, 0.0)
    moved = _resampled(case, length, statistics, seed, mapper)
    factor = student_t(confidence, RESAMPLES - 1)
    return {key: factor * float(np.std(np.log(values), ddof=1)) for key, values in moved.items()}


def resampled_quantiles_s(
    case: Case, quantiles: Sequence[float], seed: Seed, mapper: Mapper
) -> dict[float, Floats]:
    """Response quantiles under resampled profiles, shape `(RESAMPLES,)`; of one profile the same ones. [s]"""
    statistics = {q: partial(response_quantile_s, q) for q in quantiles}
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
    cases = [replace(case, profile=resampled(case.profile, generator)) for _ in range(RESAMPLES)]
    batch = [task for other in cases for task in tasks(other, length, seed, range(_REPLICATIONS))]
    samples = list(mapper(replicate, batch))
    groups = [
        Sample.merged(samples[first : first + _REPLICATIONS])
        for first in range(0, len(samples), _REPLICATIONS)
    ]
    return {key: np.array([statistic(group) for group in groups]) for key, statistic in statistics.items()}


def response_quantile_s(quantile: float, sample: Sample) -> float:
    """A quantile of what is resampled. [s]"""
    return sample.responses.quantile_s(quantile)


def widened(interval: Interval, half_width: float) -> Interval:
    """The interval with an independent error of its logarithm added in quadrature."""
    if half_width == 0.0 or interval.value == 0.0:
        return interval
    up = math.hypot(math.log(interval.high / interval.value), half_width)
    down = (
        math.inf if interval.low == 0.0 else math.hypot(math.log(interval.value / interval.low), half_width)
    )
    return Interval(
        value=interval.value, low=interval.value * math.exp(-down), high=interval.value * math.exp(up)
    )
