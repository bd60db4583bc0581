"""`capacity sweep`: a grid of rates, plans and profiles."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.help import Panel
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
        list[str],
        option(
            "--replicas",
            help="Number of replicas: 4, 1:8 or 2:16:2; repeatable.",
            metavar="N",
            panel=Panel.FLEET,
        ),
    ],
    rate: RatesOption = None,
    batch_size_max: Annotated[
        list[str] | None,
        option(
            "--batch-size-max",
            help="Largest batch: 16 or 8:32:8; repeatable. Default: the largest in each profile.",
            metavar="N",
            panel=Panel.FLEET,
        ),
    ] = None,
    batch_wait: Annotated[
        list[str] | None,
        option(
            "--batch-wait",
            help="How long the oldest request may wait for its batch to fill: 2ms or 0ms:10ms:2ms; "
            "repeatable. Default: 0ms.",
            metavar="DURATION",
            panel=Panel.FLEET,
        ),
    ] = None,
    routing: Annotated[
        list[str] | None,
        option(
            "--routing",
            help="round-robin (default), random, least-outstanding, power-of-two or shared-queue; "
            "repeatable.",
            metavar="ROUTING",
            panel=Panel.FLEET,
        ),
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
        output_option("-o", "--output", help="Write the rows as .csv, .json or .parquet."),
    ] = None,
    fresh: Annotated[
        bool,
        option("--fresh", help="Start over, ignoring what an interrupted run has left.", panel=Panel.OUTPUT),
    ] = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """P99 over a grid of rates, fleets and profiles, one row each; with -o an interrupted run resumes.

    Examples:
      capacity sweep --profile resnet50-t4-fp16 --rate 800rps:1600rps:400rps --replicas 1:2
      capacity sweep --profile mine.csv --rate 100rps --replicas 1:8 --batch-size-max 8 -o rows.csv
    """
    from capacity import api

    found = run(api.sweep, context)
    emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
