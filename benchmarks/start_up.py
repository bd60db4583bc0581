"""Start-up: how long the command takes to start, beside Python itself and the libraries that it uses.

    python benchmarks/start_up.py

It prints medians of alternating starts of the `capacity` installed beside this Python, with its bytecode. It fails if
help or a law takes more than 0.15 s over Python, unless the machine is slow today: Typer and Rich alone, which a
law's answer needs, are the yardstick for that.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROUNDS = 11
LIMIT_S = 0.15  # over Python's own start
LIMIT_RATIO = 1.7  # of the start of Typer and Rich; with pydantic it would be 2.2

_CAPACITY = str(Path(sys.executable).parent / "capacity")
_LAW = "queue mmc --arrival-rate 9rps --servers 2 --service-rate 5rps"
LIBRARIES = "import typer, rich"
PROGRAMS = {
    "python": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer.main"],
    LIBRARIES: [sys.executable, "-c", "import typer.main, rich.console, rich.table"],
    "capacity --help": [_CAPACITY, "--help"],
    "capacity plan --help": [_CAPACITY, "plan", "--help"],
    "capacity queue mmc": [_CAPACITY, *_LAW.split()],
    "capacity queue mmc --json": [_CAPACITY, *_LAW.split(), "--json"],
}


def start_s(program: list[str]) -> float:
    """Time from a program's start to its end. [s]"""
    began_s = time.perf_counter()
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


def main() -> int:
    """Print a line for each program; 1 if one of ours is too slow."""
    times_s: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            times_s[name].append(start_s(program))
    python_s = median(times_s["python"])
    over_s = {name: median(found) - python_s for name, found in times_s.items() if name != "python"}
    limit_s = max(LIMIT_S, LIMIT_RATIO * over_s[LIBRARIES])
    print(f"python takes {python_s:.3f} s; over that, with {limit_s:.3f} s allowed:")
    for name, found_s in over_s.items():
        print(f"  {name:<26} {found_s:.3f} s")
    return int(max(found_s for name, found_s in over_s.items() if name.startswith("capacity")) > limit_s)


if __name__ == "__main__":
    sys.exit(main())
