"""The `capacity` command: a list of commands, each in a file of its name. No arithmetic."""

from typing import Annotated

import typer

from capacity.commands.agreement import agreement
from capacity.commands.audit import audit
from capacity.commands.autoscale import autoscale
from capacity.commands.check import check
from capacity.commands.compare import compare
from capacity.commands.curve import curve
from capacity.commands.explain import explain
from capacity.commands.guard import Guarded, StrictTyper
from capacity.commands.import_file import import_
from capacity.commands.littles_law import littles_law
from capacity.commands.max_rate import max_rate
from capacity.commands.measure import profile
from capacity.commands.output import print_version
from capacity.commands.plan import plan
from capacity.commands.profiles import profiles_app
from capacity.commands.queue import queue_app
from capacity.commands.render import render
from capacity.commands.report import report
from capacity.commands.schema import schema
from capacity.commands.simulate import simulate
from capacity.commands.stress import stress
from capacity.commands.sweep import sweep
from capacity.commands.verify import verify
from capacity.commands.workload import workload

app = StrictTyper(
    cls=Guarded,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="How many replicas, and which batching, meet your latency objective, and how sure that is.",
)
for panel, commands in (
    ("Plan", (plan, max_rate, simulate, sweep, compare, check, stress, autoscale, explain, report, render)),
    ("Measure and verify", (profile, import_, audit, workload, verify, schema)),
    ("Theory", (curve, littles_law, agreement)),
):
    for command in commands:
        app.command(command.__name__.strip("_").replace("_", "-"), rich_help_panel=panel)(command)
app.add_typer(queue_app, name="queue", rich_help_panel="Theory")
app.add_typer(profiles_app, name="profiles", rich_help_panel="Measure and verify")


@app.callback()
def main(
    _: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Capacity planning for inference serving."""
