"""Whole answers of commands, kept as text in `kept/`: run each again and compare, or write it again (`--write`).

A file is a topic, and its blocks are run in order in one folder, which holds copies of `kept/files/`, and `docs`:

    $ capacity simulate --profile line.json ...    # a remark
    what it prints
    ! and the error
    exit code 2

`$ cat FILE` shows what a command wrote, of a page its words, and `$ python "EXPRESSION"` the value of one, with `cap` for
the library, or of a figure what it shows; `| head -N` and `| tail -N` keep some lines, and a line that ends in a backslash
goes on in the next. Not compared are blanks at the ends of lines and in JSON, digits beyond the sixth, checksums,
versions, the day on which a page was written, and progress, which goes by the clock. What is kept is no theory: it only
says that a change must be meant.
"""

import html
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import in_process

import capacity
from capacity.answer.documents import dumps
from capacity.errors import CapacityError

FOLDER = Path(__file__).parent / "kept"
TOPICS = sorted(FOLDER.glob("*.txt"))
ENVIRONMENT = {"COLUMNS": "120", "NO_COLOR": "1"}
_COMMAND = re.compile(r"^\$ (?:.*\\\n)*.*\n", re.MULTILINE)
_SHORT_GROUP = re.compile(r"([\[{])\n\s*([^\[\]{}]{,220}?)\n\s*([\]}])")
_PART = re.compile(r" \| (head|tail) -(\d+)\s*$")
_ERROR = re.compile(r"^(?:error|usage).*", re.MULTILINE | re.IGNORECASE | re.DOTALL)
_OF_THIS_MACHINE = re.compile(r'"[0-9a-f]{64}"|(?<="versions": )\{[^}]*\}')
_MADE_WITH = re.compile(r"[0-9a-f]{64}|capacity \d.*, python .*|\d{4}-\d\d-\d\d")
_LONG = re.compile(r"-?\b\d+\.\d+(?:e[+-]?\d+)?\b")


def kept(text: str) -> list[str]:
    """The blocks of a topic, each a command with what it said."""
    starts = [match.start() for match in _COMMAND.finditer(text)]
    return [text[start:end].rstrip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def found(text: str, folder: Path) -> Iterator[str]:
    """The same blocks with what the commands say now; they may write in the folder."""
    shutil.copytree(FOLDER / "files", folder, dirs_exist_ok=True)
    (folder / "docs").symlink_to(FOLDER.parent.parent / "docs")
    for command in _COMMAND.findall(text):
        typed = command.removeprefix("$ ").replace("\\\n", " ")
        said = _answer(folder, *shlex.split(_PART.sub("", typed), comments=True))
        if part := _PART.search(typed):
            said = said[: int(part[2])] if part[1] == "head" else said[-int(part[2]) :]
        yield "\n".join([command.rstrip(), *said]).rstrip()


def _answer(folder: Path, program: str, *arguments: str) -> list[str]:
    """What a command prints, line by line, and how it ends where that is not well."""
    if program == "cat":
        text = (folder / arguments[0]).read_text(encoding="utf-8")
        return _lines(_words(text) if arguments[0].endswith(".html") else text)
    if program == "python":
        return _lines(_value_of(arguments[0], folder))
    assert program == "capacity"
    done = in_process.capacity(folder, *arguments, environment=ENVIRONMENT)
    error = _ERROR.search(done.stderr)
    lines = [*_lines(done.stdout), *(f"! {line}" for line in _lines(error[0] if error else ""))]
    return [*lines, f"exit code {done.returncode}"] if done.returncode else lines


def _words(page: str) -> str:
    """What a page of HTML says, and its figures' texts: without style, tags and empty lines."""
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    cells = re.sub(r"</t[dh]>\s*<t[dh][^>]*>", " | ", page)
    lines = (" ".join(line.split()) for line in html.unescape(re.sub(r"<[^>]*>", "\n", cells)).splitlines())
    return "\n".join(line for line in lines if line and not _MADE_WITH.fullmatch(line))


def _value_of(expression: str, folder: Path) -> str:
    """The value of an expression, or what its refusal says."""
    try:
        with chdir(folder):
            return _told(eval(expression, {"cap": capacity}))
    except CapacityError as error:
        return f"! {type(error).__name__}: {error}"


def _told(value: Any) -> str:
    """Text as it is, a figure in words, and all else as JSON."""
    if isinstance(value, str):
        return value
    return _picture(value) if hasattr(value, "figure") else dumps({"value": value})


def _picture(plot: Any) -> str:
    """What a figure says: titles, scales, lines with their first, middle and last points, areas and texts."""
    found = [] if plot.figure.get_suptitle() == "" else [plot.figure.get_suptitle()]
    for axes in plot.figure.axes:
        scales = f"{axes.get_xscale()}, {axes.get_yscale()}"
        found.append(f"{axes.get_title(loc='left')} | {axes.get_xlabel()} | {axes.get_ylabel()} | {scales}")
        for line in axes.lines:
            points = list(zip(*(line.get_data()), strict=True))
            shown = dict.fromkeys([*points[:1], *points[len(points) // 2 :][:1], *points[-1:]])
            ends = " ".join(f"({x:.4g}, {y:.4g})" for x, y in shown)
            style = f"{line.get_color()} {line.get_linestyle()} {line.get_marker()} {line.get_linewidth():g}"
            found.append(f"  line: {style}, {len(points)} points {ends}")
        found += [f"  area of {len(one.get_paths())} parts" for one in axes.collections]
        for text in axes.texts:
            x, y = text.get_position()
            found.append(f"  text: {text.get_text()} at {x:.4g}, {y:.4g}, {text.get_color()}")
    found += [f"legend: {', '.join(one.entries)}".replace("\n", " ") for one in plot.plots]
    return "\n".join(found)


def _lines(text: str) -> list[str]:
    """What is compared; of JSON, what is short on one line."""
    text = _OF_THIS_MACHINE.sub('"..."', text)
    if text.startswith("{\n"):
        text = _SHORT_GROUP.sub(lambda group: group[1] + re.sub(r"\n\s*", " ", group[2]) + group[3], text)
    return [_LONG.sub(_six_digits, line.rstrip()) for line in text.splitlines()]


def _six_digits(number: "re.Match[str]") -> str:
    return number[0] if len(number[0]) < 8 else f"{float(number[0]):.6g}"


def write(topics: list[str]) -> None:
    for path in [one for one in TOPICS if not topics or one.stem in topics]:
        text = path.read_text(encoding="utf-8")
        title, _, _ = text.partition("\n")
        with TemporaryDirectory() as folder:
            path.write_text("\n\n".join([title, *found(text, Path(folder))]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit("usage: python tests/kept_answers.py --write [topic ...]")
    write(sys.argv[2:])
