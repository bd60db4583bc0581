"""Batch caveats: what the profile of replicas that batch leaves open, each with what would settle it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from capacity.performance import Width
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.sampling import has_samples
from capacity.question.autoscaler import Autoscaler
from capacity.question.candidate import Candidate, Doubt
from capacity.question.caveat import BATCHES_MAX, Caveat, CaveatCode, controller_caveats, precision_caveat
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.units import SECONDS_PER_UNIT, format_count, format_duration, format_percent, format_quantile

# A batch is seldom faster than the first; one slower than the second is hardly worth waiting for.
_FAST_S, _SLOW_S = 50e-6, 60.0
# The unit that would make such a figure usual: the next larger for a fast batch, the smaller for a slow one.
_LARGER_UNIT, _SMALLER_UNIT = {"ms": "s"}, {"s": "ms", "ms": "us"}
# A larger batch is faster if its mean is lower by this many standard errors, and by at least this share: for
# samples the usual precision of an answer, for summaries, whose errors are unknown, a few per cent.
_ERRORS, _SHARE, _SUMMARY_SHARE = 4.0, 0.02, 0.05
_SAMPLES_MIN = 20  # fewer do not show their own scatter
_ALIKE_MAX = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDoubt:
    """A column whose times are unusual, and would be usual in another unit.

    Attributes:
        column: as it is in the file; `renamed` as it would be in the other unit.
        batch_size: the size whose mean is unusual.
        value: that mean as it is in the file, in the unit of `column`.
        read_s, meant_s: that mean as it was read, and in the other unit. [s]
        limit_s: the limit that it exceeds. [s]
    """

    column: str
    renamed: str
    batch_size: int
    value: float
    read_s: float
    meant_s: float
    limit_s: float

    @property
    def unit(self) -> str:
        """The unit in the column's name."""
        return self.column.rpartition("_")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dip:
    """A batch that took less time in all than the next smaller one that was measured. [s]"""

    smaller: int
    larger: int
    smaller_mean_s: float
    larger_mean_s: float

    @property
    def share(self) -> float:
        """How much faster the larger batch was."""
        return 1.0 - self.larger_mean_s / self.smaller_mean_s


def unit_doubt(profile: ServiceProfile) -> UnitDoubt | None:
    """Whether the times of a file look as if they were in a different unit from what their column says."""
    if profile.timings_column is None:
        return None
    fastest, slowest = (pick(profile.timings, key=_mean_s) for pick in (min, max))
    unit = profile.timings_column.rpartition("_")[2]
    if _mean_s(fastest) < _FAST_S and unit in _LARGER_UNIT:
        return _doubt(profile.timings_column, fastest, _FAST_S, _LARGER_UNIT[unit])
    if _mean_s(slowest) > _SLOW_S and unit in _SMALLER_UNIT:
        return _doubt(profile.timings_column, slowest, _SLOW_S, _SMALLER_UNIT[unit])
    return None


def _doubt(column: str, timing: BatchTiming, limit_s: float, other: str) -> UnitDoubt:
    name, _, unit = column.rpartition("_")
    value = _mean_s(timing) / float(SECONDS_PER_UNIT[unit])
    return UnitDoubt(
        column=column,
        renamed=f"{name}_{other}",
        batch_size=timing.batch_size,
        value=value,
        read_s=_mean_s(timing),
        meant_s=value * float(SECONDS_PER_UNIT[other]),
        limit_s=limit_s,
    )


def dips(profile: ServiceProfile) -> Iterator[Dip]:
    """Batches that were faster than the next smaller ones, by more than chance explains.

    Means of samples are compared by their standard errors (Welch 1947, Biometrika 34); if there are too few
    samples to know the error, they are skipped.
    """
    for smaller, larger in pairwise(profile.timings):
        dip = Dip(
            smaller=smaller.batch_size,
            larger=larger.batch_size,
            smaller_mean_s=_mean_s(smaller),
            larger_mean_s=_mean_s(larger),
        )
        if _is_of_note(dip, smaller, larger):
            yield dip


def _is_of_note(dip: Dip, *timings: BatchTiming) -> bool:
    samples = [timing.samples_s for timing in timings if timing.samples_s]
    if dip.share <= (_SHARE if len(samples) == len(timings) else _SUMMARY_SHARE):
        return False
    if any(len(one) < _SAMPLES_MIN for one in samples):
        return False
    error_s = math.hypot(*(_standard_error_s(one) for one in samples))
    return dip.smaller_mean_s - dip.larger_mean_s > _ERRORS * error_s


def _mean_s(timing: BatchTiming) -> float:
    return fmean(timing.samples_s) if timing.mean_s is None else timing.mean_s


def _standard_error_s(samples_s: Sequence[float]) -> float:
    """Standard error of a mean of ordered samples, wider where neighbours are alike, as in slow spells. [s]

    By sqrt((1 + r)/(1 - r)) for a correlation r > 0 of neighbours (Box, Jenkins & Reinsel 1994, Time Series
    Analysis, sec. 2.1.6); the sample's r is low by (1 + 3r)/n (Marriott & Pope 1954, Biometrika 41).
    """
    count, mean_s = len(samples_s), fmean(samples_s)
    apart_s = [sample_s - mean_s for sample_s in samples_s]
    squares = math.fsum(one * one for one in apart_s)
    if squares == 0.0:
        return 0.0
    alike = math.fsum(one * other for one, other in pairwise(apart_s)) / squares
    alike = min(max(0.0, (alike + 1.0 / count) / (1.0 - 3.0 / count)), _ALIKE_MAX)
    return math.sqrt(squares / (count - 1) / count * (1.0 + alike) / (1.0 - alike))


# Samples beyond a quantile below which its place in a profile is mostly chance.
SAMPLES_BEYOND_MIN = 10
# The percentiles that a summary can have, rising.
_PERCENTILES = (0.5, 0.9, 0.95, 0.99)


def profile_caveats(
    profile: ServiceProfile, batch_size_max: int, quantiles: Iterable[float]
) -> Iterator[Caveat]:
    """What the figures behind a plan with batches up to `batch_size_max` leave open."""
    used = [timing for timing in profile.timings if timing.batch_size < 2 * batch_size_max]
    quantile_max = max(quantiles)
    yield from plausibility_caveats([profile], quantile_max)
    summaries = [timing for timing in used if not timing.samples_s]
    if summaries:
        yield Caveat(
            code=CaveatCode.PROFILE_ERROR_UNKNOWN,
            message="intervals leave out the profile's own error; raw samples would include it",
        )
    yield from spread_caveats(summaries, quantile_max)
    yield from _sample_caveats(used, quantile_max)
    if "excludes" in profile.source and profile.request_overhead_s == 0.0:
        yield Caveat(
            code=CaveatCode.PROFILE_EXCLUDES,
            message=f"the profile leaves out {profile.source['excludes']}; add it with --request-overhead",
        )
    yield from device_caveats(profile)


def autoscale_caveats(
    profile: ServiceProfile, plan: BatchPlan, scaler: Autoscaler | None
) -> Iterator[Caveat]:
    """What the figures behind a fleet that follows its load leave open."""
    used = [timing for timing in profile.timings if timing.batch_size < 2 * plan.batch_size_max]
    yield from plausibility_caveats([profile], 0.99)
    yield from spread_caveats([timing for timing in used if not timing.samples_s], 0.99)
    yield from controller_caveats(plan, scaler)


def plausibility_caveats(profiles: Sequence[ServiceProfile], quantile_max: float) -> Iterator[Caveat]:
    """What in some whole profiles is more likely a mistake than a measurement, whatever they are used for."""
    for profile in profiles:
        yield from _mistakes(profile, quantile_max)
    alone = [profile.name for profile in profiles if profile.batch_sizes == (1,)]
    if alone:
        yield Caveat(
            code=CaveatCode.PROFILE_ONE_SIZE,
            message=f"{_named(alone)} measured with batches of 1 only, so batching was not "
            "considered; if the server can batch, measure larger batches too "
            "(capacity profile --batch-sizes 1,2,4,8)",
        )


def _named(names: list[str]) -> str:
    """Profiles by their names, or how many there are."""
    if len(names) == 1:
        return f"profile {names[0]} was"
    return f"{len(names)} profiles, {names[0]} to {names[-1]}, were"


def _mistakes(profile: ServiceProfile, quantile_max: float) -> Iterator[Caveat]:
    """What in the times of one profile is more likely a mistake than a measurement."""
    doubt = unit_doubt(profile)
    if doubt is not None:
        yield Caveat(code=CaveatCode.PROFILE_UNIT, message=_unit_message(profile, doubt))
    found = list(dips(profile))
    if found:
        yield Caveat(code=CaveatCode.PROFILE_LARGER_FASTER, message=_dips_message(profile, found))
    single = [timing.batch_size for timing in profile.timings if len(timing.samples_s) == 1]
    if single:
        yield Caveat(
            code=CaveatCode.PROFILE_ONE_SAMPLE, message=_single_message(profile, single, quantile_max)
        )


def samples_needed(quantile: float) -> int:
    """Samples of a batch size with enough of them beyond a quantile."""
    return round(SAMPLES_BEYOND_MIN / (1.0 - quantile))


def device_caveats(profile: ServiceProfile) -> Iterator[Caveat]:
    """What is assumed about instances that share a device."""
    instances = profile.instances_per_device
    if instances > 1 and (profile.contention is None or not profile.contention.is_measured):
        yield Caveat(
            code=CaveatCode.DEVICE_SHARED,
            message=f"{instances} replicas share a device; processor sharing is assumed (with m busy, each "
            "takes m times as long); measure the throughput of 1 to "
            f"{instances} busy instances, and add it to the profile's JSON as contention_throughputs_rps",
        )


def interval_caveats(profile: Any, width: Width, precision: float) -> Iterator[Caveat]:
    """Why an interval is wider than was asked for, if it is: the simulation, or the samples of the profile."""
    if width.found <= precision:
        return
    if width.simulated > precision or width.samples_times is None:
        yield precision_caveat()
        return
    missing = batches_missing(profile, width.samples_times)
    more = "more" if missing is None else f"about {format_count(missing)} more"
    yield Caveat(
        code=CaveatCode.PRECISION_MISSED,
        message=f"{_wide(width.found, precision)}; measure {more} batches of each size",
    )


def _wide(width: float, precision: float) -> str:
    """An interval that the samples of the profile make wider than was asked for, in words."""
    if math.isinf(width):
        return (
            "the interval has no upper end, since too few samples of the profile lie beyond it, and no simulation "
            "gives it one"
        )
    return (
        f"the interval is {100.0 * width:.2g} % wide to a side, and {100.0 * precision:.2g} % was asked; no "
        "simulation narrows it, since it comes from the few samples of the profile"
    )


def _unit_message(profile: ServiceProfile, doubt: UnitDoubt) -> str:
    value, side = float(f"{doubt.value:.3g}"), "less" if doubt.read_s < doubt.limit_s else "more"
    limit, meant = format_duration(doubt.limit_s), format_duration(doubt.meant_s)
    return (
        f"column {doubt.column} of profile {profile.name} gives batch size {doubt.batch_size} a mean of "
        f"{value:g} {doubt.unit}, {side} than {limit}, so its unit is probably wrong; if {meant} is meant, "
        f"rename the column {doubt.renamed}, otherwise ignore this"
    )


def _single_message(profile: ServiceProfile, sizes: list[int], quantile: float) -> str:
    needed = samples_needed(quantile)
    return (
        f"profile {profile.name} has a single sample of {_sizes(sizes)}, which shows no spread, so "
        f"{format_quantile(quantile)} of the service time is unknown; measure at least {needed - 1} more "
        f"batches of {'that size' if len(sizes) == 1 else 'each'} (capacity profile --samples {needed})"
    )


def _dips_message(profile: ServiceProfile, found: list[Dip]) -> str:
    worst = max(found, key=lambda dip: dip.share)
    others = [f"{dip.larger} and {dip.smaller}" for dip in found if dip is not worst]
    also = f" (likewise {', '.join(others)})" if others else ""
    return (
        f"in profile {profile.name} batches of {worst.larger} take "
        f"{format_duration(worst.larger_mean_s)} on average, less than the "
        f"{format_duration(worst.smaller_mean_s)} of batches of {worst.smaller}{also}; if no row is swapped, "
        "measure these sizes again after a warm-up"
    )


def spread_caveats(summaries: list[BatchTiming], quantile_max: float) -> Iterator[Caveat]:
    """What summaries of batch times leave open about a quantile."""
    bare = [timing.batch_size for timing in summaries if not timing.percentiles_s]
    if bare:
        yield Caveat(
            code=CaveatCode.PROFILE_NO_SPREAD,
            message=f"{_have(bare)} a mean but no percentile, so service times are assumed constant; "
            "measure percentiles, or give raw samples",
        )
    short = [t.batch_size for t in summaries if t.percentiles_s and max(t.percentiles_s) < quantile_max]
    if short:
        yield Caveat(
            code=CaveatCode.PROFILE_PERCENTILE_MISSING,
            message=f"{_have(short)} no percentile as high as {format_quantile(quantile_max)}, so the tail "
            f"is extrapolated; give {_percentile_column(quantile_max)}raw samples",
        )
    stretched = {timing.batch_size: timing.law().tail_ratio for timing in summaries}
    ratios = {size: ratio for size, ratio in stretched.items() if ratio is not None}
    if ratios:
        yield Caveat(
            code=CaveatCode.PROFILE_TAIL_STRETCHED,
            message=f"{_have(list(ratios))} a mean so large that batches beyond the last percentile must "
            f"take {max(ratios.values()):.2f} times that percentile on average, and their distribution is "
            "a guess; give raw samples",
        )


def _percentile_column(quantile: float) -> str:
    """The lowest percentile of a summary that reaches a quantile, as one of two fixes; else nothing."""
    enough = [u for u in _PERCENTILES if u >= quantile]
    return f"p{100.0 * enough[0]:.0f}_ms or " if enough else ""


def _sample_caveats(timings: list[BatchTiming], quantile_max: float) -> Iterator[Caveat]:
    needed = samples_needed(quantile_max)
    few = {t.batch_size: len(t.samples_s) for t in timings if 1 < len(t.samples_s) < needed}
    if few:
        least = "only" if len(set(few.values())) == 1 else "as few as"
        yield Caveat(
            code=CaveatCode.PROFILE_FEW_SAMPLES,
            message=f"there are {least} {min(few.values())} samples of {_sizes(list(few))}; to know "
            f"{format_quantile(quantile_max)} of the service time, measure at least {needed} of each size "
            f"(capacity profile --samples {needed})",
        )


def _sizes(sizes: list[int]) -> str:
    return f"batch size{'s' if len(sizes) > 1 else ''} {_listed(sizes)}"


def _have(sizes: list[int]) -> str:
    return f"{_sizes(sizes)} {'have' if len(sizes) > 1 else 'has'}"


def _listed(sizes: list[int]) -> str:
    shown = ", ".join(str(size) for size in sizes[:6])
    return shown if len(sizes) <= 6 else f"{shown} and {len(sizes) - 6} more"


def size_caveats(profile: ServiceProfile, plan: BatchPlan) -> Iterator[Caveat]:
    """Whether smaller batches would serve more by more than chance explains, as queues that grow fill the largest."""
    size, least = plan.batch_size_max, max(plan.preferred_sizes, default=1)
    if plan.batching is Batching.RAY_SERVE or not profile.batch_size_min <= size <= profile.batch_size_max:
        return
    best = max((one for one in profile.sizes_up_to(size) if one >= least), key=profile.throughput_rps)
    share = 1.0 - profile.throughput_rps(size) / profile.throughput_rps(best)
    if share > _SUMMARY_SHARE + _ERRORS * math.hypot(_mean_error(profile, size), _mean_error(profile, best)):
        yield Caveat(
            code=CaveatCode.BATCH_TOO_LARGE,
            message=f"with full batches of {size} a replica serves {format_percent(share)} fewer requests a second "
            f"than with batches of {best}; try --batch-size-max {best}",
        )


def _mean_error(profile: ServiceProfile, batch_size: int) -> float:
    """Relative standard error of a mean batch time, from the samples next to it; 0 for summaries, which have none."""
    place, _ = profile.place(batch_size)
    samples_s = profile.timings[place].samples_s
    return _standard_error_s(samples_s) / fmean(samples_s) if len(samples_s) > 1 else 0.0


_TORCHSERVE_AT_ONCE = 2  # Model.pollInferJob looks at what is left of the delay after the second
# What settles a doubt, by its cause.
MENDS: Mapping[Doubt, str] = {
    Doubt.REQUESTS: "raise --requests-max",
    Doubt.MARGIN: "lower --precision to separate it from its limit",
    Doubt.PROFILE: "measure more batches of each size for the profile",
}


def batches_missing(profile: ServiceProfile, samples_times: float | None) -> float | None:
    """Further batches of each size to measure for this many times the samples; None if no number is enough."""
    counts = [len(timing.samples_s) for timing in profile.timings if timing.samples_s]
    if samples_times is None or not counts:
        return None
    missing = min(counts) * (samples_times - 1.0)
    return missing if missing <= BATCHES_MAX else None


def mend_of(profile: ServiceProfile, candidate: Candidate) -> str:
    """What would settle the doubt about a candidate."""
    doubt = candidate.doubt or Doubt.REQUESTS
    if doubt is Doubt.MARGIN and has_samples(profile):  # whose error is larger than any such margin
        return f"{MENDS[Doubt.PROFILE]} and {MENDS[Doubt.MARGIN]}"
    if doubt is Doubt.PROFILE:
        missing = batches_missing(profile, candidate.samples_times)
        if missing is not None:
            return f"measure about {format_count(missing)} more batches of each size for the profile"
    return MENDS[doubt]


def batching_caveats(plan: BatchPlan) -> Iterator[Caveat]:
    """Where a server without a batch wait does something else than its rule says."""
    if plan.batch_wait_max_s > 0.0:
        return
    if plan.batching is Batching.TORCHSERVE and plan.batch_size_max > _TORCHSERVE_AT_ONCE:
        yield Caveat(
            code=CaveatCode.BATCHING_WITHOUT_WAIT,
            message=f"with a maxBatchDelay of 0 TorchServe takes {_TORCHSERVE_AT_ONCE} requests at most into a batch, "
            f"and up to {plan.batch_size_max} were evaluated; give a --batch-wait of 1ms or more",
        )
    if plan.due_size < plan.batch_size_max:
        yield Caveat(
            code=CaveatCode.BATCHING_WITHOUT_WAIT,
            message="with a delay of 0 Triton closes the next batch at the first preferred size that it comes to while "
            f"all instances are busy, {plan.due_size}, which is not evaluated; give a --batch-wait",
        )
