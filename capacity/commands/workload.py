"""`capacity workload`: what recorded arrivals are like."""

import typer

from capacity.commands.options import EFFORT, REQUIRED, Flag, argument, flags, reads
from capacity.commands.output import Format, emit, run


@flags(
    f"trace profile replicas rate batch_size_max batch_wait routing request_overhead quantile {EFFORT}",
    trace=argument(str, REQUIRED, "Recorded arrivals, as for --arrivals trace:FILE."),
    profile=reads(str, None, "With --replicas: simulate this trace and Poisson arrivals, and compare."),
    replicas=Flag(int, None, "Number of replicas; with --profile."),
    quantile=Flag(float, 0.99, "Quantile to compare."),
)
def workload(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """How heavy and how bursty recorded traffic is, and what assuming Poisson arrivals would get wrong.

    Examples:
      capacity workload docs/examples/bursts.csv
      capacity workload trace.csv --profile mine.csv --replicas 2 --quantile 0.95
    """
    from capacity import api

    emit(run(api.describe_workload, context), output, as_json=as_json)
