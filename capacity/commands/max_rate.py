"""`capacity max-rate`: the arrival rates at which one plan meets the objective."""

from contextlib import ExitStack
from pathlib import Path

import typer

from capacity.commands.options import BATCHING, EFFORT, LLM, OBJECTIVE, TOKEN_OBJECTIVE, flags, writes
from capacity.commands.output import Format, check_figure, emit, run


@flags(
    f"profile replicas {OBJECTIVE} {TOKEN_OBJECTIVE} goodput_min batch_size_max batch_wait {BATCHING} "
    f"routing queue_limit arrivals request_overhead {LLM} {EFFORT} file",
    file=writes("Draw the curve, as .png or .svg."),
)
def max_rate(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """What load a fleet can handle: the arrival rates that meet the objective, and P99 against the rate.

    A batch wait makes low rates slow, so the rates that meet it may start above 0, in several stretches.

    Examples:
      capacity max-rate --profile resnet50-t4-fp16 --replicas 2 --slo-p99 40ms
      capacity max-rate --profile mine.csv --replicas 4 --slo-p99 80ms -o curve.svg
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
