"""Planner: screen, search, confirmation, headroom -> the cheapest plan that meets the objective, and why."""

from collections.abc import Iterator
from dataclasses import replace

from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate, Judge, Limit, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.plan import REPLICAS_LIMIT, Plan, Routing
from capacity.question.question import Family, Question
from capacity.question.refusal import floor_candidate
from capacity.question.resilience import Survival
from capacity.question.stability import require_batch_of_one
from capacity.search.candidates import Progress, Search, refuse_loads
from capacity.search.caveats import (
    batching_caveats,
    headroom_caveats,
    mean_caveats,
    precision_caveat,
    profile_caveats,
    routing_caveats,
    search_caveats,
    trace_caveats,
)
from capacity.search.certificate import Certified, Certifier
from capacity.search.cheapest import find_cheapest
from capacity.search.exact import judge_exactly
from capacity.search.fewest import fewest_enough, halve_in
from capacity.search.headroom import find_headroom
from capacity.search.recommendation import Headroom, RandomRouting, Recommendation
from capacity.traffic.workload import ClosedPopulation, GammaArrivals, PoissonArrivals


def if_random(search: Search, plan: Plan, performance: Performance | None) -> RandomRouting | None:
    """What random routing makes of a plan, and how many replicas of its profile would be enough.

    None if the plan's routing is already random, or a queue that all replicas share.

    Many balancers that do not know of each other amount to random routing, and a Kubernetes Service does it.
    The search starts at the plan's number, since a router that looks at nothing never needs fewer; plans are
    judged as in a search, not confirmed. One replica is routed to in any case.

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
    other = search.beside(asked)
    family = Family(profile=profile, routing=Routing.RANDOM)
    scenario = asked.scenario(replace(plan, routing=Routing.RANDOM))
    search.progress("what random routing would take")
    candidate = judge_exactly(scenario) or search.judge.search(scenario, 1)
    other.counts["simulated"] += candidate.requests > 0
    other.requests += candidate.requests
    devices = _fewest(other, family, plan)
    search.count_in(other)
    return RandomRouting(
        replicas=None if devices is None else family.replicas(devices),
        response_p99=_p99(candidate.performance) if candidate.settled else None,
    )


def _p99(performance: Performance | None) -> Interval | None:
    """P99 of the response, counting lost requests as late. [s]"""
    if performance is None:
        return None
    late = performance.response_quantiles_with_losses_s or performance.response_quantiles_s
    return late.get(0.99)


def _fewest(search: Search, family: Family, plan: Plan) -> int | None:
    """Fewest devices: with the plan's own batches by growing steps, then with any batches that need fewer."""
    today = family.profile.devices(plan.replicas)
    devices = fewest_enough(
        lambda count: _does(search, family, plan, count),
        today - 1,
        search.question.devices_max(family),
        may_go_on=lambda: not search.out_of_budget,
    )
    if devices is not None and devices > today and search.accepted_at(family, devices - 1):
        return halve_in(lambda count: search.accepted_at(family, count), today - 1, devices - 1)
    return devices


def _does(search: Search, family: Family, plan: Plan, devices: int) -> bool:
    """Whether this many devices meet the objective with the plan's own batches."""
    other = replace(plan, replicas=family.replicas(devices), routing=family.routing)
    return search.candidate(other).accepted


_POISSON = (PoissonArrivals(), GammaArrivals(cv=1.0))


def silent(message: str) -> None:
    """Progress that is not reported."""


def recommend(
    question: Question,
    judge: Judge,
    progress: Progress = silent,
    *,
    plan_alone: bool = False,
    confidence: float = 0.95,
) -> Recommendation:
    """The cheapest plan that meets the objective, with every candidate that was considered.

    Among plans of one price the one farthest from its limit wins, and among those that the intervals cannot
    tell apart the simplest. The winner is confirmed with random numbers that had no part in choosing it.

    Args:
        plan_alone: leave out what only accompanies the plan: how far the rate may rise, and what would be
            enough under random routing, under Poisson arrivals, or if there were nothing to survive.
        confidence: of the interval of a service time whose samples may not tell it from its limit.

    Raises:
        DomainError: a profile does not cover a batch of one request.
    """
    for profile in question.profiles:
        require_batch_of_one(profile)
    return _recommend(Search(question, judge, progress, confidence), plan_alone=plan_alone)


def _recommend(search: Search, *, plan_alone: bool) -> Recommendation:
    refusals = _refused_at_once(search)
    if refusals:
        return _no_plan(search, refusals, _open_or_missed(refusals))
    level = find_cheapest(search)
    certified = None if level is None else Certifier(search).first(level)
    if level is None or certified is None:
        considered = _with_floors(search)
        verdict = Verdict.INCONCLUSIVE if search.out_of_budget else _open_or_missed(considered)
        return _no_plan(search, considered, verdict)
    answer = _answer(search, certified)
    return answer if plan_alone else _with_asides(search, certified, answer)


def _with_asides(search: Search, certified: Certified, answer: Recommendation) -> Recommendation:
    """The answer, with what accompanies its plan; the tally counts that too."""
    headroom = _headroom(search, certified)
    asides = replace(
        answer,
        headroom=headroom,
        random_routing=if_random(search, certified.candidate.plan, answer.performance),
        without_survival=_if_nothing_happened(search),
        under_poisson=_if_poisson(search),
        caveats=(*answer.caveats, *headroom_caveats(headroom)),
    )
    return replace(asides, tally=search.tally)


def _open_or_missed(considered: list[Candidate]) -> Verdict:
    """The answer for candidates of which none was accepted."""
    is_open = any(candidate.verdict is Verdict.INCONCLUSIVE for candidate in considered)
    return Verdict.INCONCLUSIVE if is_open else Verdict.MISSED


def _refused_at_once(search: Search) -> list[Candidate]:
    """Why no plan within the limits is enough, if theory knows; empty otherwise."""
    question = search.question
    least = {family: search.devices_min(family) for family in question.families}
    if any(n is not None and n <= question.devices_max(family) for family, n in least.items()):
        return []
    refused = [_too_many(search, family, n) for family, n in least.items() if n is not None]
    return [*_with_floors(search), *refused]


def _too_many(search: Search, family: Family, devices: int) -> Candidate:
    """A family that needs more replicas than are allowed to be stable at all, or to answer so many users."""
    question, needed = search.question, family.replicas(devices)
    if isinstance(question.workload, ClosedPopulation):
        return _too_slow(search, family)
    losses = question.survival.losses(needed, family.profile.instances_per_device)
    rejection = Rejection(
        limit=Limit.REPLICAS_MAX,
        allowed=question.replicas_max,
        needed=needed,
        event=max(losses, key=lambda event: losses[event], default=None),
    )
    sizes = search.sizes(family)
    best = max(sizes, key=family.profile.throughput_rps)
    plan = question.plan(family, devices, best, 0.0) if needed <= REPLICAS_LIMIT else None
    shown = plan or replace(question.plan(family, 1, best, 0.0), replicas=REPLICAS_LIMIT)  # more is no plan
    return Candidate(plan=shown, verdict=Verdict.MISSED, rejection=rejection)


def _too_slow(search: Search, family: Family) -> Candidate:
    """The largest fleet of a family, with the batches that users wait least for, which is too long."""
    question, most = search.question, max(1, search.question.devices_max(family))
    plans = [
        question.plan(family, most, size, min(question.batch_waits(family.profile, size)))
        for size in search.sizes(family)
    ]
    refused = {plan: rejection for plan in plans if (rejection := refuse_loads(question, plan)) is not None}
    plan = min(refused, key=lambda one: refused[one].needed)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=refused[plan], settled=False)


def _with_floors(search: Search) -> list[Candidate]:
    """What was considered, starting with the batch sizes that no number of replicas could help."""
    refused = [
        Candidate(plan=_any_plan(search, name, size), verdict=Verdict.MISSED, rejection=rejection)
        for (name, size), rejection in search.floor_rejections.items()
    ]
    open_ones = [
        floor_candidate(_any_plan(search, name, size), doubt)
        for (name, size), doubt in search.floor_doubts.items()
    ]
    return [*refused, *open_ones, *search.considered]


def _any_plan(search: Search, name: str, batch_size_max: int) -> Plan:
    """One replica with batches up to a size, to represent what no number of replicas changes."""
    question = search.question
    family = Family(profile=question.profile(name), routing=question.routings[0])
    return question.plan(family, 1, batch_size_max, 0.0)


def _answer(search: Search, certified: Certified) -> Recommendation:
    plan = certified.candidate.plan
    return Recommendation(
        verdict=Verdict.MET,
        objective=search.question.objective,
        plan=plan,
        performance=certified.candidate.performance,
        hourly_usd=search.question.profile(plan.profile).hourly_cost_usd(plan.replicas),
        considered=tuple(_with_floors(search)),
        caveats=tuple(_caveats(search, certified)),
        survived=certified.survived,
        tally=search.tally,
        certificate=certified.certificate,
        like_it=certified.candidate.like_it,
    )


def _if_nothing_happened(search: Search) -> Recommendation | None:
    """The plan that would be enough if there were nothing to survive; None if there is nothing."""
    if search.question.survival == Survival():
        return None
    easier = replace(search.question, survival=Survival())
    return _easier(search, easier)


def _if_poisson(search: Search) -> Recommendation | None:
    """The plan for Poisson arrivals at the same rate; None if they are Poisson, or users send."""
    workload = search.question.workload
    if isinstance(workload, ClosedPopulation) or workload.arrivals in _POISSON:
        return None
    calmer = replace(search.question, workload=replace(workload, arrivals=PoissonArrivals()))
    return _easier(search, calmer)


def _easier(search: Search, question: Question) -> Recommendation:
    """The answer to an easier question, to compare with the one that was asked; from a budget of its own."""
    other = search.beside(question)
    answer = _recommend(other, plan_alone=True)
    search.count_in(other)
    return answer


def _headroom(search: Search, certified: Certified) -> Headroom | None:
    """How far the rate may rise while the plan, or what the worst loss leaves of it, meets the objective."""
    question, plan = search.question, certified.candidate.plan
    if isinstance(question.workload, ClosedPopulation):
        return None
    scenarios = [scenario for _, scenario in question.events(plan) if scenario.spike is None]
    hardest = scenarios[0] if scenarios else question.scenario(plan)
    return find_headroom(hardest, search.judge, search.progress)


def _no_plan(search: Search, considered: list[Candidate], verdict: Verdict) -> Recommendation:
    return Recommendation(
        verdict=verdict,
        objective=search.question.objective,
        considered=tuple(considered),
        caveats=tuple(search_caveats(search, None)),
        tally=search.tally,
    )


def _caveats(search: Search, certified: Certified) -> Iterator[Caveat]:
    question, plan = search.question, certified.candidate.plan
    profile, quantiles = question.profile(plan.profile), question.objective.quantiles or (0.99,)
    yield from profile_caveats(profile, plan.batch_size_max, quantiles)
    if profile.hourly_usd is None:
        yield Caveat(
            code=CaveatCode.PRICE_UNKNOWN,
            message="the profile has no price: the plan has the fewest replicas and no cost; set hourly_usd, "
            f"or give --hourly-usd {profile.name}=0.50",
        )
    yield from search_caveats(search, certified.candidate)
    yield from routing_caveats(plan)
    yield from batching_caveats(plan)
    if certified.candidate.performance is not None:
        yield from mean_caveats(certified.candidate.performance, question.objective)
    if not certified.whole.is_precise:
        yield precision_caveat()
    yield from trace_caveats(question.workload, certified.candidate.like_it)
