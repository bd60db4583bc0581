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

from capacity.errors import UnstableError
from capacity.performance import Interval
from capacity.profile.contention import from_sweep
from capacity.profile.distribution import ServiceLaw, from_samples
from capacity.profile.load import bundled_names, load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.quantization import load_measured_quantization
from capacity.question.candidate import Verdict
from capacity.question.comparison import Contender
from capacity.question.objective import LatencyObjective
from capacity.question.plan import BatchTimer, Plan, Routing
from capacity.question.question import Question
from capacity.question.stability import relaxation_requests, replicas_stable_min, sustainable_rate_rps
from capacity.queues.durations import Duration, Family
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.queues.little import LittlesLaw, LoadTestReport
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mm1 import MM1
from capacity.search.exact import predict
from capacity.traffic.workload import ArrivalProcess, GammaArrivals, MmppArrivals, PoissonArrivals, Workload
from capacity.units import format_duration
from simulations.draws.arrivals import Seed, draw
from simulations.draws.records import Records
from simulations.draws.service import ProfileTimes
from simulations.judge import SimulationJudge
from simulations.kernel import serve as kernel
from simulations.paired import PairedSimulation
from simulations.statistics.pool import Estimate
from simulations.statistics.profile_error import sampling_intervals
from simulations.validation import fleets as agreement_fleets
from simulations.validation.agreement import compare
from simulations.validation.laws import DurationTimes, System, closed, mdc, mm1, mmc, one_queue

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


def verdict(
    cases: Mapping[str, bool | None],
    heads: tuple[str, str, str] = ("holds", "holds in part", "does not hold"),
    words: tuple[str, str] = ("yes", "no"),
) -> str:
    """What the cases say together; None is a case that nothing here can tell."""
    kept = [name for name, found in cases.items() if found is not None and found]
    broken = [name for name, found in cases.items() if found is not None and not found]
    unknown = [name for name, found in cases.items() if found is None]
    everywhere, in_part, nowhere = heads
    if not kept and not broken:
        return "**cannot be told here**"
    said = f"**{in_part if kept and (broken or unknown) else everywhere if kept else nowhere}**"
    parts = {f"{words[0]} for": kept, f"{words[1]} for": broken, "cannot be told here:": unknown}
    named = [f"<br>{what} {', '.join(names)}" for what, names in parts.items() if names]
    return said + ("".join(named) if len(named) > 1 else "")


def inside(found: Interval, low: float, high: float) -> bool | None:
    """Whether all of an interval lies between two limits; None where only a part does."""
    if low <= found.low and found.high <= high:
        return True
    return False if found.high < low or found.low > high else None


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


def shown(interval: Interval, digits: int = 3) -> str:
    """Value and ends; one number where they are the same."""
    value, low, high = (f"{x:.{digits}g}" for x in (interval.value, interval.low, interval.high))
    return value if interval.low == interval.high else f"{value} ({low} to {high})"


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
# The mean number in the system is the arrival rate times the mean response time, whatever the law of the
# gaps between arrivals and of the service times. Over a stretch that begins and ends empty this is an
# identity: both sides add up the same stays, one by instants and the other by requests.
#
# *Test:* the number in the system, **counted** at 100,000 even instants of a simulated run, over the rate
# times the mean response of the same run. It must be within 1 % of 1 in each of ten runs, for Poisson
# arrivals, for gaps with a coefficient of variation (cv) of 3 and for arrivals in bursts, each with
# constant, exponential and very uneven service. (Counting is a second road: neither side of the ratio is
# computed from the other.)


# %%
def counted(records: Records) -> tuple[float, float]:
    """Mean numbers in the system and waiting, by counting at even instants."""
    glances_s = np.linspace(0.0, float(records.finished_s.max()), 100_000)
    arrived, started, left = (
        np.searchsorted(np.sort(instants_s), glances_s, side="right")
        for instants_s in (records.arrived_s, records.started_s, records.finished_s)
    )
    return float((arrived - left).mean()), float((arrived - started).mean())


def by_littles_law(records: Records) -> float:
    """Mean number in the system by rate and mean response of the same run."""
    return LittlesLaw.solve(
        arrival_rate_rps=len(records.arrived_s) / float(records.finished_s.max()),
        response_mean_s=float(records.response_s.mean()),
    ).in_system_mean


def run_alone(
    rate_rps: float,
    service: Duration,
    requests: int,
    replication: int = 0,
    arrivals: ArrivalProcess = PoissonArrivals(),  # noqa: B008  (frozen)
) -> Records:
    """One server, from empty to empty."""
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=arrivals)
    draws = draw(workload, requests, Seed(value=SEED, replication=replication))
    return kernel.run(one_queue(1), DurationTimes(service), draws)


EXPONENTIAL = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
SERVICES = {
    "constant": Duration(family=Family.DETERMINISTIC, mean_s=1.0),
    "exponential": EXPONENTIAL,
    "lognormal of cv 4": Duration(family=Family.LOGNORMAL, mean_s=1.0, scv=16.0),
}
ARRIVALS = {
    "Poisson": PoissonArrivals(),
    "gaps of cv 3": GammaArrivals(cv=3.0),
    "bursts": MmppArrivals(ratio=8.0, burst_mean_s=50.0, calm_mean_s=200.0),
}
ratios = {
    f"{coming}, {name}": [
        counted(run)[0] / by_littles_law(run)
        for run in (run_alone(0.8, service, 50_000, k, arrivals) for k in range(10))
    ]
    for coming, arrivals in ARRIVALS.items()
    for name, service in SERVICES.items()
}
little = Row(
    claim="L = λW needs no distribution",
    theory="an identity, of the same requests over the same time",
    evidence="counted L over λW, least and largest of ten runs: "
    + numbers({name: f"{min(x):.4f} to {max(x):.4f}" for name, x in ratios.items()}),
    verdict=verdict(
        grouped(
            "arrivals, service",
            {name: max(abs(x - 1.0) for x in found) < 0.01 for name, found in ratios.items()},
        )
    ),
)
show(little)

# %% [markdown]
# ## 2. "Latency doubles, so the queue doubles"
#
# Said of Little's law at a fixed arrival rate. It matters what doubles, and of what one counts the heads.
# If the mean **response** time doubles, the number in the *system* does; the number that *wait* need not. If
# the **service** time doubles, as with a model twice as slow, the load doubles too, and the wait on top of
# it.
#
# *Test:* one exponential server; the number afterwards over that before is 2 within 5 %. In the first case
# loads 0.6 and 0.75, whose responses differ by a factor of two at the same arrival rate; in the second 0.4
# and 0.8. Heads are counted as above, with the interval of 20 runs of 100,000 requests.


# %%
def count_heads(load: float) -> tuple[Interval, Interval]:
    """Mean numbers in the system and waiting, counted."""
    runs = [counted(run_alone(load, EXPONENTIAL, 100_000, k)) for k in range(20)]
    in_system, waiting = zip(*runs, strict=True)
    return Estimate.of(in_system).interval(0.95), Estimate.of(waiting).interval(0.95)


def heads_in_theory(load: float) -> tuple[float, float]:
    """The same by the law."""
    law = MM1(arrival_rate_rps=load, service_rate_rps=1.0)
    return law.in_system_mean, law.queue_length_mean


LOADS = {"response time doubled": (0.6, 0.75), "service time doubled": (0.4, 0.8)}
WHO = ("in the system", "waiting")
CHANGES = {f"{who} ({what})": (place, pair) for what, pair in LOADS.items() for place, who in enumerate(WHO)}
heads_at = {load: count_heads(load) for pair in LOADS.values() for load in pair}
law_at = {load: heads_in_theory(load) for load in heads_at}
seen = {name: (heads_at[old][k], heads_at[new][k]) for name, (k, (old, new)) in CHANGES.items()}
growth = {name: law_at[new][k] / law_at[old][k] for name, (k, (old, new)) in CHANGES.items()}
grown = {name: later.over(earlier) for name, (earlier, later) in seen.items()}
doubles = Row(
    claim="latency doubles, queue doubles",
    theory="number afterwards over number before: "
    + numbers({name: f"{x:.3g}" for name, x in growth.items()}),
    evidence="counted, before and after: "
    + numbers({name: f"{shown(earlier)} and {shown(later)}" for name, (earlier, later) in seen.items()}),
    verdict=verdict({name: inside(x, 1.9, 2.1) for name, x in grown.items()}),
)
assert all(grown[name].low <= growth[name] <= grown[name].high for name in CHANGES)
show(doubles)

# %% [markdown]
# ## 3. "Manageable at 80 %, explodes at 95 %"
#
# *Test:* manageable, if the mean response at 80 % is at most two service times; it explodes, if it more
# than doubles from 80 to 95 %. Each half is tested by itself, for one queue with 1, 4 and 64 exponential
# servers, and for one server with constant service.

# %%
QUEUES = {
    "1 server": lambda load: mmc(1, load, (P50,)),
    "1 server of constant service": lambda load: mdc(1, load, (P50,)),
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
            **grouped("manageable at 80 %", {name: inside(calm, 0, 2) for name, (calm, _) in seen.items()}),
            **grouped(
                "explodes at 95 %",
                {name: inside(busy.over(calm), 2, inf) for name, (calm, busy) in seen.items()},
            ),
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
# *Test:* of each bundled profile, the largest measured B above 1 whose throughput is at least 90 % of B
# times that at 1, if there is any; and whether the knee is one (beyond the knee a doubling gives less than
# 10 %). Measured means; most of the profiles are published tables, which give no interval.


# %%
def share_of_b(profile: ServiceProfile, batch_size: int) -> float:
    """Throughput at a batch size over so many times that of single requests."""
    return profile.throughput_rps(batch_size) / (batch_size * profile.throughput_rps(1))


FROM_ONE = [p for p in PROFILES if p.batch_size_min == 1]
reach = {p.name: max(size for size in p.batch_sizes if share_of_b(p, size) >= 0.9) for p in FROM_ONE}
at_knee = {p.name: share_of_b(p, p.knee_batch_size) for p in FROM_ONE}
counts = {size: sum(x == size for x in reach.values()) for size in sorted(set(reach.values()))}
some, knees_kept = sum(x > 1 for x in reach.values()), sum(x >= 0.9 for x in at_knee.values())
cases = {
    f"small batches in {some} profiles, up to {max(reach.values())} at most": (True, some),
    f"any batch in {len(FROM_ONE) - some} profiles": (False, len(FROM_ONE) - some),
    f"the knee in {knees_kept} profiles": (True, knees_kept),
    f"the knee in {len(FROM_ONE) - knees_kept} profiles": (False, len(FROM_ONE) - knees_kept),
}
grows = Row(
    claim="throughput grows by B",
    theory="only where a batch of B takes as long as a batch of one",
    evidence="largest B within 10 % of B times: "
    + numbers({"none" if b == 1 else f"{b}": f"{n} of {len(FROM_ONE)} profiles" for b, n in counts.items()})
    + f"<br>share of B at the knee: {percent(min(at_knee.values()))} to {percent(max(at_knee.values()))}",
    verdict=verdict({name: holds for name, (holds, count) in cases.items() if count}),
)
show(grows)

# %% [markdown]
# ## 6. "B = 32 to 128 is optimal"
#
# *Test:* of throughput, the knee of each bundled profile lies from 32 to 128. A plan must also keep a P99.
# For ResNet-50 on a T4 at 3200 rps with P99 within 40 ms: the fewest replicas that a simulation accepts, for
# each largest batch. The claim holds for this plan if some B from 32 to 128 needs no more than the best B.

# %%
knees = {p.name: p.knee_batch_size for p in PROFILES}
within = sum(32 <= knee <= 128 for knee in knees.values())
t4 = load_profile("resnet50-t4-fp16")
question = Question(
    profiles=(t4,),
    workload=Workload(arrival_rate_rps=3200.0),
    objective=LatencyObjective(limits={P99: 0.040}),
)
judge = SimulationJudge(seed=SEED, precision=0.05, requests_max=20_000_000)


def fewest_replicas(batch_size_max: int) -> tuple[int, Interval]:
    """That are accepted, with their P99. [s]"""
    replicas = replicas_stable_min(t4, 3200.0, batch_size_max)
    while True:
        plan = Plan(profile=t4.name, replicas=replicas, batch_size_max=batch_size_max)
        found = judge.certify(question.scenario(plan), 1, 0)
        if found.verdict is Verdict.MET:
            return replicas, found.performance.response_quantiles_s[P99]
        replicas += 1


fewest = {size: fewest_replicas(size) for size in t4.batch_sizes}
best = min(count for count, _ in fewest.values())
usual = min(count for size, (count, _) in fewest.items() if 32 <= size <= 128)
optimal = Row(
    claim="B = 32–128 is optimal",
    theory="none: the best batch is a property of model, device and promise",
    evidence=f"knee from 32 to 128 in {within} of {len(knees)} profiles, overall {min(knees.values())} to "
    f"{max(knees.values())}; fewest replicas for 40 ms, and their P99 in ms: "
    + numbers(
        {f"B = {size}": f"{count}, {shown(p99_s.scaled(1e3))}" for size, (count, p99_s) in fewest.items()}
    ),
    verdict=verdict(
        {
            f"the throughput of {within} profiles": within > 0,
            f"the throughput of {len(knees) - within} profiles": within == len(knees),
            "the plan that keeps 40 ms": usual == best,
        }
    ),
)
show(optimal)

# %%
alike = [size for size, (count, _) in fewest.items() if count == best]
assert alike == [size for size in t4.batch_sizes if size >= min(alike)]
Markdown(
    f"{best} replicas do with a largest batch of {', '.join(map(str, alike))}: once the batch is large "
    "enough, more of it saves no replica and costs none, since a server that starts at once seldom has so "
    "many waiting."
)

# %% [markdown]
# ## 7. "Latency grows with (B − 1) × wait"
#
# Said of a server that waits for its batch to fill. But the timer runs once for a batch and not once for
# each request, and under load batches fill before it ends. A timer may count from the arrival of the oldest
# request that waits (`oldest`), or from when a free server first sees one (`open`).
#
# *Test:* ResNet-50 on a T4 by its mean times, batches up to 8, a timer as long as a batch of one takes, and
# the same without a timer. What the timer adds must be within 10 % of 7 waits: for each of both timers, for
# the mean response and for P99. Theory is the exact law of the batch queue, and the simulation compares all
# three under the same requests.

# %%
means = t4.of_means()
B, WAIT_S = 8, means.service_mean_s(1)
greedy = Plan(profile=means.name, replicas=1, batch_size_max=B)
TIMED = {timer.value: replace(greedy, batch_wait_max_s=WAIT_S, timer=timer) for timer in BatchTimer}
fleets = [Contender(name=n, profile=means, plan=p) for n, p in {"greedy": greedy, **TIMED}.items()]
compare_plans = PairedSimulation(seed=SEED, precision=0.005, requests_max=20_000_000, quantiles=(P99,))
TIMER_LOADS = (0.05, 0.3, 0.6, 0.9)


def at_load(load: float) -> Workload:
    """Poisson arrivals at a share of what full batches sustain."""
    return Workload(arrival_rate_rps=load * means.throughput_rps(B))


def by_law(load: float) -> dict[tuple[str, str], float]:
    """What each timer adds, by timer and measure, in waits."""
    plans = {"": greedy, **TIMED}
    found = {name: predict(means, at_load(load), plan, (P99,)) for name, plan in plans.items()}
    times_s = {
        name: {"mean": x.response_mean_s, "P99": x.response_quantiles_s[P99].value}
        for name, x in found.items()
    }
    return {
        (name, of): (times_s[name][of] - times_s[""][of]) / WAIT_S for name in TIMED for of in ("mean", "P99")
    }


def by_simulation(load: float) -> dict[tuple[str, str], Interval]:
    """The same as the simulator finds it, under the same requests."""
    differences = dict(zip(TIMED, compare_plans(fleets, at_load(load)).differences, strict=True))
    mean = {(name, "mean"): x.response_mean_s.scaled(1.0 / WAIT_S) for name, x in differences.items()}
    tail = {
        (name, "P99"): x.response_quantiles_s[P99].scaled(1.0 / WAIT_S) for name, x in differences.items()
    }
    return mean | tail


laws = {load: by_law(load) for load in TIMER_LOADS}
seen = {load: by_simulation(load) for load in TIMER_LOADS}
MEASURES = tuple(laws[TIMER_LOADS[0]])
waiting = Row(
    claim="latency grows with (B − 1) × wait",
    theory=f"claimed: {B - 1} waits; a timer of {format_duration(WAIT_S)} adds, in waits, at loads "
    f"{', '.join(map(str, TIMER_LOADS))}: "
    + numbers(
        {
            f"{of} by `{name}`": ", ".join(f"{laws[load][name, of]:.2f}" for load in TIMER_LOADS)
            for name, of in MEASURES
        }
    ),
    evidence="simulated: "
    + numbers(
        {
            f"{of} by `{name}`": ", ".join(shown(seen[load][name, of]) for load in TIMER_LOADS)
            for name, of in MEASURES
        }
    ),
    verdict=verdict(
        {
            case: found
            for name, of in MEASURES
            for case, found in grouped(
                f"{of} by `{name}` at loads",
                {
                    f"{load:g}": inside(seen[load][name, of], 0.9 * (B - 1), 1.1 * (B - 1))
                    for load in TIMER_LOADS
                },
            ).items()
        }
    ),
)
show(waiting)

# %%
most = {key: max(laws[load][key] for load in TIMER_LOADS) for key in MEASURES}
dearest = max(most, key=lambda key: most[key])
assert most["oldest", "mean"] <= 1.0  # not even one whole wait
assert most["open", "P99"] > most["oldest", "P99"]
assert most[dearest] < 0.5 * (B - 1)
Markdown(
    f"At none of these loads does the timer of the oldest add one whole wait to the *mean*: "
    f"{most['oldest', 'mean']:.2f} waits at most. That is not true of every timer and measure: the most that "
    f"was added is {most[dearest]:.2f} waits, to the {dearest[1]} by `{dearest[0]}`."
)

# %% [markdown]
# ## 8. "INT8: 4x memory, 2x speed, < 0.5 % accuracy"
#
# *Test:* of one network, which was measured as a network and as a service.
#
# - Memory: bytes of each of its weight matrices, of all of them, and of its file, before over after, to one
#   decimal, since scales take some bytes. Weights have a scale for each output.
# - Speed: the service by the bundled profiles, on one core, and the network alone by the same without the work
#   beside it; with the intervals that the timings give (of one run on one machine, not of another).
# - Accuracy: points lost on the test rows, from the rows whose answers changed, with the interval of a paired
#   difference.

# %%
measured = load_measured_quantization()
layers = [layer for layer in measured.layers if layer.granularity == "per channel"]
memory = {f"matrix {x.shape[0]} × {x.shape[1]}": x.memory_ratio for x in layers}
memory["all weights"] = measured.memory_ratio("per channel")
memory |= {f"{form.name} file": form.file_ratio for form in measured.forms}
before, after = load_profile("serve-mlp-cpu-fp32"), load_profile("serve-mlp-cpu-int8")


def service_ratios(one: ServiceProfile, other: ServiceProfile) -> list[float]:
    """Mean time of the one over that of the other, by batch size."""
    return [one.service_mean_s(size) / other.service_mean_s(size) for size in before.batch_sizes]


def network_ratios(one: ServiceProfile, other: ServiceProfile) -> list[float]:
    """The same without the work beside the network."""
    means_s = ([x.service_mean_s(size) - x.work_s(size) for size in before.batch_sizes] for x in (one, other))
    return [a / b for a, b in zip(*means_s, strict=True)]


def all_ratios(one: ServiceProfile, other: ServiceProfile) -> list[float]:
    """Those of the service, then those of the network."""
    return [*service_ratios(one, other), *network_ratios(one, other)]


found = sampling_intervals([before, after], all_ratios, seed=SEED)
speed = {
    "service": dict(zip(before.batch_sizes, found, strict=False)),
    "network": dict(zip(before.batch_sizes, found[len(before.batch_sizes) :], strict=True)),
}
lost = {form.name: form.accuracy_loss_points for form in measured.forms}
rows = measured.forms[0].test_rows
eight_bits = Row(
    claim="INT8: 4x memory, 2x speed, < 0.5 % accuracy",
    theory="a byte for four, and a scale of four bytes for each output: 4/(1 + 4/n) of n inputs; no law of "
    f"speed; one of {rows} test rows is {100.0 / rows:.2f} points",
    evidence="times less memory: "
    + numbers({name: f"{x:.2f}" for name, x in memory.items()})
    + "<br>times as fast: "
    + numbers(
        {f"{name}, batch {size}": shown(x) for name, by_size in speed.items() for size, x in by_size.items()}
    )
    + "<br>points of accuracy lost: "
    + numbers({name: shown(x, 2) for name, x in lost.items()}),
    verdict=verdict(
        {
            **grouped("memory", {name: round(x, 1) >= 4.0 for name, x in memory.items()}),
            **{
                case: found
                for name, by_size in speed.items()
                for case, found in grouped(
                    f"speed of the {name} at batch",
                    {str(size): inside(x, 2.0, inf) for size, x in by_size.items()},
                ).items()
            },
            **grouped("accuracy", {name: inside(x, -inf, 0.5) for name, x in lost.items()}),
        }
    ),
)
show(eight_bits)

# %% [markdown]
# ## 9. "N replicas: throughput × N, P50 unchanged, P99 better"
#
# In a stable queue the throughput *is* the arrival rate, whatever serves it; what N replicas may multiply is
# the rate that they can *sustain*.
#
# *Test:* for N = 2 and, where there is a law, N = 8.
#
# - Throughput: what exponential servers of 1 rps each answer while twice as much arrives as they can serve,
#   in ten runs of 100,000 requests. It must be N rps within 1 %. Beside fleets with a server to each
#   device it is asked of *two instances on one device*, which slow each other down as was measured of
#   FastPitch on an A100 (one user and two users at two instances; the source stands in `06_scaling_out`).
# - P50 and P99: servers at load 0.8 beside one server at load 0.8, behind each router. P50 must be the same
#   within 5 %, P99 at least 5 % lower. (At random each server is a queue of its own, whatever N is.)

# %%
ROUTERS = {
    "random": Routing.RANDOM,
    "round-robin": Routing.ROUND_ROBIN,
    "least-outstanding": Routing.LEAST_OUTSTANDING,
    "shared queue": Routing.SHARED_QUEUE,
}
server = ServiceProfile(name="server", timings=(BatchTiming(batch_size=1, mean_s=1.0),))
contention = from_sweep({1: 152.4, 2: 209.1})  # requests/s of one user and of two
shared_device = replace(server, instances_per_device=2, contention=contention)


def fleet(replicas: int, routing: Routing = Routing.ROUND_ROBIN) -> Plan:
    """Servers of one request at a time."""
    return Plan(profile=server.name, replicas=replicas, batch_size_max=1, routing=routing)


def answered_rps(profile: ServiceProfile, plan: Plan) -> Interval:
    """Answers per second while twice as many requests arrive as can be served."""
    workload = Workload(arrival_rate_rps=2.0 * plan.replicas)
    found = []
    for replication in range(10):
        draws = draw(workload, 100_000, Seed(value=SEED, replication=replication))
        run = kernel.run(plan, DurationTimes(EXPONENTIAL), draws, slowdowns=profile.slowdowns(plan.replicas))
        until_s = float(run.arrived_s[-1])
        found.append(np.count_nonzero(run.finished_s <= until_s) / until_s)
    return Estimate.of(found).interval(0.95)


SATURATED = {
    **{f"{n} {name}": (server, fleet(n, routing)) for n in (2, 8) for name, routing in ROUTERS.items()},
    "2 instances on one device": (shared_device, fleet(2)),
}
sustained = {
    name: sustainable_rate_rps(profile, plan) / sustainable_rate_rps(server, fleet(1))
    for name, (profile, plan) in SATURATED.items()
}
answered = {name: answered_rps(profile, plan) for name, (profile, plan) in SATURATED.items()}
times_n = {
    name: inside(x, 0.99 * plan.replicas, 1.01 * plan.replicas)
    for (name, (_, plan)), x in zip(SATURATED.items(), answered.values(), strict=True)
}
assert all(abs(x.value / sustained[name] - 1.0) < 0.01 for name, x in answered.items())
print(f"two instances on one device sustain {sustained['2 instances on one device']:.2f} times what one does")
# At twice the arrivals of one server at load 0.8 it has no steady state.
assert sustained["2 instances on one device"] < 2 * 0.8

# %%
alone = mm1(0.8, (P50, P99)).theory
FLEETS = {
    "2 random": agreement_fleets.random_split(2, 0.8, (P50, P99)),
    "2 round-robin": agreement_fleets.round_robin(2, 0.8, (P50, P99)),
    "2 least-outstanding": agreement_fleets.shortest_queue(0.8, (P50, P99)),
    "2 shared queue": mmc(2, 0.8, (P50, P99)),
    "8 round-robin": agreement_fleets.round_robin(8, 0.8, (P50, P99)),
    "8 shared queue": mmc(8, 0.8, (P50, P99)),
}
# What random routing leaves as it is takes more requests to tell from what is 5 % better.
budgets = dict.fromkeys(FLEETS, 10_000_000) | {"2 random": 80_000_000}
seen = {name: simulated(replace(one, compared=()), budgets[name]) for name, one in FLEETS.items()}
times = {name: one.theory.response_quantiles_s for name, one in FLEETS.items()}
one_p50_s, one_p99_s = (alone.response_quantiles_s[q].value for q in (P50, P99))
unchanged = {
    name: inside(x["response_p50_s"], 0.95 * one_p50_s, 1.05 * one_p50_s) for name, x in seen.items()
}
better = {name: inside(x["response_p99_s"], 0.0, 0.95 * one_p99_s) for name, x in seen.items()}
replicas = Row(
    claim="N replicas: throughput × N, P50 unchanged, P99 better",
    theory="sustained rate over that of one: "
    + numbers({name: f"{x:.3g}" for name, x in sustained.items()})
    + f"<br>P50 and P99 in service times: alone {one_p50_s:.3g} and {one_p99_s:.3g}"
    + numbers({name: f"{x[P50].value:.3g} and {x[P99].value:.3g}" for name, x in times.items()}),
    evidence="answered under overload [rps], where one serves 1: "
    + numbers({name: shown(x, 4) for name, x in answered.items()})
    + "<br>P50 and P99: "
    + numbers(
        {name: f"{shown(x['response_p50_s'])} and {shown(x['response_p99_s'])}" for name, x in seen.items()}
    ),
    verdict=verdict(
        {
            **grouped("throughput × N", times_n),
            **grouped("P50 unchanged", unchanged),
            **grouped("P99 better", better),
        }
    ),
)
assert all(x["response_p50_s"].high < one_p50_s for name, x in seen.items() if better[name])
assert not any(unchanged[name] and better[name] for name in seen)
show(replicas)

# %% [markdown]
# Under none of these routers do all three parts hold at once: what betters P99 betters P50 too. Two instances
# on one device fail at the first part already: at twice the arrivals they would have no steady state.
#
# ## 10. "100 users, 100 rps, P50 45 ms, P99 340 ms"
#
# A report of a load test. Each user sends, waits for the answer, thinks, and sends again; users, throughput
# and think time then fix the mean response time, by the interactive law.
#
# *Test:* whether the reported percentiles can belong to that mean, for think times of 0, 300 and 950 ms. That
# they can does not make the report true: it is then not contradicted, and no more. Beside it a simulation of
# 100 users at a server that manages 100 rps.


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
                shown(x[name].scaled(10.0), 4) for name in ("response_p50_s", "response_p99_s")
            )
            for z, x in seen.items()
        }
    ),
    verdict=verdict(
        {f"a think time of {1e3 * z:.0f} ms": r.credible for z, r in reports.items()},
        heads=("possible", "possible in part", "impossible"),
        words=("not contradicted", "contradicted"),
    ),
)
assert all(abs(100.0 * law[z] / x["response_p50_s"].value - 1.0) < 0.02 for z, x in seen.items())
show(load_test)

# %% [markdown]
# So the first thing to ask of such a report is the think time; without one it cannot be true. With a long
# enough one it is possible, which is not to say that it was so.
#
# ## 11. "P50 120 ms with P99 2 400 ms: what service mix does that?"
#
# P99 is twenty times P50 here. Behind one exponential server it is the same multiple of P50 at any load
# (below), and much less than twenty. A mix of many short and a few long requests does it, and not one mix
# only: with other shares of long requests other lengths do it as well.
#
# *Test:* one server at half load, 3 % of the requests long. A search over the exact law finds how many
# times as long they must be, and how long the short ones; a simulation of that mix must give both
# percentiles within 5 %.

# %%
SHARE_LONG, LOAD = 0.03, 0.5


def lengths_s(short_s: float, long_over_short: float, share_long: float = SHARE_LONG) -> tuple[float, ...]:
    """A hundred requests of two lengths. [s]"""
    count = round(share_long * 100)
    return (short_s,) * (100 - count) + (short_s * long_over_short,) * count


def mixed(short_s: float, long_over_short: float, share_long: float = SHARE_LONG) -> ServiceLaw:
    """Their law."""
    return from_samples(lengths_s(short_s, long_over_short, share_long))


def queue(law: ServiceLaw) -> MG1:
    """One server at the load."""
    return MG1(arrival_rate_rps=LOAD / law.mean_s, service=Empirical(law=law))


def tail_ratio(queue: MG1 | MM1) -> float:
    """P99 over P50."""
    return queue.response_quantile_s(P99) / queue.response_quantile_s(P50)


def lengths_that_fit(share_long: float) -> tuple[float, float]:
    """Length of the short requests [s], and how many times as long the long ones are."""
    wanted = 2.400 / 0.120
    times = brentq(lambda x: tail_ratio(queue(mixed(1.0, x, share_long))) - wanted, 2.0, 200.0, xtol=1e-3)
    return 0.120 / queue(mixed(1.0, times, share_long)).response_quantile_s(P50), times


short_s, long_over_short = lengths_that_fit(SHARE_LONG)
mix = mixed(short_s, long_over_short)
for share in (SHARE_LONG, 0.02, 0.05):
    one_s, times = lengths_that_fit(share)
    print(
        f"{percent(share)} long: {format_duration(one_s)} and {format_duration(one_s * times)}, "
        f"cv {mixed(one_s, times, share).scv ** 0.5:.2f}"
    )


# %%
def mix_system() -> System:
    """The mix as the simulator plays it."""
    timing = BatchTiming(batch_size=1, samples_s=lengths_s(short_s, long_over_short))
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
    evidence=f"that mix, simulated: P50 {shown(seen['response_p50_s'].scaled(1e3), 4)} ms, "
    f"P99 {shown(seen['response_p99_s'].scaled(1e3), 4)} ms",
    verdict=verdict(
        {
            "one exponential server": max(exponential) >= 2.400 / 0.120,
            f"a mix with {percent(SHARE_LONG)} long requests, one of many": both(
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
# * Trust laws of means whatever the distributions (L = λW), as long as λ, W and L are of the same requests
#   over the same time, and use them first: they find a load test that cannot be true.
# * Do not plan by a share of busy time. Ask what P99 your number of servers gives at your variability:
#   `capacity queue mmc`, or `02_utilization_curves`.
# * Take batch size, gain and knee from a profile of *your* model on *your* device (`capacity profile`),
#   never from a rule.
# * Set a batch timer by what it adds at your load to what you promise, mean or P99, and know which timer your
#   server has: `04_batching`.
# * Measure eight bits before you count on them: size, speed at your batch size, and accuracy each for
#   itself: `07_quantization`.
# * Choose the router before the number of replicas, and do not count instances of one device as replicas:
#   `06_scaling_out`.
# * Where P99 is many times P50, look for a mix of short and long requests before adding replicas.
