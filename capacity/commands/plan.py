"""`capacity plan`: the cheapest fleet that keeps what was promised."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from capacity.answers import PlanAnswer

from capacity.commands.help import Panel
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
    VerboseOption,
    WaitLimitsOption,
    WorkersOption,
    option,
    output_option,
)
from capacity.commands.output import Format, check_figure, emit, run


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
        bool,
        option(
            "--explain",
            help="Add what limits the plan, what the answer depends on, and what would save most.",
            panel=Panel.OUTPUT,
        ),
    ] = False,
    file: SavedPlanOption = None,
    plot: Annotated[
        str | None,
        output_option("--plot", help="Draw the objective's quantity over the replicas, as .png or .svg."),
    ] = None,
    verbose: VerboseOption = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """The cheapest fleet that meets the objective, how sure that is, and why a smaller one would not do.

    Examples:
      capacity plan --profile resnet50-t4-fp16 --rate 3200rps --slo-p99 40ms
      capacity plan --profile mine.csv --rate 120rps --slo-p99 80ms --survive n-1 -o plan.json
      capacity plan --profile resnet50-t4-fp16 --profile resnet50-v100-fp16 --rate 5000rps --slo-p99 50ms
    """
    from capacity import api
    from capacity.answer.saved_plan import check_plan_target, write_plan_file

    path = None if file is None else Path(file)
    if plot is not None:
        check_figure(plot)
    found = run(api.plan, context, before=None if path is None else partial(check_plan_target, path))
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        if plot is not None:
            after.callback(_draw, found, plot)
        if path is not None:
            after.callback(write_plan_file, path, found.recommendation, found.question, found.effort)
        emit(found, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)


def _draw(found: "PlanAnswer", file: str) -> None:
    """The figure of a plan; without a plan there is none, which is said."""
    if found.curve() is None:
        typer.echo(f"no plan, so that {file} is not drawn", err=True)
    else:
        found.plot().save(Path(file))
