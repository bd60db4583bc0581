"""`capacity simulate`: the performance of one plan."""

import typer

from capacity.commands.options import EFFORT, flags
from capacity.commands.output import Format, emit, run


@flags(
    "profile replicas rate batch_size_max batch_wait timer routing arrivals users think_time queue_limit "
    f"request_overhead instances_per_device quantile {EFFORT} verbose"
)
def simulate(context: typer.Context, output: Format, *, verbose: bool, as_json: bool) -> None:
    """Latency, load and losses of one fleet, with intervals.

    Examples:
      capacity simulate --profile resnet50-t4-fp16 --rate 1500rps --replicas 2
      capacity simulate --profile resnet50-t4-fp16 --users 64 --think-time 100ms --replicas 1
    """
    from capacity import api

    emit(run(api.simulate, context), output, as_json=as_json, verbose=verbose)
