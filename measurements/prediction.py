"""Prediction: what the simulator says of a plan, in the long run and of the very requests that were sent."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from capacity.errors import InconclusiveError, InputError
from capacity.performance import Interval, Performance
from capacity.plan import Plan
from capacity.profile import ServiceProfile
from capacity.units import format_quantile
from capacity.workbench import Simulate
from capacity.workload import TraceArrivals, Workload, is_trace
from measurements.schedule import Schedule

# So many requests tell P99 of a path to about a per cent, unless the load is near 1.
REPLAYED_MIN = 200_000
# The simulator of some quantiles, as `capacity.workbench.Work` has it.
Simulator = Callable[[Sequence[float]], Simulate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is predicted, and why something is not.

    Attributes:
        performance: None where nothing could be predicted.
        reasons: a clause each for what is absent.
    """

    performance: Performance | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A plan, and what predicts its performance.

    Attributes:
        quantiles: of the response, rising.
    """

    profile: ServiceProfile
    plan: Plan
    quantiles: tuple[float, ...]
    simulator: Simulator = field(repr=False)

    def in_the_long_run(self, workload: Workload) -> Prediction:
        """Steady state; a trace has none.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the profile does not cover the plan's batches.
        """
        if is_trace(workload):
            return Prediction(performance=None, reasons=("a trace has no long run, but a replay",))
        return self._falling_back("of the long run, which capacity simulate may take further", workload)

    def of(self, schedules: Sequence[Schedule], warm_up_s: float) -> Prediction:
        """The requests that count, at the instants of schedules that follow each other: values only.

        They are replayed over and over, each time with other service times, so that these leave little to
        chance. Intervals would speak of other arrivals, and the runs had the same.
        """
        try:
            trace = repeated(schedules, warm_up_s)
            workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
            found = self._falling_back("of the replay", workload)
        except InputError as error:  # it may come faster than the plan can serve, all in all
            return Prediction(performance=None, reasons=(f"the schedule cannot be replayed: {error}",))
        return replace(found, performance=_values(found.performance))

    def _falling_back(self, what: str, workload: Workload) -> Prediction:
        """Without the highest quantile, and so on, where it would take more requests than there are."""
        reasons: list[str] = []
        for count in range(len(self.quantiles), 0, -1):
            quantiles = self.quantiles[:count]
            try:
                performance = self.simulator(quantiles)(self.profile, workload, self.plan)
                return Prediction(performance=performance, reasons=tuple(reasons))
            except InconclusiveError as error:
                reasons.append(f"no {format_quantile(quantiles[-1])} {what}: {error}")
        return Prediction(performance=None, reasons=tuple(reasons))


def repeated(schedules: Sequence[Schedule], warm_up_s: float) -> TraceArrivals:
    """What counts of schedules, again and again until there are `REPLAYED_MIN` requests or more.

    Raises:
        InputError: fewer than two requests count.
    """
    parts, lasting_s = [np.zeros(0)], 0.0
    for schedule in schedules:
        instants_s = schedule.instants_s[schedule.instants_s >= warm_up_s]
        parts.append(instants_s - warm_up_s + lasting_s)
        lasting_s += schedule.duration_s - warm_up_s
    all_s = np.concatenate(parts)
    copies = math.ceil(REPLAYED_MIN / max(1, len(all_s)))
    starts_s = warm_up_s + lasting_s * np.arange(copies)
    # A copy may end at the very instant at which the next one begins, but for rounding.
    repeated_s = np.maximum.accumulate((starts_s[:, np.newaxis] + all_s).ravel())
    return TraceArrivals(instants_s=tuple(repeated_s.tolist()), name="the schedule")


def _values(performance: Performance | None) -> Performance | None:
    if performance is None:
        return None
    quantiles_s = {q: Interval.exact(x.value) for q, x in performance.response_quantiles_s.items()}
    return replace(performance, intervals={}, response_quantiles_s=quantiles_s, wait_quantiles_s={})
