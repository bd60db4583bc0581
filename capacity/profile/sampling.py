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

# Blocks in which samples are drawn that came in spells: so many spells long, and so many of them at least.
_SPELLS_PER_BLOCK, _BLOCKS_MIN = 4.0, 10
# Quantiles of a resampled law for each sample that is behind it, while there are not so many in all.
_QUANTILES_PER_SAMPLE, _QUANTILES_ENOUGH = 4, 1000
# Share of a limit beyond which a floor is so far away that its error is not looked into.
_FAR = 0.5


def has_samples(profile: ServiceProfile) -> bool:
    """Whether any batch size was given by raw samples, so that the error can be known."""
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
    """Rounds of all batch sizes, one after another, in which spells are over."""
    if profile.spells is None:
        return 1
    round_s = math.fsum(profile.service_mean_s(size) for size in profile.batch_sizes)
    return math.ceil(_SPELLS_PER_BLOCK * profile.spells.lasting_s / round_s)


def _resampled_samples(
    samples_s: Sequence[float], block: int, generator: "np.random.Generator"
) -> tuple[float, ...]:
    """What other samples might have been: by spacings, or by blocks if neighbours are alike."""
    block = min(block, max(1, len(samples_s) // _BLOCKS_MIN))
    if block == 1:
        return _by_spacings(samples_s, generator)
    return _by_blocks(samples_s, block, generator)


def _by_spacings(samples_s: Sequence[float], generator: "np.random.Generator") -> tuple[float, ...]:
    """Even quantiles of a law through the samples, rising, at levels that the order of uniform ones has by chance.

    The share beyond the k-th largest then has the law that samples leave for it, even where k is 1 or 2 and
    drawing with replacement would often see none. Nothing lies beyond the largest sample.

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
    """As many samples, in blocks that begin anywhere and go on at the beginning where the samples end.

    If each of those that came in spells told as much as one by itself, their error would come out several times
    too small (Kuensch 1989, Ann. Stat. 17).
    """
    import numpy as np

    count = len(samples_s)
    starts = generator.integers(count, size=-(-count // block))
    places = (starts[:, np.newaxis] + np.arange(block)).ravel()[:count] % count
    return tuple(np.asarray(samples_s)[places].tolist())


def service_interval(
    profile: ServiceProfile, quantile: float, batch_size: int, confidence: float
) -> Interval:
    """A quantile of the service of a batch, with what its samples say of it. [s]

    Its ends are samples (order statistics), so that none lies beyond what was measured. Without an upper end,
    `known_to` is the longest sample. What has no samples, or samples that are all alike, has no width.

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
    """The upper end, or else the largest value that samples speak of, by which a verdict is given.

    To hold a missing end against a fleet would refuse whatever is measured by few samples, however far from its
    limit. A caveat says how few there are.
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
    """How many independent samples say as much about a quantile: all, or fewer if they came in spells.

    From the scatter of the share beyond the quantile between blocks (Kish 1965, Survey Sampling, sec. 8.2).
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
    """`ServiceProfile.service_floor_s` with what the samples say of it: the quickest batch. [s]"""
    sizes = [size for size in profile.batch_sizes if size < batch_size_max] + [batch_size_max]
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
        samples: of that size, so far.
        batches_missing: further ones to measure, if the share of them beyond the limit stays; infinite if that
            is just what is allowed.
        floor_s: with its interval. [s]
        limit_s: what is allowed. [s]
    """

    batch_size: int
    samples: int
    batches_missing: float
    floor_s: Interval
    limit_s: float


def known_samples(profile: ServiceProfile, batch_size_max: int) -> Callable[[float], list[float]]:
    """The independent samples behind each quantile, for the batch sizes that batches take or lie next to.

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

    By the normal law of the number of samples beyond, if the allowed share were the true one.

    >>> round(samples_to_tell(0.012, 0.01, 0.95)), round(samples_to_tell(0.0, 0.01, 0.95))
    (9508, 380)
    """
    from statistics import NormalDist

    errors = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    distance = share - allowed
    return math.inf if abs(distance) < 1e-12 else errors**2 * allowed * (1.0 - allowed) / distance**2


def _share_beyond(samples_s: Sequence[float], limit_s: float) -> float:
    """Share of the batches beyond a limit, which is a share of the way from one sample to the next."""
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
    """What the samples leave open of the fastest service; None if the limit lies outside of its interval.

    No response is quicker than its service, so that no fleet is proved to keep a limit that the service
    itself is not. Without raw samples nothing is known of the error, and nothing is said; nor is it where
    the limit is twice the floor or half of it.

    Args:
        quantile: of the response that is promised.
        batch_size_max: largest batch.
        confidence: of the interval, by order statistics.
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
