"""Text output of `wrk` and `wrk2`, best with `--latency`: totals and quantiles, wrk2's with a spectrum; ms, us or s.

A connection of wrk waits for an answer before it sends again, so the loop is closed. Before it prints, wrk adds the
responses that it expects a slow one to have held up, so its quantiles are corrected. wrk2 sends by the clock (`-R`)
and measures from when a request was due; with `--u_latency` it also prints what it measured from when each was sent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import SECONDS_PER, Document, parsed
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop
from capacity.formats.request_log import around
from capacity.performance import Interval

NAME = "wrk or wrk2, as text"
_DISTRIBUTION = "Latency Distribution (HdrHistogram"
_RUNNING = re.compile(r"Running \S{1,20} test @ \S{1,2000}")
_SECONDS_PER = {**SECONDS_PER, "m": 60.0, "h": 3600.0}
_TIME = r"([0-9]{1,20}(?:\.[0-9]{1,9})?)(us|ms|s|m|h)"
_CONNECTIONS = re.compile(r"([0-9]{1,12}) threads and ([0-9]{1,12}) connections")
_LATENCY = re.compile(rf"Latency\s+{_TIME}\s+\S{{1,20}}\s+{_TIME}\s+\S{{1,20}}")
_REQUESTS = re.compile(rf"([0-9]{{1,15}}) requests in {_TIME}, \S{{1,20}} read")
_RATE = re.compile(r"Requests/sec:\s+(\S{1,40})")
_BAD = re.compile(r"Non-2xx or 3xx responses: ([0-9]{1,15})")
_SOCKET = re.compile(
    r"Socket errors: connect ([0-9]{1,15}), read ([0-9]{1,15}), write ([0-9]{1,15}), timeout ([0-9]{1,15})"
)
_TITLE = re.compile(r"Latency Distribution(?: \(HdrHistogram - (\w{1,20}) Latency.*)?")
_QUANTILE = re.compile(rf"([0-9]{{1,3}}(?:\.[0-9]{{1,9}})?)%\s+{_TIME}")
_SPECTRUM = re.compile(
    r"([0-9]{1,15}\.[0-9]{1,9})\s+([01]\.[0-9]{1,12})\s+([0-9]{1,15})(?:\s+(?:inf|[0-9.]{1,30}))?"
)
# Printed last, with its unit at the end; below a distribution, wrk2 alone has a rule of 58 dashes.
_END, _RULE = re.compile(r"Transfer/sec:\s+[0-9.]{1,40}[KMGTP]?B"), re.compile(r"-{50,80}")
_CALIBRATION = "Thread calibration: mean lat.:"  # printed only by wrk2
_WRK_ADDS = (
    "wrk adds the responses that it expects slow ones to have held up, so quantiles count more than requests"
)


def recognises(document: Document) -> bool:
    """Whether it has the first line of wrk's text, perhaps after the command, or the distribution of wrk2."""
    return document.head.startswith(_DISTRIBUTION) or _is_of_run(document)


def _is_of_run(document: Document) -> bool:
    return any(_RUNNING.fullmatch(line.strip()) for line in document.first_lines)


def read_load_test(document: Document) -> LoadTest:
    """The one run; for wrk2 with `--u_latency` a second one, measured from when requests were sent.

    Raises:
        InputError: no latencies, or a line that wrk does not print.

    Source:
        wrk 4.1.0, src/wrk.c, `main` and `stats_correct`; wrk2 at 44a94c1, README.
    """
    document = document.ending(_RULE.fullmatch).ended_by(_END)
    known = _totals(document)
    tables = list(_tables(document))
    if not tables and _CALIBRATION in document.text:
        tables = [_Table(document.name, "Recorded")]  # wrk2 without --latency
    if not any(table.quantiles for table in tables) and "mean_s" not in known:
        raise InputError(f"{document.name} has no latencies; run wrk with --latency to its end")
    if "throughput_rps" not in known and _is_of_run(document):
        raise InputError(
            f"{document.name} has no Requests/sec, which wrk prints at its end; was the text cut off?"
        )
    if not any(table.title for table in tables):
        quantiles = tables[0].quantiles if tables else {}
        run = LoadRun(name="wrk", loop=Loop.CLOSED, is_corrected=True, quantiles_s=quantiles, **known)
        return LoadTest(tool="wrk", name=document.name, runs=(run,), notes=(_WRK_ADDS,))
    return LoadTest(tool="wrk2", name=document.name, runs=tuple(_of_wrk2(table, known) for table in tables))


def _of_wrk2(table: "_Table", known: Mapping[str, Any]) -> LoadRun:
    is_corrected = table.title == "Recorded"
    measured = {key: known[key] for key in known if is_corrected or key not in ("mean_s", "max_s")}
    return LoadRun(
        name="wrk2" if is_corrected else "wrk2, from when requests were sent",
        loop=Loop.OPEN,
        is_corrected=is_corrected,
        quantiles_s=table.quantiles,
        histogram=table.histogram(),
        **measured,
    )


def _totals(document: Document) -> dict[str, Any]:
    """Figures above and below the distributions, as far as they are there."""
    known: dict[str, Any] = {}
    for _, match in document.found(_CONNECTIONS):
        known["users"] = float(match[2])
    for _, match in document.found(_LATENCY):
        known["mean_s"] = _time(match[1], match[2]).value
        known["max_s"] = _time(match[3], match[4]).value
    for where, match in document.found(_RATE):
        known["throughput_rps"] = parsed(match[1], where)
    for where, match in document.found(_REQUESTS):
        known["duration_s"] = _time(match[2], match[3]).value
        known |= _counts(document, int(match[1]), where)
    return known


def _counts(document: Document, requests: int, where: str) -> dict[str, int]:
    """Counts of outcomes; bad statuses are among the requests, socket errors and timeouts are not."""
    bad = sum(int(match[1]) for _, match in document.found(_BAD))
    unanswered = sum(int(count) for _, match in document.found(_SOCKET) for count in match.groups())
    if bad > requests:
        raise InputError(f"{where} has {requests} requests, of which {bad} failed; is the text complete?")
    return {"succeeded": requests - bad, "failed": bad + unanswered}


@dataclass(slots=True)
class _Table:
    """A distribution: its title, its quantiles, and the lines of its spectrum as bounds and cumulative counts."""

    where: str
    title: str | None
    quantiles: dict[float, Interval] = field(default_factory=dict)
    spectrum: dict[float, int] = field(default_factory=dict)

    def histogram(self) -> Histogram | None:
        """Counts of the spectrum between its values, which several lines may share."""
        if not self.spectrum:
            return None
        so_far, counts = 0, []
        for bound_s, total in sorted(self.spectrum.items()):
            counts.append((bound_s, total - so_far))
            so_far = total
        return located(self.where, lambda: Histogram.up_to(counts))


def _tables(document: Document) -> Iterator[_Table]:
    table = None
    for number, line in document.records():
        text, where = line.strip(), f"{document.name} line {number}"
        if title := _TITLE.fullmatch(text):
            if table:
                yield table
            table = _Table(where, title[1])
        elif table and (quantile := _QUANTILE.fullmatch(text)):
            q = round(parsed(quantile[1], where) / 100.0, 12)
            table.quantiles[q] = _time(quantile[2], quantile[3])
        elif table and (row := _SPECTRUM.fullmatch(text)):
            table.spectrum[parsed(row[1], where) / 1e3] = int(row[3])  # always in ms
    if table:
        yield table


def _time(digits: str, unit: str) -> Interval:
    """Seconds, uncertain by half of the last printed digit."""
    decimals = len(digits.partition(".")[2])
    return around(float(digits) * _SECONDS_PER[unit], 0.5 * 10.0**-decimals * _SECONDS_PER[unit])


READERS = {"load-test": read_load_test}
