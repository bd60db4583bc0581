"""The JSON of `oha --output-format json`: totals, quantiles and a histogram; seconds.

It does not say whether oha was given a rate (`-q`), so the loop is unknown. Oha lists requests still in flight at
the deadline as errors; here they are no failures.
"""

import math
import re
from collections.abc import Iterator

from capacity.formats.document import Document, Part, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest
from capacity.performance import Interval

NAME = "oha --output-format json"
_KEYS = {"summary", "responseTimeHistogram", "latencyPercentiles"}
_QUANTILE = re.compile(r"p([0-9.]{1,12})")
_DEADLINE = "aborted due to deadline"
_FAILED_FROM = 400.0


def recognises(document: Document) -> bool:
    """Whether it has oha's summary, histogram and percentiles."""
    return document.keys >= _KEYS and "$schema" not in document.keys


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: keys or values that oha does not write.

    Source:
        oha at b8cd846, schema.json; src/histogram.rs, of which versions differ, for the keys of the histogram.
    """
    report = Part(document.name, document.object)
    summary = report.part("summary")
    succeeded, failed = _counts(report)
    histogram, notes = _histogram(report.part("responseTimeHistogram"), summary)
    run = LoadRun(
        name="oha",
        duration_s=summary.number("total"),
        throughput_rps=summary.number("requestsPerSec"),
        succeeded=succeeded,
        failed=failed,
        mean_s=_optional(summary, "average"),
        min_s=_optional(summary, "fastest"),
        max_s=_optional(summary, "slowest"),
        quantiles_s=dict(_quantiles(report.part("latencyPercentiles"))),
        histogram=histogram,
    )
    return LoadTest(tool="oha", name=document.name, runs=(run,), notes=notes)


def _counts(report: Part) -> tuple[int, int]:
    """Numbers of requests that succeeded, and that failed other than by the deadline."""
    statuses = report.part("statusCodeDistribution")
    errors = report.part("errorDistribution") if "errorDistribution" in report else Part("", {})
    by_code = {parsed(code, f"{statuses.where} key"): statuses.whole(code) for code in statuses.keys}
    bad = sum(count for code, count in by_code.items() if code >= _FAILED_FROM)
    unanswered = sum(errors.whole(error) for error in errors.keys if error != _DEADLINE)
    return sum(by_code.values()) - bad, bad + unanswered


def _optional(part: Part, key: str) -> float | None:
    """A number; None if there was no answer, which oha writes as null."""
    return part.number(key) if key in part else None


def _quantiles(percentiles: Part) -> Iterator[tuple[float, Interval]]:
    for key in percentiles.keys:
        found = _QUANTILE.fullmatch(key)
        if found:
            q = parsed(found[1], f"{percentiles.where}.{key}") / 100.0
            yield round(q, 12), Interval.exact(percentiles.number(key))


def _histogram(buckets: Part, summary: Part) -> tuple[Histogram | None, tuple[str, ...]]:
    """Counts up to each key; keys run from the fastest response to the slowest.

    Some versions of oha write other keys, which are not bounds; their histogram is left out.
    """
    counts = sorted((parsed(key, f"{buckets.where} key"), buckets.whole(key)) for key in buckets.keys)
    if not counts or "fastest" not in summary or "slowest" not in summary:
        return None, ()
    ends = (counts[0][0], counts[-1][0])
    fits = all(
        math.isclose(end, summary.number(key), rel_tol=1e-6)
        for end, key in zip(ends, ("fastest", "slowest"), strict=True)
    )
    if not fits or len({bound for bound, _ in counts}) < len(counts):
        return None, (
            "the histogram does not run from the fastest response to the slowest, so it is left out",
        )
    return Histogram.up_to(counts), ()


READERS = {"load-test": read_load_test}
