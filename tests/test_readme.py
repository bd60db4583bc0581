"""No number is printed in the README and the documents that was not run."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from readme import (
    README,
    ROOT,
    build_documents,
    examples,
    is_long,
    output_of,
    python_blocks,
    questions,
    references,
    shell_commands,
)


def each(found):
    """Each example, those that take long with the mark that says so."""
    every = [one if isinstance(one, tuple) else (one,) for one in found]
    return [pytest.param(*one, marks=[pytest.mark.long] if is_long(one[0]) else []) for one in every]


@pytest.mark.parametrize(("command", "printed"), each(examples()), ids=lambda value: value[:40].strip())
def test_console_example_prints_what_the_document_shows(command, printed):
    assert output_of(command) == printed


def test_the_readme_has_examples():
    assert README.read_text(encoding="utf-8").count("```console") >= 1


def test_first_command_is_the_example_that_is_explained():
    planning, testing = shell_commands()
    command, _, _ = examples()[0][0].partition(" | ")
    assert planning == f"pip install . && {command}"
    assert testing.endswith("python -m pytest")


@pytest.mark.parametrize("block", each(python_blocks()), ids=lambda block: block.splitlines()[2][:40])
def test_python_example_runs(block, tmp_path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(("path", "text"), references().items(), ids=lambda value: getattr(value, "name", ""))
def test_reference_pages_are_what_help_and_docstrings_say(path, text):
    """Else: python tests/readme.py --write."""
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.long
def test_the_picture_is_what_its_command_draws(tmp_path):
    command = "max-rate --profile resnet50-t4-fp16 --replicas 2 --slo-p99 40ms -o"
    assert f"`capacity {command} docs/images/max-rate.svg`" in README.read_text(encoding="utf-8")
    capacity = Path(sys.executable).with_name("capacity")
    subprocess.run([capacity, *command.split(), tmp_path / "a.svg"], check=True, capture_output=True)
    assert (tmp_path / "a.svg").read_bytes() == (ROOT / "docs" / "images" / "max-rate.svg").read_bytes()


def test_the_documents_build_without_a_warning(tmp_path):
    """Links, anchors and the list of pages; every page of the folder has a place."""
    done = build_documents(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference" / "commands.html").exists()
    pages = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")]
    commands = [
        one
        for page in pages
        for one in re.findall(r'<pre class="command"><code[^>]*>(.*?)</code>', page, re.S)
    ]
    assert sorted(html.unescape(one.removesuffix("\n")) for one in commands) == sorted(
        command for command, _ in examples(*(ROOT / "docs").rglob("*.md"))
    )
    assert not any("language-console" in page for page in pages)


def test_how_tos_stand_in_the_same_four_groups_everywhere():
    """The navigation, the README's table and the home name each page once, in one order of groups."""
    pages = {path.name for path in (ROOT / "docs/how-to").glob("*.md")}
    groups = ("Plan", "Measure", "Protect", "Operate")
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    found = {name: below for one in navigation for name, below in one.items() if name in groups}
    assert tuple(found) == groups
    placed = {name: {path.removeprefix("how-to/") for path in below} for name, below in found.items()}
    assert set.union(*placed.values()) == pages
    assert sum(map(len, placed.values())) == len(pages)
    readme, home = README.read_text(encoding="utf-8"), (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for name, below in placed.items():
        (row,) = re.findall(rf"^\| {name} \| (.*) \|$", readme, re.MULTILINE)
        (item,) = re.findall(rf"^- \*\*{name}\*\*: (.*(?:\n  .*)*)", home, re.MULTILINE)
        for text in (row, item):
            assert set(re.findall(r"how-to/([a-z-]+\.md)", text)) == below - {"install-it.md"}


def test_the_home_shows_questions_of_the_table():
    home = ROOT / "docs/index.md"
    assert len(asked := questions(home)) == 5
    assert set(asked) < set(questions())


def test_help_is_found_by_why_is_my_queue_long():
    reference = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    everything, explain = (
        " ".join(reference.partition(f"## {title}\n")[2].partition("\n## ")[0].split())
        for title in ("capacity", "capacity explain")
    )
    assert "or why the queue of a running server is long, from its metrics" in everything
    assert '"Why is my queue long?"' in explain


def test_the_terminal_is_that_of_the_first_example():
    drawn = subprocess.run(
        [sys.executable, ROOT / "docs/terminal.py"], capture_output=True, text=True, check=True
    )
    assert drawn.stdout == (ROOT / "docs/images/terminal.svg").read_text(encoding="utf-8")
