"""Planner: candidates, screen, judge, certificate -> the cheapest plan that keeps the objective, and why."""

from collections.abc import Iterator

from capacity.caveats import Caveat, CaveatCode, profile_caveats
from capacity.headroom import arrival_rate_max_rps
from capacity.judge import Judge, Judgement, binding_quantile, pressure
from capacity.plan import Candidate, Limit, Recommendation, Rejection, Verdict
from capacity.screen import require_batch_of_one
from capacity.search import Progress, Question, Search, as_candidate
from capacity.units import format_quantile
from capacity.workload import TraceArrivals

# Replica counts that are certified in turn before the planner gives up.
_CERTIFICATES_MAX = 6


def silent(message: str) -> None:
    """Progress for those who do not want any."""


def recommend(question: Question, judge: Judge, progress: Progress = silent) -> Recommendation:
    """The cheapest plan that keeps the objective, with every candidate that was considered.

    One profile means one price, so that the cheapest plan is the one with the fewest replicas;
    among its batch sizes the one farthest from its limit wins, and the smaller of two equal ones.
    The winner is certified by random numbers that had no part in choosing it.

    Raises:
        DomainError: the profile does not cover a batch of one request.
    """
    require_batch_of_one(question.profile)
    search = Search(question, judge, progress)
    refusals = _refused_at_once(search)
    if refusals:
        return _no_plan(question, refusals, Verdict.MISSED)
    replicas = search.smallest_accepted()
    certified = None if replicas is None else _certify(search, replicas)
    if certified is None:
        in_doubt = any(candidate.verdict is Verdict.INCONCLUSIVE for candidate in search.considered)
        verdict = Verdict.INCONCLUSIVE if in_doubt or search.out_of_budget else Verdict.MISSED
        return _no_plan(question, _with_floors(search), verdict)
    return _answer(search, *certified)


def _refused_at_once(search: Search) -> list[Candidate]:
    """Why no plan within the limits can do, where theory knows; empty otherwise."""
    question = search.question
    if not search.sizes:
        return _with_floors(search)
    if search.replicas_min <= question.replicas_max:
        return []
    needed = search.replicas_min
    rejection = Rejection(limit=Limit.REPLICAS_MAX, allowed=question.replicas_max, needed=needed)
    plans = [question.plan(needed, size) for size in search.sizes]
    closest = min(plans, key=lambda plan: -question.profile.throughput_rps(plan.batch_size_max))
    refused = Candidate(plan=closest, verdict=Verdict.MISSED, rejection=rejection)
    return [*_with_floors(search), refused]


def _with_floors(search: Search) -> list[Candidate]:
    """What was considered, led by the batch sizes that no replica count could help."""
    floors = [
        Candidate(plan=search.question.plan(1, size), verdict=Verdict.MISSED, rejection=rejection)
        for size, rejection in search.floor_rejections.items()
    ]
    return [*floors, *search.considered]


def _certify(search: Search, start: int) -> tuple[Candidate, Judgement] | None:
    """The best accepted candidate from `start` replicas on that is accepted again by fresh numbers."""
    question, attempt = search.question, 0
    for replicas in range(start, min(start + _CERTIFICATES_MAX, question.replicas_max + 1)):
        accepted = [candidate for candidate in search.at(replicas) if candidate.accepted]
        for candidate in sorted(accepted, key=lambda one: _preference(search, one)):
            attempt += 1
            plan = candidate.plan
            search.progress(f"certifying {plan.replicas} replicas, batch {plan.batch_size_max}")
            judgement = search.judge.certify(
                question.workload, plan, question.objective, attempt, search.requests_of[plan]
            )
            search.requests += judgement.requests
            certified = as_candidate(plan, judgement)
            search.update(replicas, certified)
            if certified.accepted:
                return certified, judgement
    return None


def _preference(search: Search, candidate: Candidate) -> tuple[float, int]:
    """Lowest share of its limit first, then the smallest batch."""
    assert candidate.performance is not None  # noqa: S101  (an accepted candidate was simulated)
    objective, performance = search.question.objective, candidate.performance
    quantile = binding_quantile(objective, performance)
    return pressure(objective, performance, quantile), candidate.plan.batch_size_max


def _answer(search: Search, chosen: Candidate, judgement: Judgement) -> Recommendation:
    question = search.question
    if chosen.plan.replicas > 1:
        search.at(chosen.plan.replicas - 1)  # refused or unstable: shown beside the answer
    rate_max_rps = arrival_rate_max_rps(
        question.profile,
        question.workload,
        chosen.plan,
        question.objective,
        search.judge,
        search.progress,
    )
    return Recommendation(
        verdict=Verdict.MET,
        objective=question.objective,
        plan=chosen.plan,
        performance=chosen.performance,
        arrival_rate_max_rps=rate_max_rps,
        hourly_usd=question.profile.hourly_cost_usd(chosen.plan.replicas),
        considered=tuple(_with_floors(search)),
        caveats=tuple(_caveats(search, chosen, judgement)),
    )


def _no_plan(question: Question, considered: list[Candidate], verdict: Verdict) -> Recommendation:
    return Recommendation(verdict=verdict, objective=question.objective, considered=tuple(considered))


def _caveats(search: Search, chosen: Candidate, judgement: Judgement) -> Iterator[Caveat]:
    question = search.question
    yield from profile_caveats(question.profile, chosen.plan.batch_size_max, question.objective.limits)
    if question.profile.hourly_usd is None:
        yield Caveat(
            code=CaveatCode.PRICE_UNKNOWN,
            message="the profile has no price: the plan has the fewest replicas and no cost; set hourly_usd",
        )
    yield from _cheaper_in_doubt(search, chosen)
    if not judgement.is_precise:
        yield Caveat(
            code=CaveatCode.PRECISION_MISSED,
            message="the budget ended before the interval was as narrow as asked; raise --requests-max",
        )
    if isinstance(question.workload.arrivals, TraceArrivals):
        quantile = format_quantile(max(question.objective.limits))
        yield Caveat(
            code=CaveatCode.TRACE_ONE_PATH,
            message=f"a trace happened once: the interval of {quantile} comes from its consecutive sections, "
            "which were not independent; try other days too",
        )


def _cheaper_in_doubt(search: Search, chosen: Candidate) -> Iterator[Caveat]:
    """One caveat for each cheaper replica count that could be neither accepted nor refused."""
    devices = search.question.profile.devices
    dearest = devices(chosen.plan.replicas)
    sizes: dict[int, list[str]] = {}
    for candidate in search.considered:
        plan = candidate.plan
        if candidate.verdict is Verdict.INCONCLUSIVE and devices(plan.replicas) < dearest:
            sizes.setdefault(plan.replicas, []).append(str(plan.batch_size_max))
    for replicas, batch_sizes in sizes.items():
        yield Caveat(
            code=CaveatCode.CHEAPER_INCONCLUSIVE,
            message=f"a fleet of {replicas} with batches up to {' or '.join(batch_sizes)} is cheaper and "
            "could be neither accepted nor refused within the budget; raise --requests-max",
        )
