"""The verb `plan`: the cheapest fleet that meets an objective."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capacity.api.asked import asked_question
from capacity.api.work import Work, at_work
from capacity.doors import door
from capacity.question import parse
from capacity.question.arguments import Asked

if TYPE_CHECKING:
    from capacity.answers.plan import PlanAnswer
    from capacity.api.trouble import Trouble
    from capacity.question.plan import Plan
    from capacity.question.question import Question
    from capacity.recovery.disturbance import Disturbances
    from capacity.traffic.daily import DailyCurve


@door("plan")
def plan(asked: Asked) -> "PlanAnswer":
    """The cheapest fleet that meets the objective, how certain that is, and why fewer are not enough.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: an argument out of range.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()  # constant times, whose law is exact
    >>> answer = plan(resnet, rate="500rps", slo_p99="100ms", batch_wait="0ms", batch_size_max=4)
    >>> answer.plan.replicas, answer.verdict.value
    (1, 'met')
    """
    from capacity.api.autoscale import require_controlled
    from capacity.api.trouble import in_trouble, read_trouble
    from capacity.recovery.parse import read_disturbances

    day = parse.read_curve(asked.daily, asked.rate, asked.users)
    question = asked_question(asked, asked.rate if day is None else day.peak_rate_rps)
    effort = asked.effort
    require_controlled(asked, question, day)
    trouble = read_trouble(asked)
    disturbances = read_disturbances(asked.pause, asked.request_class)
    question = in_trouble(question, trouble, disturbances)
    if asked.before is not None:
        asked.before(question)
    with at_work(effort, asked.progress) as work:
        answer = _planned(question, trouble, disturbances, work)
        if answer.plan is not None and day is not None:
            answer = replace(answer, **_over_the_day(answer.question, answer.plan, day, asked, work))
        if answer.plan is not None and asked.explain:
            answer = _explained(answer, answer.plan, work)
    return answer


def _planned(
    question: "Question", trouble: "Trouble | None", disturbances: "Disturbances | None", work: Work
) -> "PlanAnswer":
    """The cheapest plan, which endures and recovers from what was asked, with how far its rate may rise."""
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity.answers.plan import PlanAnswer
    from capacity.api.trouble import plan_disturbed, plan_to_recover
    from capacity.search.caveats import with_implausible
    from capacity.search.plan_decision import recommend, with_headroom
    from simulations.servers import require_sound

    for profile in question.profiles:
        require_sound(profile, work.report)
    is_calm = trouble is None and disturbances is None
    found = recommend(
        question, work.judge, work.report, has_headroom=is_calm, confidence=work.effort.confidence
    )
    recovery = disturbed = None
    if disturbances is not None and found.plan is not None:
        found, disturbed = plan_disturbed(question, found, disturbances, work)
    if trouble is not None and found.plan is not None:
        found, recovery = plan_to_recover(question, found, trouble, work)
    if (plan := found.plan) is not None and not is_calm:
        found = with_headroom(question, found, work.judge, work.report)
        question = replace(question, replicas_min=plan.replicas, space=question.space.limited_as(plan))
    return PlanAnswer(
        question=question,
        effort=work.effort,
        recommendation=with_implausible(found, question),
        recovery=recovery,
        disturbed=disturbed,
    )


def _over_the_day(
    question: "Question", plan: Any, day: "DailyCurve", asked: Asked, work: Work
) -> dict[str, Any]:
    """Parts of an answer: the replicas of each hour, and the autoscaler, if one is asked for."""
    from capacity.api.autoscale import plan_autoscaled
    from capacity.search.by_hour import schedule

    hours = schedule(question, plan, day.hourly_rates_rps, work.judge, work.report)
    return {
        "day": replace(hours, flags=parse.day_flags(asked.daily), curve=day),
        "autoscaled": plan_autoscaled(question, plan, asked, day, work),
    }


def _explained(answer: "PlanAnswer", plan: "Plan", work: Work) -> "PlanAnswer":
    """The answer with its explanation."""
    from capacity.explanation.explanation import explain_plan

    found = answer.recommendation
    reasons = explain_plan(
        answer.question,
        plan,
        work.judge,
        work.report,
        performance=found.performance,
        like_it=found.like_it,
        precision=work.effort.precision,
        confidence=work.effort.confidence,
    )
    if reasons.saturation is not None:
        found = replace(found, changes=reasons.neighbours)
    return replace(answer, recommendation=found, explanation=reasons)
