"""Output: prints answers, writes them to files, and reports progress."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from capacity.commands.streams import styled
from capacity.files import check_target, neutral

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.documents import Document
    from capacity.answers.answer import Answer
    from capacity.api.work import Work
    from capacity.question.budget import Effort

Found = TypeVar("Found")

_WIDTH_MIN, _WIDTH_MAX = 60, 1000
_WIDTH_OF_A_FILE = 120  # if no terminal says how wide it is


class Format(StrEnum):
    """Forms of an answer on stdout."""

    TABLE = "table"
    JSON = "json"


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what long work is doing, and at the end how long it took."""
    from rich.markup import escape

    from capacity.render.console import progress_console

    began_s = time.monotonic()
    console = progress_console(styled(sys.stderr))
    if console.is_terminal:
        with console.status("starting") as status:
            yield lambda message: status.update(
                escape(neutral(f"{message} ({time.monotonic() - began_s:.0f} s)"))
            )
    else:
        yield _few_lines(began_s)
    typer.echo(f"done in {time.monotonic() - began_s:.1f} s", err=True)


# Seconds after which a message is written to a file, which should not get all of them.
_ALWAYS_SAID = ("note:", "warning:", "compiling", "going on after")
_SAID_AFTER_S = (0.0, 5.0, 30.0, 120.0)


def _few_lines(began_s: float) -> Callable[[str], None]:
    """A report that says what the work is doing at most four times; other messages are always said."""
    times_s = list(_SAID_AFTER_S)

    def report(message: str) -> None:
        if message.startswith(_ALWAYS_SAID):
            typer.echo(message, err=True)
        elif times_s and time.monotonic() - began_s >= times_s[0]:
            times_s.pop(0)
            typer.echo(message, err=True)

    return report


def run(verb: Callable[..., Found], context: typer.Context, **others: Any) -> Found:
    """Call a verb with the flags that were typed, and report progress on stderr."""
    from capacity.doors import ask

    told = [name for name in context.params if is_typed(context, name)]
    with progress() as report:
        return ask(verb, context.params, told, **others, progress=report)


def ask_aloud(verb: Callable[..., Found], context: typer.Context, **others: Any) -> Found:
    """Call a verb that measures: each message is a line on stderr, as a spinner would take its time."""
    from capacity.doors import ask

    told = [name for name in context.params if is_typed(context, name)]
    return ask(verb, context.params, told, **others, progress=lambda message: typer.echo(message, err=True))


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether a flag was typed, and has no value by default, from a file or from the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@contextmanager
def workbench(effort: "Effort") -> Iterator["Work"]:
    """Workers for one piece of work, which report progress on stderr."""
    from capacity.api.work import at_work

    with progress() as report, at_work(effort, report) as work:
        yield work


def emit(answer: "Answer", output: Format, *, as_json: bool, verbose: bool = False) -> None:
    """Print the answer on stdout, in the requested form."""
    emit_pieces(
        output,
        as_json=as_json,
        document=answer.document,
        tables=lambda: answer.tables(width(), verbose=verbose),
    )


def emit_pieces(
    output: Format,
    *,
    as_json: bool,
    document: Callable[[], Mapping[str, Any]],
    tables: Callable[[], Iterable["RenderableType"]],
) -> None:
    """Print a document or tables on stdout, in the requested form."""
    if as_json or output is Format.JSON:
        from capacity.answer.documents import dumps

        write_text(dumps(document()) + "\n")
        return
    from capacity.render.console import as_text

    text = as_text(tables(), width(), "standard" if in_colour() else None)
    out = styled(sys.stdout)
    out.write("".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    out.flush()


def outputs(files: Sequence[str] | None, *more: str) -> list[Path]:
    """Paths to write the answer to; `more` are endings that only this command knows.

    Raises:
        InputError: a file that could not be written after hours of work.
        DependencyError: Parquet without pyarrow.
    """
    from capacity.answers.answer import ENDINGS

    paths = [Path(file) for file in files or ()]
    for path in paths:
        check_target(path, "an answer", (*ENDINGS, *more))
        if path.suffix.lower() == ".parquet":
            from capacity.answer.sweep import require_pyarrow

            require_pyarrow()
    return paths


def emit_and_write(
    found: "Answer",
    paths: Sequence[Path],
    output: Format,
    *,
    as_json: bool,
    verbose: bool = False,
    write: Callable[[Path], None] | None = None,
) -> None:
    """Print the answer and write its files; neither a closed stdout nor a full disk costs more than one of them.

    Args:
        write: used in place of `found.save`.
    """
    with ExitStack() as after:
        for path in reversed(paths):
            after.callback(write or found.save, path)
        emit(found, output, as_json=as_json, verbose=verbose)


def write_text(text: str) -> None:
    """Write text to stdout, which `guarded_streams` handles."""
    sys.stdout.write(text)
    sys.stdout.flush()


def in_colour() -> bool:
    """Whether stdout is a terminal that shows colours, and colours are not turned off."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Width of stdout in columns: that of the terminal, or `COLUMNS` where that is set, as POSIX has it."""
    given = os.environ.get("COLUMNS", "")[:9]  # more than any terminal has, and few enough to be read
    if given.isdecimal() and int(given):
        columns = int(given)
    elif sys.stdout.isatty():
        columns = os.get_terminal_size().columns or _WIDTH_OF_A_FILE  # some terminals say 0
    else:
        return _WIDTH_OF_A_FILE
    return min(max(columns, _WIDTH_MIN), _WIDTH_MAX)


def emit_document(document: "Document", output: Format, *, as_json: bool) -> None:
    """Print a small document, as JSON or as a table."""

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.tables import document_table

        yield document_table(document)

    emit_pieces(output, as_json=as_json, document=lambda: document, tables=tables)


def emit_said(document: "Document", words: str, output: Format, *, as_json: bool) -> None:
    """Print a small document, as JSON or as a sentence."""
    from rich.text import Text

    emit_pieces(output, as_json=as_json, document=lambda: document, tables=lambda: [Text(words)])


def print_version(asked: bool) -> None:  # noqa: FBT001  (Typer calls it with the flag)
    """Print the version, for `--version`."""
    if asked:
        from capacity import __version__

        typer.echo(__version__)
        raise typer.Exit
