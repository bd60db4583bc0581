"""`capacity check`: whether a saved plan still holds, as a gate before a release."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import ClusterOption, JsonOption, WorkersOption, input_option, option
from capacity.commands.output import Format, emit, write_text
from capacity.errors import DependencyError, InputError
from capacity.question.parse import read_profile

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.check import GateAnswer, NewProfile
    from capacity.answer.saved_plan import SavedPlan
    from capacity.question.budget import Effort


class GateFormat(StrEnum):
    """What `capacity check` prints."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    MARKDOWN = "markdown"


TraceOption = Annotated[
    str | None,
    input_option("--arrivals", help="trace:FILE again, for a plan whose trace was too long to save."),
]


def check(
    context: typer.Context,
    plan: Annotated[str, input_option("--plan", help="A plan that capacity plan has saved by -o.")],
    profile: Annotated[
        list[str] | None,
        input_option(
            "--profile", help="Measured anew, in place of the saved one: FILE; of several: NAME=FILE."
        ),
    ] = None,
    rate: Annotated[
        str | None, option("--rate", help="Arrival rate instead of the saved one: 500rps.")
    ] = None,
    baseline: Annotated[
        str | None,
        input_option(
            "--baseline", help="A saved plan: no more than it has may be needed; else the plan itself."
        ),
    ] = None,
    arrivals: TraceOption = None,
    requests_max: Annotated[
        int | None, option("--requests-max", help="Another budget of simulated requests than the saved one.")
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: Annotated[
        GateFormat, option("--format", help="What to print; github also writes the step's summary.")
    ] = GateFormat.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Whether a saved plan still holds, with new measurements or another rate; exit 3 where it does not."""
    from capacity.answer.check import gate, gate_inputs
    from capacity.units import parse_rate_rps

    saved, *others = read_plans([plan, *([baseline] if baseline is not None else [])], arrivals)
    before = others[0] if others else None
    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    inputs = gate_inputs(saved, list(_new_profiles(profile or (), saved)), rate_rps, requests_max)
    effort = replace(inputs.effort, workers=workers, cluster=cluster)
    with context.obj(effort) as work:
        answer = gate(saved, inputs, before, work.judge, work.report)
    _print(GateFormat.JSON if as_json else output, answer, saved, effort)
    raise typer.Exit(answer.verdict.exit_code)


def read_plans(paths: Sequence[str], arrivals: str | None) -> "list[SavedPlan]":
    """Saved plans, with `--arrivals trace:FILE` for those whose trace was too long to be saved.

    Raises:
        InputError: one that holds no plan, or a trace that none of them needs.
    """
    from capacity.answer.saved_plan import is_named_only, read_plan_file
    from capacity.traffic.parse import parse_arrivals

    if arrivals is not None and not arrivals.startswith("trace:"):
        raise InputError("--arrivals can only give a saved plan its trace again: trace:FILE")
    trace = None if arrivals is None else parse_arrivals(arrivals)
    plans = [read_plan_file(Path(path), trace) for path in paths]
    for saved in plans:
        saved.plan  # noqa: B018  (one that holds no plan is refused before any work)
    if trace is not None and not any(is_named_only(saved.question.workload) for saved in plans):
        raise InputError("a saved plan has all of its arrivals; leave --arrivals out, or plan for other ones")
    return plans


def _new_profiles(texts: Iterable[str], saved: "SavedPlan") -> Iterator["NewProfile"]:
    from capacity.answer.check import NewProfile, split_role

    for text in texts:
        role, file = split_role(text, saved)
        yield NewProfile(
            profile=read_profile(file, None), role=role, is_bare=Path(file).suffix.lower() == ".csv"
        )


def _print(output: GateFormat, answer: "GateAnswer", saved: "SavedPlan", effort: "Effort") -> None:
    from capacity.render.check import gate_document, github_lines, junit, markdown

    match output:
        case GateFormat.GITHUB:
            write_text("".join(f"{line}\n" for line in github_lines(answer)))
            _write_summary(markdown(answer))
        case GateFormat.JUNIT:
            write_text(junit(answer, saved.name))
        case GateFormat.MARKDOWN:
            write_text(markdown(answer))
        case _:
            emit(
                Format(output.value),
                as_json=False,
                document=lambda: gate_document(answer, seed=effort.seed, confidence=effort.confidence),
                tables=lambda: _tables(answer),
            )


def _tables(answer: "GateAnswer") -> Iterator["RenderableType"]:
    from rich.text import Text

    from capacity.render.check import summary
    from capacity.render.tables import table

    yield Text(f"{summary(answer)}.")
    rows = ((finding.verdict.value, finding.name, finding.message) for finding in answer.findings)
    yield table(("<verdict", "<what", "<found"), rows)
    yield from (Text(f"Note: {note}.") for note in answer.notes)


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
