"""`capacity audit`: whether a load test can be believed."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("audit")
def audit(
    context: typer.Context, out: list[str] | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """Whether a load test can be believed: laws that its own figures must obey, each with what to do.

    Checks Little's law, whether the loop was closed and what that hides (coordinated omission), whether the
    generator kept up, failures, samples behind percentiles, buckets, warm-up and drift. Exits with 0 if the
    figures can be used as they are, else with 4. With --profile or --plan it predicts each run.

    Examples:
      capacity audit run_stats.csv
      capacity audit perf.csv --profile resnet50-t4-fp16 --batch-size-max 8
    """
    from capacity import api

    paths = outputs(out)
    found = run(api.audit, context)
    emit_and_write(found, paths, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
