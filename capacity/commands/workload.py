"""`capacity workload`: what recorded arrivals are like."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
    BatchSizeOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    FormatOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    RateOption,
    RoutingOption,
    SeedOption,
    WaitOption,
    WorkersOption,
    input_option,
    note_input,
    option,
)
from capacity.commands.output import Format, emit, run

if TYPE_CHECKING:
    pass


def workload(
    context: typer.Context,
    trace: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Recorded arrivals, as for --arrivals trace:FILE.", callback=note_input
        ),
    ],
    profile: Annotated[
        str | None,
        input_option(
            "--profile",
            help="With --replicas: simulate this trace and Poisson arrivals, and compare.",
            metavar="PROFILE",
        ),
    ] = None,
    replicas: Annotated[
        int | None, option("--replicas", help="Number of replicas; with --profile.", metavar="N")
    ] = None,
    rate: RateOption = None,
    batch_size_max: BatchSizeOption = None,
    batch_wait: WaitOption = "0ms",
    routing: RoutingOption = "round-robin",
    request_overhead: OverheadOption = None,
    quantile: Annotated[float, option("--quantile", help="Quantile to compare.", metavar="Q")] = 0.99,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    requests_max: BudgetOption = 100_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """How heavy and how bursty recorded traffic is, and what assuming Poisson arrivals would get wrong.

    Examples:
      capacity workload docs/examples/bursts.csv
      capacity workload trace.csv --profile mine.csv --replicas 2 --quantile 0.95
    """
    from capacity import api

    emit(run(api.describe_workload, context), output, as_json=as_json)
