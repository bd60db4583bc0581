"""Overhead: what a request takes beside its batch, of one row, and how it grows with the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from measurements.timed_batch import TimedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Time outside the batch, as the client saw it: the way, HTTP, JSON, the server's work beside the model.

    Attributes:
        request_s: median over requests of `batch_size` rows, after a rest where there were any. [s]
        batch_size: the smallest that was measured, 1 if it was.
        growth_s: more for each further row, by least squares over the medians; None of a single size. [s]
    """

    request_s: float
    batch_size: int
    growth_s: float | None


def overhead(
    batches: Mapping[int, Sequence[TimedBatch]], rested: Sequence[TimedBatch] = ()
) -> Overhead | None:
    """Of requests that told; None where they did not.

    Args:
        rested: of the smallest size, sent after a rest, as most requests in service are.
    """
    medians = {size: _median_s(found) for size, found in sorted(batches.items())}
    known = {size: value for size, value in medians.items() if value is not None}
    if not known:
        return None
    smallest = min(known)
    rested_s = _median_s(rested)
    request_s = known[smallest] if rested_s is None else rested_s
    return Overhead(request_s=max(0.0, request_s), batch_size=smallest, growth_s=_slope(known))


def _median_s(batches: Sequence[TimedBatch]) -> float | None:
    told = [batch.beside_s for batch in batches if batch.beside_s is not None]
    return median(told) if told else None


def _slope(values: Mapping[int, float]) -> float | None:
    """Of the line of least squares."""
    if len(values) < 2:
        return None
    x_mean, y_mean = sum(values) / len(values), sum(values.values()) / len(values)
    above = sum((x - x_mean) * (y - y_mean) for x, y in values.items())
    return above / sum((x - x_mean) ** 2 for x in values)
