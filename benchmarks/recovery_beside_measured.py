"""Recovery beside measured: compares `capacity stress` with emulated replicas behind HAProxy and clients that retry.

    python benchmarks/recovery_beside_measured.py --profile emulated.json -o recovery.jsonl --runs 0 1 2
    python benchmarks/recovery_beside_measured.py -o recovery.jsonl --table

One replica is profiled over HTTP first, and all predictions are made from that. A run sends the very first tries of
the simulator's run of that number; the same function judges their outcomes. Runs in the file are not repeated. It
takes HAProxy (`apt-get install haproxy`) and three minutes a setting and run; as root, the generator, the balancer
and the replicas go before whatever else the machine does.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from recovery_table import tables
from retrying_client import RetryingClients

import capacity as cap
from capacity.errors import DependencyError, InconclusiveError
from capacity.measurement.http import parse_address
from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.recovery.findings import Run, Runs
from capacity.recovery.protection import Shedding
from capacity.recovery.stress import Stress
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.load_test import IN_FLIGHT_MAX
from capacity.verification.run import OK, LoadRun, Schedule
from capacity.verification.send import Balancer, Target, check_reachable, connected, send_all
from serve_api.replica import Replica, running
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.attempts import Outcomes
from simulations.draws.outages import attempt_draws
from simulations.statistics.recovered import run_of

CONFIGURATION = Path(__file__).parent.parent / "serve_api" / "deploy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
BODY = b'{"instances": [[0.0]]}'
# Sleeps of the emulated model, which vary as little as those of a GPU; the time of a batch of the server is measured.
EMULATED = "batch_size,mean_ms,p50_ms,p99_ms\n1,100,99.5,108\n2,125,124.3,135\n4,175,174,189\n"
SIZES, SAMPLES = (1, 2, 4), 200
COMMON = {"rate": "41rps", "replicas": 3, "batch_size_max": 4, "trigger": "spike:2x,40s", "timeout": "1500ms"}
RUNS = 20  # simulated
# Of a request without a margin; longer than any queue here.
FOREVER_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: flags of `capacity stress` beside the common ones, and how long it is watched afterwards."""

    name: str
    watched_s: float
    flags: dict[str, Any] = field(default_factory=dict)


SETTINGS = (
    Setting(name="no retries", watched_s=75.0, flags={"attempts": 1}),
    Setting(name="3 attempts", watched_s=90.0, flags={"attempts": 3}),
    Setting(name="budget 0.1", watched_s=100.0, flags={"attempts": 3, "retry_budget": 0.1}),
    Setting(name="queue limit 20", watched_s=45.0, flags={"attempts": 3, "queue_limit": 20}),
    Setting(name="shed late", watched_s=45.0, flags={"attempts": 3, "shed": "late"}),
    Setting(name="4 replicas", watched_s=45.0, flags={"attempts": 3, "replicas": 4}),
)


@contextmanager
def in_front() -> Iterator[None]:
    """Give processes started inside, and this thread, priority over other work of the machine, if allowed."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def replica(plan: BatchPlan, emulated: Path, deadline_s: float) -> Replica:
    """A replica of a plan; its deadline is what a client's patience leaves beside the margin of shedding."""
    flags = ("--queue-max", str(plan.queue_limit or 1_000_000), "--deadline", f"{1e3 * deadline_s:.0f}ms")
    return Replica(
        emulate=emulated,
        batch_size_max=plan.batch_size_max,
        batch_wait_max_s=plan.batch_wait_max_s,
        flags=(*flags, "--drain-max", "1s"),
    )


@contextmanager
def balanced(urls: Sequence[str], folder: Path) -> Iterator[str]:
    """The address of HAProxy in front of replicas, with the shipped configuration."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text, count = re.subn(r"^    server .*\n", "", CONFIGURATION.read_text("utf-8"), flags=re.M)
    assert count > 0
    text = text.replace("bind :8080", f"bind 127.0.0.1:{port}")
    text += "".join(f"    server replica-{i} {url.removeprefix('http://')}\n" for i, url in enumerate(urls))
    path, address = folder / "haproxy.cfg", f"http://127.0.0.1:{port}"
    path.write_text(text, "utf-8")
    process = subprocess.Popen([HAPROXY or "haproxy", "-db", "-f", str(path)])
    try:
        for _ in range(100):
            with suppress(OSError):
                urlopen(f"{address}/readyz")
                break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


@contextmanager
def fleet(
    plan: BatchPlan, emulated: Path, deadline_s: float, folder: Path
) -> Iterator[tuple[str, list[str]]]:
    """The address of a plan's fleet, and those of its replicas."""
    with ExitStack() as started:
        one = replica(plan, emulated, deadline_s)
        urls = [
            started.enter_context(running(one, folder / f"{number}.log")) for number in range(plan.replicas)
        ]
        yield started.enter_context(balanced(urls, folder)), urls


def profiled(emulated: Path, output: Path, folder: Path) -> None:
    """Measure the emulated server's profile by its URL."""
    plan = BatchPlan(profile="emulated", replicas=1, batch_size_max=max(SIZES), batch_wait_max_s=0.0)
    (folder / "row.json").write_bytes(BODY)
    with running(replica(plan, emulated, FOREVER_S), folder / "profiled.log") as url:
        command = [
            Path(sys.executable).with_name("capacity"), "profile", "--url", f"{url}/predict",
            "--body", folder / "row.json", "--counters", f"{url}/metrics",
            "--batch-sizes", ",".join(map(str, SIZES)), "--samples", str(SAMPLES),
            "--name", "emulated", "-o", output,
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def send(arrived_s: Any, clients: Clients, url: str) -> tuple[LoadRun, RetryingClients]:
    """Send first tries at these instants, and their retries."""
    run = LoadRun.blank(Schedule(instants_s=arrived_s, duration_s=float(arrived_s[-1])))
    target = Target(addresses=(parse_address(f"{url}/predict", "url"),), body=BODY, timeout_s=60.0)

    async def all_of_them() -> RetryingClients:
        async with connected(target) as one:
            await check_reachable(one, target)
            sender = RetryingClients(send=one, clients=clients, clock=WallClock())
            one_address = Balancer(Routing.ROUND_ROBIN, 1, np.random.default_rng(0))
            await send_all(run, sender, one_address, WallClock(), IN_FLIGHT_MAX)
            return sender

    with precise_runner() as runner:
        sender = runner.run(all_of_them())
    if run.is_overflowed:
        raise InconclusiveError(f"more than {IN_FLIGHT_MAX} requests at once; lower the rate")
    return run, sender


def outcomes_of(run: LoadRun, sender: RetryingClients) -> Outcomes:
    """The measured outcomes, in the form of simulated ones."""
    began_s = sender.sent_s[0] - run.sent_s[0]
    seconds = np.floor(np.array(sender.sent_s) - began_s).astype(np.int64)
    nothing = dict.fromkeys(
        ("served", "for_nobody", "rejected", "shed", "crashed", "dropped", "timed_out"), 0
    )
    return Outcomes(
        arrived_s=run.schedule.instants_s,
        answered_s=np.where(run.outcomes == OK, run.ended_s, np.nan),
        ended_s=run.ended_s,
        attempts=np.array(sender.tries),
        sent=np.bincount(seconds),
        **nothing,
    )


def batch_time_ratio(urls: Sequence[str], profile: ServiceProfile) -> float:
    """Time of all batches that replicas counted, over the profile's time for them."""
    took_s = expected_s = 0.0
    for url in urls:
        with urlopen(f"{url}/metrics") as answer:
            text = answer.read().decode()
        for kind, size, value in re.findall(
            r'^serve_batch_seconds_(sum|count){batch_size="(\d+)".*} (\S+)', text, re.M
        ):
            if kind == "sum":
                took_s += float(value)
            else:
                expected_s += float(value) * profile.service_mean_s(int(size))
    return took_s / expected_s


def measured(stress: Stress, watched_s: float, number: int, emulated: Path, folder: Path) -> dict[str, Any]:
    """One run of a stress on a real fleet, with the first tries of the simulated run of that number."""
    until_s = stress.ends_s + watched_s
    seed = Seed(value=0, stage=Stage.STRESS, replication=number)
    arrived_s = attempt_draws(stress, seed, 1, until_s).arrived_s
    deadline_s = FOREVER_S
    if stress.protection.shedding is Shedding.LATE:
        deadline_s = (stress.clients.timeout_s or 0.0) - stress.protection.late_margin_s
    with in_front(), fleet(stress.plan, emulated, deadline_s, folder) as (url, urls):
        run, sender = send(arrived_s, stress.clients, url)
        ratio = batch_time_ratio(urls, stress.profile)
    found = run_of(stress, outcomes_of(run, sender), until_s, overhead_s=0.0)
    return {
        **findings_document(found),
        "attempts": len(sender.sent_s),
        "requests": run.sent,
        "baseline": found.baseline,
        "lag_p99_s": float(np.quantile(run.lags_s(), 0.99)),
        "batch_time_ratio": ratio,
        "goodput_last_30s": sum(found.course.succeeded[-30:]) / sum(found.course.came[-30:]),
    }


def findings_document(run: Run) -> dict[str, Any]:
    """Findings of a run, as they are kept."""
    return {"recovered_s": run.recovered_s, "goodput_during": run.goodput_during, "lost": run.lost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--profile", type=Path, default=Path("emulated.json"), help="measured first if it is not there yet"
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[0], help="numbers of simulated runs to send")
    parser.add_argument("--settings", nargs="+", default=[setting.name for setting in SETTINGS])
    parser.add_argument("--table", action="store_true", help="print what is in the file")
    options = parser.parse_args()
    rows = read(options.output)
    if options.table:
        print(tables(rows), end="")
        return
    if HAPROXY is None:
        raise DependencyError("HAProxy is not installed; apt-get install haproxy")
    done = {(row["setting"], row["run"]) for row in rows}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        emulated = folder / "emulated.csv"
        emulated.write_text(EMULATED, "utf-8")
        if not options.profile.exists():
            with in_front():
                profiled(emulated, options.profile, folder)
        profile = load_profile(options.profile)
        for number in options.runs:
            for setting in SETTINGS:
                if setting.name in options.settings and (setting.name, number) not in done:
                    row = compared(setting, number, profile, emulated, folder)
                    with options.output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row["setting"], row["run"], row["measured"], flush=True)


def compared(
    setting: Setting, number: int, profile: ServiceProfile, emulated: Path, folder: Path
) -> dict[str, Any]:
    """Predicted and measured findings of one setting and run."""
    flags = {**COMMON, **setting.flags}
    found: Runs = cap.stress(profile, **flags, runs=RUNS, only_verdict=True).screen.found
    before = os.getloadavg()[0]
    return {
        "setting": setting.name,
        "run": number,
        "date": time.strftime("%Y-%m-%d"),
        "profile_mean_s": [profile.service_mean_s(size) for size in SIZES],
        "predicted": [findings_document(run) for run in found.runs],
        "measured": measured(found.stress, setting.watched_s, number, emulated, folder),
        "watched_s": setting.watched_s,
        "other_load": before,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """Earlier measurements."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
