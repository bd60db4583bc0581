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
# # Theory and simulation: when is a P99 a P99?
#
# **The question.** A formula gives one P99, a simulation another, a load test a third. Which of them do you
# believe, and how many requests does it take before a simulated (or measured) P99 is worth printing?
#
# The P99 is the response time that 99 of 100 requests stay within. *Load* is the arrival rate over the
# largest rate that the server can sustain: at load 0.9 it has a tenth of its capacity to spare.
#
# Theory comes from `capacity.queues`, simulation from `simulations`; this notebook only puts the two side by
# side. Seeds are fixed, so that you get the same numbers.

# %%
import math
from itertools import count

import numpy as np
from scipy.stats import binom, binomtest

from capacity.errors import DomainError
from capacity.performance import Interval
from capacity.profile.load import load_profile
from capacity.question.plan import Plan, Routing
from capacity.question.stability import relaxation_requests
from capacity.queues.markov.mm1 import MM1
from capacity.render.plot import new_panels, new_plot
from capacity.search.exact import predict
from capacity.traffic.workload import Workload
from simulations.case import RELAXATIONS
from simulations.draws.arrivals import Seed
from simulations.replication import Task, replicate
from simulations.simulate import Simulation
from simulations.statistics.pool import Estimate, Pool
from simulations.statistics.sample import Length
from simulations.validation.fleets import bulk
from simulations.validation.laws import mm1, mmc

# %% [markdown]
# ## 1. Does the simulator obey the theory?
#
# A simulator is a program, and programs have bugs. So it is first held against queues whose law is known
# exactly. One replica with exponential service times (M/M/1 in the books), eight of them at one queue
# (M/M/8), and one that serves batches of up to 16, whose times were measured of ResNet-50 on a T4. Each
# `System` brings its exact law and the way the simulator plays it.


# %%
def task(system, length, seed, run, limits_s=()):
    """One run of a system."""
    return Task(
        plan=system.plan,
        workload=system.workload,
        service_times=system.service_times,
        request_overhead_s=0.0,
        length=length,
        seed=Seed(value=seed, replication=run),
        limits_s=limits_s,
    )


def samples(system, measured, runs, *, seed, is_cut=True, limits_s=()):
    """Independent runs that start empty; unless it is careless, the first requests of each do not count."""
    warm_up = math.ceil(RELAXATIONS * system.relaxation_requests) if is_cut else 0
    length = Length(warm_up=warm_up, measured=measured, cool_down=system.cool_down_requests)
    return [replicate(task(system, length, seed, run, limits_s)) for run in range(runs)]


def p99(runs):
    """P99 of all responses together, with its 95 % interval."""
    return Pool.of(runs).response_quantile(0.99).interval(0.95)


# %%
QUANTILES = (0.5, 0.99)
LOADS = (0.3, 0.5, 0.7, 0.8, 0.9)
RUNS, MEASURED = 20, 200_000
BUILDERS = {
    "M/M/1": lambda load, quantiles=QUANTILES: mm1(load, quantiles),
    "M/M/8": lambda load, quantiles=QUANTILES: mmc(8, load, quantiles),
    "batches up to 16": lambda load, quantiles=QUANTILES: bulk("resnet50-t4-fp16", 16, load, quantiles),
}


def in_services(system, seconds):
    """In mean service times of a request that is served alone."""
    return seconds / system.service_times.table(1).times_s[0]


def scaled(system, interval):
    """An interval in service times."""
    return interval.scaled(in_services(system, 1.0))


seeds = count(36)  # one for each point, so that points miss independently of each other
systems = {name: [build(load) for load in LOADS] for name, build in BUILDERS.items()}
found = {
    name: [
        p99(samples(one, MEASURED, RUNS, seed=next(seeds))) for one in column
    ]  # 4 million requests a point
    for name, column in systems.items()
}

# %%
fine = np.linspace(0.1, 0.93, 43)
agreement = new_plot(
    x_title="load",
    y_title="P99 response [services of one request]",
    title="Theory goes through the simulated points",
    y_log=True,
)
for number, (name, build) in enumerate(BUILDERS.items()):
    laws = [build(load) for load in fine]
    values = [in_services(law, law.theory.response_quantiles_s[0.99].value) for law in laws]
    agreement.theory(fine, values, name, number=number)
    points = [scaled(one, interval) for one, interval in zip(systems[name], found[name], strict=True)]
    agreement.simulated(LOADS, points, number=number)
agreement

# %%
within = 0
for name, column in systems.items():
    for load, system, interval in zip(LOADS, column, found[name], strict=True):
        exact = system.theory.response_quantiles_s[0.99].value
        within += interval.low <= exact <= interval.high
        shown = scaled(system, interval)
        print(
            f"{name:17} load {load:.1f}  exact {in_services(system, exact):7.3f}   "
            f"simulated {shown.value:7.3f} ({shown.low:.3f} to {shown.high:.3f})"
        )
points = len(LOADS) * len(BUILDERS)
print(f"{within} of {points} intervals hold the exact P99")
assert within >= points - 2  # 95 % intervals: one miss in twenty is expected, three in fifteen are rare

# %% [markdown]
# The lines are exact, the points are simulated, and nothing was fitted. A 95 % interval is allowed to miss
# once in twenty times; one that never missed would be too wide.
#
# Every point took the same number of requests. Yet the interval of M/M/1 grows with load until at load 0.9 it
# is many times as wide as at 0.3 (as a share of the P99):

# %%
widths = [interval.relative_half_width for interval in found["M/M/1"]]
for load, width in zip(LOADS, widths, strict=True):
    print(f"load {load:.1f}: ± {width:.2%}")
assert widths[-1] > 5.0 * widths[0]

# %% [markdown]
# ## 2. How many requests does a P99 need?
#
# A busy queue remembers. Whoever comes just after a slow request waits behind the same crowd, so late
# responses come in bursts and a thousand of them may tell as little as one. The *design effect* counts that:
# how many requests tell as much about the share beyond the P99 as one independent response would. For M/M/1
# it is known exactly (`MM1.design_effect`). For other queues it can be simulated.
#
# We let many independent runs count the share beyond the exact P99, and see how much more it scatters than
# independent responses would.


# %%
def design_effect(system, requests=20_000_000, runs_max=2_000):
    """Requests that tell as much of the share beyond P99 as one independent response, with its interval."""
    limit_s = system.theory.response_quantiles_s[0.99].value
    measured = math.ceil(100 * system.relaxation_requests) + 2_000
    runs = min(runs_max, requests // measured)
    counted = samples(system, measured, runs, seed=next(seeds), limits_s=(limit_s,))
    shares = np.array([run.responses.share_above(limit_s) for run in counted])
    return Estimate.of((shares - 0.01) ** 2 / binom.var(measured, 0.01) * measured**2).interval(0.95)


def exact_effect(load):
    """The same of M/M/1, by its law."""
    return MM1(arrival_rate_rps=load, service_rate_rps=1.0).design_effect(0.99)


HEAVY = {
    "M/M/1": (0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    "M/M/8": (0.5, 0.8, 0.9),
    "batches up to 16": (0.5, 0.8, 0.9),
}
effects = {
    name: {load: design_effect(BUILDERS[name](load)) for load in loads} for name, loads in HEAVY.items()
}

# %%
needs = new_plot(
    x_title="load",
    y_title="requests worth one independent response",
    title="A busy queue repeats itself",
    y_log=True,
)
loads = np.linspace(0.3, 0.96, 67)
needs.theory(loads, [exact_effect(load) for load in loads], "M/M/1, exact", number=0)
remembered = [relaxation_requests(load, 1, load, variability=2.0) for load in loads]
needs.theory(loads, remembered, "one relaxation time", number=3, dash=1)
for number, (name, by_load) in enumerate(effects.items()):
    needs.simulated(list(by_load), list(by_load.values()), name if number else "", number=number)
needs

# %%
for name, by_load in effects.items():
    for load, effect in by_load.items():
        known = f", exact {exact_effect(load):.1f}" if name == "M/M/1" else ""
        print(
            f"{name:17} load {load:.2f}: {effect.value:6.1f} ({effect.low:.1f} to {effect.high:.1f}) requests{known}"
        )
held = [effect.low <= exact_effect(load) <= effect.high for load, effect in effects["M/M/1"].items()]
print(f"{sum(held)} of {len(held)} intervals of M/M/1 hold the exact design effect")
assert sum(held) >= len(held) - 1
for load in (0.8, 0.9, 0.95):
    assert abs(relaxation_requests(load, 1, load, variability=2.0) / exact_effect(load) - 1.0) < 0.1
for load in (0.5, 0.8, 0.9):
    for name in ("M/M/8", "batches up to 16"):
        assert effects[name][load].high < exact_effect(load)

# %% [markdown]
# The intervals hold the exact law of M/M/1: 3.3 requests at load 0.3, 344 at load 0.9, 1450 at load 0.95.
# Eight servers at one queue, and batches, repeat themselves less at the same load, and there too the more the
# busier they are.
#
# The dashed line is `capacity.question.stability.relaxation_requests`: how many requests arrive while the queue forgets
# most of what it was like. From load 0.8 on it is within 10 % of the design effect of M/M/1: one relaxation
# time is worth one independent response. At light load it is too small, but there few requests are needed
# anyway. The simulator itself plans its runs by it.
#
# Now in requests. How many does a P99 of ± 2 % need, and how many would it need if responses were
# independent?

# %%
WANTED = 0.02


def independent_requests(build, load):
    """Requests that would do if responses were independent: the ranks around P99, carried over by the law."""
    tried = 100_000
    low, high = (float(rank) / tried for rank in binom.interval(0.95, tried, 0.99))
    quantiles_s = build(load, (low, 0.99, high)).theory.response_quantiles_s
    around = Interval(
        **{end: quantiles_s[q].value for end, q in (("low", low), ("value", 0.99), ("high", high))}
    )
    return tried * (around.relative_half_width / WANTED) ** 2  # widths fall with the root of the number


alone, needed = {}, {}
for name, by_load in effects.items():
    for load, effect in by_load.items():
        alone[name, load] = independent_requests(BUILDERS[name], load)
        needed[name, load] = effect.scaled(alone[name, load])
        print(
            f"{name:17} load {load:.2f}: {alone[name, load]:>8,.0f} independent ones, "
            f"{needed[name, load].value:>12,.0f} in a queue"
        )
        if name == "M/M/1":
            assert 40_000 < alone[name, load] < 50_000
assert needed["M/M/1", 0.9].low > 10_000_000
assert needed["M/M/1", 0.3].high < 250_000
assert needed["M/M/8", 0.9].low > 5_000_000
assert needed["batches up to 16", 0.9].high < 2_500_000

# %% [markdown]
# Of one exponential server fewer than fifty thousand independent responses would do, at any load: its response
# time is exponential at every load, and only longer. In its queue it takes, at load 0.3, fewer than a quarter
# of a million; at load 0.9, more than ten **million**. Eight servers at one queue still take more than five
# million at load 0.9, and batches, whose services do not vary, fewer than two and a half. A load test of a
# minute at 100 requests per second has six thousand. It cannot tell the P99 of a busy server to 2 %, however
# good the tool is.

# %% [markdown]
# ## 3. Three things that a careless simulation gets wrong
#
# ### The mean of the runs' P99s; and counting from the empty start
#
# Many short runs, the P99 of each, then the mean of these: it sounds harmless. So does counting from the
# first request on. Here are both, at load 0.9, beside pooled responses of runs whose beginning was cut off.
# Every point has the same number of counted requests.

# %%
LOAD, TOTAL = 0.9, 2_000_000
BUSY = mm1(LOAD, QUANTILES)
EXACT = BUSY.theory.response_quantiles_s[0.99].value
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


def mean_of_p99s(runs):
    """The careless way: P99 run by run, then the mean."""
    each = [run.responses.quantile_s(0.99) for run in runs]
    return Estimate.of(each).interval(0.95)


cut = [samples(BUSY, size, TOTAL // size, seed=36) for size in SIZES]
uncut = [samples(BUSY, size, TOTAL // size, seed=36, is_cut=False) for size in SIZES]
careful, averaged, from_empty = [p99(r) for r in cut], [mean_of_p99s(r) for r in cut], [p99(r) for r in uncut]

# %%
wrong = new_panels(
    ("mean of the runs' P99s", "no warm-up cut"),
    x_title="counted requests of one run",
    y_title="P99 response [services]",
    title=f"Short runs flatter (M/M/1 at load {LOAD})",
    x_log=True,
)
for plot, careless, what in zip(wrong.plots, (averaged, from_empty), ("averaged", "from empty"), strict=True):
    plot.limit(EXACT, "exact")
    plot.simulated(SIZES, careful, "cut, pooled", number=0)
    plot.simulated([1.12 * size for size in SIZES], careless, what, number=1)  # beside, so that both are seen
    plot.axes.set_ylim(25.0, 55.0)
wrong

# %%
print(f"exact {EXACT:.1f}")
for size, good, mean, empty in zip(SIZES, careful, averaged, from_empty, strict=True):
    cells = (f"{x.value:.1f} ({x.low:.1f} to {x.high:.1f})" for x in (good, mean, empty))
    print(
        f"runs of {size:>7,}: pooled and cut {next(cells)}, "
        f"mean of P99s {next(cells)}, from empty {next(cells)}"
    )
assert averaged[0].high < 0.7 * EXACT  # and its interval is sure of it
assert from_empty[0].high < EXACT
assert from_empty[-1].low <= EXACT <= from_empty[-1].high
assert RELAXATIONS == 10
assert careful[0].low <= EXACT <= careful[0].high

# %% [markdown]
# With runs of a thousand requests the mean of the P99s is more than 30 % too low, and its narrow interval is
# sure of the wrong number. More such runs would only make it surer. Most runs see no burst; the few that do
# hold nearly all late responses, and an average over *runs* counts each burst once instead of by its many
# requests. **Pool the responses, then take the quantile.**
#
# An empty start flatters for another reason: the first requests meet a queue that is not there yet. Runs of a
# hundred thousand hide it, short ones do not. **Cut ten relaxation times off the beginning**; what is left of
# the start then is of the order of exp(−10).
#
# ### The interval of the textbook
#
# For independent responses the interval of a quantile needs no more than the binomial law. It is what most
# tools print. We repeat a whole experiment 100 times, at load 0.7, and count how often its interval holds the
# exact P99.

# %%
EXPERIMENTS = 100
MILD = mm1(0.7, QUANTILES)
TRUE = MILD.theory.response_quantiles_s[0.99].value


def binomial_interval(runs):
    """The careless one: as if all responses were independent."""
    pool = Pool.of(runs)
    tally, count = pool.whole.responses, pool.counted
    low, high = (tally.quantile_s(rank / count) for rank in binom.interval(0.95, count, 0.99))
    return Interval(value=tally.quantile_s(0.99), low=low, high=high)


experiments = [samples(MILD, 8_000, 20, seed=1_000 + number) for number in range(EXPERIMENTS)]
intervals = {
    "by sections": [p99(runs) for runs in experiments],
    "binomial": [binomial_interval(runs) for runs in experiments],
}

# %%
SHOWN = 40
coverage = new_panels(
    ("by the scatter of sections", "binomial, as if independent"),
    x_title="experiment",
    y_title="P99 response [services]",
    title=f"The first {SHOWN} experiments: does the interval hold the exact value?",
)
for number, (plot, column) in enumerate(zip(coverage.plots, intervals.values(), strict=True)):
    plot.limit(TRUE, "exact")
    plot.simulated(range(1, SHOWN + 1), column[:SHOWN], number=number)
    plot.axes.set_ylim(13.0, 19.0)
coverage

# %%
shares = {}
for name, column in intervals.items():
    holding = sum(interval.low <= TRUE <= interval.high for interval in column)
    ends = binomtest(holding, EXPERIMENTS).proportion_ci(0.95)
    shares[name] = ends
    print(
        f"{name:12} {holding} of {EXPERIMENTS} hold it: "
        f"{holding / EXPERIMENTS:.0%} ({ends.low:.0%} to {ends.high:.0%})"
    )
assert shares["by sections"].low <= 0.95 <= shares["by sections"].high
assert shares["binomial"].high < 0.5

# %% [markdown]
# The binomial interval promises 95 % and holds the truth in fewer than half of the experiments: responses in
# a queue are not independent. (Here the experiments are independent of each other, so that counting *them* by
# the binomial law is right.) The interval by sections sees the bursts, since it is made from how much whole
# groups of runs differ.

# %% [markdown]
# ## 4. Where there is no theory
#
# Exact laws have conditions. `capacity.search.exact.predict` answers where one holds and otherwise refuses, and
# says what to do:

# %%
profile = load_profile("bert-large-384-l40s-fp16")
plan = Plan(profile=profile.name, replicas=2, batch_size_max=8, routing=Routing.SHARED_QUEUE)
workload = Workload(arrival_rate_rps=900.0)
refusal = ""
try:
    predict(profile, workload, plan)
except DomainError as error:
    refusal = str(error)
print(refusal)
assert "simulate instead" in refusal

# %%
answer = Simulation(seed=36, precision=0.02)(profile, workload, plan)
interval = answer.response_quantiles_s[0.99]
print(
    f"load {answer.load:.2f}: P99 {1e3 * interval.value:.1f} "
    f"({1e3 * interval.low:.1f} to {1e3 * interval.high:.1f}) ms"
)
assert interval.relative_half_width <= 0.02

# %% [markdown]
# `Simulation` does for you what this notebook did by hand: it cuts the start by the relaxation time, pools,
# takes its interval from sections, adds runs until the interval is as narrow as asked, and says
# "inconclusive" rather than print a number it cannot stand for.
#
# ## What to do
#
# - **A law holds exactly?** Take it: it is free of chance and done at once. `predict` and `capacity queue
#   ...` say so themselves.
# - **No law?** Simulate, with a simulator that was held against laws, and look at the interval before the
#   value.
# - **Never average P99s** – neither of runs nor of replicas nor of minutes on a dashboard. Pool the
#   responses, then take the quantile.
# - **Cut the start**, ten relaxation times of it. The busier the queue, the longer these are by themselves.
# - **Count requests before you trust a load test.** Multiply what independent responses would need by the
#   design effect of your queue and your load: at load 0.9 a P99 of ± 2 % takes more than ten million requests
#   of one exponential server, and fewer than two and a half million with the batches above. If you cannot have
#   them, ask for a lower percentile, or measure the *service* (which needs few) and let `capacity plan` compute
#   the P99.
