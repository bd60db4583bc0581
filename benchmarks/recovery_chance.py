"""Chance in a spike: how many of one run's very first tries succeed, with other batch times and at other times.

    python benchmarks/recovery_chance.py docs/measurements/recovery-beside-measured.jsonl

For each measured run of a spike behind nginx: the simulated share that succeeds in the spike, over runs that have its
first tries in common and begin anywhere within a second of nginx's clock, as the real one did; once with the times of
the profile, and with all of them some per cent longer.
"""

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from recovery_beside_measured import EMULATED, SETTINGS, SIZES, asked_of, seed_of

import capacity as cap
from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from capacity.recovery.stress import Stress
from simulations.draws.outages import first_tries_s, inside
from simulations.kernel.recovery.run import run
from simulations.servers import simulated

RUNS, FIRST = 200, 100  # of other batch times, by the numbers of their seeds
LONGER = (1.0, 1.01, 1.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.rows.read_text("utf-8").splitlines()]
    print(" | ".join(["| setting | run | measured", *(f"times × {longer:g}" for longer in LONGER)]), "|")
    print("|---" * (3 + len(LONGER)) + "|")
    for row in rows:
        if row["balancer"] == "nginx" and row["asked"]["trigger"].startswith("spike"):
            print(f"| {row['setting']} | {row['run']} | {_shown(row['measured']['goodput_during'])}", end="")
            for longer in LONGER:
                print(" |", _spread(spike_success(row, longer, options.runs)), end="", flush=True)
            print(" |")


def spike_success(row: dict[str, Any], longer: float, runs: int) -> np.ndarray:
    """Simulated shares that succeed in the spike, shape `(runs,)`, with batches that take this many times as long."""
    setting = next(one for one in SETTINGS if (one.name, one.balancer) == (row["setting"], row["balancer"]))
    with tempfile.TemporaryDirectory() as folder:
        profile = _profile(Path(folder), row["profile_mean_s"], longer)
    asked = asked_of(setting, row["startup_s"], row["replaced_s"])
    stress = cap.stress(profile, **asked, runs=2, only_verdict=True).stress
    generator = np.random.default_rng(0)
    find = partial(share_that_succeeds, stress, row["run"])
    return np.array([find(FIRST + number, generator.uniform()) for number in range(runs)])


def _profile(folder: Path, means_s: list[float], longer: float) -> ServiceProfile:
    """The profile of a row: its means, with quantiles in proportion to those of the emulated server."""
    header, *lines = EMULATED.splitlines()
    for place, (line, mean_s) in enumerate(zip(lines, means_s, strict=True)):
        mean_ms, *quantiles_ms = map(float, line.split(",")[1:])
        scale = longer * 1e3 * mean_s / mean_ms
        figures = [SIZES[place], *(scale * one for one in (mean_ms, *quantiles_ms))]
        lines[place] = ",".join(f"{figure:g}" for figure in figures)
    path = folder / "emulated.csv"
    path.write_text("\n".join([header, *lines, ""]), "utf-8")
    return load_profile(path)


def share_that_succeeds(stress: Stress, number: int, other: int, begins_s: float) -> float:
    """Share that succeeds in the spike, of the first tries of one run and the batch times of another."""
    fleet, draw, requests_each = simulated(stress, seed_of(other), None)
    arrived_s = begins_s + first_tries_s(stress, seed_of(number), stress.comes_until_s, requests_each)
    outcomes = run(fleet, draw(arrived_s), inside(stress.clients, stress.overhead_s), stress.protection, ())
    first, last = np.searchsorted(arrived_s, [begins_s + stress.begins_s, begins_s + stress.ends_s])
    return float(np.mean(~np.isnan(outcomes.answered_s[first:last])))


def _spread(shares: np.ndarray) -> str:
    low, high = np.quantile(shares, [0.025, 0.975])
    return f"{_shown(float(shares.mean()))} ({_shown(low)} to {_shown(high)})"


def _shown(share: float) -> str:
    return f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
