"""hey's text output: totals, quantiles and a histogram; seconds with four decimals.

A worker of hey waits for an answer before it sends again, even with `-q`, so the loop is closed.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop
from capacity.formats.request_log import around
from capacity.performance import Interval

NAME = "hey, as text"
_RESOLUTION_S = 1e-4
_HALF_S = _RESOLUTION_S / 2.0
_TOTAL = re.compile(r"(Total|Slowest|Fastest|Average):\s+(\S{1,40}) secs")
_RATE = re.compile(r"Requests/sec:\s+(\S{1,40})")
_BUCKET = re.compile(r"([0-9.]{1,20}) \[([0-9]{1,15})\]\s*\|.*")
_QUANTILE = re.compile(r"([0-9.]{1,8})%%? in (\S{1,40}) secs")
_STATUS = re.compile(r"\[([0-9]{3})\]\s+([0-9]{1,15}) responses")
_ERROR = re.compile(r"\[([0-9]{1,15})\]\s+(?!.{0,40}responses$).*")
_ERRORS = "Error distribution:"
_FAILED_FROM = 400
# Bounds of the histogram have three decimals.
_BOUND_HALF_S = 0.0006


def recognises(document: Document) -> bool:
    """Whether it is hey's summary, perhaps after the command; oha's has a success rate."""
    begun = {line.strip().partition(":")[0] for line in document.head.splitlines()}
    return begun >= {"Summary", "Requests/sec", "Fastest"} and "Success rate" not in begun


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: a missing total, or a number that is none.

    Source:
        hey 0.1.4, requester/print.go, `defaultTmpl`; requester/report.go, `histogram`.
    """
    document = document.ending(partial(_is_last, document.text))
    statuses = [(int(match[1]), int(match[2])) for _, match in document.found(_STATUS)]
    bad = sum(count for status, count in statuses if status >= _FAILED_FROM)
    succeeded = sum(count for _, count in statuses) - bad
    failed = bad + _unanswered(document)
    rate_rps = next((parsed(match[1], where) for where, match in document.found(_RATE)), None)
    _require_all(document, succeeded + failed, rate_rps, _total(document, "Total"))
    run = LoadRun(
        name="hey",
        loop=Loop.CLOSED,
        duration_s=_total(document, "Total"),
        throughput_rps=rate_rps,
        succeeded=succeeded,
        failed=failed,
        **(_measured(document) if statuses else {}),
        resolution_s=_RESOLUTION_S,
    )
    return LoadTest(tool="hey", name=document.name, runs=(run,))


def _is_last(text: str, line: str) -> bool:
    """Whether a line has a status, or one of the errors below them, whose counts come first."""
    return bool(_STATUS.fullmatch(line) or (_ERRORS in text and _ERROR.fullmatch(line)))


def _require_all(document: Document, count: int, rate_rps: float | None, duration_s: float) -> None:
    """Refuse statuses and errors that do not add up to the requests of `Requests/sec`: they come at the end."""
    if rate_rps is None:
        raise InputError(f"{document.name} has no Requests/sec, which hey prints; was the text cut off?")
    expected = rate_rps * duration_s
    if abs(count - expected) > 1.0 + _HALF_S * (rate_rps + duration_s):
        raise InputError(
            f"{document.name} has statuses and errors of {count} requests, and Requests/sec is of {expected:.0f}; was "
            "the text cut off?"
        )


def _total(document: Document, name: str) -> float:
    """The value on a line such as `Fastest: 0.0052 secs`."""
    for where, match in document.found(_TOTAL):
        if match[1] == name:
            return parsed(match[2], where)
    raise InputError(f"{document.name} has no {name}, which hey prints; was the text cut off?")


def _measured(document: Document) -> dict[str, Any]:
    """Statistics of the responses; without any, hey prints NaN and 0."""
    fastest_s, slowest_s = _total(document, "Fastest"), _total(document, "Slowest")
    return {
        "mean_s": _total(document, "Average"),
        "min_s": fastest_s,
        "max_s": slowest_s,
        "quantiles_s": dict(_quantiles(document)),
        "histogram": _histogram(document, fastest_s, slowest_s),
    }


def _quantiles(document: Document) -> Iterator[tuple[float, Interval]]:
    """Quantiles; with too few responses for one, hey prints `0% in 0.0000 secs` instead."""
    for where, match in document.found(_QUANTILE):
        q = round(parsed(match[1], where) / 100.0, 12)
        if q > 0.0:
            yield q, around(parsed(match[2], where), _HALF_S)


def _unanswered(document: Document) -> int:
    """Number of requests that hey lists under errors, by what they failed with."""
    below = document.text.partition(_ERRORS)[2]
    errors = Document(document.name, below, is_end=document.is_end).found(_ERROR)
    return sum(int(match[1]) for _, match in errors)


def _histogram(document: Document, fastest_s: float, slowest_s: float) -> Histogram | None:
    """Buckets of equal width from the fastest response to the slowest.

    Bounds are computed from these two, as the printed ones have three decimals and several may be the same.
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


READERS = {"load-test": read_load_test}
