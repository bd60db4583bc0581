"""Pools of batches: how soon fleets of replicas that serve batches forget, and what a large one must have seen."""

from typing import TYPE_CHECKING

from capacity.profile.profile import ServiceProfile
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import load_under
from capacity.server.batch.steady import LARGE
from capacity.traffic.workload import TraceArrivals, Workload
from simulations.statistics.relaxation import is_pooled, open_relaxation_requests

if TYPE_CHECKING:
    from simulations.cases.batch import BatchCase

# Relaxation times that a pool must have seen: for M/M/8 at load 0.8, whose bursts are rare and long, 95 % intervals
# from 6000 hold the exact P99 in 92 % of experiments, from 22,000 in 94 %.
RELAXATIONS_SEEN_MIN = 50_000
SERVICES_SEEN_MIN = 200  # of a full batch, by a large pool
_CALM_MIN = 1.0 / 16.0
# Upper limit of an estimated load, which may exceed 1 by its error: runs are then as long as near saturation.
_ESTIMATED_LOAD_MAX = 0.99


def in_service(case: "BatchCase", rate_rps: float) -> float:
    """Requests that arrive during one service of a full batch."""
    service = case.scenario.profile.law(case.scenario.plan.batch_size_max)
    return rate_rps * service.mean_s * case.slowdown


def open_relaxation(case: "BatchCase", requests_in_service: float, factor_min: float) -> float:
    """Requests of one relaxation time of arrivals at a rate that does not burst."""
    workload, plan = case.scenario.workload, case.scenario.plan
    assert isinstance(workload, Workload)  # noqa: S101  (users have a relaxation of their own)
    queues = 1 if is_pooled(plan) else plan.replicas
    share = busy_share(case.scenario.profile, workload, plan)
    return open_relaxation_requests(
        share, queues, requests_in_service, case.variability, places_of(plan), factor_min
    )


def is_large_pool(case: "BatchCase") -> bool:
    """Whether hundreds of replicas serve as one, and a service outlasts the bursts of their queue."""
    workload, plan = case.scenario.workload, case.scenario.plan
    is_steady = isinstance(workload, Workload) and not isinstance(workload.arrivals, TraceArrivals)
    if not (is_steady and case.bursts is None and is_pooled(plan) and plan.replicas >= LARGE):
        return False
    assert isinstance(workload, Workload)  # noqa: S101  (just asked)
    return open_relaxation(case, 0.0, 1.0) < in_service(case, workload.arrival_rate_rps)


def counted_of_large_pool(case: "BatchCase") -> float:
    """Requests that a pool of hundreds of replicas must have seen: many services, and bursts as far as they matter.

    A burst shorter than a service moves a response by no more than its share of the service, and the number of bursts
    that leaves the same error falls with the square of that share.
    """
    workload = case.scenario.workload
    assert isinstance(workload, Workload)  # noqa: S101  (just asked)
    service, burst = in_service(case, workload.arrival_rate_rps), open_relaxation(case, 0.0, 1.0)
    bursts_seen_min = RELAXATIONS_SEEN_MIN * calm_share(case.variability) * (burst / service) ** 2
    return SERVICES_SEEN_MIN * service + bursts_seen_min * burst


def busy_share(profile: ServiceProfile, workload: Workload, plan: BatchPlan) -> float:
    """The load; an estimated one is limited to what runs can be made for."""
    busy, is_exact = load_under(profile, workload, plan)
    return busy if is_exact else min(busy, _ESTIMATED_LOAD_MAX)


def places_of(plan: BatchPlan) -> int | None:
    """Places in one queue, including the batch in service; None if the queue has no limit."""
    return None if plan.queue_limit is None else plan.queue_limit + plan.batch_size_max


def calm_share(variability: float) -> float:
    """Share of the relaxation times that is enough if random bursts are short and mild."""
    return min(1.0, max(_CALM_MIN, (variability / 2.0) ** 2))
