"""Refusal: what theory refuses at once, before anything is simulated."""

from capacity.profile.profile import ServiceProfile
from capacity.question.candidate import Limit, Rejection
from capacity.question.objective import LatencyObjective, Measure, Promise
from capacity.question.scenario import Scenario
from capacity.question.stability import load_under, loss_min
from capacity.traffic.workload import ClosedPopulation, Workload


def refuse_batch_size(
    profile: ServiceProfile, objective: LatencyObjective, batch_size_max: int
) -> Rejection | None:
    """Why no number of replicas could meet the objective with batches up to this size."""
    if batch_size_max > profile.batch_size_max:
        return Rejection(limit=Limit.PROFILE_RANGE, allowed=profile.batch_size_max, needed=batch_size_max)
    promises = [p for p in objective.promises if p.measure in (Measure.RESPONSE, Measure.RESPONSE_MEAN)]
    refused = [
        Rejection.of(promise, floor_s, Limit.SERVICE_FLOOR)
        for promise in promises
        if (floor_s := _floor_s(profile, promise, batch_size_max)) > promise.allowed
    ]
    return max(refused, key=lambda rejection: rejection.needed / rejection.allowed, default=None)


def _floor_s(profile: ServiceProfile, promise: Promise, batch_size_max: int) -> float:
    """The time that no plan with batches up to this size can beat. [s]"""
    if promise.quantile is not None:
        return profile.service_floor_s(promise.quantile, batch_size_max)
    return profile.service_floor_mean_s(batch_size_max)


def refuse_load(scenario: Scenario) -> Rejection | None:
    """Why the queues of this plan would grow forever, or lose more than any promise allows to be late.

    Users who wait for their answers never make a queue grow, and lose nothing.
    """
    workload, plan = scenario.workload, scenario.plan
    if isinstance(workload, ClosedPopulation):
        return None
    if plan.queue_limit is not None:
        return _refuse_losses(scenario, workload)
    rho, is_exact = load_under(scenario.profile, workload, plan)
    return Rejection(limit=Limit.STABILITY, allowed=1.0, needed=rho) if rho >= 1.0 and is_exact else None


def _refuse_losses(scenario: Scenario, workload: Workload) -> Rejection | None:
    """Why a fleet that cannot serve what arrives must lose too much: a lost request is late."""
    allowed = scenario.objective.loss_allowed
    lost = loss_min(scenario.profile, workload.arrival_rate_rps, scenario.plan)
    if allowed is None or lost <= allowed:
        return None
    return Rejection.of_losses(scenario.objective.strictest_of_losses, lost)
