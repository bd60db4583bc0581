"""Planner: candidates, screen, judge, certificate -> the cheapest plan that keeps the objective, and why."""

from collections.abc import Iterator
from itertools import count

from capacity.caveats import Caveat, CaveatCode, precision_caveat, profile_caveats, trace_caveats
from capacity.headroom import Headroom, find_headroom
from capacity.judge import Judge, Judgement, binding_quantile
from capacity.plan import REPLICAS_LIMIT, Candidate, Limit, Recommendation, Rejection, Verdict
from capacity.screen import require_batch_of_one
from capacity.search import Progress, Question, Search, as_candidate
from capacity.units import format_rate

# Replica counts that are certified in turn before the planner gives up.
_CERTIFICATES_MAX = 10


def silent(message: str) -> None:
    """Progress for those who do not want any."""


def recommend(question: Question, judge: Judge, progress: Progress = silent) -> Recommendation:
    """The cheapest plan that keeps the objective, with every candidate that was considered.

    One profile means one price, so that the cheapest plan is the one with the fewest replicas;
    among its batch sizes the one farthest from its limit wins, and of those that the intervals cannot
    tell apart the one with the lowest load.
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
    shown = min(needed, REPLICAS_LIMIT)  # more than that is no plan
    plans = [question.plan(shown, size) for size in search.sizes]
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


Certified = tuple[Candidate, Judgement]


def _certify(search: Search, start: int) -> Certified | None:
    """The fewest replicas from `start` on, found by growing steps and halving in, that a certificate accepts.

    Fresh random numbers, and the profile's own error, may ask for more than the search did.
    """
    refused, step, attempts = start - 1, 1, count(1)
    for _ in range(_CERTIFICATES_MAX):
        replicas = min(refused + step, search.question.replicas_max)
        if replicas <= refused:
            return None
        certified = _certify_at(search, replicas, attempts)
        if certified is not None:
            return _halve_in(search, refused, certified, attempts)
        refused, step = replicas, 2 * step if refused >= start else 1
    return None


def _halve_in(search: Search, refused: int, certified: Certified, attempts: Iterator[int]) -> Certified:
    while certified[0].plan.replicas - refused > 1:
        middle = (refused + certified[0].plan.replicas) // 2
        fewer = _certify_at(search, middle, attempts)
        if fewer is None:
            refused = middle
        else:
            certified = fewer
    return certified


def _certify_at(search: Search, replicas: int, attempts: Iterator[int]) -> Certified | None:
    """The preferred batch size of a replica count whose certificate is given."""
    question = search.question
    accepted = [candidate for candidate in search.at(replicas) if candidate.accepted]
    for candidate in _by_preference(search, accepted):
        plan = candidate.plan
        search.progress(f"certifying {plan.replicas} replicas, batch {plan.batch_size_max}")
        judgement = search.judge.certify(
            question.workload, plan, question.objective, next(attempts), search.requests_of[plan]
        )
        search.requests += judgement.requests
        certified = as_candidate(plan, judgement)
        search.update(replicas, certified)
        if certified.accepted:
            return certified, judgement
    return None


def _by_preference(search: Search, accepted: list[Candidate]) -> list[Candidate]:
    """Nearest to its limit last; of those that intervals cannot tell from the best, the lowest load first.

    A lower load is more headroom at the same price; of equal ones the smallest batch is the simplest.
    """
    objective = search.question.objective

    def ends(candidate: Candidate) -> tuple[float, float, float]:
        """Share of its limit that the binding quantile takes up: value, low and high end."""
        assert candidate.performance is not None  # noqa: S101  (an accepted candidate was simulated)
        quantile = binding_quantile(objective, candidate.performance)
        interval, limit_s = candidate.performance.response_quantiles_s[quantile], objective.limits[quantile]
        return interval.value / limit_s, interval.low / limit_s, interval.high / limit_s

    def preference(candidate: Candidate) -> tuple[bool, float, int]:
        value, low, _ = ends(candidate)
        tied = low <= best_high
        load = candidate.performance.load if candidate.performance else None
        return not tied, (load or 0.0) if tied else value, candidate.plan.batch_size_max

    best_high = min(map(ends, accepted))[2] if accepted else 0.0
    return sorted(accepted, key=preference)


def _answer(search: Search, chosen: Candidate, judgement: Judgement) -> Recommendation:
    question = search.question
    if chosen.plan.replicas > 1:
        search.at(chosen.plan.replicas - 1)  # refused or unstable: shown beside the answer
    headroom = find_headroom(
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
        arrival_rate_max_rps=headroom.accepted_rps,
        hourly_usd=question.profile.hourly_cost_usd(chosen.plan.replicas),
        considered=tuple(_with_floors(search)),
        caveats=(*_caveats(search, chosen, judgement), *_headroom_caveats(headroom)),
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
        yield precision_caveat(question.workload)
    yield from trace_caveats(question.workload, question.objective.limits)


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


def _headroom_caveats(headroom: Headroom) -> Iterator[Caveat]:
    if headroom.is_in_doubt:
        yield Caveat(
            code=CaveatCode.HEADROOM_IN_DOUBT,
            message=f"between {format_rate(headroom.accepted_rps)} and {format_rate(headroom.refused_rps)} "
            "the budget did not suffice to accept or refuse the same plan; raise --requests-max",
        )
