"""Profile sampling: what other samples of the same size might have made of a profile."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from capacity.confidence import order_statistics
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile

if TYPE_CHECKING:
    import numpy as np

# Samples in spells are drawn in blocks: spells in a block, and smallest number of blocks.
_SPELLS_PER_BLOCK, _BLOCKS_MIN = 4.0, 10
# Quantiles of a resampled law for each sample behind it, up to a total.
_QUANTILES_PER_SAMPLE, _QUANTILES_ENOUGH = 4, 1000
# Multiple of a limit beyond which a floor is so far away that its error does not matter.
_FAR = 0.5


def has_samples(profile: ServiceProfile) -> bool:
    """Whether any batch size has raw samples, so that the error can be known."""
    return any(timing.samples_s for timing in profile.timings)


def resampled(profile: ServiceProfile, generator: "np.random.Generator") -> ServiceProfile:
    """The profile that other samples might have given (smoothed bootstrap); samples in spells by blocks."""
    block = _block(profile)
    timings = tuple(
        replace(timing, samples_s=_resampled_samples(timing.samples_s, block, generator))
        if timing.samples_s
        else timing
        for timing in profile.timings
    )
    return replace(profile, timings=timings)


def _block(profile: ServiceProfile) -> int:
    """Number of consecutive rounds of all batch sizes after which a spell is over."""
    if profile.spells is None:
        return 1
    round_s = math.fsum(profile.service_mean_s(size) for size in profile.batch_sizes)
    return math.ceil(_SPELLS_PER_BLOCK * profile.spells.lasting_s / round_s)


def _resampled_samples(
    samples_s: Sequence[float], block: int, generator: "np.random.Generator"
) -> tuple[float, ...]:
    """Samples that might have been: by spacings, or by blocks if neighbours are alike."""
    block = min(block, max(1, len(samples_s) // _BLOCKS_MIN))
    if block == 1:
        return _by_spacings(samples_s, generator)
    return _by_blocks(samples_s, block, generator)


def _by_spacings(samples_s: Sequence[float], generator: "np.random.Generator") -> tuple[float, ...]:
    """Evenly spaced quantiles of a law through the samples, rising, at levels of random uniform order statistics.

    The share beyond the k-th largest then has the law that samples leave for it, even if k is 1 or 2, which drawing
    with replacement would often miss. Nothing lies beyond the largest sample.

    Source:
        Banks (1988), Histospline smoothing the Bayesian bootstrap, Biometrika 75(4), 673-684.
    """
    import numpy as np

    ordered_s, count = np.sort(samples_s), len(samples_s)
    levels = np.sort(generator.random(count))
    quantiles = max(count, min(_QUANTILES_PER_SAMPLE * count, _QUANTILES_ENOUGH))
    even = (np.arange(quantiles) + 0.5) / quantiles
    return tuple(np.interp(even, levels, ordered_s).tolist())


def _by_blocks(samples_s: Sequence[float], block: int, generator: "np.random.Generator") -> tuple[float, ...]:
    """Samples drawn in blocks that begin anywhere and wrap around at the end.

    If samples in spells counted as independent, their error would come out several times too small (Kuensch 1989,
    Ann. Stat. 17).
    """
    import numpy as np

    count = len(samples_s)
    starts = generator.integers(count, size=-(-count // block))
    places = (starts[:, np.newaxis] + np.arange(block)).ravel()[:count] % count
    return tuple(np.asarray(samples_s)[places].tolist())


def service_interval(
    profile: ServiceProfile, quantile: float, batch_size: int, confidence: float
) -> Interval:
    """A quantile of the service time of a batch, with the interval that its samples give. [s]

    Its ends are samples (order statistics), so that none lies beyond what was measured. Without an upper end,
    `known_to` is the longest sample. Without samples, or with identical ones, it has no width.

    Raises:
        DomainError: the batch size lies outside the measured range.

    Source:
        David & Nagaraja (2003), Order Statistics, 3rd ed., sec. 7.1.
    """
    place, weight = profile.place(batch_size)
    low = _measured_interval(profile, place, quantile, confidence)
    if weight == 0.0:
        return low
    high = _measured_interval(profile, place + 1, quantile, confidence)
    return Interval(
        value=(1.0 - weight) * low.value + weight * high.value,
        low=(1.0 - weight) * low.low + weight * high.low,
        high=(1.0 - weight) * low.high + weight * high.high,
        known_to=_mixed_end(low, high, weight),
    )


def _mixed_end(low: Interval, high: Interval, weight: float) -> float | None:
    """How far the samples of two measured sizes reach together; None if both have an upper end."""
    if math.isfinite(low.high) and math.isfinite(high.high):
        return None
    return (1.0 - weight) * reach(low) + weight * reach(high)


def reach(interval: Interval) -> float:
    """The upper end, or else the largest value that samples reach, by which a verdict is given.

    Judging by a missing end would refuse everything measured with few samples, however far from its limit. A caveat
    says how few there are.
    """
    return interval.high if interval.known_to is None else interval.known_to


def _measured_interval(profile: ServiceProfile, place: int, quantile: float, confidence: float) -> Interval:
    timing, law = profile.timings[place], profile.laws[place]
    value = law.quantile_s(quantile)
    if not timing.samples_s or law.is_deterministic:
        return Interval.exact(value)
    count = independent_samples(timing, _block(profile), quantile)
    low, high = order_statistics(quantile, count, confidence)
    shortest, longest = law.durations_s[0], law.durations_s[-1]

    def ranked_s(rank: int) -> float:
        return law.quantile_s((rank - 0.5) / count)

    return Interval(
        value=value,
        low=min(value, ranked_s(low) if low > 0 else shortest),
        high=max(value, ranked_s(high)) if high <= count else math.inf,
        known_to=None if high <= count else longest,
    )


def independent_samples(timing: BatchTiming, block: int, quantile: float) -> int:
    """Number of independent samples that say as much about a quantile: all, or fewer if they came in spells.

    It follows from the scatter of the share beyond the quantile between blocks (Kish 1965, Survey Sampling, sec.
    8.2).
    """
    count = len(timing.samples_s)
    block = min(block, max(1, count // _BLOCKS_MIN))
    if block == 1:
        return count
    import numpy as np

    samples_s = np.asarray(timing.samples_s)
    beyond = samples_s > timing.law().quantile_s(quantile)
    share, whole = beyond.mean(), count // block * block
    blocks = beyond[:whole].reshape(-1, block).mean(axis=1)
    variance = float(((blocks - share) ** 2).mean()) / len(blocks)
    if variance == 0.0:
        return count
    return max(1, min(count, int(share * (1.0 - share) / variance)))


def floor_interval(
    profile: ServiceProfile, quantile: float, batch_size_max: int, confidence: float
) -> Interval:
    """`ServiceProfile.service_floor_s` with its interval: the fastest batch. [s]"""
    sizes = profile.sizes_up_to(batch_size_max)
    found = [service_interval(profile, quantile, size, confidence) for size in sizes]
    high = min(one.high for one in found)
    known_to = None if math.isfinite(high) else min(map(reach, found))
    value, low = (min(getattr(one, end) for one in found) for end in ("value", "low"))
    return Interval(value=value, low=low, high=high, known_to=known_to).mapped(
        lambda x: x + profile.request_overhead_s
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorDoubt:
    """A service floor that the profile's samples cannot separate from a limit, and what would.

    Attributes:
        batch_size: the size whose batches make the floor.
        samples: number of samples of that size so far.
        batches_missing: further batches to measure, if the share of them beyond the limit stays; infinite if that
            equals the allowed share.
        floor_s: the floor with its interval. [s]
        limit_s: the limit. [s]
    """

    batch_size: int
    samples: int
    batches_missing: float
    floor_s: Interval
    limit_s: float


def known_samples(profile: ServiceProfile, batch_size_max: int) -> Callable[[float], list[float]]:
    """The independent samples behind each quantile, for the batch sizes that batches have or lie next to.

    Infinite for a size whose law is given without samples, or that never varies.
    """
    sizes = list(zip(profile.timings, profile.laws, strict=True))
    used = [(one, law) for one, law in sizes if one.batch_size < 2 * batch_size_max] or sizes[:1]
    block = _block(profile)

    def known(quantile: float) -> list[float]:
        return [
            independent_samples(one, block, quantile)
            if one.samples_s and not law.is_deterministic
            else math.inf
            for one, law in used
        ]

    return known


def samples_to_tell(share: float, allowed: float, confidence: float) -> float:
    """Independent samples that tell a share from the allowed one; infinite if they are equal.

    It uses the normal law of the number of samples beyond, as if the allowed share were the true one.

    >>> round(samples_to_tell(0.012, 0.01, 0.95)), round(samples_to_tell(0.0, 0.01, 0.95))
    (9508, 380)
    """
    from statistics import NormalDist

    errors = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    distance = share - allowed
    return math.inf if abs(distance) < 1e-12 else errors**2 * allowed * (1.0 - allowed) / distance**2


def _share_beyond(samples_s: Sequence[float], limit_s: float) -> float:
    """Share of the batches beyond a limit, interpolated between neighbouring samples."""
    import numpy as np

    if not samples_s:
        return 0.0
    levels = np.arange(1, len(samples_s) + 1) / len(samples_s)
    return 1.0 - float(np.interp(limit_s, np.sort(samples_s), levels, left=0.0))


def _is_near(floor_s: float, limit_s: float) -> bool:
    return (1.0 - _FAR) * limit_s < floor_s < limit_s / (1.0 - _FAR)


def doubt_of_floor(
    profile: ServiceProfile, quantile: float, batch_size_max: int, limit_s: float, confidence: float
) -> FloorDoubt | None:
    """What the samples leave open about the fastest service; None if the limit lies outside its interval.

    No response is faster than its service, so no fleet provably meets a limit that the service itself does not.
    Without raw samples the error is unknown, and None is returned; also if the limit is twice the floor or half of
    it.

    Args:
        quantile: quantile of the response that is limited.
        batch_size_max: largest batch.
        confidence: confidence of the interval, by order statistics.
    """
    if not _is_near(profile.service_floor_s(quantile, batch_size_max), limit_s):
        return None
    floor_s = floor_interval(profile, quantile, batch_size_max, confidence)
    if not floor_s.low <= limit_s < floor_s.high:
        return None
    timing = min(
        (one for one in profile.timings if one.batch_size <= batch_size_max),
        key=lambda one: profile.law(one.batch_size).quantile_s(quantile),
    )
    count = len(timing.samples_s)
    left_s = limit_s - profile.request_overhead_s - profile.work_s(timing.batch_size)
    needed = samples_to_tell(_share_beyond(timing.samples_s, left_s), 1.0 - quantile, confidence)
    return FloorDoubt(
        batch_size=timing.batch_size,
        samples=count,
        batches_missing=max(0.0, needed - count),
        floor_s=floor_s,
        limit_s=limit_s,
    )
