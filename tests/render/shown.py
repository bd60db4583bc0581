"""What tables, plots and files show, read back, and made-up intervals to show."""

import re
from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.performance import Interval
from capacity.render.plot import Panels


def around(value: float, share: float = 0.1) -> Interval:
    """An interval that reaches this share of its value to each side."""
    return Interval(value=value, low=(1.0 - share) * value, high=(1.0 + share) * value)


def cells(made: Table) -> list[tuple[str, ...]]:
    """The cells of a table, row by row, without its heads."""
    return list(zip(*([str(cell) for cell in column.cells] for column in made.columns), strict=True))


def inches(panels: Panels) -> tuple[float, ...]:
    """Width and height of a figure."""
    return tuple(map(float, panels.figure.get_size_inches()))


def unwrapped(text: str) -> str:
    """A file with its comments as running text: no comment signs, no line breaks."""
    return " ".join(re.sub(r"(?<!\S)(#|//)(?!\S)", " ", text).split())


def lines(told: Iterable[RenderableType]) -> list[str]:
    """Lines that are texts, as they were written."""
    found = []
    for one in told:
        assert isinstance(one, Text)
        found.append(one.plain)
    return found
