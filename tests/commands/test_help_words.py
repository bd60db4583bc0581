"""How help breaks examples, and what it calls the values of flags."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import in_process
import pytest

from capacity.commands.help import _broken, _panel, _split, _summary, metavar_of, panel_of


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["cap x --aa 1 --bb 2"]),
        (21, ["cap x --aa 1 --bb 2"]),  # 12 and 6 letters, and 3 for what would follow
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


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("replicas", int, "N"),
        ("seed", int, "N"),
        ("rate", str, "RATE"),
        ("slo_p99", str, "DURATION"),
        ("slo_tpot_p999", str, "DURATION"),
        ("quantile", list[float], "Q"),
        ("sigma", float, "NUMBER"),
        ("client", str, "TEXT"),
        ("routing", str, "ROUTING"),
        ("fleet", list[str], "FLEET"),
        ("fresh", bool, None),
    ],
)
def test_what_a_flag_takes(name: str, kind: Any, shown: str | None) -> None:
    assert metavar_of(name, kind) == shown


def test_where_a_flag_stands() -> None:
    assert panel_of("rate") == "Profile and traffic"
    assert panel_of("slo_itl_mean") == "Objective of a language model"
    assert panel_of("sigma") is None
    assert _panel(SimpleNamespace(), "Options") == "Options"
    assert _panel(SimpleNamespace(rich_help_panel=None), "Options") == "Options"
    assert _panel(SimpleNamespace(rich_help_panel="Fleet"), "Options") == "Fleet"


def test_help_has_the_commands_of_a_group_and_the_examples_of_a_command(tmp_path: Path) -> None:
    group = in_process.capacity(tmp_path, "queue", "--help").stdout
    assert "mm1" in group
    assert "M/M/1: Poisson arrivals, exponential service, one server." in " ".join(group.split())
    command = in_process.capacity(tmp_path, "curve", "--help").stdout
    _, _, examples = command.partition("Examples")
    shown = " ".join(examples.replace("\\\n", " ").split())
    assert "capacity curve --profile resnet50-t4-fp16" in shown
    assert "capacity curve --y p99 --service-rate 10rps --servers 1 --servers 4" in shown
    assert "Examples" in command
    assert "capacity curve" not in command.partition("Options")[2].partition("Examples")[0]
