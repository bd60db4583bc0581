"""Output of a command: its width, its format and its progress."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.core import ParameterSource
from rich.text import Text

from capacity.commands import output
from capacity.commands.output import Format, emit_pieces, in_colour, progress, run, width
from capacity.doors import door
from capacity.question.arguments import Asked

MIXED = Path(__file__).parents[1] / "kept" / "files" / "mixed.json"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes stdout a terminal with a number of columns, and clears what the environment says about colours."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def set_columns(columns: int) -> None:
        size = os.terminal_size((columns, 24))
        seen = SimpleNamespace(environ=os.environ, get_terminal_size=lambda: size)
        monkeypatch.setattr(output, "os", seen)
        monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))

    return set_columns


@pytest.mark.parametrize(
    ("columns", "used"), [(0, 120), (59, 60), (61, 61), (120, 120), (999, 999), (1001, 1000)]
)
def test_output_is_as_wide_as_the_terminal(terminal: Callable[[int], None], columns: int, used: int) -> None:
    terminal(columns)
    assert width() == used


def test_output_to_a_file_has_120_columns() -> None:
    assert width() == 120


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("80", 80),
        ("10", 60),
        ("9999", 1000),
        ("9" * 5000, 1000),
        ("0", 120),
        ("", 120),
        ("-80", 120),
        ("wide", 120),
    ],
)
def test_columns_of_the_environment_set_the_width_of_a_file(
    monkeypatch: pytest.MonkeyPatch, given: str, used: int
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert width() == used


def test_columns_of_the_environment_go_before_those_of_the_terminal(
    terminal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(100)
    monkeypatch.setenv("COLUMNS", "80")
    assert width() == 80


def test_only_terminals_that_support_colours_get_them(terminal, monkeypatch) -> None:
    assert not in_colour()
    terminal(80)
    assert in_colour()
    monkeypatch.setenv("TERM", "xterm")
    assert in_colour()
    monkeypatch.setenv("TERM", "dumb")
    assert not in_colour()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_colour()


def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows the last number of the list."""
    now_s = [100.0]
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: now_s[-1]))
    return now_s


def test_a_file_gets_at_most_four_lines_of_progress(monkeypatch, capsys) -> None:
    """At once and after 5, 30 and 120 s; notes are always written."""
    now_s = clock(monkeypatch)
    with progress() as report:
        for after_s in (0.0, 1.0, 4.9, 5.0, 6.0, 29.9, 30.0, 40.0, 119.9, 120.0, 500.0):
            now_s.append(100.0 + after_s)
            report(f"at {after_s:g}")
            if after_s in (1.0, 500.0):
                report(f"note: {after_s:g}")
        report("warning: w")
        report("compiling c")
        report("going on after g")
    assert capsys.readouterr().err.splitlines() == [
        "at 0", "note: 1", "at 5", "at 30", "at 120", "note: 500", "warning: w", "compiling c", "going on after g",
        "done in 500.0 s",
    ]  # fmt: skip


def test_a_terminal_gets_one_line_of_progress_that_changes(monkeypatch, capsys) -> None:
    said = []

    class Terminal:
        is_terminal = True

        def __init__(self, stream: Any) -> None:
            assert stream is sys.stderr

        @contextmanager
        def status(self, first: str) -> Iterator[Any]:
            said.append(first)
            yield SimpleNamespace(update=said.append)

    monkeypatch.setattr("capacity.render.console.progress_console", Terminal)
    now_s = clock(monkeypatch)
    with progress() as report:
        now_s.append(107.4)
        report("simulating")
    assert said == ["starting", "simulating (7 s)"]
    assert capsys.readouterr().err == "done in 7.4 s\n"


def test_a_verb_gets_what_it_takes_of_what_was_typed() -> None:
    """A verb's `output` is a file, which no flag of that name gives: that is the format of stdout."""

    @door("sweep")
    def sweeps(asked: Asked) -> tuple[object, ...]:
        """A sweep."""
        return asked["rate"], asked.output, callable(asked.progress), "out" in asked

    context: Any = SimpleNamespace(
        params={"rate": ["9rps"], "other": 1, "output": Format.JSON, "out": ["a.json"]},
        get_parameter_source=lambda name: ParameterSource.COMMANDLINE,
    )
    assert run(sweeps, context) == (["9rps"], None, True, False)
    assert run(sweeps, context, output="a.csv") == (["9rps"], "a.csv", True, False)


@pytest.mark.parametrize(
    ("form", "as_json", "found"),
    [
        (Format.TABLE, False, "a\nb\n"),
        (Format.JSON, False, '{\n  "schema_version": 1,\n  "x": 1\n}\n'),
        (Format.TABLE, True, '{\n  "schema_version": 1,\n  "x": 1\n}\n'),
    ],
)
def test_answers_are_written_in_the_format_asked_for(form, *, as_json, found, capsys) -> None:
    emit_pieces(form, as_json=as_json, document=lambda: {"x": 1}, tables=lambda: [Text("a  "), Text("b")])
    assert capsys.readouterr().out == found
