"""Request log: single requests as a tool recorded them, and the runs and the trace that they make."""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.files import ROWS_MAX, printable
from capacity.formats.document import Document
from capacity.formats.load_test import Floats, LoadRun, LoadTest, Samples
from capacity.performance import Interval
from capacity.traffic.trace import parse_stamp
from capacity.traffic.workload import TraceArrivals

_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
_NAMES_MAX = 50  # with more, names are not endpoints but addresses with an id in them
_NS_MAX = 10**22  # 300,000 years; beyond that a unit is wrong
WHOLE = "all requests"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, in whole nanoseconds, which a float of seconds since 1970 does not hold.

    Attributes:
        sent_ns: when it was sent, from any origin. [ns]
        took_ns: time from then to its answer. [ns]
        is_good: whether it was answered without an error.
        name: name of its endpoint; empty if it has none.
    """

    sent_ns: int
    took_ns: int
    is_good: bool = True
    name: str = ""


Nanoseconds = npt.NDArray[np.int64]


class Requests:
    """Requests in columns, in the order in which they were added: a million of them take 21 MB.

    Args:
        requests: the first of them.
    """

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        self._first_ns: int | None = None
        self._sent, self._took = array("q"), array("q")
        self._good, self._endpoint = array("b"), array("i")
        self._names: dict[str, int] = {}
        for one in requests:
            self.add(one)

    def add(self, request: Request) -> None:
        """Add a request. Raises InputError: one too many, or a time in another age."""
        if len(self._sent) >= ROWS_MAX:
            raise InputError(f"there are more than {ROWS_MAX} requests; keep fewer")
        if self._first_ns is None:
            self._first_ns = request.sent_ns
        try:
            self._took.append(request.took_ns)
            self._sent.append(request.sent_ns - self._first_ns)
        except OverflowError:
            raise InputError("requests are centuries apart; is the unit of their times right?") from None
        self._good.append(request.is_good)
        if len(self._names) <= _NAMES_MAX:
            self._names.setdefault(request.name, len(self._names))
        self._endpoint.append(self._names.get(request.name, -1))

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def sent_ns(self) -> Nanoseconds:
        """Send time of each, counted from the first added request. [ns]"""
        return np.frombuffer(self._sent, dtype=np.int64) if self._sent else np.zeros(0, dtype=np.int64)

    @property
    def took_ns(self) -> Nanoseconds:
        """Time from then to its answer. [ns]"""
        return np.frombuffer(self._took, dtype=np.int64) if self._took else np.zeros(0, dtype=np.int64)

    @property
    def is_good(self) -> npt.NDArray[np.bool_]:
        """Whether each was answered without an error."""
        return np.array(self._good, dtype=np.bool_)

    def earlier(self) -> "Requests":
        """The same requests, for stamps that were taken for the sending and were the end."""
        found = copy(self)
        found._sent = array("q", (self.sent_ns - self.took_ns).tobytes())
        return found

    def endpoints(self) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Each name, in order, and which requests have it; empty if there are too many to be endpoints."""
        if len(self._names) <= _NAMES_MAX:
            endpoint = np.array(self._endpoint)
            for name in sorted(self._names):
                yield name, endpoint == self._names[name]


def nanoseconds(value: Any, per: float, where: str) -> int:
    """Whole nanoseconds of a duration or instant.

    Args:
        value: the number as read.
        per: nanoseconds in its unit.

    Raises:
        InputError: too large to be an instant or a duration; names its place.
    """
    exact = value * int(per) if isinstance(value, int) else value * per
    if not abs(exact) <= _NS_MAX:  # also refuses infinity
        raise InputError(f"{where} is too large for a time; is the unit right?")
    return round(exact)


def instant_ns(text: str, where: str, what: str = "a date and time, such as 2026-01-31T12:00:00.5Z") -> int:
    """Nanoseconds since 1970 of a date and time. Raises InputError: it is none; names its place.

    Args:
        what: what it must be, for the message.
    """
    stamp = parse_stamp(text, where)
    if stamp.zone is None:
        raise InputError(f"{where} must be {what}")
    return int(stamp.value * 10**9)


class Log(NamedTuple):
    """The single requests of a file.

    Attributes:
        requests: all of them, failed ones too.
        notes: what its reader had to decide, a sentence each.
        known: what the file says of all requests together, by field of a `LoadRun`; `whole` is the name of that run.
    """

    requests: Iterable[Request] | Requests
    notes: tuple[str, ...] = ()
    known: Mapping[str, Any] = {}


def log_readers(tool: str, read: Callable[[Document], Log]) -> dict[str, Callable[[Document], Any]]:
    """Readers of a log of single requests: a load test by name and as a whole, and the instants of sending.

    Args:
        tool: name of what wrote the log.
        read: function that reads a file.
    """

    def load_test(document: Document) -> LoadTest:
        log = read(document)
        found = runs(log.requests, **log.known)
        return LoadTest(tool=tool, name=document.name, runs=found, whole=whole_of(found), notes=log.notes)

    def workload(document: Document) -> TraceArrivals:
        log = read(document)
        return trace(log.requests, document.name, log.notes)

    return {"load-test": load_test, "workload": workload}


def trace(requests: Iterable[Request] | Requests, name: str, remarks: tuple[str, ...] = ()) -> TraceArrivals:
    """The instants at which requests were sent, from the first.

    Raises:
        InputError: fewer than two requests, or all of them at once.
    """
    sent = np.sort(_gathered(requests).sent_ns)
    return TraceArrivals(instants_s=tuple(((sent - sent[:1]) / 1e9).tolist()), name=name, remarks=remarks)


def runs(requests: Iterable[Request] | Requests, whole: str = WHOLE, **others: Any) -> tuple[LoadRun, ...]:
    """A run for each name if there are several, and last the run of all requests, named `whole`.

    Requests without a name are in that run alone.

    Args:
        others: further fields of the run of all requests.

    Raises:
        InputError: no requests, or a negative duration.
    """
    log = _gathered(requests)
    if not len(log):
        raise InputError(f"{whole}: there are no requests; run the load test again")
    sent_ns, took_ns, is_good = log.sent_ns - log.sent_ns.min(), log.took_ns, log.is_good
    everything = _run(sent_ns, took_ns, is_good, whole, **others)
    parts = list(log.endpoints())
    if len(parts) < 2:
        return (everything,)
    kept = {key: others[key] for key in ("loop", "loop_because", "resolution_s") if key in others}
    by_name = (
        _run(sent_ns[one], took_ns[one], is_good[one], printable(name), **kept) for name, one in parts if name
    )
    return (*by_name, everything)


def _gathered(requests: Iterable[Request] | Requests) -> Requests:
    return requests if isinstance(requests, Requests) else Requests(requests)


def whole_of(found: Sequence[LoadRun]) -> str | None:
    """Name of the run that sums up all others, among the runs of `runs`."""
    return found[-1].name if len(found) > 1 else None


def _run(
    sent_ns: Nanoseconds, took_ns: Nanoseconds, is_good: npt.NDArray[np.bool_], name: str, **others: Any
) -> LoadRun:
    duration_s = max(int((sent_ns + took_ns).max() - sent_ns.min()) / 1e9, 0.0)
    succeeded = int(is_good.sum())
    measured = _measured(sent_ns[is_good], took_ns[is_good], others.get("resolution_s", 0.0))
    known = {
        "duration_s": duration_s,
        "rate_sent_rps": _sent_rps(sent_ns),
        "answered": _samples(sent_ns, took_ns) if succeeded < len(sent_ns) else None,
        "throughput_rps": len(sent_ns) / duration_s if duration_s else None,
        "succeeded": succeeded,
        "failed": len(sent_ns) - succeeded,
    }
    return LoadRun(name=name, **{**known, **measured, **others})


def _sent_rps(sent_ns: Nanoseconds) -> float | None:
    """Rate from the first to the last request sent; None with fewer than two, or all at once."""
    span_ns = int(sent_ns.max() - sent_ns.min())
    return (len(sent_ns) - 1) * 1e9 / span_ns if span_ns else None


def _samples(sent_ns: Nanoseconds, took_ns: Nanoseconds) -> Samples:
    return Samples.of(sent_ns / 1e9, took_ns / 1e9)


def _measured(sent_ns: Nanoseconds, took_ns: Nanoseconds, resolution_s: float) -> dict[str, Any]:
    """Statistics of the requests that succeeded; empty without any."""
    if not len(took_ns):
        return {}
    took_s = np.sort(took_ns) / 1e9
    return {
        "samples": _samples(sent_ns, took_ns),
        "mean_s": math.fsum(took_s) / len(took_s),
        "min_s": float(took_s[0]),
        "max_s": float(took_s[-1]),
        "quantiles_s": dict(_quantiles(took_s, resolution_s)),
    }


def _quantiles(took_s: Floats, resolution_s: float) -> Iterator[tuple[float, Interval]]:
    """Quantiles with at least one response beyond them; a truncated clock leaves a step open on either side."""
    for q in _QUANTILES:
        if (1.0 - q) * len(took_s) >= 1.0 - 1e-9:
            value = float(took_s[math.ceil(q * len(took_s) - 1e-9) - 1])
            yield q, around(value, resolution_s)


def around(value: float, half: float) -> Interval:
    """A value that rounding leaves open by `half` on either side, but not below 0."""
    return Interval(value=value, low=min(value, max(0.0, value - half)), high=value + half)


def read_all(read: Callable[[Any], Request], found: Iterable[Any]) -> Requests:
    """The request in each row or line. Raises InputError: a negative duration; names its place."""
    requests = Requests()
    for one in found:
        request = read(one)
        if request.took_ns < 0:
            raise InputError(f"{one.where} has a duration below 0; fix or drop the line")
        requests.add(request)
    return requests
