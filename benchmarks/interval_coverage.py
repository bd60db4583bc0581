"""Coverage: how often the 95 % interval of a P99 holds the exact value, over many independent experiments.

    python benchmarks/interval_coverage.py [--experiments 400] [--first 0] [--precision 0.02] [--system NAME]
    python benchmarks/interval_coverage.py --laws|--large [--experiments 400] ...

`--laws` takes six systems whose P50, P99 and mean are known exactly, and asks for all three; 400 experiments take about
27 CPU minutes (M/M/1 and M/H2/1 a third each), on 2 noisy cores on 2026-12-01. Exit 1 where a share lies outside 93 to
98 %.

`--large` asks for the same of nine large fleets, which begin at their fixed point; brute_fleet.c, from empty, tells
what is true. Intervals of means behind least-outstanding hold it more often: they have a bound of what the start
leaves.

On 2 noisy cores on 2026-12-01, `--large --first 1000 --precision 0.05`, `--experiments 200`, and 100 at load 0.95, took
10 CPU minutes. Fleets are named by their router, largest batch and load, all else in %: the shares covered; mean
half-widths; mean deviations from what 20 runs of 10 million requests tell (second table, ± its standard error). Chance
alone moves a share by 1.5 %, of 100 by 2.2 %. Two medians are held more often than 98 %, so that the exit is 1:

| 120 replicas | P50 | P99 | mean | width, P99 | deviation | width, mean | deviation | requests |
|---|---|---|---|---|---|---|---|---|
| power-of-two, 16, 0.90 | 93.5 | 94.5 | 93.0 | 0.65 | +0.037 ± 0.017 | 0.45 | +0.050 ± 0.016 | 1,426,580 |
| least-outstanding, 16, 0.90 | 99.5 | 96.5 | 100.0 | 0.28 | +0.014 ± 0.007 | 0.68 | +0.157 ± 0.011 | 3,915,680 |
| power-of-two, 32, 0.90 | 98.5 | 97.0 | 97.5 | 0.63 | +0.023 ± 0.019 | 0.43 | +0.042 ± 0.014 | 2,193,920 |
| least-outstanding, 32, 0.90 | 97.0 | 96.5 | 100.0 | 0.89 | +0.108 ± 0.018 | 0.68 | +0.136 ± 0.010 | 6,110,140 |
| power-of-two, 32, 0.95 | 97.0 | 98.0 | 95.0 | 0.65 | +0.034 ± 0.027 | 0.46 | +0.074 ± 0.023 | 11,185,640 |
| least-outstanding, 32, 0.95 | 95.0 | 96.0 | 99.0 | 0.81 | +0.077 ± 0.029 | 0.71 | +0.159 ± 0.018 | 16,137,200 |

Once the start behind power-of-two was fitted to runs, and at a shared queue, of 100 experiments each on the same day:

| 120 replicas | P50 | P99 | mean | width, P99 | deviation | width, mean | deviation | requests |
|---|---|---|---|---|---|---|---|---|
| power-of-two, 16, 0.90 | 94.0 | 94.0 | 94.0 | 0.63 | +0.025 ± 0.024 | 0.45 | +0.027 ± 0.022 | 1,402,320 |
| power-of-two, 32, 0.90 | 98.0 | 93.0 | 96.0 | 0.63 | -0.012 ± 0.027 | 0.44 | +0.014 ± 0.021 | 2,162,480 |
| power-of-two, 32, 0.95 | 97.0 | 97.0 | 96.0 | 0.66 | -0.009 ± 0.027 | 0.45 | +0.034 ± 0.023 | 11,100,160 |
| shared-queue, 16, 0.90 | 100.0 | 99.0 | 97.0 | 0.25 | -0.027 ± 0.008 | 0.49 | +0.022 ± 0.021 | 557,200 |
| shared-queue, 32, 0.90 | 97.0 | 99.0 | 97.0 | 0.15 | -0.019 ± 0.004 | 0.76 | +0.029 ± 0.035 | 848,200 |
| shared-queue, 32, 0.95 | 99.0 | 99.0 | 92.0 | 0.21 | +0.004 ± 0.007 | 0.77 | +0.032 ± 0.040 | 956,360 |

| 120 replicas | P99 | mean |
|---|---|---|
| power-of-two, 16, 0.90 | 22.6042 ms ± 0.023 % | 17.4802 ms ± 0.023 % |
| least-outstanding, 16, 0.90 | 22.5943 ms ± 0.021 % | 20.5128 ms ± 0.021 % |
| power-of-two, 32, 0.90 | 27.3550 ms ± 0.035 % | 21.3065 ms ± 0.029 % |
| least-outstanding, 32, 0.90 | 27.3960 ms ± 0.038 % | 25.0280 ms ± 0.029 % |
| power-of-two, 32, 0.95 | 35.6005 ms ± 0.076 % | 27.6376 ms ± 0.059 % |
| least-outstanding, 32, 0.95 | 36.1092 ms ± 0.120 % | 32.4222 ms ± 0.057 % |
| shared-queue, 16, 0.90 | 15.7602 ms ± 0.005 % | 13.0770 ms ± 0.013 % |
| shared-queue, 32, 0.90 | 29.2847 ms ± 0.002 % | 20.3334 ms ± 0.023 % |
| shared-queue, 32, 0.95 | 29.5457 ms ± 0.004 % | 23.9291 ms ± 0.029 % |

Each experiment is what `capacity simulate` does with a seed of its own and a budget that always suffices:
replications are added until the interval is as narrow as asked. Of 400 experiments at 95 %, chance alone
moves the share by 1.1 % (one standard error). Exit 1 where a share lies outside 93 to 97 %.

Of fleets under bursts brute_fleet.c tells the P99, request by request: of "2 replicas" from 400 million requests to
0.6 %, of "3 replicas" from 40 million to 0.1 %. On 2 noisy cores on 2026-11-30, `--precision 0.5 --first 1000`, which
ends at the first look that may accept, of 200 and 150 experiments:

| system | P99 | covered | mean half-width | mean deviation | requests, median |
|---|---|---|---|---|---|
| 3 replicas, bursts of 1.5 s at 2077 rps | 0.0138562 s | 97.0 % | 0.56 % | -0.014 ± 0.016 % | 438,700 |
| 2 replicas, bursts of 0.3 s at 2812 rps | 0.43996 s | 95.3 % | 5.99 % | -0.445 ± 0.23 % | 5,568,040 |

Users of a closed loop are compared with runs as long as a random walk among their queues would need. On 2 noisy cores
on 2026-12-01, `--system "400 users" --experiments 200 --precision 0.5 --first 1000`:

| system | P99 | covered | mean half-width | mean deviation | requests, median |
|---|---|---|---|---|---|
| 400 users, round-robin, batches up to 32 | 0.0390167 s | 94.0 % | 0.75 % | +0.057 ± 0.024 % | 1,880,680 |
| 400 users, random, batches up to 64 | 0.0546722 s | 95.5 % | 2.42 % | -0.193 ± 0.076 % | 589,880 |

Systems that begin with "800 samples" measure a profile of their own in each experiment, of batches that take 10 ms,
lognormal with sigma 0.1, and in 0.5, 1 or 1.5 % of cases 35 ms more. An answer without an upper end covers if its
lower end is below the truth. Exit 1 where a share lies outside 93 to 98 %, or more than 10 % have no upper end.
On 2 noisy cores on 2026-11-30, `--system "800 samples" --experiments 300 --precision 0.1`, of which chance alone moves
a share by 1.3 % (one standard error):

| system | P99 | covered | truth below | truth above | no upper end | half-width, median |
|---|---|---|---|---|---|---|
| 800 samples, 0.5 % pauses, load 0.0002 | 12.94 ms | 97.0 % | 1.0 % | 2.0 % | 0.0 % | 238.1 % |
| 800 samples, 1 % pauses, load 0.00021 | 42.56 ms | 95.3 % | 2.3 % | 2.3 % | 0.0 % | 124.3 % |
| 800 samples, 1.5 % pauses, load 0.00021 | 44.57 ms | 95.3 % | 1.7 % | 3.0 % | 0.0 % | 70.6 % |
| 800 samples, 0.5 % pauses, load 0.51 | 53.88 ms | 95.3 % | 1.3 % | 3.3 % | 0.0 % | 18.1 % |
| 800 samples, 1 % pauses, load 0.52 | 60.32 ms | 95.7 % | 2.0 % | 2.3 % | 0.0 % | 18.3 % |
| 800 samples, 1.5 % pauses, load 0.53 | 65.46 ms | 94.0 % | 3.3 % | 2.7 % | 0.0 % | 18.7 % |
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import brute_fleet
import numpy as np
from brute_found import Found
from brute_questions import bundled
from scipy.special import ndtr

from capacity.performance import Interval
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.objective import Measure
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.bulk import Bulk
from capacity.queues.durations import Duration, Family
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.law import Law
from capacity.queues.markov.mmc import MMc
from capacity.queues.numerics.tail import quantile_of
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, MmppArrivals, Workload
from simulations.cases.batch import BatchCase
from simulations.cases.batch_users import walk_requests
from simulations.draws.arrivals import Seed
from simulations.draws.records import Floats
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.looks import precise_look
from simulations.simulate import Simulation
from simulations.statistics.pool import SECTIONS, Pool
from simulations.statistics.relaxation import RELAXATIONS
from simulations.statistics.sample import Length

QUANTILE, CONFIDENCE, REQUESTS_MAX = 0.99, 0.95, 2_000_000_000
_LONG_RUN_PRECISION = 0.005  # much finer than the --precision that it judges
_LONG_RUN_REQUESTS = 2_000_000  # of each of twenty
ALLOWED = (0.93, 0.97)
# Intervals by samples may hold more than they say, as the number beyond a quantile is whole.
SAMPLED_MAX, ONE_SIDED_MAX = 0.98, 0.10
_MEASURED = "resnet50-t4-fp16"
SECOND = ServiceProfile(name="one-second", timings=(BatchTiming(batch_size=1, mean_s=1.0),))


# As variable as exponential service; the profile decides how long runs are.
_QUANTILES_S = tuple(-math.log1p(-(place + 0.5) / 2000) for place in range(2000))
VARIABLE = ServiceProfile(name="variable", timings=(BatchTiming(batch_size=1, samples_s=_QUANTILES_S),))


class ExponentialCase(BatchCase):
    """A case of exponential service of mean 1 s, which no profile can tell to the last digit."""

    @property
    def service_times(self) -> ServiceTimes:
        return ExponentialTimes(1.0)


@dataclass(frozen=True)
class System:
    """A queue whose P99 is known, exactly or from a run that is a hundred times as long."""

    name: str
    case: BatchCase
    exact: Callable[[], float]
    law: Law | Found | None = None


def of_laws() -> Iterator[System]:
    """Queues whose quantiles and mean are known exactly, one for each source of variation."""
    yield _single("M/M/1, load 0.9", 0.9, 1, ExponentialCase)
    yield _single("M/D/1, load 0.9", 0.9, 1, BatchCase)
    yield _hyperexponential("M/H2/1, load 0.7", 0.7, scv=4.0)
    yield _batching("greedy batches up to 16, load 0.7", 16, 0.7, 0.0)
    yield _batching("batches up to 16 that wait 2 ms, load 0.7", 16, 0.7, 0.002)
    yield _bursty("MMPP/M/1, load 0.6", 0.6, MmppArrivals(ratio=2.0, burst_mean_s=100.0, calm_mean_s=100.0))


def systems() -> Iterator[System]:
    yield _single("M/M/1, load 0.9", 0.9, 1, ExponentialCase)
    yield _single("M/M/8, load 0.8", 0.8, 8, ExponentialCase)
    yield _single("M/D/1, load 0.9", 0.9, 1, BatchCase)
    yield _bursty("MMPP/M/1, load 0.7", 0.7, MmppArrivals(ratio=2.0, burst_mean_s=100.0, calm_mean_s=100.0))
    slow = MmppArrivals(ratio=2.0, burst_mean_s=20_000.0, calm_mean_s=20_000.0)  # spells are cut
    yield _bursty("MMPP/M/1, load 0.6, slow", 0.6, slow)
    high = MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=60.0)  # load 1.37 in a burst
    yield _bursty("MMPP/M/1, load 0.6, overloaded", 0.6, high)
    rare = MmppArrivals(
        ratio=5.0, burst_mean_s=30.0, calm_mean_s=2_000.0
    )  # and 1.89, after which spells are cut
    yield _bursty("MMPP/M/1, load 0.4, rare", 0.4, rare)
    yield from (_fleet_in_bursts(*one) for one in _BURSTING)
    yield _batching("batches up to 16, load 0.8", 16, 0.8, 0.0)
    yield _batching("batches up to 8 that wait 4 ms, load 0.6", 8, 0.6, 0.004)
    yield from map(_in_spells, (5.0, 30.0, 200.0))
    yield _of_users(Routing.ROUND_ROBIN, 32)
    yield _of_users(Routing.RANDOM, 64)


def _batching(name: str, size: int, load: float, wait_s: float) -> System:
    """One replica whose batches take the mean times of a measured profile."""
    profile = load_profile(_MEASURED)
    times_s = tuple(profile.service_mean_s(batch) for batch in range(1, size + 1))
    rate_rps = load * size / times_s[-1]
    law = Bulk(arrival_rate_rps=rate_rps, batch_times_s=times_s, batch_wait_max_s=wait_s)
    timings = tuple(BatchTiming(batch_size=i + 1, mean_s=x) for i, x in enumerate(times_s))
    case = BatchCase(
        scenario=Scenario(
            profile=ServiceProfile(name="means", timings=timings),
            workload=Workload(arrival_rate_rps=rate_rps),
            plan=BatchPlan(profile="means", replicas=1, batch_size_max=size, batch_wait_max_s=wait_s),
            quantiles=(0.99,),
        )
    )
    return System(name=name, case=case, exact=lambda: law.response_quantile_s(QUANTILE), law=law)


def _bursty(name: str, load: float, arrivals: MmppArrivals) -> System:
    """MMPP/M/1 with services of 1 s."""
    law: Law = MMPPMc(
        arrival_rates_rps=arrivals.rates_rps(load),
        switch_rates_per_s=(1.0 / arrivals.burst_mean_s, 1.0 / arrivals.calm_mean_s),
        service_rate_rps=1.0,
        servers=1,
    )
    case = ExponentialCase(
        scenario=Scenario(
            profile=VARIABLE,
            workload=Workload(arrival_rate_rps=load, arrivals=arrivals),
            plan=BatchPlan(profile=VARIABLE.name, replicas=1, batch_size_max=1),
            quantiles=(0.99,),
        )
    )
    return System(name=name, case=case, exact=lambda: law.response_quantile_s(QUANTILE), law=law)


# Fleets of a measured profile: replicas, largest batch, arrival rate and bursts. Load 0.66 and 1.33 in a burst.
_BURSTING = (
    (3, 16, 900.0, MmppArrivals(ratio=3.0, burst_mean_s=1.5, calm_mean_s=8.5)),
    (2, 16, 900.0, MmppArrivals(ratio=5.0, burst_mean_s=0.3, calm_mean_s=1.7)),
)
# The run that gives the P99 of a fleet: runs, requests in each, and number of shares that a limit is cut into.
_BRUTE_RUNS, _BRUTE_REQUESTS, _BRUTE_CELLS = 100, 4_000_000, 4_000


def _fleet_in_bursts(replicas: int, size: int, rate_rps: float, arrivals: MmppArrivals) -> System:
    """A fleet of batches, whose P99 comes from the independent simulator, request by request and without strata."""
    plan = BatchPlan(profile=_MEASURED, replicas=replicas, batch_size_max=size)
    case, fleet = _by_both(plan, Workload(arrival_rate_rps=rate_rps, arrivals=arrivals))
    limits_s = np.geomspace(0.005, 5.0, _BRUTE_CELLS)
    found = Found(fleet, _BRUTE_RUNS, _BRUTE_REQUESTS // 40, _BRUTE_REQUESTS, limits_s)
    high_rps, _ = arrivals.rates_rps(rate_rps)
    name = f"{replicas} replicas of batches up to {size}, bursts of {arrivals.burst_mean_s:g} s at {high_rps:.0f} rps"
    return System(name=name, case=case, exact=partial(found.response_quantile_s, QUANTILE))


# Large fleets of that profile: largest batch and load; and the runs that give their figures, whose limits lie on both
# sides of P50 and P99.
_LARGE_REPLICAS, _LARGE = 120, ((16, 0.9), (32, 0.9), (32, 0.95))
_LARGE_ROUTINGS = (Routing.POWER_OF_TWO, Routing.LEAST_OUTSTANDING, Routing.SHARED_QUEUE)
_LARGE_RUNS, _LARGE_REQUESTS, _LARGE_LIMITS_S = 20, 10_000_000, np.geomspace(0.012, 0.06, 500)


def large_fleets() -> Iterator[System]:
    """Fleets that begin at their fixed point, whose figures come from runs of the independent simulator from empty."""
    profile = load_profile(_MEASURED)
    for (size, load), routing in product(_LARGE, _LARGE_ROUTINGS):
        rate_rps = load * _LARGE_REPLICAS * size / profile.service_mean_s(size)
        plan = BatchPlan(profile=_MEASURED, replicas=_LARGE_REPLICAS, batch_size_max=size, routing=routing)
        case, fleet = _by_both(plan, Workload(arrival_rate_rps=rate_rps))
        found = Found(fleet, _LARGE_RUNS, _LARGE_REQUESTS // 10, _LARGE_REQUESTS, _LARGE_LIMITS_S)
        name = f"{_LARGE_REPLICAS} replicas, {routing}, batches up to {size}, load {load:.2f}"
        yield System(name=name, case=case, exact=partial(found.response_quantile_s, QUANTILE), law=found)


def _by_both(plan: BatchPlan, workload: Workload) -> tuple[BatchCase, brute_fleet.Fleet]:
    """A fleet of a bundled profile, for the simulator and for the independent one."""
    arrivals, (_, service) = workload.arrivals, bundled(plan.profile)
    bursts = None
    if isinstance(arrivals, MmppArrivals):
        bursts = (arrivals.ratio, arrivals.burst_mean_s, arrivals.calm_mean_s)
    fleet = brute_fleet.Fleet(
        service=service,
        rate_rps=workload.arrival_rate_rps,
        replicas=plan.replicas,
        batch_size_max=plan.batch_size_max,
        routing=plan.routing.value,
        bursts=bursts,
    )
    profile = load_profile(plan.profile)
    scenario = Scenario(profile=profile, workload=workload, plan=plan, quantiles=(QUANTILE,))
    return BatchCase(scenario=scenario), fleet


def _in_spells(lasting_s: float) -> System:
    """Batches of one with a mean of 1 s, half as variable as exponential ones, half of that in spells."""
    samples_s = tuple(0.5 + 0.5 * x for x in _QUANTILES_S)
    profile = ServiceProfile(
        name="spells",
        timings=(BatchTiming(batch_size=1, samples_s=samples_s),),
        spells=Spells(share=0.5, lasting_s=lasting_s),
    )
    plan = BatchPlan(profile=profile.name, replicas=1, batch_size_max=1)
    case = BatchCase(
        scenario=Scenario(
            profile=profile, workload=Workload(arrival_rate_rps=0.7), plan=plan, quantiles=(0.99,)
        )
    )

    def long_run() -> float:
        look = precise_look(case, Seed(value=1_000_003), REQUESTS_MAX, _LONG_RUN_PRECISION, CONFIDENCE)
        return look.pool.response_quantile(QUANTILE).interval(CONFIDENCE).value

    return System(name=f"in spells of {lasting_s:g} s, load 0.7", case=case, exact=long_run)


def _of_users(routing: Routing, size: int) -> System:
    """Users of three replicas, beside runs as long as if their numbers there changed as by a random walk."""
    profile = load_profile(_MEASURED)
    plan = BatchPlan(profile=profile.name, replicas=3, batch_size_max=size, routing=routing)
    users = ClosedPopulation(users=400, think_time_s=0.1)
    case = BatchCase(scenario=Scenario(profile=profile, workload=users, plan=plan, quantiles=(QUANTILE,)))

    def long_runs() -> float:
        start = math.ceil(RELAXATIONS * walk_requests(case))
        length = Length(
            warm_up=start, measured=max(start, _LONG_RUN_REQUESTS), cool_down=case.length.cool_down
        )
        tasks = case.tasks(length, Seed(value=1_000_003), range(SECTIONS))
        return Pool.of(map(case.replicate, tasks)).response_quantile(QUANTILE).value

    return System(name=f"400 users, {routing}, batches up to {size}", case=case, exact=long_runs)


def _single(name: str, load: float, servers: int, kind: type[BatchCase]) -> System:
    """Requests one by one at a shared queue, of 1 s each on average."""
    rate = load * servers
    law = (
        MDc(arrival_rate_rps=rate, service_time_s=1.0, servers=servers)
        if kind is BatchCase
        else MMc(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers)
    )
    plan = BatchPlan(profile=SECOND.name, replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    profile = SECOND if kind is BatchCase else VARIABLE
    case = kind(
        scenario=Scenario(
            profile=profile, workload=Workload(arrival_rate_rps=rate), plan=plan, quantiles=(0.99,)
        )
    )
    return System(name=name, case=case, exact=lambda: law.response_quantile_s(QUANTILE), law=law)


def hyperexponential(scv: float) -> tuple[tuple[float, float], ...]:
    """Shares and means of two exponential laws with balanced means, together of mean 1 s. [1, s]"""
    branches = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=scv).branches
    return tuple((share, 0.5 / share) for share, _ in branches)


def _hyperexponential(name: str, load: float, scv: float) -> System:
    """Requests one by one whose service takes one of 2000 times, the quantiles of H2; so does the law's."""

    def later(time_s: float) -> float:
        return sum(share * math.exp(-time_s / mean_s) for share, mean_s in hyperexponential(scv))

    samples_s = tuple(quantile_of(later, (place + 0.5) / 2000, 1.0) for place in range(2000))
    profile = ServiceProfile(
        name="hyperexponential", timings=(BatchTiming(batch_size=1, samples_s=samples_s),)
    )
    rate_rps = load / profile.service_mean_s(1)
    law = MG1(arrival_rate_rps=rate_rps, service=Empirical(law=profile.law(1)))
    plan = BatchPlan(profile=profile.name, replicas=1, batch_size_max=1)
    scenario = Scenario(
        profile=profile, workload=Workload(arrival_rate_rps=rate_rps), plan=plan, quantiles=(QUANTILE,)
    )
    exact = partial(law.response_quantile_s, QUANTILE)
    return System(name=name, case=BatchCase(scenario=scenario), exact=exact, law=law)


def experiment(
    case: BatchCase, exact_s: float, number: int, precision: float
) -> tuple[bool, float, float, int]:
    """Whether the interval holds the exact value; its relative half-width; its deviation; requests."""
    look = precise_look(case, Seed(value=number), REQUESTS_MAX, precision, CONFIDENCE)
    interval = look.pool.response_quantile(QUANTILE).interval(CONFIDENCE)
    holds = interval.low <= exact_s <= interval.high
    return holds, interval.relative_half_width, interval.value / exact_s - 1.0, look.requests


@dataclass(frozen=True)
class Pausing:
    """A server of single requests that sometimes pauses, known by 800 samples of its service time.

    Attributes:
        rate_rps: rate of Poisson arrivals; so low that requests are alone, or about half of what the server sustains.
    """

    share: float
    rate_rps: float
    samples: int = 800
    pause_s: float = 0.035

    @property
    def name(self) -> str:
        load = self.rate_rps * (0.010 * math.exp(0.005) + self.share * self.pause_s)
        return f"800 samples, {100 * self.share:g} % pauses, load {load:.2g}"

    def exact(self) -> float:
        """P99 of the law itself, from 20,000 of its quantiles and a long run. [s]"""
        simulation = Simulation(seed=1_000_003, quantiles=(QUANTILE,), precision=_LONG_RUN_PRECISION)
        return self._p99(simulation, self.profile(self._quantiles_s(20_000))).value

    def interval(self, number: int, precision: float) -> Interval:
        """Interval of P99 from samples and random numbers of its own. [s]"""
        generator = np.random.default_rng(number)
        times_s = 0.010 * np.exp(0.1 * generator.standard_normal(self.samples))
        times_s += self.pause_s * (generator.random(self.samples) < self.share)
        simulation = Simulation(seed=number, quantiles=(QUANTILE,), precision=precision)
        return self._p99(simulation, self.profile(times_s))

    @staticmethod
    def profile(samples_s: Floats) -> ServiceProfile:
        timing = BatchTiming(batch_size=1, samples_s=tuple(samples_s.tolist()))
        return ServiceProfile(name="pausing", timings=(timing,))

    def _p99(self, simulation: Simulation, profile: ServiceProfile) -> Interval:
        plan = BatchPlan(profile=profile.name, replicas=1, batch_size_max=1)
        workload = Workload(arrival_rate_rps=self.rate_rps)
        performance = simulation(Scenario(profile=profile, workload=workload, plan=plan))
        return performance.response_quantiles_s[QUANTILE]

    def _quantiles_s(self, count: int) -> Floats:
        """Evenly spaced quantiles of the law, shape `(count,)`. [s]"""
        times_s = np.linspace(0.004, 0.080, 200_000)
        usual = ndtr(np.log(times_s / 0.010) / 0.1)
        paused = ndtr(np.log(np.maximum(times_s - self.pause_s, 1e-9) / 0.010) / 0.1)
        shares = (1.0 - self.share) * usual + self.share * paused
        return np.interp((np.arange(count) + 0.5) / count, shares, times_s)


def pausing() -> Iterator[Pausing]:
    """The server with lone requests, and about half busy."""
    for rate_rps in (0.02, 50.0):
        yield from (Pausing(share, rate_rps) for share in (0.005, 0.010, 0.015))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="seed of the first experiment")
    parser.add_argument("--precision", type=float, default=0.02)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--system", default="", help="one whose name begins so")
    parser.add_argument("--laws", action="store_true", help="P50, P99 and mean of six systems")
    parser.add_argument("--large", action="store_true", help="P50, P99 and mean of nine large fleets")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.workers) as executor:
        if options.laws or options.large:
            asked = of_laws() if options.laws else large_fleets()
            sys.exit(0 if known_laws(options, executor, asked) else 1)
        good = known_profiles(options, executor)
        good = sampled_profiles(options, executor) and good
    sys.exit(0 if good else 1)


def known_laws(options: argparse.Namespace, executor: Executor, asked: Iterator[System]) -> bool:
    """Print the table of systems with a law, or found by long runs; returns whether all shares are as they should be.

    A deviation and a half-width are shares of the true value.
    """
    print(
        "| system | P50 covered | P99 covered | mean covered | P99, half-width | P99, deviation | mean, half-width "
        "| mean, deviation | requests, median | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    good, errors = True, []
    for system in asked:
        if not system.name.startswith(options.system):
            continue
        exact = _exact_figures(system)
        errors += _errors(system)
        numbers, begun_s = range(options.first, options.first + options.experiments), time.process_time()
        looks = list(executor.map(partial(_figures, system.case, options.precision), numbers))
        columns = list(zip(exact, zip(*(figures for figures, _ in looks), strict=True), strict=True))
        shares = [np.mean([one.low <= exact_s <= one.high for one in column]) for exact_s, column in columns]
        # What a start may leave in a mean is a bound, within which nothing is known.
        most = (SAMPLED_MAX, SAMPLED_MAX, 1.0 if system.case.start_error else SAMPLED_MAX)
        good = good and all(ALLOWED[0] <= share <= top for share, top in zip(shares, most, strict=True))
        cells = (
            system.name,
            *(f"{100 * share:.1f} %" for share in shares),
            *_width_and_deviation(*columns[1]),
            *_width_and_deviation(*columns[2]),
            f"{np.median([requests for _, requests in looks]):,.0f}",
            f"{time.process_time() - begun_s:.0f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    print(*errors, sep="\n")
    return good


def _width_and_deviation(exact_s: float, intervals: Sequence[Interval]) -> tuple[str, str]:
    """Mean half-width, and mean deviation with its standard error, as shares of the exact value."""
    off = np.array([one.value / exact_s - 1.0 for one in intervals])
    error = float(off.std(ddof=1)) / math.sqrt(len(off))
    width = np.mean([one.relative_half_width for one in intervals])
    return f"{100 * width:.2f} %", f"{100 * off.mean():+.3f} ± {100 * error:.3f} %"


def _errors(system: System) -> list[str]:
    """What the figures of a system are that come from long runs, with their standard errors."""
    found = system.law
    if not isinstance(found, Found):
        return []
    p99, mean = found.response_quantile_s(QUANTILE), found.response_mean_s
    errors = f"{100 * found.quantile_error(QUANTILE):.3f} %", f"{100 * found.mean_error:.3f} %"
    runs = f"{found.runs} runs of {found.counted:,} requests"
    return [
        f"{system.name}: P99 {1e3 * p99:.4f} ms ± {errors[0]}, mean {1e3 * mean:.4f} ms ± {errors[1]}, of {runs}"
    ]


def _exact_figures(system: System) -> tuple[float, float, float]:
    """P50, P99 and mean of the response by the law. [s]"""
    law: Any = system.law
    return law.response_quantile_s(0.5), law.response_quantile_s(QUANTILE), law.response_mean_s


def _figures(
    case: BatchCase, precision: float, number: int
) -> tuple[tuple[Interval, Interval, Interval], int]:
    """Intervals of P50, P99 and mean of one experiment, and its requests."""
    look = precise_look(case, Seed(value=number), REQUESTS_MAX, precision, CONFIDENCE)
    median, late = (look.pool.response_quantile(q).interval(CONFIDENCE) for q in (0.5, QUANTILE))
    return (median, late, look.pool.mean(Measure.RESPONSE).interval(CONFIDENCE)), look.requests


def known_profiles(options: argparse.Namespace, executor: Executor) -> bool:
    """Print the table of systems whose profile has no error; returns whether all shares are as they should be."""
    chosen = [one for one in systems() if one.name.startswith(options.system)]
    if chosen:
        print("| system | exact P99 | covered | mean half-width | mean deviation | requests, median |")
        print("|---|---|---|---|---|---|")
    good = True
    for system in chosen:
        exact_s = system.exact()
        results = list(
            executor.map(
                lambda number, of=system.case, at_s=exact_s: experiment(of, at_s, number, options.precision),
                range(options.first, options.first + options.experiments),
            )
        )
        holds, widths, deviations, requests = (np.array(column) for column in zip(*results, strict=True))
        share = float(holds.mean())
        error = float(deviations.std(ddof=1)) / math.sqrt(len(results))
        good = good and ALLOWED[0] <= share <= ALLOWED[1]
        cells = (
            system.name,
            f"{exact_s:.6g} s",
            f"{100 * share:.1f} %",
            f"{100 * widths.mean():.2f} %",
            f"{100 * deviations.mean():+.3f} ± {100 * error:.3f} %",
            f"{np.median(requests):,.0f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    return good


def sampled_profiles(options: argparse.Namespace, executor: Executor) -> bool:
    """Print the table of systems known by samples of a profile; returns whether all shares are as they should be."""
    chosen = [one for one in pausing() if one.name.startswith(options.system)]
    if chosen:
        print("| system | P99 | covered | truth below | truth above | no upper end | half-width, median |")
        print("|---|---|---|---|---|---|---|")
    good = True
    for system in chosen:
        exact_s = system.exact()
        numbers = range(options.first, options.first + options.experiments)
        found = list(executor.map(lambda number, of=system: of.interval(number, options.precision), numbers))
        below, above = (
            np.mean([exact_s < one.low for one in found]),
            np.mean([exact_s > one.high for one in found]),
        )
        share, one_sided = 1.0 - below - above, np.mean([one.known_to is not None for one in found])
        good = good and ALLOWED[0] <= share <= SAMPLED_MAX and one_sided <= ONE_SIDED_MAX
        width = np.median([one.relative_half_width for one in found])
        shares = (f"{100 * one:.1f} %" for one in (share, below, above, one_sided, width))
        print(f"| {system.name} | {1e3 * exact_s:.4g} ms | {' | '.join(shares)} |", flush=True)
    return good


if __name__ == "__main__":
    main()
