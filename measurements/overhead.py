"""Overhead: what a request takes beside its batch, of one row, and how it grows with the rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from capacity.caveats import Caveat, CaveatCode
from capacity.performance import Interval
from capacity.units import format_duration
from measurements.mean_interval import SECTIONS_MAX, SECTIONS_MIN, half_width, sections
from measurements.timed_batch import TimedBatch

_PER_SECTION = 5  # whose middle one stall does not move


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Time outside the batch, as the client saw it: the way, HTTP, JSON, the server's work beside the model.

    Attributes:
        request_s: of a request of one row: median over those of `batch_size` rows, after a rest where there
            were any, less the growth of the rows above one, where that is known. [s]
        batch_size: the smallest that was measured, 1 if it was.
        growth_s: more for each further row, by least squares over the medians; None of a single size. [s]
        interval: of `request_s`; None of few requests, or of more rows than one. [s]
    """

    request_s: float
    batch_size: int
    growth_s: float | None
    interval: Interval | None = None


def overhead(
    batches: Mapping[int, Sequence[TimedBatch]], rested: Sequence[TimedBatch] = (), confidence: float = 0.95
) -> Overhead | None:
    """Of requests that told; None where they did not.

    Args:
        rested: of the smallest size, sent after a rest, as most requests in service are.
    """
    told_s = {size: _told_s(found) for size, found in sorted(batches.items())}
    medians_s = {size: median(found_s) for size, found_s in told_s.items() if found_s}
    if not medians_s:
        return None
    smallest, growth_s = min(medians_s), _slope(medians_s)
    found_s = _told_s(rested) or told_s[smallest]
    further_s = (smallest - 1) * max(0.0, growth_s or 0.0)
    return Overhead(
        request_s=max(0.0, median(found_s) - further_s),
        batch_size=smallest,
        growth_s=growth_s,
        interval=_interval(found_s, confidence) if smallest == 1 else None,
    )


def overhead_caveats(found: Overhead | None) -> Iterator[Caveat]:
    """Where no request had the one row that a plan's requests have."""
    if found is None or found.batch_size == 1:
        return
    if found.growth_s is None:
        message = f"the request overhead is of {found.batch_size} rows, and may be less of one"
    else:
        message = (
            f"the request overhead is told from requests of {found.batch_size} rows and more, less "
            f"{format_duration(max(0.0, found.growth_s))} for each above the first"
        )
    yield Caveat(code=CaveatCode.MEASURED_ROWS, message=f"{message}; have 1 among --batch-sizes")


def _told_s(batches: Sequence[TimedBatch]) -> list[float]:
    return [batch.beside_s for batch in batches if batch.beside_s is not None]


def _interval(found_s: Sequence[float], confidence: float) -> Interval | None:
    """Of the median, by the medians of consecutive sections, which stalls move as little."""
    count = min(SECTIONS_MAX, len(found_s) // _PER_SECTION)
    if count < SECTIONS_MIN:
        return None
    half_s = half_width([median(section) for section in sections(found_s, count)], confidence)
    value_s = max(0.0, median(found_s))
    return Interval(value=value_s, low=max(0.0, value_s - half_s), high=value_s + half_s)


def _slope(values: Mapping[int, float]) -> float | None:
    """Of the line of least squares."""
    if len(values) < 2:
        return None
    x_mean, y_mean = sum(values) / len(values), sum(values.values()) / len(values)
    above = sum((x - x_mean) * (y - y_mean) for x, y in values.items())
    return above / sum((x - x_mean) ** 2 for x in values)
