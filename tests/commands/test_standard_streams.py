"""Standard streams that are full, closed, or no longer read, as the shell gives them to a command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "capacity")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
NO_ROOM = "error: cannot write to stdout: No space left on device; send it to another place\n"
CLOSED = "error: cannot write to stdout: it is closed; send it to another place\n"


def ends(command: str, folder: Path) -> tuple[int, str]:
    """Exit code of the command before a pipe, and what it said on stderr."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {COMMAND} {command}"],
        capture_output=True, text=True, cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("arguments", ["--help", "curve"])
@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [
        pytest.param(">/dev/full", 5, NO_ROOM, marks=FULL),
        (">&-", 5, CLOSED),
        ("<&- >&-", 5, CLOSED),
        (">&- 2>&-", 5, ""),
        ("2>&-", 0, ""),
        ("| head -c 1", 0, ""),
    ],
)
def test_only_what_the_answer_is_lost_by_is_an_error(arguments, redirect, code, said, tmp_path) -> None:
    assert ends(f"{arguments} {redirect}", tmp_path) == (code, said)


@pytest.mark.long
@pytest.mark.parametrize("redirect", ["2>&-", pytest.param("2>/dev/full", marks=FULL), "2> >(true)"])
def test_an_error_that_is_lost_changes_no_exit_code(redirect: str, tmp_path: Path) -> None:
    assert ends(f"simulate --profile gone --rate 1rps --replicas 1 {redirect}", tmp_path)[0] == 2


@pytest.mark.long
@pytest.mark.parametrize("redirect", ["2>&-", pytest.param("2>/dev/full", marks=FULL), "2> >(true)"])
def test_progress_that_is_lost_changes_no_exit_code(redirect: str, tmp_path: Path) -> None:
    simulate = "simulate --profile resnet50-t4-fp16 --rate 9rps --replicas 1 --requests-max 1000000"
    assert ends(f"{simulate} --precision 0.5 {redirect}", tmp_path)[0] == 0


def test_no_file_takes_the_place_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    """Or what a library prints would go into it."""
    program = (
        "import os, typer; from capacity.commands.guard import Guarded\n"
        "app = typer.Typer(cls=Guarded)\n"
        "@app.callback(invoke_without_command=True)\n"
        "def main(): os._exit(os.open('x', os.O_CREAT | os.O_WRONLY) <= 2)\n"
        "app()\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c \"$PROGRAM\" <&- >&- 2>&-"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": root, "PROGRAM": program}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
