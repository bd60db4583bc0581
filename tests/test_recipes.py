"""CONTRIBUTING: its recipes, followed word for word in a copy of the checkout, and the paths that it names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### Add (.*?)\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE))
BLOCK = re.compile(r'^```(\w+)(?: title="(.*?)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
TOPS = ("capacity", "simulations", "serve_api", "tests", "benchmarks", "docs")
COMMAND = {
    "capacity": [sys.executable, "-c", "from cli import app; app(prog_name='capacity')"],
    "python": [sys.executable],
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the recipes change and run."""
    kept = ignore_patterns("__pycache__", "*.nbi", "*.nbc", ".*")
    for folder in ("capacity", "simulations", "tests", "docs/examples"):
        copytree(ROOT / folder, tmp_path / folder, ignore=kept)
    for name in ("cli.py", "conftest.py", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def change(path: Path, diff: str) -> None:
    """Make one change, whose old lines must be in the file exactly once; its last line may end within a line."""
    lines = diff.splitlines()
    old, new = ("\n".join(line[1:] for line in lines if line[0] != mark) for mark in "+-")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} has these lines {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(checkout: Path, session: str) -> None:
    """Run each command, and look for the lines that follow it in what it prints."""
    for example in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        typed, *expected = example.splitlines()
        program, *arguments = shlex.split(typed)
        if "pytest" in arguments:
            arguments += ["-n", "0", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*COMMAND[program], *arguments],
            cwd=checkout,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed, printed
        for line in expected:
            assert re.search(rf"^{re.escape(line)}(?: in .*|\s*)$", printed, re.MULTILINE), printed


def test_there_is_a_recipe_for_each_usual_change() -> None:
    assert set(RECIPES) == {"a flag", "a routing policy", "a scheduler", "a format", "a target", "a law"}


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_as_it_is_written(name: str, checkout: Path) -> None:
    for language, title, content in BLOCK.findall(RECIPES[name]):
        if language == "console":
            run(checkout, content)
        elif language == "diff":
            change(checkout / title, content)
        else:
            assert not (checkout / title).exists()
            (checkout / title).write_text(content, encoding="utf-8")


def test_every_path_that_contributing_names_exists() -> None:
    """A table of folders names each file by the end of its path."""
    prose = BLOCK.sub("", TEXT)
    cells = re.findall(r"^\| (`.*?`) \|", prose, re.MULTILINE)
    named = set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:py|md|toml|yml))`", prose))
    named |= {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    below = [path for top in TOPS for path in (ROOT / top).rglob("*")]
    tracked = [path.relative_to(ROOT) for path in (*ROOT.iterdir(), *below)]
    ends = {Path(*path.parts[i:]).with_suffix("") for path in tracked for i in range(len(path.parts))}
    assert sorted(name for name in named if Path(name).with_suffix("") not in ends) == []
