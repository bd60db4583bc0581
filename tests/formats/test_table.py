"""Rows of a CSV whose figures are not below 0."""

from collections.abc import Callable
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.document import Document
from capacity.formats.table import Row, amount, rows


def said(act: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as refused:
        act()
    return str(refused.value)


def test_cells_are_told_by_the_names_in_the_first_row() -> None:
    first, second = rows(Document("f", " a ,b,,\n1, x ,,\n0,,n/a,y\n"))
    assert (first.where, first.number("a"), first.text("b")) == ("f line 2", 1.0, "x")
    assert (second.where, second.number("a"), second.text("b"), second.text("c")) == ("f line 3", 0.0, "", "")
    assert list(rows(Document("f", "a,b\n"))) == []


@pytest.mark.parametrize("cell", ["", "n/a", "N/A", "NaN", "-"])
def test_a_cell_may_be_left_out(cell: str) -> None:
    row = Row("f line 2", {"a": cell, "b": "0.5"})
    assert ("a" in row, "b" in row, "c" in row) == (False, True, False)
    assert (row.number_or_none("a"), row.number_or_none("b"), row.number_or_none("c")) == (None, 0.5, None)
    assert (
        said(lambda: row.number("a")) == "f line 2 has no 'a', which is needed; export the file again with it"
    )


def test_long_names_are_cut() -> None:
    row = Row("w", {"a" * 61: "x"})
    assert said(lambda: row.number("a" * 61)).startswith(f"w, '{'a' * 60}' must be a number")
    assert said(lambda: amount("x" * 61, "w")) == f"w must be a number from 0, got '{'x' * 60}'"
    header = f"{'b' * 61},{'b' * 61}\n"
    assert (
        said(lambda: list(rows(Document("f", header))))
        == f"f line 1 has the column '{'b' * 60}' twice; keep one"
    )


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_an_amount_is_finite_and_not_below_0(text: str, value: float) -> None:
    assert amount(text, "w") == value
    for bad in (f"-{text}1", "inf", "nan", "1_0", "\u0663", "x"):
        assert said(lambda bad=bad: amount(bad, "w")).startswith("w must be a number from 0, got ")  # type: ignore[misc]


def test_a_row_of_another_length_is_refused() -> None:
    for text in ("a,b\n1\n", "a,b\n1,2,3\n"):
        assert "cells under 2 columns; was it cut off? fix or drop the line" in said(
            lambda text=text: list(rows(Document("f", text)))  # type: ignore[misc]
        )
