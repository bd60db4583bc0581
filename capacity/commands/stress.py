"""`capacity stress`: whether a fleet recovers by itself after trouble."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("stress")
def stress(
    context: typer.Context, out: list[str] | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """Does a fleet come back by itself after something went wrong?

    Examples:
      capacity stress --plan plan.json --trigger lose:1,60s --timeout 500ms --attempts 3
      capacity stress --profile mine.csv --rate 90rps --replicas 3 --trigger spike:2x,30s --client envoy --timeout 1s
      capacity stress --plan llm-plan.json --trigger crash:1,60s --startup-time 3min --timeout 60s --attempts 3
    """
    from capacity.api_recovery import stress as ask

    paths = outputs(out)
    found = run(ask, context)
    emit_and_write(found, paths, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
