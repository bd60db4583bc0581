"""Speed: what people wait for, each command as they type it: seconds of the clock and of the processor.

    python benchmarks/speed.py [word ...] [--runs N]     # only the commands whose name holds a word

Medians of five runs of a warm command, on a machine that does nothing else. Beside each is the time within which it
should answer; `speed_of_laws.py` and `engines.py` put laws and loops beside other packages and a loop in C.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from capacity.profile.load import load_profile

ROOT = Path(__file__).resolve().parents[1]
CAPACITY = Path(sys.executable).with_name("capacity")
T4, V100 = ["--profile", "resnet50-t4-fp16"], ["--profile", "resnet50-v100-fp16"]
README = ["--rate", "3200rps", "--slo-p99", "40ms"]
LARGE = ["plan", *T4, "--rate", "1000000rps", "--slo-p99", "40ms", "--replicas-max", "2000"]
LARGER = ["plan", *T4, "--rate", "10000000rps", "--slo-p99", "40ms", "--replicas-max", "15000"]
ROUTINGS = ("round-robin", "random", "power-of-two", "least-outstanding", "shared-queue")
ENGINE = ["--profile", "llama-3.1-8b-rtx-pro-6000-bf16", "--lengths", "azure-conversation-2023"]
DAY = ["--daily", str(ROOT / "docs" / "examples" / "day.csv")]
_SAMPLES = 800  # of each batch size
_LIMIT_S = 600.0


def commands(folder: Path) -> Iterator[tuple[str, list[str], float]]:
    """Name, words, and the seconds of the clock within which each should answer."""
    raw = folder / "raw.csv"
    write_samples(raw)
    yield "a command that computes nothing", ["profiles"], 0.5
    yield "plan of the README", ["plan", *T4, *README], 1.0
    yield "the same from 800 raw samples a size", ["plan", "--profile", str(raw), *README], 2.0
    bursts = ["--arrivals", "mmpp:ratio=4,burst=20s,calm=100s"]
    yield "the same under bursts", ["plan", *T4, *README, *bursts], 3.0
    few = ["--replicas-max", "64", "--batch-size-max", "64"]
    yield "of two profiles", ["plan", *T4, *V100, *README, *few], 1.5
    yield "that survives n-1", ["plan", *T4, *README, "--survive", "n-1"], 2.0
    yield (
        "of closed users",
        ["plan", *T4, "--users", "400", "--think-time", "100ms", "--slo-p99", "40ms"],
        2.0,
    )
    yield "over a day", ["plan", *T4, *DAY, "--slo-p99", "40ms"], 2.0
    yield "max-rate of its plan", ["max-rate", *T4, "--replicas", "4", "--slo-p99", "40ms"], 1.5
    yield "sweep of 100 cells", ["sweep", *T4, "--rate", "200rps:4000rps:200rps", "--replicas", "1:5"], 3.0
    limits = ["--slo-ttft-p99", "2s", "--slo-tpot-p99", "60ms", "--precision", "0.05"]
    yield "plan of a language model", ["plan", *ENGINE, "--rate", "20rps", *limits], 5.0
    yield "the same at load 0.92", ["plan", *ENGINE, "--rate", "28.5rps", *limits], 10.0
    day = [*DAY, "--slo-p99", "40ms", "--autoscale", "utilization:0.6", "--only-verdict", "--runs", "2"]
    yield "a day of 1.4e8 requests, autoscaled", ["autoscale", *T4, *day], 60.0
    for routing in ROUTINGS:
        yield f"1e6 rps, {routing}", [*LARGE, "--routing", routing], 5.0
    for routing in ROUTINGS:
        yield f"1e7 rps, {routing}", [*LARGER, "--routing", routing], 20.0


def write_samples(file: Path) -> None:
    """Raw samples of the README's profile, as a measurement would have them."""
    profile, generator = load_profile("resnet50-t4-fp16"), np.random.default_rng(7)
    rows = [
        f"{size},{1000.0 * profile.law(size).quantile_s(level):.6f}"
        for size in profile.batch_sizes
        for level in generator.random(_SAMPLES)
    ]
    file.write_text("\n".join(["batch_size,latency_ms", *rows]), encoding="utf-8")


def timed(words: list[str]) -> tuple[float, float, int]:
    """Seconds of the clock and of the processor, and the exit code; 124 if it took too long."""
    before, begun_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        done = subprocess.run(
            [CAPACITY, *words], capture_output=True, timeout=_LIMIT_S, check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
        )  # fmt: skip
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = 124
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - begun_s, cpu_s, code


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    print(f"{'':40} {'wall':>7} {'CPU':>7} {'wanted':>7}   exit")
    with tempfile.TemporaryDirectory() as folder:
        for name, words, wanted_s in commands(Path(folder)):
            if given.words and not any(word in name for word in given.words):
                continue
            timed(words)  # what is compiled once is kept then
            runs = [timed(words) for _ in range(given.runs)]
            wall_s, cpu_s = (statistics.median(run[place] for run in runs) for place in (0, 1))
            print(f"{name:40} {wall_s:5.2f} s {cpu_s:5.2f} s {wanted_s:5.1f} s   {runs[0][2]}", flush=True)


if __name__ == "__main__":
    main()
