"""Fleet: the performance of a plan of batches by the law that describes it exactly."""

from dataclasses import replace
from functools import lru_cache

from capacity.errors import DomainError
from capacity.performance import Interval, Kind, Performance, Quantiles
from capacity.profile.profile import ServiceProfile
from capacity.profile.sampling import service_interval
from capacity.question.plan import Routing, rejects
from capacity.queues.batch.bulk import Bulk
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.server.batch.batching import BatchTimer
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import PoissonArrivals, Workload
from capacity.units import QUANTILES


def predict(
    profile: ServiceProfile, workload: Workload, plan: BatchPlan, quantiles: tuple[float, ...] = QUANTILES
) -> Performance:
    """Performance of a plan by the law that describes it exactly, the request overhead included.

    - Service of one constant time per batch size: `Bulk` under round-robin and random routing and for
      one replica; without batching M/D/c, at a shared queue too.
    - Service that varies: M/G/1 with the measured law, without batching, for one replica or random routing.

    Raises:
        DomainError: no exact law, as for instances that share a device and slow each other down; the
            message says why, and that simulation answers.
        UnstableError: load >= 1.
    """
    _require_law(profile, workload, plan)
    sizes = range(1, plan.batch_size_max + 1)
    laws = [profile.law(size) for size in sizes]
    if not all(law.is_deterministic for law in laws):
        one = _varying(profile, workload, plan, quantiles)
    elif plan.batch_size_max == 1:
        one = _one_by_one(workload, plan, laws[0].mean_s, quantiles)
    elif plan.routing is Routing.SHARED_QUEUE and plan.replicas > 1:
        raise _no_law("a shared queue with deterministic batches", "simulate instead, or use round-robin")
    else:
        one = _in_batches(
            arrival_rate_rps=workload.arrival_rate_rps,
            batch_times_s=tuple(law.mean_s for law in laws),
            batch_wait_max_s=plan.batch_wait_max_s,
            timer=timer_of(plan),
            replicas=plan.replicas,
            routing=plan.routing,
        ).performance(quantiles)
    return _later(one, profile.request_overhead_s, workload.arrival_rate_rps)


def _require_law(profile: ServiceProfile, workload: Workload, plan: BatchPlan) -> None:
    """Refuse what no law here describes, however requests are served."""
    if not isinstance(workload.arrivals, PoissonArrivals):
        raise _no_law(
            "measured service under arrivals that are not Poisson",
            "simulate instead (capacity queue gimc and mmpp have laws for exponential service)",
        )
    if profile.slowdowns(plan.replicas)[-1] > 1.0:
        raise _no_law(
            f"{profile.instances_per_device} instances per device, which slow each other down",
            "simulate instead, or give each replica a device (instances_per_device 1)",
        )
    if profile.spells is not None:
        raise _no_law(
            "service times that come in spells", "simulate instead, or leave spells out of the profile"
        )
    if profile.wake_s > 0.0:
        raise _no_law(
            "a slower first batch after an idle pause", "simulate instead, or leave wake_s out of the profile"
        )
    if rejects(plan):
        raise _no_law("a queue limit", "simulate instead, or plan without one")
    if plan.outstanding_max is not None:
        raise _no_law("a limit of outstanding requests", "simulate instead, or plan without one")


def timer_of(plan: BatchPlan) -> BatchTimer:
    """What starts the batch wait of a plan whose batching has a law."""
    if plan.timer is not None:
        return plan.timer
    what = "preferred batch sizes" if plan.batching.timer else f"{plan.batching} batching"
    raise _no_law(what, "simulate instead, or use triton batching without preferred sizes")


# The chosen plan is confirmed by the law that chose it, whose chain takes long.
_in_batches = lru_cache(maxsize=8)(Bulk)


def _varying(
    profile: ServiceProfile, workload: Workload, plan: BatchPlan, quantiles: tuple[float, ...]
) -> Performance:
    """M/G/1 for each replica."""
    if plan.batch_size_max > 1:
        raise _no_law(
            f"batches whose service time varies (profile {profile.name})",
            "simulate instead (capacity queue bulk --service-cv has the law of gamma service)",
        )
    if plan.replicas > 1 and plan.routing is not Routing.RANDOM:
        raise _no_law(
            f"routing {plan.routing} of service that varies (profile {profile.name})",
            "simulate instead (random routing has one)",
        )
    alone = MG1(
        arrival_rate_rps=workload.arrival_rate_rps / plan.replicas, service=Empirical(law=profile.law(1))
    )
    return alone.performance(quantiles).times(plan.replicas)


def _one_by_one(
    workload: Workload, plan: BatchPlan, service_s: float, quantiles: tuple[float, ...]
) -> Performance:
    """M/D/c of the whole fleet, or M/D/1 of each replica under random routing.

    Under round-robin too: if all services take equally long, the servers of M/D/c take turns.

    Source:
        Iversen (1983), Operations Research Letters 2(1), 20-21: M/D/c decomposes into c queues E_c/D/1.
    """
    if plan.replicas > 1 and plan.routing.base in (Routing.LEAST_OUTSTANDING, Routing.POWER_OF_TWO):
        raise _no_law(f"routing {plan.routing} of constant service", "simulate instead, or use round-robin")
    queues = plan.replicas if plan.routing is Routing.RANDOM else 1
    law = MDc(
        arrival_rate_rps=workload.arrival_rate_rps / queues,
        service_time_s=service_s,
        servers=plan.replicas // queues,
    )
    fleet = replace(law.performance(quantiles).times(queues), batch_size_mean=1.0)
    return fleet if plan.replicas == 1 else replace(fleet, empty_probability=None)


def _later(performance: Performance, overhead_s: float, arrival_rate_rps: float) -> Performance:
    """Responses, and by Little's law those in flight, with the overhead that takes no capacity."""
    if overhead_s == 0.0 or performance.response_mean_s is None or performance.in_system_mean is None:
        return performance
    return replace(
        performance,
        response_mean_s=performance.response_mean_s + overhead_s,
        in_system_mean=performance.in_system_mean + arrival_rate_rps * overhead_s,
        response_quantiles_s=_shifted(performance.response_quantiles_s, overhead_s),
    )


def _shifted(quantiles_s: Quantiles, by_s: float) -> Quantiles:
    return {q: x.mapped(lambda value: value + by_s) for q, x in quantiles_s.items()}


def _no_law(what: str, mend: str) -> DomainError:
    return DomainError(f"no exact law covers {what}; {mend}")


def lone_performance(
    profile: ServiceProfile, plan: BatchPlan, quantiles: tuple[float, ...], confidence: float = 0.95
) -> Performance:
    """The performance of a lone request: the limit of low rates, whatever the router.

    A batch of one that is not full waits for its whole batch wait, by any batching rule, and is served alone; if
    one request fills the batch, it starts at once. Its replica was idle, and must wake. Only the service is not
    known exactly, where it was measured by samples.
    """
    wait_s = plan.batch_wait_max_s if plan.due_size > 1 else 0.0
    law, fixed_s = profile.law(1), wait_s + profile.wake_s + profile.request_overhead_s
    return Performance(
        kind=Kind.EXACT,
        load=0.0,
        utilization=0.0,
        wait_mean_s=wait_s,
        response_mean_s=fixed_s + law.mean_s,
        loss_probability=0.0,
        wait_quantiles_s={q: Interval.exact(wait_s) for q in quantiles},
        response_quantiles_s={
            q: service_interval(profile, q, 1, confidence).mapped(lambda x: fixed_s + x) for q in quantiles
        },
    )
