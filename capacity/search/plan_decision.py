"""The decision on a plan: screen, search, confirmation and headroom give the cheapest plan that meets the objective."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate, Judge, Verdict, at_last
from capacity.question.caveat import Caveat, CaveatCode, precision_caveat
from capacity.question.objective import Measure
from capacity.question.overload import Saturation
from capacity.question.plan import Plan, Routing, holds_back
from capacity.question.question import Family, Question
from capacity.question.resilience import Survival
from capacity.search.candidates import Progress, Search
from capacity.search.caveats import (
    headroom_caveats,
    mean_caveats,
    routing_caveats,
    rules_caveat,
    search_caveats,
    storm_caveats,
    trace_caveats,
)
from capacity.search.certificate import Certified, Certifier
from capacity.search.cheapest import find_alternatives, find_cheapest
from capacity.search.exact import judge_exactly, theory_of
from capacity.search.fewest import always, fewest_enough, finest, halve_in
from capacity.search.headroom import find_headroom
from capacity.search.recommendation import RandomRouting, Recommendation
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.workload import ClosedPopulation, GammaArrivals, PoissonArrivals


def if_random(search: Search, plan: Plan, performance: Performance | None) -> RandomRouting | None:
    """What random routing makes of a plan, and how many replicas of its profile would be enough.

    None if the plan's routing is already random, or a queue that all replicas share, or if its balancer holds requests
    back, which one that looks at nothing does not.

    Many balancers that do not know of each other amount to random routing, and a Kubernetes Service does it.
    The search starts at the plan's number, since a router that looks at nothing never needs fewer; plans are
    judged as in a search, not confirmed. One replica is routed to in any case.

    Args:
        performance: of the plan.
    """
    if plan.routing in (Routing.RANDOM, Routing.SHARED_QUEUE) or holds_back(plan):
        return None
    if plan.replicas == 1:
        return _random(search, 1, performance, performance)
    question = search.question
    asked = replace(question, profiles=(question.profile(plan.profile),), routings=(Routing.RANDOM,))
    other, at_random = search.separate(asked, is_aside=True), replace(plan, routing=Routing.RANDOM)
    family, scenario = asked.family(at_random), asked.scenario(at_random)
    search.progress("what random routing would take")
    if asked.survival == Survival():
        candidate = other.candidate(at_random)
    else:
        candidate = judge_exactly(scenario) or at_last(search.judge.search(scenario, 1))
        other.counts["simulated"] += candidate.requests > 0
        other.requests += candidate.requests
    devices = _fewest(other, family, at_random)
    search.count_in(other)
    replicas = None if devices is None else family.replicas(devices)
    if candidate.settled:
        return _random(search, replicas, performance, candidate.performance)
    likely = _random(search, replicas, performance, candidate.performance).figure
    least = None if likely is None or math.isinf(likely.low) else likely.low
    return replace(_random(search, replicas, performance, None), least=least)


def _random(
    search: Search, replicas: int | None, today: Performance | None, at_random: Performance | None
) -> RandomRouting:
    """The replicas under random routing, with P99 of the response, and if that has no limit what binds today."""
    random, objective = (
        RandomRouting(replicas=replicas, response_p99=_p99(at_random)),
        search.question.objective,
    )
    if today is None or 0.99 in objective.by_quantile(Measure.RESPONSE):
        return random
    limit = objective.binding(today)
    return replace(random, limit=limit, found=None if at_random is None else limit.found(at_random))


def _p99(performance: Performance | None) -> Interval | None:
    """P99 of the response, counting lost requests as late. [s]"""
    if performance is None:
        return None
    late = performance.response_quantiles_with_losses_s or performance.response_quantiles_s
    return late.get(0.99)


def _fewest(search: Search, family: Family, plan: Plan) -> int | None:
    """Fewest devices: with the plan's own setting by growing steps, then with any setting that needs fewer.

    It is known to one hundredth: it stands beside the plan, which it must not outweigh.
    """
    today, most = family.devices(plan.replicas), search.question.devices_max(family)
    if search.question.space.lengths is not None and search.theory.one_by_one(
        search.question, family, search.floors
    ):
        most = today  # turns of sessions that any replica may get need many more, and long simulations
    devices = fewest_enough(
        lambda count: _meets(search, family, plan, count),
        today - 1,
        most,
        may_go_on=lambda: not search.out_of_budget,
        is_in_doubt=always,
    )
    if devices is None or devices == today:
        return devices
    fewer = max(today, devices - finest(devices, always))
    if search.accepted_at(family, fewer):
        return halve_in(lambda count: search.accepted_at(family, count), today - 1, fewer, always)
    return devices


def _meets(search: Search, family: Family, plan: Plan, devices: int) -> bool:
    """Whether this many devices meet the objective with the plan's own setting."""
    return search.candidate(replace(plan, replicas=family.replicas(devices))).accepted


_POISSON = (PoissonArrivals(), GammaArrivals(cv=1.0))


def silent(message: str) -> None:
    """Progress that is not reported."""


def recommend(
    question: Question,
    judge: Judge,
    progress: Progress = silent,
    *,
    plan_alone: bool = False,
    has_headroom: bool = True,
    confidence: float = 0.95,
) -> Recommendation[Any]:
    """The cheapest plan that meets the objective, with every candidate that was considered.

    Among plans of one price the one farthest from its limit wins, and among those that the intervals cannot
    tell apart the simplest. The winner is confirmed with random numbers that had no part in choosing it.

    Args:
        plan_alone: leave out what only accompanies the plan: how far the rate may rise, and what would be
            enough under random routing, under Poisson arrivals, or if there were nothing to survive.
        has_headroom: whether how far the rate may rise is part of what accompanies it; `with_headroom` adds it later.
        confidence: of the interval of a service time whose samples may not tell it from its limit.

    Raises:
        DomainError: a profile does not cover what every fleet needs.
    """
    for profile in question.profiles:
        theory_of(profile).require(profile)
    search = Search(question, judge, progress, confidence)
    return _recommend(search, plan_alone=plan_alone, has_headroom=has_headroom)


def _recommend(search: Search, *, plan_alone: bool, has_headroom: bool = False) -> Recommendation:
    refusals = search.refused_at_once()
    if refusals:
        return _no_plan(search, refusals, _open_or_missed(refusals))
    level = find_cheapest(search)
    certified = None if level is None else Certifier(search).first(level)
    if level is None or certified is None:
        considered = search.with_floors()
        verdict = Verdict.INCONCLUSIVE if search.out_of_budget else _open_or_missed(considered)
        return _no_plan(search, considered, verdict)
    answer = _answer(search, certified)
    if plan_alone:
        return answer
    found = _with_asides(search, certified, answer)
    return with_headroom(search.question, found, search.judge, search.progress) if has_headroom else found


def _with_asides(search: Search, certified: Certified, answer: Recommendation) -> Recommendation:
    """The answer, with what accompanies its plan; the tally counts that too."""
    alternatives = find_alternatives(search, certified.candidate.plan)
    asides = replace(
        answer,
        caveats=tuple(_by_other_rules(search, certified, answer)),
        random_routing=if_random(search, certified.candidate.plan, answer.performance),
        without_survival=_if_nothing_happened(search),
        under_poisson=_if_poisson(search),
        alternatives=alternatives.found,
        untried=alternatives.untried,
    )
    return replace(asides, tally=search.tally)


def _by_other_rules(search: Search, certified: Certified, answer: Recommendation) -> Iterator[Caveat]:
    """The caveats, with what the plan does by other rules that the measured server may have had."""
    today = certified.candidate.performance
    other = search.theory.other_rules(search.question.scenario(certified.candidate.plan))
    if other is None or today is None:
        yield from answer.caveats
        return
    search.progress("what it does by other rules of its server")
    candidate = at_last(search.judge.search(other, 1, is_aside=True))
    search.counts["simulated"] += candidate.requests > 0
    search.requests += candidate.requests
    limit = answer.objective.binding(today)
    for caveat in answer.caveats:
        if caveat.code is not CaveatCode.ENGINE_RULES_UNSTATED:
            yield caveat
        else:
            yield rules_caveat(caveat, limit, limit.found(today), candidate)


def with_headroom(
    question: Question, found: Recommendation[Any], judge: Judge, progress: Progress
) -> Recommendation[Any]:
    """The same recommendation with how far the rate may rise, if it has a plan and a rate.

    That is while the plan, or what the worst loss leaves of it, meets the objective.
    """
    plan = found.plan
    if plan is None or isinstance(question.workload, ClosedPopulation):
        return found
    scenarios = [scenario for _, scenario in question.events(plan) if scenario.spike is None]
    hardest = scenarios[0] if scenarios else question.scenario(plan)
    known = [found.performance, *(one.performance for one in found.survived if one.plan == hardest.plan)]
    headroom = find_headroom(hardest, judge, progress, known[-1])
    caveats = headroom_caveats(headroom, theory_of(hardest.profile))
    return replace(found, headroom=headroom, caveats=(*found.caveats, *caveats))


def _open_or_missed(considered: list[Candidate]) -> Verdict:
    """The answer for candidates of which none was accepted."""
    is_open = any(candidate.verdict is Verdict.INCONCLUSIVE for candidate in considered)
    return Verdict.INCONCLUSIVE if is_open else Verdict.MISSED


def _answer(search: Search, certified: Certified) -> Recommendation:
    plan = certified.candidate.plan
    return Recommendation(
        verdict=Verdict.MET,
        objective=search.question.objective,
        plan=plan,
        performance=certified.candidate.performance,
        hourly_usd=search.question.hourly_usd(plan),
        considered=tuple(search.with_floors()),
        caveats=tuple(_caveats(search, certified)),
        survived=certified.survived,
        tally=search.tally,
        certificate=certified.certificate,
        like_it=certified.candidate.like_it,
        saturation=_saturation(search, plan),
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
    return _easier(search, search.question.with_arrivals(PoissonArrivals()))


def _easier(search: Search, question: Question) -> Recommendation:
    """The answer to an easier question, to compare with the one that was asked; from a budget of its own."""
    other = search.separate(question)
    answer = _recommend(other, plan_alone=True)
    search.count_in(other)
    return answer


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
    profile, performance = question.profile(plan.profile), certified.candidate.performance
    if performance is not None:
        yield from search.theory.caveats(question.scenario(plan), performance)
        if search.theory.serves_all:
            yield from storm_caveats(question.workload, plan, performance)
    if profile.hourly_usd is None:
        yield Caveat(
            code=CaveatCode.PRICE_UNKNOWN,
            message="the profile has no price: the plan has the fewest replicas and no cost; set hourly_usd, "
            f"or give --hourly-usd {profile.name}=0.50",
        )
    yield from search_caveats(search, certified.candidate)
    yield from routing_caveats(plan)
    if performance is not None:
        yield from mean_caveats(performance, question.objective)
    if not certified.whole.is_precise:
        yield precision_caveat()
    yield from trace_caveats(question.workload, certified.candidate.like_it)


def _saturation(search: Search, plan: Plan) -> Saturation | None:
    """What one replica does while requests always wait; None where that depends on what its cache finds."""
    if are_sessions(search.question.space.lengths):
        return None
    found: Saturation | None = search.theory.saturation(search.question.scenario(plan), search.judge)
    return found
