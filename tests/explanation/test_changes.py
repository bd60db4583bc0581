"""What a change does to a plan, and the smallest change that saves a device, with answers by a rule."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from asked import asker
from questions import batch_question, varied

from capacity.explanation.explanation import most_sensitive, sensitivities
from capacity.explanation.savings import Lever, Saving, best_saving, find_savings, nearest, one_fewer
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Measure, Objective
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.search.recommendation import Change
from capacity.search.what_if import neighbours
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Workload

PROFILE = ServiceProfile(
    name="p", timings=tuple(BatchTiming(batch_size=n, mean_s=0.01) for n in (1, 2, 4, 8)), hourly_usd=0.5
)
PLAN = BatchPlan(profile="p", replicas=3, batch_size_max=4)
QUESTION = batch_question(
    profiles=(PROFILE,),
    workload=Workload(arrival_rate_rps=100.0),
    objective=Objective.of(response={0.99: 0.1}),
)


def judged(plan: BatchPlan, p99_s: float | None, *, accepted: bool = True) -> Candidate:
    performance = None
    if p99_s is not None:
        performance = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval.exact(p99_s)})
    verdict = Verdict.MET if accepted else Verdict.MISSED
    return Candidate(plan=plan, verdict=verdict, performance=performance)


def rate_of(question: Question) -> float:
    assert isinstance(question.workload, Workload)
    return question.workload.arrival_rate_rps


def changes(
    rule: Callable[[Question, BatchPlan], Candidate], base: Candidate, asked: Question = QUESTION
) -> Any:
    judge = asker(rule)
    return list(sensitivities(judge, asked, PLAN, base)), judge.seen


def test_sensitivity_to_rate_service_time_and_cv() -> None:
    """The rule: P99 grows with the square of the rate."""
    base = judged(PLAN, 0.05)
    found, seen = changes(lambda asked, plan: judged(plan, 0.05 * (rate_of(asked) / 100.0) ** 2), base)
    told = [(one.what, one.step, one.shift, one.replicas) for one in found]
    assert told == [
        ("rate", 0.1, pytest.approx(0.21), 1),
        ("rate", -0.1, pytest.approx(-0.19), 1),
        ("service time", 0.1, pytest.approx(0.0), 1),
        ("service time", -0.1, pytest.approx(0.0), 1),
        ("cv", 0.5, pytest.approx(0.0), 1),
    ]
    assert [what for what, plan in seen if plan == PLAN] == [
        "rate +10 %", "rate -10 %", "service time +10 %", "service time -10 %", "cv +50 %"
    ]  # fmt: skip
    assert found[0].shift_per_step == pytest.approx(0.21)
    assert most_sensitive(tuple(found)) == found[0]
    users = replace(QUESTION, workload=ClosedPopulation(users=20, think_time_s=1.0))
    found, _ = changes(lambda asked, plan: judged(plan, 0.05), base, users)
    assert [one.what for one in found][:2] == ["users", "users"]


def shift(after: Candidate, before: Candidate) -> float | None:
    found, _ = changes(lambda asked, plan: after, before)
    result: float | None = found[0].shift
    return result


def test_a_shift_needs_both_values() -> None:
    base = judged(PLAN, 0.05)
    unstable = Candidate(
        plan=PLAN,
        verdict=Verdict.MISSED,
        rejection=Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.25),
    )
    doubt = Candidate(
        plan=PLAN,
        verdict=Verdict.INCONCLUSIVE,
        rejection=Rejection(reason=Reason.BUDGET, allowed=1.0, needed=2.0),
    )
    assert shift(judged(PLAN, 0.1), base) == pytest.approx(1.0)
    assert shift(unstable, base) == math.inf
    assert shift(doubt, base) is None
    assert shift(judged(PLAN, 0.1), judged(PLAN, None)) is None
    assert shift(judged(PLAN, 0.1), judged(PLAN, 0.0)) is None
    assert shift(replace(unstable, performance=judged(PLAN, 0.2).performance), base) == pytest.approx(3.0)


def test_shifts_are_compared_per_step_of_ten_percent() -> None:
    def change(shift: float | None, step: float | None) -> Change:
        return Change(what="cv", plan=PLAN, candidate=judged(PLAN, 0.05), step=step, shift=shift)

    assert change(0.25, 0.5).shift_per_step == pytest.approx(0.05)
    assert change(-0.2, -0.1).shift_per_step == pytest.approx(0.2)
    for one in (change(None, 0.1), change(0.3, None), change(0.3, 0.0)):
        assert one.shift_per_step == 0.0
    assert most_sensitive(()) is None
    assert most_sensitive((change(None, 0.1), change(0.0, 0.1))) is None


def choices(plan: BatchPlan) -> list[tuple[str, int, float]]:
    judge = asker(lambda asked, plan: judged(plan, 0.05))
    found = neighbours(judge, QUESTION, plan, judged(plan, 0.05))
    return [(one.what, one.plan.batch_size_max, one.plan.batch_wait_max_s) for one in found]


def test_neighbouring_batch_sizes_and_waits() -> None:
    """The waits to try are none, half and all of the 10 ms that a batch takes."""
    waits_s, wait_s = (0.0, 0.005, 0.01), 0.005
    found = choices(replace(PLAN, batch_wait_max_s=wait_s))
    assert found == [
        ("batch size", 2, wait_s), ("batch size", 8, wait_s), ("batch wait", 4, waits_s[0]), ("batch wait", 4, waits_s[2]),
    ]  # fmt: skip
    assert [one for one in choices(replace(PLAN, batch_size_max=8)) if one[0] == "batch size"] == [
        ("batch size", 4, 0.0)
    ]
    assert choices(replace(PLAN, batch_size_max=1)) == [("batch size", 2, 0.0)]
    smaller = choices(replace(PLAN, batch_size_max=2, batch_wait_max_s=wait_s))
    assert smaller[:2] == [("batch size", 1, 0.0), ("batch size", 4, wait_s)]
    assert ("batch size", 4, 0.0) in choices(replace(PLAN, batch_size_max=3))


LESS = judged(replace(PLAN, replicas=2), 0.2, accepted=False)


def savings(rule: Callable[[Question, BatchPlan], bool], asked: Question = QUESTION) -> dict[Lever, Saving]:
    judge = asker(lambda given, plan: judged(plan, 0.05, accepted=rule(given, plan)))
    return {one.lever: one for one in find_savings(judge, asked, PLAN, LESS)}


@pytest.mark.parametrize(
    ("least", "share", "refused"),
    [(0.005, 0.01, 0.0), (0.01, 0.01, 0.0), (0.015, 0.02, 0.01), (0.025, 0.03, 0.02), (0.075, 0.08, 0.07),
     (0.635, 0.64, 0.63)],
)  # fmt: skip
def test_the_smallest_drop_in_demand_is_found_to_one_percent(least, share, refused) -> None:
    found = savings(lambda asked, plan: rate_of(asked) <= 100.0 * (1.0 - least) + 1e-9 < 100.0)
    assert set(found) == {Lever.DEMAND}
    one = found[Lever.DEMAND]
    assert (one.share, one.refused) == (pytest.approx(share), pytest.approx(refused))
    assert (one.plan.replicas, one.hourly_usd) == (2, 0.5)


def test_larger_changes_are_not_searched() -> None:
    """At most 64 % of the demand or the service time, and 256 % of the limit."""
    assert savings(lambda asked, plan: rate_of(asked) <= 35.0) == {}

    def limit_s(asked: Question) -> float:
        return asked.objective.by_quantile(Measure.RESPONSE)[0.99]

    found = savings(lambda asked, plan: limit_s(asked) >= 0.1 * 3.55 - 1e-9)
    assert found[Lever.LIMIT].share == pytest.approx(2.55)
    assert savings(lambda asked, plan: limit_s(asked) >= 0.1 * 3.57) == {}

    def service_s(asked: Question) -> float:
        return asked.profile("p").service_mean_s(1)

    found = savings(lambda asked, plan: service_s(asked) <= 0.01 * 0.9 + 1e-12)
    assert found[Lever.SERVICE].share == pytest.approx(0.1)


def test_another_batch_size_is_chosen_where_it_needs_less() -> None:
    """The plan's own batch needs 8 %, the largest one 4 %."""

    def does(asked: Question, plan: BatchPlan) -> bool:
        return rate_of(asked) <= (96.0 if plan.batch_size_max == 8 else 92.0) + 1e-9

    one = savings(does)[Lever.DEMAND]
    assert (one.share, one.plan.batch_size_max) == (pytest.approx(0.04), 8)
    same = savings(lambda asked, plan: rate_of(asked) <= 92.0 + 1e-9)[Lever.DEMAND]
    assert same.plan.batch_size_max == 4


def test_a_routing_that_is_enough_by_itself_is_the_best_saving() -> None:
    found = savings(lambda asked, plan: plan.routing is Routing.POWER_OF_TWO or rate_of(asked) <= 99.0 + 1e-9)
    assert found[Lever.ROUTING].plan.routing is Routing.POWER_OF_TWO
    assert (found[Lever.ROUTING].share, found[Lever.ROUTING].hourly_usd) == (None, 0.5)
    assert best_saving(tuple(found.values())) == found[Lever.ROUTING]
    demand, limit = (
        Saving(lever=lever, plan=PLAN, candidate=LESS, share=share)
        for lever, share in ((Lever.DEMAND, 0.02), (Lever.LIMIT, 0.03))
    )
    assert best_saving((limit, demand)) == demand
    assert best_saving(()) is None
    assert Lever.ROUTING not in savings(lambda asked, plan: plan.routing is Routing.RANDOM)


def test_no_saving_without_a_smaller_fleet_and_no_amount_without_a_price() -> None:
    judge = asker(lambda asked, plan: judged(plan, 0.05))
    assert list(find_savings(judge, QUESTION, PLAN, None)) == []
    assert nearest([], QUESTION) is None
    free = replace(QUESTION, profiles=(replace(PROFILE, hourly_usd=None),))
    found = savings(lambda asked, plan: rate_of(asked) <= 99.0 + 1e-9, free)
    assert found[Lever.DEMAND].hourly_usd is None


def fewer(
    plan: BatchPlan, accepts_from: int, profile: ServiceProfile = PROFILE
) -> list[tuple[int, int, float]]:
    judge = asker(lambda asked, plan: judged(plan, 0.05, accepted=plan.batch_size_max >= accepts_from))
    found = one_fewer(judge, replace(QUESTION, profiles=(profile,)), plan)
    return [(one.plan.replicas, one.plan.batch_size_max, one.plan.batch_wait_max_s) for one in found]


def test_one_device_fewer_is_tried_with_each_batch_size() -> None:
    """Sizes above the plan's own are tried only until one is accepted; a batch of one does not wait."""
    waits = replace(PLAN, batch_wait_max_s=0.002)
    assert fewer(waits, 99) == [(2, 1, 0.0), (2, 2, 0.002), (2, 4, 0.002), (2, 8, 0.002)]
    assert [size for _, size, _ in fewer(PLAN, 4)] == [1, 2, 4]
    assert [size for _, size, _ in fewer(PLAN, 1)] == [1, 2, 4]
    assert [size for _, size, _ in fewer(replace(PLAN, batch_size_max=3), 99)] == [1, 2, 3, 4, 8]
    assert fewer(replace(PLAN, replicas=1), 1) == []
    shared = replace(PROFILE, instances_per_device=2)
    assert fewer(replace(PLAN, replicas=2), 1, shared) == []
    assert fewer(replace(PLAN, replicas=4), 1, shared)[0][0] == 2


def test_a_routing_that_replicas_do_not_have_is_not_tried() -> None:
    """Ray Serve's batches are collected at each replica, so that no shared queue can save one."""
    batching = Batching.RAY_SERVE
    plan, less = (replace(one, batching=batching) for one in (PLAN, LESS.plan))
    judge = asker(lambda _, tried: judged(tried, 0.2, accepted=False))
    asked = varied(QUESTION, batching=batching)
    assert list(find_savings(judge, asked, plan, replace(LESS, plan=less))) == []
    tried = {one.routing for _, one in judge.seen}
    assert Routing.LEAST_OUTSTANDING in tried
    assert Routing.SHARED_QUEUE not in tried
