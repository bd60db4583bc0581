"""Output: how answers leave a command, and how it reports progress."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capacity.files import check_target

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.documents import Document
    from capacity.traffic.workload import ArrivalProcess

_WIDTH_MIN, _WIDTH_MAX = 60, 1000
_WIDTH_OF_A_FILE = 120  # where no terminal says how wide it is


class Format(StrEnum):
    """What stdout gets."""

    TABLE = "table"
    JSON = "json"


def told(arrivals: "ArrivalProcess") -> "ArrivalProcess":
    """The arrivals, after stderr has heard what their reader decided."""
    from capacity.traffic.workload import TraceArrivals

    if isinstance(arrivals, TraceArrivals):
        for remark in arrivals.remarks:
            typer.echo(f"note: {remark}", err=True)
    return arrivals


def check_effort(*, confidence: float, precision: float, requests_max: int, seed: int) -> None:
    """The numbers that say how hard to try."""
    from capacity.question.budget import Effort

    Effort(confidence=confidence, precision=precision, requests_max=requests_max, seed=seed)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what long work is at, and at last how long it took."""
    from rich.console import Console

    began_s = time.monotonic()
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
    else:
        yield lambda message: typer.echo(message, err=True)
    typer.echo(f"done in {time.monotonic() - began_s:.1f} s", err=True)


def emit(
    output: Format,
    *,
    as_json: bool,
    document: Callable[[], Mapping[str, Any]],
    tables: Callable[[], Iterable["RenderableType"]],
) -> None:
    """The answer on stdout, in the form that was asked for."""
    if as_json or output is Format.JSON:
        from capacity.answer.documents import dumps

        write_text(dumps(document()) + "\n")
        return
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width(), highlight=False, color_system=None)
    with console.capture() as text:
        for table in tables():
            console.print(table)
    write_text(text.get())


def check_figure(file: str) -> None:
    """Refuse early a figure that could not be written."""
    check_target(Path(file), "a figure", (".png", ".svg"))


def write_text(text: str) -> None:
    """Text to stdout, which `guarded_streams` looks after."""
    sys.stdout.write(text)
    sys.stdout.flush()


def width() -> int:
    """Columns that stdout has."""
    if not sys.stdout.isatty():
        return _WIDTH_OF_A_FILE
    columns = os.get_terminal_size().columns or _WIDTH_OF_A_FILE  # some terminals say 0
    return min(max(columns, _WIDTH_MIN), _WIDTH_MAX)


def _document_table(document: "Document") -> Iterator["RenderableType"]:
    from capacity.render.tables import document_table

    yield document_table(document)
