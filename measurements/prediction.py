"""Prediction: what the simulator says of a plan, in the long run and of the very requests that were sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from capacity.errors import InconclusiveError, InputError
from capacity.performance import Performance
from capacity.plan import Plan
from capacity.profile import ServiceProfile
from capacity.units import format_quantile
from capacity.workbench import Simulate
from capacity.workload import TraceArrivals, Workload, is_trace
from measurements.schedule import Schedule

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
        return self._falling_back("the long run", workload)

    def of(self, schedule: Schedule) -> Prediction:
        """The same requests at the same instants, from an empty server on as they were sent."""
        instants_s = tuple(schedule.instants_s.tolist())
        try:
            trace = TraceArrivals(instants_s=instants_s, name="the schedule")
            workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
            return self._falling_back("the replay", workload)
        except InputError as error:  # it may come faster than the plan can serve, all in all
            return Prediction(performance=None, reasons=(f"the schedule cannot be replayed: {error}",))

    def _falling_back(self, what: str, workload: Workload) -> Prediction:
        """Without the highest quantile, and so on, where it would take more requests than there are."""
        reasons: list[str] = []
        for count in range(len(self.quantiles), 0, -1):
            quantiles = self.quantiles[:count]
            try:
                performance = self.simulator(quantiles)(self.profile, workload, self.plan)
                return Prediction(performance=performance, reasons=tuple(reasons))
            except InconclusiveError as error:
                reasons.append(f"no {format_quantile(quantiles[-1])} of {what}: {error}")
        return Prediction(performance=None, reasons=tuple(reasons))
