"""The console that answers are printed by: what a person sees holds no control character of any input.

Names of files, models, metrics and endpoints come from other hands. An escape sequence in one could move the cursor,
hide a line or set the terminal's title. All text passes here as it is laid out, so no reader need remember.
"""

import io
from collections.abc import Iterable, Iterator
from typing import IO, Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.segment import Segment

from capacity.files import neutral


class _Neutral:
    """What another prints, without control characters in its text; colours are no part of that."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else neutral(text), style, control)


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What is printed, each piece wrapped."""
        return [_Neutral(one) for one in renderables]


def new_console(width: int, **settings: Any) -> Console:
    """A console that writes into memory, and takes no text for markup: `[/red]` may be part of a name.

    Args:
        width: in columns.
        settings: of rich's console, such as `color_system`.
    """
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, **settings)
    console.push_render_hook(_Hook())
    return console


def progress_console(stream: IO[str]) -> Console:
    """A console for a line of progress, whose own escape sequences move the cursor; what is printed above it is safe.

    Args:
        stream: where it writes.
    """
    console = Console(file=stream)
    console.push_render_hook(_Hook())
    return console


def as_text(pieces: Iterable[RenderableType], width: int, color_system: Any = None) -> str:
    """Pieces of an answer as text, with the escape sequences of a terminal's colours if it has some.

    Args:
        color_system: `standard` for colours; None for plain text.
    """
    console = new_console(width, color_system=color_system, force_jupyter=False)
    with console.capture() as text:
        for one in pieces:
            console.print(one)
    return text.get()
