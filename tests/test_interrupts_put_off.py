"""Interrupts where an exception would be lost or would break what runs: put off, and then as ever."""

import subprocess
import sys
from pathlib import Path

import pytest

# A command that is interrupted in a destructor, or in a function of some module; `{again}` stops it there.
STORY = """
import os, signal, sys, time, types
import cli

def meet(number):
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass
    print("whole", flush=True)

class Ending:
    def __del__(self):
        meet({number})

bindings = types.ModuleType("{module}")
exec("def call(function, *arguments): function(*arguments)", bindings.__dict__)

@cli.app.command()
def story():
    {act}
    print("goes on", flush=True)
    time.sleep(20.0)

cli.app(["story"])
"""


def told(
    tmp_path: Path, act: str, number: str = "signal.SIGINT", module: str = "llvmlite.binding.ffi"
) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    story = STORY.format(act=act, number=number, module=module)
    done = subprocess.run(
        [sys.executable, "-c", story], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


IMPORT = "sys.path.insert(0, '.'); sys.meet = lambda: meet({number}); import met"


@pytest.mark.parametrize(
    "act", ["Ending()", "bindings.call(meet, {number})", IMPORT], ids=["destructor", "llvm", "import"]
)
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [("signal.SIGINT", 130, "interrupted\n"), ("signal.SIGTERM", 143, "terminated\n")],
)
def test_what_must_not_be_broken_ends_first_and_the_interrupt_is_not_lost(
    tmp_path: Path, act: str, number: str, code: int, said: str
) -> None:
    (tmp_path / "met.py").write_text("import sys; sys.meet()")
    exit_code, answer, errors = told(tmp_path, act.format(number=number), number)
    assert (exit_code, errors) == (code, said)
    assert answer.startswith("whole\n")


@pytest.mark.parametrize("module", ["llvmlite.bindings", "other"])
def test_elsewhere_it_is_raised_at_once(tmp_path: Path, module: str) -> None:
    act = "bindings.call(meet, signal.SIGINT)"
    assert told(tmp_path, act, module=module) == (130, "", "interrupted\n")


def test_what_never_ends_is_left_in_the_end(tmp_path: Path) -> None:
    act = "meet = lambda number: (os.kill(os.getpid(), number), time.sleep(20.0)); bindings.call(meet, signal.SIGINT)"
    assert told(tmp_path, act) == (130, "", "interrupted\n")


def test_a_command_that_ends_before_is_not_interrupted_after(tmp_path: Path) -> None:
    act = "bindings.call(meet, signal.SIGINT); return"
    story = "print('over'); import time; time.sleep(0.2)"
    code = STORY.format(act=act, number="signal.SIGINT", module="llvmlite.binding").replace(
        'cli.app(["story"])', f'cli.app(["story"], standalone_mode=False); {story}'
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\nover\n", "")


def test_ctrl_c_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As for what a shell starts in the background."""
    act = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    story = STORY.format(act="meet(signal.SIGINT); return", number="0", module="other")
    story = story.replace("cli.app([", f"{act}; cli.app([")
    done = subprocess.run(
        [sys.executable, "-c", story], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")
