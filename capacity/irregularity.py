"""Irregularity: how far arrivals are from Poisson ones, in numbers that say why they take more replicas."""

from dataclasses import dataclass

from capacity.units import format_duration
from capacity.workload import GammaArrivals, MmppArrivals, TraceArrivals, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Irregularity:
    """Of gaps and of counts; 1 of each for Poisson arrivals.

    Attributes:
        gap_cv: coefficient of variation of the gaps; None where it is not known.
        dispersion: variance over mean of the counts in windows of `window_s`; None where there is no window.
    """

    gap_cv: float | None = None
    dispersion: float | None = None
    window_s: float | None = None

    def __str__(self) -> str:
        """As a reason.

        >>> str(Irregularity(gap_cv=13.2, dispersion=164.0, window_s=60.0))
        'gaps vary by a cv of 13.2, and counts in windows of 60 s vary 164 times as much as Poisson ones'
        """
        gaps = [] if self.gap_cv is None else [f"gaps vary by a cv of {self.gap_cv:.3g}"]
        if self.dispersion is None or self.window_s is None:
            return "".join(gaps)
        window, times = format_duration(self.window_s), f"{self.dispersion:.3g}"
        counts = f"counts in windows of {window} vary {times} times as much as Poisson ones"
        return ", and ".join([*gaps, counts])


def irregularity(workload: Workload) -> Irregularity | None:
    """What is known of a workload's arrivals; None where they are Poisson, or nothing can be measured."""
    arrivals = workload.arrivals
    if isinstance(arrivals, GammaArrivals):
        return Irregularity(gap_cv=arrivals.cv)
    if isinstance(arrivals, MmppArrivals):
        window_s = arrivals.burst_mean_s
        dispersion = arrivals.dispersion_index(workload.arrival_rate_rps, window_s)
        return Irregularity(dispersion=dispersion, window_s=window_s)
    if not isinstance(arrivals, TraceArrivals):
        return None
    from capacity.burstiness import EVENTS_MIN, WINDOWS_MIN, WINDOWS_S, measure

    if len(arrivals.instants_s) < EVENTS_MIN:
        return None
    fitting = [window_s for window_s in WINDOWS_S if arrivals.duration_s >= WINDOWS_MIN * window_s]
    seen = measure(arrivals.instants_s, fitting or [arrivals.duration_s / WINDOWS_MIN])
    widest = seen.counts[-1]
    return Irregularity(gap_cv=seen.gap_cv, dispersion=widest.dispersion, window_s=widest.window_s)
