"""`capacity max-rate`: the arrival rates at which one plan keeps what was promised."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
    ArrivalsOption,
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
    RoutingOption,
    SeedOption,
    TierOption,
    TimerOption,
    UtilizationOption,
    WaitLimitsOption,
    WaitOption,
    WorkersOption,
    option,
    output_option,
)
from capacity.commands.output import Format, check_figure, emit, run

if TYPE_CHECKING:
    pass


def max_rate(
    context: typer.Context,
    profile: ProfileOption,
    replicas: Annotated[int, option("--replicas", help="How many replicas.")],
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
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
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
        str | None, output_option("-o", "--output", help="Draw the curve into this .png or .svg file.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """The arrival rates at which a plan keeps the objective, and P99 against the rate.

    A batch wait makes low rates slow: what is kept may begin above 0, and lie in several stretches.
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
