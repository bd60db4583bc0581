"""ApacheBench's (`ab`) text output: a closed loop of connections that never rest; whole milliseconds.

The table `Connection Times` and the percentiles are of all answered requests, failed ones included. `ab` counts an
answer as failed if its length differs from the first one's, as in pages with a date; such answers do not count as
failed here. Answers with a status other than 2xx do, which `ab` counts apart.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from capacity.errors import InputError
from capacity.formats.document import Document, parsed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.request_log import around
from capacity.performance import Interval

NAME = "ApacheBench (ab)"
RESOLUTION_S = 1e-3
_STARTING = 0.02  # share of a run in which connections are opened, or the last answers awaited
_TITLE = "This is ApacheBench"
_FIELD = re.compile(
    r"([A-Z2][A-Za-z0-9 -]{2,30}):\s+([0-9.]{1,20})(?: (?:seconds|bytes|\[#/sec\] \(mean\)))?"
)
_FAILED = re.compile(
    r"\(Connect: ([0-9]{1,12}), Receive: ([0-9]{1,12}), Length: ([0-9]{1,12}), Exceptions: ([0-9]{1,12})\)"
)
_TOTAL = re.compile(r"Total:((?:\s+[0-9.]{1,15}){3,5})")
_QUANTILE = re.compile(r"([0-9]{1,3})%\s+([0-9]{1,12})(?: \(longest request\))?")
_END = re.compile(r"100%\s+[0-9]{1,12} \(longest request\)")
_PERCENTILES = "Percentage of the requests served within a certain time"
_NO_PERCENTILES = (
    "the text has no percentiles (ab -d prints none): only the mean and the longest response are known"
)
_TIME, _COMPLETE, _CONCURRENCY = "Time taken for tests", "Complete requests", "Concurrency Level"


def recognises(document: Document) -> bool:
    """Whether it begins with the title, or has the lines of the result, as with `ab -q`."""
    head = document.head
    return not head.startswith(("{", "[", "<")) and (
        _TITLE in head or (f"{_CONCURRENCY}:" in head and f"{_TIME}:" in head)
    )


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: the text ends within its tables, nothing was answered, or a number that cannot be.

    Source:
        ApacheBench 2.3, support/ab.c, `output_results`.
    """
    result = _Result.of(document.ended_by(_END))
    notes = tuple(result.notes())
    return LoadTest(tool="ab", name=document.name, runs=(result.run(document.name),), notes=notes)


@dataclass(frozen=True, slots=True)
class _Result:
    """The figures on its lines.

    Attributes:
        failed: requests answered with a status other than 2xx, or not at all.
        other_length: requests answered with another length than the first.
        total_s: smallest, mean and largest duration. [s]
    """

    users: float
    duration_s: float
    complete: int
    failed: int
    other_length: int
    total_s: tuple[float, float, float]
    quantiles_s: Mapping[float, Interval]

    @classmethod
    def of(cls, document: Document) -> "_Result":
        fields = {match[1]: (where, match[2]) for where, match in document.found(_FIELD)}

        def number(name: str) -> float:
            if name not in fields:
                raise InputError(f"{document.name} has no line {name}; was it cut off, or did ab fail?")
            return parsed(fields[name][1], f"{fields[name][0]} {name}")

        if not number(_COMPLETE):
            raise InputError(
                f"{document.name} has 0 complete requests; run ab again, against a server that answers"
            )
        kinds = next((match.groups() for _, match in document.found(_FAILED)), None)
        if kinds is None and number("Failed requests"):
            raise InputError(f"{document.name} does not say how requests failed; was it cut off?")
        connect, receive, length, exceptions = map(int, kinds or "0000")
        statuses = int(number("Non-2xx responses")) if "Non-2xx responses" in fields else 0
        return cls(
            users=number(_CONCURRENCY),
            duration_s=number(_TIME),
            complete=int(number(_COMPLETE)),
            failed=connect + receive + exceptions + statuses,
            other_length=max(0, length - statuses),
            total_s=_total_s(document),
            quantiles_s=dict(_quantiles(document)),
        )

    def notes(self) -> Iterator[str]:
        """Notes on what is counted differently from ab, and what the text lacks."""
        if self.other_length:
            yield (
                f"{self.other_length} answers had another length than the first, which ab counts as failed; they are "
                "counted as good here"
            )
        if not self.quantiles_s:
            yield _NO_PERCENTILES

    def run(self, name: str) -> LoadRun:
        if self.failed > self.complete:
            raise InputError(f"{name} has {self.failed} failures of {self.complete} requests; is it whole?")
        least_s, mean_s, most_s = self.total_s
        return LoadRun(
            name="ab",
            loop=Loop.CLOSED,
            users=self.users,
            duration_s=self.duration_s,
            throughput_rps=self.complete / self.duration_s if self.duration_s else None,
            succeeded=self.complete - self.failed,
            failed=self.failed,
            min_s=least_s,
            mean_s=self._mean_s(mean_s),
            max_s=most_s,
            quantiles_s=self.quantiles_s,
            resolution_s=RESOLUTION_S,
        )

    def _mean_s(self, rounded_s: float) -> float:
        """The mean response: exact by the time that connections had for each request, if that rounds to the table's.

        Otherwise it is the table's, and Little's law shows that the two describe different requests. [s]
        """
        exact_s = self.users * self.duration_s / self.complete
        error_s = RESOLUTION_S / 2.0 + _STARTING * exact_s
        return exact_s if abs(exact_s - rounded_s) <= error_s else rounded_s


def _total_s(document: Document) -> tuple[float, float, float]:
    """Smallest, mean and largest of `Total:`, with a spread and a median in between unless `ab -S`."""
    for where, match in document.found(_TOTAL):
        cells = [parsed(cell, f"{where} Total") / 1e3 for cell in match[1].split()]
        return cells[0], cells[1], cells[-1]
    raise InputError(f"{document.name} has no line Total of the connection times; was it cut off?")


def _quantiles(document: Document) -> Iterator[tuple[float, Interval]]:
    """Quantiles rounded to milliseconds; the last line is the longest request. None if the table is left out."""
    found = [(int(match[1]), parsed(match[2], where) / 1e3) for where, match in document.found(_QUANTILE)]
    if not found and _PERCENTILES not in document.text:
        return
    if not found or found[-1][0] != 100:
        raise InputError(f"{document.name} ends before the percentile 100 %; was it cut off?")
    for percent, value_s in found[:-1]:
        yield percent / 100.0, around(value_s, RESOLUTION_S / 2.0)


READERS = {"load-test": read_load_test}
