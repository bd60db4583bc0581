"""Token search: the cheapest fleet of engines that meets the objective of a language model, and why."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.profile.llm_sampling import has_spread
from capacity.question.candidate import Candidate, Doubt, LikeIt, Limit, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.objective import Objective, Promise
from capacity.question.tokens import (
    Saturation,
    TokenJudge,
    TokenPlan,
    TokenQuestion,
    TokenScenario,
    replicas_stable_min,
)
from capacity.search.caveats import MENDS, headroom_caveats, trace_caveats
from capacity.search.fewest import fewest_enough, is_bracketed, is_spent
from capacity.search.headroom import Ends, headroom_budget
from capacity.search.recommendation import Headroom, Tally
from capacity.traffic.lengths import LengthLaws, LengthRows
from capacity.units import format_rate

Progress = Callable[[str], None]
_NOTHING = Tally()

# Simulated requests after which a search gives up; a count, so that the answer does not depend on speed.
SEARCH_REQUESTS_MAX = 60_000_000
# Simulated requests after which no larger fleet is confirmed.
CONFIRM_REQUESTS_MAX = 400_000_000
# Of the headroom: the first step and the resolution of its probes as shares of the rate.
_FIRST_STEP, _RESOLUTION = 0.05, 0.02
# And budgets: of its probes, its own, and of output tokens for either, by which a request takes longer to simulate.
_PROBES_REQUESTS_MAX, _HEADROOM_REQUESTS_MAX, _HEADROOM_TOKENS_MAX = 20_000_000, 4_000_000, 800_000_000
_LOAD_HIGH, _KV_HIGH = 0.85, 0.9
_MENDS = {**MENDS, Doubt.PROFILE: "measure the profile's steps more often"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChange:
    """The same fleet with another setting of its engines.

    Attributes:
        performance: None where the load is 1 or more.
    """

    what: str
    plan: TokenPlan
    saturation: Saturation
    verdict: Verdict
    performance: Performance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecommendation:
    """The answer: the cheapest accepted fleet, or why there is none, with everything considered.

    Attributes:
        saturation: of one engine of the plan.
        changes: what other settings would do; empty unless that was asked.
        headroom, hourly_usd, tally, like_it: as of `capacity.search.recommendation.Recommendation`.
    """

    verdict: Verdict
    objective: Objective
    plan: TokenPlan | None = None
    performance: Performance | None = None
    saturation: Saturation | None = None
    headroom: Headroom | None = None
    hourly_usd: float | None = None
    considered: tuple[Candidate[TokenPlan], ...] = ()
    caveats: tuple[Caveat, ...] = ()
    changes: tuple[TokenChange, ...] = ()
    tally: Tally = _NOTHING
    like_it: LikeIt | None = None


class TokenSearch:
    """Candidates that were looked at, in the order of their judgement."""

    def __init__(self, question: TokenQuestion, judge: TokenJudge, progress: Progress) -> None:
        self.question, self.judge, self.progress = question, judge, progress
        self.judged: dict[TokenPlan, Candidate[TokenPlan]] = {}
        self.counts: Counter[str] = Counter()
        self.requests = self.spent_confirming = 0
        self.untried = False

    def stable_min(self, plan: TokenPlan) -> int:
        """Fewest replicas of a setting whose load is below 1, and as many as are asked for at least."""
        saturation = self.judge.saturated(self.question.scenario(plan))
        stable = replicas_stable_min(self.question.workload.arrival_rate_rps, saturation)
        return max(stable, self.question.replicas_min)

    def candidate(self, plan: TokenPlan) -> Candidate[TokenPlan]:
        """A plan, judged once."""
        if plan not in self.judged:
            self.progress(f"judging {describe(plan)}")
            found = self.judge.search(self.question.scenario(plan), len(self.judged) + 1)
            self.judged[plan] = found
            self.counts["simulated" if found.requests else "screened"] += 1
            self.requests += found.requests
        return self.judged[plan]

    @property
    def out_of_budget(self) -> bool:
        """Whether the search has simulated as much as it may: twice as much while it has accepted nothing."""
        return is_spent(self.requests, SEARCH_REQUESTS_MAX, self.judged.values())

    def fewest(self, setting: TokenPlan, most: int) -> int | None:
        """Fewest replicas of a setting that are accepted, of `most` at most; None where none are."""
        refused = max([self.stable_min(setting) - 1, *self._not_enough(setting)])
        found = fewest_enough(
            lambda replicas: self.candidate(replace(setting, replicas=replicas)).accepted,
            refused,
            most,
            may_go_on=lambda: not self.out_of_budget,
            is_in_doubt=lambda replicas: self.is_in_doubt(replace(setting, replicas=replicas)),
        )
        self.untried = self.untried or (found is None and refused < most and self.out_of_budget)
        return found

    def _not_enough(self, setting: TokenPlan) -> list[int]:
        """Replicas of a setting that were judged and not accepted."""
        return [
            plan.replicas
            for plan, judged in self.judged.items()
            if not judged.accepted and replace(plan, replicas=setting.replicas) == setting
        ]

    def is_in_doubt(self, plan: TokenPlan) -> bool:
        """Whether a plan was left in doubt."""
        return plan in self.judged and self.judged[plan].verdict is Verdict.INCONCLUSIVE

    def look_below(self, plan: TokenPlan) -> None:
        """Judge one replica fewer, unless one in doubt is as near as steps of a fleet of hundreds are."""
        if not is_bracketed(plan.replicas, lambda count: self.is_in_doubt(replace(plan, replicas=count))):
            self.candidate(replace(plan, replicas=plan.replicas - 1))

    def confirm(self, plan: TokenPlan) -> Candidate[TokenPlan]:
        """A plan that the search accepts, judged again with random numbers of its own."""
        self.progress(f"confirming {describe(plan)}")
        self.counts["certified"] += 1
        confirmed = self.judge.certify(self.question.scenario(plan), self.counts["certified"])
        self.requests += confirmed.requests
        self.spent_confirming += confirmed.requests
        self.judged[plan] = confirmed
        return confirmed

    @property
    def tally(self) -> Tally:
        """How many candidates were dealt with, by how."""
        return Tally(
            screened=self.counts["screened"],
            simulated=self.counts["simulated"],
            certified=self.counts["certified"],
            requests=self.requests,
        )


def describe(plan: TokenPlan) -> str:
    """A plan in a few words, for progress."""
    replicas = f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''}"
    return f"{replicas} of {plan.profile}, {plan.sequences_max} sequences, {plan.batched_tokens_max} tokens a step"


def recommend_tokens(
    question: TokenQuestion,
    judge: TokenJudge,
    progress: Progress,
    *,
    plan_alone: bool = False,
    with_headroom: bool = True,
) -> TokenRecommendation:
    """The cheapest fleet that meets the objective, confirmed by random numbers that had no part in choosing it.

    Args:
        plan_alone: whether headroom, and why fewer replicas are not enough, are left out.
        with_headroom: whether headroom is looked for, which takes longer than all else.
    """
    search = TokenSearch(question, judge, progress)
    confirmed = _cheapest_confirmed(search)
    if confirmed is not None:
        return _answer(search, confirmed, plan_alone=plan_alone, with_headroom=with_headroom)
    considered = _considered(search)
    is_open = any(one.verdict is Verdict.INCONCLUSIVE for one in considered) or search.untried
    return TokenRecommendation(
        verdict=Verdict.INCONCLUSIVE if is_open else Verdict.MISSED,
        objective=question.objective,
        considered=considered,
        tally=search.tally,
    )


def _cheapest_confirmed(search: TokenSearch) -> Candidate[TokenPlan] | None:
    """The cheapest fleet that is confirmed: of each setting, as long as it may be cheaper than the best so far."""
    question = search.question
    settings = [plan for profile in question.profiles for plan in question.plans(profile)]
    best: Candidate[TokenPlan] | None = None
    while settings:
        plan = _cheapest(search, settings, None if best is None else best.plan)
        if plan is None:
            break
        settings.remove(replace(plan, replicas=1))
        best = _grown(search, plan, _most(question, plan, None if best is None else best.plan)) or best
    return best


def _cheapest(search: TokenSearch, settings: list[TokenPlan], best: TokenPlan | None) -> TokenPlan | None:
    """The cheapest plan of some settings that the search accepts; None where none is cheaper than the best so far."""
    question, found = search.question, None
    least = {plan: search.stable_min(plan) for plan in settings}
    for setting in sorted(settings, key=lambda one: question.cost(_sized(one, least[one]))):
        if least[setting] > question.replicas_max:
            _note_too_many(search, setting, least[setting])
            continue
        replicas = search.fewest(setting, _most(question, setting, found or best))
        if replicas is not None:
            found = replace(setting, replicas=replicas)
    return found


def _most(question: TokenQuestion, setting: TokenPlan, best: TokenPlan | None) -> int:
    """Most replicas of a setting that cost less than a plan; all that are allowed where there is none."""
    if best is None:
        return question.replicas_max
    price = question.cost(replace(setting, replicas=1))
    return min(question.replicas_max, math.ceil(question.cost(best) / price * (1.0 - 1e-12)) - 1)


def _grown(search: TokenSearch, plan: TokenPlan, most: int) -> Candidate[TokenPlan] | None:
    """The plan, or the same with as few more replicas as it takes to be confirmed; None where none is."""
    found: dict[int, Candidate[TokenPlan]] = {}

    def is_confirmed(replicas: int) -> bool:
        found[replicas] = search.confirm(replace(plan, replicas=replicas))
        return found[replicas].accepted

    replicas = fewest_enough(
        is_confirmed,
        plan.replicas - 1,
        most,
        may_go_on=lambda: search.spent_confirming <= CONFIRM_REQUESTS_MAX,
        is_in_doubt=lambda replicas: search.is_in_doubt(replace(plan, replicas=replicas)),
    )
    return None if replicas is None else found[replicas]


def _sized(plan: TokenPlan, replicas: int) -> TokenPlan:
    return replace(plan, replicas=min(replicas, 1_000_000))


def _note_too_many(search: TokenSearch, setting: TokenPlan, needed: int) -> None:
    rejection = Rejection(limit=Limit.REPLICAS_MAX, allowed=search.question.replicas_max, needed=needed)
    plan = _sized(setting, needed)
    search.judged[plan] = Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
    search.counts["screened"] += 1


def _considered(search: TokenSearch) -> tuple[Candidate[TokenPlan], ...]:
    """By profile, settings and replicas."""
    return tuple(
        sorted(
            search.judged.values(),
            key=lambda one: (
                one.plan.profile,
                one.plan.routing,
                one.plan.sequences_max,
                one.plan.batched_tokens_max,
                one.plan.replicas,
            ),
        )
    )


def _answer(
    search: TokenSearch, confirmed: Candidate[TokenPlan], *, plan_alone: bool, with_headroom: bool
) -> TokenRecommendation:
    question, plan = search.question, confirmed.plan
    if plan.replicas > question.replicas_min and not plan_alone:  # what tells why fewer are not enough
        search.look_below(plan)
    saturation = search.judge.saturated(question.scenario(plan))
    headroom = (
        None
        if plan_alone or not with_headroom
        else token_headroom(question.scenario(plan), saturation, search.judge, search.progress)
    )
    assert confirmed.performance is not None  # noqa: S101  (what is accepted was simulated)
    price = question.profile(plan.profile).replica_hourly_usd
    return TokenRecommendation(
        verdict=Verdict.MET,
        objective=question.objective,
        plan=plan,
        performance=confirmed.performance,
        saturation=saturation,
        headroom=headroom,
        hourly_usd=None if price is None else question.cost(plan),
        considered=_considered(search),
        caveats=(
            *_search_caveats(search, confirmed),
            *token_caveats(question.scenario(plan), confirmed.performance, confirmed.like_it),
            *headroom_caveats(headroom, _MENDS),
        ),
        tally=search.tally,
        like_it=confirmed.like_it,
    )


def _search_caveats(search: TokenSearch, confirmed: Candidate[TokenPlan]) -> Iterator[Caveat]:
    question, plan = search.question, confirmed.plan
    cheaper = [
        one
        for one in search.judged.values()
        if one.verdict is Verdict.INCONCLUSIVE and question.cost(one.plan) < question.cost(plan)
    ]
    if cheaper:
        count = max(one.plan.replicas for one in cheaper)
        yield Caveat(
            code=CaveatCode.CHEAPER_INCONCLUSIVE,
            message=f"{count} replica{'s' if count > 1 else ''} may be enough: the interval contains the limit, or the "
            "load is within 5 % of saturation, where an error of the profile decides; give "
            "--requests-max more, or "
            "measure the profile's steps more often",
        )
    if search.untried:
        yield Caveat(
            code=CaveatCode.FLEETS_UNTRIED,
            message="the search stopped at its budget before all settings were tried; give fewer of them",
        )
    if not confirmed.is_precise:
        yield Caveat(
            code=CaveatCode.PRECISION_MISSED,
            message="the interval is wider than --precision asks for; give --requests-max more",
        )
    if question.profile(plan.profile).hourly_usd is None:
        yield Caveat(
            code=CaveatCode.PRICE_UNKNOWN,
            message="the profile has no price: the plan has the fewest replicas and no cost; give --hourly-usd "
            f"{plan.profile}=6.88",
        )


def token_caveats(
    scenario: TokenScenario, performance: Performance, like_it: LikeIt | None = None
) -> Iterator[Caveat]:
    """What an answer about a language model does not say by itself."""
    if performance.load is not None and performance.load >= 1.0:  # of a replay, which has an end
        yield Caveat(
            code=CaveatCode.LOAD_HIGH,
            message=f"the load is {performance.load:.2f}: more requests come than the engines can serve, and wait the "
            "longer the longer that lasts; an error of 1 % in the profile changes the latency several times over",
        )
    elif performance.load is not None and performance.load > _LOAD_HIGH:
        yield Caveat(
            code=CaveatCode.LOAD_HIGH,
            message=f"the load is {performance.load:.2f}: an error of 1 % in the profile changes the latency by "
            f"{1.0 / (1.0 - performance.load):.0f} % or more; leave room, or check with a load test",
        )
    if performance.preemption_rate:
        yield Caveat(
            code=CaveatCode.PREEMPTIONS,
            message=f"{100.0 * performance.preemption_rate:.3g} preemptions per 100 requests: the KV cache runs full "
            "and work is done twice; lower --sequences-max, or add a replica",
        )
    if (performance.kv_utilization or 0.0) > _KV_HIGH:
        has_slots = scenario.profile.engine.scheduler is Scheduler.LLAMA_CPP
        yield Caveat(
            code=CaveatCode.KV_NEARLY_FULL,
            message=f"the KV cache is {100.0 * (performance.kv_utilization or 0.0):.0f} % full on average; longer "
            f"requests than these would be {'refused' if has_slots else 'preempted'}",
        )
    yield from length_caveats(scenario)
    if performance.kind is not Kind.REPLAY:
        yield from trace_caveats(scenario.workload, like_it)
    yield from llm_profile_caveats(scenario.profile)
    yield from cache_caveats(scenario)


def cache_caveats(scenario: TokenScenario) -> Iterator[Caveat]:
    """What is assumed of the prefix cache."""
    if scenario.cached_share > 0.0:
        yield Caveat(
            code=CaveatCode.CACHE_HITS_ASSUMED,
            message=f"{100.0 * scenario.cached_share:g} % of each prompt is assumed to be in the cache; without these "
            "hits prompts take as much longer",
        )


def length_caveats(scenario: TokenScenario) -> Iterator[Caveat]:
    """What the lengths leave open."""
    lengths = scenario.lengths
    if isinstance(lengths, LengthRows):
        yield from (Caveat(code=CaveatCode.TRACE_READING, message=remark) for remark in lengths.remarks)
    if isinstance(lengths, LengthRows) and lengths.dropped:
        total, is_one = lengths.dropped + len(lengths.input_tokens), lengths.dropped == 1
        yield Caveat(
            code=CaveatCode.LENGTHS_CUT,
            message=f"{lengths.dropped} of {total} requests of {lengths.name} {'is' if is_one else 'are'} longer than "
            f"the context and {'was' if is_one else 'were'} left out; an engine refuses such requests",
        )
    if isinstance(lengths, LengthLaws):
        yield Caveat(
            code=CaveatCode.LENGTHS_OF_A_LAW,
            message="input and output lengths are drawn independently from laws, cut at the context; real ones are "
            "correlated and have longer tails, which P99 depends on: give --lengths a file of your "
            "own requests",
        )


def llm_profile_caveats(profile: LlmProfile) -> Iterator[Caveat]:
    """What the measurements leave open."""
    if profile.coefficients is not None:
        yield Caveat(
            code=CaveatCode.STEPS_FROM_COEFFICIENTS,
            message=f"profile {profile.name} is a straight line, and real steps are staircases in the batch; measure a "
            "table of steps",
        )
    else:
        if not profile.table.is_mixed_measured:
            yield Caveat(
                code=CaveatCode.STEPS_MIXED_UNMEASURED,
                message="no step with prompts and decoding together was measured, and their times are added; measure "
                "some to be surer of ITL",
            )
        if not profile.table.is_past_measured:
            yield Caveat(
                code=CaveatCode.STEPS_PAST_UNMEASURED,
                message="no part of a prompt after its first was measured; its time is taken from longer prompts",
            )
        if not has_spread(profile):
            yield Caveat(
                code=CaveatCode.STEPS_ERROR_UNKNOWN,
                message="the profile does not say how far its steps vary, so that intervals hold the error of the "
                "simulation alone; give single steps, or counts with P50 and P99",
            )
    if "kv" in profile.source:
        yield Caveat(
            code=CaveatCode.KV_NOT_MEASURED,
            message="the size of the engine's KV cache was not published; the profile's "
            f"{profile.kv.tokens} tokens are {profile.source['kv']}; give --kv-tokens as your engine's log says",
        )
    if profile.check is None:
        yield Caveat(
            code=CaveatCode.STEPS_UNCHECKED,
            message="the profile has no saturated run to be checked against; measure one, and give it as check",
        )


def with_headroom(
    question: TokenQuestion, found: TokenRecommendation, judge: TokenJudge, progress: Progress
) -> TokenRecommendation:
    """The same recommendation with its headroom, if there is a plan."""
    if found.plan is None or found.saturation is None:
        return found
    headroom = token_headroom(question.scenario(found.plan), found.saturation, judge, progress)
    caveats = (*found.caveats, *headroom_caveats(headroom, _MENDS))
    return replace(found, headroom=headroom, caveats=caveats)


def token_headroom(
    scenario: TokenScenario, saturation: Saturation, judge: TokenJudge, progress: Progress
) -> Headroom:
    """How far the arrival rate may rise before the plan is no longer accepted.

    Probes find where that ends, rising by doubled steps and then halving; only their end is judged with care, by
    random numbers that had no part in finding it, and what is in doubt about it by longer trials.
    """

    def probed(rate_rps: float, effort: int) -> Candidate[TokenPlan]:
        progress(f"headroom: trying {format_rate(rate_rps)}")
        return judge.probe(scenario.at_rate(rate_rps), probes.requests_left)

    def accepted(rate_rps: float, effort: int) -> Candidate[TokenPlan]:
        progress(f"headroom: confirming {format_rate(rate_rps)}")
        return judge.accepts(scenario.at_rate(rate_rps), effort, ends.requests_left)

    today_rps = scenario.workload.arrival_rate_rps
    in_tokens = int(_HEADROOM_TOKENS_MAX / scenario.lengths.moments.output)
    most = headroom_budget(scenario.workload, _PROBES_REQUESTS_MAX)
    probes = Ends(
        accepted_rps=today_rps,
        refused_rps=scenario.plan.replicas * saturation.rate_rps,
        judged=probed,
        requests_max=min(most, in_tokens),
    )
    held_rps = probes.rise(today_rps, _FIRST_STEP)
    held_rps += probes.halve_in(_RESOLUTION)
    ends = Ends(
        accepted_rps=today_rps,
        refused_rps=probes.refused_rps,
        judged=accepted,
        requests_max=min(most, _HEADROOM_REQUESTS_MAX, in_tokens),
    )
    if most < _HEADROOM_REQUESTS_MAX:  # the last of them is near its end, and would take the most
        held_rps = held_rps[: max(1, len(held_rps) - 1)]
    for rate_rps in reversed(held_rps):  # today's is confirmed
        if ends.is_spent or ends.accepts(rate_rps):
            break
    if not ends.is_decided:
        ends.close_in()
    return ends.headroom(today_rps)


def token_changes(
    question: TokenQuestion, plan: TokenPlan, judge: TokenJudge, progress: Progress
) -> tuple[TokenChange, ...]:
    """The same fleet with half and twice the sequences, and half and twice the tokens a step, where measured.

    Settings that leave some request no room in a slot or in a pass are left out.
    """
    limits = question.profile(plan.profile).limits_measured
    found: list[TokenChange] = []
    for name, most, flag in (
        ("sequences_max", limits.sequences_max, "--sequences-max"),
        ("batched_tokens_max", limits.batched_tokens_max, "--batched-tokens-max"),
    ):
        today = getattr(plan, name)
        for value in sorted({max(1, today // 2), min(2 * today, most)} - {today}):
            other = replace(plan, **{name: value})
            if not question.allows(other):
                continue
            progress(f"trying {flag} {value}")
            scenario = question.scenario(other)
            try:
                judged, saturation = judge.accepts(scenario), judge.saturated(scenario)
            except DomainError:  # that a prompt fits no pass is only seen once it is drawn
                continue
            found.append(
                TokenChange(
                    what=f"{flag} {value}",
                    plan=other,
                    saturation=saturation,
                    verdict=judged.verdict,
                    performance=judged.performance,
                )
            )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRates:
    """Up to which rate a fleet meets its objective.

    Attributes:
        points: rates that were tried, rising, each with what became of it.
        accepted_rps: the largest that was accepted; None where none was.
        refused_rps: the smallest that was not, above it.
    """

    scenario: TokenScenario
    saturation: Saturation
    points: tuple[tuple[float, Candidate[TokenPlan]], ...]
    accepted_rps: float | None
    refused_rps: float

    @property
    def verdict(self) -> Verdict:
        """Whether any rate is accepted."""
        if self.accepted_rps is not None:
            return Verdict.MET
        is_open = any(one.verdict is Verdict.INCONCLUSIVE for _, one in self.points)
        return Verdict.INCONCLUSIVE if is_open else Verdict.MISSED

    @property
    def promise(self) -> Promise:
        """The limit nearest to being missed at the largest rate accepted, or tried if none was."""
        known = [one.performance for _, one in self.points if one.accepted or self.accepted_rps is None]
        performance = next((one for one in reversed(known) if one is not None), None)
        objective = self.scenario.objective
        return objective.limits[0] if performance is None else objective.binding(performance)


# Shares of the saturation rate that are tried first, and to which share an end is found.
_LOADS, _END = (0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95), 0.01


def token_rates(scenario: TokenScenario, judge: TokenJudge, progress: Progress) -> TokenRates:
    """Where the latency of a fleet explodes, and the largest rate at which it meets its objective."""
    saturation = judge.saturated(scenario)
    most_rps = scenario.plan.replicas * saturation.rate_rps
    found: dict[float, Candidate[TokenPlan]] = {}

    def at(rate_rps: float) -> bool:
        progress(f"trying {format_rate(rate_rps)}")
        found[rate_rps] = judge.accepts(scenario.at_rate(rate_rps))
        return found[rate_rps].accepted

    low_rps, high_rps = 0.0, most_rps
    for share in _LOADS:
        if at(share * most_rps):
            low_rps = share * most_rps
        else:
            high_rps = share * most_rps
            break
    while high_rps - low_rps > _END * most_rps:
        middle_rps = (low_rps + high_rps) / 2.0
        if at(middle_rps):
            low_rps = middle_rps
        else:
            high_rps = middle_rps
    return TokenRates(
        scenario=scenario,
        saturation=saturation,
        points=tuple(sorted(found.items())),
        accepted_rps=low_rps or None,
        refused_rps=high_rps,
    )
