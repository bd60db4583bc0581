"""Exact: the judgement of a law, where one describes a scenario exactly; nothing need be simulated."""

from capacity.analytic import predict
from capacity.errors import DomainError
from capacity.objective import Measure, Promise
from capacity.performance import Performance
from capacity.plan import BatchTimer, Candidate, Plan, Rejection, Routing, Verdict
from capacity.scenario import Scenario
from capacity.workload import PoissonArrivals, Workload

# Chains of so many places are solved in a few seconds at most; of more a simulation is quicker.
_PLACES_MAX = 2048
_PLACES_MAX_WITH_TIMER = {BatchTimer.OLDEST: 512, BatchTimer.OPEN: 192}


def judge_exactly(scenario: Scenario, quantiles: tuple[float, ...] = (0.99,)) -> Candidate | None:
    """What the law says; None where no law is exact, or it would take longer than a simulation.

    Laws of batches are exact where each batch takes one time by its size, arrivals are Poisson, and the
    router does not look at queues: a profile of means alone, or one whose samples are all alike.

    Args:
        quantiles: those to report beside the objective's.
    """
    plan, profile = scenario.plan, scenario.profile
    if scenario.spike is not None or not _has_law(scenario):
        return None
    quantiles = tuple(sorted({*quantiles, *scenario.objective.quantiles}))
    assert isinstance(scenario.workload, Workload)  # noqa: S101  (no law of users is asked for)
    try:
        performance = predict(profile, scenario.workload, plan, quantiles)
    except DomainError:
        return None
    broken = [
        Rejection.of(promise, value)
        for promise in scenario.objective.promises
        if (value := _value(promise, performance)) > promise.allowed
    ]
    if not broken:
        return Candidate(plan=plan, verdict=Verdict.MET, performance=performance)
    worst = max(broken, key=lambda rejection: rejection.needed / rejection.allowed)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=worst, performance=performance)


def _has_law(scenario: Scenario) -> bool:
    """Whether it is worth asking."""
    plan, workload = scenario.plan, scenario.workload
    return (
        isinstance(workload, Workload)
        and isinstance(workload.arrivals, PoissonArrivals)
        and plan.queue_limit is None
        and scenario.profile.instances_per_device == 1
        and plan.batch_size_max <= scenario.profile.batch_size_max
        and (plan.replicas == 1 or _is_blind(plan) or plan.batch_size_max == 1)
        and not _is_slow(plan)
        and all(law.is_deterministic for law in scenario.profile.laws)
    )


def _is_blind(plan: Plan) -> bool:
    return plan.routing in (Routing.RANDOM, Routing.ROUND_ROBIN)


def _is_slow(plan: Plan) -> bool:
    """A round-robin's chain counts the arrivals of the whole fleet; single requests need no chain."""
    if plan.batch_size_max == 1:
        return False
    places = plan.batch_size_max * (plan.replicas if plan.routing is Routing.ROUND_ROBIN else 1)
    is_greedy = plan.batch_wait_max_s == 0.0
    return places > (_PLACES_MAX if is_greedy else _PLACES_MAX_WITH_TIMER[plan.timer])


def _value(promise: Promise, performance: Performance) -> float:
    found = promise.found(performance)
    if found is not None:
        return found.value
    assert promise.measure is Measure.LOSS  # noqa: S101  (nothing else is missing from a law)
    return 0.0
