"""Stability: the rate that a plan can sustain, and how soon its queues forget how they began."""

import math
from fractions import Fraction

from capacity.errors import DomainError, UnstableError
from capacity.profile.profile import ServiceProfile
from capacity.question.objective import Measure
from capacity.question.plan import REPLICAS_LIMIT, Routing, rejects
from capacity.server.batch.batching import Batching
from capacity.server.batch.places import always_full_rps, require_own_devices, require_plain
from capacity.server.batch.plan import BatchPlan, BatchScenario
from capacity.traffic.workload import (
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    Workload,
)
from capacity.units import format_duration, format_rate

_ROUNDING = 1e-12
# Measures that a fleet with batches has.
MEASURES = frozenset(
    {Measure.RESPONSE, Measure.RESPONSE_MEAN, Measure.WAIT, Measure.LOSS, Measure.UTILIZATION}
)


def sustainable_rate_rps(profile: ServiceProfile, plan: BatchPlan) -> float:
    """Largest arrival rate at which the queues do not grow for ever. [requests/s]

    A long queue always fills the batch, so full batches decide: c·B/s_B, and not the best throughput of any batch
    size. It keeps its replica busy too, so on a shared device all instances are busy, each at the rate of 1/slowdown.
    Batches that are collected ahead need not be full: for these it is the throughput of the best size, which is an
    upper bound. Where the outstanding requests of a replica are limited, its batches and its queue divide the places.
    """
    if plan.batching is Batching.RAY_SERVE:
        return profile.devices(plan.replicas) * device_throughput_max_rps(profile, plan.batch_size_max)
    return _replicas_working(profile, plan.replicas, plan.routing) * saturated_rps(profile, plan)


def saturated_rps(profile: ServiceProfile, plan: BatchPlan) -> float:
    """Rate of one replica by itself while others always wait, if batches are not collected ahead. [requests/s]"""
    if plan.outstanding_max is None:
        return profile.throughput_rps(plan.batch_size_max)
    rule = plan.batching, plan.batch_wait_max_s
    return always_full_rps(profile, plan.outstanding_max, plan.batch_size_max, *rule)


def _replicas_working(profile: ServiceProfile, replicas: int, routing: Routing) -> float:
    """Replicas with a device each that could do the work of these replicas, which share devices.

    - `shared-queue`, `least-outstanding`: work goes to the replicas that finish it, and every device counts
      by what it does: the sum of instances/slowdown(instances).
    - `round-robin`, `random`: each replica must keep up with its equal share, so the slowest device
      decides, which is a full one; a last device with fewer instances is faster, which does not help.
    - `power-of-two`: a set of j replicas gets at least the requests whose two choices both lie in it,
      a share of j(j-1)/(c(c-1)), and must keep up with these. The set of all replicas decides, or that of
      all on full devices: between them the work done over the share first rises and then falls with j.
      HAProxy's two choices may be the same, which makes the share (j/c)².

    Source:
        Foss & Chernova (1998), Queueing Systems 29, 55-73, for routers that choose among some queues only:
        every set of queues must keep up with the requests that can go nowhere else.
    """
    if profile.instances_per_device == 1:
        return float(replicas)
    instances = min(profile.instances_per_device, replicas)
    full, rest = divmod(replicas, instances)
    slow = 1.0 / profile.slowdown(instances)
    if routing in (Routing.ROUND_ROBIN, Routing.RANDOM) or rest == 0:
        return replicas * slow
    quick = 1.0 / profile.slowdown(rest)
    together = full * instances * slow + rest * quick
    if routing.base is not Routing.POWER_OF_TWO:
        return together
    may_be_same = routing is Routing.POWER_OF_TWO_HAPROXY
    pairs = replicas * replicas if may_be_same else replicas * (replicas - 1)
    return min(together, pairs * slow / (full * instances - (0 if may_be_same else 1)))


def device_throughput_max_rps(profile: ServiceProfile, batch_size_max: int) -> float:
    """Upper bound on the rate of a device, for any batches and busy instances. [requests/s]

    It is the rate of the best batch size up to the largest, with the best number of busy instances. Times between two
    measured sizes are linear, so the best is a measured size or the largest.
    """
    sizes = profile.sizes_up_to(batch_size_max)
    instances = range(1, profile.instances_per_device + 1)
    best = max(busy / profile.slowdown(busy) for busy in instances)
    return best * max(map(profile.throughput_rps, sizes))


def loss_min(profile: ServiceProfile, arrival_rate_rps: float, plan: BatchPlan) -> float:
    """Lower bound of the share of requests that a fleet loses, as it cannot serve them: 1 - c·μ/λ, or 0."""
    device_rps = device_throughput_max_rps(profile, plan.batch_size_max)
    return max(0.0, 1.0 - profile.devices(plan.replicas) * device_rps / arrival_rate_rps)


def devices_serving_min(
    profile: ServiceProfile, arrival_rate_rps: float, batch_size_max: int, loss_allowed: float
) -> int:
    """Fewest devices with which a fleet need not lose more than a share of the requests."""
    device_rps = device_throughput_max_rps(profile, batch_size_max)
    return max(1, math.ceil((1.0 - loss_allowed) * arrival_rate_rps / device_rps * (1.0 - _ROUNDING)))


def load(profile: ServiceProfile, arrival_rate_rps: float, plan: BatchPlan) -> float:
    """Arrival rate over the sustainable rate, λ·s_B/(c·B) without shared devices; stable below 1."""
    return arrival_rate_rps / sustainable_rate_rps(profile, plan)


def load_of(scenario: BatchScenario) -> float | None:
    """Arrival rate over the sustainable rate.

    None for a closed population, which has no rate of its own, and where the profile does not cover
    the batch.
    """
    profile, plan = scenario.profile, scenario.plan
    covered = profile.batch_size_min <= plan.batch_size_max <= profile.batch_size_max
    if isinstance(scenario.workload, ClosedPopulation) or not covered:
        return None
    return load_under(profile, scenario.workload, plan)[0]


def load_under(profile: ServiceProfile, workload: Workload, plan: BatchPlan) -> tuple[float, bool]:
    """Load under these arrivals, and whether it is exact.

    Batches that are collected ahead (`ray-serve`) are as large as the arrivals make them, full or not. Batches and
    the times between their openings are independent of the server and identically distributed, so the load is
    λ·E[s_N]/(c·E[N]) for a batch of N. It is exact if the arrivals at one replica are renewals of a known law, and
    otherwise that of Poisson arrivals.
    """
    rate_rps = workload.arrival_rate_rps
    if plan.batching is not Batching.RAY_SERVE:
        return load(profile, rate_rps, plan), True
    beyond, is_exact = _joined_at_least(workload, plan)
    shares = [before - after for before, after in zip([1.0, *beyond], [*beyond, 0.0], strict=True)]
    sizes = range(1, plan.batch_size_max + 1)
    mean = sum(n * share for n, share in zip(sizes, shares, strict=True))
    work_s = sum(
        profile.service_mean_s(n) * share for n, share in zip(sizes, shares, strict=True) if share > 0.0
    )
    working = _replicas_working(profile, plan.replicas, plan.routing)
    return rate_rps * work_s / (working * mean), is_exact


def _joined_at_least(workload: Workload, plan: BatchPlan) -> tuple[list[float], bool]:
    """Probabilities that at least 1, 2, ..., B - 1 requests join the one that opens a batch, before its wait ends.

    The sum of k gamma gaps has a gamma law too (Feller 1971, sec. II.2); round-robin gives every c-th request.
    """
    import numpy as np
    from scipy.special import gammainc

    arrivals, wait_s = workload.arrivals, plan.batch_wait_max_s
    joining = np.arange(1, plan.batch_size_max)
    is_dealt = plan.replicas == 1 or plan.routing is Routing.ROUND_ROBIN
    if is_dealt and isinstance(arrivals, DeterministicArrivals):
        gap_s = plan.replicas / workload.arrival_rate_rps
        return [float(k * gap_s <= wait_s) for k in joining], True
    if is_dealt and isinstance(arrivals, PoissonArrivals | GammaArrivals):
        shape = 1.0 if isinstance(arrivals, PoissonArrivals) else 1.0 / arrivals.cv**2
        phases = workload.arrival_rate_rps * wait_s * shape
        return [float(p) for p in gammainc(shape * plan.replicas * joining, phases)], True
    phases = workload.arrival_rate_rps / plan.replicas * wait_s
    is_exact = isinstance(arrivals, PoissonArrivals) and plan.routing is Routing.RANDOM
    return [float(p) for p in gammainc(joining, phases)], is_exact


def replicas_stable_min(
    profile: ServiceProfile,
    arrival_rate_rps: float,
    throughput_rps: float,
    routing: Routing = Routing.SHARED_QUEUE,
) -> int:
    """Fewest replicas whose load is below 1.

    Args:
        throughput_rps: of one replica by itself, as of `saturated_rps`.
        routing: matters on shared devices only; no other needs fewer replicas than the default.
    """
    replicas = math.floor(Fraction(arrival_rate_rps) / Fraction(throughput_rps)) + 1
    if arrival_rate_rps >= replicas * throughput_rps:  # by rounding alone
        replicas += 1
    if profile.instances_per_device > 1:
        replicas = _first_stable(profile, arrival_rate_rps, throughput_rps, replicas, routing)
    return replicas


def _first_stable(
    profile: ServiceProfile,
    arrival_rate_rps: float,
    throughput_rps: float,
    replicas_min: int,
    routing: Routing,
) -> int:
    """Fewest replicas whose throughput is above the rate, which are never fewer than without shared devices.

    Whatever the last device does, the full ones must do the rest.
    """
    working = arrival_rate_rps / throughput_rps
    instances, known = profile.instances_per_device, profile.contention
    last = 1.0 if known is None else max(m / s for m, s in enumerate(known.slowdowns, start=1))
    if working >= last:
        full = max(1, math.floor((working - last) * profile.slowdown(instances) / instances))
        replicas_min = max(replicas_min, full * instances)
    found = range(replicas_min, replicas_min + REPLICAS_LIMIT)
    enough = (c for c in found if arrival_rate_rps < _replicas_working(profile, c, routing) * throughput_rps)
    return next(enough, found.stop)


def require_batch_of_one(profile: ServiceProfile) -> None:
    """Refuse a profile without batches of one, since a request may find an idle replica and be served alone.

    Raises:
        DomainError: the smallest measured batch is larger.
    """
    if profile.batch_size_min > 1:
        raise DomainError(
            f"profile {profile.name} starts at batch size {profile.batch_size_min}, but a request that finds "
            "an idle replica is served alone; measure batch size 1 too"
        )


def require_answerable(profile: ServiceProfile, workload: Demand, plan: BatchPlan) -> None:
    """Refuse at once a plan without a steady state, or beyond the profile.

    Queues with a limit and closed populations have a steady state at any load.

    Raises:
        UnstableError: the queues would grow; the message names the fewest replicas that would be stable.
        DomainError: the profile does not cover the plan's batches, or users who are rejected do not think.
    """
    require_batch_of_one(profile)
    require_own_devices(plan.outstanding_max, profile)
    require_plain(plan.outstanding_max, workload)
    sustainable_rps = sustainable_rate_rps(profile, plan)
    if isinstance(workload, ClosedPopulation):
        workload.require_thought(rejects=rejects(plan))
        return
    if plan.queue_limit is not None:
        return
    rate_rps = workload.arrival_rate_rps
    if rate_rps < sustainable_rps:
        _require_large_batches(profile, workload, plan)
        return
    count = f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")
    servers_min = replicas_stable_min(profile, rate_rps, saturated_rps(profile, plan), plan.routing)
    of = f"full batches of {plan.batch_size_max}"
    if plan.outstanding_max is not None:
        of = f"batches up to {plan.batch_size_max} and {plan.outstanding_max} requests outstanding at each"
    raise UnstableError(
        f"unstable plan: load {rate_rps / sustainable_rps:.3f} >= 1 ({format_rate(rate_rps)} on "
        f"{format_rate(sustainable_rps)} of {count} with {of}); use at least {servers_min} replicas",
        servers_min=servers_min,
    )


def _require_large_batches(profile: ServiceProfile, workload: Workload, plan: BatchPlan) -> None:
    """Refuse a plan whose batches close so early that its replicas cannot keep up with them."""
    busy, is_exact = load_under(profile, workload, plan)
    if busy < 1.0 or not is_exact:
        return
    count = f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")
    raise UnstableError(
        f"unstable plan: load {busy:.3f} >= 1 ({format_rate(workload.arrival_rate_rps)} on {count}): with a batch wait "
        f"of {format_duration(plan.batch_wait_max_s)} ray-serve closes batches before they are large; use a longer "
        "--batch-wait, or more replicas"
    )
