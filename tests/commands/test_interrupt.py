"""Interrupts of the installed command: one line, the usual exit code, within seconds, nothing left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("capacity")
LONG = [
    "simulate", "--profile", "resnet50-t4-fp16", "--rate", "2030rps", "--replicas", "2", "--routing",
    "shared-queue", "--requests-max", "400000000", "--precision", "0.001",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """So that no command here has to say that it compiles first."""
    short = ["--requests-max", "20000000", "--precision", "0.5"]
    done = subprocess.run([COMMAND, *LONG[:-4], *short], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def stopped(arguments, tmp_path, number):
    """Exit code, stderr and seconds to the end, of a signal to all as soon as work has begun."""
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
    ) as program:  # fmt: skip
        first = program.stderr.readline()
        time.sleep(1.0)
        assert program.poll() is None, program.communicate()
        began_s = time.monotonic()
        os.killpg(program.pid, number)
        try:
            _, errors = program.communicate(timeout=60.0)
        finally:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
        return program.returncode, first + errors, time.monotonic() - began_s


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_a_stopped_command_says_so_and_ends(tmp_path, workers):
    arguments = [COMMAND, *LONG, "--workers", workers]
    exit_code, errors, seconds = stopped(arguments, tmp_path, signal.SIGINT)
    assert exit_code == 130, errors
    assert errors.splitlines() == ["simulating 2 replicas, batch 128", "interrupted"]
    assert seconds < 20.0


@pytest.mark.parametrize("wrapped", [1, 2])
def test_an_interrupt_as_compiled_code_returns_is_one_too(tmp_path, wrapped):
    # The interpreter then raises SystemError, "returned a result with an exception set", from the interrupt:
    # once for the compiled function, and once more for what turns its result into an object of Python.
    program = tmp_path / "program.py"
    program.write_text(
        "from capacity.commands.guard import Guarded, StrictTyper\n"
        "app = StrictTyper(cls=Guarded)\n"
        "@app.callback()\n"
        "def main(): pass\n"
        "def leave(wrapped):\n"
        "    try:\n"
        "        if wrapped: leave(wrapped - 1)\n"
        "        raise KeyboardInterrupt\n"
        "    except (KeyboardInterrupt, SystemError) as error:\n"
        "        raise SystemError('returned a result with an exception set') from error\n"
        "@app.command()\n"
        f"def run(): leave({wrapped} - 1)\n"
        "app()\n"
    )
    done = subprocess.run([sys.executable, program, "run"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
