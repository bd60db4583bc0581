"""Tables on the terminal: the colour of each verdict, sides, and what may wrap."""

import pytest
from rich.text import Text

from capacity.render.tables import table

ROWS = ("met", "answered", "missed: P99", "unstable: load", "in doubt: why", "inconclusive", "refused")
COLOURS = ["green", "green", "red", "red", "yellow", "yellow", ""]


def styles(columns: tuple[str, ...], at: int, number: int) -> list[str]:
    """Of the cells of a column, in a table whose verdicts are at a place."""
    rows = [[one if place == at else "met" for place in range(len(columns))] for one in ROWS]
    cells = table(columns, rows).columns[number].cells
    return [str(cell.style) for cell in cells if isinstance(cell, Text)]


@pytest.mark.parametrize(
    ("columns", "at"),
    [(("<name", "P99", "<verdict"), 2), (("<name", "<outcome", "<why"), 1), (("<verdict",), 0)],
)
def test_verdicts_alone_are_coloured(columns: tuple[str, ...], at: int) -> None:
    for number in range(len(columns)):
        assert styles(columns, at, number) == (COLOURS if number == at else [""] * len(ROWS))


def test_verdicts_in_another_place_are_words() -> None:
    assert styles(("<verdict", "<check", "<found"), 0, 0) == [""] * len(ROWS)
    assert styles(("<name", "<why"), 1, 1) == [""] * len(ROWS)


def test_names_and_numbers_are_never_cut() -> None:
    made = table(("<name", "<routing", "rate", "~P99", "<verdict", "<found"), [], title="all")
    shown = {
        str(one.header): (one.justify, one.no_wrap, one.min_width) for one in made.columns
    }  # sides, whether it stays on a line, and its least width
    assert shown == {
        "name": ("left", True, None),
        "routing": ("left", True, None),
        "rate": ("right", True, None),
        "P99": ("right", False, 10),
        "verdict": ("left", False, 11),
        "found": ("left", False, None),
    }
    assert made.show_header
    assert not table(("<", "<"), []).show_header
