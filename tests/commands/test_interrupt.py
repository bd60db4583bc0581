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


def stopped(arguments, tmp_path, number, *, to_group, after_s=2.0):
    """Exit code, stderr and seconds from the signal to the end."""
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
    ) as program:  # fmt: skip
        time.sleep(after_s)
        assert program.poll() is None, program.communicate()
        began_s = time.monotonic()
        (os.killpg if to_group else os.kill)(program.pid, number)
        try:
            _, errors = program.communicate(timeout=30.0)
        finally:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
        return program.returncode, errors, time.monotonic() - began_s


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "to_group", "code", "said"),
    [(signal.SIGINT, True, 130, "interrupted"), (signal.SIGTERM, False, 143, "terminated")],
)
def test_a_stopped_command_says_so_and_ends(tmp_path, workers, number, to_group, code, said):
    arguments = [COMMAND, *LONG, "--workers", workers]
    exit_code, errors, seconds = stopped(arguments, tmp_path, number, to_group=to_group)
    assert exit_code == code, errors
    assert errors.splitlines() == ["simulating 2 replicas, batch 128", said]
    assert seconds < 8.0


STUBBORN = """
import threading, time, cli
from simulations.workers import workers
@cli.app.command()
def stubborn():
    with workers(2) as mapper:
        list(mapper(time.sleep, [{first}, 60.0, 60.0]))
cli.app(["stubborn"])
"""


@pytest.mark.parametrize(("first", "code"), [("60.0", 130), ("-1.0", 1)])
def test_a_thread_that_never_looks_up_does_not_hold_up_the_end(tmp_path, first, code):
    program = [sys.executable, "-c", STUBBORN.format(first=first)]
    if code == 130:
        exit_code, errors, seconds = stopped(program, tmp_path, signal.SIGINT, to_group=True)
        assert errors == "interrupted\n"
        assert seconds < 8.0
    else:
        done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, timeout=20, check=False)
        exit_code = done.returncode
        assert done.stderr.startswith("internal error: ValueError")
    assert exit_code == code


def test_an_impatient_second_interrupt_ends_at_once(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(first="60.0")], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as program:
        time.sleep(1.5)
        program.send_signal(signal.SIGINT)
        time.sleep(0.5)
        began_s = time.monotonic()
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=20.0)
    assert (program.returncode, errors) == (130, "interrupted\n")
    assert time.monotonic() - began_s < 2.0


FAILING = """
import cli
@cli.app.command()
def failing():
    try:
        raise {stop}
    except BaseException:
        raise ValueError("while cleaning up")
cli.app(["failing"])
"""


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [("KeyboardInterrupt", 130, "interrupted\n"), ("RuntimeError", 1, "internal error: ValueError")],
)
def test_an_error_that_comes_up_while_an_interrupt_is_dealt_with_is_the_interrupt(stop, code, said):
    program = [sys.executable, "-c", FAILING.format(stop=stop)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
