"""Profile sampling: what other samples of the same size might have made of a profile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from capacity.performance import Interval
from capacity.profile.profile import ServiceProfile

if TYPE_CHECKING:
    import numpy as np

# Blocks in which samples are drawn that came in spells: so many spells long, and so many of them at least.
_SPELLS_PER_BLOCK, _BLOCKS_MIN = 4.0, 10
# Resamples behind the interval of a service floor, which costs no simulation.
_FLOOR_RESAMPLES = 200
# Share of a limit beyond which a floor is so far away that its error is not looked into.
_FAR = 0.5


def has_samples(profile: ServiceProfile) -> bool:
    """Whether any batch size was given by raw samples, so that the error can be known."""
    return any(timing.samples_s for timing in profile.timings)


def resampled(profile: ServiceProfile, generator: "np.random.Generator") -> ServiceProfile:
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


def _block(profile: ServiceProfile) -> int:
    """Rounds of all batch sizes, one after another, in which spells are over."""
    if profile.spells is None:
        return 1
    round_s = math.fsum(profile.service_mean_s(size) for size in profile.batch_sizes)
    return math.ceil(_SPELLS_PER_BLOCK * profile.spells.lasting_s / round_s)


def _resampled_samples(
    samples_s: Sequence[float], block: int, generator: "np.random.Generator"
) -> tuple[float, ...]:
    """As many samples, in blocks that begin anywhere and go on at the beginning where the samples end."""
    import numpy as np

    count = len(samples_s)
    block = min(block, max(1, count // _BLOCKS_MIN))
    if block == 1:
        return tuple(generator.choice(samples_s, count).tolist())
    starts = generator.integers(count, size=-(-count // block))
    places = (starts[:, np.newaxis] + np.arange(block)).ravel()[:count] % count
    return tuple(np.asarray(samples_s)[places].tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorDoubt:
    """A service floor that the profile's samples cannot separate from a limit, and what would.

    Attributes:
        batch_size: the size whose batches make the floor.
        samples: of that size, so far.
        floor_s: with its interval. [s]
        limit_s: what is allowed. [s]
    """

    batch_size: int
    samples: int
    floor_s: Interval
    limit_s: float

    @property
    def batches_missing(self) -> float:
        """Further batches to measure; infinite if the floor equals the limit.

        The half-width falls with the root of the samples, and must fall to half of the distance of the
        limit: the other half is for those who wait.
        """
        distance = abs(math.log(self.limit_s / self.floor_s.value)) / 2.0
        width = abs(math.log(self.floor_s.high / self.floor_s.value))
        return math.inf if distance == 0.0 else self.samples * max(0.0, (width / distance) ** 2 - 1.0)


def floor_doubts(
    profile: ServiceProfile,
    quantile: float,
    batch_sizes: Sequence[int],
    limit_s: float,
    confidence: float,
) -> dict[int, FloorDoubt]:
    """By largest batch, where the limit lies within the interval of the fastest service.

    No response is quicker than its service, so that no fleet is proved to keep a limit that the service
    itself is not. Without raw samples nothing is known of the error, and nothing is said.

    Args:
        quantile: of the response that is promised.
        batch_sizes: largest batches to ask about.
        confidence: of the interval, by the bootstrap of `resampled` and the normal law of its logarithm.
    """
    near = [size for size in batch_sizes if _is_near(profile.service_floor_s(quantile, size), limit_s)]
    if not near or not has_samples(profile):
        return {}
    import numpy as np

    generator = np.random.default_rng(0)
    others = [resampled(profile, generator) for _ in range(_FLOOR_RESAMPLES)]
    found = {}
    for size in near:
        drawn_s = [other.service_floor_s(quantile, size) for other in others]
        floor_s = _interval(profile.service_floor_s(quantile, size), drawn_s, confidence)
        if floor_s.low <= limit_s < floor_s.high:
            found[size] = _doubt(profile, quantile, size, floor_s, limit_s)
    return found


def _is_near(floor_s: float, limit_s: float) -> bool:
    return (1.0 - _FAR) * limit_s < floor_s < limit_s / (1.0 - _FAR)


def _interval(value: float, drawn: Sequence[float], confidence: float) -> Interval:
    from statistics import NormalDist, stdev

    scatter = stdev(map(math.log, drawn))
    width = NormalDist().inv_cdf(0.5 + confidence / 2.0) * scatter
    return Interval(value=value, low=value * math.exp(-width), high=value * math.exp(width))


def _doubt(
    profile: ServiceProfile, quantile: float, batch_size_max: int, floor_s: Interval, limit_s: float
) -> FloorDoubt:
    timing = min(
        (one for one in profile.timings if one.batch_size <= batch_size_max),
        key=lambda one: profile.law(one.batch_size).quantile_s(quantile),
    )
    return FloorDoubt(
        batch_size=timing.batch_size, samples=len(timing.samples_s), floor_s=floor_s, limit_s=limit_s
    )
