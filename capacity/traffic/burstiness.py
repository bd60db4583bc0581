"""Burstiness: how much burstier recorded arrivals are than a Poisson stream, by time scale."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.traffic.workload import GammaArrivals, MmppArrivals, TraceArrivals, Workload
from capacity.units import format_duration, require_positive

Floats = NDArray[np.float64]
WINDOWS_S = (1.0, 10.0, 60.0)
EVENTS_MIN = 20
WINDOWS_MIN = 10
WINDOWS_MAX = 100_000_000
_FARTHEST_S = 1e15
_SHORTEST_S = 1e-200


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """Arrivals counted in windows of one length.

    Attributes:
        windows: number of whole windows between the first and the last arrival.
        dispersion: variance over mean of the counts; 1 for Poisson at every length, 0 for a clock.
        peak_to_mean: largest count over the mean count.
    """

    window_s: float
    windows: int
    dispersion: float
    peak_to_mean: float

    @property
    def poisson_error(self) -> float:
        """Standard deviation of `dispersion` around 1 in a Poisson stream of this length."""
        return math.sqrt(2.0 / (self.windows - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Burstiness:
    """Statistics of the irregularity of recorded arrivals.

    The variation of gaps is not enough: bursts that last longer than a gap show only in the dispersion of counts,
    over windows as long as the queue remembers.

    Attributes:
        rate_rps: number of gaps over their sum.
        gap_cv: standard deviation over mean of the gaps; 1 for Poisson.
        gap_correlation: correlation of a gap with the next; 0 for Poisson and all renewal streams, None if all gaps
            are equal.
        counts: one for each window length.

    Source:
        Cox & Lewis (1966), The Statistical Analysis of Series of Events, ch. 4-5; Sriram & Whitt
        (1986), IEEE Journal on Selected Areas in Communications 4(6), for queues.
    """

    events: int
    rate_rps: float
    gap_cv: float
    gap_correlation: float | None
    counts: tuple[WindowCounts, ...]


def measure(instants_s: Iterable[float], windows_s: Sequence[float] | None = None) -> Burstiness:
    """Irregularity of arrivals at these instants.

    Args:
        instants_s: at least 20, not falling, shape `(events,)`. [s]
        windows_s: lengths of counting windows; by default 1, 10 and 60 s, those of which at least 10 whole ones fit.

    Raises:
        DomainError: too few instants, one that is not finite or out of order, all at once, a window of which fewer
            than 10 or more than 100 million fit, or none that fits.

    Assumes:
        One rate throughout: a day's rise and fall counts as a burst of its length.

    >>> beats = measure([0.5 * k for k in range(101)])
    >>> beats.rate_rps, beats.gap_cv, [(c.window_s, c.dispersion) for c in beats.counts]
    (2.0, 0.0, [(1.0, 0.0)])
    """
    instants = _checked(instants_s)
    gaps = np.diff(instants)
    span_s = float(instants[-1] - instants[0])
    return Burstiness(
        events=len(instants),
        rate_rps=len(gaps) / span_s,
        gap_cv=float(np.std(gaps, ddof=1) / np.mean(gaps)),
        gap_correlation=_correlation(gaps),
        counts=tuple(_count(instants, window_s) for window_s in _fitting(windows_s, span_s)),
    )


def _checked(instants_s: Iterable[float]) -> Floats:
    try:
        given = instants_s if isinstance(instants_s, np.ndarray) else list(instants_s)
        instants = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise DomainError("instants_s must be numbers of seconds, one after the other") from None
    if instants.ndim != 1 or len(instants) < EVENTS_MIN:
        raise DomainError(
            f"instants_s must be at least {EVENTS_MIN} instants in a row, got shape {instants.shape}; "
            f"record longer"
        )
    sane = np.abs(instants) <= _FARTHEST_S  # NaN is not
    if not sane.all():
        at = int(np.argmin(sane))
        raise DomainError(
            f"instants_s[{at}] must be finite and within {_FARTHEST_S:g} s, got {float(instants[at])!r}"
        )
    falls = np.diff(instants) < 0.0
    if falls.any():
        at = int(np.argmax(falls)) + 1
        raise DomainError(
            f"instants_s[{at}] = {float(instants[at]):g} is before {float(instants[at - 1]):g}; sort by time"
        )
    if instants[-1] - instants[0] < _SHORTEST_S:
        raise DomainError("instants_s must not all be the same; record with a finer clock")
    return instants


def _fitting(windows_s: Sequence[float] | None, span_s: float) -> tuple[float, ...]:
    """The lengths asked for, each of which must fit; by default the usual ones that fit."""
    for index, window_s in enumerate(windows_s or ()):
        require_positive(f"windows_s[{index}]", window_s)
        if not WINDOWS_MIN <= span_s / window_s <= WINDOWS_MAX:
            raise DomainError(
                f"windows_s[{index}] must fit {WINDOWS_MIN} to {WINDOWS_MAX} times into the {span_s:g} s of "
                f"arrivals, got {window_s:g} s; use one of {span_s / WINDOWS_MIN:g} s or less"
            )
    if windows_s is not None:
        return tuple(windows_s)
    usual = tuple(w for w in WINDOWS_S if WINDOWS_MIN <= span_s / w <= WINDOWS_MAX)
    if not usual:
        raise DomainError(
            f"no window of {', '.join(f'{w:g}' for w in WINDOWS_S)} s fits {WINDOWS_MIN} times into the "
            f"{span_s:g} s of arrivals; give windows_s of {span_s / WINDOWS_MIN:g} s or less"
        )
    return usual


def _count(instants: Floats, window_s: float) -> WindowCounts:
    """Counts in [start, start + window), ...; arrivals after the last whole window are left out."""
    since = instants - instants[0]
    windows = int(since[-1] / window_s)
    edges = window_s * np.arange(windows + 1)
    counts = np.diff(np.searchsorted(since, edges, side="left"))
    mean = float(counts.mean())
    return WindowCounts(
        window_s=window_s,
        windows=windows,
        dispersion=float(counts.var(ddof=1)) / mean,
        peak_to_mean=float(counts.max()) / mean,
    )


def _correlation(gaps: Floats) -> float | None:
    """Lag-1 autocovariance over variance, both about the mean of all gaps and divided by their number."""
    about = gaps - gaps.mean()
    variance = float(about @ about)
    return float(about[:-1] @ about[1:]) / variance if variance > 0.0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Irregularity:
    """Irregularity of gaps and of counts, each 1 for Poisson arrivals.

    Attributes:
        gap_cv: coefficient of variation of the gaps; None if it is unknown.
        dispersion: variance over mean of the counts in windows of `window_s`; None without a window.
    """

    gap_cv: float | None = None
    dispersion: float | None = None
    window_s: float | None = None

    def __str__(self) -> str:
        """Irregularity as a clause that gives a reason.

        >>> str(Irregularity(gap_cv=13.2, dispersion=164.0, window_s=60.0))
        'gaps have a cv of 13.2, and counts in 60 s vary 164 times as much as Poisson ones'
        """
        gaps = [] if self.gap_cv is None else [f"gaps have a cv of {self.gap_cv:.3g}"]
        if self.dispersion is None or self.window_s is None:
            return "".join(gaps)
        window, times = format_duration(self.window_s), f"{self.dispersion:.3g}"
        counts = f"counts in {window} vary {times} times as much as Poisson ones"
        return ", and ".join([*gaps, counts])


def irregularity(workload: Workload) -> Irregularity | None:
    """Irregularity of a workload's arrivals; None if they are Poisson, or nothing can be measured."""
    arrivals = workload.arrivals
    if isinstance(arrivals, GammaArrivals):
        return Irregularity(gap_cv=arrivals.cv)
    if isinstance(arrivals, MmppArrivals):
        window_s = arrivals.burst_mean_s
        dispersion = arrivals.dispersion_index(workload.arrival_rate_rps, window_s)
        return Irregularity(dispersion=dispersion, window_s=window_s)
    if not isinstance(arrivals, TraceArrivals):
        return None

    if len(arrivals.instants_s) < EVENTS_MIN:
        return None
    fitting = [window_s for window_s in WINDOWS_S if arrivals.duration_s >= WINDOWS_MIN * window_s]
    seen = measure(arrivals.instants_s, fitting or [arrivals.duration_s / WINDOWS_MIN])
    widest = seen.counts[-1]
    return Irregularity(gap_cv=seen.gap_cv, dispersion=widest.dispersion, window_s=widest.window_s)
