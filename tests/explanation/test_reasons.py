"""Explanations: every number against exact laws, doubts as doubts, sentences and JSON."""

import json
from dataclasses import replace
from functools import cache

import pytest
from questions import batch_question
from scipy.optimize import brentq
from test_max_rate import NoJudge, silent
from test_what_if import law_s, plan_of, question_of

from capacity.answer.documents import dumps, explanation_document
from capacity.explanation.explanation import Explanation, explain_plan
from capacity.explanation.savings import Lever
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Measure
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario
from capacity.render.explanation import sections
from capacity.search.what_if import burstier, with_demand, with_limits, with_service
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import load
from capacity.traffic.workload import ClosedPopulation, GammaArrivals, TraceArrivals, Workload
from simulations.judge import SimulationJudge


class Routed(NoJudge):
    """Knows what routers that look at queues would do: a share of what round-robin takes; NaN is doubt."""

    def __init__(self, **shares: float) -> None:
        self.shares = {Routing(name.replace("_", "-")): share for name, share in shares.items()}

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return self.accepts(scenario)

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        share = self.shares.get(scenario.plan.routing, 1.0)
        assert isinstance(scenario.workload, Workload)
        cv = scenario.workload.arrivals.cv if isinstance(scenario.workload.arrivals, GammaArrivals) else 1.0
        if share != share:
            rejection = Rejection(reason=Reason.BUDGET, allowed=10.0, needed=20.0)
            return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE, rejection=rejection)
        question = batch_question(
            profiles=(scenario.profile,), workload=scenario.workload, objective=scenario.objective
        )
        rho = load(scenario.profile, scenario.workload.arrival_rate_rps, scenario.plan)
        like = replace(scenario.plan, routing=Routing.ROUND_ROBIN)
        value_s = share * cv * (law_s(question, like) if rho < 0.998 else 100.0)
        (limit_s,) = scenario.objective.by_quantile(Measure.RESPONSE).values()
        performance = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval.exact(value_s)})
        if value_s <= limit_s:
            return Candidate(plan=scenario.plan, verdict=Verdict.MET, rejection=None, performance=performance)
        promise = scenario.objective.limits[0]
        return Candidate(
            plan=scenario.plan,
            verdict=Verdict.MISSED,
            rejection=Rejection.of(promise, value_s),
            performance=performance,
        )


NONE_BETTER = Routed()


@cache
def explained(question: Question, plan: BatchPlan, judge: NoJudge = NONE_BETTER) -> Explanation:
    return explain_plan(question, plan, judge, silent)


def told(explanation: Explanation) -> dict[str, str]:
    return {title: " ".join(sentences) for title, sentences in sections(explanation)}


@cache
def fewest(question: Question, batch_size_max: int = 8) -> int:
    (limit_s,) = question.objective.by_quantile(Measure.RESPONSE).values()
    return next(n for n in range(1, 60) if law_s(question, plan_of(n, batch_size_max)) <= limit_s)


def test_sensitivities_are_those_of_the_law() -> None:
    limit_s = 0.026
    question = question_of(1800.0, limit_s)
    plan = plan_of(fewest(question))
    explanation = explained(question, plan)
    variants = [
        with_demand(question, 1.1), with_demand(question, 0.9),
        with_service(question, 1.1), with_service(question, 0.9),
    ]  # fmt: skip
    base_s = law_s(question, plan)
    shifts = []
    for change, variant in zip(explanation.sensitivities, variants, strict=False):
        performance = change.candidate.performance
        assert performance.response_quantiles_s[0.99].value == pytest.approx(law_s(variant, plan), rel=1e-9)
        assert change.candidate.accepted is (law_s(variant, plan) <= limit_s)
        assert change.replicas == fewest(variant)
        assert change.shift == pytest.approx(law_s(variant, plan) / base_s - 1.0, rel=1e-9)
        shifts.append(abs(change.shift or 0.0))
    *_, bursty = explanation.sensitivities
    assert (bursty.what, bursty.step) == ("cv", 0.5)
    assert burstier(question.workload, 1.5) == replace(question.workload, arrivals=GammaArrivals(cv=1.5))
    assert bursty.shift_per_step == pytest.approx(0.1, rel=1e-9)  # 50 % more of both, by this judge
    most = explanation.most_sensitive
    assert most.shift_per_step == max(*shifts, bursty.shift_per_step)


@pytest.mark.long
@pytest.mark.parametrize(("rate_rps", "limit_s"), [(1800.0, 0.026), (900.0, 0.016)])
def test_the_least_that_saves_one_is_the_root_of_the_law(rate_rps, limit_s) -> None:
    question = question_of(rate_rps, limit_s)
    plan = plan_of(fewest(question))
    explanation = explained(question, plan)
    savings = {one.lever: one for one in explanation.savings}
    assert Lever.ROUTING not in savings
    less = plan_of(plan.replicas - 1)
    nearest = explanation.nearest
    assert nearest.plan == less

    def excess(variant: Question) -> float:
        (allowed_s,) = variant.objective.by_quantile(Measure.RESPONSE).values()
        return min(law_s(variant, less), 10.0) - allowed_s

    truths = {
        Lever.SERVICE: brentq(lambda x: excess(with_service(question, 1.0 - x)), 0.0, 0.64),
        Lever.DEMAND: brentq(lambda x: excess(with_demand(question, 1.0 - x)), 0.0, 0.64),
    }
    if law_s(question, less) < 10.0:
        truths[Lever.LIMIT] = brentq(lambda x: excess(with_limits(question, 1.0 + x)), 0.0, 1e4)
    for lever, truth in truths.items():
        if lever is Lever.LIMIT and truth > 2.5:
            continue
        saving = savings[lever]
        assert saving.share is not None
        assert saving.refused <= truth <= saving.share <= saving.refused + 0.01 + 1e-12
        assert saving.plan == less
        assert saving.hourly_usd == 2.0
    best = explanation.best_saving
    assert best.share == min(one.share for one in savings.values() if one.share is not None)


@pytest.mark.long
def test_the_least_is_sought_for_other_batches_than_the_nearest_too() -> None:
    """When one of two is gone batches of two are unstable, and yet they come nearest while both are there."""
    question = replace(question_of(600.0, 0.030), survival=Survival(spare=1))
    explanation = explained(question, plan_of(3))
    assert explanation.nearest.plan.batch_size_max == 2
    left = plan_of(1)
    truth = brentq(lambda x: law_s(with_service(question, 1.0 - x), left) - 0.030, 0.0, 0.5)
    (saving,) = [one for one in explanation.savings if one.lever is Lever.SERVICE]
    assert saving.plan == plan_of(2)
    assert saving.share is not None
    assert truth <= saving.share <= truth + 0.01
    assert Lever.LIMIT in {one.lever for one in explanation.savings}


def test_one_fewer_is_told_for_every_batch_size() -> None:
    question = question_of(1800.0, 0.026)
    plan = plan_of(fewest(question))
    explanation = explained(question, plan)
    assert [one.plan.batch_size_max for one in explanation.fewer] == [1, 2, 4, 8]
    assert {one.plan.replicas for one in explanation.fewer} == {plan.replicas - 1}
    for one in explanation.fewer:
        assert one.accepted is (law_s(question, one.plan) <= 0.026)
        if one.performance is None:
            assert one.rejection.reason is Reason.STABILITY
    text = told(explanation)["Why one fewer is not enough"]
    assert "% over the limit" in text
    assert "is above 26 ms" in text


def test_recorded_arrivals_are_told_with_their_dispersion() -> None:
    """Ten arrivals at once every second: windows of ten seconds all hold a hundred."""
    instants = tuple(float(second) + 1e-4 * i for second in range(400) for i in range(10))
    trace = TraceArrivals(instants_s=instants)
    question = replace(question_of(1800.0, 0.026), workload=Workload(arrival_rate_rps=900.0, arrivals=trace))
    explanation = explained(question, plan_of(3))
    burst = explanation.binding.burst
    assert burst.cv == pytest.approx(3.0, rel=0.01)
    assert burst.dispersion == pytest.approx(0.0, abs=0.01)
    assert "counts in" in told(explanation)["What limits the plan"]
    chosen = {one.what: one for one in explanation.assumptions}["the choice"]
    assert not chosen.checked  # there is one path only
    assert "the same trace" in chosen.how


def test_doubts_are_told_as_doubts_and_save_nothing() -> None:
    question = question_of(1800.0, 0.026)
    nan = float("nan")
    doubtful = Routed(shared_queue=nan, least_outstanding=nan, power_of_two=nan)
    explanation = explained(question, plan_of(fewest(question)), doubtful)
    assert Lever.ROUTING not in {one.lever for one in explanation.savings}
    plan = plan_of(3, routing=Routing.SHARED_QUEUE)
    doubt = explained(question, plan, doubtful)
    assert doubt.binding is None
    assert "undecided" in told(doubt)["What limits the plan"]
    assert doubt.savings == ()
    assert "No single change" in told(doubt)["What would save most"]
    assert doubt.most_sensitive is None
    json.loads(dumps(explanation_document(doubt)))


def test_precision_and_certificate_are_said_to_be_checked_only_where_they_were() -> None:
    question, plan = question_of(1800.0, 0.026), plan_of(9, routing=Routing.SHARED_QUEUE)
    wide = Performance(
        kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval(value=0.02, low=0.018, high=0.022)}
    )
    certified = explain_plan(question, plan, NONE_BETTER, silent, performance=wide, precision=0.02)
    checked = {one.what: one.checked for one in certified.assumptions}
    assert not checked["the precision"]
    assert checked["the choice"]
    plain = {one.what: one.checked for one in explained(question, plan).assumptions}
    assert plain["the precision"]
    assert not plain["the choice"]


def test_a_simulated_plan_is_explained_with_intervals_and_strict_json() -> None:
    timings = tuple(
        BatchTiming(batch_size=size, samples_s=tuple(mean_s * x for x in (0.9, 0.95, 1.0, 1.05, 1.1)))
        for size, mean_s in {1: 0.005, 4: 0.008}.items()
    )
    profile = ServiceProfile(name="made-up", timings=timings, hourly_usd=2.0)
    question = replace(question_of(1200.0, 0.025), profiles=(profile,))
    plan = plan_of(3, 4)
    explanation = explain_plan(question, plan, SimulationJudge(requests_max=3_000_000), silent)
    assert explanation.requests > 0
    document = json.loads(dumps(explanation_document(explanation)))
    assert list(document["binding"]) == [
        *("cause", "measure", "quantile", "allowed", "found", "share", "service_floor_s", "lone_s", "wait_s"),
        *("without_batches", "load_one_fewer", "burstiness"),
    ]
    for p99 in (document["binding"]["found"], document["binding"]["wait_s"]):
        assert p99["low"] < p99["value"] < p99["known_to"]  # five samples do not bound P99
    rates = [one for one in document["sensitivities"] if one["what"] == "rate"]
    assert rates[0]["performance"]["load"] == pytest.approx(1.1 * 1200.0 * 0.008 / 12)
    assert rates[0]["shift"] > 0.0 > rates[1]["shift"]
    assert all(title and all(sentences) for title, sentences in told(explanation).items())


@pytest.mark.long
def test_users_who_take_turns_are_explained_without_a_rate() -> None:
    question = replace(question_of(), workload=ClosedPopulation(users=12, think_time_s=0.05))
    explanation = explain_plan(question, plan_of(2), SimulationJudge(requests_max=1_000_000), silent)
    assert [one.what for one in explanation.sensitivities] == [
        "users", "users", "service time", "service time",
    ]  # fmt: skip
    assert explanation.binding.load_fewer is None
    json.loads(dumps(explanation_document(explanation)))
