"""The access log of nginx, Apache and others in the common or the combined format, best with the request time.

The server writes a line when a request ends, so the request arrived its request time earlier. The request time may
be seconds with three decimals, as nginx writes `$request_time`: named `rt=` or `request_time=`, or bare after the
other fields. It may also be any number with its unit, such as `12345us`. A bare whole number is refused, because it
may be Apache's `%D` (microseconds) or `%T` (seconds). `[$time_local]` has whole seconds; `$msec`, if the log has it
too, has milliseconds.
"""

import re
from dataclasses import dataclass

from capacity.errors import InputError, quoted
from capacity.formats import ingress_log
from capacity.formats.access_line import (
    COMMON,
    LENGTH_MAX,
    RESOLUTION_S,
    WHOLE_SECONDS,
    Others,
    clock_ns,
    is_good,
)
from capacity.formats.document import SECONDS_PER, Document
from capacity.formats.load_test import LoadTest, Loop
from capacity.formats.request_log import Request, Requests, runs, trace
from capacity.traffic.workload import TraceArrivals

NAME = "access log of nginx or Apache"
_QUOTED = re.compile(r'(?:\w{1,40}=)?"(?:[^"\\]|\\.)*(?:"|\\?$)')  # an unclosed quote extends to the end
_NAMED = re.compile(r"(?:rt|request_time)=([0-9]{1,9}\.[0-9]{3})")
_ALONE = re.compile(r"[0-9]{1,8}\.[0-9]{3}")
_WITH_UNIT = re.compile(r"(?:\w+=)?([0-9]{1,15}(?:\.[0-9]{1,9})?)(ns|us|ms|s)")
_WHOLE = re.compile(r"[0-9]{1,15}")
_MSEC = re.compile(r"(?:\w+=)?([0-9]{10}\.[0-9]{3})")
_HOW = "for nginx add $request_time at the end of log_format, for Apache %{us}Tus at the end of LogFormat"
_BY_END = "the log has no request times, so instants are those at which requests ended"


def recognises(document: Document) -> bool:
    """Whether one of its first lines has the fields of the common log format."""
    is_log = any(COMMON.fullmatch(line.strip()) for line in document.first_lines)
    return is_log and not ingress_log.recognises(document)


def read_load_test(document: Document) -> LoadTest:
    """The requests as the server saw them. A status of 500 or above is a failure, and so is 499: the client left.

    Raises:
        InputError: a malformed request line, no request time, or mostly lines that belong to no request.

    Source:
        nginx, ngx_http_log_module and ngx_http_core_module; Apache 2.4, mod_log_config.
    """
    entries = _Entries(document)
    if not entries.is_timed:
        raise InputError(f"{document.name} line {entries.first_line} has no request time; {_HOW}")
    found = runs(entries.requests, resolution_s=RESOLUTION_S, loop=Loop.SERVED)
    return LoadTest(tool="access log", name=document.name, runs=found, notes=entries.notes)


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests arrived, or ended if there is no request time.

    Raises:
        InputError: a malformed request line, fewer than two requests, or mostly lines that belong to none.
    """
    entries = _Entries(document)
    return trace(entries.requests, document.name, entries.notes)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A request on a line: when it ended, and how long it took if the log has that.

    Attributes:
        timed_by: how its request time is written; empty if there is none.
        is_exact: whether its end is finer than seconds.
    """

    end_ns: int
    took_ns: int | None
    status: int
    timed_by: str
    is_exact: bool

    @property
    def request(self) -> Request:
        """The request by its arrival, or by its end if it has no request time."""
        took_ns = self.took_ns or 0
        return Request(sent_ns=self.end_ns - took_ns, took_ns=took_ns, is_good=is_good(self.status))


class _Entries:
    """The requests on all lines.

    Attributes:
        is_timed: whether lines have a request time; all do or none does.
        is_exact: whether all have instants finer than seconds.
    """

    def __init__(self, document: Document) -> None:
        self.requests = Requests()
        self.first_line, self.is_timed, self.is_exact = 0, False, True
        self._last: _Entry | None = None
        self._others = Others()
        for number, line in document.ending(self._is_whole).records():
            if not self._others.has(line, number):
                where = f"{document.name} line {number}"
                self._take(_entry(line.strip(), where), where, number)
        self._others.require_few(len(self.requests), document.name)

    def _is_whole(self, line: str) -> bool:
        """Whether a line has its times written like the line before it, to the last digit and unit."""
        try:
            found = _entry(line, "")
        except InputError:
            return False
        before = self._last
        return before is not None and (found.timed_by, found.is_exact) == (before.timed_by, before.is_exact)

    def _take(self, entry: _Entry, where: str, number: int) -> None:
        is_timed = entry.took_ns is not None
        if not len(self.requests):
            self.first_line, self.is_timed = number, is_timed
        if is_timed != self.is_timed:
            raise InputError(
                f"{where} differs from the lines before in whether it has a request time; keep one format"
            )
        self.is_exact = self.is_exact and entry.is_exact
        self._last = entry
        self.requests.add(entry.request)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what the log leaves open."""
        is_open = ((WHOLE_SECONDS, not self.is_exact), (_BY_END, not self.is_timed))
        return (*(note for note, is_so in is_open if is_so), *self._others.notes)


def _entry(line: str, where: str) -> _Entry:
    match = COMMON.fullmatch(line) if len(line) <= LENGTH_MAX else None
    if match is None:
        raise InputError(f"{where} is not of the combined log format: {quoted(line)}; fix or drop it")
    extra = _QUOTED.sub(" ", match["after"]).split()
    stamps = [found[1] for field in [*match["before"].split(), *extra] if (found := _MSEC.fullmatch(field))]
    timed_by, took_ns = _took(extra, where)
    return _Entry(
        end_ns=_ns(stamps[0]) if stamps else clock_ns(match, where, zone=match["zone"]),
        took_ns=took_ns,
        timed_by=timed_by,
        status=int(match["status"]),
        is_exact=bool(stamps),
    )


def _took(extra: list[str], where: str) -> tuple[str, int | None]:
    """How the request time is written among the fields after the size and the quoted ones, and its value. [ns]

    Raises:
        InputError: several candidates, or a whole number without a unit.
    """
    ways = {
        "named": [_ns(found[1]) for field in extra if (found := _NAMED.fullmatch(field))],
        "with unit": [
            _scaled_ns(*found.groups()) for field in extra if (found := _WITH_UNIT.fullmatch(field))
        ],
        "alone": [_ns(field) for field in extra if _ALONE.fullmatch(field)],
    }
    for way, candidates in ways.items():
        if len(candidates) > 1:
            raise InputError(
                f"{where} has {len(candidates)} fields that may be the request time; write rt=$request_time"
            )
        if candidates:
            return way, candidates[0]
    whole = next((field for field in extra if _WHOLE.fullmatch(field)), None)
    if whole is not None:
        raise InputError(f"{where} ends in {whole}, which may be of any unit; {_HOW}")
    return "", None


def _ns(seconds: str) -> int:
    """Nanoseconds of seconds with three decimals."""
    return int(seconds.replace(".", "")) * 10**6


def _scaled_ns(digits: str, unit: str) -> int:
    return round(float(digits) * SECONDS_PER[unit] * 1e9)


READERS = {"load-test": read_load_test, "workload": read_workload}
