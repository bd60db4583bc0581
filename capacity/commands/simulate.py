"""`capacity simulate`: the performance of one plan."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("simulate")
def simulate(
    context: typer.Context, out: list[str] | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """Latency, load and losses of one fleet, with intervals.

    Examples:
      capacity simulate --profile resnet50-t4-fp16 --rate 1500rps --replicas 2
      capacity simulate --profile engine.json --arrivals trace:requests.csv --replay --replicas 1 -o served.csv
      capacity simulate --profile resnet50-t4-fp16 --users 64 --think-time 100ms --replicas 1
    """
    from capacity import api

    paths = outputs(out)
    found = run(api.simulate, context)
    emit_and_write(found, paths, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
