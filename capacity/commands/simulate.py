"""`capacity simulate`: the performance of one plan."""

from typing import TYPE_CHECKING

import typer

from capacity.commands.options import (
    ArrivalsOption,
    BatchSizeOption,
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
    ReplicasOption,
    RoutingOption,
    SeedOption,
    ThinkTimeOption,
    TimerOption,
    UsersOption,
    VerboseOption,
    WaitOption,
    WorkersOption,
)
from capacity.commands.output import Format, emit, run

if TYPE_CHECKING:
    pass


def simulate(
    context: typer.Context,
    profile: ProfileOption,
    replicas: ReplicasOption,
    rate: RateOption = None,
    batch_size_max: BatchSizeOption = None,
    batch_wait: WaitOption = "0ms",
    timer: TimerOption = "oldest",
    routing: RoutingOption = "round-robin",
    arrivals: ArrivalsOption = "poisson",
    users: UsersOption = None,
    think_time: ThinkTimeOption = None,
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
    verbose: VerboseOption = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Latency, load and losses of one fleet, with intervals.

    Examples:
      capacity simulate --profile resnet50-t4-fp16 --rate 1500rps --replicas 2
      capacity simulate --profile resnet50-t4-fp16 --users 64 --think-time 100ms --replicas 1
    """
    from capacity import api

    emit(run(api.simulate, context), output, as_json=as_json)
