"""`capacity workload`: what recorded arrivals are like."""

import typer

from capacity.commands.options import EFFORT, REQUIRED, Flag, argument, flags, reads
from capacity.commands.output import Format, emit, run


@flags(
    f"trace profile replicas rate batch_size_max batch_wait routing request_overhead quantile {EFFORT}",
    trace=argument(str, REQUIRED, "The recorded arrivals, as for --arrivals trace:FILE.", metavar="FILE"),
    profile=reads(str, None, "With --replicas: what would Poisson arrivals get wrong here?"),
    replicas=Flag(int, None, "How many replicas."),
    quantile=Flag(float, 0.99, "The quantile to compare."),
)
def workload(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """How much and how bursty recorded traffic is, whether it is Poisson, and what is lost if it is not."""
    from capacity import api

    emit(run(api.describe_workload, context), output, as_json=as_json)
