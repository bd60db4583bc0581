"""`capacity simulate`: the performance of one plan."""

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
    ProfileOption,
    QuantileOption,
    QueueLimitOption,
    RateOption,
    RoutingOption,
    SeedOption,
    TimerOption,
    WaitOption,
    WorkersOption,
    option,
)
from capacity.commands.output import Format, emit, run

if TYPE_CHECKING:
    pass


def simulate(
    context: typer.Context,
    profile: ProfileOption,
    replicas: Annotated[int, option("--replicas", help="How many replicas.")],
    rate: RateOption = None,
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
    batch_wait: WaitOption = "0ms",
    timer: TimerOption = "oldest",
    routing: RoutingOption = "round-robin",
    arrivals: ArrivalsOption = "poisson",
    users: Annotated[
        int | None, option("--users", help="So many users take turns, instead of arrivals at a rate.")
    ] = None,
    think_time: Annotated[
        str | None, option("--think-time", help="Mean think time of a user: 300ms.")
    ] = None,
    queue_limit: QueueLimitOption = None,
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
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """The performance of one plan, with intervals."""
    from capacity import api

    emit(run(api.simulate, context), output, as_json=as_json)
