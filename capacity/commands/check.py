"""`capacity check`: whether a saved plan still holds, as a gate before a release."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capacity.commands.options import REQUIRED, Flag, flags, reads
from capacity.commands.output import Format, emit, run, write_text
from capacity.errors import DependencyError

if TYPE_CHECKING:
    from capacity.answers import CheckAnswer
    from capacity.llm_answers import LlmCheckAnswer


class GateFormat(StrEnum):
    """What `capacity check` prints."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    MARKDOWN = "markdown"


TRACE_AGAIN = reads(str, None, "trace:FILE again, if the plan's trace was too long to save.")


@flags(
    "plan profile rate baseline arrivals without_recovery requests_max workers cluster",
    plan=reads(str, REQUIRED, "A plan saved by capacity plan -o."),
    profile=reads(
        list[str], None, "New measurements in place of the saved ones: FILE, or NAME=FILE for one of several."
    ),
    rate=Flag(str, None, "Arrival rate in place of the saved one: 500rps."),
    baseline=reads(str, None, "A saved plan whose replicas must still be enough. Default: the plan itself."),
    arrivals=TRACE_AGAIN,
    without_recovery=Flag(bool, False, "Leave out whether the plan still recovers from trouble in time."),
    requests_max=Flag(int, None, "Most requests to simulate, in place of the saved budget."),
    output=Flag(
        GateFormat,
        GateFormat.TABLE,
        "What to print; github also writes the step summary.",
        ("--format",),
    ),
)
def check(context: typer.Context, output: GateFormat, *, as_json: bool) -> None:
    """Check whether a saved plan still meets its objective at new measurements or rates; exit 3 if not.

    Examples:
      capacity check --plan plan.json
      capacity check --plan plan.json --profile new.csv --rate 3500rps --format github
    """
    from capacity import api

    found = run(api.check, context)
    _print(GateFormat.JSON if as_json else output, found)
    raise typer.Exit(found.exit_code)


def _print(output: GateFormat, found: "CheckAnswer | LlmCheckAnswer") -> None:
    from capacity.answers import CheckAnswer
    from capacity.render.check import github_lines, junit, markdown

    answer = found.answer if isinstance(found, CheckAnswer) else found
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
            f"cannot write the step's summary: {reason}; fix or unset GITHUB_STEP_SUMMARY"
        ) from None
