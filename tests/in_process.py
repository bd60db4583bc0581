"""The command in this process: all that it prints and how it ends, without the second that a process takes to start.

That it is installed, and what a shell does to its streams, is tested in processes of their own.
"""

import subprocess
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner

from cli import app


def capacity(
    folder: Path, *arguments: object, environment: Mapping[str, str | None] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a folder; a variable that is None is not there."""
    words = [str(word) for word in arguments]
    with chdir(folder):
        done = CliRunner().invoke(app, words, prog_name="capacity", env=environment)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
