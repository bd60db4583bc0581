"""Search and screen: the true minimum by an exact judge, what theory refuses at once, and headroom."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from questions import batch_question
from scipy.optimize import brentq

from capacity.errors import DomainError, UnstableError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.queues.markov.mmc import MMc
from capacity.search.batches import BatchTheory
from capacity.search.candidates import Search, describe, survival_candidate
from capacity.search.cheapest import devices_within, fewest, find_cheapest
from capacity.search.exact import judge_exactly
from capacity.search.headroom import _RESOLUTION, find_headroom
from capacity.search.plan_decision import silent
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_batch_size, refuse_load
from capacity.server.batch.stability import (
    load,
    replicas_stable_min,
    require_batch_of_one,
    sustainable_rate_rps,
)
from capacity.traffic.workload import GammaArrivals, MmppArrivals, Workload
from simulations.draws.arrivals import Seed, draw
from simulations.draws.service import ExponentialTimes
from simulations.kernel import serve as kernel
from simulations.reference.cluster import run

laws_hold = settings(derandomize=True, deadline=None, max_examples=60)
MEAN_S = 0.01


def profile_of(means_s: dict[int, float], **fields: object) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name="made-up", timings=timings, **fields)


SINGLE = profile_of({1: MEAN_S})
BATCHING = profile_of({1: 0.010, 2: 0.011, 4: 0.013, 8: 0.017})


CROOKED = profile_of({1: MEAN_S, 2: MEAN_S / 2.0})  # a larger batch is the faster


def p99(limit_s: float) -> Objective:
    return Objective.of(response={0.99: limit_s})


def promise(limit_s: float, quantile: float = 0.99) -> Limit:
    return Limit(measure=Measure.RESPONSE, quantile=quantile, allowed=limit_s)


@cache
def exact_p99_s(rate_rps: float, replicas: int) -> float:
    """Of M/M/c with a mean service of 10 ms."""
    try:
        queue = MMc(arrival_rate_rps=rate_rps, service_rate_rps=1.0 / MEAN_S, servers=replicas)
    except UnstableError:
        return math.inf
    return queue.response_quantile_s(0.99)


class ExactJudge:
    """Knows the truth: M/M/c, one queue, no batches."""

    def __init__(self) -> None:
        self.judged: list[BatchPlan] = []

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        self.judged.append(scenario.plan)
        assert attempt in (
            1,
            len(self.judged),
        )  # one test, or where smaller fleets may be enough too, one of each
        return self.accepts(scenario)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return self.accepts(scenario)

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        value_s = exact_p99_s(scenario.workload.arrival_rate_rps, scenario.plan.replicas)
        limit_s = scenario.objective.by_quantile(Measure.RESPONSE)[0.99]
        performance = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(value_s)})
        if value_s <= limit_s:
            return Candidate(plan=scenario.plan, verdict=Verdict.MET, rejection=None, performance=performance)
        rejection = Rejection.of(promise(limit_s), value_s)
        return Candidate(
            plan=scenario.plan, verdict=Verdict.MISSED, rejection=rejection, performance=performance
        )


class ScriptedJudge:
    """Says what a function of the plan says."""

    def __init__(self, script: Callable[[BatchPlan], Candidate]) -> None:
        self.script = script
        self.judged: list[BatchPlan] = []
        self.attempts: list[int] = []

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        self.judged.append(scenario.plan)
        self.attempts.append(attempt)
        return replace(self.script(scenario.plan), plan=scenario.plan)

    def certify(self, *args: object) -> Candidate:
        raise AssertionError("a search certifies nothing")

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(self, *args: object) -> Candidate:
        raise AssertionError("a search asks for no headroom")


def question_of(
    rate_rps: float, limit_s: float, profile: ServiceProfile = SINGLE, **fields: object
) -> Question:
    """Gamma gaps of cv 1 are Poisson's by another name, for which no law is asked before the judge."""
    return batch_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=GammaArrivals(cv=1.0)),
        objective=p99(limit_s),
        **{"routings": (Routing.SHARED_QUEUE,), **fields},
    )


def smallest_accepted(search: Search) -> int | None:
    """Fewest replicas of the only family, each on a device of its own."""
    (family,) = search.question.families
    return fewest(search, family, devices_within(search, family, math.inf), is_bounded=False)


def at(search: Search, replicas: int) -> list[Candidate]:
    (family,) = search.question.families
    return search.at(family, replicas)


def brute_force(rate_rps: float, limit_s: float, replicas_max: int) -> int | None:
    return next((c for c in range(1, replicas_max + 1) if exact_p99_s(rate_rps, c) <= limit_s), None)


RATES_RPS = (0.5, 30.0, 99.0, 100.0, 101.0, 350.0, 799.0, 1500.0, 6100.0)
LIMITS_S = (0.0461, 0.0463, 0.047, 0.05, 0.06, 0.08, 0.15, 0.5, 3.0)


@pytest.mark.parametrize("rate_rps", RATES_RPS)
@pytest.mark.parametrize("limit_s", LIMITS_S)
@pytest.mark.parametrize("profile", [SINGLE, CROOKED], ids=["doubling", "linear"])
def test_finds_the_true_minimum(rate_rps: float, limit_s: float, profile: ServiceProfile) -> None:
    """Against trying every count; the service alone has its P99 at 46.05 ms."""
    question = question_of(rate_rps, limit_s, profile, replicas_max=80)
    search = Search(question, ExactJudge(), silent)
    expected = brute_force(rate_rps, limit_s, 80)
    assert smallest_accepted(search) == expected
    if expected is not None:
        assert search.accepted_at(question.families[0], expected)


@laws_hold
@given(st.floats(0.1, 2000.0), st.floats(0.02, 0.4), st.integers(21, 60))
def test_doubling_and_linear_search_agree(rate_rps: float, limit_s: float, replicas_max: int) -> None:
    found = [
        smallest_accepted(
            Search(question_of(rate_rps, limit_s, one, replicas_max=replicas_max), ExactJudge(), silent)
        )
        for one in (SINGLE, CROOKED)
    ]
    assert found[0] == found[1] == brute_force(rate_rps, limit_s, replicas_max)


@pytest.mark.parametrize("smallest", [1, 2, 3, 5, 17, 100, 1000, 1024])
def test_doubling_tries_few_counts(smallest: int) -> None:
    """About twice the logarithm of how far the count lies above the stable minimum."""
    judge = ScriptedJudge(lambda plan: met() if plan.replicas >= smallest else missed())
    search = Search(question_of(1.0, 1.0, replicas_max=1024), judge, silent)
    assert smallest_accepted(search) == smallest
    assert len(judge.judged) <= 2 * math.ceil(math.log2(smallest + 1)) + 1
    assert len(judge.judged) == len(set(judge.judged))


def test_a_profile_that_is_not_monotone_is_searched_count_by_count() -> None:
    judge = ScriptedJudge(lambda plan: met() if plan.replicas in (4, 9) else missed())
    assert not CROOKED.is_monotone
    level = find_cheapest(Search(question_of(1.0, 1.0, CROOKED, replicas_max=12), judge, silent))
    assert {candidate.plan.replicas for candidate in level.candidates} == {4}


def test_none_is_accepted_up_to_the_most() -> None:
    judge = ScriptedJudge(lambda plan: missed())
    assert smallest_accepted(Search(question_of(1.0, 1.0, replicas_max=50), judge, silent)) is None
    assert max(plan.replicas for plan in judge.judged) == 50


def test_what_is_inconclusive_is_not_accepted() -> None:
    judge = ScriptedJudge(lambda plan: met() if plan.replicas >= 6 else in_doubt())
    assert smallest_accepted(Search(question_of(1.0, 1.0), judge, silent)) == 6


@pytest.mark.parametrize("profile", [SINGLE, CROOKED], ids=["doubling", "linear"])
def test_the_search_ends_with_its_budget(profile: ServiceProfile) -> None:
    judge = ScriptedJudge(lambda plan: replace(missed(), requests=BatchTheory.search_requests_max // 3 + 1))
    search = Search(question_of(1.0, 1.0, profile, batch_size_limit=1), judge, silent)
    assert smallest_accepted(search) is None
    assert search.out_of_budget
    assert len(judge.judged) == 6  # twice its budget, as nothing is accepted


def test_a_search_has_a_budget_of_400_million_requests_and_twice_that_while_nothing_is_accepted() -> None:
    search = Search(question_of(1.0, 1.0), ScriptedJudge(lambda plan: met()), silent)
    assert search.confidence == 0.95  # by default
    search.requests = 799_999_999
    assert not search.out_of_budget
    search.requests += 1
    assert search.out_of_budget
    at(search, 1)
    search.requests = 399_999_999
    assert not search.out_of_budget
    search.requests += 1
    assert search.out_of_budget


ANY_PLAN = BatchPlan(profile="any", replicas=1, batch_size_max=1)


def met(largest: int | None = None) -> Candidate:
    return Candidate(plan=ANY_PLAN, verdict=Verdict.MET, batch_size_largest=largest)


def missed(largest: int | None = None) -> Candidate:
    rejection = Rejection.of(promise(1.0), 2.0)
    return Candidate(
        plan=ANY_PLAN,
        verdict=Verdict.MISSED,
        rejection=rejection,
        performance=None,
        batch_size_largest=largest,
    )


def in_doubt() -> Candidate:
    rejection = Rejection(reason=Reason.BUDGET, allowed=1.0, needed=2.0)
    return Candidate(plan=ANY_PLAN, verdict=Verdict.INCONCLUSIVE, rejection=rejection)


def test_batch_sizes_are_the_measured_ones_up_to_the_limit_and_the_limit() -> None:
    assert question_of(1.0, 1.0, BATCHING).space.sizes(BATCHING) == (1, 2, 4, 8)
    assert question_of(1.0, 1.0, BATCHING, batch_size_limit=6).space.sizes(BATCHING) == (1, 2, 4, 6)
    assert question_of(1.0, 1.0, BATCHING, batch_size_limit=4).space.sizes(BATCHING) == (1, 2, 4)
    assert question_of(1.0, 1.0, BATCHING, batch_size_limit=1).space.sizes(BATCHING) == (1,)


def test_larger_limits_are_skipped_once_a_limit_was_never_reached() -> None:
    judge = ScriptedJudge(lambda plan: missed(min(plan.batch_size_max, 3)))
    search = Search(question_of(1.0, 1.0, BATCHING), judge, silent)
    sizes = [candidate.plan.batch_size_max for candidate in at(search, 1)]
    assert sizes == [1, 2, 4]
    assert judge.attempts == [1, 2, 3]
    at(search, 1)
    assert len(judge.judged) == 3


def test_a_limit_that_was_reached_or_may_have_been_does_not_end_the_list() -> None:
    for judge in (
        ScriptedJudge(lambda plan: missed(plan.batch_size_max)),
        ScriptedJudge(lambda plan: missed(None)),
    ):
        search = Search(question_of(1.0, 1.0, BATCHING), judge, silent)
        assert [candidate.plan.batch_size_max for candidate in at(search, 1)] == [1, 2, 4, 8]


@pytest.mark.parametrize("wait_s", [0.0, 0.8])
@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize("engine", [run, kernel.run])
def test_a_limit_that_is_never_reached_makes_no_difference(engine, routing, wait_s) -> None:
    """Why skipping is right: the same requests meet the same fate, to the last bit."""
    draws = draw(Workload(arrival_rate_rps=1.2), 2000, Seed(value=2))
    plan = BatchPlan(
        profile="made-up", replicas=2, batch_size_max=40, batch_wait_max_s=wait_s, routing=routing
    )
    small = engine(plan, ExponentialTimes(1.0), draws)
    largest = int(small.batch_size.max())
    assert 2 < largest < 40
    for limit in (largest + 1, 400):
        other = engine(replace(plan, batch_size_max=limit), ExponentialTimes(1.0), draws)
        assert np.array_equal(other.started_s, small.started_s)
        assert np.array_equal(other.finished_s, small.finished_s)


def test_every_size_is_judged_at_a_count_even_after_one_is_accepted() -> None:
    search = Search(question_of(1.0, 1.0, BATCHING), ScriptedJudge(lambda plan: met()), silent)
    assert len(at(search, 2)) == 4


def test_sizes_whose_queues_would_grow_are_refused_without_a_simulation() -> None:
    """At 200 rps one replica must take batches of 4 (308 rps) or 8; batches of 2 sustain 182 rps."""
    judge = ScriptedJudge(lambda plan: missed())
    search = Search(question_of(200.0, 1.0, BATCHING), judge, silent)
    candidates = at(search, 1)
    assert [plan.batch_size_max for plan in judge.judged] == [4, 8]
    refused = [candidate.rejection for candidate in candidates[:2]]
    assert [(one.reason, one.allowed) for one in refused if one] == [(Reason.STABILITY, 1.0)] * 2
    assert [one.needed for one in refused if one] == pytest.approx([2.0, 1.1])
    assert search.devices_min(search.question.families[0]) == 1


def test_a_better_judgement_replaces_what_was_found() -> None:
    search = Search(question_of(1.0, 1.0, BATCHING), ScriptedJudge(lambda plan: met()), silent)
    before = at(search, 2)
    search.update(replace(before[1], verdict=Verdict.MISSED))
    assert [candidate.accepted for candidate in at(search, 2)] == [True, False, True, True]
    assert [candidate.plan for candidate in at(search, 2)] == [candidate.plan for candidate in before]


@pytest.mark.parametrize("fields", [{"replicas_max": 0}, {"batch_size_limit": 0}])
def test_a_question_without_candidates_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(DomainError, match="must be .* got 0"):
        question_of(1.0, 1.0, **fields)


def proposal_of(profile: ServiceProfile, rate_rps: float, plan: BatchPlan, limit_s: float = 1.0) -> Scenario:
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=GammaArrivals(cv=1.0))  # no law is asked
    return Scenario(profile=profile, workload=workload, plan=plan, objective=p99(limit_s))


HEAVY_TAILED = ServiceProfile(
    name="made-up",
    timings=(
        BatchTiming(batch_size=1, samples_s=(0.1,) * 90 + (0.5,) * 10),
        BatchTiming(batch_size=2, samples_s=(0.2,) * 100),
        BatchTiming(batch_size=4, samples_s=(0.4,) * 100),
    ),
    request_overhead_s=0.01,
)


def test_service_floor_is_that_of_the_fastest_batch_which_need_not_be_1() -> None:
    """P99 of a batch of 1 is 0.5 s, of 2 it is 0.2 s; the overhead of 10 ms comes on top."""
    rejection = refuse_batch_size(HEAVY_TAILED, p99(0.3), 1)
    assert rejection == Rejection.of(promise(0.3), pytest.approx(0.51), Reason.SERVICE_FLOOR)
    assert refuse_batch_size(HEAVY_TAILED, p99(0.3), 2) is None
    assert refuse_batch_size(HEAVY_TAILED, p99(0.3), 4) is None
    rejection = refuse_batch_size(HEAVY_TAILED, p99(0.205), 4)
    assert rejection.needed == pytest.approx(0.21)


def test_service_floor_names_the_limit_that_is_farthest_out_of_reach() -> None:
    objective = Objective.of(response={0.5: 0.05, 0.99: 0.4})
    rejection = refuse_batch_size(HEAVY_TAILED, objective, 1)
    assert (rejection.quantile, rejection.allowed) == (0.5, 0.05)
    assert rejection.needed == pytest.approx(0.11)


def test_an_objective_on_the_floor_is_not_refused() -> None:
    floor_s = HEAVY_TAILED.service_floor_s(0.99, 2)
    assert refuse_batch_size(HEAVY_TAILED, p99(floor_s), 2) is None
    assert refuse_batch_size(HEAVY_TAILED, p99(math.nextafter(floor_s, 0.0)), 2) is not None


def test_batches_beyond_the_profile_are_refused() -> None:
    rejection = refuse_batch_size(BATCHING, p99(1.0), 9)
    assert rejection == Rejection(reason=Reason.PROFILE_RANGE, allowed=8, needed=9)
    search = Search(question_of(1.0, 1.0, BATCHING, batch_size_limit=9), ExactJudge(), silent)
    assert [one.plan.batch_size_max for one in search.at(search.question.families[0], 1)] == [1, 2, 4, 8]
    assert list(search.floors.candidates) == [("made-up", 9)]


def test_stability_counts_full_batches_and_not_the_best_throughput() -> None:
    """Batches of 2 give 40 rps where single requests give 100; a long queue fills the batch."""
    profile = profile_of({1: 0.01, 2: 0.05})
    plan = BatchPlan(profile="made-up", replicas=3, batch_size_max=2)
    assert sustainable_rate_rps(profile, plan) == pytest.approx(120.0)
    assert load(profile, 60.0, plan) == pytest.approx(0.5)
    assert refuse_load(proposal_of(profile, 119.0, plan)) is None
    rejection = refuse_load(proposal_of(profile, 150.0, plan))
    assert rejection == Rejection(reason=Reason.STABILITY, allowed=1.0, needed=pytest.approx(1.25))


def test_a_load_of_1_is_refused() -> None:
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=1)
    rejection = refuse_load(proposal_of(SINGLE, 200.0, plan))
    assert rejection.needed == 1.0


@laws_hold
@given(st.floats(1e-3, 1e6), st.floats(1e-5, 10.0), st.integers(1, 8))
def test_fewest_stable_replicas(rate_rps: float, mean_s: float, batch_size: int) -> None:
    assume(rate_rps * mean_s < 1e6)
    profile = profile_of({1: mean_s, 8: 3.0 * mean_s})
    replicas = replicas_stable_min(profile, rate_rps, profile.throughput_rps(batch_size))
    plan = BatchPlan(profile="made-up", replicas=replicas, batch_size_max=batch_size)
    assert load(profile, rate_rps, plan) < 1.0
    if replicas > 1:
        assert load(profile, rate_rps, replace(plan, replicas=replicas - 1)) >= 1.0 - 1e-12


def test_a_profile_must_know_batches_of_one() -> None:
    require_batch_of_one(BATCHING)
    with pytest.raises(DomainError, match=r"starts at batch size 2.*measure batch size 1 too"):
        require_batch_of_one(profile_of({2: 0.01, 4: 0.02}))


@pytest.mark.parametrize("replicas", [1, 3, 12])
@pytest.mark.parametrize("limit_s", [0.047, 0.06, 0.3])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_headroom_is_the_root_of_the_exact_law(replicas: int, limit_s: float, share: float) -> None:
    """From today's rate, a share of the largest one; found to the stated resolution and never beyond."""
    stable_rps = replicas / MEAN_S
    exact_rps = brentq(lambda rate: exact_p99_s(rate, replicas) - limit_s, 1e-6, stable_rps * (1 - 1e-9))
    plan = BatchPlan(profile="made-up", replicas=replicas, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    scenario = proposal_of(SINGLE, share * exact_rps, plan, limit_s)
    found_rps = find_headroom(scenario, ExactJudge(), silent).accepted_rps
    assert found_rps <= exact_rps * (1.0 + 1e-9)
    assert found_rps * (1.0 + _RESOLUTION) >= exact_rps * (1.0 - 1e-9)


def test_headroom_ends_where_the_queues_would_grow() -> None:
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=1)
    judge = ScriptedJudge(lambda plan: met())
    judge.accepts = lambda *_: met()
    found_rps = find_headroom(proposal_of(SINGLE, 50.0, plan), judge, silent).accepted_rps
    assert 200.0 / (1.0 + _RESOLUTION) <= found_rps < 200.0


def test_headroom_ends_at_the_first_refusal_above_todays_rate() -> None:
    """With a batch wait the accepted rates may have a gap; what lies beyond it is not promised."""
    tried: list[float] = []

    def accepts(scenario: Scenario, effort: int, requests_max: int, likely: object) -> Candidate:
        rate_rps = scenario.workload.arrival_rate_rps
        tried.append(rate_rps)
        return in_doubt() if 105.0 < rate_rps < 140.0 else met()

    judge = ScriptedJudge(lambda plan: met())
    judge.accepts = accepts
    judge.probe = lambda scenario, requests_max=None: accepts(scenario, 1, 0, None)
    plan = BatchPlan(profile="made-up", replicas=4, batch_size_max=4, batch_wait_max_s=0.002)
    found_rps = find_headroom(proposal_of(BATCHING, 100.0, plan), judge, silent).accepted_rps
    assert 105.0 / (1.0 + _RESOLUTION) <= found_rps <= 105.0
    assert min(tried) > 100.0


def test_headroom_of_a_plan_at_its_end_is_todays_rate() -> None:
    judge = ScriptedJudge(lambda plan: met())
    judge.accepts = lambda *_: missed()
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=1)
    assert find_headroom(proposal_of(SINGLE, 50.0, plan), judge, silent).accepted_rps == 50.0


def test_headroom_asks_the_law_where_there_is_one() -> None:
    """Deterministic batches behind random routing: the end is the law's, and nothing is simulated."""
    plan = BatchPlan(profile="made-up", replicas=3, batch_size_max=4, routing=Routing.RANDOM)
    scenario = Scenario(
        profile=BATCHING, workload=Workload(arrival_rate_rps=200.0), plan=plan, objective=p99(0.05)
    )
    found_rps = find_headroom(scenario, ScriptedJudge(lambda plan: missed()), silent).accepted_rps

    def beyond_s(rate_rps: float) -> float:
        candidate = judge_exactly(scenario.at_rate(rate_rps))
        return candidate.performance.response_quantiles_s[0.99].value - 0.05

    end_rps = brentq(beyond_s, 200.0, 900.0, rtol=1e-9)
    assert found_rps <= end_rps <= found_rps * (1.0 + _RESOLUTION)


class RatesJudge:
    """Accepts up to a rate, leaves open what follows, and refuses from another one on."""

    def __init__(self, accepted_rps: float, refused_rps: float, doubt: Doubt | None = None) -> None:
        self.accepted_rps, self.refused_rps, self.doubt = accepted_rps, refused_rps, doubt
        self.rates_rps: list[float] = []

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        assert isinstance(scenario.workload, Workload)
        rate_rps = scenario.workload.arrival_rate_rps
        self.rates_rps.append(rate_rps)
        if rate_rps <= self.accepted_rps:
            return Candidate(plan=scenario.plan, verdict=Verdict.MET)
        if rate_rps >= self.refused_rps:
            return Candidate(plan=scenario.plan, verdict=Verdict.MISSED)
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE, doubt=self.doubt)


def scenario_at(rate_rps: float, **fields: Any) -> Scenario:
    """One replica of 1,000 requests a second, behind arrivals without a law."""
    profile = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.001),))
    return Scenario(
        profile=profile,
        workload=Workload(
            arrival_rate_rps=rate_rps, arrivals=MmppArrivals(ratio=2.0, burst_mean_s=1.0, calm_mean_s=1.0)
        ),
        plan=BatchPlan(profile="p", replicas=1, batch_size_max=1, **fields),
        objective=Objective.of(response={0.9: 1.0}),
    )


def test_headroom_rises_by_doubled_steps_and_halves_in_on_both_ends() -> None:
    judge, told = RatesJudge(113.0, 126.0), []
    found = find_headroom(scenario_at(100.0), judge, told.append)
    assert judge.rates_rps[:5] == pytest.approx([125.0, 112.5, 118.75, 115.625, 114.0625])
    assert (found.today_rps, found.doubt) == (100.0, Doubt.REQUESTS)
    assert 113.0 / (1.0 + _RESOLUTION) <= found.accepted_rps <= 113.0
    assert 126.0 <= found.refused_rps <= 126.0 * 1.01
    assert (125.0 + 1000.0) / 2.0 in judge.rates_rps
    assert told[0] == "headroom: trying 125 rps"


def test_what_no_budget_settles_is_the_doubt_that_is_told() -> None:
    for doubt, told in ((Doubt.PROFILE, Doubt.PROFILE), (Doubt.MARGIN, Doubt.MARGIN), (None, Doubt.REQUESTS)):
        judge = RatesJudge(101.0, 120.0, doubt)
        assert find_headroom(scenario_at(100.0), judge, silent).doubt is told
    settled = find_headroom(scenario_at(100.0), RatesJudge(150.0, 150.0), silent)
    assert settled.doubt is None
    assert settled.refused_rps <= settled.accepted_rps * 1.01


def test_a_limited_queue_may_lose_what_the_objective_allows() -> None:
    """Of 1,000 requests a second, a tenth may be lost: 1,111 may come."""
    unlimited = find_headroom(scenario_at(900.0), RatesJudge(9e9, 9e9), silent)
    assert unlimited.refused_rps == pytest.approx(1000.0)
    limited = find_headroom(scenario_at(900.0, queue_limit=5), RatesJudge(9e9, 9e9), silent)
    assert limited.refused_rps == pytest.approx(1000.0 / 0.9)


def test_a_plan_in_a_few_words() -> None:
    plan = BatchPlan(profile="p", replicas=1, batch_size_max=8)
    assert describe(plan) == "1 replica of p, batch 8, round-robin"
    waiting = BatchPlan(
        profile="p", replicas=2, batch_size_max=8, batch_wait_max_s=0.0025, routing=Routing.RANDOM
    )
    assert describe(waiting) == "2 replicas of p, batch 8, wait 2.5 ms, random"


def test_what_is_left_in_an_event_is_refused_as_survival_unless_the_budget_ended() -> None:
    plan = BatchPlan(profile="p", replicas=2, batch_size_max=8)
    for limit, told in ((Reason.LATENCY, Reason.SURVIVAL), (Reason.BUDGET, Reason.BUDGET)):
        left = Candidate(
            plan=ANY_PLAN, verdict=Verdict.MISSED, rejection=Rejection(reason=limit, allowed=1.0, needed=2.0)
        )
        found = survival_candidate(plan, "1 replica gone", left)
        assert (found.plan, found.rejection.reason, found.rejection.event) == (plan, told, "1 replica gone")
        assert found.rejection.needed == 2.0
    nothing = survival_candidate(plan, "1 replica gone", Candidate(plan=ANY_PLAN, verdict=Verdict.MISSED))
    assert (nothing.plan, nothing.rejection) == (plan, None)
