"""Headroom: how far the arrival rate may rise before a plan no longer keeps its objective."""

from collections.abc import Callable
from dataclasses import dataclass

from capacity.exact import judge_exactly
from capacity.judge import Judge, Proposal
from capacity.plan import Verdict
from capacity.stability import sustainable_rate_rps
from capacity.workload import Workload

_FIRST_STEP = 0.02  # share of today's rate; doubled until refused
_RESOLUTION = 0.01  # share of the rate to which the end is found


# A wider stretch between the largest accepted and the smallest refused rate is worth a word.
_DOUBT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The largest rate found accepted, and the smallest above it found refused. [requests/s]"""

    accepted_rps: float
    refused_rps: float

    @property
    def is_in_doubt(self) -> bool:
        """Whether much lies between the two."""
        return self.refused_rps > self.accepted_rps * (1.0 + _DOUBT)


def find_headroom(proposal: Proposal, judge: Judge, progress: Callable[[str], None]) -> Headroom:
    """Upper end of the rates, from today's on, at which the plan is still accepted.

    Rises by doubled steps to a rate that is not accepted, then halves in. With a batch wait a plan may
    be refused, accepted and refused again as the rate rises; a refused stretch narrower than the
    step over it is not seen. What stays in doubt is not accepted.
    """
    workload = proposal.workload
    assert isinstance(workload, Workload)  # noqa: S101  (a closed population has no rate)
    rate_rps = workload.arrival_rate_rps
    limit_rps = refused_rps = max(rate_rps, sustainable_rate_rps(proposal.profile, proposal.plan))

    def accepted(rate_rps: float) -> bool:
        nonlocal refused_rps
        progress(f"headroom: trying {rate_rps:.4g} rps")
        trial = proposal.at_rate(rate_rps)
        verdict = (judge_exactly(trial) or judge.accepts(trial)).verdict
        if verdict is Verdict.MISSED:
            refused_rps = min(refused_rps, rate_rps)
        return verdict is Verdict.MET

    low_rps, step = rate_rps, _FIRST_STEP
    high_rps = low_rps * (1.0 + step)
    while high_rps < limit_rps and accepted(high_rps):
        low_rps, step = high_rps, 2.0 * step
        high_rps = rate_rps * (1.0 + step)
    high_rps = min(high_rps, limit_rps)
    while high_rps > low_rps * (1.0 + _RESOLUTION):
        middle_rps = (low_rps + high_rps) / 2.0
        if accepted(middle_rps):
            low_rps = middle_rps
        else:
            high_rps = middle_rps
    return Headroom(accepted_rps=low_rps, refused_rps=refused_rps)
