"""`capacity check`: whether a saved plan still holds, as a gate before a release."""

import os
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit, outputs, run, write_text
from capacity.errors import DependencyError
from capacity.question.flag import Flag, Kind

if TYPE_CHECKING:
    from capacity.answers.saved import CheckAnswer


class GateFormat(StrEnum):
    """What `capacity check` prints."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    MARKDOWN = "markdown"


_OUTPUT = Flag(
    Kind(typed=GateFormat, python=""),
    GateFormat.TABLE,
    "What to print; github also writes the step summary.",
    ("--format",),
    panel="Output",
)


@verb("check", output=_OUTPUT)
def check(context: typer.Context, out: list[str] | None, output: GateFormat, *, as_json: bool) -> None:
    """Check whether a saved plan still meets its objective at new measurements or rates; exit 3 if not.

    Examples:
      capacity check --plan plan.json
      capacity check --plan plan.json --profile new.csv --rate 3500rps --format github
    """
    import capacity

    paths = outputs(out)
    found = run(capacity.check, context)
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        for path in reversed(paths):
            after.callback(found.save, path)
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
            f"cannot write the step's summary: {reason}; fix or unset GITHUB_STEP_SUMMARY"
        ) from None
