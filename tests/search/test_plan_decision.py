"""Planner: the cheapest plan by an exact or a scripted judge, its certificate, caveats and refusals."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from questions import batch_question

from capacity.errors import DomainError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import ANY_ROUTINGS, Routing
from capacity.question.question import Question
from capacity.question.resilience import Spike, Survival
from capacity.question.scenario import Scenario
from capacity.queues.markov.mmc import MMc
from capacity.search.batches import BatchTheory
from capacity.search.cheapest import UNSKIPPED_REQUESTS_MAX
from capacity.search.headroom import _RESOLUTION
from capacity.search.plan_decision import recommend
from capacity.search.recommendation import Certificate, Headroom, Recommendation, Tally
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ArrivalProcess, GammaArrivals, TraceArrivals, Workload
from simulations.judge import SimulationJudge
from simulations.workers import workers

LIMIT_S = 1.0


def profile_of(means_s: dict[int, float], **fields: object) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name="made-up", timings=timings, **fields)


SINGLE = profile_of({1: 0.01}, hourly_usd=2.0)
BATCHING = profile_of({1: 0.010, 2: 0.011, 4: 0.013}, hourly_usd=2.0)


def question_of(
    profile: ServiceProfile = SINGLE,
    rate_rps: float = 50.0,
    limit_s: float = LIMIT_S,
    arrivals: ArrivalProcess | None = None,
    **fields: object,
) -> Question:
    """Gamma gaps of cv 1 are Poisson's by another name, for which no law is asked before the judge."""
    return batch_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals or GammaArrivals(cv=1.0)),
        objective=Objective.of(response={0.99: limit_s}),
        **fields,
    )


ANY_PLAN = BatchPlan(profile="any", replicas=1, batch_size_max=1)


def promise(limit_s: float) -> Limit:
    return Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=limit_s)


def candidate(p99_s: float, limit_s: float = LIMIT_S, **fields: object) -> Candidate:
    """Met or missed by an exact P99."""
    performance = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(p99_s)})
    if p99_s <= limit_s:
        return Candidate(
            plan=ANY_PLAN, verdict=Verdict.MET, rejection=None, performance=performance, **fields
        )
    rejection = Rejection.of(promise(limit_s), p99_s)
    return Candidate(
        plan=ANY_PLAN, verdict=Verdict.MISSED, rejection=rejection, performance=performance, **fields
    )


def in_doubt() -> Candidate:
    rejection = Rejection(reason=Reason.BUDGET, allowed=10.0, needed=20.0)
    performance = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(LIMIT_S)})
    return Candidate(
        plan=ANY_PLAN, verdict=Verdict.INCONCLUSIVE, rejection=rejection, performance=performance
    )


MET, MISSED = candidate(0.5), candidate(2.0)
Script = Callable[[BatchPlan], Candidate]


@dataclass
class ScriptedJudge:
    """Says what functions of the plan say; accepts no rate above today's."""

    when_searched: Script
    when_certified: Script | None = None
    certified: list[tuple[BatchPlan, int, int]] = field(default_factory=list)
    searched: list[tuple[BatchPlan, int]] = field(default_factory=list)

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        self.searched.append((scenario.plan, attempt))
        return replace(self.when_searched(scenario.plan), plan=scenario.plan)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        self.certified.append((scenario.plan, attempt, requests_first))
        found = (self.when_certified or self.when_searched)(scenario.plan)
        return replace(found, plan=scenario.plan)

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        return MISSED


class ExactJudge:
    """Knows the truth of M/M/c."""

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        return self.accepts(scenario)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return self.accepts(scenario)

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        rate_rps, replicas = scenario.workload.arrival_rate_rps, scenario.plan.replicas
        queue = MMc(arrival_rate_rps=rate_rps, service_rate_rps=100.0, servers=replicas)
        found = candidate(
            queue.response_quantile_s(0.99), scenario.objective.by_quantile(Measure.RESPONSE)[0.99]
        )
        return replace(found, plan=scenario.plan)


def codes(recommendation: Recommendation) -> list[CaveatCode]:
    return [caveat.code for caveat in recommendation.caveats]


@pytest.mark.parametrize("rate_rps", [20.0, 150.0, 990.0, 3000.0])
@pytest.mark.parametrize("limit_s", [0.0465, 0.06, 0.2, 5.0])
def test_recommends_the_fewest_replicas_and_says_how_far_they_reach(rate_rps: float, limit_s: float) -> None:
    question = question_of(rate_rps=rate_rps, limit_s=limit_s, routings=(Routing.SHARED_QUEUE,))
    answer = recommend(question, ExactJudge())

    def p99_s(rate_rps: float, replicas: int) -> float:
        if rate_rps >= 100.0 * replicas:
            return math.inf
        queue = MMc(arrival_rate_rps=rate_rps, service_rate_rps=100.0, servers=replicas)
        return queue.response_quantile_s(0.99)

    assert answer.verdict is Verdict.MET
    replicas = answer.plan.replicas
    assert p99_s(rate_rps, replicas) <= limit_s
    assert replicas == 1 or p99_s(rate_rps, replicas - 1) > limit_s
    assert answer.performance.response_quantiles_s[0.99].value == p99_s(rate_rps, replicas)
    assert answer.arrival_rate_max_rps is not None
    assert answer.arrival_rate_max_rps >= rate_rps
    assert p99_s(answer.arrival_rate_max_rps, replicas) <= limit_s
    assert p99_s(answer.arrival_rate_max_rps * (1.0 + _RESOLUTION) * (1.0 + 1e-9), replicas) > limit_s
    assert answer.hourly_usd == 2.0 * replicas


def test_among_the_batch_sizes_of_a_count_the_one_farthest_from_its_limit_wins() -> None:
    p99s = {1: 0.9, 2: 0.3, 4: 0.6}
    answer = recommend(
        question_of(BATCHING), ScriptedJudge(lambda plan: candidate(p99s[plan.batch_size_max]))
    )
    assert (answer.plan.replicas, answer.plan.batch_size_max) == (1, 2)


def test_of_two_equal_ones_the_smaller_batch_wins() -> None:
    p99s = {1: 0.9, 2: 0.3, 4: 0.3}
    answer = recommend(
        question_of(BATCHING), ScriptedJudge(lambda plan: candidate(p99s[plan.batch_size_max]))
    )
    assert answer.plan.batch_size_max == 2


def vague(value_s: float, load: float = 0.5) -> Candidate:
    """Met, its P99 known to a tenth of a second."""
    interval = Interval(value=value_s, low=value_s - 0.1, high=value_s + 0.1)
    performance = Performance(kind=Kind.SIMULATION, load=load, response_quantiles_s={0.99: interval})
    return Candidate(plan=ANY_PLAN, verdict=Verdict.MET, rejection=None, performance=performance)


def preferred(fields: dict[str, object], script: Callable[[BatchPlan], Candidate]) -> BatchPlan | None:
    return recommend(question_of(BATCHING, **fields), ScriptedJudge(script)).plan


ALL_ROUTINGS = {"routings": ANY_ROUTINGS, "batch_size_limit": 1}
WAITS = {"batch_waits_s": (0.0, 0.002)}


def test_of_those_that_intervals_cannot_tell_apart_the_simplest_wins() -> None:
    """No wait before a wait, then the router that knows least, then the lower load, then the smaller batch."""
    best = preferred(WAITS, lambda plan: vague(0.4 if plan.batch_wait_max_s else 0.59))
    assert best.batch_wait_max_s == 0.0
    best = preferred(ALL_ROUTINGS, lambda plan: vague(0.6 - 0.04 * ANY_ROUTINGS.index(plan.routing)))
    assert best.routing is Routing.ROUND_ROBIN
    best = preferred({}, lambda plan: vague(0.5, load=0.5 / plan.batch_size_max))
    assert best.batch_size_max == 4
    best = preferred({}, lambda plan: vague(0.5))
    assert best.batch_size_max == 1


def test_those_that_intervals_tell_apart_are_not_weighed_by_simplicity() -> None:
    values_s = {Routing.SHARED_QUEUE: 0.3, Routing.LEAST_OUTSTANDING: 0.45, Routing.POWER_OF_TWO: 0.55}
    best = preferred(ALL_ROUTINGS, lambda plan: vague(values_s.get(plan.routing, 0.8)))
    assert best.routing is Routing.LEAST_OUTSTANDING


def test_the_plan_carries_what_the_question_fixed() -> None:
    question = question_of(
        BATCHING,
        batch_waits_s=(0.002,),
        routings=(Routing.POWER_OF_TWO,),
        batching=Batching.TORCHSERVE,
        queue_limit=7,
    )
    judge = ScriptedJudge(lambda plan: MET if plan.batch_size_max == 4 else MISSED)
    answer = recommend(question, judge)
    assert answer.plan == BatchPlan(
        profile="made-up",
        replicas=1,
        batch_size_max=4,
        batch_wait_max_s=0.002,
        routing=Routing.POWER_OF_TWO,
        batching=Batching.TORCHSERVE,
        queue_limit=7,
    )


def test_instances_that_share_a_device_share_its_price() -> None:
    profile = replace(SINGLE, instances_per_device=4)
    answer = recommend(
        question_of(profile), ScriptedJudge(lambda plan: MET if plan.replicas >= 5 else MISSED)
    )
    assert answer.hourly_usd == 4.0


def test_the_reported_numbers_are_those_of_the_certificate() -> None:
    judge = ScriptedJudge(lambda plan: candidate(0.5, requests=777), lambda plan: candidate(0.7))
    answer = recommend(question_of(), judge)
    assert answer.performance.response_quantiles_s[0.99].value == 0.7
    assert [(attempt, requests) for _, attempt, requests in judge.certified] == [(1, 777)]
    (only,) = answer.considered
    assert only.performance == answer.performance


def test_a_certificate_that_fails_passes_the_turn_to_the_next_batch_size_and_then_the_next_count() -> None:
    p99s = {1: 0.3, 2: 0.4, 4: 0.5}
    judge = ScriptedJudge(
        lambda plan: candidate(p99s[plan.batch_size_max]),
        lambda plan: MET if (plan.replicas, plan.batch_size_max) == (2, 2) else MISSED,
    )
    answer = recommend(question_of(BATCHING), judge)
    order = [(plan.replicas, plan.batch_size_max, attempt) for plan, attempt, _ in judge.certified]
    assert order == [(1, 1, 1), (1, 2, 2), (1, 4, 3), (2, 1, 4), (2, 2, 5)]
    assert (answer.plan.replicas, answer.plan.batch_size_max) == (2, 2)
    refused = [candidate for candidate in answer.considered if not candidate.accepted]
    assert [(one.plan.replicas, one.plan.batch_size_max) for one in refused] == [
        (1, 1),
        (1, 2),
        (1, 4),
        (2, 1),
    ]


def test_certificates_that_fail_are_asked_for_in_growing_steps_to_the_end_of_the_space() -> None:
    judge = ScriptedJudge(lambda plan: MET, lambda plan: MISSED)
    answer = recommend(question_of(), judge)
    assert [plan.replicas for plan, _, _ in judge.certified] == [2**k for k in range(11)]
    assert (answer.verdict, answer.plan) == (Verdict.MISSED, None)


def test_the_fewest_replicas_that_a_certificate_accepts_are_found() -> None:
    judge = ScriptedJudge(lambda plan: MET, lambda plan: MET if plan.replicas >= 11 else MISSED)
    answer = recommend(question_of(), judge)
    assert [plan.replicas for plan, _, _ in judge.certified] == [1, 2, 4, 8, 16, 12, 10, 11]
    assert answer.plan.replicas == 11


def test_no_more_counts_are_certified_than_are_allowed() -> None:
    judge = ScriptedJudge(lambda plan: MET, lambda plan: in_doubt())
    answer = recommend(question_of(replicas_max=2), judge)
    assert [plan.replicas for plan, _, _ in judge.certified] == [1, 2]
    assert (answer.verdict, answer.plan) == (Verdict.INCONCLUSIVE, None)


def test_a_fleet_that_waits_and_fails_its_certificate_passes_the_turn_to_the_next_dearer_that_waits() -> None:
    """Nothing that starts at once will do; waiting fleets do from 2 on, and keep their promise from 4 on."""
    judge = ScriptedJudge(
        lambda plan: MET if plan.batch_wait_max_s > 0.0 and plan.replicas >= 2 else MISSED,
        lambda plan: MET if plan.replicas >= 4 else MISSED,
    )
    question = question_of(BATCHING, batch_waits_s=(0.0, 0.002), batch_size_limit=2, replicas_max=6)
    answer = recommend(question, judge)
    assert [plan.replicas for plan, _, _ in judge.certified] == [2, 3, 4]
    assert (answer.plan.replicas, answer.plan.batch_wait_max_s) == (4, 0.002)


def test_between_a_waiting_fleet_that_fails_and_one_that_starts_at_once_others_that_wait_are_certified():
    judge = ScriptedJudge(
        lambda plan: MET if plan.batch_wait_max_s > 0.0 or plan.replicas >= 5 else MISSED,
        lambda plan: MET if plan.replicas >= 3 else MISSED,
    )
    question = question_of(BATCHING, batch_waits_s=(0.0, 0.002), batch_size_limit=2, replicas_max=6)
    answer = recommend(question, judge)
    assert [plan.replicas for plan, _, _ in judge.certified] == [1, 2, 3]
    assert (answer.plan.replicas, answer.plan.batch_wait_max_s) == (3, 0.002)


def test_every_event_is_certified_and_one_that_fails_passes_the_turn() -> None:
    """Searched, 2 replicas do, so that 3 outlive the loss of one; certified, it takes 3, and so 4."""
    judge = ScriptedJudge(
        lambda plan: MET if plan.replicas >= 2 else MISSED, lambda plan: MET if plan.replicas >= 3 else MISSED
    )
    answer = recommend(question_of(survival=Survival(spare=1)), judge)
    assert [plan.replicas for plan, _, _ in judge.certified][:4] == [3, 2, 4, 3]
    assert [attempt for _, attempt, _ in judge.certified][:4] == [1, 2, 3, 4]
    assert answer.plan.replicas == 4
    assert [(one.event, one.plan.replicas) for one in answer.survived] == [("1 replica gone", 3)]
    (refused,) = [one for one in answer.considered if one.plan.replicas == 3]
    assert (refused.rejection.reason, refused.rejection.event) == (Reason.SURVIVAL, "1 replica gone")
    assert answer.without_survival.plan.replicas == 3
    assert answer.without_survival.arrival_rate_max_rps is None


@pytest.mark.parametrize("survival", [Survival(zones=5), Survival(spare=1), Survival(unavailable_share=0.1)])
def test_a_fleet_of_which_nothing_is_left_is_never_accepted(survival: Survival) -> None:
    """Not even as the neighbour that is shown beside the answer."""
    answer = recommend(question_of(survival=survival), ScriptedJudge(lambda plan: MET))
    assert answer.plan.replicas == 2
    assert [one.plan.replicas for one in answer.considered] == [2]


def test_too_few_replicas_to_outlive_a_loss_names_the_loss() -> None:
    """At 1000 rps batches of 4 need 4 replicas, and one more to lose."""
    question = question_of(BATCHING, 1000.0, replicas_max=4, survival=Survival(spare=1))
    (candidate,) = recommend(question, ScriptedJudge(lambda plan: MET)).considered
    assert candidate.rejection == Rejection(
        reason=Reason.REPLICAS_MAX, allowed=4, needed=5, event="1 replica gone"
    )


def test_where_only_fleets_that_wait_will_do_none_dearer_than_the_first_is_tried() -> None:
    waited: list[int] = []

    def script(plan: BatchPlan) -> Candidate:
        if plan.batch_wait_max_s == 0.0:
            return MISSED
        waited.append(plan.replicas)
        return MET if plan.replicas >= 3 else MISSED

    question = question_of(BATCHING, batch_waits_s=(0.0, 0.002), batch_size_limit=2, replicas_max=6)
    answer = recommend(question, ScriptedJudge(script), plan_alone=True)
    assert answer.plan.replicas == max(waited) == 3


@pytest.mark.parametrize(("requests", "tried"), [(200_000_000, [4]), (199_999_999, [4, 3])])
def test_fleets_that_wait_are_tried_until_200_million_requests_are_spent(requests, tried) -> None:
    waited: list[BatchPlan] = []

    def script(plan: BatchPlan) -> Candidate:
        if plan.batch_wait_max_s == 0.0:
            return MET if plan.replicas >= 5 else MISSED
        waited.append(plan)
        return replace(MISSED, requests=requests)

    question = question_of(BATCHING, batch_waits_s=(0.0, 0.002), batch_size_limit=2)
    recommend(question, ScriptedJudge(script), plan_alone=True)
    assert [plan.replicas for plan in waited] == tried


@pytest.mark.parametrize(
    ("requests", "certified"),
    [(400_000_000, [1, 2, 4]), (400_000_001, [1, 2]), (1, [*(2**k for k in range(13)), 5000])],
)
def test_larger_fleets_are_certified_up_to_800_million_requests_or_the_end_of_the_space(requests, certified):
    """None is confirmed; each step to the next fleet is twice as large as the one before."""
    judge = ScriptedJudge(lambda _: candidate(0.5), lambda _: candidate(2.0, requests=requests))
    answer = recommend(question_of(rate_rps=20.0, replicas_max=5000), judge, plan_alone=True)
    assert answer.plan is None
    assert [(plan.replicas, attempt) for plan, attempt, _ in judge.certified] == [
        (replicas, number) for number, replicas in enumerate(certified, start=1)
    ]


@pytest.mark.parametrize(
    ("requests", "certified"), [(1, [3, 4, 5, 6]), (399_999_999, [3, 4, 6, 5]), (400_000_000, [3, 6, 4, 5])]
)
def test_fleets_that_wait_are_certified_one_by_one_within_the_budget(requests, certified) -> None:
    """Without a batch wait 6 replicas are enough; with one the search accepts 3, but no certificate does.

    Past the budget of the search, 6 comes next; the cheaper fleets that were passed over follow.
    """

    def script(plan: BatchPlan) -> Candidate:
        return MET if plan.replicas >= (3 if plan.batch_wait_max_s > 0.0 else 6) else MISSED

    def strict(plan: BatchPlan) -> Candidate:
        return MET if plan.batch_wait_max_s == 0.0 else replace(candidate(2.0), requests=requests)

    question = question_of(BATCHING, batch_waits_s=(0.0, 0.002), batch_size_limit=2)
    judge = ScriptedJudge(script, strict)
    answer = recommend(question, judge, plan_alone=True)
    assert (answer.plan.replicas, answer.plan.batch_wait_max_s) == (6, 0.0)
    assert list(dict.fromkeys(plan.replicas for plan, *_ in judge.certified)) == certified


@pytest.mark.parametrize(
    ("accepted_rps", "refused_rps", "doubt", "is_thin", "is_in_doubt"),
    [
        (104.99, 200.0, None, True, False),
        (105.0, 200.0, None, False, False),
        (110.0, 121.0, Doubt.REQUESTS, False, False),
        (110.0, 121.1, Doubt.REQUESTS, False, True),
        (110.0, 200.0, None, False, False),
    ],
)
def test_headroom_is_thin_below_5_percent_and_in_doubt_over_more_than_10_percent(
    accepted_rps: float, refused_rps: float, doubt: Doubt | None, is_thin: bool, is_in_doubt: bool
) -> None:
    found = Headroom(today_rps=100.0, accepted_rps=accepted_rps, refused_rps=refused_rps, doubt=doubt)
    assert (found.is_thin, found.is_in_doubt) == (is_thin, is_in_doubt)


def test_the_number_of_a_certificate_is_from_1_to_a_million() -> None:
    assert Certificate() == Certificate(attempt=1, requests_first=0)
    assert Tally() == Tally(screened=0, simulated=0, certified=0, requests=0)
    assert Certificate(attempt=1_000_000, requests_first=0).attempt == 1_000_000
    for wrong in ({"attempt": 0}, {"attempt": 1_000_001}, {"requests_first": -1}):
        with pytest.raises(
            DomainError, match="a certificate has a number from 1 to 1000000 and a first look"
        ):
            Certificate(**wrong)


def test_fleets_that_wait_and_were_not_tried_for_want_of_budget_are_told() -> None:
    """Each takes as much as all of them may; those of the answer's price are not tried either."""
    waited: list[BatchPlan] = []

    def script(plan: BatchPlan) -> Candidate:
        if plan.batch_wait_max_s == 0.0:
            return MET if plan.replicas >= 5 else MISSED
        waited.append(plan)
        return replace(MISSED, requests=UNSKIPPED_REQUESTS_MAX)

    question = question_of(BATCHING, batch_waits_s=(0.0, 0.002), batch_size_limit=2)
    answer = recommend(question, ScriptedJudge(script), plan_alone=True)
    assert answer.plan.replicas == 5
    assert [plan.replicas for plan in waited] == [4]
    (caveat,) = [one for one in answer.caveats if one.code is CaveatCode.FLEETS_UNTRIED]
    assert caveat.message.startswith("3 fleets that may be cheaper were not tried")


def test_the_search_asks_the_hardest_loss_and_the_spike_and_the_certificate_all() -> None:
    survival = Survival(spare=1, zones=2, spike=Spike(factor=2.0, startup_time_s=60.0))
    searched: list[tuple[int, bool]] = []

    class Watching(ScriptedJudge):
        def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
            searched.append((scenario.plan.replicas, scenario.spike is not None))
            return super().search(scenario, attempt)

    judge = Watching(lambda plan: MET)
    answer = recommend(question_of(survival=survival, batch_size_limit=1), judge)
    assert searched[:3] == [(1, False), (2, True), (2, False)]
    assert [plan.replicas for plan, _, _ in judge.certified][:4] == [2, 1, 1, 2]
    assert [one.event for one in answer.survived] == [
        "1 replica gone", "one of 2 zones gone", "2 times the traffic"
    ]  # fmt: skip


@pytest.mark.parametrize(("cheap_usd", "expected"), [(0.5, ("cheap", 13)), (0.7, ("dear", 3))])
def test_when_a_certificate_fails_another_profile_may_be_the_next_dearer(cheap_usd, expected) -> None:
    """Two devices at 3 USD/h fail, three at 9 do; thirteen of the other at 6.5 are cheaper, at 9.1 not."""
    dear = replace(SINGLE, name="dear", hourly_usd=3.0)
    cheap = replace(SINGLE, name="cheap", hourly_usd=cheap_usd)
    enough = {"dear": 2, "cheap": 13}
    judge = ScriptedJudge(
        lambda plan: MET if plan.replicas >= enough[plan.profile] else MISSED,
        lambda plan: MISSED if (plan.profile, plan.replicas) == ("dear", 2) else MET,
    )
    answer = recommend(replace(question_of(dear), profiles=(dear, cheap)), judge)
    assert (answer.plan.profile, answer.plan.replicas) == expected


def test_three_devices_at_a_third_of_the_price_cost_the_same() -> None:
    """3 x 0.1 is 0.30000000000000004, which is no reason to take the plan nearer to its limit."""
    small, large = (
        replace(SINGLE, name="small", hourly_usd=0.1),
        replace(SINGLE, name="large", hourly_usd=0.3),
    )
    judge = ScriptedJudge(
        lambda plan: candidate({"small": {3: 0.2}, "large": {1: 0.9}}[plan.profile].get(plan.replicas, 2.0))
    )
    question = replace(question_of(small, replicas_max=3), profiles=(small, large))
    answer = recommend(question, judge)
    assert (answer.plan.profile, answer.plan.replicas) == ("small", 3)


def test_missed_when_no_count_will_do() -> None:
    answer = recommend(question_of(replicas_max=9), ScriptedJudge(lambda plan: MISSED))
    assert (answer.verdict, answer.plan, answer.performance) == (Verdict.MISSED, None, None)
    assert (answer.arrival_rate_max_rps, answer.hourly_usd) == (None, None)
    assert {candidate.rejection.reason for candidate in answer.considered if candidate.rejection} == {
        Reason.LATENCY
    }
    assert answer.verdict.exit_code == 3


def test_inconclusive_when_one_is_in_doubt_and_none_accepted() -> None:
    answer = recommend(
        question_of(replicas_max=9), ScriptedJudge(lambda plan: in_doubt() if plan.replicas == 9 else MISSED)
    )
    assert (answer.verdict, answer.plan) == (Verdict.INCONCLUSIVE, None)
    assert answer.verdict.exit_code == 4


def test_inconclusive_when_the_search_ran_out_of_budget() -> None:
    judge = ScriptedJudge(lambda plan: candidate(2.0, requests=BatchTheory.search_requests_max))
    assert recommend(question_of(), judge).verdict is Verdict.INCONCLUSIVE


def test_an_objective_below_the_service_floor_is_refused_with_every_size() -> None:
    answer = recommend(question_of(BATCHING, limit_s=0.009), ScriptedJudge(lambda plan: MET))
    assert (answer.verdict, answer.plan) == (Verdict.MISSED, None)
    rejections = [candidate.rejection for candidate in answer.considered]
    expected = Rejection.of(promise(0.009), 0.01, Reason.SERVICE_FLOOR)
    assert rejections == [expected] * 3


def test_too_few_replicas_for_the_rate_is_refused_with_the_number_needed() -> None:
    """At 1000 rps batches of 4 need 1000 x 0.013/4 = 3.25, so 4."""
    answer = recommend(question_of(BATCHING, 1000.0, replicas_max=3), ScriptedJudge(lambda plan: MET))
    assert answer.verdict is Verdict.MISSED
    (candidate,) = answer.considered
    assert candidate.rejection == Rejection(reason=Reason.REPLICAS_MAX, allowed=3, needed=4)
    assert (candidate.plan.replicas, candidate.plan.batch_size_max) == (4, 4)
    answer = recommend(question_of(BATCHING, 1000.0, replicas_max=4), ScriptedJudge(lambda plan: MET))
    assert answer.verdict is Verdict.MET


def test_sizes_that_theory_refuses_are_listed_beside_the_answer() -> None:
    tailed = ServiceProfile(
        name="made-up",
        timings=(
            BatchTiming(batch_size=1, samples_s=(0.1,) * 90 + (2.0,) * 10),
            BatchTiming(batch_size=2, samples_s=(0.2,) * 100),
        ),
    )
    answer = recommend(question_of(tailed, 3.0), ScriptedJudge(lambda plan: MET))
    assert answer.plan.batch_size_max == 2
    assert answer.considered[0].rejection == Rejection.of(promise(LIMIT_S), 2.0, Reason.SERVICE_FLOOR)


def test_a_limit_beyond_the_profile_is_refused_and_smaller_batches_are_tried() -> None:
    answer = recommend(question_of(BATCHING, batch_size_limit=16), ScriptedJudge(lambda plan: MET))
    assert answer.plan is not None
    assert answer.considered[0].rejection == Rejection(reason=Reason.PROFILE_RANGE, allowed=4, needed=16)


def test_a_profile_without_batches_of_one_is_an_error() -> None:
    with pytest.raises(DomainError, match="measure batch size 1 too"):
        recommend(question_of(profile_of({2: 0.01, 4: 0.02})), ScriptedJudge(lambda plan: MET))


def test_a_cheaper_plan_in_doubt_is_named() -> None:
    judge = ScriptedJudge(lambda plan: MET if plan.replicas >= 3 else in_doubt())
    answer = recommend(question_of(), judge)
    assert answer.plan.replicas == 3
    assert answer.verdict is Verdict.MET
    messages = [one.message for one in answer.caveats if one.code is CaveatCode.CHEAPER_INCONCLUSIVE]
    assert len(messages) == 2
    assert messages[0].startswith("a fleet of 1 with batches up to 1 ")
    assert messages[1].startswith("a fleet of 2 with batches up to 1 ")


def test_a_candidate_in_doubt_that_is_not_cheaper_is_not_named() -> None:
    judge = ScriptedJudge(lambda plan: in_doubt() if plan.batch_size_max == 4 else MET)
    assert CaveatCode.CHEAPER_INCONCLUSIVE not in codes(recommend(question_of(BATCHING), judge))


def test_a_cheaper_plan_whose_certificate_stayed_in_doubt_is_named() -> None:
    judge = ScriptedJudge(lambda plan: MET, lambda plan: MET if plan.replicas == 2 else in_doubt())
    assert CaveatCode.CHEAPER_INCONCLUSIVE in codes(recommend(question_of(), judge))


@pytest.mark.parametrize(
    ("code", "question", "judge"),
    [
        (CaveatCode.PRICE_UNKNOWN, question_of(replace(SINGLE, hourly_usd=None)), ScriptedJudge(lambda plan: MET)),
        (
            CaveatCode.PRECISION_MISSED, question_of(),
            ScriptedJudge(lambda plan: MET, lambda plan: candidate(0.5, is_precise=False)),
        ),
        (
            CaveatCode.TRACE_ONE_PATH, question_of(arrivals=TraceArrivals(instants_s=(0.0, 1.0, 2.0))),
            ScriptedJudge(lambda plan: MET),
        ),
        (
            CaveatCode.ONE_BALANCER, question_of(rate_rps=20.0),
            ScriptedJudge(lambda plan: MET if plan.replicas >= 100 else MISSED),
        ),
    ],
)  # fmt: skip
def test_a_caveat_is_given_where_it_holds_and_only_there(code, question, judge) -> None:
    answer = recommend(question, judge)
    assert code in codes(answer)
    assert (code is CaveatCode.PRICE_UNKNOWN) is (answer.hourly_usd is None)
    assert code not in codes(recommend(question_of(), ScriptedJudge(lambda plan: MET)))


def test_the_profile_speaks_of_its_own_gaps_up_to_the_batch_that_is_used() -> None:
    judge = ScriptedJudge(lambda plan: MET)
    seen = codes(recommend(question_of(), judge))
    assert CaveatCode.PROFILE_NO_SPREAD in seen
    assert CaveatCode.PROFILE_ERROR_UNKNOWN in seen
    timings = tuple(BatchTiming(batch_size=size, samples_s=(0.01, 0.011) * 1000) for size in (1, 2))
    rich = ServiceProfile(name="made-up", timings=timings, hourly_usd=1.0)
    assert codes(recommend(question_of(rich), judge)) == [CaveatCode.HEADROOM_THIN]
    few = replace(
        rich,
        timings=tuple(replace(one, samples_s=(0.01, 0.011)) for one in rich.timings),
        instances_per_device=2,
    )
    assert codes(recommend(question_of(few), judge)) == [
        CaveatCode.PROFILE_FEW_SAMPLES,
        CaveatCode.DEVICE_SHARED,
        CaveatCode.HEADROOM_THIN,
    ]


@pytest.mark.parametrize("doubt", [Doubt.REQUESTS, Doubt.PROFILE])
def test_headroom_in_doubt_is_a_bracket_with_its_cause(doubt: Doubt) -> None:
    """Accepted to 30 rps, refused from 40 rps on, and open between: both ends are found to 1 %."""

    def accepts(
        scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        rate_rps = scenario.workload.arrival_rate_rps
        if 30.0 < rate_rps < 40.0:
            return replace(in_doubt(), doubt=doubt)
        return MET if rate_rps <= 30.0 else MISSED

    judge = ScriptedJudge(lambda plan: MET)
    judge.accepts = accepts
    answer = recommend(question_of(rate_rps=20.0), judge)
    assert 30.0 / 1.01 <= answer.headroom.accepted_rps <= 30.0
    assert 40.0 <= answer.headroom.refused_rps <= 40.0 * 1.01
    (message,) = [one.message for one in answer.caveats if one.code is CaveatCode.HEADROOM_IN_DOUBT]
    assert ("--requests-max" in message) is (doubt is Doubt.REQUESTS)
    assert ("measure more batches" in message) is (doubt is Doubt.PROFILE)


def test_what_random_routing_takes_is_said() -> None:
    """Round-robin needs 3 replicas, random 9: found by steps from 3 on, and none fewer does."""
    needs = {Routing.ROUND_ROBIN: 3, Routing.RANDOM: 9}
    judge = ScriptedJudge(lambda plan: candidate(0.5 if plan.replicas >= needs[plan.routing] else 2.0))
    random = recommend(question_of(rate_rps=20.0), judge).random_routing
    assert random.replicas == 9
    assert random.response_p99 == Interval.exact(2.0)  # of 3 replicas, behind random routing
    at_random = [
        (plan.replicas, attempt) for plan, attempt in judge.searched if plan.routing is Routing.RANDOM
    ]
    assert at_random[0] == (3, 1)  # its own search, which may spend the whole probability of error
    assert [replicas for replicas, _ in at_random].count(3) == 1


def test_the_p99_of_random_routing_is_that_of_the_whole_fleet_whatever_it_must_survive() -> None:
    """Three of four replicas must be enough, and behind random routing they are not."""
    needs = {Routing.ROUND_ROBIN: 3, Routing.RANDOM: 9}
    judge = ScriptedJudge(lambda plan: candidate(0.5 if plan.replicas >= needs[plan.routing] else 2.0))
    answer = recommend(question_of(rate_rps=20.0, survival=Survival(spare=1)), judge)
    assert answer.plan.replicas == 4
    assert answer.random_routing.replicas == 10
    assert answer.random_routing.response_p99 == Interval.exact(2.0)


def test_random_routing_has_the_figure_of_the_limit_that_binds() -> None:
    """The plan uses half of its limit on P50, and a tenth of that on P95."""
    values = {Routing.ROUND_ROBIN: (0.5, 5.0), Routing.RANDOM: (0.75, 6.0)}

    def judge(plan: BatchPlan) -> Candidate:
        p50_s, p99_s = map(Interval.exact, values[plan.routing])
        found = Performance(kind=Kind.EXACT, response_quantiles_s={0.5: p50_s, 0.95: p99_s, 0.99: p99_s})
        return replace(MET if plan.replicas >= 3 else MISSED, performance=found)

    objective = Objective.of(response={0.5: 1.0, 0.95: 50.0})
    question = replace(question_of(rate_rps=20.0), objective=objective)
    random = recommend(question, ScriptedJudge(judge)).random_routing
    assert (str(random.limit), random.found) == ("P50 <= 1 s", Interval.exact(0.75))
    assert random.response_p99 == Interval.exact(6.0)


@pytest.mark.parametrize(("low_s", "least"), [(1.8, 1.8), (math.inf, None)])
def test_of_random_routing_whose_runs_have_not_settled_the_lower_end_is_known(
    low_s: float, least: float | None
) -> None:
    """A busy fleet is underestimated by runs that are too short: good for a lower bound, never for the figure."""

    def judge(plan: BatchPlan) -> Candidate:
        if plan.routing is not Routing.RANDOM:
            return candidate(0.5 if plan.replicas >= 3 else 2.0)
        late = Interval(value=max(2.0, low_s), low=low_s, high=math.inf)
        seen = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: late})
        return replace(MISSED if plan.replicas < 9 else MET, performance=seen, settled=plan.replicas >= 9)

    random = recommend(question_of(rate_rps=20.0), ScriptedJudge(judge)).random_routing
    assert (random.replicas, random.response_p99, random.least) == (9, None, least)


@pytest.mark.parametrize("routing", [Routing.RANDOM, Routing.SHARED_QUEUE])
def test_where_random_routing_is_no_news_nothing_is_said(routing: Routing) -> None:
    judge = ScriptedJudge(lambda plan: candidate(0.5 if plan.replicas >= 3 else 2.0))
    assert recommend(question_of(rate_rps=20.0, routings=(routing,)), judge).random_routing is None


def test_one_replica_is_routed_to_in_any_case() -> None:
    random = recommend(question_of(rate_rps=20.0), ScriptedJudge(lambda plan: MET)).random_routing
    assert (random.replicas, random.response_p99) == (1, Interval.exact(0.5))


def test_a_whole_recommendation_is_the_same_for_any_number_of_workers() -> None:
    question = question_of(BATCHING, rate_rps=250.0, limit_s=0.05)
    judge = SimulationJudge(seed=3, precision=0.2, requests_max=480_000)
    alone = recommend(question, judge)
    with workers(2) as mapper:
        assert recommend(question, replace(judge, mapper=mapper)) == alone
    assert alone.verdict is Verdict.MET
    assert alone.plan is not None
    assert alone.performance.response_quantiles_s[0.99].high <= 0.05
    cheaper = [one for one in alone.considered if one.plan.replicas < alone.plan.replicas]
    assert not any(one.accepted for one in cheaper)


@pytest.mark.long
def test_another_seed_gives_other_numbers_and_the_same_plan() -> None:
    question = question_of(BATCHING, rate_rps=250.0, limit_s=0.05)
    one, other = (
        recommend(question, SimulationJudge(seed=seed, precision=0.2, requests_max=480_000))
        for seed in (1, 2)
    )
    assert one.plan == other.plan
    assert one.performance != other.performance


def test_what_stands_beside_a_plan_is_asked_once_and_counted() -> None:
    """Bursty arrivals and a spare: two easier questions, each without easier ones of its own."""

    class CountingJudge(ScriptedJudge):
        def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
            asked.append((scenario.workload, scenario.plan))
            return replace(super().search(scenario, attempt), requests=7)

    asked: list[Any] = []
    bursty = Workload(arrival_rate_rps=10.0, arrivals=GammaArrivals(cv=2.0))
    question = replace(question_of(survival=Survival(spare=1)), workload=bursty)
    judge = CountingJudge(lambda plan: MET if plan.replicas >= 2 else MISSED, lambda plan: MET)
    alone = recommend(question, judge, plan_alone=True)
    only = len(asked)
    assert (alone.without_survival, alone.under_poisson, alone.headroom) == (None, None, None)
    asked.clear()
    answer = recommend(question, judge)
    assert answer.under_poisson is not None
    assert (answer.without_survival.without_survival, answer.without_survival.under_poisson) == (None, None)
    assert (answer.under_poisson.without_survival, answer.under_poisson.under_poisson) == (None, None)
    assert answer.plan == alone.plan
    assert answer.tally.simulated == len(asked) > only
    assert answer.tally.requests == 7 * len(asked)


def test_what_random_routing_takes_of_a_large_fleet_is_known_to_a_hundredth() -> None:
    def script(plan: BatchPlan) -> Candidate:
        needed = 1036 if plan.routing is Routing.RANDOM else 900
        return MET if plan.replicas >= needed else MISSED

    judge = ScriptedJudge(script)
    random = recommend(question_of(rate_rps=80_000.0, replicas_max=2000), judge).random_routing
    assert random is not None
    assert random.replicas is not None
    assert 1036 <= random.replicas <= 1036 * 1.01
    assert sum(plan.routing is Routing.RANDOM for plan, _ in judge.searched) <= 12


@pytest.mark.parametrize("needed_with_wait", [300, 870, 890])
def test_large_fleets_that_wait_are_tried_far_apart_and_closer_where_the_verdict_changes(
    needed_with_wait: int,
) -> None:
    """The cheapest of them is found although few of hundreds are tried, and how many were not is told."""

    def script(plan: BatchPlan) -> Candidate:
        return MET if plan.replicas >= (needed_with_wait if plan.batch_wait_max_s > 0.0 else 900) else MISSED

    judge = ScriptedJudge(script)
    space = {"batch_waits_s": (0.0, 0.002), "batch_size_limit": 2, "routings": (Routing.RANDOM,)}
    answer = recommend(question_of(BATCHING, rate_rps=40_000.0, replicas_max=2000, **space), judge)
    assert answer.plan.replicas == needed_with_wait
    waited = {plan.replicas for plan, _ in judge.searched if plan.batch_wait_max_s > 0.0}
    assert len(waited) <= 20
    (caveat,) = [one for one in answer.caveats if one.code is CaveatCode.FLEETS_UNTRIED]
    assert "lie between fleets that were tried" in caveat.message


def test_where_all_batches_wait_one_fewer_is_judged_too() -> None:
    """A replica serves 500 rps at most, so that theory refuses one at 600; before, it was said to be untried."""
    workload = Workload(arrival_rate_rps=600.0)
    question = batch_question(
        profiles=(profile_of({1: 0.004, 4: 0.008}),),
        workload=workload,
        objective=Objective.of(response={0.99: 0.05}),
        batch_waits_s=(0.002,),
    )
    found = recommend(question, SimulationJudge(precision=0.2), lambda _: None)
    assert found.plan is not None
    assert found.plan.replicas == 2
    assert {one.verdict for one in found.considered if one.plan.replicas == 1} == {Verdict.MISSED}
