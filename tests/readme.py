"""The console examples of README and docs: run each, compare what it prints, or write it anew (`--write`)."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = (
    README,
    ROOT / "docs" / "background" / "decisions.md",
    ROOT / "docs" / "how-to" / "plan-a-fleet.md",
)
_BLOCK = re.compile(r"```console\n\$ ((?:capacity|python) .*?)\n(.*?)```", re.DOTALL)
_SHELL = re.compile(r"```sh\n(.*?)\n```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Command and printed output of each console block."""
    return [pair for path in DOCUMENTS for pair in _BLOCK.findall(path.read_text(encoding="utf-8"))]


def shell_commands() -> list[str]:
    """The commands that a newcomer is told to run."""
    return _SHELL.findall(README.read_text(encoding="utf-8"))


def python_blocks() -> list[str]:
    return _PYTHON.findall(README.read_text(encoding="utf-8"))


def output_of(command: str) -> str:
    """What a command prints on stdout, without blanks at the ends of lines."""
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable if program == "python" else Path(sys.executable).with_name(program), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 4), done.stderr
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def write() -> None:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        path.write_text(
            _BLOCK.sub(lambda match: f"```console\n$ {match[1]}\n{output_of(match[1])}```", text),
            encoding="utf-8",
        )


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/readme.py --write")
    write()
