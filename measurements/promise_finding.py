"""PromiseFinding: a promise beside what was measured of it, and what would tell where it is open."""

import math
from dataclasses import dataclass, replace

from capacity.objective import Measure, Promise
from capacity.performance import Interval, Performance
from capacity.plan import Verdict
from measurements.sections import MEAN_REQUESTS_MIN, requests_min

# Beyond so many times as many requests, what is promised is what is measured, and no load test tells.
_TIMES_MAX = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseFinding:
    """A promise and what was measured of it.

    Attributes:
        found: None where it was not measured.
        verdict: None likewise.
        has_interval: whether it is known how far what was found may be off.
    """

    promise: Promise
    found: Interval | None
    verdict: Verdict | None
    has_interval: bool = True

    @property
    def is_proven(self) -> bool:
        """Whether the promise is kept, for all that chance leaves open."""
        return self.verdict is Verdict.MET

    def doubt(self, answered: int) -> tuple[str, float]:
        """Why it is not known whether the promise is kept, and how many times as many requests would tell.

        Args:
            answered: requests that the finding is from.

        Returns:
            A clause, and a number above 1; infinite where more requests do not help.
        """
        if self.found is None:
            return self._not_measured(answered)
        if not self.has_interval:
            return f"{self.promise}: what was measured has no interval", math.inf
        if self.found.high == math.inf:
            return (
                f"{self.promise}: requests that were given up or refused leave open how long they take",
                math.inf,
            )
        side = self.found.high if self.found.value <= self.promise.allowed else self.found.low
        times = _times(self.found.value, side, self.promise.allowed)
        if times > _TIMES_MAX:
            return f"{self.promise} is what was measured, but for chance", math.inf
        return f"{self.promise} lies within the interval of what was measured", times

    def _not_measured(self, answered: int) -> tuple[str, float]:
        match self.promise.measure:
            case Measure.WAIT:
                return f"{self.promise}: waits are not seen from outside; promise responses", math.inf
            case Measure.UTILIZATION:
                return f"{self.promise}: the servers' metrics were not seen; give --metrics", math.inf
            case Measure.RESPONSE if self.promise.quantile is not None:
                needed = requests_min(self.promise.quantile)
            case _:
                needed = MEAN_REQUESTS_MIN
        said = f"{self.promise} was not measured, which takes {needed} answers; there were {answered}"
        return said, needed / answered if answered else math.inf


def _times(value: float, end: float, limit: float) -> float:
    """How many times as many requests bring an end of an interval to a limit.

    Widths fall as their root; of none among n, as n.
    """
    if value == limit:
        return math.inf
    ratio = (end - value) / (limit - value)
    return ratio if value == 0.0 else ratio**2


def promise_finding(promise: Promise, measured: Performance) -> PromiseFinding:
    """Kept or missed where the interval lies wholly on one side of the limit.

    A request that was given up may have been lost in the queue or not: a promise of loss is kept only if it
    is with all of these.
    """
    found = promise.found(measured)
    if found is None:
        return PromiseFinding(promise=promise, found=None, verdict=None)
    has_interval = promise.measure.has_quantile or promise.measure.value in measured.intervals
    given_up = measured.intervals.get("abandon_probability")
    if promise.measure is Measure.LOSS and measured.abandon_probability and given_up is not None:
        found = replace(found, high=found.high + given_up.high)
    verdict = Verdict.INCONCLUSIVE
    if has_interval and found.high <= promise.allowed:
        verdict = Verdict.MET
    elif has_interval and found.low > promise.allowed:
        verdict = Verdict.MISSED
    return PromiseFinding(promise=promise, found=found, verdict=verdict, has_interval=has_interval)
