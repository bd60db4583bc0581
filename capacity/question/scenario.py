"""Scenario: a plan for a profile under a workload, and the objective that it must meet."""

from dataclasses import dataclass, replace
from typing import Self

from capacity.profile.profile import ServiceProfile
from capacity.question.objective import Objective
from capacity.question.plan import Plan
from capacity.question.resilience import Spike
from capacity.question.stability import load_under
from capacity.traffic.workload import ClosedPopulation, Demand, Workload

_NO_OBJECTIVE = Objective()
_QUANTILE_OF_MEANS = 0.9  # the quantile that sets the length of runs if only means are asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a law or the simulator is asked about; the one record between a question and its answer.

    Attributes:
        objective: what the plan is held to; empty where only its performance is asked for.
        quantiles: to report beside those of the objective.
        spike: the objective is asked of the responses during it, until new replicas are ready; None
            asks it of the steady state.
    """

    profile: ServiceProfile
    workload: Demand
    plan: Plan
    objective: Objective = _NO_OBJECTIVE
    quantiles: tuple[float, ...] = ()
    spike: Spike | None = None

    @property
    def load(self) -> float | None:
        """Arrival rate over the sustainable rate.

        None for a closed population, which has no rate of its own, and where the profile does not cover
        the batch.
        """
        covered = self.profile.batch_size_min <= self.plan.batch_size_max <= self.profile.batch_size_max
        if isinstance(self.workload, ClosedPopulation) or not covered:
            return None
        return load_under(self.profile, self.workload, self.plan)[0]

    @property
    def quantile_max(self) -> float:
        """The highest quantile that is asked for; it decides how much must be simulated."""
        return max((*self.objective.quantiles, *self.quantiles), default=_QUANTILE_OF_MEANS)

    def at_rate(self, arrival_rate_rps: float) -> Self:
        """The same at another arrival rate."""
        assert isinstance(self.workload, Workload)  # noqa: S101  (a closed population has no rate)
        return replace(self, workload=replace(self.workload, arrival_rate_rps=arrival_rate_rps))
