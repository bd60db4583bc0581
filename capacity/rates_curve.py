"""Rates as a curve: what is promised against the arrival rate, with its intervals, for charts and figures."""

from dataclasses import dataclass

from capacity.performance import Interval
from capacity.plan import Verdict
from capacity.rates import Rates

# Times the limit beyond which a point says only that it is far too high.
TOP = 2.0
MARKS = {Verdict.MET: "o", Verdict.MISSED: "x", Verdict.INCONCLUSIVE: "?"}
NAMES = {Verdict.MET: "kept", Verdict.MISSED: "missed", Verdict.INCONCLUSIVE: "in doubt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCurve:
    """Points of one line; durations in milliseconds, as people read them.

    Attributes:
        points: rate, value with its interval, and verdict; those above `top` are left out. [requests/s]
        limit: what is allowed.
        top: upper end of the axis.
        axis_title: of the values, with the unit.
    """

    title: str
    axis_title: str
    points: tuple[tuple[float, Interval, Verdict], ...]
    limit: float
    top: float

    @property
    def right_rps(self) -> float:
        """Right end of the axis. [requests/s]"""
        return max((rate_rps for rate_rps, _, _ in self.points), default=1.0)


def rate_curve(rates: Rates) -> RateCurve:
    """The curve of what binds at the upper end."""
    promise, plan = rates.promise, rates.scenario.plan
    scale, unit = (1e3, " [ms]") if promise.measure.is_duration else (1.0, "")
    top = TOP * promise.allowed * scale
    points = []
    for point in rates.points:
        performance = point.candidate.performance
        found = None if performance is None else promise.found(performance)
        if found is not None and found.value * scale <= top:
            ends = Interval(
                value=found.value * scale, low=found.low * scale, high=min(top, found.high * scale)
            )
            points.append((point.arrival_rate_rps, ends, point.verdict))
    return RateCurve(
        title=f"{promise.what} of {plan.replicas} x {plan.profile}, batches up to {plan.batch_size_max}",
        axis_title=promise.what + unit,
        points=tuple(points),
        limit=promise.allowed * scale,
        top=top,
    )
