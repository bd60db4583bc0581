"""The `capacity` command: a list of commands, each in a file of its name. No arithmetic."""

from typing import Annotated

import typer

from capacity.commands.guard import Guarded, StrictTyper
from capacity.commands.output import print_version

app = StrictTyper(
    cls=Guarded,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="How many replicas, and which batching, meet your latency objective, and how sure that is.",
)
for panel, commands in (
    ("Plan", "plan max-rate simulate sweep compare check stress autoscale explain report render"),
    ("Measure and verify", "profile=measure:profile import=import_file:import_ audit workload verify schema"),
    ("Theory", "curve littles-law agreement queue=queue:queue_app"),
    ("Measure and verify", "profiles=profiles:profiles_app"),
):
    for command in commands.split():
        name, _, place = command.partition("=")
        module = name.replace("-", "_")
        app.add(name, f"capacity.commands.{place or f'{module}:{module}'}", rich_help_panel=panel)


@app.callback()
def main(
    _: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Capacity planning for inference serving."""
