"""No number is printed in the README and the documents that was not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from readme import README, ROOT, examples, is_long, output_of, python_blocks, references, shell_commands


def each(found):
    """Each example, those that take long with the mark that says so."""
    every = [one if isinstance(one, tuple) else (one,) for one in found]
    return [pytest.param(*one, marks=[pytest.mark.long] if is_long(one[0]) else []) for one in every]


@pytest.mark.parametrize(("command", "printed"), each(examples()), ids=lambda value: value[:40].strip())
def test_console_example_prints_what_the_document_shows(command, printed):
    assert output_of(command) == printed


def test_the_readme_has_examples():
    assert README.read_text(encoding="utf-8").count("```console") >= 5


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
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference" / "commands.html").exists()
