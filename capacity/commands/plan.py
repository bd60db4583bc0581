"""`capacity plan`: the cheapest fleet that keeps what was promised."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capacity.commands.options import EFFORT, OBJECTIVE, REQUIRED, Flag, flags, reads, writes
from capacity.commands.output import Format, check_figure, emit, run

if TYPE_CHECKING:
    from capacity.answers import PlanAnswer


@flags(
    f"profile rate {OBJECTIVE} batch_size_max batch_wait timer routing queue_limit replicas_max hourly_usd "
    "arrivals daily users think_time spare survive rolling_update startup_time spike request_overhead "
    f"instances_per_device {EFFORT} explain file plot",
    profile=reads(
        list[str],
        REQUIRED,
        "A bundled profile's name, or a .json or .csv file; repeat it to choose between.",
    ),
    batch_size_max=Flag(int, None, "Largest batch to consider; the profile's by default."),
    batch_wait=Flag(
        list[str], None, "How long the oldest may wait for a batch to fill: 2ms; searched by default."
    ),
    routing=Flag(
        list[str],
        None,
        "round-robin (the default), random, least-outstanding, power-of-two or shared-queue; "
        "repeat it, or say any, to choose between.",
    ),
    replicas_max=Flag(int, 1024, "Most replicas to consider."),
    hourly_usd=Flag(
        list[str], None, "Price of a device, of one profile's where there are several: t4=0.526."
    ),
    daily=reads(str, None, "A day's rates from a .csv of time,rate_rps, instead of --rate."),
    spare=Flag(int, 0, "So many replicas may be gone, and the objective holds."),
    survive=Flag(list[str], None, "What the objective outlives: n-1, n-2, zone:3; may be repeated."),
    rolling_update=Flag(str, None, "An update that takes replicas away: max-unavailable=25%."),
    startup_time=Flag(str, None, "Until a new replica is ready: 120s; with --spike."),
    spike=Flag(str, None, "Traffic that jumps to a multiple of itself: 2x; with --startup-time."),
    explain=Flag(bool, False, "Also what binds, what the answer hangs on, and what would save most."),
    file=writes("Save the plan into this .json file, for check and compare."),
    plot=writes("Draw what is promised over the replicas into this .png or .svg file.", "--plot"),
)
def plan(
    context: typer.Context, file: str | None, plot: str | None, output: Format, *, as_json: bool
) -> None:
    """The cheapest fleet that keeps the objective, how sure that is, and why fewer would not do."""
    from capacity import api
    from capacity.answer.saved_plan import check_plan_target, write_plan_file

    path = None if file is None else Path(file)
    if plot is not None:
        check_figure(plot)
    found = run(api.plan, context, before=None if path is None else partial(check_plan_target, path))
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        if plot is not None:
            after.callback(_draw, found, plot)
        if path is not None:
            after.callback(write_plan_file, path, found.recommendation, found.question, found.effort)
        emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)


def _draw(found: "PlanAnswer", file: str) -> None:
    """The figure of a plan; without a plan there is none, which is said."""
    if found.curve() is None:
        typer.echo(f"no plan, so that {file} is not drawn", err=True)
    else:
        found.plot().save(Path(file))
