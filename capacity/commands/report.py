"""`capacity report`: a saved plan as one page, to pass on or to print."""

from typing import Annotated

import typer

from capacity.commands.options import note_input, note_output, option
from capacity.commands.output import run
from capacity.question.asked import FLAGS
from capacity.question.verbs import VERBS


def report(
    context: typer.Context,
    plan: Annotated[
        str, typer.Argument(help="A plan saved by capacity plan -o.", metavar="FILE", callback=note_input)
    ],
    file: Annotated[
        str,
        option("-o", "--output", help="The page to write, as .html.", metavar="FILE", callback=note_output),
    ],
    arrivals: Annotated[
        str | None,
        option(
            "--arrivals", help=VERBS["report"].flags["arrivals"].help, metavar="ARRIVALS", callback=note_input
        ),
    ] = None,
    workers: Annotated[int | None, option("--workers", help=FLAGS["workers"].help, metavar="N")] = None,
    cluster: Annotated[str | None, option("--cluster", help=FLAGS["cluster"].help, metavar="URL")] = None,
) -> None:
    """A saved plan as one page of HTML for those who decide: verdict, charts, tables, assumptions.

    The plan is simulated again with its saved random numbers; the search is not repeated. Sliders on the page
    move among the fleets around the plan. It needs no network, can be read without script, and prints on two sheets.

    Examples:
      capacity report plan.json -o report.html
    """
    import capacity

    found = run(capacity.report, context)
    typer.echo(f"{found.sentence} See {file}.", err=True)
    raise typer.Exit(found.exit_code)
