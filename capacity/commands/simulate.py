"""`capacity simulate`: the performance of one plan."""

import typer

from capacity.commands.options import EFFORT, flags
from capacity.commands.output import Format, emit, run


@flags(
    "profile replicas rate batch_size_max batch_wait timer routing arrivals users think_time queue_limit "
    f"request_overhead instances_per_device quantile {EFFORT}"
)
def simulate(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """The performance of one plan, with intervals."""
    from capacity import api

    emit(run(api.simulate, context), output, as_json=as_json)
