"""`capacity workload`: what recorded arrivals are like."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
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
            metavar="FILE", help="The recorded arrivals, as for --arrivals trace:FILE.", callback=note_input
        ),
    ],
    profile: Annotated[
        str | None,
        input_option("--profile", help="With --replicas: what would Poisson arrivals get wrong here?"),
    ] = None,
    replicas: Annotated[int | None, option("--replicas", help="How many replicas.")] = None,
    rate: RateOption = None,
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
    batch_wait: WaitOption = "0ms",
    routing: RoutingOption = "round-robin",
    request_overhead: OverheadOption = None,
    quantile: Annotated[float, option("--quantile", help="The quantile to compare.")] = 0.99,
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
    """How much and how bursty recorded traffic is, whether it is Poisson, and what is lost if it is not."""
    from capacity import api

    emit(run(api.describe_workload, context), output, as_json=as_json)
