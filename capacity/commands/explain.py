"""`capacity explain`: why a saved plan is as it is."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.check import TraceOption
from capacity.commands.options import ClusterOption, FormatOption, JsonOption, WorkersOption, note_input
from capacity.commands.output import Format, emit, run

if TYPE_CHECKING:
    pass


def explain(
    context: typer.Context,
    plan: Annotated[
        str, typer.Argument(help="A plan saved by capacity plan -o.", metavar="FILE", callback=note_input)
    ],
    arrivals: TraceOption = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Why a saved plan is as it is: what limits it, what the answer depends on, and what would save most.

    The plan is simulated again with its saved random numbers; the search is not repeated.

    Examples:
      capacity explain plan.json
    """
    from capacity import api

    found = run(api.explain, context)
    emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
