"""`capacity max-rate`: the arrival rates at which one plan keeps what was promised."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
    ArrivalsOption,
    BatchSizeOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    FormatOption,
    JsonOption,
    LossOption,
    MeanOption,
    OverheadOption,
    P50Option,
    P90Option,
    P95Option,
    P99Option,
    P999Option,
    PrecisionOption,
    ProfileOption,
    QueueLimitOption,
    ReplicasOption,
    RoutingOption,
    SeedOption,
    TierOption,
    TimerOption,
    UtilizationOption,
    WaitLimitsOption,
    WaitOption,
    WorkersOption,
    output_option,
)
from capacity.commands.output import Format, check_figure, emit, run

if TYPE_CHECKING:
    pass


def max_rate(
    context: typer.Context,
    profile: ProfileOption,
    replicas: ReplicasOption,
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
    batch_wait: WaitOption = "0ms",
    timer: TimerOption = "oldest",
    routing: RoutingOption = "round-robin",
    queue_limit: QueueLimitOption = None,
    arrivals: ArrivalsOption = "poisson",
    request_overhead: OverheadOption = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    requests_max: BudgetOption = 100_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    file: Annotated[
        str | None, output_option("-o", "--output", help="Draw the curve, as .png or .svg.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """What load a fleet can handle: the arrival rates that meet the objective, and P99 against the rate.

    A batch wait makes low rates slow, so the rates that meet it may start above 0, in several stretches.

    Examples:
      capacity max-rate --profile resnet50-t4-fp16 --replicas 2 --slo-p99 40ms
      capacity max-rate --profile mine.csv --replicas 4 --slo-p99 80ms -o curve.svg
    """
    from capacity import api

    if file is not None:
        check_figure(file)
    found = run(api.max_rate, context)
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            after.callback(lambda path: found.plot().save(path), Path(file))
        emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
