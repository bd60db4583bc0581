"""Profile error: how far the sampling error of the profile may have shifted a prediction."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from capacity.confidence import student_t
from capacity.performance import Interval
from capacity.profile.profile import ServiceProfile
from capacity.profile.sampling import has_samples, known_samples, resampled
from capacity.traffic.workload import RenewalArrivals, Workload
from simulations.case import Case
from simulations.draws.arrivals import Purpose, Seed, Stage
from simulations.draws.records import Floats
from simulations.draws.service import ProfileTimes
from simulations.replication import Task, replicate_alike
from simulations.statistics.intervals import resamples_for
from simulations.statistics.pool import Pair, ProfileError, merged
from simulations.statistics.sample import Length, Sample
from simulations.workers import Mapper

# Runs under the measured profile, in pairs, shared by the resampled profiles.
_RUNS = 8
# Resampled profiles in the first step, an even number for each of the runs as measured.
_FEW = 8
# Warm-ups, of ten relaxation times each, that each of these runs measures, and requests beyond which it would take
# too long.
_WARM_UPS, _MEASURED_ENOUGH = 60, 80_000
# Profiles whose resamples are cached, some 30 MB each.
_KEPT = 2


def sampling_intervals(
    profiles: Sequence[ServiceProfile],
    statistics: Callable[..., Sequence[float]],
    *,
    confidence: float = 0.95,
    resamples: int = 400,
    seed: int = 1,
) -> list[Interval]:
    """Statistics of some profiles, with the intervals that their own samples give.

    The intervals cover the error of the samples of these runs, not the difference to another machine. If no profile
    has samples, they have no width.

    Args:
        statistics: function of the profiles that returns values, always as many.

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
    case: Case,
    length: Length,
    confidence: float,
    seed: Seed,
    mapper: Mapper,
    is_enough: Callable[[ProfileError], bool] | None = None,
) -> ProfileError | None:
    """The error of the profile's samples for a case; None if it has none.

    The same requests are simulated under the measured profile and under resampled ones: as many as the percentiles of
    an interval take, or only a few if those are enough for the caller.

    Args:
        length: length of each run.
        confidence: confidence of the requested intervals.
        is_enough: whether a few resampled profiles settle the question.
    """
    profile = case.scenario.profile
    if not has_samples(profile):
        return None
    times = _resampled_times(profile, replace(seed, stage=Stage.CERTIFY), resamples_for(confidence))
    half = _half(case, length)
    own = case.tasks(half, seed, range(_RUNS))
    found = _run([[one, *moved] for one, moved in zip(own, _moved(own, times[:_FEW]), strict=True)], mapper)
    measured = [samples[0] for samples in found]
    few = ProfileError(
        halves=_halves(measured, [samples[1:] for samples in found]),
        wanted=len(times),
        known=known_samples(profile, case.scenario.plan.batch_size_max),
        run_requests=half.requests,
    )
    if is_enough is not None and is_enough(few):
        return few
    return replace(few, halves=few.halves + _halves(measured, _run(_moved(own, times[_FEW:]), mapper)))


def _half(case: Case, length: Length) -> Length:
    """Length of one of the two runs under each profile: half of a run of the case, or longer if its queue is busy.

    In short runs of a busy queue the few bursts say more about themselves than about the profile. A path, a spike,
    and bursts in cycles keep their length.
    """
    workload, least = case.scenario.workload, -(-length.measured // 2)
    if isinstance(workload, Workload) and not isinstance(workload.arrivals, RenewalArrivals):
        return length
    return replace(length, measured=max(least, min(_WARM_UPS * length.warm_up, _MEASURED_ENOUGH)))


def _moved(own: Sequence[Task], times: Sequence[ProfileTimes]) -> list[list[Task]]:
    """Two runs under each of some profiles, in turn with the requests of each run as measured: a list for each."""
    marked = [replace(own[0], service_times=each, marks_s=()).with_marks() for each in times]
    twice = [one for one in marked for _ in range(2)]
    return [
        [
            replace(run, service_times=one.service_times, marks_s=one.marks_s)
            for one in twice[place :: len(own)]
        ]
        for place, run in enumerate(own)
    ]


def _run(alike: Sequence[Sequence[Task]], mapper: Mapper) -> list[list[Sample]]:
    """The samples of lists of runs, those of a list with the same requests."""
    return [[merged([sample]) for sample in samples] for samples in mapper(replicate_alike, alike)]


def _halves(measured: Sequence[Sample], moved: Sequence[Sequence[Sample]]) -> tuple[tuple[Pair, Pair], ...]:
    """Two runs under each profile, each paired with the measured run that has its requests."""
    count, runs = sum(map(len, moved)), len(measured)
    pairs = [(measured[number % runs], moved[number % runs][number // runs]) for number in range(count)]
    return tuple(zip(pairs[::2], pairs[1::2], strict=True))


@lru_cache(maxsize=_KEPT)
def _resampled_times(profile: ServiceProfile, seed: Seed, count: int) -> tuple[ProfileTimes, ...]:
    """Service times under resampled profiles, the same for every case and stage of a command.

    Two candidates then differ by themselves, not by the draw.
    """
    generator = seed.generator(Purpose.PROFILE)
    return tuple(ProfileTimes(resampled(profile, generator)) for _ in range(count))


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


def scatter(values: Floats, confidence: float) -> float:
    """Half-width from the scatter of values under resampled profiles."""
    return student_t(confidence, len(values) - 1) * float(np.std(values, ddof=1))


def apart(interval: Interval, extra: float) -> Interval:
    """The interval with an independent error added in quadrature."""
    if extra == 0.0:
        return interval
    down = math.hypot(interval.value - interval.low, extra)
    return Interval(
        value=interval.value,
        low=interval.value - down,
        high=interval.value + math.hypot(interval.high - interval.value, extra),
    )
