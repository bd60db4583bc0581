"""`capacity render`: a saved plan as the settings of the server that is to run it."""

from pathlib import Path
from typing import Annotated

import typer

from capacity.commands.options import note_input, note_output, option
from capacity.commands.output import write_text


def render(
    plan: Annotated[
        str, typer.Argument(help="A plan saved by capacity plan -o.", metavar="FILE", callback=note_input)
    ],
    target: Annotated[str, option("--target", help="What is to run it: vllm.", metavar="TARGET")],
    file: Annotated[
        str | None,
        option(
            "-o", "--output", help="Where to write it. Default: stdout.", metavar="FILE", callback=note_output
        ),
    ] = None,
) -> None:
    """Write a saved plan as the settings of the server that is to run it.

    Examples:
      capacity render plan.json --target vllm
    """
    from capacity import api

    text = api.render_plan(plan, target)
    if file is None:
        write_text(text)
        return
    from capacity.files import check_target, write_whole

    check_target(Path(file), "a command", (".sh", ".txt"))
    write_whole(Path(file), text.encode())
