"""`capacity plan`: the cheapest fleet that keeps what was promised."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import (
    Document,
    explanation_document,
    recommendation_document,
    schedule_document,
)
from capacity.commands.options import (
    ArrivalsOption,
    BatchSizeOption,
    BatchWaitsOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    DailyOption,
    EngineOption,
    FormatOption,
    InstancesOption,
    JsonOption,
    LossOption,
    MeanOption,
    OverheadOption,
    P50Option,
    P90Option,
    P95Option,
    P99Option,
    P999Option,
    PlanProfilesOption,
    PrecisionOption,
    PricesOption,
    QueueLimitOption,
    RateOption,
    ReplicasMaxOption,
    RollingOption,
    RoutingsOption,
    SavedPlanOption,
    SeedOption,
    SpareOption,
    SpikeOption,
    StartupOption,
    SurviveOption,
    ThinkTimeOption,
    TierOption,
    TimerOption,
    UsersOption,
    UtilizationOption,
    WaitLimitsOption,
    WorkersOption,
    option,
    output_option,
)
from capacity.commands.output import Format, check_figure, emit, width
from capacity.explanation.explanation import Explanation, explain_plan
from capacity.question.budget import Effort, Work
from capacity.question.parse import (
    read_curve,
    read_full_objective,
    read_profiles,
    read_question,
    read_survival,
)
from capacity.question.question import Question
from capacity.render.charts import objective_chart
from capacity.render.explanation import explanation_texts
from capacity.render.figures import plan_curve
from capacity.render.plan import recommendation_tables, schedule_tables
from capacity.search.by_hour import Schedule, schedule
from capacity.search.caveats import plausibility_caveats
from capacity.search.planner import recommend
from capacity.search.recommendation import Recommendation
from capacity.traffic.daily import DailyCurve


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


def plan(
    context: typer.Context,
    profile: PlanProfilesOption,
    rate: RateOption = None,
    slo_p50: P50Option = None,
    slo_p90: P90Option = None,
    slo_p95: P95Option = None,
    slo_p99: P99Option = None,
    slo_p999: P999Option = None,
    slo_mean: MeanOption = None,
    slo_wait: WaitLimitsOption = None,
    loss_max: LossOption = None,
    utilization_max: UtilizationOption = None,
    tier: TierOption = None,
    batch_size_max: BatchSizeOption = None,
    batch_wait: BatchWaitsOption = None,
    timer: TimerOption = "oldest",
    routing: RoutingsOption = None,
    queue_limit: QueueLimitOption = None,
    replicas_max: ReplicasMaxOption = 1024,
    hourly_usd: PricesOption = None,
    arrivals: ArrivalsOption = "poisson",
    daily: DailyOption = None,
    users: UsersOption = None,
    think_time: ThinkTimeOption = None,
    spare: SpareOption = 0,
    survive: SurviveOption = None,
    rolling_update: RollingOption = None,
    startup_time: StartupOption = None,
    spike: SpikeOption = None,
    request_overhead: OverheadOption = None,
    instances_per_device: InstancesOption = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    requests_max: BudgetOption = 100_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    explain: Annotated[
        bool, option("--explain", help="Also what binds, what the answer hangs on, and what would save most.")
    ] = False,
    file: SavedPlanOption = None,
    plot: Annotated[
        str | None,
        output_option("--plot", help="Draw what is promised over the replicas into this .png or .svg file."),
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """The cheapest fleet that keeps the objective, how sure that is, and why fewer would not do."""
    from capacity.answer.saved_plan import check_plan_target, write_plan_file
    from capacity.question.budget import Effort

    slos = {0.5: slo_p50, 0.9: slo_p90, 0.95: slo_p95, 0.99: slo_p99, 0.999: slo_p999}
    curve = read_curve(daily, rate, users)
    question = read_question(
        profiles=read_profiles(profile, request_overhead, hourly_usd, instances_per_device),
        objective=read_full_objective(slos, tier, slo_mean, slo_wait, loss_max, utilization_max),
        survival=read_survival(spare, survive, rolling_update, startup_time, spike),
        arrivals=arrivals,
        rate=rate if curve is None else f"{curve.peak_rate_rps!r}rps",
        users=users,
        think_time=think_time,
        batch_size_max=batch_size_max,
        batch_wait=batch_wait,
        timer=timer,
        routing=routing,
        queue_limit=queue_limit,
        replicas_max=replicas_max,
    )
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    path = None if file is None else Path(file)
    if path is not None:
        check_plan_target(path, question)
    if plot is not None:
        check_figure(plot)
    with context.obj(effort) as work:
        found = answer(question, effort, work, curve=curve, explain=explain, width=width())
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        if plot is not None:
            after.callback(_draw, found.recommendation, plot)
        if path is not None:
            after.callback(write_plan_file, path, found.recommendation, question, effort)
        emit(output, as_json=as_json, document=found.document, tables=found.tables)
    raise typer.Exit(found.recommendation.verdict.exit_code)


def _draw(recommendation: "Recommendation", file: str) -> None:
    """The figure of a plan; without a plan there is none, which is said."""
    from capacity.render.figures import draw_objective, plan_curve

    curve = plan_curve(recommendation)
    if curve is None:
        typer.echo(f"no plan, so that {file} is not drawn", err=True)
    else:
        draw_objective(curve).save(Path(file))
