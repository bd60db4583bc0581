"""Random routing: what the same objective takes where no balancer sees all requests."""

from dataclasses import replace

from capacity.cheapest import halve_in
from capacity.exact import judge_exactly
from capacity.performance import Interval, Performance
from capacity.plan import Plan, RandomRouting, Routing
from capacity.question import Family
from capacity.search import Search


def if_random(search: Search, plan: Plan, performance: Performance | None) -> RandomRouting | None:
    """What random routing makes of a plan, and how many replicas of its profile would do.

    None where the plan's routing is random already, or a queue that all replicas share.

    Random is what many balancers that do not know of each other come to, and what a Kubernetes Service does.
    From the plan's number on, since a router that looks at nothing never does with fewer; judged as in a
    search, not certified. One replica is routed to in any case.

    Args:
        performance: of the plan.
    """
    if plan.routing in (Routing.RANDOM, Routing.SHARED_QUEUE):
        return None
    if plan.replicas == 1:
        return RandomRouting(replicas=1, response_p99=_p99(performance))
    question = search.question
    profile = question.profile(plan.profile)
    asked = replace(question, profiles=(profile,), routings=(Routing.RANDOM,))
    other = Search(asked, search.judge, search.progress, search.confidence)
    family = Family(profile=profile, routing=Routing.RANDOM)
    scenario = asked.scenario(replace(plan, routing=Routing.RANDOM))
    search.progress("what random routing would take")
    candidate = judge_exactly(scenario) or search.judge.search(scenario, 1)
    devices = _fewest(other, family, plan)
    search.requests += candidate.requests + other.requests
    return RandomRouting(
        replicas=None if devices is None else family.replicas(devices),
        response_p99=_p99(candidate.performance) if candidate.settled else None,
    )


def _p99(performance: Performance | None) -> Interval | None:
    """P99 of the response, lost requests counted as late. [s]"""
    if performance is None:
        return None
    late = performance.response_quantiles_with_losses_s or performance.response_quantiles_s
    return late.get(0.99)


def _fewest(search: Search, family: Family, plan: Plan) -> int | None:
    """Fewest devices: with the plan's own batches by growing steps, then with any batches that take fewer."""
    today, most = family.profile.devices(plan.replicas), search.question.devices_max(family)
    refused, devices, step = today - 1, today, 1
    while not _does(search, family, plan, devices):
        if devices >= most or search.out_of_budget:
            return None
        refused, devices, step = devices, min(devices + step, most), 2 * step
    while devices - refused > 1:
        middle = (refused + devices) // 2
        if _does(search, family, plan, middle):
            devices = middle
        else:
            refused = middle
    if devices > today and search.accepted_at(family, devices - 1):
        return halve_in(search, family, today - 1, devices - 1)
    return devices


def _does(search: Search, family: Family, plan: Plan, devices: int) -> bool:
    """Whether so many devices keep the objective with the plan's own batches."""
    other = replace(plan, replicas=family.replicas(devices), routing=family.routing)
    return search.candidate(other).accepted
