"""What `hey` prints: totals, quantiles and a histogram; seconds with four decimals.

A worker of hey waits for the answer before its next request, with `-q` too: the loop is closed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop
from capacity.formats.request_log import around

NAME = "hey, as text"
_RESOLUTION_S = 1e-4
_HALF_S = _RESOLUTION_S / 2.0
_TOTAL = re.compile(r"(Total|Slowest|Fastest|Average):\s+(\S{1,40}) secs")
_RATE = re.compile(r"Requests/sec:\s+(\S{1,40})")
_BUCKET = re.compile(r"([0-9.]{1,20}) \[([0-9]{1,15})\]\s*\|.*")
_QUANTILE = re.compile(r"([0-9.]{1,8})%%? in (\S{1,40}) secs")
_STATUS = re.compile(r"\[([0-9]{3})\]\s+([0-9]{1,15}) responses")
_ERROR = re.compile(r"\[([0-9]{1,15})\]\s+(?!.{0,40}responses$).*")
_FAILED_FROM = 400
# Bounds of the histogram have three decimals.
_BOUND_HALF_S = 0.0006


def recognises(document: Document) -> bool:
    """Whether it is hey's summary."""
    head = document.head
    return head.startswith("Summary:") and "Requests/sec:" in head and "Fastest:" in head


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: a total that is missing, or a number that is none.

    Source:
        hey 0.1.4, requester/print.go, `defaultTmpl`; requester/report.go, `histogram`.
    """
    totals = {match[1]: parsed(match[2], where) for where, match in document.found(_TOTAL)}
    missing = [name for name in ("Total", "Slowest", "Fastest", "Average") if name not in totals]
    if missing:
        raise InputError(f"{document.name} has no {missing[0]}, which hey prints; was the text cut off?")
    statuses = [(int(match[1]), int(match[2])) for _, match in document.found(_STATUS)]
    bad = sum(count for status, count in statuses if status >= _FAILED_FROM)
    succeeded = sum(count for _, count in statuses) - bad
    rate_rps = next((parsed(match[1], where) for where, match in document.found(_RATE)), None)
    run = LoadRun(
        name="hey",
        loop=Loop.CLOSED,
        duration_s=totals["Total"],
        throughput_rps=rate_rps,
        succeeded=succeeded,
        failed=bad + _unanswered(document),
        mean_s=totals["Average"],
        min_s=totals["Fastest"],
        max_s=totals["Slowest"],
        quantiles_s={
            _share(match[1], where): around(parsed(match[2], where), _HALF_S)
            for where, match in document.found(_QUANTILE)
        },
        histogram=_histogram(document, totals["Fastest"], totals["Slowest"]),
        resolution_s=_RESOLUTION_S,
    )
    return LoadTest(tool="hey", name=document.name, runs=(run,))


def _share(percent: str, where: str) -> float:
    return round(parsed(percent, where) / 100.0, 12)


def _unanswered(document: Document) -> int:
    """Requests that hey lists below its line on errors, by what they failed with."""
    below = document.text.partition("Error distribution:")[2]
    errors = Document(document.name, below).found(_ERROR)
    return sum(int(match[1]) for _, match in errors)


def _histogram(document: Document, fastest_s: float, slowest_s: float) -> Histogram | None:
    """Buckets of equal width, whose bounds are told apart by the fastest and the slowest response.

    Their own three decimals would put several at one bound.
    """
    buckets = [(where, parsed(m[1], where), int(m[2])) for where, m in document.found(_BUCKET)]
    if len(buckets) < 2 or not slowest_s > fastest_s:
        return None
    step_s = (slowest_s - fastest_s) / (len(buckets) - 1)
    for place, (where, shown_s, _) in enumerate(buckets):
        if abs(fastest_s + place * step_s - shown_s) > _BOUND_HALF_S:
            raise InputError(f"{where}: the histogram does not rise in equal steps from Fastest to Slowest")
    return Histogram.up_to(
        [(fastest_s + place * step_s, count) for place, (_, _, count) in enumerate(buckets)]
    )


READERS: Mapping[str, Callable[[Document], Any]] = {"load-test": read_load_test}
