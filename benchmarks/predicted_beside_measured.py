"""What is predicted of the reference server beside what is measured of it; takes hours and a quiet machine.

    python benchmarks/predicted_beside_measured.py --artifacts artifacts/mlp -o cells.jsonl [--replicas 2]

Each cell starts the server on core 0, measures its profile there, and sends it open-loop load from the last
core. Beside what `capacity verify` predicts from that profile, in the long run and for the very requests that
were sent, stands a replay with the batch times that the server counted in the same runs: what it misses, no
profile mends. A cell that is in the file already is not run again.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capacity.plan import Plan, Routing
from capacity.profile import ServiceProfile
from capacity.profile_files import load_profile
from capacity.units import parse_duration_s
from capacity.workload import Workload
from measurements.address import parse_address
from measurements.counted import counted_findings
from measurements.histogram_delta import gains
from measurements.http_exchange import HttpExchange
from measurements.measured import median_performance
from measurements.prediction import Predictor
from measurements.quantities import QUANTILES
from measurements.schedule import draw_schedule
from measurements.window import scrape
from serve_api.local_server import Replica, pinned, running
from serve_api.loop_stages import example
from simulations.simulate import Simulation

LOADS = (0.3, 0.5, 0.7, 0.85)
# Largest batch and batch wait; with batches of one there is nothing to wait for.
BATCHING = ((1, 0.0), (8, 0.0), (8, 0.005), (32, 0.0), (32, 0.005))
SIZES = (1, 2, 4, 8, 16, 32)
# By the largest batch: half a minute of the machine, in which it has quick and slow spells.
SAMPLES = {1: 4000, 8: 1000, 32: 400}
WARM_UP_S = 5.0
REQUESTS_MIN = 5500.0  # of a run; its P99 takes 5,000
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One plan at one load."""

    load: float
    batch_size_max: int
    batch_wait_max_s: float
    replicas: int = 1
    routing: str = "round-robin"

    @property
    def key(self):
        return [self.load, self.batch_size_max, self.batch_wait_max_s, self.replicas, self.routing]

    def plan(self, profile: ServiceProfile) -> Plan:
        return Plan(
            profile=profile.name,
            replicas=self.replicas,
            batch_size_max=self.batch_size_max,
            batch_wait_max_s=self.batch_wait_max_s,
            routing=Routing(self.routing),
        )


def cells(replicas: int):
    if replicas == 1:
        for load, (size, wait_s) in itertools.product(LOADS, BATCHING):
            yield Cell(load=load, batch_size_max=size, batch_wait_max_s=wait_s)
    else:
        for load, size, routing in itertools.product(
            (0.3, 0.5), (1, 8), ("round-robin", "least-outstanding")
        ):
            yield Cell(
                load=load, batch_size_max=size, batch_wait_max_s=0.0, replicas=replicas, routing=routing
            )


def capacity(*arguments: str, core: int):
    """A `capacity` command from a core; its exit code and its answer."""
    command = [str(Path(sys.executable).with_name("capacity")), *arguments, "--json"]
    with pinned(core):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise SystemExit(f"{' '.join(command[:2])} ended with {done.returncode}")
    return json.loads(done.stdout)


def measure(cell: Cell, options: argparse.Namespace, folder: Path) -> dict:
    cores = sorted(os.sched_getaffinity(0))
    body = folder / "request.json"
    body.write_text(json.dumps({"instances": [example(options.artifacts)]}), encoding="utf-8")
    with ExitStack() as fleet:
        urls = [
            fleet.enter_context(running(replica(cell, options, cores[number]), folder / f"{number}.log"))
            for number in range(cell.replicas)
        ]
        profile = profiled(urls[0], cell, body, folder, options, cores[-1])
        rate_rps = cell.load * cell.replicas * profile.throughput_rps(cell.batch_size_max)
        pages = [HttpExchange(parse_address(f"{url}/metrics", "--url"), timeout_s=10.0) for url in urls]
        before = [scrape(page) for page in pages]
        duration, runs = (
            options.long if cell.load > 0.8 and options.long else (options.duration, options.runs)
        )
        duration = f"{max(parse_duration_s(duration, '--duration'), REQUESTS_MIN / rate_rps):.0f}s"
        found = capacity(
            "verify", *(word for url in urls for word in ("--url", f"{url}/predict")), "--body", str(body),
            "--profile", str(folder / "profile.json"), "--batch-size-max", str(cell.batch_size_max),
            "--batch-wait", f"{1e3 * cell.batch_wait_max_s:g}ms", "--routing", cell.routing,
            "--rate", f"{rate_rps}rps", "--duration", duration, "--runs", str(runs),
            "--warm-up", f"{WARM_UP_S:g}s", "--seed", str(SEED), core=cores[-1],
        )  # fmt: skip
        after = [scrape(page) for page in pages]
    seen = in_the_runs(profile, list(zip(before, after, strict=True)), found["lone_requests"])
    span_s = WARM_UP_S + found["runs"][0]["window_s"]
    told = {name: found[name] for name in ("verdict", "rows", "runs", "environment", "notes")}
    told["environment"].pop("urls")
    return {
        "key": cell.key,
        "rate_rps": rate_rps,
        "duration": duration,
        "profile": {str(size): profile.law(size).mean_s for size in profile.batch_sizes},
        "work_s": [profile.batch_work_s, profile.request_work_s, profile.request_overhead_s],
        "spells": None if profile.spells is None else [profile.spells.share, profile.spells.lasting_s],
        "wake_s": profile.wake_s,
        "lone_requests": found["lone_requests"],
        "lone_batch_said_s": profile.service_mean_s(1) - profile.work_s(1) + profile.wake_s,
        "in_runs": {str(size): seen.law(size).mean_s for size in seen.batch_sizes},
        "in_runs_replay": replayed(seen, cell, rate_rps, round(span_s, 6), len(found["runs"])),
        "verification": told,
    }


def replica(cell: Cell, options: argparse.Namespace, core: int) -> Replica:
    return Replica(
        artifacts=options.artifacts,
        batch_size_max=cell.batch_size_max,
        batch_wait_max_s=cell.batch_wait_max_s,
        core=core,
        flags=options.flag,
    )


def profiled(
    url: str, cell: Cell, body: Path, folder: Path, options: argparse.Namespace, core: int
) -> ServiceProfile:
    """Of a server without a batch wait of the same batches, on the core that the first replica has."""
    sizes = ",".join(str(size) for size in SIZES if size <= cell.batch_size_max)
    file = folder / "profile.json"
    with ExitStack() as apart:
        if cell.batch_wait_max_s > 0.0:  # whose wait a request at a time would be
            greedy = Cell(load=cell.load, batch_size_max=cell.batch_size_max, batch_wait_max_s=0.0)
            first = sorted(os.sched_getaffinity(0))[0]
            url = apart.enter_context(running(replica(greedy, options, first), folder / "greedy.log"))
        capacity(
            "profile", "--url", f"{url}/predict", "--body", str(body), "--counters", f"{url}/metrics",
            "--batch-sizes", sizes, "--samples", str(SAMPLES[cell.batch_size_max]), "-o", str(file),
            core=core,
        )  # fmt: skip
    return load_profile(str(file))


def in_the_runs(profile: ServiceProfile, pages: list, lone: dict | None) -> ServiceProfile:
    """The profile with the batch times that the servers counted in the runs, where they counted enough.

    These hold the work beside batches, which is done on the same core meanwhile.
    """
    timings = {timing.batch_size: timing for timing in profile.timings}
    for before, after in pages[:1]:
        found = counted_findings(gains(before, after, "serve_batch_seconds", "batch_size"), 0.95)
        timings |= {one.batch_size: one.timing for one in found}
    beside_s = profile.request_overhead_s + profile.work_s(1) if lone is None else lone["beside_s"]
    return ServiceProfile(
        name=profile.name,
        timings=tuple(timings.values()),
        request_overhead_s=beside_s,
        spells=profile.spells,
    )


def replayed(profile: ServiceProfile, cell: Cell, rate_rps: float, span_s: float, runs: int) -> dict | None:
    """The runs' own requests with another profile."""
    workload = Workload(arrival_rate_rps=rate_rps)
    predictor = Predictor(
        profile=profile,
        plan=cell.plan(profile),
        quantiles=QUANTILES,
        simulator=lambda quantiles: Simulation(quantiles=quantiles),
    )
    found = []
    for seed in np.random.SeedSequence(SEED).spawn(runs):
        schedule = draw_schedule(workload, span_s, np.random.default_rng(seed.spawn(2)[0]))
        found.append(predictor.of(schedule, WARM_UP_S).performance)
    if any(one is None for one in found):
        return None
    middle = median_performance(found)
    return {
        "mean": middle.response_mean_s,
        **{f"p{100 * q:g}": x.value for q, x in middle.response_quantiles_s.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts/mlp"))
    parser.add_argument("-o", "--output", type=Path, default=Path("cells.jsonl"))
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--duration", default="60s")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--long", nargs=2, metavar=("DURATION", "RUNS"), help="at load 0.85: 200s 3 is ten minutes"
    )
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cells")
    parser.add_argument(
        "--flag", action="append", default=[], help="of the server: --flag=--inference-nice=10"
    )
    options = parser.parse_args()
    done = []
    if options.output.exists():
        done = [json.loads(line)["key"] for line in options.output.read_text(encoding="utf-8").splitlines()]
    for number, cell in enumerate(cells(options.replicas)):
        if cell.key in done or (options.only and number not in options.only):
            continue
        print(f"cell {number}: {cell.key}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            found = measure(cell, options, Path(folder))
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        show(found)


def show(found: dict) -> None:
    """A line for each quantity: measured, and by how much each prediction is off."""
    told = found["verification"]
    print("  profile ms", {size: round(1e3 * mean_s, 2) for size, mean_s in found["profile"].items()})
    print(
        "  in runs ms", {k: round(1e3 * v, 2) for k, v in found["in_runs"].items() if k in found["profile"]}
    )
    print(
        "  work us", [round(1e6 * x) for x in [*found["work_s"], found["wake_s"]]], "spells", found["spells"]
    )
    print(f"  {found['rate_rps']:.1f} rps: {told['verdict']}")
    for row in told["rows"]:
        errors = [error(row[kind]) for kind in ("stationary", "replay")]
        own = (found["in_runs_replay"] or {}).get(row["quantity"])
        value = row["measured"]["value"]
        again = "" if own is None else f"{own / value - 1:+.1%}"
        print(f"  {row['quantity']:12s} {value:10.5g}  predicted, replayed, in runs:", *errors, again)
    lags = [round(1e3 * run["lag_s"]["0.99"], 2) for run in told["runs"]]
    shares = [round(run["cpu_share"], 2) for run in told["runs"]]
    print("  lag P99 ms", lags, "cpu", shares, flush=True)


def error(held: dict | None) -> str:
    return "" if held is None or held["error"] is None else f"{held['error']:+.1%}"


if __name__ == "__main__":
    main()
