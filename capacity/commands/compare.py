"""`capacity compare`: fleets side by side under the same requests."""

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run


@verb("compare")
def compare(context: typer.Context, out: list[str] | None, output: Format, *, as_json: bool) -> None:
    """Compare fleets side by side under the same requests, with how certain each difference is.

    Examples:
      capacity compare --profile resnet50-t4-fp16 --rate 1000rps --fleet replicas=2 --fleet replicas=3
      capacity compare old.json new.json
    """
    from capacity import api

    paths = outputs(out)
    found = run(api.compare, context)
    emit_and_write(found, paths, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
