"""The console examples of README and docs: run each, compare what it prints, or write it again (`--write`)."""

import ast
import atexit
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import in_process
from manual import page
from pydantic import TypeAdapter
from typer.main import get_command
from typer.testing import CliRunner

import capacity.answers
from capacity.answer.saved_batches import BatchFile
from capacity.answer.saved_engines import EngineFile
from capacity.profile import formats, llm_formats
from cli import app

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"```console\n\$ ((?:capacity|python) .*?)\n(.*?)```", re.DOTALL)
_PIPES = re.compile(
    r"(.*?)(?: \| head -(\d+)| \| tail -(\d+)| \| grep -E \"(.*)\")?(; echo \"exit code \$\?\")?"
)
_SHELL = re.compile(r"```sh\n(.*?)\n```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def examples(*documents: Path) -> list[tuple[str, str]]:
    """Command and printed output of each console block, of some documents or of all."""
    return [
        pair for path in documents or DOCUMENTS for pair in _BLOCK.findall(path.read_text(encoding="utf-8"))
    ]


def build_documents(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What became of building the pages, with each warning an error."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip


def shell_commands() -> list[str]:
    """The commands that a newcomer is told to run."""
    return _SHELL.findall(README.read_text(encoding="utf-8"))


def python_blocks() -> list[str]:
    """The programs that use the library."""
    found = [block for path in DOCUMENTS for block in _PYTHON.findall(path.read_text(encoding="utf-8"))]
    return [block for block in found if block.startswith("import capacity as cap\n")]


def is_long(example: str) -> bool:
    """Whether it looks at many fleets or rates, which takes up to half a minute, and is not the README's plan."""
    looks = re.search(
        r"capacity (plan|stress|autoscale|check|max-rate|sweep|compare|render|curve --profile) |cap\.(plan|sweep)\(",
        example,
    )
    is_first = example.startswith("capacity plan ") and example in README.read_text(encoding="utf-8")
    return looks is not None and not is_first


def output_of(command: str) -> str:
    """What a command prints, without blanks at the ends of lines; the pipes of the examples are done here."""
    match = _PIPES.fullmatch(command)
    command, head, tail, pattern, with_code = match.groups()
    done = _done(command)
    assert with_code or done.returncode in (0, 4), done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    lines = lines[: int(head)] if head else lines[-int(tail) :] if tail else lines
    lines = [line for line in lines if pattern is None or re.search(pattern, line)]
    assert with_code or lines, done.stderr  # an example that shows nothing is none
    if with_code:
        errors = [line for line in done.stderr.splitlines() if line.lower().startswith("error")]
        lines += [*errors, f"exit code {done.returncode}"]
    return "".join(f"{line}\n" for line in lines)


def _write_what_is_read(arguments: Sequence[str]) -> None:
    """Run the example that writes the plan or profile which a command reads, if there is one."""
    flags = {"--plan", "--profile"} & set(arguments)
    for name in [arguments[arguments.index(flag) + 1] for flag in flags] + list(arguments[1:2]):
        writer = next((other for other, _ in examples() if f"-o {name}" in other), None)
        if writer is not None and not (_workplace() / name).exists():
            output_of(writer)


_ROW = re.compile(r"^\| (.*?) \| `(capacity .*?)` \|$", re.MULTILINE)


def questions(document: Path = README) -> list[tuple[str, str]]:
    """The questions of a table such as the README's, each with its command."""
    table = document.read_text(encoding="utf-8").partition("| your question |")[2].partition("\n\n")[0]
    return _ROW.findall(table)


def answered(line: str) -> "subprocess.CompletedProcess[str]":
    """What became of the last command of a line, on a terminal of 80 columns, after those before it."""
    done = None
    for command in line.split(" && "):
        _write_what_is_read(shlex.split(command)[1:])
        with patch("capacity.commands.output.width", lambda: 80):
            done = in_process.capacity(_workplace(), *shlex.split(command)[1:], environment={"NO_COLOR": "1"})
    assert done is not None
    return done


@cache
def _done(command: str) -> "subprocess.CompletedProcess[str]":
    """What became of a command, which several pages may show."""
    program, *arguments = shlex.split(command)
    environment = {"COLUMNS": "120", "NO_COLOR": "1"}
    _write_what_is_read(arguments)
    if program == "capacity":
        return in_process.capacity(_workplace(), *arguments, environment=environment)
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=_workplace(),
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )


@cache
def _workplace() -> Path:
    """A folder in which the examples may write, and find the files of the documents."""
    folder = Path(mkdtemp(prefix="examples-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("docs", "benchmarks", "notebooks"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def references() -> dict[Path, str]:
    """The pages that are written from help, from docstrings and from schemas."""
    folder = ROOT / "docs" / "reference"
    pages = {"commands.md": _commands_page, "python.md": _python_page, "files.md": _files_page}
    written = {folder / name: page() for name, page in pages.items()}
    commands = [(path, _found(path)) for path in _walk(get_command(app), ())]
    manual = {folder / "capacity.1": page(commands)}
    return {**written, **manual, ROOT / "capacity" / "__init__.pyi": _stub()}


def _found(path: Sequence[str]) -> Any:
    """A command by its path."""
    return reduce(lambda above, name: above.commands[name], path, get_command(app))


# What files hold, as the types that read them say.
_FILES = {
    "A profile of batch times": formats._ProfileDocument,
    "One of its timings": formats._TimingDocument,
    "A profile of a language model": llm_formats._LlmDocument,
    "A saved plan": BatchFile,
    "A saved plan for a language model": EngineFile,
}


def _files_page() -> str:
    text = "# Files\n\nThe keys of the JSON files that `capacity` reads, from the types that read them. No other key is allowed. `capacity schema KIND` prints them as a JSON Schema.\n"
    for title, kind in _FILES.items():
        schema = TypeAdapter(kind).json_schema()
        text += f"\n## {title}\n\n{_keys(schema)}"
        for name, part in sorted(schema.get("$defs", {}).items()):
            if "properties" in part:
                text += f"\n### {title}: {name.lstrip('_')}\n\n{_keys(part)}"
    return text


def _keys(schema: dict[str, Any]) -> str:
    """A table of an object's keys."""
    required = schema.get("required", [])
    rows = [
        f"| `{key}` | {_kind(part)} | {'yes' if key in required else 'no'} |\n"
        for key, part in schema["properties"].items()
    ]
    return "| key | value | required |\n|---|---|---|\n" + "".join(rows)


def _kind(part: dict[str, Any]) -> str:
    """What a key takes, in a few words."""
    if "anyOf" in part:
        return ", or ".join(_kind(one) for one in part["anyOf"])
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2].lstrip("_")
        return f"{name}"
    if "const" in part or "enum" in part:
        return ", ".join(f"`{one}`" for one in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        items = part.get("items") or {}
        return f"list of {_kind(items)}" if items else "list"
    return {"integer": "whole number", "string": "text", "object": "object"}.get(
        part.get("type", ""), part.get("type", "anything")
    )


def _commands_page() -> str:
    text = "# Commands\n\nEach command's `--help`, as it prints it.\n"
    for path in _walk(get_command(app), ()):
        shown = CliRunner().invoke(app, [*path, "--help"], env={"TERMINAL_WIDTH": "80"}, prog_name="capacity")
        text += f"\n## {' '.join(['capacity', *path])}\n\n```text\n{shown.output.rstrip()}\n```\n"
    return text


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*path, name))


def _python_page() -> str:
    text = "# Python\n\nWhat `import capacity as cap` offers, from the docstrings.\n"
    public = {name: getattr(capacity, name) for name in sorted(capacity._PLACES, key=str.lower)}
    for name, found in public.items():
        if not callable(found):
            continue
        text += f"\n## cap.{name}\n\n```text\n{_signature(found)}\n```\n"
        text += f"\n```text\n{inspect.getdoc(found)}\n```\n"
    return text


def _signature(found: Any) -> str:
    """The call of a verb or a noun, one parameter a line where it is long."""
    if inspect.isclass(found) and issubclass(found, (Exception, StrEnum)):
        return str(found.__name__)
    if hasattr(found, "__signature__"):  # a verb, whose keywords come from the table of flags
        shown = f"{found.__name__}{_plainly(found.__signature__)}"
    elif inspect.isfunction(found):  # as it is written: Python's own rendering unfolds each alias
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
        assert isinstance(node, ast.FunctionDef)
        assert node.returns is not None
        shown = f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        shown = re.sub(r"(?<=\S)=(?=\S)", " = ", re.sub(r"(: |-> )'([^']*)'", r"\1\2", shown))
    else:
        shown = re.sub(r"capacity\.[a-z_.]+\.", "", f"{found.__name__}{inspect.signature(found)}")
    return (
        shown if len(shown) <= 90 else re.sub(r", (?=\*|\w+:)", ",\n    ", shown).replace("(", "(\n    ", 1)
    )


def _plainly(signature: inspect.Signature) -> str:
    """A signature whose annotations are texts, without their quotes."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature))


_STUB = """# Written by tests/readme.py from the table of flags, so that editors know the keywords of each verb.
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from capacity import queues as queues
{imports}

__version__: str
_PLACES: dict[str, str]

{verbs}"""


def _stub() -> str:
    """What `capacity` offers, for editors and type checkers, which cannot look behind a door."""
    found = {name: getattr(capacity, name) for name in capacity._PLACES}
    verbs = {name: one for name, one in found.items() if hasattr(one, "verb")}
    places = {name: place for name, place in capacity._PLACES.items() if name not in verbs}
    imports = {f"from {place} import {name} as {name}" for name, place in places.items()}
    used = set(re.findall(r"\b[A-Z]\w+", " ".join(str(one.__signature__) for one in verbs.values())))
    imports |= {f"from {_home(name)} import {name}" for name in used - places.keys() - _OF_PYTHON}
    texts = [_stubbed(name, one) for name, one in verbs.items()]
    return _STUB.format(imports="\n".join(sorted(imports)), verbs="\n".join(texts))


_OF_PYTHON = {"Any", "Callable", "False", "Iterable", "None", "Path", "True"}
_HOMES = (
    "capacity.profile.load", "capacity.profile.llm", "capacity.traffic.workload", "capacity.traffic.any_lengths",
    "capacity.answer.plan_like", "capacity.render.report.page",
    *(f"capacity.answers.{one.name}" for one in iter_modules(capacity.answers.__path__)),
)  # fmt: skip


def _home(name: str) -> str:
    """The module of a type."""
    found = {
        home: getattr(import_module(home), name) for home in _HOMES if hasattr(import_module(home), name)
    }
    return next((home for home, one in found.items() if one.__module__ == home), next(iter(found)))


def _stubbed(name: str, verb: Any) -> str:
    """The declaration of a verb, its parameters side by side."""
    taken, _, returned = _plainly(verb.__signature__)[1:].rpartition(") -> ")
    whole = taken.replace(" ", "\0").replace(",\0", ", ")  # a line ends after a parameter, not within
    lines = textwrap.wrap(whole, 105, break_long_words=False, break_on_hyphens=False)
    text = "".join(f"    {line}\n" for line in lines).replace("\0", " ")
    return f"def {name}(\n{text}) -> {returned}: ...\n"


def write(paths: Sequence[Path]) -> None:
    """References, and the output of each command in some documents."""
    for path, text in references().items():
        path.write_text(text, encoding="utf-8")
    for path in paths:
        text = path.read_text(encoding="utf-8")
        path.write_text(
            _BLOCK.sub(lambda match: f"```console\n$ {match[1]}\n{output_of(match[1])}```", text),
            encoding="utf-8",
        )


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit("usage: python tests/readme.py --write [DOCUMENT ...]")
    write([ROOT / one for one in sys.argv[2:]] or DOCUMENTS)
