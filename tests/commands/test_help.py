"""Help: whole sentences within 80 columns, the field's names for values, and examples that parse."""

import shlex
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from capacity.commands.help import _broken, _panel, _split, _summary
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
        "Profile and traffic:", "Objective:", "Fleet:", "Language models:", "Autoscaler:",
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


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["cap x --aa 1 --bb 2"]),
        (21, ["cap x --aa 1 --bb 2"]),  # 12 + 6 letters, a space, and room for a backslash
        (20, ["cap x --aa 1 \\", "    --bb 2"]),
        (14, ["cap x --aa 1 \\", "    --bb 2"]),
        (13, ["cap x \\", "    --aa 1 \\", "    --bb 2"]),
    ],
)
def test_an_example_is_broken_before_its_flags(width: int, lines: list[str]) -> None:
    assert list(_broken("cap x --aa 1 --bb 2", width)) == lines


def test_the_summary_is_the_first_paragraph() -> None:
    command = SimpleNamespace(help="One\nline.\n\nMore of it.\n\nExamples:\n  cap x\n  cap y")
    assert _split(command) == ("One\nline.\n\nMore of it.", "  cap x\n  cap y")
    assert _summary(command) == "One line."
    assert _split(SimpleNamespace(help=None)) == ("", "")


def test_the_group_of_a_flag() -> None:
    assert _panel(SimpleNamespace(), "Options") == "Options"
    assert _panel(SimpleNamespace(rich_help_panel=None), "Options") == "Options"
    assert _panel(SimpleNamespace(rich_help_panel="Fleet"), "Options") == "Fleet"


@pytest.mark.parametrize("command", ["plan", "max-rate", "autoscale"])
def test_all_limits_have_one_row(command: str) -> None:
    assert help_of((command,)).count("--slo-[MEASURE-]STATISTIC DURATION") == 1
    assert "--slo-p99 DURATION" not in help_of((command,))


def test_a_group_lists_its_commands() -> None:
    shown = " ".join(help_of(("queue",)).split())
    assert "mm1 M/M/1: Poisson arrivals, exponential service, one server." in shown


def test_examples_stand_only_at_the_end() -> None:
    above, _, below = help_of(("curve",)).partition("\nExamples:\n")
    shown = " ".join(below.replace("\\\n", " ").split())
    assert "capacity curve --profile resnet50-t4-fp16" in shown
    assert "capacity curve --y p99 --service-rate 10rps --servers 1 --servers 4" in shown
    assert "capacity curve --" not in above
