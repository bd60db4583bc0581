"""Request log: single requests as a tool recorded them, and the runs and the trace that they make."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.load_test import LoadRun, Samples
from capacity.performance import Interval
from capacity.traffic.workload import TraceArrivals

_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
_NAMES_MAX = 50  # beyond, names are not endpoints but addresses with an id in them
_NS_MAX = 10**22  # 300,000 years; beyond, a unit is wrong
WHOLE = "all requests"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, in whole nanoseconds, which a float of seconds since 1970 does not hold.

    Attributes:
        sent_ns: when it was sent, from any origin. [ns]
        took_ns: from then to its answer. [ns]
        is_good: whether it was answered without an error.
        name: of its endpoint, if it has one.
    """

    sent_ns: int
    took_ns: int
    is_good: bool = True
    name: str = ""


def nanoseconds(value: Any, per: float, where: str) -> int:
    """Whole nanoseconds of a duration or instant.

    Args:
        value: as it was read, a number.
        per: nanoseconds in its unit.

    Raises:
        InputError: too large to be an instant or a duration, by its place.
    """
    exact = value * int(per) if isinstance(value, int) else value * per
    if not abs(exact) <= _NS_MAX:  # nor infinite
        raise InputError(f"{where} is too large for a time; is the unit right?")
    return round(exact)


def trace(requests: Sequence[Request], name: str, remarks: tuple[str, ...] = ()) -> TraceArrivals:
    """The instants at which requests were sent, from the first.

    Raises:
        InputError: fewer than two requests, or all of them at once.
    """
    sent = sorted(one.sent_ns for one in requests)
    return TraceArrivals(instants_s=tuple((one - sent[0]) / 1e9 for one in sent), name=name, remarks=remarks)


def runs(requests: Sequence[Request], whole: str = WHOLE, **others: Any) -> tuple[LoadRun, ...]:
    """A run for each name if there are several, and last the run of all requests, which is named `whole`.

    Args:
        others: what else is known of the run of all.

    Raises:
        InputError: no requests, or a duration below 0.
    """
    if not requests:
        raise InputError(f"{whole}: there are no requests; run the load test again")
    first_ns = min(one.sent_ns for one in requests)
    everything = _run(requests, whole, first_ns, **others)
    names = {one.name for one in requests}
    if not 1 < len(names) <= _NAMES_MAX:
        return (everything,)
    kept = {key: others[key] for key in ("loop", "resolution_s") if key in others}
    by_name = groupby(sorted(requests, key=lambda one: one.name), key=lambda one: one.name)
    parts = [_run(list(group), printable(name) or "no name", first_ns, **kept) for name, group in by_name]
    return (*parts, everything)


def whole_of(found: Sequence[LoadRun]) -> str | None:
    """Name of the run that is all others together, of what `runs` gave."""
    return found[-1].name if len(found) > 1 else None


def _run(requests: Sequence[Request], name: str, first_ns: int, **others: Any) -> LoadRun:
    good = [one for one in requests if one.is_good]
    ends = [one.sent_ns + one.took_ns for one in requests]
    duration_s = max((max(ends) - min(one.sent_ns for one in requests)) / 1e9, 0.0)
    measured = _measured(good, first_ns, others.get("resolution_s", 0.0)) if good else {}
    known = {
        "duration_s": duration_s,
        "rate_sent_rps": _sent_rps(requests),
        "answered": _samples(requests, first_ns) if len(good) < len(requests) else None,
        "throughput_rps": len(requests) / duration_s if duration_s else None,
        "succeeded": len(good),
        "failed": len(requests) - len(good),
    }
    return LoadRun(name=name, **{**known, **measured, **others})


def _sent_rps(requests: Sequence[Request]) -> float | None:
    """From the first to the last that was sent; None of fewer than two, or of all at once."""
    sent = [one.sent_ns for one in requests]
    span_ns = max(sent) - min(sent)
    return (len(sent) - 1) * 1e9 / span_ns if span_ns else None


def _samples(requests: Sequence[Request], first_ns: int) -> Samples:
    sent_s = [(one.sent_ns - first_ns) / 1e9 for one in requests]
    return Samples.of(sent_s, [one.took_ns / 1e9 for one in requests])


def _measured(good: Sequence[Request], first_ns: int, resolution_s: float) -> dict[str, Any]:
    """Statistics of the requests that succeeded."""
    took_s = sorted(one.took_ns / 1e9 for one in good)
    return {
        "samples": _samples(good, first_ns),
        "mean_s": math.fsum(took_s) / len(took_s),
        "min_s": took_s[0],
        "max_s": took_s[-1],
        "quantiles_s": dict(_quantiles(took_s, resolution_s)),
    }


def _quantiles(took_s: Sequence[float], resolution_s: float) -> Iterator[tuple[float, Interval]]:
    """Those with at least one response beyond them; truncated clocks leave a step open on either side."""
    for q in _QUANTILES:
        if (1.0 - q) * len(took_s) >= 1.0 - 1e-9:
            value = took_s[math.ceil(q * len(took_s) - 1e-9) - 1]
            yield q, around(value, resolution_s)


def around(value: float, half: float) -> Interval:
    """A value that rounding leaves open by `half` on either side, though not below 0."""
    return Interval(value=value, low=min(value, max(0.0, value - half)), high=value + half)


def read_all(read: Callable[[Any], Request], found: Iterator[Any]) -> list[Request]:
    """The request in each row or line. Raises InputError: a duration below 0, by its place."""
    requests = []
    for one in found:
        request = read(one)
        if request.took_ns < 0:
            raise InputError(f"{one.where} has a duration below 0; fix or drop the line")
        requests.append(request)
    return requests
