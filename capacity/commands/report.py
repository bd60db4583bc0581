"""`capacity report`: a saved plan as one page, to pass on or to print."""

from typing import Annotated

import typer

from capacity.commands.check import TraceOption
from capacity.commands.options import ClusterOption, WorkersOption, note_input, output_option
from capacity.commands.output import run


def report(
    context: typer.Context,
    plan: Annotated[
        str, typer.Argument(help="A plan saved by capacity plan -o.", metavar="FILE", callback=note_input)
    ],
    file: Annotated[str, output_option("-o", "--output", help="The page to write, as .html.")],
    arrivals: TraceOption = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
) -> None:
    """A saved plan as one page of HTML for those who decide: verdict, charts, tables, assumptions.

    The plan is simulated again with its saved random numbers; the search is not repeated. The page needs no
    script and no network, and prints on two sheets.

    Examples:
      capacity report plan.json -o report.html
    """
    from capacity import api

    found = run(api.write_report, context)
    typer.echo(f"{found.sentence} See {file}.", err=True)
    raise typer.Exit(found.exit_code)
