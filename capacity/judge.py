"""Judge: what the planner asks of whatever predicts performance, simulation or theory."""

from dataclasses import dataclass
from typing import Protocol

from capacity.performance import Performance
from capacity.plan import Plan, Rejection, Verdict
from capacity.workload import LatencyObjective, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether a plan keeps an objective, and what that was concluded from.

    Attributes:
        rejection: why not; None where it does.
        settled: see `capacity.plan.Candidate.settled`.
        batch_size_largest: the largest batch that ever formed; None where unknown. A plan that only
            differs by a larger limit, which was never reached, serves the same batches.
        requests: how many requests were simulated for it.
        is_precise: whether the interval of the binding quantile is as narrow as was asked.
    """

    verdict: Verdict
    rejection: Rejection | None
    performance: Performance | None
    settled: bool = True
    batch_size_largest: int | None = None
    requests: int = 0
    is_precise: bool = True


class Judge(Protocol):
    """Three degrees of care."""

    def search(self, workload: Workload, plan: Plan, objective: LatencyObjective, attempt: int) -> Judgement:
        """Enough to choose between candidates; `attempt` counts them from 1, refusing ever more carefully."""

    def certify(
        self,
        workload: Workload,
        plan: Plan,
        objective: LatencyObjective,
        attempt: int,
        requests_first: int,
    ) -> Judgement:
        """Enough to recommend a plan: fresh random numbers, and intervals of the asked precision.

        Args:
            attempt: which certificate of a command this is, from 1; later ones are stricter.
            requests_first: what it took to choose the plan, and so where to begin.
        """

    def accepts(self, workload: Workload, plan: Plan, objective: LatencyObjective) -> Judgement:
        """Enough for a point of the headroom: cheaper, and never met while in doubt."""


def binding_quantile(objective: LatencyObjective, performance: Performance) -> float:
    """The quantile that comes closest to its limit, or exceeds it by most."""
    return max(objective.limits, key=lambda q: pressure(objective, performance, q))


def pressure(objective: LatencyObjective, performance: Performance, quantile: float) -> float:
    """A quantile's value over its limit: above 1 it is missed."""
    return performance.response_quantiles_s[quantile].value / objective.limits[quantile]
