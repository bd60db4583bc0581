"""`capacity autoscale`: cost and P99 of a fleet that follows its load."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("autoscale")
def autoscale(
    context: typer.Context, out: list[str] | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """Autoscaled beside fixed: cost and P99 of a fleet that follows its load, and of one that does not.

    Examples:
      capacity autoscale --profile mine.csv --daily day.csv --slo-p99 300ms --startup-time 2min --metric-lag 30s
      capacity autoscale --profile mine.csv --rate 90rps --between 00:00-02:00 --slo-p99 300ms --autoscale concurrency:4
    """
    from capacity.api_autoscale import autoscale as ask

    paths = outputs(out)
    found = run(ask, context)
    emit_and_write(found, paths, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
