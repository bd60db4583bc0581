# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scaling out: what do N replicas do to P50 and P99?
#
# **The question.** One replica is not enough, so you start N of them behind a load balancer. Traffic grows by
# N, too. Does latency stay as it was, or does it get better? Does it matter which load balancer it is? And
# are two model instances on one GPU two replicas?
#
# P50 is the median response time, P99 what 99 of 100 requests stay within. *Load* is the arrival rate over
# the largest rate that the fleet can sustain.

# %%
import math
from dataclasses import replace

from capacity.errors import DomainError
from capacity.profile.contention import from_sweep, processor_sharing
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.scalability import fit
from capacity.question.plan import Plan, Routing
from capacity.question.stability import load, relaxation_requests, replicas_stable_min, sustainable_rate_rps
from capacity.queues.little import LittlesLaw
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.routing import RandomSplit, RoundRobin
from capacity.queues.shortest_queue import ShortestQueue
from capacity.queues.staffing import replicas_for_response
from capacity.render.plot import new_panels, new_plot
from capacity.search.exact import predict
from capacity.traffic.workload import ClosedPopulation, Workload
from simulations.case import RELAXATIONS
from simulations.draws.arrivals import Seed
from simulations.draws.service import ExponentialTimes
from simulations.replication import Task, replicate
from simulations.simulate import Simulation
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length
from simulations.validation.agreement import DEVIATION_MAX_SE

# %% [markdown]
# ## 1. The same load for each replica, one request at a time
#
# Each replica serves one request at a time and takes 10 ms on average (exponential, which is rather
# variable). Each gets 80 requests per second, load 0.8, whatever N is. The balancers:
#
# - **random**: any replica, by chance;
# - **round-robin**: one after the other;
# - **power-of-two**: looks at two replicas taken by chance, and takes the one with fewer requests;
# - **least-outstanding**: looks at all of them;
# - **shared-queue**: no replica has a queue of its own; whoever is free takes the oldest request.
#
# Random, round-robin and the shared queue have exact laws for any N, least-outstanding for two replicas,
# power-of-two one that is exact for ever more replicas. The rest is simulated.

# %%
SERVICE_RPS, RATE_EACH_RPS = 100.0, 80.0
SIZES = (1, 2, 4, 8, 16, 32, 64)
LAWS = {
    Routing.RANDOM: RandomSplit,
    Routing.ROUND_ROBIN: RoundRobin,
    Routing.POWER_OF_TWO: PowerOfChoices,
    Routing.LEAST_OUTSTANDING: ShortestQueue,
}


def law(routing, replicas, arrival_rate_rps):
    """The law of a fleet of replicas that serve one request at a time."""
    rates = {"arrival_rate_rps": arrival_rate_rps, "service_rate_rps": SERVICE_RPS}
    if routing is Routing.SHARED_QUEUE:
        return MMc(servers=replicas, **rates)
    return LAWS[routing](replicas=replicas, **rates)


def exact_ms(routing, quantile, sizes=SIZES):
    """Response quantiles by the size of the fleet."""
    return [1e3 * law(routing, n, n * RATE_EACH_RPS).response_quantile_s(quantile) for n in sizes]


def fleet(routing, replicas, measured=300_000, runs=20):
    """Simulated responses of a fleet: twenty runs whose start does not count."""
    rate_rps = replicas * RATE_EACH_RPS
    alone = MM1(arrival_rate_rps=RATE_EACH_RPS, service_rate_rps=SERVICE_RPS)
    relaxation = relaxation_requests(alone.utilization, replicas, rate_rps / SERVICE_RPS, variability=2.0)
    task = Task(
        plan=Plan(profile="exponential", replicas=replicas, batch_size_max=1, routing=routing),
        workload=Workload(arrival_rate_rps=rate_rps),
        service_times=ExponentialTimes(1.0 / SERVICE_RPS),
        request_overhead_s=0.0,
        length=Length(warm_up=math.ceil(RELAXATIONS * relaxation), measured=measured, cool_down=0),
        seed=Seed(value=6),
    )
    return Pool.of(replicate(replace(task, seed=Seed(value=6, replication=run))) for run in range(runs))


def in_ms(interval):
    """An interval in milliseconds."""
    return interval.scaled(1e3)


def written(interval):
    """A value with its interval."""
    return f"{interval.value:.1f} ({interval.low:.1f} to {interval.high:.1f})"


# %%
LOOKING = (Routing.POWER_OF_TWO, Routing.LEAST_OUTSTANDING)
CHECKED = (2, 8, 64)
simulated = {routing: {n: fleet(routing, n) for n in SIZES[1:]} for routing in LOOKING}
simulated[Routing.ROUND_ROBIN] = {n: fleet(Routing.ROUND_ROBIN, n) for n in CHECKED}


def found_ms(routing, quantile):
    """Simulated response quantiles by the size of the fleet."""
    return [in_ms(pool.response_quantile(quantile).interval(0.95)) for pool in simulated[routing].values()]


# %%
BLIND = (Routing.RANDOM, Routing.ROUND_ROBIN, Routing.SHARED_QUEUE)
scaling = new_panels(
    ("P50", "P99"),
    x_title="replicas",
    y_title="response [ms]",
    title="Load 0.8 on each replica: what more replicas do",
    x_log=True,
    y_log=True,
)
for plot, quantile in zip(scaling.plots, (0.5, 0.99), strict=True):
    for number, routing in enumerate(BLIND):
        plot.theory(SIZES, exact_ms(routing, quantile), routing.value, number=number)
    for number, routing in enumerate(LOOKING, start=len(BLIND)):
        plot.simulated(SIZES[1:], found_ms(routing, quantile), routing.value, number=number)
scaling

# %%
for routing in BLIND:
    p50, p99 = (exact_ms(routing, q) for q in (0.5, 0.99))
    print(
        f"{routing.value:18} exact      1 replica:  P50 {p50[0]:.1f} P99 {p99[0]:.1f} ms, "
        f"64: P50 {p50[-1]:.1f} P99 {p99[-1]:.1f} ms"
    )
for routing in LOOKING:
    p50, p99 = (found_ms(routing, q) for q in (0.5, 0.99))
    print(
        f"{routing.value:18} simulated  2 replicas: P50 {written(p50[0])} P99 {written(p99[0])} ms, "
        f"64: P50 {written(p50[-1])} P99 {written(p99[-1])} ms"
    )

# %%
same = exact_ms(Routing.RANDOM, 0.99)
assert max(same) - min(same) < 1e-9
turns = exact_ms(Routing.ROUND_ROBIN, 0.99)
assert turns[-1] < 0.6 * turns[0]
two, all_of_them = (found_ms(routing, 0.99) for routing in LOOKING)
assert two[-1].high < 0.36 * same[0]
assert two[-1].low > 1.3 * all_of_them[-1].high
for quantile, name in ((0.5, "P50"), (0.99, "P99")):
    served_ms = 1e3 * MM1(arrival_rate_rps=1e-6, service_rate_rps=SERVICE_RPS).response_quantile_s(quantile)
    one_ms, pooled_ms = exact_ms(Routing.RANDOM, quantile)[0], exact_ms(Routing.SHARED_QUEUE, quantile)[-1]
    least, power = (found_ms(routing, quantile)[-1] for routing in reversed(LOOKING))
    print(
        f"{name}: one replica {one_ms:.1f} ms, service alone {served_ms:.1f} ms; at 64, over service alone: shared "
        f"queue {pooled_ms / served_ms:.2f}, least-outstanding {least.value / served_ms:.2f}, "
        f"power-of-two {power.value / served_ms:.2f}"
    )
    for value_ms in (pooled_ms, least.high):
        assert value_ms < 0.25 * one_ms
        assert value_ms < 1.05 * served_ms

# %% [markdown]
# "Throughput times N, P50 unchanged, P99 better", says the usual lesson. Which of it is true depends on the
# balancer:
#
# - **Random changes nothing at all.** Each replica is a queue like the first one. P50 and P99 are the same
#   with 64 as with one.
# - **Round-robin** makes the arrivals of each replica more regular and takes more than 40 % off the P99 at
#   64.
# - **Looking at just two replicas** (of two replicas that is all of them) brings P99 to about a third, for two
#   questions asked a request, however many replicas there are.
# - **Looking at all, or one queue for all,** brings both P50 and P99 down to within 5 % of what a service
#   takes: less than a quarter of one replica's, and P50 is *not* unchanged.
#
# ### Are the points right?
#
# Where the simulated balancers have a law, it can be asked. Distances are in standard errors of the
# simulation; `simulations.validation.agreement`, by which the simulator is tested, allows four.

# %%
CHECKS = [
    *((Routing.ROUND_ROBIN, n) for n in CHECKED),
    (Routing.LEAST_OUTSTANDING, 2),
]
distances = []
for routing, n in CHECKS:
    estimate = simulated[routing][n].response_quantile(0.99)
    exact_s = law(routing, n, n * RATE_EACH_RPS).response_quantile_s(0.99)
    distances.append((estimate.value - exact_s) / estimate.standard_error)
    print(
        f"{routing.value:18} {n:2} replicas: exact {1e3 * exact_s:.1f}, "
        f"simulated {written(in_ms(estimate.interval(0.95)))} ms, {distances[-1]:+.1f} standard errors"
    )
assert max(map(abs, distances)) < DEVIATION_MAX_SE

# %%
limit_law = law(Routing.POWER_OF_TWO, 64, 64 * RATE_EACH_RPS)
limit = 1e3 * limit_law.response_quantile_s(0.99)
print(f"power-of-two, 64 replicas: limit for ever more {limit:.1f}, simulated {written(two[-1])} ms")
print(f"the limit may be too low by {limit_law.response_error_max:.1%} of the truth")
assert limit <= two[-1].high
assert two[-1].low * (1.0 - limit_law.response_error_max) <= limit

# %% [markdown]
# A 95 % interval may miss once in twenty times. All these runs share their random arrivals, so that they tend
# to miss together.

# %% [markdown]
# ## 2. What does it cost that each replica has a queue of its own?
#
# Now the other way round: a service of 10 ms, and a promise, P99 ≤ 80 ms. How many replicas does each rate
# take, by exact laws? The fleets that are merely stable are there for comparison.

# %%
PROMISE_S = 0.080
RATES_RPS = (50, 100, 200, 500, 1000, 2000, 4000)
ONE_BY_ONE = ServiceProfile(name="ten-ms", timings=(BatchTiming(batch_size=1, mean_s=1.0 / SERVICE_RPS),))


def replicas_needed(routing, rate_rps):
    """Fewest replicas that keep the promise."""
    return replicas_for_response(lambda n: law(routing, n, float(rate_rps)), 0.99, PROMISE_S)


needed = {routing: [replicas_needed(routing, rate) for rate in RATES_RPS] for routing in BLIND}
stable = [replicas_stable_min(ONE_BY_ONE, float(rate), batch_size_max=1) for rate in RATES_RPS]
print(f"{'rate [rps]':18}", *(f"{rate:5}" for rate in RATES_RPS))
print(f"{'merely stable':18}", *(f"{n:5}" for n in stable))
for routing, numbers in needed.items():
    print(f"{routing.value:18}", *(f"{n:5}" for n in numbers))

# %%
at = RATES_RPS.index(1000)
cost = new_plot(
    x_title="replicas",
    y_title="balancer",
    title="Replicas for 1000 rps at P99 ≤ 80 ms, service 10 ms (exact)",
    height=2.8,
)
cost.bars(
    [*(routing.value for routing in BLIND), "merely stable"],
    [*(needed[routing][at] for routing in BLIND), stable[at]],
)
cost

# %%
assert [needed[routing][at] for routing in BLIND] == [24, 16, 11]
assert stable[at] == 11
assert needed[Routing.SHARED_QUEUE][-1] == stable[-1] == 41
assert [numbers[0] for numbers in needed.values()] == [2, 2, 2]
saved = [apart / one for apart, one in zip(needed[Routing.RANDOM], needed[Routing.SHARED_QUEUE], strict=True)]
assert saved == sorted(saved)

# %% [markdown]
# At 1000 requests per second random routing takes 24 replicas, round-robin 16 and one shared queue 11, the
# fewest that are stable at all. At 4000 the shared queue still needs no more than the 41 that are merely
# stable. For a small service (50 requests per second) it makes no difference: two each. Pooling pays the more
# the larger the fleet.
#
# ## 3. And with batches?
#
# Model servers seldom serve one request at a time. Here are four replicas of ResNet-50 on a T4, batches up to
# 16, at two rates. Each batch takes the mean time that was measured for its size. Round-robin and random then
# have exact laws, the others are simulated to 1 %.

# %%
resnet = load_profile("resnet50-t4-fp16").of_means()
ASK = Simulation(seed=6, precision=0.01, quantiles=(0.5, 0.99))


def batched(routing, rate_rps):
    """Four replicas that serve batches: the exact law where there is one, else a simulation."""
    plan = Plan(profile=resnet.name, replicas=4, batch_size_max=16, routing=routing)
    workload = Workload(arrival_rate_rps=rate_rps)
    try:
        return predict(resnet, workload, plan)
    except DomainError:
        return ASK(resnet, workload, plan)


EVERY = (*BLIND, *LOOKING)
batches = {rate: {routing: batched(routing, rate) for routing in EVERY} for rate in (1600.0, 3200.0)}

# %%
for rate, answers in batches.items():
    print(f"{rate:.0f} rps, load {answers[Routing.RANDOM].load:.2f}")
    for routing, answer in answers.items():
        p50, p99 = (in_ms(answer.response_quantiles_s[q]) for q in (0.5, 0.99))
        print(
            f"  {routing.value:18} {answer.kind.value:10}"
            f" P50 {p50.value:5.2f} ({p50.low:.2f} to {p50.high:.2f})"
            f"  P99 {p99.value:5.2f} ({p99.low:.2f} to {p99.high:.2f}) ms"
        )

# %%
bars = new_panels(
    tuple(f"{rate:.0f} rps, load {answers[Routing.RANDOM].load:.2f}" for rate, answers in batches.items()),
    x_title="P99 response [ms]",
    y_title="balancer",
    title="Four replicas that serve batches: round-robin is hard to beat",
    height=3.2,
)
for plot, answers in zip(bars.plots, batches.values(), strict=True):
    ends = [in_ms(answer.response_quantiles_s[0.99]) for answer in answers.values()]
    plot.bars([r.value for r in answers], [end.value for end in ends], intervals=ends)
bars

# %%
for rate, answers in batches.items():
    p50s = {routing: answer.response_quantiles_s[0.5] for routing, answer in answers.items()}
    p99s = {routing: answer.response_quantiles_s[0.99] for routing, answer in answers.items()}
    cuts = {r: 1.0 - p99s[r].value / p99s[Routing.RANDOM].value for r in (Routing.ROUND_ROBIN, *LOOKING)}
    print(
        f"{rate:.0f} rps, P99 below that of random by", *(f"{r.value} {cut:.0%}" for r, cut in cuts.items())
    )
    assert all(p99s[routing].high < 0.8 * p99s[Routing.RANDOM].low for routing in cuts)
    best = p99s.pop(Routing.ROUND_ROBIN)
    assert all(best.high < other.low for other in p99s.values())  # of P99
    fastest = p50s.pop(Routing.SHARED_QUEUE)
    assert all(fastest.high < other.low for other in p50s.values())  # of P50
    assert p99s[Routing.RANDOM].low > 1.3 * best.high

# %% [markdown]
# With batches the order of the balancers changes. Round-robin has the lowest P99 of all five, at both rates.
# A balancer that looks counts *requests*, but what a request waits for is the end of a *batch*: a replica
# with few requests may have just begun one. The shared queue has the lowest P50 and not the lowest P99. Only
# random is bad everywhere, its P99 more than 30 % above that of round-robin.
#
# Looking at requests still helps: it takes more than a fifth off the P99 of random. But round-robin, which
# looks at nothing, takes off more. That is one profile, four replicas and constant batch times: which
# balancer is best is a property of your service, so simulate it with your own profile.
#
# ## 4. When N processors do less than N times the work
#
# Replicas that share nothing do N times the work. If they share something (a lock, a database, a memory bus),
# throughput grows less than linearly and may even fall. The *universal scalability law* has two numbers for
# it: **σ**, the share of the work that is done one at a time (contention), and **κ**, what it costs to keep
# each pair in agreement (coherency). With κ = 0 throughput only saturates; with κ > 0 it has a peak.
#
# Measured data, two sets as published with the R package `usl` (Gunther and Möding), from Gunther (2007),
# Guerrilla Capacity Planning:
#
# - a ray tracer on 1 to 64 *processors* of an SGI Origin 2000, ray-geometry intersections per second
#   (data set `raytracer`, from BRL-CAD's benchmark);
# - SPEC SDM91 on a SPARCcenter 2000 of 16 processors, scripts per hour by simulated *users* (data set
#   `specsdm91`). Here N counts users of one machine, not replicas; the law is the same.

# %%
RAYTRACER = {1: 20, 4: 78, 8: 130, 12: 170, 16: 190, 20: 200, 24: 210, 28: 230, 32: 260, 48: 280, 64: 310}
SDM91 = {1: 64.9, 18: 995.9, 36: 1652.4, 72: 1853.2, 108: 1828.9, 144: 1775.0, 216: 1702.2}
tracer, found = fit(RAYTRACER), fit(SDM91)


def linear(one, size):
    """What so many would do if they shared nothing."""
    shared_nothing = replace(one.law, sigma=0.0, kappa=0.0)
    return shared_nothing.throughput_rps(size)


# %%
usl = new_panels(
    ("a ray tracer by processors", "a machine of 16 processors by users"),
    x_title="processors N",
    y_title=("throughput [intersections/s]", "throughput [scripts/h]"),
    title="N processors, or users, do less than N times the work of one",
)
for plot, one, points, straight in zip(
    usl.plots, (tracer, found), (RAYTRACER, SDM91), (range(1, 16), range(1, 31)), strict=True
):
    sizes = range(1, max(points) + 1)
    plot.theory(sizes, [one.law.throughput_rps(n) for n in sizes], "fitted law", number=0)
    plot.theory(straight, [linear(one, n) for n in straight], "linear", number=1, dash=1)
    plot.measured(list(points), list(points.values()), "measured", number=2)
usl.plots[1].limit(found.law.peak, f"peak at {found.law.peak}", axis="x")
usl.plots[1].axes.set_xlabel("users N")
usl

# %%
for name, one in {"ray tracer": tracer, "SDM91": found}.items():
    print(name)
    for parameter, interval in one.intervals.items():
        print(f"  {parameter:20} {interval.value:.3g} ({interval.low:.3g} to {interval.high:.3g})")
    print(f"  at most {one.relative_error_max:.0%} off a measured point; doubts:", *(one.doubts or ["none"]))
gain = RAYTRACER[64] / RAYTRACER[1]
print(f"64 processors trace {gain:.1f} times what one does, {gain / 64:.0%} of 64 times")
print(f"by the fitted law no number of processors traces more than {tracer.law.knee:.1f} times what one does")
assert gain < 0.25 * 64
assert round(tracer.law.sigma, 2) == 0.06
assert tracer.intervals["sigma"].low > 0.03
assert tracer.intervals["kappa"].low == 0.0
assert tracer.law.knee < 20.0
assert len(tracer.doubts) == 1
assert found.intervals["kappa"].low > 0.0
assert found.relative_error_max < 0.10
assert found.law.peak == 93

# %% [markdown]
# By the fitted law some 6 % of the ray tracer's work is done one at a time. That is enough to make 64
# processors worth less than a quarter of 64, and no number of them worth 20. Whether κ is above 0 the data do
# not tell, and the fit says so: throughput may level off, or fall later. For the users of SDM91 the 95 %
# interval of κ lies above 0, so that the law has a peak: it puts it at 93 users, and beyond it throughput
# falls. It is up to 9 % off a point there, so it is a description and no more.
#
# How far may it be trusted beyond the data? Fit only what lies below the bend of SDM91, and ask for the next
# point:

# %%
few = fit({n: rate for n, rate in SDM91.items() if n <= 36})
print(f"72 predicted from up to 36: {few.throughput_rps(72):.0f}, measured {SDM91[72]:.0f}")
print("doubts:", *few.doubts, sep="\n - ")
too_far = ""
try:
    few.throughput_rps(144)
except DomainError as error:
    too_far = str(error)
print(too_far)
assert few.throughput_rps(72) > 1.2 * SDM91[72]
assert len(few.doubts) == 2
assert too_far

# %% [markdown]
# More than 20 % too good, and the fit had said so itself: too few sizes, and none beyond the knee. Beyond
# twice the largest size measured it answers nothing at all. **Measure past the bend.** And note what the law
# does not say: nothing about latency.
#
# ## 5. Two instances on one device
#
# A second model instance on the same GPU fills what the first leaves idle, and no more. NVIDIA published
# FastPitch on an A100: the time of a batch, and the throughput of 1 to 16 users at *two* instances of one GPU
# (DeepLearningExamples, commit 729963dd, PyTorch/SpeechSynthesis/FastPitch/triton/README.md). One and two
# users tell the slowdown when both are busy; the others test it.

# %%
fastpitch = ServiceProfile(
    name="fastpitch-a100-fp16",
    timings=tuple(
        BatchTiming(batch_size=size, mean_s=mean_s)
        for size, mean_s in {1: 0.006561, 2: 0.006703, 4: 0.007435, 8: 0.009482}.items()
    ),
)
MEASURED_RPS = {1: 152.4, 2: 209.1, 4: 268.8, 6: 381.2, 8: 480.5, 12: 642.4, 16: 775.8}
contention = from_sweep({users: MEASURED_RPS[users] for users in (1, 2)})
print(f"slowdown while both are busy: {contention.slowdown(2):.2f}")
ASSUMED = {
    "two devices": fastpitch,
    "measured slowdown": replace(fastpitch, instances_per_device=2, contention=contention),
    "processor sharing": replace(fastpitch, instances_per_device=2, contention=processor_sharing(2)),
}
assert 1.45 < contention.slowdown(2) < 1.47

# %%
ASK_USERS = Simulation(seed=6, precision=0.05, requests_max=1_000_000, quantiles=(0.5,))
TWO = Plan(profile=fastpitch.name, replicas=2, batch_size_max=8, routing=Routing.SHARED_QUEUE)


def of_users(profile, users):
    """Mean response of so many users who do not think."""
    answer = ASK_USERS(profile, ClosedPopulation(users=users, think_time_s=0.0), TWO)
    return in_ms(answer.intervals["response_mean_s"])


measured_ms = [
    1e3 * LittlesLaw.solve(arrival_rate_rps=rps, in_system_mean=users).response_mean_s
    for users, rps in MEASURED_RPS.items()
]
predicted_ms = {name: [of_users(one, users) for users in MEASURED_RPS] for name, one in ASSUMED.items()}

# %%
users = new_plot(
    x_title="users", y_title="mean response [ms]", title="Two instances on one GPU, measured and predicted"
)
for number, (name, intervals) in enumerate(predicted_ms.items()):
    users.simulated(list(MEASURED_RPS), intervals, name, number=number)
users.measured(list(MEASURED_RPS), measured_ms, "measured", number=6)
users

# %%
errors = {
    name: [interval.value / truth - 1.0 for interval, truth in zip(intervals, measured_ms, strict=True)][2:]
    for name, intervals in predicted_ms.items()
}
for name, values in errors.items():
    print(f"{name:18}", *(f"{value:+.0%}" for value in values), "of the measured mean, 4 to 16 users")
assert max(abs(value) for value in errors["measured slowdown"]) < 0.10
assert max(errors["two devices"]) < -0.20
assert min(errors["processor sharing"]) > 0.25

# %% [markdown]
# Taking the instances for two replicas promises responses that are at least 20 % too short. Processor sharing
# (two take twice as long each) is at least 25 % too slow. The slowdown of about 1.46, taken from two numbers,
# is within 10 % of all the others.
#
# What does the second instance do for the P99 of open traffic?

# %%
LATENCY = Simulation(seed=6, precision=0.02, quantiles=(0.5, 0.99), requests_max=20_000_000)


def open_p99_ms(profile, replicas, rate_rps):
    """P99 by round-robin: exact where there is a law, else simulated."""
    plan = Plan(profile=profile.name, replicas=replicas, batch_size_max=8)
    answer = predict if profile is fastpitch else LATENCY
    return in_ms(answer(profile, Workload(arrival_rate_rps=float(rate_rps)), plan).response_quantiles_s[0.99])


RISING_RPS = tuple(range(100, 801, 50))
FURTHER_RPS = (*RISING_RPS, 900, 1000)
alone = [open_p99_ms(fastpitch, 1, rate) for rate in RISING_RPS]
apart = [open_p99_ms(fastpitch, 2, rate) for rate in FURTHER_RPS]
together = [open_p99_ms(ASSUMED["measured slowdown"], 2, rate) for rate in FURTHER_RPS]

# %%
second = new_plot(
    x_title="arrival rate [requests/s]", y_title="P99 response [ms]", title="What a second instance is worth"
)
finely_rps = range(100, 801, 10)
second.theory(
    finely_rps, [open_p99_ms(fastpitch, 1, rate).value for rate in finely_rps], "one instance", number=0
)
second.theory(FURTHER_RPS, [x.value for x in apart], "two devices", number=2)
second.simulated(FURTHER_RPS, together, "two instances on one device", number=1)
second

# %%
FIRST = Plan(profile=fastpitch.name, replicas=1, batch_size_max=8)
print(f"one instance is stable below {sustainable_rate_rps(fastpitch, FIRST):.0f} rps")
for rate, one, shared, two_devices in zip(FURTHER_RPS, [*alone, None, None], together, apart, strict=True):
    first = "unstable" if one is None else f"{one.value:.1f}"
    print(
        f"{rate:4} rps, load {load(fastpitch, rate, FIRST):.2f} of one instance: one {first:>8}, "
        f"two on one device {written(shared)}, two devices {two_devices.value:.1f} ms"
    )
worse = [
    rate for rate, one, shared in zip(RISING_RPS, alone, together, strict=False) if shared.low > one.value
]
print("the second instance makes P99 worse at", worse)
assert worse == list(range(100, 601, 50))
later = RISING_RPS.index(650)
crossover = [load(fastpitch, rate, FIRST) for rate in (max(worse), RISING_RPS[later])]
print(f"it begins to pay between the loads {crossover[0]:.2f} and {crossover[1]:.2f} of one instance")
assert 0.70 < crossover[0] < 0.75 < crossover[1] < 0.80
assert all(shared.high < one.value for one, shared in zip(alone[later:], together[later:], strict=False))
assert all(two_devices.value < shared.low for two_devices, shared in zip(apart, together, strict=True))
assert all(two_devices.value < one.value for one, two_devices in zip(alone, apart, strict=False))

# %% [markdown]
# Up to 600 requests per second the second instance makes the P99 *worse*: it slows the batches of the first,
# which has room to spare by itself. From 650 on, about three quarters of what one instance can sustain, it
# pays, and beyond the limit of one it is needed. A second *device* is better at every rate, and costs twice
# as much.
#
# ## What to do
#
# - **One request at a time, many replicas:** do not route at random. One shared queue if you can,
#   least-outstanding if not, power-of-two where asking all is too much.
# - **Batches:** round-robin is a good start. It was best for one profile on four replicas with constant batch
#   times: simulate your own before anything cleverer, `capacity simulate --routing ...`.
# - **Do not multiply by N** if replicas share something: measure throughput past the bend, fit with `capacity
#   queue usl`, and read its doubts.
# - **Instances on one device are not replicas.** Measure one and two busy instances, put the two numbers into
#   the profile (`contention_throughputs_rps`), and plan with `--instances-per-device 2`. For this model: below
#   about three quarters of one instance's limit keep one, above them start the second.
