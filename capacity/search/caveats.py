"""Plan caveats: what a recommendation leaves open, each with what would settle it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from capacity.performance import Interval, Kind, Performance, Width
from capacity.profile.sampling import FloorDoubt, reach
from capacity.question.candidate import Candidate, LikeIt, Verdict
from capacity.question.caveat import BATCHES_MAX, Caveat, CaveatCode, controller_caveats
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.question.plan import AnyPlan, Plan, Routing, waiting_max
from capacity.question.question import Question
from capacity.question.resilience import Outage
from capacity.question.scenario import Scenario
from capacity.recovery.fluid import amplification, stuck_from
from capacity.search.candidates import Search
from capacity.search.exact import Theory, theory_of
from capacity.search.recommendation import Headroom, Recommendation
from capacity.traffic.workload import Demand, TraceArrivals, Workload, is_patient
from capacity.units import format_count, format_duration, format_quantile, format_rate, format_share


def mean_caveats(performance: Performance, objective: Objective) -> Iterator[Caveat]:
    """Which requests the means cover, if any are rejected, and what would count these where nothing does."""
    if performance.loss_probability and performance.response_mean_s is not None:
        how = "rejected" if performance.attempts_mean is None else "never answered"
        mend = "; set a limit on a percentile, which counts them as late, or give --loss-max"
        is_counted = objective.quantiles or objective.allowed(Measure.LOSS) is not None
        yield Caveat(
            code=CaveatCode.MEANS_OF_SERVED,
            message=f"means leave out the {100.0 * performance.loss_probability:.3g} % of requests that are "
            f"{how}{'' if is_counted else mend}",
        )


def storm_caveats(workload: Demand, plan: Plan, performance: Performance) -> Iterator[Caveat]:
    """A retry storm that a stable fleet does not survive once something goes wrong."""
    if is_patient(workload) or not performance.load:
        return
    assert isinstance(workload, Workload)  # noqa: S101  (others are patient)
    rate_rps, clients = workload.arrival_rate_rps, workload.clients
    capacity_rps = rate_rps / performance.load
    stuck, tries = (
        stuck_from(clients, rate_rps=rate_rps, capacity_rps=capacity_rps),
        amplification(clients, rate_rps),
    )
    if stuck < waiting_max(plan):
        yield Caveat(
            code=CaveatCode.RETRY_STORM,
            message=f"these figures hold while nothing goes wrong: once some {stuck:.0f} attempts wait, as after an "
            f"outage or a spike, up to {tries:.3g} attempts at each request are {format_rate(tries * rate_rps)} on "
            f"{format_rate(capacity_rps)}, and the fleet does not recover by itself; capacity stress tells which "
            "trouble it survives, and --retry-budget 0.1 limits retries",
        )


def trace_caveats(workload: Demand, like_it: LikeIt | None = None) -> Iterator[Caveat]:
    """What one recorded path leaves open: other days, of which its sections may tell something.

    Args:
        like_it: what traffic like it would do; None if that was not asked.
    """
    if not isinstance(workload, Workload) or not isinstance(workload.arrivals, TraceArrivals):
        return
    if like_it is not None and like_it.found is None:
        yield Caveat(
            code=CaveatCode.TRACE_FEW_BURSTS,
            message=f"only a few bursts of the trace determine its {like_it.limit.what}: what is found holds for "
            "this trace, and for other days only if their bursts are no worse; record for longer",
        )
    differ = ", and no interval holds how other days differ; try other days too"
    told = differ if like_it is None or like_it.found is None else f"; {_by_sections(like_it, like_it.found)}"
    yield Caveat(
        code=CaveatCode.TRACE_ONE_PATH,
        message=f"a trace is one sample of the traffic{told}",
    )
    for remark in workload.arrivals.remarks:
        yield Caveat(code=CaveatCode.TRACE_READING, message=remark)


def day_caveats(scenario: Scenario) -> Iterator[Caveat]:
    """What the highest rate of a day leaves open, its other hours; or what an autoscaler's figures leave open."""
    if scenario.autoscaler is not None:
        yield from controller_caveats(scenario.plan, scenario.autoscaler)
    elif isinstance(scenario.workload, Workload) and scenario.workload.day is not None:
        yield Caveat(
            code=CaveatCode.DAY_HIGHEST,
            message="a day is answered by its highest rate, as if that lasted; capacity plan --daily says what the "
            f"other hours of {scenario.workload.day.name} need",
        )


def outage_caveats(outages: Iterable[Outage | None], what: str = "figures") -> Iterator[Caveat]:
    """A note that figures are those of the replicas that a failure leaves, and how often fewer are left."""
    found = {one for one in outages if one is not None}
    if not found:
        return
    more = max((one.beyond_share or 0.0 for one in found), default=0.0)
    rarely = f"; for {format_share(more)} of the time fewer are left" if more else ""
    which = found.pop().event if len(found) == 1 else "the worst failure"
    yield Caveat(
        code=CaveatCode.REPLICAS_GONE,
        message=f"{what} are those of the replicas that are left with {which}, as a plan is judged{rarely}",
    )


def _by_sections(like_it: LikeIt, found: Interval) -> str:
    """What the consecutive sections of a trace say of traffic like it, in a clause."""
    limit = like_it.limit
    told = f"by consecutive sections {limit.what} under traffic like it is {format_value(limit, found)}"
    match like_it.verdict:
        case Verdict.MET:
            return f"{told}, which meets the objective too"
        case Verdict.MISSED:
            return f"{told}, which misses {limit}"
        case Verdict.INCONCLUSIVE:
            return f"{told}, and whether {limit} holds then is in doubt"
        case _:
            return told


def sections_caveat(quantile: float) -> Caveat:
    """An interval that is meant for other days too, and comes from the sections of one recorded path."""
    return Caveat(
        code=CaveatCode.TRACE_ONE_PATH,
        message=f"a trace is one sample of the traffic: the interval of {format_quantile(quantile)} comes from its "
        "consecutive sections, which are not independent; try other days too",
    )


# What leaves a fleet more of the budget that all share.
_FEWER = "ask about fewer, with one --profile, --routing or --batch-wait, or a smaller --batch-size-max"
# Cheaper fleets in doubt that are named one by one.
_FLEETS_NAMED = 3
# Replicas from which on one balancer that sees every request is a doubtful assumption.
_ONE_BALANCER_MAX = 100


def search_caveats(search: Search, chosen: Candidate | None) -> Iterator[Caveat]:
    """What was left in doubt or not tried, though it may be cheaper than what was chosen."""
    yield from _floors_in_doubt(search, None if chosen is None else chosen.plan.profile)
    if chosen is not None:
        yield from _cheaper_in_doubt(search, chosen)
    yield from _untried(search)


def _floors_in_doubt(search: Search, chosen: str | None) -> Iterator[Caveat]:
    """Once for each profile: what the samples behind its service time cannot tell."""
    doubts = {name: doubt for (name, _), doubt in search.floors.doubts.items()}
    for name, doubt in doubts.items():
        yield Caveat(
            code=CaveatCode.FLOOR_IN_DOUBT,
            message=_floor_message(name, doubt),
            of_another_profile=chosen not in (None, name),
        )


def _floor_message(name: str, doubt: FloorDoubt) -> str:
    floor_s, limit = doubt.floor_s, format_duration(doubt.limit_s)
    ends = (
        f"at least {format_duration(floor_s.low)} at that quantile, and not known above "
        f"{format_duration(reach(floor_s))}, which leaves {limit} open"
        if math.isinf(floor_s.high)
        else f"{format_duration(floor_s.low)} to {format_duration(floor_s.high)} at that quantile, on "
        f"both sides of {limit}"
    )
    found = (
        f"{name}: the service time itself, from {doubt.samples} samples of batch size {doubt.batch_size}, is "
        f"{ends}, and no number of replicas makes it shorter"
    )
    missing = doubt.batches_missing
    if missing > BATCHES_MAX:
        return f"{found}; choose a limit above {format_duration(reach(floor_s))}"
    count = format_count(missing)
    return f"{found}; measure about {count} more batches of size {doubt.batch_size}, or choose another limit"


def _mend(search: Search, candidates: Iterable[Candidate]) -> str:
    """What would settle the doubts of some candidates."""
    question, theory, doubts = search.question, search.theory, dict[str, Candidate]()
    for one in [one for one in candidates if not search.is_outdone(one.plan)]:
        kind = _FEWER if search.is_put_off(one.plan) else str(one.doubt)
        if kind not in doubts or _samples_times(one) > _samples_times(doubts[kind]):
            doubts[kind] = one
    mends = dict.fromkeys(
        _FEWER if kind == _FEWER else theory.mend(question.profile(one.plan.profile), one)
        for kind, one in doubts.items()
    )
    return ", and ".join(mends)


def _samples_times(candidate: Candidate) -> float:
    """The factor of its profile's samples that would settle it; 0 if none is known to."""
    times = candidate.samples_times
    return 0.0 if times is None or math.isinf(times) else times


def _cheaper_in_doubt(search: Search, chosen: Candidate) -> Iterator[Caveat]:
    """One caveat for each cheaper fleet size that is undecided; one for all if there are many."""
    price = search.question.cost(chosen.plan)
    open_ones: dict[tuple[str, int], list[Candidate]] = {}
    for one in search.considered:
        if one.verdict is Verdict.INCONCLUSIVE and search.question.cost(one.plan) < price:
            open_ones.setdefault((one.plan.profile, one.plan.replicas), []).append(one)
    is_one = len(search.question.profiles) == 1
    for fleet, alike in _fleets(search.theory, open_ones, is_one=is_one):
        yield Caveat(
            code=CaveatCode.CHEAPER_INCONCLUSIVE,
            message=f"{fleet} cheaper and undecided; {_mend(search, alike)}",
        )


def _fleets(
    theory: Theory, open_ones: dict[tuple[str, int], list[Candidate]], *, is_one: bool
) -> Iterator[tuple[str, Sequence[Candidate]]]:
    """Fleets in words, each with its candidates; if there are many, as one."""
    if len(open_ones) > _FLEETS_NAMED:
        counts = [replicas for _, replicas in open_ones]
        every = [one for alike in open_ones.values() for one in alike]
        yield f"{len(open_ones)} fleets, of {min(counts)} to {max(counts)} replicas, are", every
        return
    for (name, replicas), alike in open_ones.items():
        setting = theory.setting_text([one.plan for one in alike])
        whose = "" if is_one else f" of {name}"
        yield f"a fleet of {replicas}{whose} with {setting} is", alike


def _untried(search: Search) -> Iterator[Caveat]:
    if count := search.fleets_untried:
        yield Caveat(
            code=CaveatCode.FLEETS_UNTRIED,
            message=f"{count} fleet{'s' if count > 1 else ''} that may be cheaper {'were' if count > 1 else 'was'} not "
            f"tried because the budget that all share ran out; {_FEWER}",
        )
    if search.fleets_between:
        yield Caveat(
            code=CaveatCode.FLEETS_UNTRIED,
            message=f"{search.fleets_between} cheaper fleets whose batches wait, or may be slower than larger ones, "
            "lie between fleets that were tried, and were left out",
        )


def headroom_caveats(headroom: Headroom | None, theory: Theory) -> Iterator[Caveat]:
    """Rates that are open, with what would settle them, and a plan with next to no headroom."""
    if headroom is None:
        return
    accepted, refused = format_rate(headroom.accepted_rps), format_rate(headroom.refused_rps)
    if headroom.is_in_doubt and headroom.doubt is not None:
        yield Caveat(
            code=CaveatCode.HEADROOM_IN_DOUBT,
            message=f"between {accepted} and {refused} the plan is undecided; {theory.mends[headroom.doubt]}",
        )
    if headroom.is_thin:
        share = 100.0 * (headroom.accepted_rps / headroom.today_rps - 1.0)
        known = (
            f"with {share:.2g} % more traffic, up to {accepted}"
            if share > 0.0
            else f"up to today's {accepted}"
        )
        yield Caveat(
            code=CaveatCode.HEADROOM_THIN,
            message=f"the plan is only known to meet the objective {known}; if traffic may exceed that, "
            "plan for a higher --rate",
        )


def routing_caveats(plan: Plan) -> Iterator[Caveat]:
    """A fleet so large that one balancer in front of all of it is unlikely."""
    if plan.replicas >= _ONE_BALANCER_MAX and plan.routing is not Routing.RANDOM:
        yield Caveat(
            code=CaveatCode.ONE_BALANCER,
            message=f"{plan.routing} over {plan.replicas} replicas needs one balancer that sees every "
            "request; several independent ones amount to random routing: plan with --routing random",
        )


def rules_caveat(unstated: Caveat, limit: Limit, here: Interval | None, other: Candidate) -> Caveat:
    """What a plan does by other rules that the measured server may have had.

    Args:
        unstated: that they are not known.
        limit: the limit that binds, of which this was found here.
        other: the plan by the other rules.
    """
    there = None if other.performance is None else limit.found(other.performance)
    if other.verdict is Verdict.MET and here is not None and there is not None:
        found = f"{limit.what} is {format_value(limit, here)} by these and {format_value(limit, there)} by the others"
        return replace(unstated, message=f"{unstated.message}: {found}")
    doubt = "misses the objective" if other.verdict is Verdict.MISSED else "may miss the objective"
    return Caveat(
        code=CaveatCode.ENGINE_RULES_DECIDE, message=f"{unstated.message}: by the others the plan {doubt}"
    )


def with_implausible(recommendation: Recommendation[AnyPlan], question: Question) -> Recommendation[AnyPlan]:
    """The caveats with those on implausible profiles: a mistake in a file may be why its profile was not chosen."""
    quantile_max = max(question.objective.quantiles or (0.99,))
    theory = theory_of(question.profiles[0])
    names = {recommendation.plan.profile} if recommendation.plan else {one.name for one in question.profiles}
    own = [one for one in question.profiles if one.name in names]
    others = [one for one in question.profiles if one.name not in names]
    implausible = [
        *theory.implausible(own, quantile_max),
        *(replace(one, of_another_profile=True) for one in theory.implausible(others, quantile_max)),
    ]
    codes = {caveat.code for caveat in implausible}
    kept = (caveat for caveat in recommendation.caveats if caveat.code not in codes)
    return replace(recommendation, caveats=(*implausible, *kept))


def scenario_caveats(
    scenario: Scenario,
    performance: Performance,
    like_it: LikeIt | None = None,
    width: Width | None = None,
    precision: float = math.inf,
) -> Iterator[Caveat]:
    """Caveats on one plan: what its server, a trace, rejected requests or the budget leave open.

    Args:
        width: width of its interval; None if no precision was asked for.
    """
    yield from outage_caveats([scenario.outage])
    yield from theory_of(scenario.profile).caveats(scenario, performance)
    if theory_of(scenario.profile).serves_all:
        yield from storm_caveats(scenario.workload, scenario.plan, performance)
    if performance.kind is not Kind.REPLAY:
        yield from trace_caveats(scenario.workload, like_it)
        yield from day_caveats(scenario)
    if width is not None:
        yield from theory_of(scenario.profile).interval_caveats(scenario.profile, width, precision)
    yield from mean_caveats(performance, scenario.objective)
