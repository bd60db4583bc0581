"""Counted: measures batches from a server's own histograms while others send it traffic."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.measurement.findings import MEASURED_BY, Measurement, SizeFinding, server_machine
from capacity.measurement.http import Address
from capacity.measurement.metrics import (
    Histogram,
    Histograms,
    Scrape,
    gains,
    relative_error,
    scrape,
    sectioned,
)
from capacity.measurement.overhead import request_work
from capacity.measurement.rounds import Clock, Report, Sleep
from capacity.measurement.sections import SECTIONS_MAX, SECTIONS_MIN, ratio_interval
from capacity.measurement.url import Page
from capacity.performance import Interval
from capacity.profile.profile import BATCH_DURATION_MAX_S, BATCH_DURATION_MIN_S, BatchTiming
from capacity.question.caveat import Caveat, CaveatCode
from capacity.units import format_percent, format_quantile

# Fewer batches of a size say less of it than its neighbours do, which a profile interpolates between.
BATCHES_MIN = 10
_PERCENTILES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}
# Shorter sections hold few batches, and each scrape takes the server's time.
_SECTION_MIN_S = 0.5
_EARLY = Caveat(
    code=CaveatCode.MEASURED_EARLY_END,
    message="interrupted before the end of --duration; the profile covers the time until then; measure "
    "again for the whole of it",
)


class Window(NamedTuple):
    """Scrapes at both ends of a stretch of traffic, and in between if the server answered in time."""

    scrapes: tuple[Scrape, ...]
    seconds: float  # from the first scrape to the last
    interrupt: KeyboardInterrupt | None = None  # the interrupt that ended it, to be raised once all is saved


def watch(
    page: Page, duration_s: float, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep
) -> Window:
    """Scrape, wait, scrape; about twenty times if there is time.

    An interrupt ends the wait; what was seen until then is a window too.

    Raises:
        DependencyError: the first or the last scrape failed.
        KeyboardInterrupt: the last scrape failed after an interrupt.
    """
    scrapes, began_s = [scrape(page)], clock()
    count = min(SECTIONS_MAX, int(duration_s / _SECTION_MIN_S))
    count, interrupt = count if count >= SECTIONS_MIN else 1, None
    try:
        for number in range(1, count + 1):
            sleep(max(0.0, began_s + duration_s * number / count - clock()))
            if number < count:
                with suppress(DependencyError):  # the last scrape tells whether the server is gone
                    scrapes.append(scrape(page))
    except KeyboardInterrupt as stop:
        interrupt = stop
    try:
        scrapes.append(scrape(page))
    except DependencyError:
        if interrupt is not None:
            raise interrupt from None
        raise
    return Window(tuple(scrapes), clock() - began_s, interrupt)


def measure_metrics(
    address: Address,
    where: Histograms,
    *,
    duration_s: float,
    timeout_s: float,
    confidence: float,
    report: Report,
) -> Measurement:
    """Measure from a server's own counts of its batches while others send it traffic.

    Raises:
        DependencyError: its metrics cannot be fetched, read or trusted.
        InconclusiveError: it served too few batches.
        KeyboardInterrupt: an interrupt before the first window.
    """
    report(f"watching the server's metrics for {duration_s:.0f} s")
    window = watch(Page(address=address, timeout_s=timeout_s), duration_s)
    before, after = window.scrapes[0], window.scrapes[-1]
    try:
        gained = sectioned(gains(before, after, where), window.scrapes, where)
        findings = counted_findings(gained, confidence)
    except (DependencyError, InconclusiveError):
        if window.interrupt is not None:  # the measurement was asked for, and the interrupt loses nothing
            raise window.interrupt from None
        raise
    work = request_work(before, after, gained)
    errors = [one.bucket_error for one in findings if one.bucket_error is not None]
    source = {
        "measured_by": f"{MEASURED_BY} --metrics, {where.metric} by {where.label} in {window.seconds:.1f} s",
        "service_time": "the server's own histograms; means are exact, percentiles are within "
        + (
            f"{format_percent(max(errors), 1)}, the width of their buckets"
            if errors
            else "wide buckets and left out"
        ),
        "batches": str(sum(one.count for one in findings)),
        "excludes": "HTTP and network",
        **server_machine(address),
        **after.facts(),
    }
    early = () if window.interrupt is None else (_EARLY,)
    caveats = (*early, *counting_caveats(gained, findings), *(() if work is None else work.caveats()))
    return Measurement(findings=findings, source=source, caveats=caveats, work=work, stop=window.interrupt)


def counted_findings(gained: Mapping[int, Histogram], confidence: float) -> tuple[SizeFinding, ...]:
    """A finding for each batch size with enough counted batches.

    Raises:
        InconclusiveError: no size has enough.
        DependencyError: the server's counts contradict each other, or count no batches.
    """
    enough = {size: one for size, one in gained.items() if one.count >= BATCHES_MIN}
    if not enough:
        seen = sum(one.count for one in gained.values())
        raise InconclusiveError(
            f"no batch size was served {BATCHES_MIN} times while the metrics were watched ({seen} batches "
            "in all); send traffic to the server meanwhile, or raise --duration"
        )
    return tuple(_finding(size, one, confidence) for size, one in enough.items())


def _finding(batch_size: int, seen: Histogram, confidence: float) -> SizeFinding:
    if not BATCH_DURATION_MIN_S <= seen.mean_s <= BATCH_DURATION_MAX_S:
        raise DependencyError(
            f"according to the server's counts, batches of {batch_size} took {seen.mean_s:g} s on average, "
            "outside "
            f"{BATCH_DURATION_MIN_S:g} s to {BATCH_DURATION_MAX_S:g} s; check --metric and its unit"
        )
    percentiles = {
        name: found for name, u in _PERCENTILES.items() if (found := seen.percentile_s(u)) is not None
    }
    timing = _consistent(batch_size, seen.mean_s, percentiles)
    kept = [percentiles[name] for name in percentiles if getattr(timing, name) is not None]
    sums_s, counts = ([part[k] for part in seen.sections] for k in (0, 1))
    return SizeFinding(
        timing=timing,
        count=seen.count,
        # The mean of the counted batches is exact; the interval is for the mean of all such batches.
        mean=ratio_interval(sums_s, counts, confidence),
        bucket_error=max(map(relative_error, kept), default=None),
    )


def _consistent(batch_size: int, mean_s: float, percentiles: Mapping[str, Interval]) -> BatchTiming:
    """Mean and percentiles, without upper percentiles that contradict the mean through their buckets' error."""
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


def counting_caveats(gained: Mapping[int, Histogram], findings: tuple[SizeFinding, ...]) -> Iterator[Caveat]:
    """Caveats of measuring by counts."""
    left_out = [size for size in gained if size not in {one.batch_size for one in findings}]
    if left_out:
        counted = "one batch size was" if len(left_out) == 1 else f"{len(left_out)} batch sizes were"
        yield Caveat(
            code=CaveatCode.MEASURED_FEW_BATCHES,
            message=f"{counted} served fewer than {BATCHES_MIN} times and left out, the largest "
            f"{max(left_out)}; raise --duration or the traffic",
        )
    missing = [
        q for name, q in _PERCENTILES.items() if any(getattr(x.timing, name) is None for x in findings)
    ]
    if missing:
        yield Caveat(
            code=CaveatCode.MEASURED_PERCENTILES,
            message=f"{', '.join(map(format_quantile, missing))} are not known for every batch size, "
            "because of few batches or wide buckets; raise --duration, or give the histogram narrower "
            "buckets",
        )
    bare = [one.batch_size for one in findings if one.mean is None]
    if bare:
        yield Caveat(
            code=CaveatCode.MEASURED_NOISE,
            message=f"means of batches of {', '.join(map(str, bare))} have no interval: that needs "
            f"{SECTIONS_MIN} sections of the time with such batches; raise --duration or the traffic",
        )
