"""Console: prints answers without any control character of the input.

Names of files, models, metrics and endpoints come from outside. An escape sequence in one could move the cursor, hide
a line or set the terminal's title. All text passes here as it is laid out, so no reader of input need filter it.
"""

import io
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.containers import Lines
from rich.segment import Segment
from rich.text import Text

from capacity.files import neutral

# A space within a value, at which no line ends: before the unit, and after a comparison; and in an interval, where
# lines have room for it.
_WITHIN_A_VALUE = re.compile(r"(?<=[\d)]) (?=(?:ns|us|µs|ms|s|min|h|rps|%|USD|GiB)(?!\w))|(?<=[<>]=) (?=\d)")
_WITHIN_AN_INTERVAL = re.compile(
    r"(?<=\d) (?=\(-?[\d.e+-]+ to -?[\d.e+-]+\))|(?<=\d) (?=to -?[\d.e+-]+\))|(?<=\d to) (?=-?[\d.e+-]+\))"
)
_ROOM_FOR_INTERVALS = 60  # columns
_NO_SPACE = "\ue000"  # of private use, one column wide, and removed before anything is shown


class Words(Text):
    """Text whose lines end between words, but not between a number and its unit."""

    def wrap(self, console: Console, width: int, **settings: Any) -> Lines:
        """The lines, as of `rich.text.Text.wrap`."""
        glued = self.copy()
        glued.plain = _WITHIN_A_VALUE.sub(_NO_SPACE, self.plain)
        if width >= _ROOM_FOR_INTERVALS:
            glued.plain = _WITHIN_AN_INTERVAL.sub(_NO_SPACE, glued.plain)
        lines = Text.wrap(glued, console, width, **settings)
        for line in lines:
            line.plain = line.plain.replace(_NO_SPACE, " ")
        return lines


class _Neutral:
    """Wraps a renderable and removes control characters from its text, but not its colours."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else neutral(text), style, control)


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """The renderables, each wrapped."""
        return [_Neutral(_words(one)) for one in renderables]


def _words(one: ConsoleRenderable) -> ConsoleRenderable:
    """Text that keeps numbers and units together; what is no text as it is."""
    if not isinstance(one, Text):
        return one
    words = Words(
        "", style=one.style, justify=one.justify, overflow=one.overflow, no_wrap=one.no_wrap, end=one.end
    )
    return words.append_text(one)


def new_console(width: int, **settings: Any) -> Console:
    """A console that writes into memory and takes no text for markup: `[/red]` may be part of a name.

    Args:
        width: columns.
        settings: settings of rich's console, such as `color_system`.
    """
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, **settings)
    console.push_render_hook(_Hook())
    return console


def progress_console(stream: IO[str]) -> Console:
    """A console for a line of progress, whose own escape sequences move the cursor; other text on it is filtered.

    Args:
        stream: the stream to write to.
    """
    console = Console(file=stream)
    console.push_render_hook(_Hook())
    return console


def as_text(pieces: Iterable[RenderableType], width: int, color_system: Any = None) -> str:
    """Parts of an answer as text, with escape sequences for colours if asked.

    Args:
        color_system: `standard` for colours; None for plain text.
    """
    console = new_console(width, color_system=color_system, force_jupyter=False)
    with console.capture() as text:
        for one in pieces:
            console.print(one)
    return text.get()
