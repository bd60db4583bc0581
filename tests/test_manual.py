"""The man page: roff without complaint, which shows every command, flag and example as help does."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from manual import EXIT_CODES, roff
from typer.main import get_command

from capacity import errors
from cli import app

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "capacity.1"  # tests/test_readme.py holds it to what help says
needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not on PATH")
needs_man = pytest.mark.skipif(shutil.which("man") is None, reason="man is not on PATH")


def shown(*command: str | Path, text: str | None = None) -> str:
    """What a program makes of a page; fails where it warns. Words stay whole."""
    done = subprocess.run(
        command,
        capture_output=True, text=True, encoding="utf-8", input=text, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "400", "MAN_KEEP_FORMATTING": ""},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)


@pytest.fixture(scope="module")
def page() -> str:
    """The page on wide lines, so that none breaks within a word."""
    return shown("groff", "-man", "-Tutf8", "-ww", "-rLL=400n", PAGE)


@needs_groff
def test_groff_has_no_complaint_and_shows_each_command_and_flag(page: str) -> None:
    found = re.split(r"^ {3}(?=capacity )", page, flags=re.MULTILINE)
    sections = {text.partition("\n")[0]: text for text in found[1:]}
    wanted = dict(commands(get_command(app), "capacity"))
    assert sections.keys() == wanted.keys()
    for name, command in wanted.items():
        for one in command.params:
            if one.param_type_name == "option" and not one.name.startswith("slo_") and not one.hidden:
                assert one.opts[0] in sections[name], (name, one.opts)
        told = " ".join(sections[name].replace("\\\n", "").split())
        for example in re.findall(r"^ *(capacity .*)$", command.help or "", re.MULTILINE):
            assert " ".join(example.split()) in told


def commands(group: object, name: str) -> Iterator[tuple[str, object]]:
    """Each command below a group, by its whole name."""
    for below, command in getattr(group, "commands", {}).items():
        yield f"{name} {below}", command
        yield from commands(command, f"{name} {below}")


@needs_man
def test_man_has_no_complaint() -> None:
    assert "CAPACITY(1)" in shown("man", "--warnings", "-l", PAGE)


@needs_groff
@pytest.mark.parametrize(
    "text",
    ["--rate 'a' \"b\" `c` ^d ~e", ".TH is text", "'br is text", "C:\\new\\fB", "λ ≤ 5 µs — 1", "% * [x]"],
)
def test_any_text_is_shown_as_it_is(text: str) -> None:
    assert text in shown("groff", "-man", "-Tutf8", "-ww", text=f'.TH X 1 "" "x" "y"\n.PP\n{roff(text)}\n')


def test_each_exit_code_is_told() -> None:
    codes = {one.exit_code for one in vars(errors).values() if isinstance(one, type)}
    assert codes | {0, 3} == EXIT_CODES.keys()


def test_the_package_installs_it() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    installed = tool["wheel"]["shared-data"]
    assert installed == {str(PAGE.relative_to(ROOT)): "share/man/man1/capacity.1"}
    assert "/docs" in tool["sdist"]["include"]
