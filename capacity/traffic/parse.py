"""Parsing: an arrival process as it is typed."""

import re
from dataclasses import replace
from pathlib import Path

from capacity.errors import InputError, quoted
from capacity.files import printable, repeatable
from capacity.traffic.trace import read_trace
from capacity.traffic.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from capacity.units import is_number, parse_duration_s

_CV_MIN, _CV_MAX = 0.01, 20.0  # below, deterministic arrivals are practically the same
_GAMMA = re.compile(r"gamma:cv=([0-9.]{1,12})")
_KEYS = ("ratio", "burst", "calm")
_EXAMPLES = "poisson, deterministic, gamma:cv=2, mmpp:ratio=5,burst=10s,calm=60s or trace:FILE"


def parse_arrivals(text: str) -> ArrivalProcess:
    """Arrivals from `poisson`, `deterministic`, `gamma:cv=2`, `mmpp:ratio=5,burst=10s,calm=60s` or `trace:FILE`.

    Raises:
        InputError: none of these, or an unreadable trace.

    >>> parse_arrivals("gamma:cv=2")
    GammaArrivals(cv=2.0)
    """
    if text == "poisson":
        return PoissonArrivals()
    if text == "deterministic":
        return DeterministicArrivals()
    if text.startswith("trace:"):
        path = Path(text.removeprefix("trace:"))
        return replace(read_trace(path), path=repeatable(path))
    if text.startswith("mmpp:"):
        return _mmpp(text)
    gamma = _GAMMA.fullmatch(text)
    if text == "trace":
        raise InputError("'trace' needs a file, in the same word: trace:FILE")
    if gamma is None:
        raise InputError(f"unknown arrivals {printable(text)!r}; use {_EXAMPLES}")
    cv = _number(gamma[1], "cv of gamma arrivals")
    if not _CV_MIN <= cv <= _CV_MAX:
        raise InputError(f"cv of gamma arrivals must be from {_CV_MIN} to {_CV_MAX:g}, got {cv:g}")
    return GammaArrivals(cv=cv)


def workload(arrivals: ArrivalProcess, arrival_rate_rps: float | None) -> Workload:
    """A workload at the given rate; a trace has its own rate, which may be overridden.

    Raises:
        InputError: no rate, and no trace to take it from.
    """
    if arrival_rate_rps is not None:
        return Workload(arrival_rate_rps=arrival_rate_rps, arrivals=arrivals)
    if isinstance(arrivals, TraceArrivals):
        return Workload(arrival_rate_rps=arrivals.rate_rps, arrivals=arrivals)
    raise InputError("no arrival rate given; use --rate 500rps")


def _mmpp(text: str) -> MmppArrivals:
    """Ratio, burst and calm, each once, in any order."""
    shown = printable(text)[:80]
    pairs = [part.partition("=") for part in text.removeprefix("mmpp:").split(",")]
    given = {key.strip(): value.strip() for key, _, value in pairs}
    if len(pairs) != len(_KEYS) or set(given) != set(_KEYS):
        raise InputError(
            f"mmpp takes ratio, burst and calm, once each, got {shown!r}; "
            "write mmpp:ratio=5,burst=10s,calm=60s"
        )
    return MmppArrivals(
        ratio=_number(given["ratio"], "ratio of mmpp"),
        burst_mean_s=parse_duration_s(given["burst"], "burst of mmpp"),
        calm_mean_s=parse_duration_s(given["calm"], "calm of mmpp"),
    )


def _number(text: str, where: str) -> float:
    if not is_number(text):
        raise InputError(f"{where}: {quoted(text)} is not a finite number in plain digits")
    return float(text)
