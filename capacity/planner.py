"""Planner: screen, search, certificate, headroom -> the cheapest plan that keeps the objective, and why."""

from collections.abc import Iterator
from dataclasses import replace

from capacity.caveats import Caveat, CaveatCode, precision_caveat, profile_caveats, trace_caveats
from capacity.certificate import Certified, Certifier
from capacity.cheapest import Level, cost, find_cheapest
from capacity.headroom import Headroom, find_headroom
from capacity.judge import Judge
from capacity.plan import REPLICAS_LIMIT, Candidate, Limit, Recommendation, Rejection, Verdict
from capacity.question import Family, Question
from capacity.screen import require_batch_of_one
from capacity.search import Progress, Search
from capacity.survival import Survival
from capacity.units import format_rate
from capacity.workload import ClosedPopulation, GammaArrivals, PoissonArrivals, is_trace

_POISSON = (PoissonArrivals(), GammaArrivals(cv=1.0))
# Cheaper fleets in doubt that are named one by one.
_FLEETS_NAMED = 3


def silent(message: str) -> None:
    """Progress for those who do not want any."""


def recommend(
    question: Question, judge: Judge, progress: Progress = silent, *, with_headroom: bool = True
) -> Recommendation:
    """The cheapest plan that keeps the objective, with every candidate that was considered.

    Of plans of one price the one farthest from its limit wins, and of those that the intervals cannot
    tell apart the simplest. The winner is certified by random numbers that had no part in choosing it.

    Args:
        with_headroom: whether to find how far the rate may rise.

    Raises:
        DomainError: a profile does not cover a batch of one request.
    """
    for profile in question.profiles:
        require_batch_of_one(profile)
    search = Search(question, judge, progress)
    refusals = _refused_at_once(search)
    if refusals:
        return _no_plan(search, refusals, Verdict.MISSED)
    level = find_cheapest(search)
    certified = None if level is None else Certifier(search).first(level)
    if level is None or certified is None:
        in_doubt = any(candidate.verdict is Verdict.INCONCLUSIVE for candidate in search.considered)
        verdict = Verdict.INCONCLUSIVE if in_doubt or search.out_of_budget else Verdict.MISSED
        return _no_plan(search, _with_floors(search), verdict)
    return _answer(search, level, certified, with_headroom=with_headroom)


def _refused_at_once(search: Search) -> list[Candidate]:
    """Why no plan within the limits can do, where theory knows; empty otherwise."""
    question = search.question
    least = {family: search.devices_min(family) for family in question.families}
    if any(n is not None and n <= question.devices_max(family) for family, n in least.items()):
        return []
    refused = [_too_many(search, family, n) for family, n in least.items() if n is not None]
    return [*_with_floors(search), *refused]


def _too_many(search: Search, family: Family, devices: int) -> Candidate:
    """A family that takes more replicas than are allowed to be stable at all."""
    question, needed = search.question, family.replicas(devices)
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


def _with_floors(search: Search) -> list[Candidate]:
    """What was considered, led by the batch sizes that no replica count could help."""
    question = search.question
    floors = [
        Candidate(
            plan=question.plan(
                Family(profile=question.profile(name), routing=question.routings[0]), 1, size, 0.0
            ),
            verdict=Verdict.MISSED,
            rejection=rejection,
        )
        for (name, size), rejection in search.floor_rejections.items()
    ]
    return [*floors, *search.considered]


def _answer(search: Search, level: Level, certified: Certified, *, with_headroom: bool) -> Recommendation:
    question, plan = search.question, certified.candidate.plan
    profile = question.profile(plan.profile)
    devices = profile.devices(plan.replicas)
    family = Family(profile=profile, routing=plan.routing)
    if devices > 1:  # refused or unstable: shown beside it
        search.at(family, devices - 1)
    headroom = _headroom(search, certified) if with_headroom else None
    return Recommendation(
        verdict=Verdict.MET,
        objective=question.objective,
        plan=plan,
        performance=certified.candidate.performance,
        arrival_rate_max_rps=None if headroom is None else headroom.accepted_rps,
        hourly_usd=profile.hourly_cost_usd(plan.replicas),
        considered=tuple(_with_floors(search)),
        caveats=(*_caveats(search, level, certified), *_headroom_caveats(headroom)),
        survived=certified.survived,
        without_survival=_if_nothing_happened(search),
        under_poisson=_if_poisson(search),
        tally=search.tally,
        certificate=certified.certificate,
    )


def _if_nothing_happened(search: Search) -> Recommendation | None:
    """What would do if nothing had to be outlived; None where nothing has to be."""
    if search.question.survival == Survival():
        return None
    easier = replace(search.question, survival=Survival())
    return recommend(easier, search.judge, search.progress, with_headroom=False)


def _if_poisson(search: Search) -> Recommendation | None:
    """What would do if as many requests arrived as a Poisson stream; None where they do, or users ask."""
    workload = search.question.workload
    if isinstance(workload, ClosedPopulation) or workload.arrivals in _POISSON:
        return None
    calmer = replace(search.question, workload=replace(workload, arrivals=PoissonArrivals()))
    return recommend(calmer, search.judge, search.progress, with_headroom=False)


def _headroom(search: Search, certified: Certified) -> Headroom | None:
    """How far the rate may rise while the plan, or what the hardest loss leaves of it, holds."""
    question, plan = search.question, certified.candidate.plan
    if isinstance(question.workload, ClosedPopulation):
        return None
    proposals = [proposal for _, proposal in question.events(plan) if proposal.spike is None]
    hardest = proposals[0] if proposals else question.proposal(plan)
    return find_headroom(hardest, search.judge, search.progress)


def _no_plan(search: Search, considered: list[Candidate], verdict: Verdict) -> Recommendation:
    return Recommendation(
        verdict=verdict,
        objective=search.question.objective,
        considered=tuple(considered),
        tally=search.tally,
    )


def _caveats(search: Search, level: Level, certified: Certified) -> Iterator[Caveat]:
    question, plan = search.question, certified.candidate.plan
    profile, quantiles = question.profile(plan.profile), question.objective.quantiles or (0.99,)
    yield from profile_caveats(profile, plan.batch_size_max, quantiles)
    if profile.hourly_usd is None:
        yield Caveat(
            code=CaveatCode.PRICE_UNKNOWN,
            message="the profile has no price: the plan has the fewest replicas and no cost; set hourly_usd, "
            f"or give --hourly-usd {profile.name}=0.50",
        )
    yield from _cheaper_in_doubt(search, certified.candidate)
    if level.untried:
        yield Caveat(
            code=CaveatCode.FLEETS_UNTRIED,
            message=f"{level.untried} of the cheapest fleets were left out for want of budget; each must be "
            "tried by itself, since its batches wait or larger ones may be faster",
        )
    if not certified.judgement.is_precise:
        yield precision_caveat(question.workload)
    yield from trace_caveats(question.workload, quantiles, settled=certified.candidate.settled)


def _cheaper_in_doubt(search: Search, chosen: Candidate) -> Iterator[Caveat]:
    """One caveat for each cheaper fleet size that could be neither accepted nor refused; or one for many."""
    price = cost(search, chosen)
    sizes: dict[tuple[str, int], set[int]] = {}
    for candidate in search.considered:
        plan = candidate.plan
        if candidate.verdict is Verdict.INCONCLUSIVE and cost(search, candidate) < price:
            sizes.setdefault((plan.profile, plan.replicas), set()).add(plan.batch_size_max)
    is_one = len(search.question.profiles) == 1
    fleets = [
        f"a fleet of {replicas}{'' if is_one else f' of {name}'} with batches up to "
        f"{' or '.join(map(str, sorted(batch_sizes)))} is"
        for (name, replicas), batch_sizes in sizes.items()
    ]
    is_path = is_trace(search.question.workload)
    budget = "the trace; record for longer" if is_path else "the budget; raise --requests-max"
    if len(fleets) > _FLEETS_NAMED:
        counts = [replicas for _, replicas in sizes]
        fleets = [f"{len(fleets)} fleets, of {min(counts)} to {max(counts)} replicas, are"]
    for fleet in fleets:
        yield Caveat(
            code=CaveatCode.CHEAPER_INCONCLUSIVE,
            message=f"{fleet} cheaper and could be neither accepted nor refused within {budget}",
        )


def _headroom_caveats(headroom: Headroom | None) -> Iterator[Caveat]:
    if headroom is not None and headroom.is_in_doubt:
        yield Caveat(
            code=CaveatCode.HEADROOM_IN_DOUBT,
            message=f"between {format_rate(headroom.accepted_rps)} and {format_rate(headroom.refused_rps)} "
            "the budget did not suffice to accept or refuse the same plan; raise --requests-max",
        )
