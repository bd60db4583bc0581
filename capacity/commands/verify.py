"""`capacity verify`: what a plan predicts, compared with a load test of a real server."""

from pathlib import Path

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, ask_aloud, emit, workbench


@verb("verify")
def verify(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """Load-test a server in an open loop and compare prediction with measurement; exit 4 if they disagree.

    Examples:
      capacity verify --plan plan.json --body request.json --url http://127.0.0.1:8000/predict
    """
    import capacity
    from capacity.files import check_target

    path = None if file is None else Path(file)
    if path is not None:
        check_target(path, "a verification", (".json",))
    answer = ask_aloud(capacity.verify, context, workbench=workbench)
    try:
        emit(answer, output, as_json=as_json)
    finally:  # neither a closed stdout nor a full disk costs both
        if path is not None:
            answer.save(path)
    if answer.stop is not None:
        raise answer.stop
    raise typer.Exit(answer.exit_code)
