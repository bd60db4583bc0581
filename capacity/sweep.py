"""Sweep: the cells of a grid of questions, and what became of each."""

from dataclasses import dataclass
from enum import StrEnum

from capacity.performance import Performance
from capacity.plan import Plan
from capacity.profile import ServiceProfile
from capacity.stability import load
from capacity.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One question: a plan for a profile under a workload."""

    profile: ServiceProfile
    workload: Workload
    plan: Plan

    @property
    def load(self) -> float | None:
        """Arrival rate over the sustainable rate; None where the profile does not cover the batch."""
        if not self.profile.batch_size_min <= self.plan.batch_size_max <= self.profile.batch_size_max:
            return None
        return load(self.profile, self.workload.arrival_rate_rps, self.plan)


class Outcome(StrEnum):
    """What became of a cell.

    ANSWERED: it has numbers.
    UNSTABLE: it has no steady state, so no numbers.
    PROFILE_RANGE: the profile does not cover its batches.
    INCONCLUSIVE: the budget, or the trace, did not suffice for numbers with intervals.
    """

    ANSWERED = "answered"
    UNSTABLE = "unstable"
    PROFILE_RANGE = "profile_range"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The performance of a cell, or the reason why it has none."""

    outcome: Outcome
    reason: str = ""
    performance: Performance | None = None
