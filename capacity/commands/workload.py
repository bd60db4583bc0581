"""`capacity workload`: how heavy and bursty recorded arrivals are."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("workload")
def workload(context: typer.Context, out: list[str] | None, output: Format, *, as_json: bool) -> None:
    """How heavy and how bursty recorded traffic is, and what assuming Poisson arrivals would get wrong.

    Examples:
      capacity workload docs/examples/bursts.csv
      capacity workload trace.csv --profile mine.csv --replicas 2 --quantile 0.95
    """
    from capacity import api

    paths = outputs(out)
    found = run(api.describe_workload, context)
    emit_and_write(found, paths, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
