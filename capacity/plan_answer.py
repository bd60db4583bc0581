"""PlanAnswer: all that one run of `capacity plan` found, as JSON and for people."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import RenderableType
from rich.text import Text

from capacity.caveats import plausibility_caveats
from capacity.daily_curve import DailyCurve
from capacity.plan import Recommendation
from capacity.plan_report import recommendation_document
from capacity.plan_tables import recommendation_tables
from capacity.planner import recommend
from capacity.question import Question
from capacity.reasons import Explanation, explain_plan
from capacity.reasons_document import explanation_document
from capacity.reasons_text import explanation_texts
from capacity.render.charts import objective_chart
from capacity.render.curves import plan_curve
from capacity.report import Document
from capacity.schedule import Schedule, schedule
from capacity.schedule_report import schedule_document, schedule_tables
from capacity.workbench import Effort, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer:
    """A recommendation, and what was asked beside it; None where it was not, or there is no plan.

    Attributes:
        width: columns of the chart that goes with the explanation.
    """

    question: Question
    effort: Effort
    recommendation: Recommendation
    day: Schedule | None = None
    explanation: Explanation | None = None
    width: int = 80

    def document(self) -> Document:
        """`capacity plan --json`."""
        document = recommendation_document(
            self.recommendation, self.question, seed=self.effort.seed, confidence=self.effort.confidence
        )
        if self.day is not None:
            document["schedule"] = schedule_document(self.day)
        if self.explanation is not None:
            document["explanation"] = explanation_document(self.explanation)
        return document

    def tables(self) -> Iterator[RenderableType]:
        """What people see."""
        yield from recommendation_tables(self.recommendation, self.question, self.effort.confidence)
        if self.day is not None:
            yield from schedule_tables(self.day)
        if self.explanation is not None:
            yield from explanation_texts(self.explanation)
            curve = plan_curve(self.recommendation)
            if curve is not None:
                yield Text(objective_chart(curve, width=self.width))


def answer(
    question: Question,
    effort: Effort,
    work: Work,
    *,
    curve: DailyCurve | None,
    explain: bool,
    width: int = 80,
) -> PlanAnswer:
    """The recommendation; with a day's curve its hours, and on demand the reasons."""
    found = recommend(question, work.judge, work.report, confidence=effort.confidence)
    recommendation = _with_implausible(found, question)
    plan, day, explanation = recommendation.plan, None, None
    if plan is not None and curve is not None:
        day = schedule(question, plan, curve.hourly_rates_rps, work.judge, work.report)
    if plan is not None and explain:
        explanation = explain_plan(
            question,
            plan,
            work.judge,
            work.report,
            performance=recommendation.performance,
            precision=effort.precision,
        )
    return PlanAnswer(
        question=question,
        effort=effort,
        recommendation=recommendation,
        day=day,
        explanation=explanation,
        width=width,
    )


def _with_implausible(recommendation: Recommendation, question: Question) -> Recommendation:
    """With what is implausible of every profile: one that was not chosen may owe it to a slip in its file."""
    quantile_max = max(question.objective.quantiles or (0.99,))
    implausible = (
        caveat for profile in question.profiles for caveat in plausibility_caveats(profile, quantile_max)
    )
    return replace(recommendation, caveats=tuple(dict.fromkeys((*implausible, *recommendation.caveats))))
