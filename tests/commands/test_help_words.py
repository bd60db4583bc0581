"""How help breaks examples, and what it calls the values of flags."""

from types import SimpleNamespace
from typing import Any

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
