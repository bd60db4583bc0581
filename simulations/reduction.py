"""Reduction: where replicas do not influence each other, one of them stands for the fleet, exactly in law."""

import math
from dataclasses import replace

from capacity.plan import Plan, Routing
from capacity.workload import (
    MMPP_SWITCHES_MAX,
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    RenewalArrivals,
    Workload,
)


def one_for_all(workload: Demand, plan: Plan, instances_per_device: int = 1) -> tuple[Demand, Plan]:
    """The arrivals that one replica sees, and that replica alone; unchanged where there is no such law.

    Round-robin gives each replica every c-th request: the sum of c gamma gaps, a gamma gap again,
    of 1/√c times the coefficient of variation (Poisson arrivals become Erlang-c). A random split
    of Poisson arrivals is Poisson at a c-th of the rate; that of MMPP arrivals is MMPP with the same
    phases (all replicas share them and are not independent, yet each by itself has that law). All
    replicas are alike, so that a request's wait and response have the law of that one replica's. Other
    routing policies look at the other replicas, a closed population waits for all of them, a trace is
    one path, every c-th arrival of an MMPP is no MMPP, and a surge is made of what one replica sees
    (`simulations.spike`).

    Replicas that share a device do influence each other: then one device with all its instances stands for
    the fleet behind a random split, if all are full. By round-robin the instances of one device take turns
    with each other, and what it sees has no gaps of one law.

    Args:
        instances_per_device: replicas that slow each other down, 1 where none does.

    Source:
        Feller (1971), An Introduction to Probability Theory II, sec. II.2 (sums of gamma variables);
        Kingman (1993), Poisson Processes, sec. 5.1 (colouring theorem), given the phases too.
    """
    if isinstance(workload, ClosedPopulation):
        return workload, plan
    arrivals = workload.arrivals
    count, rest = divmod(plan.replicas, instances_per_device)
    if rest > 0:
        return workload, plan
    is_alone = instances_per_device == 1
    seen: ArrivalProcess
    if is_alone and plan.routing is Routing.ROUND_ROBIN and isinstance(arrivals, RenewalArrivals):
        seen = _every(arrivals, count)
    elif plan.routing is Routing.RANDOM and _splits(workload, count):
        seen = arrivals
    else:
        return workload, plan
    alone = Workload(arrival_rate_rps=workload.arrival_rate_rps / count, arrivals=seen)
    return alone, replace(plan, replicas=instances_per_device)


def _splits(workload: Workload, count: int) -> bool:
    """Whether a random split is of the same kind; one whose phases switch all the time is not worth it."""
    if isinstance(workload.arrivals, MmppArrivals):
        return count * workload.switches_per_arrival <= MMPP_SWITCHES_MAX
    return isinstance(workload.arrivals, PoissonArrivals)


def _every(arrivals: RenewalArrivals, count: int) -> RenewalArrivals:
    """The process of every `count`-th arrival."""
    match arrivals:
        case PoissonArrivals():
            return arrivals if count == 1 else GammaArrivals(cv=1.0 / math.sqrt(count))
        case DeterministicArrivals():
            return arrivals
        case GammaArrivals(cv=cv):
            return GammaArrivals(cv=cv / math.sqrt(count))
