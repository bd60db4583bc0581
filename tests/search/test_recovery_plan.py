"""`plan --recover-within` with a judge that is made up: as it is, with a setting, or with more replicas."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from stresses import MadeUpJudge, fleet_in_trouble, run_of, silent

from capacity.errors import InconclusiveError
from capacity.performance import Kind, Performance
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.recovery.findings import Run
from capacity.recovery.protection import Shedding
from capacity.recovery.stress import STEADY_S, Stress
from capacity.render.recovery.plan import recovery_plan_lines
from capacity.search.recommendation import Recommendation
from capacity.search.recovery_plan import RecoveryPlan, is_in_time, plan_to_recover
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import BudgetKind

Rule = Callable[[Stress, int], Run]
PLANNED = fleet_in_trouble().plan


def recommended(plan: BatchPlan | None) -> Recommendation:
    """A plan as a search would give it."""
    return Recommendation(
        plan=plan,
        objective=Objective.of(response={0.99: 0.1}),
        verdict=Verdict.MET if plan is not None else Verdict.MISSED,
        performance=Performance(kind=Kind.SIMULATION) if plan is not None else None,
    )


class Replanner:
    """Confirms any plan, or none; keeps what it was asked."""

    def __init__(self, *, confirms: bool = True) -> None:
        self.confirms = confirms
        self.asked: list[BatchPlan] = []

    def __call__(self, plan: BatchPlan) -> Recommendation:
        self.asked.append(plan)
        return recommended(plan if self.confirms else None)


def planned(
    rule: Rule,
    replan: Callable[[BatchPlan], Recommendation] | None = None,
    within_s: float = 60.0,
    replicas_max: int = 64,
) -> tuple[Recommendation, RecoveryPlan, MadeUpJudge]:
    judge = MadeUpJudge(rule=rule)
    found, recovery = plan_to_recover(
        recommended(PLANNED),
        lambda plan: replace(fleet_in_trouble(), plan=plan),
        within_s,
        judge,
        replan or Replanner(),
        silent,
        replicas_max=replicas_max,
    )
    return found, recovery, judge


def after(seconds: float, replicas: int = 4) -> Rule:
    """Fleets from this size on are back after this long."""
    return lambda stress, number: run_of(seconds if stress.plan.replicas >= replicas else None)


def test_in_time_is_all_runs_and_soon_enough() -> None:
    found = MadeUpJudge(rule=lambda stress, number: run_of(float(10 * number)))(fleet_in_trouble())
    assert is_in_time(found, 30.0)
    assert not is_in_time(found, 29.0)
    some = MadeUpJudge(rule=lambda stress, number: run_of(None if number else 0.0))(fleet_in_trouble())
    assert not is_in_time(some, 1e9)


def test_a_plan_that_recovers_as_it_is_stays_as_it_is() -> None:
    found, recovery, judge = planned(after(20.0))
    assert found.plan == PLANNED
    assert recovery.setting is None
    assert recovery.chosen is recovery.as_is is recovery.as_planned
    assert recovery.tried == ()
    assert len(judge.asked) == 1


def test_no_run_is_longer_than_a_recovery_in_time_would_take() -> None:
    _, _, judge = planned(after(20.0), within_s=45.0)
    assert judge.asked[0].horizon_s == 45.0 + STEADY_S + 5.0 + 1.0


def by_setting(goodputs: dict[str, float]) -> Rule:
    """Only some settings help, and with each a share succeeds meanwhile."""

    def rule(stress: Stress, number: int) -> Run:
        name = "as it is"
        if stress.clients.budget.kind is BudgetKind.FIRST_TRIES:
            name = "budget"
        if stress.protection.shedding is Shedding.LATE:
            name = "late"
        if stress.protection.shedding is Shedding.LIFO:
            name = "lifo"
        if stress.plan.queue_limit is not None:
            name = "limit"
        return run_of(1.0 if name in goodputs else None, goodput=goodputs.get(name, 0.0))

    return rule


@pytest.mark.parametrize(
    ("goodputs", "setting"),
    [
        ({"budget": 0.1, "late": 0.93, "limit": 0.92, "lifo": 0.94}, "--shed late:10ms"),  # about as well
        ({"budget": 0.1, "limit": 0.90, "lifo": 0.94}, "--shed lifo"),
        ({"budget": 0.1}, "--retry-budget 0.1"),
    ],
)
def test_the_setting_with_most_success_meanwhile(goodputs: dict[str, float], setting: str) -> None:
    found, recovery, _ = planned(by_setting(goodputs))
    assert recovery.setting == setting
    assert recovery.chosen.exit_code == 0
    assert found.plan == PLANNED
    assert [one.setting for one in recovery.tried] == [
        "--retry-budget 0.1", "--shed late:10ms", "--queue-limit 100", "--shed lifo",
    ]  # fmt: skip
    assert recovery.as_is is None


def test_a_queue_limit_is_confirmed_for_the_objective() -> None:
    """A rejected request is late, so the plan is judged again."""
    replan = Replanner()
    found, recovery, _ = planned(by_setting({"limit": 0.92}), replan)
    assert recovery.setting == "--queue-limit 100"
    assert [plan.queue_limit for plan in replan.asked] == [100]
    assert found.plan.queue_limit == 100


def test_a_setting_that_makes_requests_fail_before_the_trigger_is_not_taken() -> None:
    """It recovers at once and serves most meanwhile, but rejects 1 of 100 requests while all is well."""

    def rule(stress: Stress, number: int) -> Run:
        if stress.plan.queue_limit is not None:
            return run_of(0.0, goodput=0.9, baseline=0.99)
        budget = stress.clients.budget.kind is BudgetKind.FIRST_TRIES
        return run_of(1.0 if budget else None, goodput=0.1)

    found, recovery, _ = planned(rule)
    assert recovery.setting == "--retry-budget 0.1"
    assert found.plan == PLANNED


@pytest.mark.parametrize(("baseline", "is_taken"), [(0.9991, True), (0.9989, False)])
def test_a_setting_may_fail_one_request_in_a_thousand_before_the_trigger(baseline, is_taken) -> None:
    def rule(stress: Stress, number: int) -> Run:
        if stress.protection.shedding is Shedding.LIFO:
            return run_of(0.0, goodput=0.9, baseline=baseline)
        return run_of(None)

    _, recovery, _ = planned(rule)
    assert recovery.setting == ("--shed lifo" if is_taken else None)


def test_a_queue_limit_that_misses_the_objective_leaves_the_next_setting() -> None:
    found, recovery, _ = planned(by_setting({"budget": 0.5, "limit": 0.92}), Replanner(confirms=False))
    assert found.plan == PLANNED
    assert recovery.setting == "--retry-budget 0.1"
    assert recovery.chosen.stress.clients.budget.kind is BudgetKind.FIRST_TRIES


def test_a_plan_that_grows_at_its_confirmation_is_put_in_trouble_again() -> None:
    """Seven recover, and eight are what can be confirmed: these are what is shown."""

    def larger(plan: BatchPlan) -> Recommendation:
        return recommended(replace(plan, replicas=plan.replicas + 1))

    found, recovery, judge = planned(after(5.0, replicas=7), larger)
    assert found.plan.replicas == 8
    assert recovery.chosen.stress.plan == found.plan
    assert judge.asked[-1].plan.replicas == 8
    assert judge.asked[-1].horizon_s == judge.asked[0].horizon_s


def test_a_setting_with_which_the_fleet_fails_at_once_is_left_out() -> None:
    def rule(stress: Stress, number: int) -> Run:
        if stress.plan.queue_limit is not None:
            raise InconclusiveError("most requests fail before the trigger")
        return by_setting({"budget": 0.5})(stress, number)

    _, recovery, _ = planned(rule)
    assert recovery.setting == "--retry-budget 0.1"
    assert "--queue-limit 100" not in [one.setting for one in recovery.tried]


def test_what_is_said_where_nothing_is_enough() -> None:
    console = Console(width=200, record=True, file=StringIO())
    _, none, _ = planned(after(5.0, replicas=100), replicas_max=16)
    _, unconfirmed, _ = planned(after(5.0, replicas=7), Replanner(confirms=False))
    harmful = by_setting({})

    def rule(stress: Stress, number: int) -> Run:
        limited = stress.plan.queue_limit is not None
        return run_of(0.0, goodput=0.9, baseline=0.99) if limited else harmful(stress, number)

    _, harms, _ = planned(rule)
    for found in (none, unconfirmed, harms):
        console.print(*recovery_plan_lines(found), sep="\n")
    first, second, third = console.export_text().split("No plan within the limits ")[1:]
    assert first.startswith("recovers after losing 1 of 4 for 60 s within 60 s.")
    assert second.startswith("is known to meet the objective and recovers after")
    assert "without any setting: 7 replicas" in second
    assert "with --queue-limit 100: recover at once; 90 % succeed meanwhile" in third
    assert third.count("but requests fail before it too") == 1


def test_more_replicas_where_no_setting_is_enough() -> None:
    replan = Replanner()
    found, recovery, _ = planned(after(5.0, replicas=7), replan)
    assert recovery.setting is None
    assert found.plan.replicas == 7
    assert recovery.chosen is recovery.as_is
    assert [plan.replicas for plan in replan.asked] == [7]
    assert recovery.as_planned.stress.plan.replicas == 4


def test_nothing_may_be_enough() -> None:
    found, recovery, _ = planned(after(5.0, replicas=100), replicas_max=16)
    assert (recovery.setting, recovery.chosen, recovery.as_is) == (None, None, None)
    assert found.plan == PLANNED


def test_more_replicas_that_miss_the_objective_are_none() -> None:
    found, recovery, _ = planned(after(5.0, replicas=7), Replanner(confirms=False))
    assert recovery.chosen is None
    assert recovery.as_is is not None
    assert found.plan == PLANNED


def test_a_fleet_that_recovers_too_late_is_not_enough() -> None:
    """It is looked for with a horizon in which a later recovery could not be seen."""
    found, recovery, _ = planned(after(61.0, replicas=4))
    assert recovery.chosen is None
    assert found.plan == PLANNED
