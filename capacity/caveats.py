"""Caveats: the closed list of things said beside a number, each with its mend."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from capacity.performance import Performance
from capacity.plausibility import Dip, UnitDoubt, dips, unit_doubt
from capacity.profile import BatchTiming, ServiceProfile
from capacity.units import format_duration, format_quantile
from capacity.workload import Demand, TraceArrivals, Workload, is_trace

# Samples beyond a quantile below which its place in a profile is mostly chance.
SAMPLES_BEYOND_MIN = 10
# What a summary can have, rising.
_PERCENTILES = (0.5, 0.9, 0.95, 0.99)


class CaveatCode(StrEnum):
    """What a caveat is about."""

    PROFILE_UNIT = "profile_unit"
    PROFILE_LARGER_FASTER = "profile_larger_faster"
    PROFILE_ONE_SAMPLE = "profile_one_sample"
    PROFILE_ONE_SIZE = "profile_one_size"
    PROFILE_NO_SPREAD = "profile_no_spread"
    PROFILE_PERCENTILE_MISSING = "profile_percentile_missing"
    PROFILE_TAIL_STRETCHED = "profile_tail_stretched"
    PROFILE_FEW_SAMPLES = "profile_few_samples"
    PROFILE_ERROR_UNKNOWN = "profile_error_unknown"
    PROFILE_EXCLUDES = "profile_excludes"
    DEVICE_SHARED = "device_shared"
    MEANS_OF_SERVED = "means_of_served"
    FLOOR_IN_DOUBT = "floor_in_doubt"
    HEADROOM_IN_DOUBT = "headroom_in_doubt"
    HEADROOM_THIN = "headroom_thin"
    ONE_BALANCER = "one_balancer"
    PRICE_UNKNOWN = "price_unknown"
    CHEAPER_INCONCLUSIVE = "cheaper_inconclusive"
    FLEETS_UNTRIED = "fleets_untried"
    PRECISION_MISSED = "precision_missed"
    TRACE_FEW_BURSTS = "trace_few_bursts"
    TRACE_ONE_PATH = "trace_one_path"
    TRACE_READING = "trace_reading"
    RATES_IN_DOUBT = "rates_in_doubt"
    RATES_OPEN = "rates_open"
    RATES_UNSEEN = "rates_unseen"
    MEASURED_EARLY_END = "measured_early_end"
    MEASURED_DRIFT = "measured_drift"
    MEASURED_STALLS = "measured_stalls"
    MEASURED_NOISE = "measured_noise"
    MEASURED_BY_CLIENT = "measured_by_client"
    MEASURED_FEW_BATCHES = "measured_few_batches"
    MEASURED_PERCENTILES = "measured_percentiles"
    MEASURED_ROWS = "measured_rows"
    MEASURED_CORE_SHARED = "measured_core_shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """Something to know before betting on the number beside it, and what would mend it."""

    code: CaveatCode
    message: str


def profile_caveats(
    profile: ServiceProfile, batch_size_max: int, quantiles: Iterable[float]
) -> Iterator[Caveat]:
    """What the figures behind a plan with batches up to `batch_size_max` leave open."""
    used = [timing for timing in profile.timings if timing.batch_size < 2 * batch_size_max]
    quantile_max = max(quantiles)
    yield from plausibility_caveats(profile, quantile_max)
    summaries = [timing for timing in used if not timing.samples_s]
    if summaries:
        yield Caveat(
            code=CaveatCode.PROFILE_ERROR_UNKNOWN,
            message="the profile gives no raw samples, so the interval leaves out its own sampling error; "
            "a CSV of batch_size,latency_ms samples would include it",
        )
    yield from _spread_caveats(summaries, quantile_max)
    yield from _sample_caveats(used, quantile_max)
    if "excludes" in profile.source and profile.request_overhead_s == 0.0:
        yield Caveat(
            code=CaveatCode.PROFILE_EXCLUDES,
            message=f"the profile leaves out {profile.source['excludes']}; add it by --request-overhead",
        )
    yield from device_caveats(profile)


def plausibility_caveats(profile: ServiceProfile, quantile_max: float) -> Iterator[Caveat]:
    """What of the whole profile is more likely a slip than a measurement, whatever it is used for."""
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
    if profile.batch_sizes == (1,):
        yield Caveat(
            code=CaveatCode.PROFILE_ONE_SIZE,
            message=f"profile {profile.name} was measured with batches of 1 only, so batching was not "
            "considered; if the server can batch, measure larger batches too "
            "(capacity profile --batch-sizes 1,2,4,8)",
        )


def samples_needed(quantile: float) -> int:
    """Samples of a batch size with enough of them beyond a quantile."""
    return round(SAMPLES_BEYOND_MIN / (1.0 - quantile))


def device_caveats(profile: ServiceProfile) -> Iterator[Caveat]:
    """What is assumed of instances that share a device."""
    instances = profile.instances_per_device
    if instances > 1 and (profile.contention is None or not profile.contention.is_measured):
        yield Caveat(
            code=CaveatCode.DEVICE_SHARED,
            message=f"{instances} replicas share a device, and are assumed to share its work by processor "
            "sharing: m busy ones take m times as long; measure the throughput of 1 to "
            f"{instances} busy instances, and add it to the profile's JSON as contention_throughputs_rps",
        )


def precision_caveat(workload: Demand) -> Caveat:
    """The interval is wider than was asked for, for want of simulated requests or recorded ones."""
    mend = "record for longer" if is_trace(workload) else "raise --requests-max"
    return Caveat(
        code=CaveatCode.PRECISION_MISSED,
        message=f"the interval is not as narrow as asked, and no more may be simulated; {mend}",
    )


def interval_caveats(
    workload: Demand, profile: ServiceProfile, *, width: float, simulated_width: float, precision: float
) -> Iterator[Caveat]:
    """Why an interval is wider than was asked for, if it is: the simulation, or the samples of the profile.

    Args:
        width: relative half-width of the interval.
        simulated_width: the same without the profile's own sampling error.
        precision: what was asked for.
    """
    if width <= precision:
        return
    counts = [len(timing.samples_s) for timing in profile.timings if timing.samples_s]
    if simulated_width > precision or not counts:
        yield precision_caveat(workload)
        return
    missing = float(f"{min(counts) * ((width / precision) ** 2 - 1.0):.2g}")
    yield Caveat(
        code=CaveatCode.PRECISION_MISSED,
        message=f"the interval is {100.0 * width:.2g} % wide to a side, and {100.0 * precision:.2g} % was "
        "asked; no simulation narrows it, since it comes from the few samples of the profile; measure about "
        f"{missing:.0f} more batches of each size",
    )


def mean_caveats(performance: Performance) -> Iterator[Caveat]:
    """Where requests are lost, what the means are means of."""
    if performance.loss_probability and performance.response_mean_s is not None:
        yield Caveat(
            code=CaveatCode.MEANS_OF_SERVED,
            message=f"means leave out the {100.0 * performance.loss_probability:.3g} % of requests that are "
            "lost; promise a percentile, which counts them as late, or a --loss-max",
        )


def trace_caveats(workload: Demand, quantiles: Iterable[float], *, settled: bool = True) -> Iterator[Caveat]:
    """What one recorded path leaves open, and whether it holds bursts enough to speak of other days."""
    if isinstance(workload, Workload) and isinstance(workload.arrivals, TraceArrivals):
        if not settled:
            yield Caveat(
                code=CaveatCode.TRACE_FEW_BURSTS,
                message=f"few bursts of the trace are behind its {format_quantile(max(quantiles))}: the plan "
                "holds for it, and for other days only if their bursts are no worse; record for longer",
            )
        yield Caveat(
            code=CaveatCode.TRACE_ONE_PATH,
            message=f"a trace happened once: the interval of {format_quantile(max(quantiles))} comes from "
            "its consecutive sections, which were not independent; try other days too",
        )
        for remark in workload.arrivals.remarks:
            yield Caveat(code=CaveatCode.TRACE_READING, message=remark)


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


def _spread_caveats(summaries: list[BatchTiming], quantile_max: float) -> Iterator[Caveat]:
    bare = [timing.batch_size for timing in summaries if not timing.percentiles_s]
    if bare:
        yield Caveat(
            code=CaveatCode.PROFILE_NO_SPREAD,
            message=f"{_have(bare)} a mean but no percentile, so service times are taken as constant; "
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
            f"take {max(ratios.values()):.2f} times that percentile on average, and how they spread is a "
            "guess; give raw samples",
        )


def _percentile_column(quantile: float) -> str:
    """The lowest percentile of a summary that reaches a quantile, as one of two mends; of none nothing."""
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
