"""`capacity sweep`: a grid of rates, plans and profiles."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run
from capacity.errors import InputError

_PICTURES = (".svg", ".png")


@verb("sweep")
def sweep(
    context: typer.Context, limit: str | None, out: list[str] | None, output: Format, *, as_json: bool
) -> None:
    """P99 over a grid of rates, fleets and profiles, one row each; with -o an interrupted run resumes.

    Where the replicas and the batches vary and nothing else, the picture of -o is a map of both.

    Examples:
      capacity sweep --profile resnet50-t4-fp16 --rate 800rps:1600rps:400rps --replicas 1:2
      capacity sweep --profile mine.csv --rate 100rps --replicas 1:8 --batch-size-max 8 -o rows.csv
      capacity sweep --profile resnet50-t4-fp16 --rate 3200rps --replicas 2:6 --batch-size-max 4,8,16 -o map.svg
    """
    import capacity

    paths = outputs(out)
    rows = next((path for path in paths if path.suffix.lower() not in _PICTURES), None)
    if limit is not None and all(path.suffix.lower() not in _PICTURES for path in paths):
        raise InputError("--limit is what a picture marks; give -o map.svg too")
    found = run(capacity.sweep, context, output=rows)
    emit_and_write(found, [path for path in paths if path != rows], output, as_json=as_json)
    raise typer.Exit(found.exit_code)
