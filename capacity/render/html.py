"""HTML: the tables of an answer as a notebook shows them."""

from collections.abc import Iterable, Iterator
from html import escape
from itertools import chain, groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.files import neutral
from capacity.render.console import new_console

# Colours of verdicts by their names on a terminal; yellow is not read on white.
_COLOURS = {"green": "green", "yellow": "olive", "red": "red"}


def as_html(pieces: Iterable[RenderableType], width: int) -> str:
    """Parts of an answer as HTML: tables as tables, sentences as paragraphs, and drawings as they are typed.

    Args:
        pieces: what the command prints.
        width: columns of a drawing.
    """
    return "".join(
        chain.from_iterable(_parts(kind, list(group), width) for kind, group in groupby(pieces, _kind))
    )


def _kind(piece: RenderableType) -> type:
    """What becomes of a part: a table, a sentence (`str`), or a drawing, whose blanks count."""
    if isinstance(piece, Table):
        return Table
    text = piece.plain if isinstance(piece, Text) else ""
    return str if text.strip() and "\n" not in text and "  " not in text else Text


def _parts(kind: type, pieces: list[RenderableType], width: int) -> Iterator[str]:
    if kind is Text:
        yield _drawing(pieces, width)
        return
    for piece in pieces:
        yield _table(piece) if isinstance(piece, Table) else f"<p>{_marked(piece)}</p>\n"


def _drawing(pieces: list[RenderableType], width: int) -> str:
    """Lines with their blanks and colours; empty if they show nothing."""
    # Not as Rich does in Jupyter, which displays each part by itself and keeps none.
    console = new_console(width, record=True, force_jupyter=False)
    for one in pieces:
        console.print(one)
    if not console.export_text(clear=False).strip():
        return ""
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>\n")


def _table(table: Table) -> str:
    title = f"<caption>{_marked(table.title)}</caption>" if table.title else ""
    heads = "".join(_cell("th", one.header, one.justify) for one in table.columns)
    head = f"<thead><tr>{heads}</tr></thead>" if table.show_header else ""
    sides = [one.justify for one in table.columns]
    rows = zip(*(one.cells for one in table.columns), strict=True)
    body = "".join(
        f"<tr>{''.join(_cell('td', cell, side) for cell, side in zip(row, sides, strict=True))}</tr>\n"
        for row in rows
    )
    return f"<table>{title}{head}<tbody>\n{body}</tbody></table>\n"


def _cell(tag: str, content: RenderableType, side: str) -> str:
    return f'<{tag} style="text-align: {side}">{_marked(content)}</{tag}>'


def _marked(content: RenderableType) -> str:
    """A text escaped, bold or in the colour of its verdict."""
    text = content if isinstance(content, Text) else Text(str(content))
    shown, style = escape(neutral(text.plain)).replace("\n", "<br>"), str(text.style)
    if style in _COLOURS:
        return f'<span style="color: {_COLOURS[style]}">{shown}</span>'
    return f"<strong>{shown}</strong>" if "bold" in style else shown
