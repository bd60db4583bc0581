"""`capacity max-rate`: the arrival rates at which one plan keeps what was promised."""

from contextlib import ExitStack
from pathlib import Path

import typer

from capacity.commands.options import EFFORT, OBJECTIVE, flags, writes
from capacity.commands.output import Format, check_figure, emit, run


@flags(
    f"profile replicas {OBJECTIVE} batch_size_max batch_wait timer routing queue_limit arrivals "
    f"request_overhead {EFFORT} file",
    file=writes("Draw the curve into this .png or .svg file."),
)
def max_rate(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """The arrival rates at which a plan keeps the objective, and P99 against the rate.

    A batch wait makes low rates slow: what is kept may begin above 0, and lie in several stretches.
    """
    from capacity import api

    if file is not None:
        check_figure(file)
    found = run(api.max_rate, context)
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            after.callback(lambda path: found.plot().save(path), Path(file))
        emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
