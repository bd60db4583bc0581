"""Plans with disturbances: the fewest replicas whose whole interval is within the limit."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

import capacity as cap
from capacity.answer.documents import plain
from capacity.answers.plan import PlanAnswer
from capacity.errors import InputError, UnstableError
from capacity.performance import Interval
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.recovery.disturbance import Disturbances, Pauses
from capacity.search.disturbed_plan import _Disturbed, plan_disturbed
from capacity.server.batch.plan import BatchPlan

pytestmark = pytest.mark.usefixtures("no_headroom")

PAUSES = Disturbances(pauses=Pauses(length_s=0.02, per_s=1.0))


@cache
def calm() -> Any:
    return cap.plan("resnet50-t4-fp16", rate="100rps", slo_p99="100ms", batch_size_max=1, batch_wait="0ms")


@dataclass
class Seen:
    response_quantiles_s: dict[float, Interval]
    by_class: dict[str, dict[float, Interval]] = field(default_factory=dict)


def planned(high_s: dict[int, float], unstable: int = 0):
    """By upper ends of P99 for each number of replicas, whose values are all within the limit."""

    def simulate(plan):
        if plan.replicas <= unstable:
            raise UnstableError("it grows")
        high = high_s[min(plan.replicas, max(high_s))]
        return Seen({0.99: Interval(value=0.09, low=0.08, high=high)})

    def replan(plan):
        return replace(calm().recommendation, plan=plan)

    return plan_disturbed(calm().recommendation, calm().question, PAUSES, simulate, replan, lambda _: None)


def test_the_upper_end_decides_and_not_the_value() -> None:
    recommendation, found = planned({1: 0.12, 2: 0.11, 3: 0.099})
    assert recommendation.plan.replicas == 3
    assert found.calm.replicas == 1
    assert found.calm_disturbed.response_quantiles_s[0.99].high == 0.12


def test_a_plan_that_is_enough_stays() -> None:
    recommendation, found = planned({1: 0.0999})
    assert recommendation is calm().recommendation
    assert found.chosen is found.calm_disturbed


def test_an_unstable_fleet_is_not_enough() -> None:
    recommendation, found = planned({1: 0.095}, unstable=4)
    assert recommendation.plan.replicas == 5
    assert found.calm_disturbed is None


def test_where_none_is_enough_there_is_no_choice() -> None:
    _, found = planned({1: 0.2})
    assert found.chosen is None


def answered(recommendation: Any, disturbed: Any) -> PlanAnswer:
    return PlanAnswer(
        question=calm().question, effort=calm().effort, recommendation=recommendation, disturbed=disturbed
    )


def test_an_answer_has_the_plan_with_disturbances_and_without() -> None:
    recommendation, found = planned({1: 0.12, 2: 0.099})
    answer = answered(recommendation, found)
    document = answer.to_dict()["disturbed"]
    assert document["pauses"]["length_s"] == 0.02
    assert document["classes"] == plain(PAUSES.all_classes)
    assert document["chosen"] == {
        "response_quantiles_s": {"0.99": {"value": 0.09, "low": 0.08, "high": 0.099}}, "by_class": {},
    }  # fmt: skip
    assert document["calm"]["plan"]["replicas"] == 1
    assert document["calm"]["hourly_usd"] == calm().hourly_usd
    assert document["calm"]["disturbed"]["response_quantiles_s"]["0.99"]["high"] == 0.12
    assert (answer.verdict, answer.exit_code) == (Verdict.MET, 0)
    assert answer.caveats is recommendation.caveats
    assert answer.explain() == str(answer) != calm().explain()


def test_the_objective_is_missed_where_no_fleet_is_enough() -> None:
    recommendation, found = planned({1: 0.2})
    answer = answered(recommendation, found)
    assert (answer.verdict, answer.exit_code) == (Verdict.MISSED, 3)
    assert answer.to_dict()["disturbed"]["chosen"] is None
    grown = planned({1: 0.095}, unstable=1)[1]
    assert answered(recommendation, grown).to_dict()["disturbed"]["calm"]["disturbed"] is None
    by_class = replace(found, chosen=Seen({}, {"long": {0.5: Interval.exact(0.01)}}))
    assert answered(recommendation, by_class).to_dict()["disturbed"]["chosen"]["by_class"] == {
        "long": {"0.5": {"value": 0.01, "low": 0.01, "high": 0.01}}
    }


@pytest.mark.long
def test_pauses_cost_replicas_as_the_command_tells() -> None:
    answer = cap.plan(
        "resnet50-t4-fp16",
        rate="300rps",
        slo_p99="48ms",
        batch_size_max=1,
        batch_wait="0ms",
        pause="50ms,60/min",
        precision=0.2,
    )
    document = answer.to_dict()
    assert document["verdict"] == answer.verdict.value
    told = document["disturbed"]
    assert told["chosen"]["response_quantiles_s"]["0.99"]["high"] <= 0.048
    assert told["calm"]["plan"]["replicas"] < answer.plan.replicas


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"pause": "50ms"}, "does not say how often"),
        ({"pause": "50ms,6/min", "spare": 1}, "judged with all replicas up"),
        ({"request_class": "long"}, "write long:share=0.02,scale=8"),
    ],
)
def test_refusals_name_the_way_out(trouble, said) -> None:
    with pytest.raises(InputError, match=said):
        cap.plan("resnet50-t4-fp16", rate="100rps", slo_p99="100ms", **trouble)


def test_each_fleet_is_simulated_once_and_its_progress_told() -> None:
    told: list[str] = []
    simulated: list[int] = []

    def simulate(plan: BatchPlan) -> Seen:
        simulated.append(plan.replicas)
        return Seen({0.5: Interval.exact(0.05), 0.99: Interval(value=0.09, low=0.08, high=0.1)})

    disturbed = _Disturbed({0.5: 0.05, 0.99: 0.1}, simulate, told.append)
    plan = BatchPlan(profile="p", replicas=3, batch_size_max=2)
    assert disturbed.is_enough(plan)  # at both limits
    assert disturbed.responses(plan) is disturbed.responses(plan)
    assert (simulated, told) == ([3], ["3 replicas with disturbances"])
    assert not _Disturbed({0.5: 0.049, 0.99: 0.1}, simulate, told.append).is_enough(plan)
    assert not _Disturbed({0.5: 0.05, 0.99: 0.099}, simulate, told.append).is_enough(plan)


def test_a_question_without_a_limit_on_responses_is_refused() -> None:
    question = replace(calm().question, objective=Objective.of(wait={0.99: 0.1}))
    with pytest.raises(InputError, match="need a limit on a response quantile, such as --slo-p99 80ms"):
        plan_disturbed(calm().recommendation, question, PAUSES, pytest.fail, pytest.fail, pytest.fail)
