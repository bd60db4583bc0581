"""`capacity max-rate`: the arrival rates at which one plan meets the objective."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("max-rate")
def max_rate(context: typer.Context, out: list[str] | None, output: Format, *, as_json: bool) -> None:
    """What load a fleet can handle: the arrival rates that meet the objective, and P99 against the rate.

    A batch wait makes low rates slow, so the rates that meet the objective may start above 0, in several stretches.

    Examples:
      capacity max-rate --profile resnet50-t4-fp16 --replicas 2 --slo-p99 40ms
      capacity max-rate --profile mine.csv --replicas 4 --slo-p99 80ms -o curve.svg
    """
    from capacity import api

    paths = outputs(out)
    found = run(api.max_rate, context)
    emit_and_write(found, paths, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
