"""Predicted beside measured: compares predictions for the reference server with measurements; takes hours.

    python benchmarks/predicted_beside_measured.py --artifacts artifacts/mlp -o cells.jsonl [--replicas 2]

Each cell starts the server on core 0 and sends it open-loop load from the last core, in several rounds. A
shared machine is quicker or slower from minute to minute, so that each round has the profile of its own
minutes: its load comes in slices of some seconds, and `capacity profile` measures before, between and after
them, taken together. Beside what that profile predicts, in the long run and for the very requests that were
sent, stands a replay with the batch times that the server counted in the same round: what it misses, no
profile mends. A cell that is in the file already is not run again, but `--more 3` adds rounds to those of
which too few were sent in time. `predicted_table.py` makes a page of it.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from threading import Event, Thread

import numpy as np
from balancers import sending
from lean_client import LeanTarget
from predicted_table import ROUNDS, in_time

from capacity.errors import InconclusiveError, UnstableError
from capacity.files import versions
from capacity.measurement.counted import counted_findings
from capacity.measurement.findings import machine
from capacity.measurement.http import Exchange, parse_address, parse_server_timing
from capacity.measurement.metrics import Histogram, Histograms, Scrape, gains
from capacity.performance import Interval, Performance
from capacity.profile.contention import Contention
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from capacity.units import parse_duration_s
from capacity.verification.calibrate import LoneRequests
from capacity.verification.load_test import IN_FLIGHT_MAX, LoadTest
from capacity.verification.measured import measured_performance
from capacity.verification.prediction import Predictor
from capacity.verification.quantities import QUANTILES
from capacity.verification.report import lags_s
from capacity.verification.run import LoadRun, Schedule
from capacity.verification.validity import faults, tail_faults
from capacity.verification.watch import look
from serve_api.replica import Replica, example, favour, pinned, running
from simulations.draws.arrivals import Seed, Stage, Stream
from simulations.draws.records import Floats, Integers
from simulations.simulate import Simulation

LOADS = (0.3, 0.5, 0.7, 0.85)
# With the largest batch: the last replica shares its core with the load generator, which must leave it room.
LOADS_OF_SEVERAL = ((0.3, 1), (0.5, 1), (0.3, 8))
# Largest batch and batch wait; with batches of one there is nothing to wait for.
BATCHING = ((1, 0.0), (8, 0.0), (8, 0.005), (32, 0.0), (32, 0.005))
SIZES = (1, 2, 4, 8, 16, 32)
# By the largest batch: some ten seconds of the machine before and after a round, two between its slices.
SAMPLES, SAMPLES_BETWEEN = {1: 1200, 8: 400, 32: 150}, {1: 240, 8: 80, 32: 30}
# Counted part of a slice; the warm-up comes before it.
SLICE_S, WARM_UP_S, TIMEOUT_S = 12.0, 3.0, 10.0
# At lone requests before a round.
LOOKS_MAX = 3
# With and without another replica at work.
TURNS, BATCHES_A_TURN = 15, 15
REQUESTS_MIN = 5500.0  # of a run; its P99 takes 5,000
CONFIDENCE = 0.95
SEED = 1
CORES = sorted(os.sched_getaffinity(0))


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

    @property
    def plan(self) -> BatchPlan:
        return BatchPlan(
            profile="profile",
            replicas=self.replicas,
            batch_size_max=self.batch_size_max,
            batch_wait_max_s=self.batch_wait_max_s,
            routing=Routing(self.routing),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some seconds of load, the servers' metrics before and after, and the batch of each request.

    Attributes:
        batch_s, batch_size: of the batch of each request, as its server told; NaN and 0 without a good answer. [s]
    """

    run: LoadRun
    pages: list[tuple[Scrape, Scrape]]
    batch_s: Floats
    batch_size: Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Slices of one load, and the measurements around them."""

    slices: tuple[Slice, ...]
    lone: LoneRequests
    profile: ServiceProfile
    counted: ServiceProfile


def cells(replicas: int) -> Iterator[Cell]:
    if replicas == 1:
        for load, (size, wait_s) in itertools.product(LOADS, BATCHING):
            yield Cell(load=load, batch_size_max=size, batch_wait_max_s=wait_s)
        return
    for (load, size), routing in itertools.product(LOADS_OF_SEVERAL, ("round-robin", "least-outstanding")):
        yield Cell(load=load, batch_size_max=size, batch_wait_max_s=0.0, replicas=replicas, routing=routing)


class Bench:
    """A running fleet of a cell, and how it is measured."""

    def __init__(self, cell: Cell, options: argparse.Namespace, folder: Path, fleet: ExitStack) -> None:
        self.cell, self.options, self.folder = cell, options, folder
        self.body = folder / "request.json"
        self.body.write_text(json.dumps({"instances": [example(options.artifacts)]}), encoding="utf-8")
        self.urls = [
            fleet.enter_context(running(self._replica(number), folder / f"{number}.log"))
            for number in range(cell.replicas)
        ]
        self.lone_url = self._without_wait(fleet)
        if not options.behind:
            for url in {*self.urls, self.lone_url}:  # so that each has its inference thread
                with Exchange(parse_address(f"{url}/predict", "--url"), timeout_s=TIMEOUT_S) as first:
                    first.ask(self.body.read_bytes())
            favour(os.getpid())

    def _replica(self, number: int) -> Replica:
        return Replica(
            artifacts=self.options.artifacts,
            batch_size_max=self.cell.batch_size_max,
            batch_wait_max_s=self.cell.batch_wait_max_s,
            core=CORES[number],
            flags=self.options.flag,
        )

    def _without_wait(self, fleet: ExitStack) -> str:
        """The first replica, or one beside it on its core whose batch wait a lone request would not wait."""
        if self.cell.batch_wait_max_s == 0.0:
            return self.urls[0]
        greedy = replace(self._replica(0), batch_wait_max_s=0.0)
        return fleet.enter_context(running(greedy, self.folder / "greedy.log"))

    def profile(self, share: float = 1.0) -> ServiceProfile:
        """The profile as `capacity profile` measures it now, and how replicas of one machine slow each other down.

        Args:
            share: of the usual number of samples to take.
        """
        samples = str(round(share * SAMPLES[self.cell.batch_size_max]))
        found = self._profile("--counters", f"{self.lone_url}/metrics", "--samples", samples)
        if self.cell.replicas == 1:
            return found
        contention = Contention(slowdowns=(1.0, self._slowdown()), is_measured=True)
        return replace(found, instances_per_device=self.cell.replicas, contention=contention)

    def batch_times(self) -> ServiceProfile:
        """A shorter profile, of batches alone."""
        samples = str(SAMPLES_BETWEEN[self.cell.batch_size_max])
        return self._profile("--samples", samples, "--warm-up", "3", "--no-rests")

    def _slowdown(self) -> float:
        """Factor by which a batch takes longer while the other replica has batches as well.

        Two cores of a machine share its memory, from which each batch reads all weights. The batches have half the
        largest size, as batches under load do.
        """
        rows = [example(self.options.artifacts)] * max(1, self.cell.batch_size_max // 2)
        body = json.dumps({"instances": rows}).encode()
        with self._sending(), ExitStack() as connections:
            addresses = [parse_address(f"{url}/predict", "--url") for url in self.urls]
            first, other = (
                connections.enter_context(Exchange(address, timeout_s=TIMEOUT_S)) for address in addresses
            )
            return slowdown(lambda: _batch_s(first, body), lambda: _batch_s(other, body))

    def _profile(self, *flags: str) -> ServiceProfile:
        sizes = ",".join(str(size) for size in SIZES if size <= self.cell.batch_size_max)
        file = self.folder / "profile.json"
        with self._sending():
            subprocess.run(
                [
                    str(Path(sys.executable).with_name("capacity")), "profile",
                    "--url", f"{self.lone_url}/predict", "--body", str(self.body),
                    "--batch-sizes", sizes, *flags, "-o", str(file), "--json",
                ],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
        return load_profile(str(file))

    def lone_requests(self, rate_rps: float) -> LoneRequests:
        """Calibration by lone requests now, or a moment later if the machine stood still meanwhile."""
        with self._sending():
            for _ in range(LOOKS_MAX - 1):
                with suppress(InconclusiveError):
                    return self._series(rate_rps, SLICE_S, SEED).lone_requests(CONFIDENCE)
                time.sleep(TIMEOUT_S)
            return self._series(rate_rps, SLICE_S, SEED).lone_requests(CONFIDENCE)

    def load(self, rate_rps: float, duration_s: float, seed: int) -> Slice:
        """One load test, and the servers' counters around it."""
        series = self._series(rate_rps, duration_s, seed)
        with self._sending():
            before = look(series.metrics)
            (run,), _ = series.measure()
            pages = list(zip(before, look(series.metrics), strict=True))
        batch_s, sizes = np.full(run.schedule.requests, np.nan), np.zeros(run.schedule.requests, np.int64)
        told = series.target.batches[len(self.urls) :]  # without those that ask whether servers are there
        came = np.argsort(run.ended_s, kind="stable")[: len(told)]
        batch_s[came], sizes[came] = zip(*told, strict=True)
        return Slice(run=run, pages=pages, batch_s=batch_s, batch_size=sizes)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """Send from the last core, before all else that runs there."""
        with pinned(CORES[-1]), ExitStack() as until:
            if not self.options.behind:
                until.enter_context(sending())
            yield

    def _series(self, rate_rps: float, duration_s: float, seed: int) -> LoadTest:
        target = LeanTarget(
            addresses=tuple(parse_address(f"{url}/predict", "--url") for url in self.urls),
            body=self.body.read_bytes(),
            timeout_s=TIMEOUT_S,
        )
        return LoadTest(
            target=target,
            routing=Routing(self.cell.routing),
            workload=Workload(arrival_rate_rps=rate_rps),
            draw=lambda workload, _: Stream(workload, 1, Seed(value=seed, stage=Stage.VERIFY)),
            warm_up_s=WARM_UP_S,
            duration_s=duration_s,
            runs=1,
            seed=seed,
            metrics=tuple(parse_address(f"{url}/metrics", "--url") for url in self.urls),
            report=lambda message: print(" ", message, flush=True),
        )


def _batch_s(exchange: Exchange, body: bytes) -> float:
    """The server's time of a batch that is sent now. [s]"""
    return parse_server_timing(exchange.ask(body).headers["Server-Timing"])["batch"]


def slowdown(first: Callable[[], float], other: Callable[[], float]) -> float:
    """Ratio of the first's times with and without the other at work, by turns."""
    busy, done = Event(), Event()

    def work() -> None:
        while not done.is_set():
            if busy.wait(0.01):
                other()

    alone_s = beside_s = 0.0
    thread = Thread(target=work)
    thread.start()
    try:
        for _ in range(TURNS):
            alone_s += sum(first() for _ in range(BATCHES_A_TURN))
            busy.set()
            first()
            beside_s += sum(first() for _ in range(BATCHES_A_TURN))
            busy.clear()
            first()  # while the other ends its last
    finally:
        done.set()
        thread.join()
    return max(1.0, beside_s / alone_s)


def rounds(
    bench: Bench, count: int, duration_s: float, rate_rps: float | None = None, first: int = 0
) -> tuple[float, list[Round]]:
    """Profiles and slices of load in turn.

    Args:
        rate_rps: None takes the cell's load by the first profile.
        first: number of the first round, from which its requests are drawn.
    """
    cell = bench.cell
    before = bench.profile()
    if rate_rps is None:
        rate_rps = cell.load * cell.replicas * before.throughput_rps(cell.batch_size_max)
    slices = max(1, round(max(duration_s, REQUESTS_MIN / rate_rps) / SLICE_S))
    found = []
    for number in range(first, first + count):
        lone = bench.lone_requests(rate_rps)
        loads, between = [], []
        for part in range(slices):
            if part:
                between.append(bench.batch_times())
            loads.append(bench.load(rate_rps, SLICE_S, SEED + 100 * number + part))
        after = bench.profile()
        profile = lone.seen_by(pooled(before, between, after))
        found.append(
            Round(slices=tuple(loads), lone=lone, profile=profile, counted=counted(profile, lone, loads))
        )
        before = after
    return rate_rps, found


def pooled(
    before: ServiceProfile, between: Sequence[ServiceProfile], after: ServiceProfile
) -> ServiceProfile:
    """The samples of all three, equally many of each, and the middle of single numbers of the two whole ones."""
    one_in = len(between) + 1 if between else 1
    looks = [before.timings, *(one.timings for one in between), after.timings]
    timings = []
    for sizes in zip(*looks, strict=True):
        (first, *middle, last), size = [one.samples_s for one in sizes], sizes[0].batch_size
        kept = (first[::one_in], *middle, last[::one_in])
        timings.append(BatchTiming(batch_size=size, samples_s=tuple(itertools.chain(*kept))))
    whole = (before, after)
    spells = [one.spells for one in whole if one.spells is not None]
    middle = {
        name: fmean(getattr(one, name) for one in whole)
        for name in ("batch_work_s", "request_work_s", "wake_s", "request_overhead_s")
    }
    contention = before.contention
    if contention is not None and after.contention is not None:
        slower = fmean(one.slowdown(2) for one in (contention, after.contention))
        contention = Contention(slowdowns=(1.0, slower), is_measured=True)
    together = None
    if spells:
        together = Spells(
            share=fmean(one.share for one in spells), lasting_s=fmean(one.lasting_s for one in spells)
        )
    return replace(before, timings=tuple(timings), spells=together, contention=contention, **middle)


def counted(profile: ServiceProfile, lone: LoneRequests, slices: Sequence[Slice]) -> ServiceProfile:
    """The profile with the batch times that the first server counted, if it counted enough.

    These include the work beside batches, which is done on the same core meanwhile, and the wake: they scatter by
    more than the profile's, and less of that is shared with their neighbours.
    """
    timings = {timing.batch_size: timing for timing in profile.timings}
    gained = added([gains(*one.pages[0], Histograms()) for one in slices])
    seen = {one.batch_size: one.timing for one in counted_findings(gained, CONFIDENCE)}
    timings |= seen
    found = {size: timing.law() for size, timing in seen.items()}
    alone, beside = (
        sum(gained[size].count * law.scv * law.mean_s**2 for size, law in laws.items())
        for laws in ({size: profile.law(size) for size in found}, found)
    )
    spells = profile.spells
    return ServiceProfile(
        name="counted",
        timings=tuple(timings.values()),
        request_overhead_s=lone.beside_s,
        spells=spells and replace(spells, share=spells.share * min(1.0, alone / beside)),
    )


def added(parts: Sequence[Mapping[int, Histogram]]) -> dict[int, Histogram]:
    """Increase of histograms over several stretches together."""
    found: dict[int, Histogram] = {}
    for part in parts:
        for size, one in part.items():
            known = found.get(size)
            if known is not None:
                counts = tuple(map(sum, zip(known.counts, one.counts, strict=True)))
                found[size] = replace(one, counts=counts, sum_s=known.sum_s + one.sum_s)
            else:
                found[size] = one
    return found


def joined(runs: Sequence[LoadRun]) -> LoadRun:
    """Counted requests of several runs, as if each began where the one before ended."""
    start_s, parts = 0.0, []
    for run in runs:
        counts = run.schedule.instants_s >= run.warm_up_s
        later_s = start_s - run.warm_up_s
        instants_s, sent_s, ended_s = (
            times_s[counts] + later_s for times_s in (run.schedule.instants_s, run.sent_s, run.ended_s)
        )
        parts.append((instants_s, sent_s, ended_s, run.outcomes[counts], run.replicas[counts]))
        start_s += run.schedule.duration_s - run.warm_up_s
    instants_s, sent_s, ended_s, outcomes, replicas = map(np.concatenate, zip(*parts, strict=True))
    return LoadRun(
        schedule=Schedule(instants_s=instants_s, duration_s=start_s),
        warm_up_s=0.0,
        sent_s=sent_s,
        ended_s=ended_s,
        outcomes=outcomes,
        replicas=replicas,
        is_overflowed=any(run.is_overflowed for run in runs),
        is_complete=all(run.is_complete for run in runs),
        timeout_s=TIMEOUT_S,
        cpu_share=max(run.cpu_share for run in runs),
        uses=tuple(use for run in runs for use in run.uses),
    )


def measure(cell: Cell, options: argparse.Namespace) -> dict:
    duration_s, count = course(cell, options)
    with tempfile.TemporaryDirectory() as name, ExitStack() as fleet:
        bench = Bench(cell, options, Path(name), fleet)
        rate_rps, found = rounds(bench, count, duration_s)
    return {
        "key": cell.key,
        "rate_rps": rate_rps,
        "machine": {name: text for name, text in machine().items() if name in ("cpu", "cores", "date")},
        "versions": versions(),
        "rounds": [round_document(cell, one, rate_rps) for one in found],
    }


def course(cell: Cell, options: argparse.Namespace) -> tuple[float, int]:
    """Length and number of rounds."""
    is_long = cell.load > 0.8 and options.long
    duration, count = options.long if is_long else (options.duration, options.runs)
    return parse_duration_s(duration, "--duration"), int(count)


def add_rounds(cell: Cell, options: argparse.Namespace, known: dict, save: Callable[[], None]) -> None:
    """Add rounds at the same rate, until enough were sent in time; they are kept whatever they find."""
    duration_s, _ = course(cell, options)
    with tempfile.TemporaryDirectory() as name, ExitStack() as fleet:
        bench = Bench(cell, options, Path(name), fleet)
        for _ in range(options.more):
            if in_time(known) >= ROUNDS:
                return
            _, (one,) = rounds(bench, 1, duration_s, known["rate_rps"], len(known["rounds"]))
            found = round_document(cell, one, known["rate_rps"])
            known["rounds"].append({**found, "date": machine()["date"]})
            save()


def round_document(cell: Cell, one: Round, rate_rps: float) -> dict:
    """A round as numbers."""
    profile, runs = one.profile, [part.run for part in one.slices]
    run = joined(runs)
    seen = measured_performance([run], QUANTILES, CONFIDENCE, replicas=cell.replicas)
    return {
        "slices": len(runs),
        "window_s": run.schedule.duration_s,
        "answered": len(run.responses_s),
        "faults": [*faults(run, IN_FLIGHT_MAX), *tail_faults([run], QUANTILES)],
        "lag_p99_s": lags_s(run)[0.99],
        "cpu_share": run.cpu_share,
        "lone": {"beside_s": one.lone.beside_s, "batch_s": one.lone.batch.value},
        "profile": {
            "service_mean_s": {str(size): profile.law(size).mean_s for size in profile.batch_sizes},
            "batch_work_s": profile.batch_work_s,
            "request_work_s": profile.request_work_s,
            "wake_s": profile.wake_s,
            "request_overhead_s": profile.request_overhead_s,
            "slowdown": None if profile.contention is None else profile.contention.slowdown(2),
            "spells": None if profile.spells is None else [profile.spells.share, profile.spells.lasting_s],
        },
        "counted": {str(size): one.counted.law(size).mean_s for size in one.counted.batch_sizes},
        "measured": quantities(seen),
        "predicted": in_the_long_run(cell, profile, rate_rps),
        "replayed": quantities(predictor(cell, profile).of(runs).performance),
        "own_times": quantities(predictor(cell, one.counted).of(runs).performance),
    }


def in_the_long_run(cell: Cell, profile: ServiceProfile, rate_rps: float) -> dict:
    """The long-run prediction; without a bound if the profile of these minutes cannot sustain the rate."""
    try:
        found = predictor(cell, profile).in_the_long_run(Workload(arrival_rate_rps=rate_rps))
    except UnstableError:
        return {name: [None, None, None] for name in ("mean", *(f"p{100 * q:g}" for q in QUANTILES))}
    return quantities(found.performance)


def predictor(cell: Cell, profile: ServiceProfile) -> Predictor:
    return Predictor(
        profile=profile,
        plan=cell.plan,
        quantiles=QUANTILES,
        simulator=lambda quantiles: Simulation(quantiles=quantiles),
    )


def quantities(performance: Performance | None) -> dict:
    """Known quantities of a performance, each as low, value and high."""
    if performance is None:
        return {}
    found = {f"p{100 * q:g}": x for q, x in performance.response_quantiles_s.items()}
    for name, field in (("mean", "response_mean_s"), ("batch", "batch_size_mean"), ("busy", "utilization")):
        value = getattr(performance, field)
        if value is not None:
            found[name] = performance.intervals.get(field) or Interval.exact(value)
    return {name: [x.low, x.value, x.high] for name, x in found.items()}


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
        "--long", nargs=2, metavar=("DURATION", "RUNS"), help="at load 0.85: 100s 6 is ten minutes"
    )
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cells")
    parser.add_argument(
        "--flag", action="append", default=[], help="of the server: --flag=--inference-nice=10"
    )
    parser.add_argument(
        "--behind", action="store_true", help="let server and load generator wait for other work, as usual"
    )
    parser.add_argument(
        "--more", type=int, default=0, help="rounds to add to cells of which too few were sent in time"
    )
    options = parser.parse_args()
    found = []
    if options.output.exists():
        found = [json.loads(line) for line in options.output.read_text(encoding="utf-8").splitlines()]
    for number, cell in enumerate(cells(options.replicas)):
        if options.only and number not in options.only:
            continue
        known = next((one for one in found if one["key"] == cell.key), None)
        if known is not None and (not options.more or in_time(known) >= ROUNDS):
            continue
        print(f"cell {number}: {cell.key}", flush=True)
        if known is None:
            found.append(measure(cell, options))
            save(found, options.output)
        else:
            add_rounds(cell, options, known, lambda: save(found, options.output))


def save(found: Sequence[dict], path: Path) -> None:
    """Write all cells, or keep those of before."""
    beside = path.with_suffix(".partial")
    beside.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    main()
