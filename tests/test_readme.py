"""No number is printed in the README that was not run."""

import subprocess
import sys

import pytest
from readme import examples, output_of, python_blocks, shell_commands


@pytest.mark.parametrize(("command", "printed"), examples(), ids=lambda value: value[:40].strip())
def test_console_example_prints_what_the_readme_shows(command, printed):
    assert output_of(command) == printed


def test_the_readme_has_examples():
    assert len(examples()) >= 5


def test_first_command_is_the_example_that_is_explained():
    planning, testing = shell_commands()
    assert planning == f"pip install . && {examples()[0][0]}"
    assert testing.endswith("python -m pytest")


def test_python_example_runs(tmp_path):
    (block,) = python_blocks()
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "replicas=1" in done.stdout
