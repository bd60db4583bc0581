"""The man page of `capacity`, from the help of its commands; `python tests/readme.py --write` writes it."""

from collections.abc import Iterable, Iterator
from typing import Any

from typer import Context

import capacity
from capacity.commands.help import _broken, _panels, _split

# What each exit code means; `capacity.errors` has those of errors.
EXIT_CODES = {
    0: "Answered, and every objective is met.",
    1: "An internal error, which is a bug.",
    2: "An error of usage, configuration or input.",
    3: "An objective is missed, or no plan within the limits meets it.",
    4: "Inconclusive: the interval lies on both sides of the limit, or model and measurement disagree.",
    5: "Something that the command needs failed, such as a server, a disk, or a package that is not installed.",
}
_FILES = {
    "capacity.toml": "Defaults of flags, in the current folder or the nearest one above, up to the root of the repository. "
    "Or [tool.capacity] of pyproject.toml.",
}
_ENVIRONMENT = {"CAPACITY_...": "Defaults of flags: CAPACITY_SLO_P99=80ms is that of --slo-p99."}
_WIDTH = 66  # columns of an example, on a terminal of 80
_SPECIAL = {"\\": "\\(rs", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}


def page(commands: Iterable[tuple[tuple[str, ...], Any]]) -> str:
    """The man page as roff.

    Args:
        commands: path of each command, of which that of `capacity` itself is empty and first, and its Click command.
    """
    (_, root), *others = commands
    return "\n".join(
        (
            '.\\" Written by tests/readme.py from the help of the commands.',
            f'.TH CAPACITY 1 "" "capacity {capacity.__version__}" "User Commands"',
            ".SH NAME",
            f"capacity \\- {roff('capacity planning for inference serving')}",
            ".SH SYNOPSIS",
            ".B capacity",
            ".I COMMAND",
            ".RI [ OPTION \\&...]",
            ".SH DESCRIPTION",
            *_paragraphs(root.help),
            ".SH COMMANDS",
            *(line for path, command in others for line in _section(path, command)),
            ".SH EXIT STATUS",
            *_terms({str(code): meaning for code, meaning in EXIT_CODES.items()}.items()),
            ".SH ENVIRONMENT",
            *_terms(_ENVIRONMENT.items()),
            ".SH FILES",
            *_terms(_FILES.items()),
            "",
        )
    )


def roff(text: str) -> str:
    """A text as roff shows it unchanged: neither hyphens, quotes nor backslashes of a command are made pretty.

    >>> roff("--slo-p99 'a'")
    '\\\\-\\\\-slo\\\\-p99 \\\\(aqa\\\\(aq'
    >>> roff(".TH")
    '\\\\&.TH'
    """
    shown = "".join(_SPECIAL.get(one, one if one.isascii() else f"\\[u{ord(one):04X}]") for one in text)
    return f"\\&{shown}" if shown.startswith(".") else shown


def _section(path: tuple[str, ...], command: Any) -> Iterator[str]:
    """What a command does, its flags by group, and its examples."""
    name = " ".join(("capacity", *path))
    text, examples = _split(command)
    yield f'.SS "{roff(name)}"'
    yield from _paragraphs(text)
    with Context(command, info_name=name, resilient_parsing=True) as context:
        for title, rows in _panels(command, context):
            yield from (".PP", f".I {roff(title)}:")
            yield from _terms(rows)
    if examples:
        yield from (".PP", ".I Examples:", ".PP", ".nf", ".RS")
        for line in filter(str.strip, examples.splitlines()):
            yield from map(roff, _broken(" ".join(line.split()), _WIDTH))
        yield from (".RE", ".fi")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield from (".PP", roff(" ".join(paragraph.split())))


def _terms(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Terms in bold, each with its meaning below it."""
    for term, meaning in rows:
        yield from (".TP", f".B {roff(term)}", roff(" ".join(meaning.split())) or "\\&")
