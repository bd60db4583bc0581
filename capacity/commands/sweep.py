"""`capacity sweep`: a grid of rates, plans and profiles."""

import typer

from capacity.commands.options import EFFORT, REQUIRED, Flag, flags, reads, writes
from capacity.commands.output import Format, emit, run


@flags(
    "profile replicas rate batch_size_max batch_wait routing timer queue_limit arrivals request_overhead "
    f"instances_per_device quantile {EFFORT} file fresh",
    profile=reads(list[str], REQUIRED, "As in simulate; may be repeated."),
    replicas=Flag(list[str], REQUIRED, "How many replicas: 4, or 1:8, or 2:16:2; may be repeated."),
    rate=Flag(list[str], None, "Rate, or range of rates 100rps:1000rps:100rps; may be repeated."),
    batch_size_max=Flag(list[str], None, "Largest batch: 16, or 8:32:8; each profile's largest by default."),
    batch_wait=Flag(list[str], None, "As in simulate: 2ms, or 0ms:10ms:2ms; 0ms by default."),
    routing=Flag(list[str], None, "As in simulate; round-robin by default; may be repeated."),
    file=writes("Write the rows into this .csv, .json or .parquet file."),
    fresh=Flag(bool, False, "Begin anew, whatever an interrupted run has left."),
)
def sweep(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """A grid of rates, plans and profiles, one row each; with -o an interrupted run goes on where it was."""
    from capacity import api

    found = run(api.sweep, context)
    emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
