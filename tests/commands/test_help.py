"""Help: whole sentences within 80 columns, the field's names for values, and examples that parse."""

import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli import app


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


COMMANDS = list(walk(get_command(app)))


@cache
def help_of(path: tuple[str, ...], flag: str = "--help") -> str:
    done = CliRunner().invoke(app, [*path, flag], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_80_columns_and_names_what_each_flag_takes(path: tuple[str, ...]) -> None:
    shown = help_of(path)
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert not any(f"<{kind}" in shown for kind in ("str", "int", "float", "list"))
    assert help_of(path, "-h") == shown


def test_the_list_of_commands_has_each_summary_whole() -> None:
    shown = " ".join(help_of(()).split())
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        summary = " ".join(command.help.split("\n\n")[0].split())
        assert f"{name} {summary}" in shown


def test_flags_stand_in_groups_and_help_last() -> None:
    lines = help_of(("plan",)).splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "Profile and traffic:", "Objective:", "Objective of a language model:", "Fleet:", "Language models:",
        "Failures and spikes:", "Clients:", "Protection:", "Simulation:", "Output:", "Examples:",
    ]  # fmt: skip
    assert lines[lines.index("Examples:") - 2].split()[:2] == ["-h,", "--help"]


def examples() -> list[str]:
    """Each command of the examples in help, as a shell would join its lines."""
    shown = [help_of(path).partition("\nExamples:\n")[2] for path in COMMANDS]
    return [line.strip() for text in shown for line in text.replace("\\\n", "").splitlines() if line.strip()]


@pytest.mark.parametrize("line", examples())
def test_each_example_parses(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "capacity"
    context, command = None, get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context("example", words)
    assert context.params


def test_most_commands_show_an_example() -> None:
    without = {path[0] for path in COMMANDS if path and "\nExamples:\n" not in help_of(path)}
    assert without <= {"queue", "profiles"}  # groups, whose commands have their own
