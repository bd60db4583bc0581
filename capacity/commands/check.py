"""`capacity check`: whether a saved plan still holds, as a gate before a release."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import ClusterOption, JsonOption, WorkersOption, input_option, option
from capacity.commands.output import Format, emit, run, write_text
from capacity.errors import DependencyError

if TYPE_CHECKING:
    from capacity.answers import CheckAnswer


class GateFormat(StrEnum):
    """What `capacity check` prints."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    MARKDOWN = "markdown"


TraceOption = Annotated[
    str | None,
    input_option(
        "--arrivals", help="trace:FILE again, if the plan's trace was too long to save.", metavar="trace:FILE"
    ),
]


def check(
    context: typer.Context,
    plan: Annotated[str, input_option("--plan", help="A plan saved by capacity plan -o.")],
    profile: Annotated[
        list[str] | None,
        input_option(
            "--profile",
            help="New measurements in place of the saved ones: FILE, or NAME=FILE of several.",
        ),
    ] = None,
    rate: Annotated[
        str | None, option("--rate", help="Arrival rate in place of the saved one: 500rps.", metavar="RATE")
    ] = None,
    baseline: Annotated[
        str | None,
        input_option(
            "--baseline", help="A saved plan whose replicas must suffice. Default: the plan itself."
        ),
    ] = None,
    arrivals: TraceOption = None,
    requests_max: Annotated[
        int | None,
        option(
            "--requests-max", help="Most requests to simulate, in place of the saved budget.", metavar="N"
        ),
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: Annotated[
        GateFormat, option("--format", help="What to print; github also writes the step summary.")
    ] = GateFormat.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Whether a saved plan still meets its objective, given new measurements or another rate; exit 3 if not.

    Examples:
      capacity check --plan plan.json
      capacity check --plan plan.json --profile new.csv --rate 3500rps --format github
    """
    from capacity import api

    found = run(api.check, context)
    _print(GateFormat.JSON if as_json else output, found)
    raise typer.Exit(found.exit_code)


def _print(output: GateFormat, found: "CheckAnswer") -> None:
    from capacity.render.check import github_lines, junit, markdown

    answer = found.answer
    match output:
        case GateFormat.GITHUB:
            write_text("".join(f"{line}\n" for line in github_lines(answer)))
            _write_summary(markdown(answer))
        case GateFormat.JUNIT:
            write_text(junit(answer, found.saved.name))
        case GateFormat.MARKDOWN:
            write_text(markdown(answer))
        case _:
            emit(found, Format(output.value), as_json=False)


def _write_summary(text: str) -> None:
    """Markdown to the end of the step's summary, where a workflow has one.

    Raises:
        DependencyError: it cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise DependencyError(
            f"cannot write the step's summary: {reason}; mend or unset GITHUB_STEP_SUMMARY"
        ) from None
