"""Judge: what the planner asks of whatever predicts performance, simulation or theory."""

from dataclasses import dataclass, replace
from typing import Protocol, Self

from capacity.objective import LatencyObjective
from capacity.performance import Performance
from capacity.plan import Doubt, Plan, Rejection, Verdict
from capacity.profile import ServiceProfile
from capacity.survival import Spike
from capacity.workload import Demand, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan before the judge, with all that decides over it.

    Attributes:
        spike: the objective is asked of the responses during it, until new replicas are ready; None
            asks it of the steady state.
    """

    profile: ServiceProfile
    workload: Demand
    plan: Plan
    objective: LatencyObjective
    spike: Spike | None = None

    def at_rate(self, arrival_rate_rps: float) -> Self:
        """The same at another arrival rate."""
        assert isinstance(self.workload, Workload)  # noqa: S101  (a closed population has no rate)
        return replace(self, workload=replace(self.workload, arrival_rate_rps=arrival_rate_rps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether a plan keeps an objective, and what that was concluded from.

    Attributes:
        rejection: why not; None where it does.
        settled: see `capacity.plan.Candidate.settled`.
        batch_size_largest: the largest batch that ever formed; None where unknown. A plan that only
            differs by a larger limit, which was never reached, serves the same batches.
        requests: how many requests were simulated for it; 0 where a law knew.
        is_precise: whether the interval of what binds is as narrow as was asked.
        doubt: why the verdict is open; None where it is not.
    """

    verdict: Verdict
    rejection: Rejection | None
    performance: Performance | None
    settled: bool = True
    batch_size_largest: int | None = None
    requests: int = 0
    is_precise: bool = True
    doubt: Doubt | None = None


class Judge(Protocol):
    """Three degrees of care."""

    def search(self, proposal: Proposal, attempt: int) -> Judgement:
        """Enough to choose between candidates; `attempt` counts them from 1, refusing ever more carefully."""

    def certify(self, proposal: Proposal, attempt: int, requests_first: int) -> Judgement:
        """Enough to recommend a plan: fresh random numbers, and intervals of the asked precision.

        Args:
            attempt: which certificate of a command this is, from 1; later ones are stricter.
            requests_first: what it took to choose the plan, and so where to begin.
        """

    def accepts(self, proposal: Proposal) -> Judgement:
        """Enough for a point of the headroom: cheaper, and never met while in doubt."""
