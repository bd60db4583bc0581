"""Profile error: how far the sampling error of the profile may have moved a prediction."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.sampling import has_samples, resampled
from capacity.traffic.workload import RenewalArrivals, Workload
from simulations.case import Case, tasks
from simulations.draws.arrivals import Purpose, Seed
from simulations.replication import Task, replicate
from simulations.statistics.intervals import resamples_for
from simulations.statistics.pool import ProfileError, merged
from simulations.statistics.sample import Length
from simulations.workers import Mapper

# Runs under the profile as it was measured, two by two, shared by the resampled ones.
_RUNS = 8
# Warm-ups, of ten relaxation times each, that each of these runs measures, and requests beyond which it would take
# too long.
_WARM_UPS, _MEASURED_ENOUGH = 60, 80_000


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


def profile_error(
    case: Case, length: Length, confidence: float, seed: Seed, mapper: Mapper
) -> ProfileError | None:
    """What the samples of the profile leave open of a case; None if it has none.

    The same requests are simulated under the profile as it is and under a resampled one. As many of these are
    drawn as the percentiles of an interval take.

    Args:
        length: of each run.
        confidence: of the intervals that are asked for.
    """
    profile = case.scenario.profile
    if not has_samples(profile):
        return None
    generator = seed.generator(Purpose.PROFILE)
    profiles = [resampled(profile, generator) for _ in range(resamples_for(confidence))]
    half = _half(case, length)
    own = tasks(case, half, seed, range(_RUNS))
    numbers = [number % _RUNS for number in range(2 * len(profiles))]
    under = [each for each in profiles for _ in range(2)]
    moved = [_under(each, case, half, own[number]) for each, number in zip(under, numbers, strict=True)]
    samples = [merged([sample]) for sample in mapper(replicate, [*own, *moved])]
    pairs = [(samples[number], after) for number, after in zip(numbers, samples[_RUNS:], strict=True)]
    used = _in_use(case)
    plan = case.scenario.plan
    return ProfileError(
        halves=tuple(zip(pairs[::2], pairs[1::2], strict=True)),
        samples=min((len(one.samples_s) for one in used if one.samples_s), default=math.inf),
        longest_s=max(profile.law(one.batch_size).durations_s[-1] for one in used)
        + profile.request_overhead_s
        + (plan.batch_wait_max_s if plan.batch_size_max > 1 else 0.0),
    )


def _half(case: Case, length: Length) -> Length:
    """One of the two runs under each profile: half of a run of the case, or longer where its queue is busy.

    In short runs of a busy queue the few bursts that there are say more of themselves than of the profile. A path,
    a spike, and bursts in cycles are as long as they are.
    """
    workload, least = case.scenario.workload, -(-length.measured // 2)
    if isinstance(workload, Workload) and not isinstance(workload.arrivals, RenewalArrivals):
        return length
    return replace(length, measured=max(least, min(_WARM_UPS * length.warm_up, _MEASURED_ENOUGH)))


def _under(profile: ServiceProfile, case: Case, length: Length, measured: Task) -> Task:
    """The run of the same requests under another profile: of the same bursts, which are cut alike."""
    other = replace(case, scenario=replace(case.scenario, profile=profile))
    number = measured.seed.replication
    (task,) = tasks(other, length, measured.seed, range(number, number + 1))
    return replace(task, workload=measured.workload, strata=measured.strata)


def _in_use(case: Case) -> list[BatchTiming]:
    """Batch sizes that were measured and that batches of a plan take, or lie next to."""
    size_max = case.scenario.plan.batch_size_max
    timings = case.scenario.profile.timings
    return [one for one in timings if one.batch_size < 2 * size_max] or [timings[0]]


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
