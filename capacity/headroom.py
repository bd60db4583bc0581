"""Headroom: how far the arrival rate may rise before a plan no longer keeps its objective."""

from collections.abc import Callable
from dataclasses import replace

from capacity.judge import Judge
from capacity.plan import Plan, Verdict
from capacity.profile import ServiceProfile
from capacity.stability import sustainable_rate_rps
from capacity.workload import LatencyObjective, Workload

_FIRST_STEP = 0.02  # share of today's rate; doubled until refused
_RESOLUTION = 0.01  # share of the rate to which the end is found


def arrival_rate_max_rps(
    profile: ServiceProfile,
    workload: Workload,
    plan: Plan,
    objective: LatencyObjective,
    judge: Judge,
    progress: Callable[[str], None],
) -> float:
    """Upper end of the rates, from today's on, at which the plan is still accepted. [requests/s]

    Rises by doubled steps to a rate that is not accepted, then halves in. With a batch wait a plan may
    be refused, accepted and refused again as the rate rises; a refused stretch narrower than the
    step over it is not seen. What stays in doubt is not accepted.
    """
    limit_rps = sustainable_rate_rps(profile, plan)

    def accepted(rate_rps: float) -> bool:
        progress(f"headroom: trying {rate_rps:.4g} rps")
        trial = replace(workload, arrival_rate_rps=rate_rps)
        return rate_rps < limit_rps and judge.accepts(trial, plan, objective).verdict is Verdict.MET

    low_rps, step = workload.arrival_rate_rps, _FIRST_STEP
    high_rps = low_rps * (1.0 + step)
    while high_rps < limit_rps and accepted(high_rps):
        low_rps, step = high_rps, 2.0 * step
        high_rps = workload.arrival_rate_rps * (1.0 + step)
    high_rps = min(high_rps, limit_rps)
    while high_rps > low_rps * (1.0 + _RESOLUTION):
        middle_rps = (low_rps + high_rps) / 2.0
        if accepted(middle_rps):
            low_rps = middle_rps
        else:
            high_rps = middle_rps
    return low_rps
