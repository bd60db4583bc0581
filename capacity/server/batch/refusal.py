"""Refusal: plans that theory refuses, before anything is simulated."""

import math
from bisect import bisect_left
from dataclasses import replace

from capacity.profile.profile import ServiceProfile
from capacity.profile.sampling import FloorDoubt, doubt_of_floor, has_samples
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict, refuse_overload
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Overload, Surge
from capacity.question.plan import waiting_max
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan, BatchScenario
from capacity.server.batch.stability import device_throughput_max_rps, load_under, loss_min
from capacity.server.batch.timely import quantile_floor_s
from capacity.traffic.workload import (
    ClosedPopulation,
    GammaArrivals,
    MmppArrivals,
    RenewalArrivals,
    TraceArrivals,
    Workload,
    is_patient,
)

# Measures for which the law of users gives a bound.
_OF_USERS = (Measure.RESPONSE, Measure.RESPONSE_MEAN, Measure.WAIT)
_ROUNDING = 1e-12


def refuse_batch_size(
    profile: ServiceProfile, objective: Objective, batch_size_max: int, confidence: float = 0.95
) -> Rejection | None:
    """Reason why no number of replicas could meet the objective with batches up to this size; None if there is none.

    A service time that its samples cannot tell from the limit is no reason: `floor_doubt` names it.

    Args:
        confidence: confidence of the interval of the service time.
    """
    if batch_size_max > profile.batch_size_max:
        return Rejection(reason=Reason.PROFILE_RANGE, allowed=profile.batch_size_max, needed=batch_size_max)
    limits = [p for p in objective.limits if p.measure in (Measure.RESPONSE, Measure.RESPONSE_MEAN)]
    refused = [
        Rejection.of(limit, floor_s, Reason.SERVICE_FLOOR)
        for limit in limits
        if (floor_s := _floor_s(profile, limit, batch_size_max)) > limit.allowed
        and _floor_doubt(profile, limit, batch_size_max, confidence) is None
    ]
    return max(refused, key=lambda rejection: rejection.needed / rejection.allowed, default=None)


def floor_doubt(
    profile: ServiceProfile, objective: Objective, batch_size_max: int, confidence: float
) -> FloorDoubt | None:
    """The service time that its samples cannot tell from the limit; None if there is none.

    No response is quicker than its service, so no number of replicas settles it.
    """
    limits = [p for p in objective.limits if p.measure is Measure.RESPONSE]
    doubts = (_floor_doubt(profile, limit, batch_size_max, confidence) for limit in limits)
    return next((doubt for doubt in doubts if doubt is not None), None)


def floor_candidate(plan: BatchPlan, doubt: FloorDoubt) -> Candidate:
    """A plan that is undecided because of the samples of its service time."""
    return Candidate(
        plan=plan,
        verdict=Verdict.INCONCLUSIVE,
        rejection=Rejection(reason=Reason.SERVICE_FLOOR, allowed=doubt.limit_s, needed=doubt.floor_s.high),
        doubt=Doubt.PROFILE,
    )


def _floor_doubt(
    profile: ServiceProfile, limit: Limit, batch_size_max: int, confidence: float
) -> FloorDoubt | None:
    if limit.quantile is None or batch_size_max > profile.batch_size_max:
        return None
    return doubt_of_floor(profile, limit.quantile, batch_size_max, limit.allowed, confidence)


def _floor_s(profile: ServiceProfile, limit: Limit, batch_size_max: int) -> float:
    """Shortest time with batches up to this size, which no plan can beat. [s]"""
    if limit.quantile is not None:
        return profile.service_floor_s(limit.quantile, batch_size_max)
    return profile.service_floor_mean_s(batch_size_max)


def refuse_load(scenario: BatchScenario) -> Rejection | None:
    """Reason why the queues of this plan grow for ever or too long, or lose too many requests; None without any.

    Users who wait for their answers never make a queue grow; they make each other wait.
    """
    workload, plan = scenario.workload, scenario.plan
    if isinstance(workload, ClosedPopulation):
        return _refuse_users(scenario, workload)
    if plan.queue_limit is not None:
        return _refuse_losses(scenario, loss_min(scenario.profile, workload.arrival_rate_rps, plan))
    rho, is_exact = load_under(scenario.profile, workload, plan)
    if rho >= 1.0 and is_exact:
        return Rejection(reason=Reason.STABILITY, allowed=1.0, needed=rho)
    return _refuse_bursts(scenario, workload) if scenario.spike is None else _refuse_spike(scenario, workload)


def refuse_slow(scenario: BatchScenario) -> Rejection | None:
    """Reason why the batches that are quick enough for a limit cannot keep up; None without any.

    Where the profile has samples, these have an error of their own, and a simulation decides.
    """
    profile, workload, plan = scenario.profile, scenario.workload, scenario.plan
    is_steady = isinstance(workload, Workload) and not isinstance(workload.arrivals, TraceArrivals)
    is_plain = plan.queue_limit is None and profile.instances_per_device == 1 and not has_samples(profile)
    if not (is_steady and is_plain and is_patient(workload)):
        return None
    assert isinstance(workload, Workload)  # noqa: S101  (just asked)
    rate_rps = workload.arrival_rate_rps / plan.replicas
    refused = [
        Rejection.of(limit, floor_s)
        for limit in scenario.objective.limits
        if limit.measure is Measure.RESPONSE and limit.quantile is not None
        if (floor_s := quantile_floor_s(profile, rate_rps, plan.batch_size_max, limit.quantile))
        > limit.allowed
    ]
    return max(refused, key=lambda rejection: rejection.needed / rejection.allowed, default=None)


def _refuse_bursts(scenario: BatchScenario, workload: Workload) -> Rejection | None:
    """Reason why bursts above the capacity make too many requests late; None if there is none."""
    if not isinstance(workload.arrivals, MmppArrivals):
        return None
    if not is_patient(workload):  # those who give up make the backlog shorter
        return None
    one = Overload(
        bursts=workload.arrivals,
        arrival_rate_rps=workload.arrival_rate_rps / scenario.plan.replicas,
        served_rps=_served_rps(scenario),
        variability=1.0 + _batch_variability(scenario),
        in_service=scenario.plan.batch_size_max,
    )
    return refuse_overload(one, scenario.objective.limits)


def _refuse_spike(scenario: BatchScenario, workload: Workload) -> Rejection | None:
    """Reason why a spike above the capacity makes too many of its requests late; None if there is none.

    Where the profile has samples, the capacity has an error of its own, and a simulation decides.
    """
    spike, arrivals = scenario.spike, workload.arrivals
    if spike is None or not isinstance(arrivals, RenewalArrivals) or not is_patient(workload):
        return None
    if has_samples(scenario.profile):
        return None
    gaps_scv = arrivals.cv**2 if isinstance(arrivals, GammaArrivals) else 1.0
    one = Surge(
        arrival_rate_rps=spike.factor * workload.arrival_rate_rps / scenario.plan.replicas,
        duration_s=spike.startup_time_s,
        served_rps=_served_rps(scenario),
        variability=max(1.0, gaps_scv) + _batch_variability(scenario),
        in_service=scenario.plan.batch_size_max,
    )
    return refuse_overload(one, scenario.objective.limits)


def _served_rps(scenario: BatchScenario) -> float:
    """Highest rate at which one replica serves, with every batch full. [requests/s]"""
    profile, plan = scenario.profile, scenario.plan
    return (
        profile.devices(plan.replicas)
        * device_throughput_max_rps(profile, plan.batch_size_max)
        / plan.replicas
    )


def _batch_variability(scenario: BatchScenario) -> float:
    """B·cs² of full batches."""
    size = scenario.plan.batch_size_max
    return size * scenario.profile.law(size).scv


def _refuse_losses(scenario: BatchScenario, lost: float) -> Rejection | None:
    """Reason why a fleet that loses this share at least loses too many, as lost requests are late; else None."""
    allowed = scenario.objective.loss_allowed
    if allowed is None or lost <= allowed:
        return None
    return Rejection.of_losses(scenario.objective.strictest_of_losses, lost)


def _refuse_users(scenario: BatchScenario, users: ClosedPopulation) -> Rejection | None:
    """Reason why this many users must wait longer than a limit, or be rejected too often; None if there is none.

    N users who think for Z and are answered at the rate X take N/X - Z each on average, and X is at most the capacity
    of the fleet. The limit that is exceeded most decides.

    Source:
        Denning & Buzen (1978), The operational analysis of queueing network models, ACM Computing Surveys 10(3):
        the response time law, and its bounds by the bottleneck.
    """
    profile, plan = scenario.profile, scenario.plan
    served_rps = profile.devices(plan.replicas) * device_throughput_max_rps(profile, plan.batch_size_max)
    if plan.queue_limit is not None:
        places = waiting_max(plan) + plan.replicas * plan.batch_size_max
        return _refuse_losses(scenario, users.lost_min(served_rps, places))
    mean_s = users.users / served_rps - users.think_time_s
    refused = [
        Rejection.of(limit, needed_s)
        for limit in scenario.objective.limits
        if (needed_s := _least_s(profile, users, plan, limit, mean_s)) > limit.allowed
    ]
    return max(refused, key=lambda rejection: rejection.needed / rejection.allowed, default=None)


def _least_s(
    profile: ServiceProfile, users: ClosedPopulation, plan: BatchPlan, limit: Limit, mean_s: float
) -> float:
    """Lower bound of the wait at the limit's quantile, or of its mean, if users take this long on average. [s]

    No response is longer than some r, so a share p of responses beyond t makes the mean at most (1 - p)·t + p·r.
    """
    if limit.measure not in _OF_USERS:
        return 0.0
    if limit.measure is Measure.WAIT:
        mean_s -= _service_max_s(profile, plan) + profile.request_overhead_s
    if limit.quantile is None:
        return mean_s
    late = 1.0 - limit.quantile
    return (mean_s - late * _response_max_s(profile, users, plan)) / limit.quantile


def users_devices_min(
    profile: ServiceProfile, users: ClosedPopulation, plan: BatchPlan, objective: Objective
) -> int:
    """Fewest devices of a plan's batches for which theory does not refuse these users.

    Each limit allows a largest mean, from which the response time law gives the rate at which users must be served.
    With a queue limit the share that is rejected at least decides, which `ClosedPopulation.lost_min` gives.
    """
    device_rps = device_throughput_max_rps(profile, plan.batch_size_max)
    if plan.queue_limit is not None:
        served = 1.0 - (1.0 if objective.loss_allowed is None else objective.loss_allowed)
        places = profile.instances_per_device * (plan.queue_limit + plan.batch_size_max)
        needed = served * users.users / (device_rps * users.think_time_s + served * places)
        return max(1, math.ceil(needed * (1.0 - _ROUNDING)))
    allowed_s = [
        (limit.allowed - _least_s(profile, users, plan, limit, 0.0)) * (limit.quantile or 1.0)
        for limit in objective.limits
        if limit.measure in _OF_USERS
    ]
    if not allowed_s:
        return 1
    needed = users.users / (device_rps * (users.think_time_s + min(allowed_s)))
    return max(1, math.ceil(needed * (1.0 - _ROUNDING)))


def users_max(scenario: BatchScenario) -> int:
    """Fewest users whom theory refuses, or twice as many as could be served in the longest limited time.

    The fleet serves N users who think for Z and wait for R at the rate N/(Z + R) at most, so that twice as many as it
    serves at its capacity with the longest R that is allowed wait longer than that on average.
    """
    users, profile, plan = scenario.workload, scenario.profile, scenario.plan
    assert isinstance(users, ClosedPopulation)  # noqa: S101  (a rate has no users)
    served_rps = profile.devices(plan.replicas) * device_throughput_max_rps(profile, plan.batch_size_max)
    allowed_s = [limit.allowed for limit in scenario.objective.limits if limit.measure in _OF_USERS]
    longest_s = max([*allowed_s, _service_max_s(profile, plan) + plan.batch_wait_max_s])
    most = math.ceil(2.0 * served_rps * (users.think_time_s + longest_s)) + 1

    def refused(count: int) -> bool:
        return _refuse_users(scenario, replace(users, users=count)) is not None

    return 1 + bisect_left(range(1, most), True, key=refused)  # noqa: FBT003


def _service_max_s(profile: ServiceProfile, plan: BatchPlan) -> float:
    """Longest time of a batch of a plan, by the samples or percentiles of its profile. [s]"""
    sizes = profile.sizes_up_to(plan.batch_size_max)
    longest_s = max(profile.law(size).durations_s[-1] for size in sizes) + profile.wake_s
    return longest_s * max(map(profile.slowdown, range(1, profile.instances_per_device + 1)))


def _response_max_s(profile: ServiceProfile, users: ClosedPopulation, plan: BatchPlan) -> float:
    """Upper bound of a response: behind all other users in one queue, with each batch as slow as possible. [s]

    So long a queue fills its batches if they close at the largest size alone; else each may hold one request.
    """
    is_filled = plan.batching is Batching.TRITON and not plan.preferred_sizes
    batches = math.ceil(users.users / (plan.batch_size_max if is_filled else 1)) + 2
    return batches * (_service_max_s(profile, plan) + plan.batch_wait_max_s) + profile.request_overhead_s
