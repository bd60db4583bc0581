"""Table: rows of a CSV by column name, whose cells are read strictly, with messages that name the place."""

import math
from collections.abc import Iterator, Mapping

from capacity.errors import InputError, quoted
from capacity.formats.document import Document

_ABSENT = ("", "n/a", "nan", "-")  # how tools leave a cell out


class Row:
    """One row of a table."""

    def __init__(self, where: str, cells: Mapping[str, str]) -> None:
        self.where, self.cells = where, cells

    def __contains__(self, column: str) -> bool:
        return self.cells.get(column, "").lower() not in _ABSENT

    def text(self, column: str) -> str:
        """The text in a column; empty if there is none."""
        return self.cells.get(column, "")

    def number(self, column: str) -> float:
        """The finite, nonnegative number in a column. Raises InputError: there is none."""
        shown = quoted(column)  # which may be long in the file
        if column not in self:
            raise InputError(f"{self.where} has no {shown}, which is needed; export the file again with it")
        return amount(self.cells[column], f"{self.where}, {shown}")

    def number_or_none(self, column: str) -> float | None:
        """The number in a column; None if the cell is empty or the column absent."""
        return self.number(column) if column in self else None


def amount(text: str, where: str) -> float:
    """A finite, nonnegative number. Raises InputError: another text; names its place."""
    try:
        found = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        found = math.nan
    if not 0.0 <= found < math.inf:
        raise InputError(f"{where} must be a number from 0, got {quoted(text)}")
    return found


def rows(document: Document) -> Iterator[Row]:
    """Rows below the header.

    Raises:
        InputError: a column twice, or a row that is longer or shorter than the header.
    """
    header: list[str] = []
    for line, cells in document.cells():
        where = f"{document.name} line {line}"
        if not header:
            header = [cell.strip() for cell in cells]
            _require_unique(header, where)
            continue
        if len(cells) != len(header):
            raise InputError(
                f"{where} has {len(cells)} cells under {len(header)} columns; was it cut off? fix or drop the line"
            )
        yield Row(where, {name: cell.strip() for name, cell in zip(header, cells, strict=True)})


def _require_unique(header: list[str], where: str) -> None:
    twice = next((name for at, name in enumerate(header) if name and name in header[:at]), None)
    if twice is not None:
        raise InputError(f"{where} has the column {quoted(twice)} twice; keep one")
