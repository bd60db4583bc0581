"""Prediction: simulates a plan in the long run, and with the very requests that were sent."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from capacity.errors import DomainError, InconclusiveError, InputError
from capacity.performance import Interval, Performance
from capacity.question.budget import Replayed, Simulate
from capacity.question.scenario import Scenario
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import TraceArrivals, Workload, is_trace
from capacity.units import format_quantile
from capacity.verification.conversations import ConversationSchedule
from capacity.verification.run import LoadRun

# Requests that determine P99 of a path to about a per cent, unless the load is near 1.
REPLAYED_MIN = 200_000
# A simulator of some quantiles, as in `capacity.question.budget.Work`.
Simulator = Callable[[Sequence[float]], Simulate]
# A simulator of runs one by one, likewise.
Replays = Callable[[Sequence[Replayed], Sequence[float]], Performance]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A prediction, None if it was impossible; and a clause for each thing that is absent."""

    performance: Performance | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A plan, and what predicts its performance; quantiles of the response rise."""

    profile: Any
    plan: Any
    quantiles: tuple[float, ...]
    simulator: Simulator
    # what is said of the requests beside their rate, such as their lengths, by name in `Scenario`
    requests: Mapping[str, Any] = field(default_factory=dict)
    replays: Replays | None = None  # simulator of runs whose requests have lengths

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
        speak of other arrivals, and the runs had the same ones. Requests with lengths are replayed from the start of
        their run.
        """
        try:
            if any(run.schedule.lengths is not None for run in runs):
                return self._one_by_one(runs)
            trace = repeated(runs)
            workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
            found = self._falling_back("of the replay", workload)
        except (InputError, DomainError) as error:  # all in all it may come faster than the plan can serve
            return Prediction(reasons=(f"the schedule cannot be replayed: {error}",))
        if found.performance is None:
            return found
        quantiles_s = {q: Interval.exact(x.value) for q, x in found.performance.response_quantiles_s.items()}
        values = replace(
            found.performance, intervals={}, response_quantiles_s=quantiles_s, wait_quantiles_s={}
        )
        return replace(found, performance=values)

    def _one_by_one(self, runs: Sequence[LoadRun]) -> Prediction:
        """Prediction for the counted requests of runs, each served in order with its lengths."""
        assert self.replays is not None  # noqa: S101  (or no request has lengths)
        parts = []
        for run in runs:
            schedule = run.schedule
            if isinstance(schedule, ConversationSchedule):
                parts.append(self._acted_again(run, schedule))
                continue
            assert schedule.lengths is not None  # noqa: S101  (as all have)
            given, got = (tuple(column.tolist()) for column in schedule.lengths)
            trace = TraceArrivals(instants_s=tuple(schedule.instants_s.tolist()), name="the schedule")
            workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
            asked = {**self.requests, "lengths": LengthRows(given, got), "in_order": True}
            scenario = Scenario(profile=self.profile, workload=workload, plan=self.plan, **asked)
            parts.append(Replayed(scenario=scenario, from_s=run.warm_up_s, to_s=schedule.duration_s))
        return Prediction(performance=self.replays(parts, self.quantiles))

    def _acted_again(self, run: LoadRun, schedule: ConversationSchedule) -> Replayed:
        """The sessions of a run, which begin as they did, and whose turns come as the simulated answers do."""
        rate_rps = schedule.requests / schedule.duration_s
        workload = Workload(arrival_rate_rps=rate_rps)
        scenario = Scenario(profile=self.profile, workload=workload, plan=self.plan, **self.requests)
        return Replayed(
            scenario=scenario, from_s=run.warm_up_s, to_s=schedule.duration_s, sessions=schedule.acted
        )

    def _falling_back(self, what: str, workload: Workload) -> Prediction:
        """Prediction without the highest quantiles that would take more requests than allowed."""
        scenario = Scenario(profile=self.profile, workload=workload, plan=self.plan, **self.requests)
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
