"""Screens read back: what rich shows, as text."""

import re
from collections.abc import Iterable
from io import StringIO

from rich.console import Console, RenderableType


def cells(parts: Iterable[RenderableType], width: int) -> list[list[str]]:
    """The cells of each line that is not blank, told apart by two spaces or more."""
    screen = StringIO()
    console = Console(file=screen, width=width, color_system=None)
    for part in parts:
        console.print(part)
    return [re.split(r" {2,}", line.strip()) for line in screen.getvalue().splitlines() if line.strip()]
