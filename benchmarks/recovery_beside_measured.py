"""Recovery beside measured: `capacity stress` beside emulated replicas behind HAProxy or nginx, and clients that retry.

    python benchmarks/recovery_beside_measured.py --profile emulated.json -o recovery.jsonl --runs 0 1 2
    python benchmarks/recovery_beside_measured.py -o recovery.jsonl --table

One replica is profiled over HTTP first, and predictions know that, what was measured of a start-up, and the balancer's
settings. A run sends the very first tries of the simulator's run of that number; the same functions judge their
outcomes. Runs in the file are not repeated. The balancer has what `capacity render` writes. A setting takes two
minutes a run; as root, the generator, the balancer and the replicas go before whatever else the machine does.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from members import Incident, Member, Slowable, happen, incident_of, members_of
from real_balancers import rendered
from recovery_table import tables
from retrying_client import RetryingClients

import capacity as cap
from capacity.errors import DependencyError, InconclusiveError
from capacity.measurement.findings import machine
from capacity.measurement.http import parse_address
from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.recovery.findings import Run
from capacity.recovery.protection import Shedding
from capacity.recovery.stress import Stress
from capacity.recovery.trigger import TriggerKind
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.load_test import IN_FLIGHT_MAX
from capacity.verification.run import OK, LoadRun, Schedule
from capacity.verification.send import LEAD_S, Balancer, Target, check_reachable, connected, send_all
from serve_api.balancer import balanced, program
from serve_api.replica import Replica, in_front, running
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.attempts import Outcomes
from simulations.draws.outages import first_tries_s
from simulations.statistics.recovered import run_of
from simulations.stress import outcomes_of

BODY = b'{"instances": [[0.0]]}'
# Sleeps of the emulated model, which vary as little as those of a GPU; the time of a batch of the server is measured.
EMULATED = "batch_size,mean_ms,p50_ms,p99_ms\n1,100,99.5,108\n2,125,124.3,135\n4,175,174,189\n"
SIZES, SAMPLES = (1, 2, 4), 200
COMMON = {"rate": "41rps", "replicas": 3, "batch_size_max": 4, "trigger": "spike:2x,40s", "timeout": "1500ms"}
RUNS = 20  # simulated
# How much longer clients wait than the balancer, so that it is the balancer that ends an attempt, and knows of it.
GRACE_S = 0.05
# Of a request without a margin; longer than any queue here.
FOREVER_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticing:
    """How long a balancer with what `render` writes takes to notice a replica, on average. [s]

    Attributes:
        hang_s: that it answers no more, though it accepts; None if only failures tell.
        leaves_s: that it is about to leave.
        back_s: that it is back.
        drains_s: how long a replica takes requests after SIGTERM, until it is noticed.
    """

    hang_s: float | None
    leaves_s: float
    back_s: float
    drains_s: float


# HAProxy asks every 0.5 s: out after two failures, each of which a stopped replica makes take 0.5 s, in after one
# success. nginx asks nothing: it goes on to the next server where a port is closed, and `--ejection-rule nginx` is
# what it makes of failures; who is back is noticed by a trial every other second.
NOTICING = {
    "haproxy": Noticing(hang_s=1.25, leaves_s=0.75, back_s=0.25, drains_s=2.0),
    "nginx": Noticing(hang_s=None, leaves_s=0.0, back_s=1.0, drains_s=0.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: flags of `capacity stress` beside the common ones, and how long it is watched afterwards.

    Attributes:
        name: that of the trouble and of who tries again.
        passes_on: whether the balancer makes the retries, and clients none.
    """

    name: str
    watched_s: float
    balancer: str = "haproxy"
    passes_on: bool = False
    flags: dict[str, Any] = field(default_factory=dict)


_BUDGET = {"attempts": 3, "retry_budget": 0.1}
_TROUBLE = (
    ("killed", {**_BUDGET, "rate": "50rps", "trigger": "crash:1,20s"}, False),
    ("killed, balancer retries", {"attempts": 3, "trigger": "crash:1,20s"}, True),
    ("paused", {**_BUDGET, "rate": "50rps", "trigger": "hang:1,20s"}, False),
    ("slow", {**_BUDGET, "trigger": "straggler:3x,20s"}, False),
    ("rolling restart", {**_BUDGET, "rate": "46rps", "trigger": "rollout"}, False),
)
SETTINGS = (
    Setting(name="no retries", watched_s=75.0, flags={"attempts": 1}),
    Setting(name="3 attempts", watched_s=90.0, flags={"attempts": 3}),
    Setting(name="budget 0.1", watched_s=100.0, flags=_BUDGET),
    Setting(name="queue limit 20", watched_s=45.0, flags={"attempts": 3, "queue_limit": 20}),
    Setting(name="shed late", watched_s=45.0, flags={"attempts": 3, "shed": "late"}),
    Setting(name="4 replicas", watched_s=45.0, flags={"attempts": 3, "replicas": 4}),
    Setting(name="3 attempts", watched_s=75.0, balancer="nginx", flags={"attempts": 3}),
    Setting(name="budget 0.1", watched_s=75.0, balancer="nginx", flags=_BUDGET),
    *(
        Setting(name=name, watched_s=72.0, balancer=balancer, passes_on=passes_on, flags=flags)
        for name, flags, passes_on in _TROUBLE
        for balancer in NOTICING
    ),
)


def asked_of(setting: Setting, startup_s: float, replaced_s: float, held_s: float = 0.0) -> dict[str, Any]:
    """Flags of `capacity stress` for a setting, with what is known of a start and of the balancer.

    Args:
        startup_s, replaced_s: how long a replica takes to start; and one that holds nothing, to end and start. [s]
        held_s: how long what a replica holds takes, as simulated before the trouble. [s]
    """
    flags, noticing = {**COMMON, **setting.flags}, NOTICING[setting.balancer]
    kind = TriggerKind(flags["trigger"].partition(":")[0])
    if setting.balancer == "nginx":
        flags |= {"ejection_rule": "nginx"}
    if kind is TriggerKind.CRASH:  # what cannot be sent there goes to another at once
        flags |= {"detection": "0s", "startup_time": f"{startup_s + noticing.back_s:.3f}s"}
    if kind is TriggerKind.ROLLOUT:
        ends_s = replaced_s + max(0.0, held_s - noticing.drains_s)
        flags |= {"startup_time": f"{ends_s - noticing.leaves_s + noticing.back_s:.3f}s"}
    if kind is TriggerKind.HANG:
        flags |= {"detection": "1h" if noticing.hang_s is None else f"{noticing.hang_s}s"}
    return flags


def replica(
    plan: BatchPlan, emulated: Path, deadline_s: float, drains_s: float = 0.0, slower: float = 1.0
) -> Slowable:
    """A replica of a plan; its deadline is what a client's patience leaves beside the margin of shedding."""
    flags = ("--queue-max", str(plan.queue_limit or 1_000_000), "--deadline", f"{1e3 * deadline_s:.0f}ms")
    return Slowable(
        factor=slower,
        emulate=emulated,
        batch_size_max=plan.batch_size_max,
        batch_wait_max_s=plan.batch_wait_max_s,
        flags=(*flags, "--drain-delay", f"{drains_s:g}s", "--inference-time-max", "1h"),
    )


def configuration(balancer: str, profile: ServiceProfile, flags: dict[str, Any], *, passes_on: bool) -> str:
    """What `render` writes for a fleet, whose retries are left to its clients unless the balancer makes them."""
    given = {name: flags[name] for name in ("timeout", "queue_limit") if name in flags}
    if passes_on:
        given["attempts"] = flags["attempts"]
    return rendered(balancer, flags["replicas"], profile, rate="1rps", slo_p99="1s", **given)


@contextmanager
def fleet(
    one: Replica, count: int, balancer: str, text: str, folder: Path
) -> Iterator[tuple[str, list[Member]]]:
    """The address of a fleet's balancer, and its members."""
    with members_of(one, count, folder) as members:
        urls = [member.url for member in members]
        with balanced(balancer, text, urls, folder) as url:
            yield url, members


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


def send(
    arrived_s: Any, clients: Clients, url: str, incident: Incident = (), begins_s: float = 0.0
) -> tuple[LoadRun, RetryingClients]:
    """Send first tries at these instants, and their retries, while the incident happens."""
    run = LoadRun.blank(Schedule(instants_s=arrived_s, duration_s=float(arrived_s[-1])))
    target = Target(addresses=(parse_address(f"{url}/predict", "url"),), body=BODY, timeout_s=60.0)

    async def all_of_them() -> RetryingClients:
        async with connected(target) as one:
            await check_reachable(one, target)
            clock = WallClock()
            sender = RetryingClients(send=one, clients=clients, clock=clock)
            one_address = Balancer(Routing.ROUND_ROBIN, 1, np.random.default_rng(0))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(happen(incident, clock, clock.now_s() + LEAD_S + begins_s))
                await send_all(run, sender, one_address, clock, IN_FLIGHT_MAX)
            return sender

    with precise_runner() as runner:
        sender = runner.run(all_of_them())
    if run.is_overflowed:
        raise InconclusiveError(f"more than {IN_FLIGHT_MAX} requests at once; lower the rate")
    return run, sender


def seen_of(run: LoadRun, sender: RetryingClients) -> Outcomes:
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


def measured(
    stress: Stress, setting: Setting, number: int, url: str, members: Sequence[Member]
) -> dict[str, Any]:
    """One run of a stress on a real fleet, with the first tries of the simulated run of that number."""
    until_s = stress.ends_s + setting.watched_s
    arrived_s = first_tries_s(stress, seed_of(number), until_s)
    clients = stress.clients
    if setting.passes_on:
        clients = Clients(timeout_s=clients.undecided_s)
    clients = replace(clients, timeout_s=(clients.timeout_s or 0.0) + GRACE_S)
    incident = incident_of(stress.trigger, members, NOTICING[setting.balancer].back_s)
    run, sender = send(arrived_s, clients, url, incident, stress.begins_s)
    outcomes = seen_of(run, sender)
    found = run_of(stress, outcomes, until_s, overhead_s=0.0)
    during = (arrived_s >= stress.begins_s) & (arrived_s < stress.ends_s)
    return {
        **findings_document(stress, found, outcomes),
        "attempts": len(sender.sent_s),
        "requests": run.sent,
        "baseline": found.baseline,
        "statuses": {
            str(status): count for status, count in sorted(Counter(run.outcomes[during].tolist()).items())
        },
        "succeeded": found.course.succeeded[int(stress.begins_s) :],
        "came": found.course.came[int(stress.begins_s) :],
        "lag_p99_s": float(np.quantile(run.lags_s(), 0.99)),
        "batch_time_ratio": batch_time_ratio([one.url for one in spared(stress, members)], stress.profile),
        "goodput_last_30s": sum(found.course.succeeded[-30:]) / sum(found.course.came[-30:]),
    }


def spared(stress: Stress, members: Sequence[Member]) -> Sequence[Member]:
    """The members whose batches are as the profile has them: all but one that is killed, stopped or slow."""
    hits = (TriggerKind.CRASH, TriggerKind.HANG, TriggerKind.STRAGGLER)
    return members[:-1] if stress.trigger.kind in hits else members


def seed_of(number: int) -> Seed:
    """The seed of the simulator's run of that number."""
    return Seed(value=0, stage=Stage.STRESS, replication=number)


def findings_document(stress: Stress, run: Run, outcomes: Outcomes) -> dict[str, Any]:
    """Findings of a run, as they are kept; P99 is that of the requests that succeeded of those during the trigger."""
    first, last = np.searchsorted(outcomes.arrived_s, [stress.begins_s, stress.ends_s])
    answered_s = outcomes.answered_s[first:last]
    took_s = answered_s - outcomes.arrived_s[first : first + len(answered_s)]
    took_s = took_s[~np.isnan(took_s)]
    return {
        "recovered_s": run.recovered_s,
        "goodput_during": run.goodput_during,
        "lost": run.lost,
        "p99_s": float(np.quantile(took_s, 0.99, method="inverted_cdf")) if len(took_s) else None,
    }


def held_s(stress: Stress) -> float:
    """Mean simulated response before the trouble. [s]"""
    outcomes = outcomes_of(seed_of(0), stress)
    first, last = np.searchsorted(outcomes.arrived_s, stress.baseline_s)
    return float(np.nanmean(outcomes.answered_s[first:last] - outcomes.arrived_s[first:last]))


def predicted(stress: Stress) -> list[dict[str, Any]]:
    """Findings of all simulated runs."""
    found = []
    for number in range(RUNS):
        outcomes = outcomes_of(seed_of(number), stress)
        run = run_of(stress, outcomes, stress.until_s, stress.overhead_s)
        found.append(findings_document(stress, run, outcomes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--profile", type=Path, default=Path("emulated.json"), help="measured first if it is not there yet"
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[0], help="numbers of simulated runs to send")
    parser.add_argument("--settings", nargs="+", default=[setting.name for setting in SETTINGS])
    parser.add_argument("--balancers", nargs="+", default=list(NOTICING))
    parser.add_argument("--table", action="store_true", help="print what is in the file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that replicas and balancers end too
    rows = read(options.output)
    if options.table:
        print(tables(rows), end="")
        return
    done = {(row["balancer"], row["setting"], row["run"]) for row in rows}
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
                wanted = setting.name in options.settings and setting.balancer in options.balancers
                if wanted and (setting.balancer, setting.name, number) not in done:
                    row = compared(setting, number, profile, emulated, folder)
                    with options.output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row["balancer"], row["setting"], row["run"], row["measured"], flush=True)


def compared(
    setting: Setting, number: int, profile: ServiceProfile, emulated: Path, folder: Path
) -> dict[str, Any]:
    """Predicted and measured findings of one setting and run."""
    balancer = setting.balancer
    if program(balancer) is None:
        raise DependencyError(f"{balancer} is not installed; apt-get install {balancer}")
    stress = cap.stress(profile, **asked_of(setting, 1.0, 1.0), runs=2, only_verdict=True).stress
    flags, before, deadline_s = {**COMMON, **setting.flags}, os.getloadavg()[0], FOREVER_S
    if stress.protection.shedding is Shedding.LATE:
        deadline_s = (stress.clients.timeout_s or 0.0) - stress.protection.late_margin_s
    one = replica(stress.plan, emulated, deadline_s, NOTICING[balancer].drains_s, stress.trigger.factor)
    text = configuration(balancer, profile, flags, passes_on=setting.passes_on)
    with in_front(), fleet(one, stress.plan.replicas, balancer, text, folder) as (url, members):
        startup_s = float(np.mean([member.startup_s for member in members]))
        replaced_s = 0.0
        if stress.trigger.kind is TriggerKind.ROLLOUT:
            began_s = time.monotonic()
            members[0].replace()
            replaced_s = time.monotonic() - began_s
        asked = asked_of(setting, startup_s, replaced_s, held_s(stress))
        stress = cap.stress(profile, **asked, runs=2, only_verdict=True).stress
        seen = measured(stress, setting, number, url, members)
    return {
        "setting": setting.name,
        "balancer": balancer,
        "run": number,
        "asked": asked,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine()["cpu"],
        "profile_mean_s": [profile.service_mean_s(size) for size in SIZES],
        "startup_s": startup_s,
        "replaced_s": replaced_s,
        "started_again_s": members[-1].startup_s,
        "lasts_s": stress.lasts_s,
        "predicted": predicted(stress),
        "measured": seen,
        "watched_s": setting.watched_s,
        "other_load": before,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """Earlier measurements."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
