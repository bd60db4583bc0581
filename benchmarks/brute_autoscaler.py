"""Brute autoscaler: the choices of `capacity plan --autoscale any` beside every controller of a grid, one by one.

    python benchmarks/brute_autoscaler.py [number ...]

asks each question by the command, and judges the answer and a grid of controllers by brute_autoscaler.c, which shares
no code with the project and has other random numbers. Exits with 1 where the chosen controller misses its limit there,
its replica-hours differ, or one that holds the limit beyond doubt takes 2 % fewer. Needs a C compiler.
"""

import ctypes
import json
import math
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SOURCE = Path(__file__).with_name("brute_autoscaler.c")
DAYS, AGAIN = 6, 40  # of each controller of the grid; and of the chosen one
ERRORS = 3.0  # standard errors that chance may make
GAP = 0.02  # share of the replica-hours by which a grid of other steps may be better
AMPLE = 40  # replicas that no controller of these questions ever asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A day of a server with fixed batch times, from size 1 on. [s]"""

    times_s: tuple[float, ...]
    day: tuple[tuple[int, float], ...]
    limit_s: float
    startup_s: float
    lag_s: float
    stabilization_s: float = 300.0

    def command(self, folder: Path) -> list[str]:
        """The question as it is typed, with its files."""
        rows = "".join(f"{size},{1e3 * time_s:g}\n" for size, time_s in enumerate(self.times_s, start=1))
        (folder / "batches.csv").write_text(f"batch_size,mean_ms\n{rows}", encoding="utf-8")
        rates = "".join(f"{hour:02}:00,{rate_rps:g}\n" for hour, rate_rps in self.day)
        (folder / "day.csv").write_text(f"time,rate_rps\n{rates}", encoding="utf-8")
        given = ["--profile", "batches.csv", "--daily", "day.csv", "--slo-p99", f"{self.limit_s:g}s"]
        given += [
            "--batch-size-max",
            str(len(self.times_s)),
            "--batch-wait",
            "0ms",
            "--routing",
            "round-robin",
        ]
        given += ["--startup-time", f"{self.startup_s:g}s", "--metric-lag", f"{self.lag_s:g}s"]
        return [*given, "--stabilization", f"{self.stabilization_s:g}s", "--autoscale", "any", "--json"]


QUESTIONS = (
    Question(
        times_s=(0.1,),
        day=((0, 3.0), (7, 15.0), (12, 9.0), (17, 22.0), (22, 5.0)),
        limit_s=0.6,
        startup_s=60.0,
        lag_s=15.0,
    ),
    Question(
        times_s=(0.050, 0.056, 0.064, 0.072),
        day=((0, 10.0), (6, 45.0), (9, 80.0), (15, 60.0), (20, 25.0)),
        limit_s=0.25,
        startup_s=120.0,
        lag_s=30.0,
    ),
    Question(
        times_s=(0.08, 0.10),
        day=((0, 4.0), (5, 12.0), (8, 40.0), (10, 22.0), (13, 50.0), (19, 16.0)),
        limit_s=0.5,
        startup_s=30.0,
        lag_s=0.0,
        stabilization_s=600.0,
    ),
)


class _Question(ctypes.Structure):
    _fields_ = (
        ("edges", ctypes.c_int),
        ("from_s", ctypes.c_void_p),
        ("rates", ctypes.c_void_p),
        ("times_s", ctypes.c_void_p),
        ("batch_max", ctypes.c_int),
        ("limit_s", ctypes.c_double),
        ("is_share", ctypes.c_int),
        ("target", ctypes.c_int),
        ("least", ctypes.c_int),
        ("bound", ctypes.c_int),
        ("startup_s", ctypes.c_double),
        ("lag_s", ctypes.c_double),
        ("stable_s", ctypes.c_double),
    )


class _Day(ctypes.Structure):
    _fields_ = (
        ("requests", ctypes.c_long),
        ("late", ctypes.c_long),
        ("hours", ctypes.c_double),
        ("most", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A target, `utilization:0.6` or `concurrency:4`, and the fewest and most replicas."""

    target: str
    least: int
    bound: int

    @property
    def number(self) -> tuple[bool, int]:
        """Whether it is a share, and how the HPA counts it."""
        name, _, level = self.target.partition(":")
        is_share = name == "utilization"
        return is_share, round(float(level) * (100 if is_share else 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Means over days with their standard errors."""

    late: float
    late_error: float
    hours: float
    hours_error: float
    most: int

    @property
    def holds(self) -> bool:
        """Whether the P99 is within the limit beyond doubt: at most 1 % are late."""
        return self.late + ERRORS * self.late_error <= 0.01

    @property
    def misses(self) -> bool:
        return self.late - ERRORS * self.late_error > 0.01


class Brute:
    """The simulator in C."""

    def __init__(self, folder: Path) -> None:
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            raise SystemExit("no C compiler: install one (cc, gcc or clang) to run the brute-force check")
        built = folder / "brute_autoscaler.so"
        subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-o", built, SOURCE, "-lm"], check=True)
        self._day = ctypes.CDLL(str(built)).day
        self._day.restype = _Day

    def days(self, asked: Question, one: Controller, count: int, first: int = 1) -> Found:
        """Means over some days of a controller."""

        def array(values: Sequence[float]) -> ctypes.Array[ctypes.c_double]:
            return (ctypes.c_double * len(values))(*values)

        from_s = array([3600.0 * hour for hour, _ in asked.day])
        rates, times_s = array([rate_rps for _, rate_rps in asked.day]), array(asked.times_s)
        is_share, target = one.number
        given = _Question(
            len(asked.day), ctypes.addressof(from_s), ctypes.addressof(rates), ctypes.addressof(times_s),
            len(asked.times_s), asked.limit_s, is_share, target, one.least, one.bound,
            asked.startup_s, asked.lag_s, asked.stabilization_s,
        )  # fmt: skip
        warm_s = 60.0 * math.ceil(
            (600.0 + asked.stabilization_s + asked.lag_s + 15.0 + asked.startup_s) / 60.0
        )
        seen = [
            self._day(ctypes.byref(given), ctypes.c_uint64(seed), ctypes.c_double(warm_s))
            for seed in range(first, first + count)
        ]
        late, late_error = _mean([day.late / day.requests for day in seen])
        hours, hours_error = _mean([day.hours for day in seen])
        return Found(
            late=late,
            late_error=late_error,
            hours=hours,
            hours_error=hours_error,
            most=max(day.most for day in seen),
        )


def _mean(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    spread = math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1)
    return mean, math.sqrt(spread / len(values))


def grid(asked: Question, fixed: int) -> Iterator[Controller]:
    """Every target of both metrics, with every lower bound up to the fixed fleet."""
    shares = [f"utilization:{percent / 100:g}" for percent in range(30, 100, 5)]
    levels = [0.5 * 2.0 ** (step / 4) for step in range(4 * 7)]
    requests = [f"concurrency:{level:.2g}" for level in levels if level <= 4.0 * len(asked.times_s)]
    for target in (*shares, *requests):
        for least in range(1, fixed + 1):
            yield Controller(target=target, least=least, bound=AMPLE)


def check(number: int, asked: Question, folder: Path) -> bool:
    """One question: what was chosen, and what brute force says of it."""
    brute = Brute(folder)
    command = [sys.executable, "-c", "from cli import app; app()", "plan", *asked.command(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"question {number}: exit code {done.returncode}: {done.stderr[-500:]}")
        return False
    found = json.loads(done.stdout)["autoscaled"]
    scaler, hours = found["autoscaler"], found["replica_hours"]
    chosen = Controller(target=scaler["target"], least=scaler["replicas_min"], bound=scaler["replicas_max"])
    again = brute.days(asked, chosen, AGAIN, first=1_000_000)
    every = {
        one: brute.days(asked, one, DAYS) for one in grid(asked, found["smallest_fleet"]["replicas_max"])
    }
    held = {one: days for one, days in every.items() if days.holds}
    best = min(held, key=lambda one: held[one].hours)
    tolerance = ERRORS * again.hours_error + (hours["high"] - hours["low"]) / 2.0
    problems = []
    if again.misses:
        problems.append("the chosen one misses its limit")
    if abs(again.hours - hours["value"]) > tolerance:
        problems.append("its replica-hours differ")
    if held[best].hours < (1.0 - GAP) * again.hours - ERRORS * (again.hours_error + held[best].hours_error):
        problems.append("a cheaper one holds")
    cells = (
        f"{number}",
        f"{chosen.target}, {chosen.least} to {chosen.bound}",
        f"{hours['value']:.2f}",
        f"{again.hours:.2f}",
        f"{found['late_share']['value']:.3%}",
        f"{again.late:.3%} ± {again.late_error:.3%}",
        f"{len(held)} of {len(every)}",
        f"{best.target}, {best.least} at least: {held[best].hours:.2f}",
        "; ".join(problems) or "agree",
    )
    print(f"| {' | '.join(cells)} |", flush=True)
    return not problems


def main() -> None:
    """Check the questions named on the command line, or all."""
    numbers = [int(word) for word in sys.argv[1:]] or range(1, len(QUESTIONS) + 1)
    print("| question | chosen | hours | hours, brute | late | late, brute | hold | cheapest that holds | |")
    print("|---|---|---|---|---|---|---|---|---|")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        agree = [check(number, QUESTIONS[number - 1], Path(folder)) for number in numbers]
    day = datetime.now(tz=UTC).date()
    print(
        f"\n{sum(agree)} of {len(agree)} agree; python benchmarks/brute_autoscaler.py, {platform.machine()}, "
        f"Python {platform.python_version()}, {day}, {time.perf_counter() - began:.0f} s"
    )
    raise SystemExit(0 if all(agree) else 1)


if __name__ == "__main__":
    main()
