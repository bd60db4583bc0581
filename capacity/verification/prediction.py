"""Prediction: what the simulator says of a plan, in the long run and of the very requests that were sent."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from capacity.errors import InconclusiveError, InputError
from capacity.performance import Interval, Performance
from capacity.profile.profile import ServiceProfile
from capacity.question.budget import Simulate
from capacity.question.plan import Plan
from capacity.traffic.workload import TraceArrivals, Workload, is_trace
from capacity.units import format_quantile
from capacity.verification.run import LoadRun

# So many requests tell P99 of a path to about a per cent, unless the load is near 1.
REPLAYED_MIN = 200_000
# The simulator of some quantiles, as `capacity.question.budget.Work` has it.
Simulator = Callable[[Sequence[float]], Simulate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is predicted, None where nothing could be; and a clause for each thing that is absent."""

    performance: Performance | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A plan, and what predicts its performance; quantiles of the response rise."""

    profile: ServiceProfile
    plan: Plan
    quantiles: tuple[float, ...]
    simulator: Simulator

    def in_the_long_run(self, workload: Workload) -> Prediction:
        """Steady state; a trace has none.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the profile does not cover the plan's batches.
        """
        if is_trace(workload):
            return Prediction(reasons=("a trace has a replay, but no long run",))
        return self._falling_back("of the long run; capacity simulate can simulate longer", workload)

    def of(self, runs: Sequence[LoadRun]) -> Prediction:
        """The requests that count, at their instants, of runs that follow each other: values only.

        They are replayed over and over, each time with other service times, so that these leave little to
        chance. Intervals would speak of other arrivals, and the runs had the same.
        """
        try:
            trace = repeated(runs)
            workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
            found = self._falling_back("of the replay", workload)
        except InputError as error:  # it may come faster than the plan can serve, all in all
            return Prediction(reasons=(f"the schedule cannot be replayed: {error}",))
        if found.performance is None:
            return found
        quantiles_s = {q: Interval.exact(x.value) for q, x in found.performance.response_quantiles_s.items()}
        values = replace(
            found.performance, intervals={}, response_quantiles_s=quantiles_s, wait_quantiles_s={}
        )
        return replace(found, performance=values)

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
        return Prediction(reasons=tuple(reasons))


def repeated(runs: Sequence[LoadRun]) -> TraceArrivals:
    """What counts of runs, again and again until there are `REPLAYED_MIN` requests or more.

    Raises InputError: fewer than two requests count.
    """
    parts, lasting_s = [np.zeros(0)], 0.0
    for run in runs:
        instants_s = run.schedule.instants_s
        parts.append(instants_s[instants_s >= run.warm_up_s] - run.warm_up_s + lasting_s)
        lasting_s += run.schedule.duration_s - run.warm_up_s
    all_s = np.concatenate(parts)
    copies = math.ceil(REPLAYED_MIN / max(1, len(all_s)))
    starts_s = lasting_s * np.arange(copies)
    # A copy may end at the very instant at which the next one begins, but for rounding.
    repeated_s = np.maximum.accumulate((starts_s[:, np.newaxis] + all_s).ravel())
    return TraceArrivals(instants_s=tuple(repeated_s.tolist()), name="the schedule")
