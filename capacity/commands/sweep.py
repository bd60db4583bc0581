"""`capacity sweep`: a grid of rates, plans and profiles."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("sweep")
def sweep(context: typer.Context, out: list[str] | None, output: Format, *, as_json: bool) -> None:
    """P99 over a grid of rates, fleets and profiles, one row each; with -o an interrupted run resumes.

    Examples:
      capacity sweep --profile resnet50-t4-fp16 --rate 800rps:1600rps:400rps --replicas 1:2
      capacity sweep --profile mine.csv --rate 100rps --replicas 1:8 --batch-size-max 8 -o rows.csv
    """
    import capacity

    paths = outputs(out)
    rows = next((path for path in paths if path.suffix.lower() not in (".svg", ".png")), None)
    found = run(capacity.sweep, context, output=rows)
    emit_and_write(found, [path for path in paths if path != rows], output, as_json=as_json)
    raise typer.Exit(found.exit_code)
