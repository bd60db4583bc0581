"""`capacity plan`: the cheapest fleet that keeps what was promised."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.command_line import (
    ArrivalsOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    Format,
    FormatOption,
    InstancesOption,
    JsonOption,
    OverheadOption,
    P50Option,
    P90Option,
    P95Option,
    P99Option,
    P999Option,
    PrecisionOption,
    QueueLimitOption,
    RateOption,
    SeedOption,
    TimerOption,
    WorkersOption,
    check_figure,
    emit,
    option,
    output_option,
    width,
)
from capacity.plan_options import (
    BatchSizeOption,
    BatchWaitsOption,
    DailyOption,
    LossOption,
    MeanOption,
    PlanProfilesOption,
    PricesOption,
    ReplicasMaxOption,
    RollingOption,
    RoutingsOption,
    SavedPlanOption,
    SpareOption,
    SpikeOption,
    StartupOption,
    SurviveOption,
    ThinkTimeOption,
    TierOption,
    UsersOption,
    UtilizationOption,
    WaitLimitsOption,
    read_curve,
    read_full_objective,
    read_profiles,
    read_question,
    read_survival,
)

if TYPE_CHECKING:
    from capacity.plan import Recommendation


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
    from capacity.plan_answer import answer
    from capacity.plan_file import check_plan_target, write_plan_file
    from capacity.workbench import Effort

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
    from capacity.render.curves import plan_curve
    from capacity.render.figures import draw_objective

    curve = plan_curve(recommendation)
    if curve is None:
        typer.echo(f"no plan, so that {file} is not drawn", err=True)
    else:
        draw_objective(curve).save(Path(file))
