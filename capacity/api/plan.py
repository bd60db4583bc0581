"""The verb `plan`: the cheapest fleet that meets an objective."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from capacity.api.asked import asked_at, asked_question, asked_varied
from capacity.api.work import Report, Work, at_work
from capacity.doors import door
from capacity.errors import CoverageError
from capacity.question import parse
from capacity.question.arguments import Asked

if TYPE_CHECKING:
    from capacity.answers.plan import PlanAnswer
    from capacity.api.trouble import Trouble
    from capacity.performance import Performance
    from capacity.question.plan import Plan
    from capacity.question.question import Question
    from capacity.recovery.disturbance import Disturbances
    from capacity.traffic.daily import DailyCurve


# `Any` stands for a FrontierAnswer: whether text is a list no type says, and nearly all callers ask for one plan, which
# a union would have them narrow.
@door("plan")
def plan(asked: Asked) -> "PlanAnswer | Any":
    """The cheapest fleet that meets the objective, how certain that is, and why fewer are not enough.

    A list or a range, as in `slo_p99="20ms:100ms:10ms"`, asks at each of its values: the answer is then a
    `FrontierAnswer`, whose `points` are the answers to the single questions. A keyword that takes several values
    itself, as `batch_wait=["2ms", "4ms"]`, chooses among them. Values that a profile does not cover are left out of
    `points`, and told in `uncovered`.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: an argument out of range.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()  # constant times, whose law is exact
    >>> answer = plan(resnet, rate="500rps", slo_p99="100ms", batch_wait="0ms", batch_size_max=4)
    >>> answer.plan.replicas, answer.verdict.value
    (1, 'met')
    """
    varied = asked_varied(asked)
    if not varied:
        one = _read(asked)
        with at_work(asked.effort, asked.progress) as work:
            return _answered(one, work)
    from capacity.answers.frontier import FrontierAnswer

    loaded = asked.but(profile=[parse.find_profile(one) for one in asked.profile])
    # All are read first, so that a mistake is found before any work.
    read = [_read_if_covered(one) for one in asked_at(loaded, varied)]
    points = [one for one in read if not isinstance(one, CoverageError)]
    if not points:
        raise next(one for one in read if isinstance(one, CoverageError))
    with at_work(asked.effort, asked.progress) as work:
        found = (
            _answered(one, work.reporting(_numbered(work.report, number, len(points))))
            for number, one in enumerate(points, start=1)
        )
        answers = [str(one) if isinstance(one, CoverageError) else next(found) for one in read]
    return FrontierAnswer.of(varied, answers)


class _Point(NamedTuple):
    """One question, as it was asked and as it was read."""

    asked: Asked
    question: "Question"
    day: "DailyCurve | None"
    trouble: "Trouble | None"
    disturbances: "Disturbances | None"


def _read(asked: Asked) -> _Point:
    """The question of one plan."""
    from capacity.api.trouble import in_trouble, read_trouble
    from capacity.recovery.parse import read_disturbances

    day = parse.read_curve(asked.daily, asked.rate, asked.users)
    question = asked_question(asked, asked.rate if day is None else day.peak_rate_rps)
    if asked.autoscale is not None:
        from capacity.api.autoscale import require_controlled

        require_controlled(asked, question, day)
    trouble = read_trouble(asked)
    disturbances = read_disturbances(asked.pause, asked.request_class)
    question = in_trouble(question, trouble, disturbances)
    if asked.before is not None:
        asked.before(question)
    return _Point(asked, question, day, trouble, disturbances)


def _read_if_covered(asked: Asked) -> _Point | CoverageError:
    """The question of one plan of several, or what its profile does not cover."""
    try:
        return _read(asked)
    except CoverageError as error:
        return error


def _answered(point: _Point, work: Work) -> "PlanAnswer":
    """The answer to one question, with the parts that were asked for."""
    asked, day = point.asked, point.day
    answer = _planned(point.question, point.trouble, point.disturbances, work)
    if answer.plan is not None and day is not None:
        seen = answer.recommendation.performance
        answer = replace(answer, **_over_the_day(answer.question, answer.plan, day, asked, work, seen))
    if answer.plan is not None and asked.explain:
        answer = _explained(answer, answer.plan, work)
    return answer


def _numbered(report: Report, number: int, count: int) -> Report:
    """Progress that says which question of how many it is about."""
    return lambda message: report(f"plan {number} of {count}: {message}")


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
    question: "Question",
    plan: Any,
    day: "DailyCurve",
    asked: Asked,
    work: Work,
    at_peak: "Performance | None",
) -> dict[str, Any]:
    """Parts of an answer: the replicas of each hour, and the autoscaler, if one is asked for."""
    from capacity.api.autoscale import plan_autoscaled
    from capacity.search.by_hour import schedule

    hours = schedule(question, plan, day.hourly_rates_rps, work.judge, work.report)
    return {
        "day": replace(hours, flags=parse.day_flags(asked.daily), curve=day),
        "autoscaled": plan_autoscaled(question, plan, asked, day, work, at_peak),
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
