"""Promises: each limit of the objective beside what was measured of it, and what would settle it."""

import math
from dataclasses import dataclass, replace

from capacity.measurement.intervals import REQUESTS_MIN, requests_min
from capacity.objective import Measure, Promise
from capacity.performance import Interval, Performance
from capacity.plan import Verdict

# Beyond so many times as many requests, what is promised is what is measured, and no load test tells.
_TIMES_MAX = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseFinding:
    """A promise and what was measured of it."""

    promise: Promise
    found: Interval | None  # None where it was not measured
    verdict: Verdict | None  # None likewise
    has_interval: bool = True  # whether it is known how far what was found may be off

    def doubt(self, answered: int) -> tuple[str, float] | None:
        """Why it is not known whether the promise is kept, and how many times as many requests would tell.

        Args:
            answered: requests that the finding is from.

        Returns:
            A clause, and a number above 1, infinite where more requests do not help; None where it is known.
        """
        if self.verdict in (Verdict.MET, Verdict.MISSED):
            return None
        if self.found is None:
            return self._not_measured(answered)
        if not self.has_interval:
            return f"{self.promise}: what was measured has no interval", math.inf
        value, limit = self.found.value, self.promise.allowed
        if self.found.high == math.inf:
            said = "requests that were given up or refused leave open how long they take"
            return f"{self.promise}: {said}", math.inf
        end = self.found.high if value <= limit else self.found.low
        # Widths fall as the root of the number of requests; of none among n, as n.
        ratio = math.inf if value == limit else (end - value) / (limit - value)
        times = ratio if value == 0.0 else ratio**2
        if times > _TIMES_MAX:
            return f"{self.promise} is what was measured, but for chance", math.inf
        return f"{self.promise} lies within the interval of what was measured", times

    def _not_measured(self, answered: int) -> tuple[str, float]:
        match self.promise.measure:
            case Measure.WAIT:
                return f"{self.promise}: waits are not seen from outside; promise responses", math.inf
            case Measure.UTILIZATION:
                return f"{self.promise}: the servers' metrics were not seen; give --metrics", math.inf
        quantile = self.promise.quantile
        needed = REQUESTS_MIN if quantile is None else requests_min(quantile)
        said = f"{self.promise} was not measured, which takes {needed} answers; there were {answered}"
        return said, needed / answered if answered else math.inf


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
