"""Engines: compares our simulators with a loop in C and other packages, in one run: the same P99, and how fast.

    python benchmarks/engines.py [--rounds N] [--quick] [--markdown]

It needs no more than this package; a C compiler, numba and `pip install ciw cimba salabim` each add contestants, and
what is absent is reported. Times are CPU times on one core, random numbers included; contestants alternate, and
ratios are taken within a round, so that a noisy machine slows both sides of one. Exit code 1: a P99 differs from the
law or the longest run, or a required ratio is missed. All of it takes some minutes.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contest import APART_MAX, Times, apart, p99, race, ratio, stay_on_one_core, truth
from contestants import CIMBA, KERNEL, RECURSION, SIMPY, C, contestants
from peers import PACKAGES, left_out, version
from systems import BATCHES, LEAST, MM8, SYSTEMS, TWO, System
from yardstick import compiler_version


@dataclass(frozen=True, slots=True)
class Must:
    """A claim on speed: `above` serves at least this many times as many requests per second as `below`."""

    system: System
    above: str
    below: str
    at_least: float


MUSTS = (
    Must(MM8, RECURSION, C, 1.0),
    Must(MM8, RECURSION, CIMBA, 10.0),
    Must(MM8, RECURSION, SIMPY, 250.0),
    Must(BATCHES, KERNEL, C, 0.6),
    Must(BATCHES, RECURSION, C, 1.25),
    Must(BATCHES, RECURSION, CIMBA, 10.0),
    Must(LEAST, KERNEL, C, 15.0 / 34.0),
    Must(LEAST, RECURSION, C, 0.8),
    Must(TWO, KERNEL, C, 15.0 / 34.0),
    Must(TWO, RECURSION, C, 0.9),
)
MEASURED = ["contestant", "requests/s", "ns a request", f"x {C}", f"x {SIMPY}", "P99", "off by"]
CLAIMED = ["system", "contestant", "over", "at least", "measured", ""]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """A table with columns as wide as their widest cell; with bars for markdown."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    bar = " | " if markdown else "   "
    lines = [bar.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
             for row in (header, ["-" * width for width in widths], *rows)]  # fmt: skip
    return "\n".join(f"| {line} |" if markdown else line.rstrip() for line in lines)


def machine() -> str:
    """The machine, the software and the date."""
    models = [line.partition(":")[2].strip() for line in _processor_lines() if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", *PACKAGES.values()))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{processor}; {python}, {packages}; {compiler_version()}; {time.strftime('%Y-%m-%d')}"


def _processor_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def measure(system: System, rounds: int, share: float, *, markdown: bool) -> tuple[Times, bool]:
    """Print one system's table; returns its times, and whether all agree on P99."""
    entered = contestants(system)
    estimates = {contestant.name: p99(contestant, share) for contestant in entered}
    reference = truth(system, entered, estimates)
    times_s = race(entered, rounds)
    rows, agreed = [], True
    for name, estimate in estimates.items():
        off, interval = apart(estimate, reference), estimate.interval(0.95)
        agreed &= abs(off) <= APART_MAX
        request_s = statistics.median(times_s[name])
        rows.append([
            name, f"{1.0 / request_s:,.0f}", f"{1e9 * request_s:.4g}",
            *(str(ratio(times_s, name, below)) if below in times_s else "-" for below in (C, SIMPY)),
            f"{interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g})",
            f"{off:+.1f} SE" + ("" if abs(off) <= APART_MAX else " DIFFERS"),
        ])  # fmt: skip
    source = "exact" if system.p99_s is not None else "of the longest run"
    print(f"\n{system.name}: P99 {reference.value:.4g} s, {source}\n")
    print(table(MEASURED, rows, markdown=markdown))
    for peer, reason in left_out(system).items():
        print(f"\nwithout {peer}: {reason}")
    return times_s, agreed


def claims(measured: dict[str, Times], *, markdown: bool) -> bool:
    """Print which claims hold; returns whether none is missed."""
    rows, held = [], True
    for must in MUSTS:
        times_s = measured[must.system.name]
        cells, verdict = (
            "",
            "skipped: " + ", ".join(sorted({must.above, must.below} - times_s.keys())) + " absent",
        )
        if times_s.keys() >= {must.above, must.below}:
            found = ratio(times_s, must.above, must.below)
            cells, verdict = str(found), "held" if found.median >= must.at_least else "MISSED"
            held &= found.median >= must.at_least
        rows.append([must.system.name, must.above, must.below, f"{must.at_least:.3g}", cells, verdict])
    print("\nMust hold, by the median\n")
    print(table(CLAIMED, rows, markdown=markdown))
    return held


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=7, help="alternations, five at least")
    options.add_argument("--quick", action="store_true", help="five rounds, and half as much for P99")
    options.add_argument("--markdown", action="store_true", help="print tables for a markdown file")
    given = options.parse_args()
    rounds, share = (5, 0.25) if given.quick else (max(5, given.rounds), 0.5)
    stay_on_one_core()
    print(machine())
    print(f"medians of {rounds} alternating rounds, lowest and highest in brackets; P99 with 95 % intervals")
    measured, agreed = {}, True
    for system in SYSTEMS:
        measured[system.name], same = measure(system, rounds, share, markdown=given.markdown)
        agreed &= same
    held = claims(measured, markdown=given.markdown)
    print("\nall agree on P99" if agreed else f"\na P99 is more than {APART_MAX:g} standard errors off")
    return 0 if held and agreed else 1


if __name__ == "__main__":
    sys.exit(main())
