"""Prediction: simulates a plan in the long run, and with the very requests that were sent."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from capacity.errors import InconclusiveError, InputError
from capacity.performance import Interval, Performance
from capacity.profile.profile import ServiceProfile
from capacity.question.budget import Simulate
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import TraceArrivals, Workload, is_trace
from capacity.units import format_quantile
from capacity.verification.run import LoadRun

# Requests that determine P99 of a path to about a per cent, unless the load is near 1.
REPLAYED_MIN = 200_000
# A simulator of some quantiles, as in `capacity.question.budget.Work`.
Simulator = Callable[[Sequence[float]], Simulate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A prediction, None if it was impossible; and a clause for each thing that is absent."""

    performance: Performance | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A plan, and what predicts its performance; quantiles of the response rise."""

    profile: ServiceProfile
    plan: BatchPlan
    quantiles: tuple[float, ...]
    simulator: Simulator

    def in_the_long_run(self, workload: Workload) -> Prediction:
        """Prediction of the steady state; None for a trace, which has none.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the profile does not cover the plan's batches.
        """
        if is_trace(workload):
            return Prediction(reasons=("a trace has a replay, but no long run",))
        return self._falling_back("of the long run; capacity simulate can simulate longer", workload)

    def of(self, runs: Sequence[LoadRun]) -> Prediction:
        """Prediction for the counted requests of consecutive runs, at their instants: values only.

        They are replayed over and over with new service times, so that these leave little to chance. Intervals would
        speak of other arrivals, and the runs had the same ones.
        """
        try:
            trace = repeated(runs)
            workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
            found = self._falling_back("of the replay", workload)
        except InputError as error:  # all in all it may come faster than the plan can serve
            return Prediction(reasons=(f"the schedule cannot be replayed: {error}",))
        if found.performance is None:
            return found
        quantiles_s = {q: Interval.exact(x.value) for q, x in found.performance.response_quantiles_s.items()}
        values = replace(
            found.performance, intervals={}, response_quantiles_s=quantiles_s, wait_quantiles_s={}
        )
        return replace(found, performance=values)

    def _falling_back(self, what: str, workload: Workload) -> Prediction:
        """Prediction without the highest quantiles that would take more requests than allowed."""
        scenario = Scenario(profile=self.profile, workload=workload, plan=self.plan)
        reasons: list[str] = []
        for count in range(len(self.quantiles), 0, -1):
            quantiles = self.quantiles[:count]
            try:
                performance = self.simulator(quantiles)(scenario)
                return Prediction(performance=performance, reasons=tuple(reasons))
            except InconclusiveError as error:
                reasons.append(f"no {format_quantile(quantiles[-1])} {what}: {error}")
        return Prediction(reasons=tuple(reasons))


def repeated(runs: Sequence[LoadRun]) -> TraceArrivals:
    """The counted part of runs, repeated until it has `REPLAYED_MIN` requests or more.

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
    # A copy may end, but for rounding, at the very instant at which the next one begins.
    repeated_s = np.maximum.accumulate((starts_s[:, np.newaxis] + all_s).ravel())
    return TraceArrivals(instants_s=tuple(repeated_s.tolist()), name="the schedule")
