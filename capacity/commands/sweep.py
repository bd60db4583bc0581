"""`capacity sweep`: a grid of rates, plans and profiles."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
    ArrivalsOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    FormatOption,
    InstancesOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    ProfilesOption,
    QuantileOption,
    QueueLimitOption,
    RatesOption,
    SeedOption,
    TimerOption,
    WorkersOption,
    option,
    output_option,
)
from capacity.commands.output import Format, emit, run

if TYPE_CHECKING:
    pass


def sweep(
    context: typer.Context,
    profile: ProfilesOption,
    replicas: Annotated[
        list[str], option("--replicas", help="How many replicas: 4, or 1:8, or 2:16:2; may be repeated.")
    ],
    rate: RatesOption = None,
    batch_size_max: Annotated[
        list[str] | None,
        option("--batch-size-max", help="Largest batch: 16, or 8:32:8; each profile's largest by default."),
    ] = None,
    batch_wait: Annotated[
        list[str] | None, option("--batch-wait", help="As in simulate: 2ms, or 0ms:10ms:2ms; 0ms by default.")
    ] = None,
    routing: Annotated[
        list[str] | None, option("--routing", help="As in simulate; round-robin by default; may be repeated.")
    ] = None,
    timer: TimerOption = "oldest",
    queue_limit: QueueLimitOption = None,
    arrivals: ArrivalsOption = "poisson",
    request_overhead: OverheadOption = None,
    instances_per_device: InstancesOption = None,
    quantile: QuantileOption = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    requests_max: BudgetOption = 100_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    file: Annotated[
        str | None,
        output_option("-o", "--output", help="Write the rows into this .csv, .json or .parquet file."),
    ] = None,
    fresh: Annotated[
        bool, option("--fresh", help="Begin anew, whatever an interrupted run has left.")
    ] = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """A grid of rates, plans and profiles, one row each; with -o an interrupted run goes on where it was."""
    from capacity import api

    found = run(api.sweep, context)
    emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
