"""The same plan at other rates, and without one of its replicas."""

from dataclasses import replace
from typing import Any, cast

import pytest
from questions import batch_question

from capacity.explanation.nearby import one_lost, performance_at_rates
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.search.certificate import Trial, certify
from capacity.search.recommendation import Certificate, Survived
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import sustainable_rate_rps
from capacity.traffic.workload import ClosedPopulation, PoissonArrivals, Workload

PROFILE = ServiceProfile(
    name="p",
    timings=tuple(BatchTiming(batch_size=n, mean_s=t) for n, t in ((1, 0.005), (2, 0.007), (4, 0.01))),
)
PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=4)


def question(rate_rps: float = 500.0, limit_s: float = 0.03) -> Question:
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=PoissonArrivals())
    return batch_question(
        profiles=(PROFILE,), workload=workload, objective=Objective.of(response={0.99: limit_s})
    )


def certified(asked: Question, plan: BatchPlan = PLAN) -> Trial:
    """By its exact law, so that no judge is asked."""
    judge: Any = None
    return certify(asked, judge, plan, Certificate(), lambda _: None)


def rates(asked: Question) -> tuple[tuple[float, Candidate], ...]:
    judge: Any = None
    return performance_at_rates(asked, certified(asked).whole, judge, lambda _: None)


def p99_s(one: Candidate) -> float:
    return one.performance.response_quantiles_s[0.99].value


def test_rates_rise_to_the_second_refusal_and_hold_todays_own() -> None:
    asked = question()
    found = rates(asked)
    rates_rps = [rate_rps for rate_rps, _ in found]
    assert rates_rps == sorted(rates_rps)
    assert dict(found)[500.0] == certified(asked).whole
    verdicts = [one.verdict for _, one in found]
    assert verdicts == sorted(verdicts, key=[Verdict.MET, Verdict.MISSED].index)
    assert verdicts.count(Verdict.MISSED) == 2
    values = [p99_s(one) for _, one in found]
    assert values == sorted(values)


def test_a_rate_beside_todays_is_not_tried_twice() -> None:
    wall_rps = sustainable_rate_rps(PROFILE, PLAN)
    asked = question(0.5 * wall_rps * 1.01, limit_s=1.0)
    near = [rate_rps for rate_rps, _ in rates(asked) if abs(rate_rps / wall_rps - 0.5) < 0.03]
    assert near == [0.5 * wall_rps * 1.01]


def test_eleven_loads_are_tried_except_within_3_percent_of_todays() -> None:
    wall_rps = sustainable_rate_rps(PROFILE, PLAN)
    loads = [0.02, 0.2, 0.35, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9, 0.94, 0.97]
    for beside, tried in ((1.031, loads), (1.029, [load for load in loads if load != 0.5])):
        today_rps = 0.5 * wall_rps / beside
        found = [rate_rps / wall_rps for rate_rps, _ in rates(question(today_rps, limit_s=1.0))]
        assert found == pytest.approx(sorted([*tried, 0.5 / beside]))


def test_refusals_below_todays_rate_do_not_end_the_trials() -> None:
    """With a batch wait, low rates may be late; two refusals above today's rate end the trials."""

    class ByRate:
        def accepts(
            self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
        ) -> Candidate:
            share = scenario.workload.arrival_rate_rps / sustainable_rate_rps(PROFILE, PLAN)
            verdict = Verdict.MET if 0.3 < share < 0.8 else Verdict.MISSED
            return Candidate(plan=scenario.plan, verdict=verdict)

    plan = replace(PLAN, routing=Routing.LEAST_OUTSTANDING)  # has no exact law, so the judge is asked
    wall_rps = sustainable_rate_rps(PROFILE, plan)
    asked, told = question(0.55 * wall_rps), list[str]()
    today = Candidate(plan=plan, verdict=Verdict.MET)
    found = performance_at_rates(asked, today, cast(Any, ByRate()), told.append)
    shares = [rate_rps / wall_rps for rate_rps, _ in found]
    assert shares == pytest.approx([0.02, 0.2, 0.35, 0.5, 0.55, 0.6, 0.7, 0.78, 0.85, 0.9])
    assert f"simulating {0.02 * wall_rps:.4g} rps" in told


def test_users_have_no_rate() -> None:
    asked = replace(question(), workload=ClosedPopulation(users=3, think_time_s=1.0))
    judge: Any = None
    whole = Candidate(plan=PLAN, verdict=Verdict.MET)
    assert performance_at_rates(asked, whole, judge, lambda _: None) == ()


def test_one_replica_lost_is_the_plan_without_it() -> None:
    judge: Any = None
    asked = question(300.0)
    left = one_lost(asked, certified(asked), judge, lambda _: None)
    assert left.plan == replace(PLAN, replicas=1)
    assert p99_s(left) == p99_s(certified(asked, left.plan).whole) > p99_s(certified(asked).whole)
    assert one_lost(asked, certified(asked, left.plan), judge, lambda _: None) is None


def test_a_loss_that_the_certificate_covers_is_not_simulated_again() -> None:
    judge: Any = None
    asked = question(300.0)
    trial, left = certified(asked), replace(PLAN, replicas=1)
    assert trial.whole.performance is not None
    seen = replace(trial.whole.performance, load=0.125)
    other = Survived(event="a spike", plan=PLAN, performance=trial.whole.performance)
    lost = Survived(event="1 replica gone", plan=left, performance=seen)
    found = one_lost(asked, replace(trial, survived=(other, lost)), judge, lambda _: None)
    assert found == Candidate(plan=left, verdict=Verdict.MET, performance=seen)


@pytest.mark.parametrize("rate_rps", [500.0, 790.0])
def test_what_is_left_may_be_unstable(rate_rps: float) -> None:
    judge: Any = None
    asked = question(rate_rps, limit_s=1.0)
    left = one_lost(asked, certified(asked), judge, lambda _: None)
    assert (left.verdict, left.performance) == (Verdict.MISSED, None)
