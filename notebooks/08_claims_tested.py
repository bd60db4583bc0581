# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The usual claims about serving, put to the test
#
# **Question.** Talks and tutorials about serving models repeat a handful of numbers: plan for 80 %, batch
# by 32 to 128, eight bits are twice as fast. Which of them may I plan by?
#
# Each claim has a cell of its own, which asks *theory* (a law of queues, exact unless it says otherwise)
# and a *simulation* or a *measurement* (the profiles that come with the package), and adds one row to a
# table at the end. No verdict is typed: each is computed from the numbers beside it, by the test that the
# text above the cell states. In brackets stand the ends of 95 % intervals, unless another meaning is named.
# Where an interval lies on both sides of what a test asks, the verdict says that it cannot be told.
#
# Words: the *load* is the arrival rate over the highest rate that can be served, the *response time* of a
# request is its wait and its service together, and P99 is the time that 99 % of the requests stay within.

# %%
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from IPython.display import Markdown
from scipy.optimize import brentq

from capacity.analytic import predict
from capacity.comparison import Contender
from capacity.errors import UnstableError
from capacity.objective import LatencyObjective
from capacity.performance import Interval
from capacity.plan import Plan
from capacity.planner import recommend
from capacity.profile import BatchTiming, ServiceProfile
from capacity.profile_files import bundled_names, load_profile
from capacity.quantization import quantize
from capacity.question import Question
from capacity.queues.closed import Closed
from capacity.queues.durations import Duration, Family
from capacity.queues.empirical import Empirical
from capacity.queues.little import LittlesLaw, LoadTestReport
from capacity.queues.mg1 import MG1
from capacity.queues.mm1 import MM1
from capacity.service_law import ServiceLaw, from_samples
from capacity.stability import relaxation_requests
from capacity.units import format_duration
from capacity.workload import Workload
from simulations import agreement_fleets, kernel
from simulations.agreement import compare
from simulations.agreement_laws import closed, mdc, mm1, mmc, one_queue
from simulations.agreement_system import System
from simulations.agreement_times import DurationTimes
from simulations.arrivals import Seed, draw
from simulations.judge import SimulationJudge
from simulations.paired import PairedSimulation
from simulations.profile_error import resampled
from simulations.records import Records
from simulations.service import ProfileTimes

SEED = 8
P50, P99 = 0.5, 0.99
PROFILES = [load_profile(name) for name in bundled_names()]

# %% [markdown]
# A row holds the claim, what theory says, what was simulated or measured, and the verdict. A claim often
# has parts, or stands or falls with the case; the verdict then names those for which it holds and those for
# which it does not.


# %%
@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim and what became of it."""

    claim: str
    theory: str
    evidence: str
    verdict: str


def verdict(cases: Mapping[str, bool | None]) -> str:
    """What the cases say together; None is a case that nothing here can tell."""
    kept = [name for name, found in cases.items() if found is not None and found]
    broken = [name for name, found in cases.items() if found is not None and not found]
    unknown = [name for name, found in cases.items() if found is None]
    said = "**holds**" if kept else "**does not hold**"
    if kept and (broken or unknown):
        said = f"**holds in part**<br>yes for {', '.join(kept)}"
    if broken and (kept or unknown):
        said += f"<br>no for {', '.join(broken)}" if kept else f" for {', '.join(broken)}"
    return said + (f"<br>cannot be told here: {', '.join(unknown)}" if unknown else "")


def inside(found: Interval, low: float, high: float) -> bool | None:
    """Whether all of an interval lies between two limits; None where only a part does."""
    if low <= found.low and found.high <= high:
        return True
    return False if found.high < low or found.low > high else None


def over(after: Interval, before: Interval) -> Interval:
    """A ratio, with ends that allow for both intervals."""
    value, low, high = after.value / before.value, after.low / before.high, after.high / before.low
    return Interval(value=value, low=low, high=high)


def both(*answers: bool | None) -> bool | None:
    """Whether all are true; None where that cannot be told."""
    return False if False in answers else None if None in answers else True


def grouped(what: str, cases: Mapping[str, bool | None]) -> dict[str, bool | None]:
    """Cases of one part of a claim, those with the same answer named together."""
    answers = {None if found is None else bool(found) for found in cases.values()}
    return {f"{what} ({', '.join(name for name, x in cases.items() if x == y)})": y for y in answers}


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.0f} %"


def shown(interval: Interval, factor: float = 1.0, digits: int = 3) -> str:
    """Value and ends, all times a factor."""
    value, low, high = (f"{factor * x:.{digits}g}" for x in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def numbers(named: Mapping[str, object]) -> str:
    """Some numbers with their names, a line for each in one cell of the table."""
    return "".join(f"<br>{name}: {value}" for name, value in named.items())


def simulated(system: System, requests_max: int = 30_000_000) -> dict[str, Interval]:
    """What the simulator finds for a queue, by quantity."""
    return {row.quantity: row.simulation.interval(0.95) for row in compare(system, SEED, requests_max)}


def show(row: Row) -> Markdown:
    """One row as a table."""
    return table([row])


def table(rows: Iterable[Row]) -> Markdown:
    """The rows as people read them."""
    lines = ["| claim | theory | simulation or measurement | verdict |", "|---|---|---|---|"]
    return Markdown(
        "\n".join([*lines, *(f"| {r.claim} | {r.theory} | {r.evidence} | {r.verdict} |" for r in rows)])
    )


# %% [markdown]
# ## 1. "L = λW needs no distribution"
#
# The mean number in the system is the arrival rate times the mean response time, whatever the shape of the
# service times.
#
# *Test:* the number in the system, **counted** at 100,000 even instants of a simulated run, over the rate
# times the mean response of the same run. It must be within 1 % of 1 in each of ten runs, for regular,
# exponential and very uneven service. (Counting is a second road: neither side of the ratio is computed
# from the other.)


# %%
def counted_over_little(records: Records) -> float:
    """Number in the system by counting, over that by Little's law."""
    end_s = float(records.finished_s.max())
    glances_s = np.linspace(0.0, end_s, 100_000)
    arrived = np.searchsorted(records.arrived_s, glances_s)
    left = np.searchsorted(np.sort(records.finished_s), glances_s)
    law = LittlesLaw.solve(
        arrival_rate_rps=len(records.arrived_s) / end_s, response_mean_s=float(records.response_s.mean())
    )
    return float((arrived - left).mean()) / law.in_system_mean


def run_alone(rate_rps: float, service: Duration, requests: int, replication: int = 0) -> Records:
    """One server, from empty to empty."""
    draws = draw(Workload(arrival_rate_rps=rate_rps), requests, Seed(value=SEED, replication=replication))
    return kernel.run(one_queue(1), DurationTimes(service), draws)


SHAPES = {
    "constant": Duration(family=Family.DETERMINISTIC, mean_s=1.0),
    "exponential": Duration(family=Family.EXPONENTIAL, mean_s=1.0),
    "lognormal with cv 4": Duration(family=Family.LOGNORMAL, mean_s=1.0, scv=16.0),
}
laws = {name: MG1(arrival_rate_rps=0.8, service=service) for name, service in SHAPES.items()}
ratios = {
    name: [counted_over_little(run_alone(0.8, service, 50_000, k)) for k in range(10)]
    for name, service in SHAPES.items()
}
in_theory = {
    name: law.in_system_mean
    / LittlesLaw.solve(arrival_rate_rps=0.8, response_mean_s=law.response_mean_s).in_system_mean
    for name, law in laws.items()
}
little = Row(
    claim="L = λW needs no distribution",
    theory="L over λW at load 0.8: " + numbers({name: f"{x:.6g}" for name, x in in_theory.items()}),
    evidence="counted L over λW, least and largest of ten runs: "
    + numbers({name: f"{min(x):.4f} to {max(x):.4f}" for name, x in ratios.items()}),
    verdict=verdict({name: max(abs(x - 1.0) for x in found) < 0.01 for name, found in ratios.items()}),
)
show(little)

# %% [markdown]
# ## 2. "Latency doubles, so the queue doubles"
#
# Said of Little's law at a fixed arrival rate. It matters what doubles. If the mean **response** time
# doubles, the number in the system does. If the **service** time doubles, as with a model twice as slow,
# the load doubles too, and the wait on top of it.
#
# *Test:* one exponential server; the number in the system afterwards over that before is 2 within 5 %. In
# the first case loads 0.6 and 0.75, whose responses differ by a factor of two at the same arrival rate; in
# the second 0.4 and 0.8.


# %%
def in_system(load: float) -> tuple[float, Interval]:
    """Mean number in the system by theory and by simulation, whose responses are turned by Little's law."""
    law, response = (
        MM1(arrival_rate_rps=load, service_rate_rps=1.0),
        simulated(mm1(load, (P50,)))["response_mean_s"],
    )
    low, value, high = (
        LittlesLaw.solve(arrival_rate_rps=load, response_mean_s=x).in_system_mean
        for x in (response.low, response.value, response.high)
    )
    return law.in_system_mean, Interval(value=value, low=low, high=high)


CHANGES = {"response time doubled": (0.6, 0.75), "service time doubled": (0.4, 0.8)}
found = {name: (in_system(before), in_system(after)) for name, (before, after) in CHANGES.items()}
growth = {name: after[0] / before[0] for name, (before, after) in found.items()}
seen = {name: over(after[1], before[1]) for name, (before, after) in found.items()}
doubles = Row(
    claim="latency doubles, queue doubles",
    theory="number in the system, afterwards over before: "
    + numbers({name: f"{x:.3g}" for name, x in growth.items()}),
    evidence="in the system before and after: "
    + numbers({name: f"{shown(before[1])} and {shown(after[1])}" for name, (before, after) in found.items()}),
    verdict=verdict({name: inside(x, 1.9, 2.1) for name, x in seen.items()}),
)
assert all(seen[name].low <= growth[name] <= seen[name].high for name in CHANGES)
show(doubles)

# %% [markdown]
# ## 3. "Manageable at 80 %, explodes at 95 %"
#
# *Test:* manageable, if the mean response at 80 % is at most two service times; it explodes, if it more
# than doubles from 80 to 95 %. Both must be so, for one queue with 1, 4 and 64 exponential servers, and for
# one server with constant service.

# %%
QUEUES = {
    "1 server": lambda load: mmc(1, load, (P50,)),
    "1 server (constant service)": lambda load: mdc(1, load, (P50,)),
    "4 servers": lambda load: mmc(4, load, (P50,)),
    "64 servers": lambda load: mmc(64, load, (P50,)),
}
in_theory = {
    name: [make(load).theory.response_mean_s for load in (0.80, 0.95)] for name, make in QUEUES.items()
}
seen = {
    name: [simulated(make(load))["response_mean_s"] for load in (0.80, 0.95)] for name, make in QUEUES.items()
}
explodes = Row(
    claim="manageable at 80 %, explodes at 95 %",
    theory="mean response in service times, at 80 and 95 %: "
    + numbers({name: f"{calm:.3g} and {busy:.3g}" for name, (calm, busy) in in_theory.items()}),
    evidence="simulated: "
    + numbers({name: f"{shown(calm)} and {shown(busy)}" for name, (calm, busy) in seen.items()}),
    verdict=verdict(
        {
            name: both(inside(calm, 0, 2), inside(over(busy, calm), 2, inf))
            for name, (calm, busy) in seen.items()
        }
    ),
)
assert in_theory["1 server"][0] > 4.99
assert in_theory["64 servers"][1] < 1.2
show(explodes)

# %% [markdown]
# At 80 % one server already takes five service times, while 64 at 95 % take less than 1.2: a load is no
# target without the number of servers.
#
# ## 4. "Faster servers stay stable at the same arrival rate"
#
# *Test:* 8 requests per second at servers that manage 10, 5 and 2 per second. Theory refuses what is not
# stable. A simulated queue is stable if the mean response of the second half of 50,000 requests is at most
# 1.5 times that of the first half in each of ten runs; where there is no steady state it is more than 2.5
# times in each. The claim holds for a server if theory and simulation agree that it is stable exactly where
# it is faster than the arrivals.


# %%
def is_stable(service_rate_rps: float) -> bool:
    """Whether theory has a steady state for it."""
    try:
        MM1(arrival_rate_rps=8.0, service_rate_rps=service_rate_rps)
    except UnstableError:
        return False
    return True


def second_half_over_first(service_rate_rps: float, replication: int) -> float:
    """How the mean response goes on."""
    service = Duration(family=Family.EXPONENTIAL, mean_s=1.0 / service_rate_rps)
    first, second = np.split(run_alone(8.0, service, 50_000, replication).response_s, 2)
    return float(second.mean() / first.mean())


RATES_RPS = (10.0, 5.0, 2.0)
halves = {rate: [second_half_over_first(rate, k) for k in range(10)] for rate in RATES_RPS}
assert all(min(x) > 2.5 for rate, x in halves.items() if not is_stable(rate))
stable = Row(
    claim="faster servers stay stable at the same arrival rate",
    theory="arrivals of 8 rps at servers of: "
    + numbers({f"{x:g} rps": "stable" if is_stable(x) else "refused" for x in RATES_RPS}),
    evidence="response in the second half over the first, least and largest of ten runs: "
    + numbers({f"{rate:g} rps": f"{min(x):.2f} to {max(x):.2f}" for rate, x in halves.items()}),
    verdict=verdict(
        {f"{rate:g} rps": is_stable(rate) == (max(x) <= 1.5) == (rate > 8.0) for rate, x in halves.items()}
    ),
)
show(stable)

# %% [markdown]
# ## 5. "Throughput grows by B"
#
# A batch of B gives B times the throughput of a batch of one: true only while a larger batch takes no
# longer.
#
# *Test:* of each bundled profile, the throughput at its knee B (beyond it a doubling gives less than 10 %)
# is at least 90 % of B times that at 1. Measured means; most of the profiles are published tables, which
# give no interval.


# %%
def gain(profile: ServiceProfile, batch_size: int) -> float:
    """Throughput at a batch size over that of single requests."""
    return profile.throughput_rps(batch_size) / profile.throughput_rps(profile.batch_size_min)


FROM_ONE = [p for p in PROFILES if p.batch_size_min == 1]
shares = {p.name: gain(p, p.knee_batch_size) / p.knee_batch_size for p in FROM_ONE}
best = max(FROM_ONE, key=lambda p: shares[p.name])
keeping = sum(share >= 0.9 for share in shares.values())
grows = Row(
    claim="throughput grows by B",
    theory="only where a batch of B takes as long as a batch of one",
    evidence=f"{keeping} of {len(shares)} profiles reach 90 % of B at their knee; share of B reached there: "
    f"{percent(min(shares.values()))} to {percent(max(shares.values()))}, the most by "
    f"{best.name} (knee {best.knee_batch_size})",
    verdict=verdict({f"{keeping} profiles": True, f"{len(shares) - keeping} profiles": False})
    if 0 < keeping < len(shares)
    else verdict({"all profiles": keeping == len(shares)}),
)
show(grows)

# %% [markdown]
# ## 6. "B = 32 to 128 is optimal"
#
# *Test:* the knee of each bundled profile lies from 32 to 128. The knee looks at throughput alone; beside
# it stands what a plan takes that must also keep a P99, here ResNet-50 on a T4 at 3200 rps with P99 within
# 40 ms, by simulation.

# %%
knees = {p.name: p.knee_batch_size for p in PROFILES}
within = sum(32 <= knee <= 128 for knee in knees.values())
question = Question(
    profiles=(load_profile("resnet50-t4-fp16"),),
    workload=Workload(arrival_rate_rps=3200.0),
    objective=LatencyObjective(limits={P99: 0.040}),
)
answer = recommend(question, SimulationJudge(seed=SEED), with_headroom=False)
chosen = answer.plan
optimal = Row(
    claim="B = 32–128 is optimal",
    theory="none: the best batch is a property of model, device and promise",
    evidence=f"knee from 32 to 128 in {within} of {len(knees)} profiles, overall {min(knees.values())} to "
    f"{max(knees.values())}; planned for 40 ms: batches up to {chosen.batch_size_max}, P99 "
    f"{shown(answer.performance.response_quantiles_s[P99], 1e3)} ms",
    verdict=verdict(
        {
            f"the throughput of {within} profiles": within > 0,
            f"the throughput of {len(knees) - within} profiles": within == len(knees),
            "the plan that keeps 40 ms": 32 <= chosen.batch_size_max <= 128,
        }
    ),
)
show(optimal)

# %% [markdown]
# ## 7. "Latency grows with (B − 1) × wait"
#
# Said of a server that waits for its batch to fill. But the timer runs once for a batch and not once for
# each request, and under load batches fill before it ends.
#
# *Test:* ResNet-50 on a T4 by its mean times, batches up to 8, a timer as long as a batch of one takes, and
# the same without a timer. What the timer adds to the mean response must be within 10 % of 7 waits. Theory
# is the exact law of the batch queue, and the simulation compares both under the same requests.

# %%
t4 = load_profile("resnet50-t4-fp16")
means = ServiceProfile(
    name="means",
    timings=tuple(BatchTiming(batch_size=b, mean_s=t4.service_mean_s(b)) for b in t4.batch_sizes),
)
B, WAIT_S = 8, means.service_mean_s(1)
CLAIMED_S = (B - 1) * WAIT_S
greedy = Plan(profile="means", replicas=1, batch_size_max=B)
timed = replace(greedy, batch_wait_max_s=WAIT_S)
pair = [Contender(name=n, profile=means, plan=p) for n, p in (("greedy", greedy), ("timed", timed))]
compare_plans = PairedSimulation(seed=SEED, precision=0.005, requests_max=20_000_000)


def added_s(load: float) -> tuple[float, Interval]:
    """What the timer adds to the mean response, by theory and by simulation."""
    workload = Workload(arrival_rate_rps=load * means.throughput_rps(B))
    with_timer, without = (predict(means, workload, plan).response_mean_s for plan in (timed, greedy))
    return with_timer - without, compare_plans(pair, workload).differences[0].response_mean_s


added = {load: added_s(load) for load in (0.05, 0.3, 0.6, 0.9)}
waiting = Row(
    claim="latency grows with (B − 1) × wait",
    theory=f"claimed: {B - 1} waits; a timer of {format_duration(WAIT_S)} adds, in waits: "
    + numbers({f"load {load:g}": f"{law_s / WAIT_S:.3f}" for load, (law_s, _) in added.items()}),
    evidence="simulated: "
    + numbers({f"load {load:g}": shown(seen, 1.0 / WAIT_S) for load, (_, seen) in added.items()}),
    verdict=verdict(
        {
            f"load {load:g}": inside(seen, 0.9 * CLAIMED_S, 1.1 * CLAIMED_S)
            for load, (_, seen) in added.items()
        }
    ),
)
assert max(law_s for law_s, _ in added.values()) <= WAIT_S  # not even one whole wait
show(waiting)

# %% [markdown]
# At none of these loads did the timer add even one whole wait to the mean.
#
# ## 8. "INT8: 4x memory, 2x speed, < 0.5 % accuracy"
#
# *Test:* memory by the bytes of a weight matrix of 1024 x 1024 and its scales, before and after (to one
# decimal, since scales take some bytes); speed by the bundled profiles of one network on one core in single
# precision and in eight bits, at every measured batch size, with the interval that the samples give (of one
# run on one machine, not of another). Accuracy takes the trained model, which is not at hand here; `python
# -m serve_api.quantize` measures it.

# %%
weights = np.random.default_rng(SEED).normal(size=(1024, 1024)).astype(np.float32)
codes = quantize(weights, axis=1)
memory = weights.nbytes / (codes.codes.nbytes + codes.scales.astype(np.float32).nbytes)
before, after = load_profile("serve-mlp-cpu-fp32"), load_profile("serve-mlp-cpu-int8")


def speedups(resamples: int = 100) -> dict[int, Interval]:
    """Mean time before over after by batch size; the ends from resampled profiles (bootstrap)."""
    generator = np.random.default_rng(SEED)
    draws = [(resampled(before, generator), resampled(after, generator)) for _ in range(resamples)]
    found = {}
    for size in before.batch_sizes:
        low, high = np.quantile(
            [a.service_mean_s(size) / b.service_mean_s(size) for a, b in draws], (0.025, 0.975)
        )
        value = before.service_mean_s(size) / after.service_mean_s(size)
        found[size] = Interval(value=value, low=min(low, value), high=max(high, value))
    return found


speed = speedups()
eight_bits = Row(
    claim="INT8: 4x memory, 2x speed, < 0.5 % accuracy",
    theory=f"codes of one byte for four: {memory:.2f} times less, with scales by output; no law of speed",
    evidence="times as fast, measured: " + numbers({f"batch {size}": shown(x) for size, x in speed.items()}),
    verdict=verdict(
        {
            "memory": round(memory, 1) >= 4.0,
            **grouped("speed at batch", {str(size): inside(x, 2.0, inf) for size, x in speed.items()}),
            "accuracy": None,
        }
    ),
)
show(eight_bits)

# %% [markdown]
# ## 9. "N replicas: throughput × N, P50 unchanged, P99 better"
#
# *Test:* one exponential server at load 0.8, beside two of them with twice the arrivals, behind each
# router. Throughput must be twice as high within 1 %, P50 the same within 5 %, P99 at least 5 % lower.

# %%
alone = mm1(0.8, (P50, P99)).theory
FLEETS = {
    "random": agreement_fleets.random_split(2, 0.8, (P50, P99)),
    "round-robin": agreement_fleets.round_robin(2, 0.8, (P50, P99)),
    "least-outstanding": agreement_fleets.shortest_queue(0.8, (P50, P99)),
    "shared queue": mmc(2, 0.8, (P50, P99)),
}
seen = {
    name: simulated(replace(fleet, compared=("throughput_rps",)), 80_000_000)
    for name, fleet in FLEETS.items()
}
times = {name: fleet.theory.response_quantiles_s for name, fleet in FLEETS.items()}
one_p50_s, one_p99_s = (alone.response_quantiles_s[q].value for q in (P50, P99))
two_rps = 2.0 * alone.throughput_rps
kept = {
    name: (
        inside(found["throughput_rps"], 0.99 * two_rps, 1.01 * two_rps),
        inside(found["response_p50_s"], 0.95 * one_p50_s, 1.05 * one_p50_s),
        inside(found["response_p99_s"], 0.0, 0.95 * one_p99_s),
    )
    for name, found in seen.items()
}


def three(found: Mapping[str, Interval]) -> str:
    """P50, P99 and throughput of one router."""
    times = [shown(found[name]) for name in ("response_p50_s", "response_p99_s")]
    return ", ".join([*times, shown(found["throughput_rps"], 1.0 / alone.throughput_rps, 4)])


PARTS = ("throughput × 2", "P50 unchanged", "P99 better")
replicas = Row(
    claim="N replicas: throughput × N, P50 unchanged, P99 better",
    theory=f"P50 and P99 in service times: alone {one_p50_s:.3g} and {one_p99_s:.3g}; two: "
    + numbers({name: f"{x[P50].value:.3g} and {x[P99].value:.3g}" for name, x in times.items()}),
    evidence="simulated P50, P99 and throughput over that of one: "
    + numbers({name: three(found) for name, found in seen.items()}),
    verdict=verdict(
        {
            name: found
            for k, part in enumerate(PARTS)
            for name, found in grouped(part, {router: parts[k] for router, parts in kept.items()}).items()
        }
    ),
)
assert all(x["response_p50_s"].high < one_p50_s for name, x in seen.items() if kept[name][2])
assert all(both(*parts) is False for parts in kept.values())  # under no router do all three parts hold
show(replicas)

# %% [markdown]
# Under none of these routers do all three parts hold at once: what betters P99 betters P50 too.
#
# ## 10. "100 users, 100 rps, P50 45 ms, P99 340 ms"
#
# A report of a load test. Each user sends, waits for the answer, thinks, and sends again; users, throughput
# and think time then fix the mean response time, by the interactive law.
#
# *Test:* whether the reported percentiles can belong to that mean, for think times of 0, 300 and 950 ms.
# Beside it a simulation of 100 users at a server that manages 100 rps.


# %%
def report(think_time_s: float) -> LoadTestReport:
    """The reported numbers with a think time that was not reported."""
    times_s = {P50: 0.045, P99: 0.340}
    return LoadTestReport(
        users=100, think_time_s=think_time_s, throughput_rps=100.0, response_quantiles_s=times_s
    )


THINK_S = (0.0, 0.3, 0.95)
reports = {think_s: report(think_s) for think_s in THINK_S}
seen = {think_s: simulated(closed(100, think_s * 100.0, 1, (P50, P99)), 10_000_000) for think_s in (0.0, 0.3)}
law = {
    think_s: Closed(users=100, think_time_s=think_s, service_time_s=0.01, servers=1).response_quantile_s(P50)
    for think_s in seen
}
load_test = Row(
    claim="100 users, 100 rps, P50 45 ms, P99 340 ms",
    theory="mean response required: "
    + numbers(
        {f"think {1e3 * z:.0f} ms": format_duration(r.required_response_mean_s) for z, r in reports.items()}
    ),
    evidence="100 users who get 100 rps, simulated P50 and P99 in ms: "
    + numbers(
        {
            f"think {1e3 * z:.0f} ms": " and ".join(
                shown(x[name], 10.0, 4) for name in ("response_p50_s", "response_p99_s")
            )
            for z, x in seen.items()
        }
    ),
    verdict=verdict({f"think time {1e3 * z:.0f} ms": r.credible for z, r in reports.items()}),
)
assert all(abs(100.0 * law[z] / x["response_p50_s"].value - 1.0) < 0.02 for z, x in seen.items())
show(load_test)

# %% [markdown]
# So the first thing to ask of such a report is the think time; without one it cannot be true.
#
# ## 11. "P50 120 ms with P99 2 400 ms: what service mix does that?"
#
# P99 is twenty times P50 here. Behind one exponential server it is the same multiple of P50 at any load
# (below), and much less than twenty. A mix of many short and a few long requests does it.
#
# *Test:* one server at half load, 3 % of the requests long. A search over the exact law finds how many
# times as long they must be, and how long the short ones; a simulation of that mix must give both
# percentiles within 5 %.

# %%
SHARE_LONG, LOAD = 0.03, 0.5


def mixed(short_s: float, long_over_short: float) -> ServiceLaw:
    """Requests of two lengths."""
    count = round(SHARE_LONG * 100)
    return from_samples([short_s] * (100 - count) + [short_s * long_over_short] * count)


def queue(law: ServiceLaw) -> MG1:
    """One server at the load."""
    return MG1(arrival_rate_rps=LOAD / law.mean_s, service=Empirical(law=law))


def tail_ratio(queue: MG1 | MM1) -> float:
    """P99 over P50."""
    return queue.response_quantile_s(P99) / queue.response_quantile_s(P50)


long_over_short = brentq(lambda x: tail_ratio(queue(mixed(1.0, x))) - 2.400 / 0.120, 2.0, 200.0, xtol=1e-3)
short_s = 0.120 / queue(mixed(1.0, long_over_short)).response_quantile_s(P50)
mix = mixed(short_s, long_over_short)
print(
    f"short {format_duration(short_s)}, long {format_duration(short_s * long_over_short)}, "
    f"cv {mix.scv**0.5:.2f}"
)


# %%
def mix_system() -> System:
    """The mix as the simulator plays it."""
    timing = BatchTiming(batch_size=1, samples_s=(short_s,) * 97 + (short_s * long_over_short,) * 3)
    rate_rps = LOAD / mix.mean_s
    return System(
        name="mix",
        theory=queue(mix).performance((P50, P99)),
        plan=one_queue(1),
        workload=Workload(arrival_rate_rps=rate_rps),
        service_times=ProfileTimes(ServiceProfile(name="mix", timings=(timing,))),
        relaxation_requests=relaxation_requests(LOAD, 1, rate_rps, variability=1.0 + mix.scv),
        quantiles=(P50, P99),
    )


seen = simulated(mix_system())
exponential = [tail_ratio(MM1(arrival_rate_rps=load, service_rate_rps=1.0)) for load in (0.1, 0.5, 0.95)]
targets = {"response_p50_s": 0.120, "response_p99_s": 2.400}
service_mix = Row(
    claim="P50 120 ms with P99 2 400 ms",
    theory=f"ratio {2.400 / 0.120:.0f}; one exponential server {max(exponential):.2f} at loads 0.1 to 0.95; "
    f"with {percent(SHARE_LONG)} long requests at load {LOAD:g}: {format_duration(short_s)} and "
    f"{format_duration(short_s * long_over_short)}, service cv {mix.scv**0.5:.2f}",
    evidence=f"that mix, simulated: P50 {shown(seen['response_p50_s'], 1e3, 4)} ms, "
    f"P99 {shown(seen['response_p99_s'], 1e3, 4)} ms",
    verdict=verdict(
        {
            "one exponential server": max(exponential) >= 2.400 / 0.120,
            f"a mix with {percent(SHARE_LONG)} long requests": both(
                *(inside(seen[name], 0.95 * x, 1.05 * x) for name, x in targets.items())
            ),
        }
    ),
)
assert max(exponential) - min(exponential) < 1e-9
show(service_mix)

# %% [markdown]
# ## All claims in one table

# %%
ROWS = [
    little, doubles, explodes, stable, grows, optimal, waiting, eight_bits, replicas, load_test, service_mix,
]  # fmt: skip
table(ROWS)

# %% [markdown]
# ## What to do
#
# * Trust laws of means without conditions (L = λW), and use them first: they find a load test that cannot
#   be true.
# * Do not plan by a share of busy time. Ask what P99 your number of servers gives at your variability:
#   `capacity queue mmc`, or `02_utilization_curves`.
# * Take batch size, gain and knee from a profile of *your* model on *your* device (`capacity profile`),
#   never from a rule.
# * Set a batch timer by what it adds at your load, which here was less than one wait: `04_batching`.
# * Measure eight bits before you count on them: size, speed at your batch size, and accuracy each for
#   itself: `07_quantization`.
# * Choose the router before the number of replicas: `06_scaling_out`.
# * Where P99 is many times P50, look for a mix of short and long requests before adding replicas.
