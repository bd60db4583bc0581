"""Plans that must recover or allow for pauses: what the search is called with, and what it may plan again."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from questions import batch_question
from stresses import PROFILE

from capacity.api import trouble
from capacity.errors import InputError
from capacity.question.budget import Effort
from capacity.question.objective import Objective
from capacity.question.question import Question
from capacity.recovery.disturbance import Disturbances, Pauses
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Demand, Workload

PLAN = BatchPlan(profile=PROFILE.name, replicas=3, batch_size_max=1)
PAUSES = Disturbances(pauses=Pauses(length_s=0.02, per_s=1.0))


def question_of(workload: Demand) -> Question:
    objective = Objective.of(response={0.9: 0.1, 0.99: 0.2})
    return batch_question(profiles=(PROFILE,), workload=workload, objective=objective, replicas_max=9)


QUESTION = question_of(Workload(arrival_rate_rps=150.0))


def work_of(told: list[str]) -> Any:
    return SimpleNamespace(
        effort=Effort(seed=5, confidence=0.9),
        mapper=map,
        judge=SimpleNamespace(saturated="saturates"),
        report=told.append,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """What the search of that name was called with; under `replanned`, each call to plan again."""

    def watched(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {"replanned": []}

        def search(*arguments: Any, **keywords: Any) -> str:
            found.update(arguments=arguments, keywords=keywords)
            return "a plan"

        def recommend(question: Any, *arguments: Any, **keywords: Any) -> str:
            found["replanned"].append((question, arguments, keywords))
            return "a recommendation"

        monkeypatch.setattr(name, search)
        monkeypatch.setattr("capacity.search.plan_decision.recommend", recommend)
        return found

    return watched


TROUBLE: Any = SimpleNamespace(
    within_s=60.0,
    replicas_min=2,
    flags=("--trigger", "lose:1,60s"),
    stress_of=lambda scenario, saturated: ("stress", scenario, saturated),
)


def test_a_plan_that_must_recover_is_searched_for(asked: Callable[[str], dict[str, Any]]) -> None:
    seen, told = asked("capacity.search.recovery_plan.plan_to_recover"), []
    found: Any = SimpleNamespace(plan=PLAN)
    work = work_of(told)
    assert trouble.plan_to_recover(QUESTION, found, TROUBLE, work) == "a plan"
    given, stress_of, within_s, judge, replan, report = seen["arguments"]
    assert (given, within_s) == (found, 60.0)
    assert stress_of(PLAN) == ("stress", QUESTION.scenario(PLAN), "saturates")
    assert (judge.seed, judge.confidence, judge.mapper) == (5, 0.9, map)
    report("words")
    assert told == ["words"]
    assert seen["keywords"] == {"replicas_min": 2, "replicas_max": 9, "flags": ("--trigger", "lose:1,60s")}
    assert replan(PLAN) == "a recommendation"
    ((question, (by, _), keywords),) = seen["replanned"]
    assert (question, by, keywords) == (
        QUESTION.for_plan(PLAN),
        work.judge,
        {"has_headroom": False, "confidence": 0.9},
    )


def test_a_plan_with_pauses_is_searched_for(monkeypatch, asked) -> None:
    seen, judged = asked("capacity.search.disturbed_plan.plan_disturbed"), []

    def simulation(**made: Any) -> Callable[..., None]:
        return lambda *given: judged.append((made, given))

    monkeypatch.setattr("simulations.disturbed.DisturbedSimulation", simulation)
    found: Any = SimpleNamespace(plan=PLAN)
    work = work_of([])
    assert trouble.plan_disturbed(QUESTION, found, PAUSES, work) == "a plan"
    given, question, disturbances, simulate, replan, _ = seen["arguments"]
    assert (given, question, disturbances) == (found, QUESTION, PAUSES)
    simulate(PLAN)
    assert judged == [
        (
            {"seed": 5, "confidence": 0.9, "mapper": map},
            (PROFILE, QUESTION.workload, PLAN, PAUSES, (0.5, 0.9, 0.99)),
        )
    ]
    replan(PLAN)
    assert seen["replanned"][0][0] == QUESTION.for_plan(PLAN)
    assert seen["replanned"][0][2] == {"has_headroom": False, "confidence": 0.9}


def test_a_closed_loop_with_pauses_is_refused() -> None:
    question = question_of(ClosedPopulation(users=3))
    found: Any = SimpleNamespace(plan=PLAN)
    with pytest.raises(InputError, match="--pause and --class plan for a --rate; leave out --users"):
        trouble.plan_disturbed(question, found, PAUSES, work_of([]))
