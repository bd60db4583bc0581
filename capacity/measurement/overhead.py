"""Overhead: time of a request outside its batch, by the client's clock and by the server's CPU time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import linear_regression, median

from capacity.measurement.metrics import Histogram, Scrape, gain
from capacity.measurement.rounds import Nap, TimedBatch
from capacity.measurement.sections import SECTIONS_MAX, SECTIONS_MIN, half_width, sections
from capacity.performance import Interval
from capacity.question.caveat import Caveat, CaveatCode
from capacity.units import format_duration

PROCESS_CPU = "process_cpu_seconds_total"
BATCH_CPU = "serve_batch_cpu_seconds_total"
REQUESTS = "serve_requests_total"
NAPS_MIN = 5  # fewer do not tell the cost of a rest
_PER_SECTION = 5  # requests in a section, whose median one stall does not move
_ROWS_OF_NOTE, _WAITED_OF_NOTE = 0.02, 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Time outside the batch as the client saw it: network, HTTP, JSON, the server's work outside the model.

    Attributes:
        median_s: time of a one-row request: median over those of `batch_size` rows, after a rest if there were any,
            less the growth with rows above one if that is known. [s]
        low_s, high_s: interval of the median; None with few requests, or with more than one row. [s]
        growth_per_row_s: increase per further row, by least squares over medians; None with a single size. [s]
    """

    median_s: float
    low_s: float | None = None
    high_s: float | None = None
    batch_size: int  # smallest measured batch size, 1 if it was measured
    growth_per_row_s: float | None

    def caveats(self) -> Iterator[Caveat]:
        """Caveat if no request had the single row that a plan's requests have."""
        if self.batch_size == 1:
            return
        if self.growth_per_row_s is None:
            message = f"the request overhead is for {self.batch_size} rows, and may be less for one"
        else:
            message = (
                f"the request overhead is estimated from requests of {self.batch_size} rows and more, less "
                f"{format_duration(max(0.0, self.growth_per_row_s))} for each above the first"
            )
        yield Caveat(code=CaveatCode.MEASURED_ROWS, message=f"{message}; include 1 in --batch-sizes")


def overhead(
    batches: Mapping[int, Sequence[TimedBatch]], rested: Sequence[TimedBatch] = (), confidence: float = 0.95
) -> Overhead | None:
    """Overhead by the requests that reported it; None if none did.

    Args:
        rested: requests of the smallest size sent after a rest, as most requests in service are.
    """
    told_s = {size: found_s for size, found in sorted(batches.items()) if (found_s := _told_s(found))}
    if not told_s:
        return None
    smallest, growth_s = min(told_s), None
    if len(told_s) > 1:
        growth_s = linear_regression(list(told_s), [median(found_s) for found_s in told_s.values()]).slope
    found_s = _told_s(rested) or told_s[smallest]
    further_s = (smallest - 1) * max(0.0, growth_s or 0.0)
    found = Overhead(
        median_s=max(0.0, median(found_s) - further_s), batch_size=smallest, growth_per_row_s=growth_s
    )
    count = min(SECTIONS_MAX, len(found_s) // _PER_SECTION)
    if smallest > 1 or count < SECTIONS_MIN:
        return found
    # Medians of consecutive sections, which stalls hardly move.
    half_s = half_width([median(section) for section in sections(found_s, count)], confidence)
    return replace(found, low_s=max(0.0, found.median_s - half_s), high_s=found.median_s + half_s)


def _told_s(batches: Sequence[TimedBatch]) -> list[float]:
    return [batch.beside_s for batch in batches if batch.beside_s is not None]


def wake(naps: Sequence[Nap], confidence: float) -> Interval | None:
    """How much longer batches take after a rest; None with few naps. [s]

    Student's t over naps. Each is compared with what was served just before it, since a machine drifts, and by
    medians, since a stalled batch says nothing about rests.
    """
    if len(naps) < NAPS_MIN:
        return None
    longer_s = [nap.longer_s for nap in naps]
    value_s = math.fsum(longer_s) / len(longer_s)
    half_s = half_width(longer_s, confidence)
    return Interval(value=value_s, low=value_s - half_s, high=value_s + half_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWork:
    """CPU time of a server outside its batches, divided among the requests.

    Attributes:
        process_cpu_s, batch_cpu_s: CPU time of the process, and of its batches. [s]
    """

    process_cpu_s: float
    batch_cpu_s: float
    batch_s: float  # time of the batches by the clock
    requests: int  # requests answered meanwhile
    rows: int  # rows in the batches; a plan counts these

    @property
    def request_s(self) -> float:
        """CPU time of each request; of each row if requests hold several, since a plan counts rows. [s]"""
        return max(0.0, self.process_cpu_s - self.batch_cpu_s) / max(self.requests, self.rows)

    @property
    def waited_share(self) -> float:
        """Share of the batches' time in which they waited for the core."""
        return max(0.0, 1.0 - self.batch_cpu_s / self.batch_s) if self.batch_s else 0.0

    def caveats(self) -> Iterator[Caveat]:
        """Caveats if requests are not rows, and if batches waited for the core that requests used."""
        if abs(self.rows - self.requests) > _ROWS_OF_NOTE * max(self.rows, self.requests):
            yield Caveat(
                code=CaveatCode.MEASURED_ROWS,
                message=f"{self.requests} requests held {self.rows} rows; request_work_s is the work of "
                "one of the more numerous of the two, and a plan counts rows; to measure the work of a "
                "request, send one row in each",
            )
        if self.waited_share > _WAITED_OF_NOTE:
            yield Caveat(
                code=CaveatCode.MEASURED_CORE_SHARED,
                message=f"batches took {format_duration(self.batch_s)} and computed for "
                f"{format_duration(self.batch_cpu_s)}; the rest of the time others had the core, including "
                "requests of the same server, whose work is then counted both in the batch times and in "
                "request_work_s; take batch times from --url on an idle server, with this --request-work",
            )


def request_work(before: Scrape, after: Scrape, gained: Mapping[int, Histogram]) -> RequestWork | None:
    """Work between two scrapes, with the batches between them by size; None if CPU time is not counted."""
    if any(not after.series(name) for name in (PROCESS_CPU, BATCH_CPU, REQUESTS)):
        return None
    process_s, batch_s, requests = (
        math.fsum(gain(before, after, name).values()) for name in (PROCESS_CPU, BATCH_CPU, REQUESTS)
    )
    rows = sum(size * one.count for size, one in gained.items())
    if max(requests, rows) < 1:
        return None
    return RequestWork(
        process_cpu_s=process_s,
        batch_cpu_s=batch_s,
        batch_s=math.fsum(one.sum_s for one in gained.values()),
        requests=round(requests),
        rows=rows,
    )
