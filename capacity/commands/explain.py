"""`capacity explain`: why a saved plan is as it is."""

import typer

from capacity.commands.check import TRACE_AGAIN
from capacity.commands.options import REQUIRED, argument, flags
from capacity.commands.output import Format, emit, run


@flags(
    "plan arrivals workers cluster",
    plan=argument(str, REQUIRED, "A plan saved by capacity plan -o."),
    arrivals=TRACE_AGAIN,
)
def explain(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """Why a saved plan is as it is: what limits it, what the answer depends on, and what would save most.

    The plan is simulated again with its saved random numbers; the search is not repeated.

    Examples:
      capacity explain plan.json
    """
    from capacity import api

    found = run(api.explain, context)
    emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
