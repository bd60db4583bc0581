"""What each choice that was not made would take: the fleets that a plan for it alone finds, and their order."""

from dataclasses import replace

import pytest
from test_plan_decision import BATCHING, MET, MISSED, ScriptedJudge, in_doubt, question_of

from capacity.question.candidate import Candidate, Verdict
from capacity.question.plan import Routing
from capacity.search.plan_decision import recommend

CHEAP = replace(BATCHING, name="cheap", hourly_usd=1.0)
FAST = replace(BATCHING, name="fast", hourly_usd=5.0)
ODD = replace(BATCHING, name="odd", hourly_usd=2.0)
ENOUGH = {"cheap": 3, "fast": 2, "odd": 4}


def judge(plan) -> Candidate:
    return replace(MET if plan.replicas >= ENOUGH[plan.profile] else MISSED, requests=1)


def question(**fields):
    asked = replace(question_of(CHEAP, batch_waits_s=(0.0,)), profiles=(CHEAP, FAST, ODD))
    return replace(asked, **fields)


def found(**fields):
    answer = recommend(question(**fields), ScriptedJudge(judge))
    return answer, [(one.plan.profile, one.plan.replicas, one.verdict) for one in answer.alternatives]


def test_each_profile_that_was_not_chosen_has_its_own_fleet_the_cheapest_first() -> None:
    answer, others = found()
    assert (answer.plan.profile, answer.plan.replicas) == ("cheap", 3)
    assert others == [("odd", 4, Verdict.MET), ("fast", 2, Verdict.MET)]


def test_each_is_what_a_plan_for_it_alone_finds() -> None:
    _, others = found()
    for name, replicas, _ in others:
        (profile,) = [one for one in (FAST, ODD) if one.name == name]
        alone = recommend(question(profiles=(profile,)), ScriptedJudge(judge))
        assert alone.plan.replicas == replicas


def test_a_profile_that_is_never_enough_comes_last_with_its_refusal() -> None:
    _, others = found(replicas_max=3)
    assert others == [("fast", 2, Verdict.MET), ("odd", others[1][1], Verdict.MISSED)]


def test_each_other_routing_of_the_profile_is_an_alternative() -> None:
    answer = recommend(
        question(profiles=(CHEAP,), routings=(Routing.ROUND_ROBIN, Routing.LEAST_OUTSTANDING)),
        ScriptedJudge(judge),
    )
    (other,) = answer.alternatives
    assert {other.plan.routing, answer.plan.routing} == {Routing.ROUND_ROBIN, Routing.LEAST_OUTSTANDING}


def test_one_profile_behind_one_router_has_none() -> None:
    answer, others = found(profiles=(CHEAP,))
    assert answer.plan.replicas == 3
    assert others == []


def test_what_the_search_knows_is_not_simulated_again() -> None:
    asked: list[tuple[str, int, int]] = []

    def once(plan) -> Candidate:
        if plan.profile == "odd":
            asked.append((plan.profile, plan.replicas, plan.batch_size_max))
        return judge(plan)

    recommend(question(), ScriptedJudge(once))
    assert len(asked) == len(set(asked))


def test_a_doubt_of_the_search_is_looked_at_once_more() -> None:
    """What is aside of the plan has a budget of its own, which may settle it."""
    verdicts = iter((in_doubt(), replace(MISSED, requests=1)))

    def once(plan) -> Candidate:
        is_open = (plan.profile, plan.replicas, plan.batch_size_max) == ("odd", 1, 1)
        return next(verdicts, MISSED) if is_open else judge(plan)

    answer = recommend(question(), ScriptedJudge(once))
    assert next(verdicts, None) is None
    assert [one.plan.profile for one in answer.alternatives] == ["odd", "fast"]


def test_choices_beyond_a_dozen_are_noted_as_not_tried() -> None:
    many = [replace(BATCHING, name=f"p{number}", hourly_usd=2.0 + number) for number in range(14)]
    ENOUGH.update({one.name: 5 for one in many})
    tried = set[str]()

    def noted(plan) -> Candidate:
        tried.add(plan.profile)
        return judge(plan)

    answer = recommend(question(profiles=(CHEAP, *many)), ScriptedJudge(noted))
    assert len(answer.alternatives) == 12
    assert [one.profile for one in answer.untried] == ["p12", "p13"]
    assert not tried & {one.profile for one in answer.untried}


def test_a_listed_wait_that_was_not_tried_is_noted_with_its_wait() -> None:
    """Batches of one request have no wait, and the plan that stands for the choice is not one of these."""
    waits = tuple(0.001 * number for number in range(15))
    asked = replace(question_of(CHEAP, batch_waits_s=waits, batch_size_limit=2), profiles=(CHEAP,))
    answer = recommend(asked, ScriptedJudge(lambda plan: judge(plan) if plan.batch_size_max > 1 else MISSED))
    assert [one.batch_wait_max_s for one in answer.untried] == [
        wait for wait in waits if wait != answer.plan.batch_wait_max_s
    ][12:]


@pytest.mark.parametrize("waits", [(0.0, 0.002), (0.0, 0.002, 0.004)])
def test_each_listed_wait_that_was_not_chosen_is_an_alternative(waits: tuple[float, ...]) -> None:
    asked = replace(question_of(CHEAP, batch_waits_s=waits, batch_size_limit=2), profiles=(CHEAP,))
    answer = recommend(asked, ScriptedJudge(lambda plan: judge(plan) if plan.batch_size_max > 1 else MISSED))
    others = {one.plan.batch_wait_max_s for one in answer.alternatives}
    assert others | {answer.plan.batch_wait_max_s} == set(waits)
