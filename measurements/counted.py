"""From counts to findings: batches that a server's own histograms counted."""

from collections.abc import Iterator, Mapping
from typing import Any

from capacity.caveats import Caveat, CaveatCode
from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.performance import Interval
from capacity.profile import BATCH_DURATION_MAX_S, BATCH_DURATION_MIN_S, BatchTiming
from capacity.units import format_duration, format_quantile
from measurements.histogram import Histogram, relative_error
from measurements.histogram_delta import Gain
from measurements.mean_interval import SECTIONS_MIN, ratio_interval
from measurements.measurement import SizeFinding

# Fewer batches of a size say less of it than its neighbours do, between which a profile interpolates.
BATCHES_MIN = 10
_PERCENTILES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}


def counted_findings(gains: Mapping[int, Gain], confidence: float) -> tuple[SizeFinding, ...]:
    """Each batch size of which enough batches were counted.

    Raises:
        InconclusiveError: there is none.
        DependencyError: the server's counts contradict each other, or are of no batches.
    """
    enough = {size: one for size, one in gains.items() if one.count >= BATCHES_MIN}
    if not enough:
        seen = sum(one.count for one in gains.values())
        raise InconclusiveError(
            f"no batch size was served {BATCHES_MIN} times while the metrics were watched ({seen} batches in "
            "all); send the server traffic meanwhile, or raise --duration"
        )
    return tuple(_finding(size, one, confidence) for size, one in enough.items())


def histogram(gained: Gain) -> Histogram:
    """Counts by bucket, from counts up to each bound."""
    bounds_s = tuple(sorted(gained.cumulative))
    upto = [gained.cumulative[bound_s] for bound_s in bounds_s]
    counts = tuple(high - low for low, high in zip([0, *upto], upto, strict=False))
    return Histogram(bounds_s=bounds_s, counts=counts, sum_s=gained.sum_s)


def _finding(batch_size: int, gained: Gain, confidence: float) -> SizeFinding:
    seen = histogram(gained)
    _check(batch_size, seen)
    percentiles = {
        name: found for name, u in _PERCENTILES.items() if (found := seen.percentile_s(u)) is not None
    }
    timing = _consistent(batch_size, seen.mean_s, percentiles)
    kept = [percentiles[name] for name in percentiles if getattr(timing, name) is not None]
    sums_s, counts = ([part[k] for part in gained.sections] for k in (0, 1))
    return SizeFinding(
        timing=timing,
        count=seen.count,
        # The mean of the batches that were counted is exact; the interval is for that of all such batches.
        mean=ratio_interval(sums_s, counts, confidence),
        bucket_error=max(map(relative_error, kept), default=None),
    )


def _check(batch_size: int, seen: Histogram) -> None:
    """Refuse what no batches can have taken.

    Raises:
        DependencyError: the sum contradicts the buckets, or the mean is out of all measure.
    """
    least_s, most_s = seen.sum_ends_s
    if not least_s <= seen.sum_s <= most_s:
        raise DependencyError(
            f"batches of {batch_size} took {format_duration(seen.sum_s)} together by the histogram's sum, "
            f"but {format_duration(least_s)} to {format_duration(most_s)} by its buckets; measure a process "
            "whose sum and buckets are in one unit"
        )
    if not BATCH_DURATION_MIN_S <= seen.mean_s <= BATCH_DURATION_MAX_S:
        raise DependencyError(
            f"by the server's counts batches of {batch_size} took {seen.mean_s:g} s on average, outside "
            f"{BATCH_DURATION_MIN_S:g} s to {BATCH_DURATION_MAX_S:g} s; check --metric, and its unit"
        )


def _consistent(batch_size: int, mean_s: float, percentiles: Mapping[str, Interval]) -> BatchTiming:
    """Mean and percentiles, without upper ones that, by the error of their buckets, contradict the mean."""
    kept = list(percentiles)
    while True:
        values: dict[str, Any] = {name: percentiles[name].value for name in kept}
        try:
            timing = BatchTiming(batch_size=batch_size, mean_s=mean_s, **values)
            timing.law()
        except InputError:
            kept.pop()
        else:
            return timing


def counting_caveats(gains: Mapping[int, Gain], findings: tuple[SizeFinding, ...]) -> Iterator[Caveat]:
    """What to know before betting on the counts."""
    left_out = [size for size in gains if size not in {one.batch_size for one in findings}]
    if left_out:
        yield Caveat(
            code=CaveatCode.MEASURED_FEW_BATCHES,
            message=f"{_counted(len(left_out))} served fewer than {BATCHES_MIN} times and left out, "
            f"the largest being {max(left_out)}; raise --duration or the traffic",
        )
    missing = [
        q for name, q in _PERCENTILES.items() if any(getattr(x.timing, name) is None for x in findings)
    ]
    if missing:
        yield Caveat(
            code=CaveatCode.MEASURED_PERCENTILES,
            message=f"{', '.join(map(format_quantile, missing))} cannot be told of every batch size, for few "
            "batches or wide buckets; raise --duration, or give the histogram narrower buckets",
        )

    bare = [one.batch_size for one in findings if one.mean is None]
    if bare:
        yield Caveat(
            code=CaveatCode.MEASURED_NOISE,
            message=f"means of batches of {', '.join(map(str, bare))} have no interval, which takes "
            f"{SECTIONS_MIN} stretches of the time that had some; raise --duration or the traffic",
        )


def _counted(sizes: int) -> str:
    return "one batch size was" if sizes == 1 else f"{sizes} batch sizes were"
