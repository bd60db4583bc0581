"""Balancers: measures fleets of emulated replicas behind a real HAProxy, nginx and Envoy; takes hours.

    python benchmarks/balancers.py --design              # print the selection of cells, as balancers_cells.csv has it
    python benchmarks/balancers.py -o FOLDER --lanes 4   # measure what FOLDER does not have yet

`balancers_table.py` predicts, and makes a page of it.

A cell is a rule of a balancer, a number of replicas, a largest batch, a batch wait, a load and a kind of arrivals. It
is sent twice for a minute, after requests that tell what this client and the balancer add to each. A line of
`FOLDER/runs.jsonl` is a run, and all of its instants are kept in `FOLDER/instants/`, so that predictions can be made at
any later time. An interrupted measurement goes on where it stopped; runs that were sent late are sent again at
its end. As root, generator, balancer and replicas go before
whatever else the machine does, so that requests are sent in time on a busy machine too. Batch times are chosen so that
every fleet can serve 250 requests a second at most: several lanes measure side by side on two cores.
"""

import argparse
import csv
import gc
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from envoy_front import fronted
from lean_client import LeanTarget
from real_balancers import rendered

from capacity.measurement.findings import machine
from capacity.measurement.http import parse_address
from capacity.measurement.metrics import Scrape, gain
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.traffic.parse import parse_arrivals
from capacity.traffic.workload import Workload
from capacity.verification.load_test import LoadTest
from capacity.verification.run import LoadRun
from capacity.verification.watch import look
from serve_api.balancer import balanced
from serve_api.replica import in_front, put_in_front
from simulations.draws.arrivals import Seed, Stage, Stream

CELLS = Path(__file__).with_name("balancers_cells.csv")
# The routing of a plan by the rule of a balancer.
RULES = {
    "haproxy roundrobin": "round-robin",
    "nginx round_robin": "round-robin",
    "haproxy leastconn": "least-outstanding:haproxy",
    "nginx least_conn": "least-outstanding:nginx",
    "haproxy random(2)": "power-of-two:haproxy",
    "nginx random two least_conn": "power-of-two:nginx",
    "envoy ROUND_ROBIN": "round-robin",
    "envoy RANDOM": "random",
    "envoy LEAST_REQUEST": "power-of-two:haproxy",
}
# Those of HAProxy and nginx, in this order; and those of Envoy, with a selection of its own.
ROUTINGS = tuple(rule for name in ("haproxy", "nginx") for rule in RULES if rule.startswith(name))
ENVOY_ROUTINGS = tuple(rule for rule in RULES if rule.startswith("envoy"))
REPLICAS, BATCHES = (2, 4, 8), (1, 4, 8)
WAITS = (0.0, 0.25, 1.0)  # as shares of the mean time of a batch of one
LOADS, LOAD_REPORTED = (0.3, 0.5, 0.7, 0.85), 0.95
ARRIVALS = ("poisson", "gamma:cv=2")
REPORTED = 12  # cells of load 0.95
DESIGN_SEED, ENVOY_SEED, TRIALS = 1, 2, 20_000
# What a fleet serves at most and at least when its batches are all full; P99 takes 5,000 requests. [requests/s]
CAPACITY_RPS, CAPACITY_MIN_RPS = 250.0, 155.0
# Shortest mean time of a batch of one, if that leaves the capacity above its least: a virtual machine stands still for
# some milliseconds now and then, which must not be what is measured. [s]
SHORTEST_S = 0.02
# Times of batches over that of one, and percentiles over the mean, much as those of a GPU.
GROWTH = {1: 1.0, 2: 1.25, 4: 1.75, 8: 2.75}
P50_SHARE, P99_SHARE = 0.995, 1.08
RUNS, DURATION_S, WARM_UP_S, TIMEOUT_S = 2, 60.0, 6.0, 50.0
SAMPLES, CONFIDENCE = 300, 0.95
# A run whose lag has a longer P99 was sent late, and is sent again until it was not, this often in all.
LAG_P99_MAX_S, ATTEMPTS_MAX = 1e-3, 4
BODY = b'{"instances":[[0.0]]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fleet at one load; `wait` is the batch wait over the mean time of a batch of one."""

    routing: str
    replicas: int
    batch: int
    wait: float
    load: float
    arrivals: str

    @property
    def name(self) -> str:
        """The cell in words that name it and no other."""
        return ", ".join(map(str, astuple(self)))

    @property
    def balancer(self) -> str:
        """The balancer whose rule it is."""
        return self.routing.partition(" ")[0]

    @property
    def size(self) -> str:
        """The name of what its replicas have in common with those of other cells: their batch times."""
        return f"{self.replicas}x{self.batch}"

    @property
    def profile(self) -> ServiceProfile:
        """The profile that the emulated replicas are given."""
        return given(self.replicas, self.batch)

    @property
    def batch_wait_max_s(self) -> float:
        """The batch wait. [s]"""
        return self.wait * self.profile.service_mean_s(1)

    @property
    def workload(self) -> Workload:
        """The requests that come."""
        rate_rps = self.load * self.replicas * self.profile.throughput_rps(self.batch)
        return Workload(arrival_rate_rps=rate_rps, arrivals=parse_arrivals(self.arrivals))

    def seed(self, run: int) -> int:
        """The seed of a run's arrivals, another one in each cell."""
        return 10 * cells().index(self) + run


def given(replicas: int, batch: int) -> ServiceProfile:
    """A profile by which this many replicas serve at most `CAPACITY_RPS` in full batches of this size."""
    rows = replicas * batch / GROWTH[batch]
    one_s = min(max(SHORTEST_S, rows / CAPACITY_RPS), rows / CAPACITY_MIN_RPS)
    timings = (
        BatchTiming(
            batch_size=size,
            mean_s=one_s * growth,
            p50_s=P50_SHARE * one_s * growth,
            p99_s=P99_SHARE * one_s * growth,
        )
        for size, growth in GROWTH.items()
        if size <= batch
    )
    return ServiceProfile(name=f"given-{replicas}x{batch}", timings=tuple(timings))


def design() -> list[Cell]:
    """Cells that have each routing, replicas and load once; those of HAProxy and nginx half of them twice."""
    fixed: list[tuple[str, int, float]] = list(itertools.product(ROUTINGS, REPLICAS, LOADS))
    for (row, routing), (column, replicas) in itertools.product(enumerate(ROUTINGS), enumerate(REPLICAS)):
        fixed += [(routing, replicas, load) for load in LOADS[(row + column) % 2 :: 2]]
    spread = itertools.islice(itertools.cycle(REPLICAS), REPORTED)
    fixed += [
        (routing, replicas, LOAD_REPORTED) for routing, replicas in zip(ROUTINGS * 2, spread, strict=True)
    ]
    envoys = list(itertools.product(ENVOY_ROUTINGS, REPLICAS, LOADS))
    return [*dealt(fixed, DESIGN_SEED), *dealt(envoys, ENVOY_SEED)]


def dealt(fixed: Sequence[tuple[str, int, float]], seed: int) -> list[Cell]:
    """Cells of these routings, replicas and loads, with all pairs of levels about equally often.

    Batch, wait and arrivals are dealt evenly, and then exchanged between cells as long as that makes the pairs of
    levels more even. The order is such that its beginnings are even, too.
    """
    random = np.random.default_rng(seed)
    free = [
        list(itertools.islice(itertools.cycle(levels), len(fixed))) for levels in (BATCHES, WAITS, ARRIVALS)
    ]
    for column in free:
        random.shuffle(column)
    rows = [[routing, replicas, batch, wait, load, arrivals] for (routing, replicas, load), batch, wait, arrivals
            in zip(fixed, *free, strict=True)]  # fmt: skip
    for _ in range(TRIALS):
        one, other = random.choice(len(rows), 2, replace=False)
        place = random.choice((2, 3, 5))
        before = unevenness(rows)
        rows[one][place], rows[other][place] = rows[other][place], rows[one][place]
        if unevenness(rows) > before or tuple(rows[one]) == tuple(rows[other]):
            rows[one][place], rows[other][place] = rows[other][place], rows[one][place]
    return in_order([Cell(**dict(zip((x.name for x in fields(Cell)), row, strict=True))) for row in rows])


def unevenness(rows: Sequence[Sequence[Any]]) -> int:
    """Sum of the squares of how often each pair of levels occurs; a cell that occurs twice counts much."""
    counts: dict[tuple[Any, ...], int] = {}
    for row in rows:
        for pair in itertools.combinations(enumerate(row), 2):
            counts[pair] = counts.get(pair, 0) + 1
    return sum(count**2 for count in counts.values()) + 1000 * (len(rows) - len(set(map(tuple, rows))))


def in_order(found: Sequence[Cell]) -> list[Cell]:
    """The cells, each next one the one whose pairs of levels occurred least before."""
    left, ordered, seen = list(found), [], {}
    while left:
        best = min(left, key=lambda cell: sum(seen.get(pair, 0) for pair in _pairs(cell)))
        left.remove(best)
        ordered.append(best)
        for pair in _pairs(best):
            seen[pair] = seen.get(pair, 0) + 1
    return ordered


def _pairs(cell: Cell) -> Iterator[Any]:
    return itertools.combinations(enumerate(astuple(cell)), 2)


def cells() -> list[Cell]:
    """The selection, as it is kept."""
    with CELLS.open(encoding="utf-8", newline="") as file:
        return [
            Cell(
                routing=row["routing"],
                replicas=int(row["replicas"]),
                batch=int(row["batch"]),
                wait=float(row["wait"]),
                load=float(row["load"]),
                arrivals=row["arrivals"],
            )
            for row in csv.DictReader(file)
        ]


@contextmanager
def minimal_replicas(
    profile: ServiceProfile, replicas: int, batch: int, batch_wait_max_s: float, folder: Path, seed: int
) -> Iterator[list[str]]:
    """The addresses of minimal replicas that emulate a profile."""
    file = folder / f"{profile.name}.csv"
    write_profile(profile, file)
    command = [
        sys.executable, str(Path(__file__).with_name("minimal_replica.py")), "--profile", str(file),
        "--batch-size-max", str(batch), "--batch-wait-max-s", repr(batch_wait_max_s),
        "--replicas", str(replicas), "--seed", str(seed),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            told = [process.stdout.readline().split() for _ in range(replicas)]
            yield [words[-1] for words in told]
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def write_profile(profile: ServiceProfile, file: Path) -> None:
    """Write a profile of means and percentiles as CSV."""
    lines = ["batch_size,mean_s,p50_s,p99_s"]
    lines += [f"{one.batch_size},{one.mean_s!r},{one.p50_s!r},{one.p99_s!r}" for one in profile.timings]
    file.write_text("\n".join([*lines, ""]), "utf-8")


@contextmanager
def fleet(cell: Cell, folder: Path, seed: int, **limits: int) -> Iterator[tuple[str, list[str]]]:
    """The address of a cell's balancer, and those of its replicas.

    Args:
        limits: of the plan, by keyword, which no cell has.
    """
    with ExitStack() as started:
        urls = started.enter_context(
            minimal_replicas(cell.profile, cell.replicas, cell.batch, cell.batch_wait_max_s, folder, seed)
        )
        url = started.enter_context(in_front_of(urls, cell, folder, **limits))
        put_in_front(os.getpid())
        yield url, urls


@contextmanager
def in_front_of(urls: Sequence[str], cell: Cell, folder: Path, **limits: int) -> Iterator[str]:
    """The address of a cell's balancer, which runs in front of replicas."""
    text = configuration(cell, **limits)
    if cell.balancer == "envoy":
        with fronted(text, [int(url.rpartition(":")[2]) for url in urls], folder) as port:
            yield f"http://127.0.0.1:{port}"
    else:
        with balanced(cell.balancer, text, urls, folder) as url:
            yield url


def configuration(cell: Cell, **limits: int) -> str:
    """What `render` writes for a balancer, which depends on the cell's routing and replicas and on limits alone."""
    alone_s = cell.profile.service_mean_s(1)
    return rendered(
        cell.balancer,
        cell.replicas,
        cell.profile,
        routing=RULES[cell.routing],
        rate=f"{0.1 / alone_s}rps",
        slo_p99=f"{100.0 * alone_s}s",
        batch_size_max=1,
        **limits,
    )


def load_test(cell: Cell, url: str, seed: int, duration_s: float = DURATION_S) -> LoadTest:
    """One run of a cell, with the arrivals of a seed."""
    return LoadTest(
        target=LeanTarget(
            addresses=(parse_address(f"{url}/predict", "--url"),), body=BODY, timeout_s=TIMEOUT_S
        ),
        workload=cell.workload,
        draw=lambda workload, _: Stream(workload, 1, Seed(value=seed, stage=Stage.VERIFY)),
        warm_up_s=WARM_UP_S,
        duration_s=duration_s,
        runs=1,
        seed=seed,
        report=lambda _: None,
    )


@contextmanager
def sending() -> Iterator[None]:
    """Go before other work while requests are sent, without the search for garbage, which would delay other lanes."""
    gc.collect()
    gc.freeze()
    with in_front():
        yield
    gc.unfreeze()


def measure(cell: Cell, runs: Sequence[int], output: Path) -> None:
    """Measure and keep runs of a cell, one after another at the same fleet."""
    with tempfile.TemporaryDirectory() as name, fleet(cell, Path(name), cell.seed(0)) as (url, urls):
        metrics = [parse_address(f"{one}/metrics", "--metrics") for one in urls]
        with sending():
            lone = load_test(cell, url, cell.seed(0)).lone_requests(CONFIDENCE)
        for run in runs:
            before, load = look(metrics), os.getloadavg()[0]
            with sending():
                (found,), _ = load_test(cell, url, cell.seed(run)).measure()
            pages = zip(before, look(metrics), strict=True)
            told = {
                "cell": cell.name,
                "run": run,
                "seed": cell.seed(run),
                "beside_s": lone.beside_s,
                "requests": found.schedule.requests,
                "statuses": found.statuses,
                "lag_p50_s": float(np.quantile(found.lags_s(), 0.5)),
                "lag_p99_s": float(np.quantile(found.lags_s(), 0.99)),
                "cpu_share": found.cpu_share,
                "batches": [batches_between(*two) for two in pages],
                "other_load": load,
                "machine": machine()["cpu"],
                "date": time.strftime("%Y-%m-%d %H:%M"),
            }
            keep(found, told, output)
            print(
                f"{told['date']} {cell.name}, run {run}: lag P99 {1e3 * told['lag_p99_s']:.2f} ms", flush=True
            )


def batches_between(before: Scrape, after: Scrape) -> dict[str, int]:
    """Number of batches of each size that a replica served between two looks."""
    gained = gain(before, after, "serve_batch_seconds_count")
    return {dict(labels)["batch_size"]: int(count) for labels, count in gained.items()}


def keep(found: LoadRun, told: dict[str, Any], output: Path) -> None:
    """Keep a run: its instants first, then its line, whose presence says that it is done."""
    instants = output / "instants" / f"{told['seed']}.npz"
    instants.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        instants,
        sent_us=np.rint(1e6 * np.nan_to_num(found.sent_s, nan=-1.0)).astype(np.int64),
        ended_us=np.rint(1e6 * np.nan_to_num(found.ended_s, nan=-1.0)).astype(np.int64),
        inside_us=np.rint(1e6 * np.nan_to_num(found.inside_s, nan=-1.0)).astype(np.int64),
        outcomes=found.outcomes,
    )
    with (output / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def profile_replica(replicas: int, batch: int, output: Path) -> None:
    """Measure one minimal replica by its URL, as anyone would."""
    profile = given(replicas, batch)
    file = output / "profiles" / f"{replicas}x{batch}.json"
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        minimal_replicas(profile, 1, batch, 0.0, Path(name), seed=1_000_000) as (url,),
    ):
        put_in_front(os.getpid())
        row = Path(name) / "row.json"
        row.write_bytes(BODY)
        partial = Path(name) / "measured.json"
        command = [
            str(Path(sys.executable).with_name("capacity")), "profile", "--url", f"{url}/predict",
            "--body", str(row), "--batch-sizes", ",".join(map(str, profile.batch_sizes)),
            "--samples", str(SAMPLES), "--no-rests", "--name", f"measured-{replicas}x{batch}", "-o", str(partial),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        load_profile(str(partial))
        file.write_bytes(partial.read_bytes())


def attempts(output: Path) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The lines of all attempts at each run, by cell and run; the instants of the last one are kept."""
    path = output / "runs.jsonl"
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        told = json.loads(line)
        found.setdefault((told["cell"], told["run"]), []).append(told)
    return found


def read_runs(output: Path) -> list[dict[str, Any]]:
    """The lines of the last attempts."""
    return [told[-1] for told in attempts(output).values()]


def is_settled(told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run need not be sent again: it was sent in time, or often enough."""
    return bool(told) and (told[-1]["lag_p99_s"] < LAG_P99_MAX_S or len(told) >= ATTEMPTS_MAX)


def lane(number: int, lanes: int, output: Path, asked: Sequence[Cell]) -> None:
    """Measure a lane's share of the cells and profiles that are not there yet, and then what was sent late."""
    signal.signal(signal.SIGTERM, _stop)
    profiles = list(itertools.product(REPLICAS, BATCHES))[number::lanes]
    mine = asked[number::lanes]
    for attempt in range(ATTEMPTS_MAX):
        told = attempts(output)
        for cell, size in itertools.zip_longest(mine, profiles if attempt == 0 else ()):
            known = {run: told.get((cell.name, run), []) for run in range(RUNS) if cell}
            missing = [
                run for run, of_run in known.items() if not is_settled(of_run) and len(of_run) <= attempt
            ]
            if missing:
                measure(cell, missing, output)
            if size is not None:
                profile_replica(*size, output)


def _stop(*_: Any) -> None:
    """End by an exception, so that replicas and balancers end too."""
    sys.exit(143)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--cells", type=int, help="measure only this many, from the beginning")
    parser.add_argument(
        "--balancer", default="", help="measure only cells behind this one: haproxy, nginx or envoy"
    )
    parser.add_argument("--design", action="store_true")
    options = parser.parse_args()
    if options.design:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(x.name for x in fields(Cell))
        writer.writerows(map(astuple, design()))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _stop)
    spawn = multiprocessing.get_context("spawn")
    asked = [cell for cell in cells() if options.balancer in ("", cell.balancer)][: options.cells]
    arguments = [(number, options.lanes, options.output, asked) for number in range(options.lanes)]
    processes = [spawn.Process(target=lane, args=one) for one in arguments]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()


if __name__ == "__main__":
    main()
