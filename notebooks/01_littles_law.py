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
# # How many requests are in flight, and can these three numbers be true together?
#
# A dashboard shows a rate, a mean response time and a number of requests in flight. A load test reports
# users, throughput and latency. Little's law ties the three together: **L = λW**, the mean number in the
# system is the arrival rate times the mean time in the system. Two of the numbers give the third, and three
# numbers can be caught contradicting each other.
#
# The law is famous for needing no assumption about distributions. Here it is tested on simulated and on
# measured data, and then broken: by short windows, by a queue without a steady state, by lost requests. At
# the end stands the form that load generators obey, the *interactive law*.

# %%
from itertools import pairwise

import numpy as np

from capacity.errors import UnstableError
from capacity.performance import Interval
from capacity.question.plan import Plan, Routing
from capacity.queues.durations import Duration, Family
from capacity.queues.little import LittlesLaw, LoadTestReport
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
from capacity.render.plot import PALETTE, new_panels, new_plot
from capacity.traffic.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    Workload,
)
from simulations.draws.arrivals import Seed, draw
from simulations.kernel.serve import run
from simulations.replication import Task, replicate
from simulations.statistics.pool import Estimate, Pool
from simulations.statistics.sample import Length
from simulations.validation.laws import DurationTimes

# %% [markdown]
# ## The law as a function
#
# 40 requests per second that stay 100 ms each: how many are there at a time?

# %%
law = LittlesLaw.solve(arrival_rate_rps=40.0, response_mean_s=0.1)
print(f"in flight: {law.in_system_mean:g}")
assert law.in_system_mean == 4.0

# %% [markdown]
# Four. If the dashboard says 12 instead, then one of its three numbers is measured at another place, over
# another time, or of other requests than the other two.
#
# ## Does it need a distribution?
#
# Five services that have little in common: Poisson, metronome-like, irregular and bursty arrivals; service
# that is exponential, constant or has a heavy tail; one queue, several, and batches. Each serves 50,000
# requests and ends empty. L is found by *counting heads*: who is inside is counted at each arrival and
# departure, with no look at how long anybody stayed. W is found from the requests, with no look at how many
# were there.

# %%
SERVICE = Duration(family=Family.EXPONENTIAL, mean_s=0.1)
ONE_SERVER = Plan(profile="law", replicas=1, batch_size_max=1)


def records_of(plan, service, workload, requests, seed=1, replication=0):
    """Every request of one run."""
    draws = draw(workload, requests, Seed(value=seed, replication=replication))
    return run(plan, DurationTimes(service), draws)


class Heads:
    """Who is inside, counted at each arrival and each departure."""

    def __init__(self, arrived_s, finished_s):
        instants_s = np.concatenate([arrived_s, finished_s])
        steps = np.repeat([1, -1], [len(arrived_s), len(finished_s)])
        order = np.argsort(instants_s, kind="stable")
        self.instants_s = np.concatenate([[0.0], instants_s[order]])
        inside = np.concatenate([[0], np.cumsum(steps[order])])
        self.area = np.concatenate([[0.0], np.cumsum(inside[:-1] * np.diff(self.instants_s))])

    def mean(self, start_s, end_s):
        """Mean number inside between two instants."""
        area = np.interp(end_s, self.instants_s, self.area) - np.interp(start_s, self.instants_s, self.area)
        return area / (end_s - start_s)


# %%
FIXED = Duration(family=Family.DETERMINISTIC, mean_s=0.1)
HEAVY = Duration(family=Family.LOGNORMAL, mean_s=0.1, scv=9.0)
BRANCHES = Duration(family=Family.HYPEREXPONENTIAL, mean_s=0.1, scv=16.0)
BURSTS = MmppArrivals(ratio=10.0, burst_mean_s=5.0, calm_mean_s=20.0)
FOUR_AT_RANDOM = Plan(profile="law", replicas=4, batch_size_max=1, routing=Routing.RANDOM)
BATCHES = Plan(profile="law", replicas=1, batch_size_max=8, batch_wait_max_s=0.05)

services = {
    "Poisson, exponential, 1 server": (ONE_SERVER, SERVICE, Workload(arrival_rate_rps=8.0)),
    "metronome, lognormal, 1 server": (
        ONE_SERVER,
        HEAVY,
        Workload(arrival_rate_rps=8.0, arrivals=DeterministicArrivals()),
    ),
    "irregular, hyper-exponential, 4 at random": (
        FOUR_AT_RANDOM,
        BRANCHES,
        Workload(arrival_rate_rps=30.0, arrivals=GammaArrivals(cv=3.0)),
    ),
    "bursts, constant, 1 server": (ONE_SERVER, FIXED, Workload(arrival_rate_rps=6.0, arrivals=BURSTS)),
    "Poisson, constant, batches up to 8": (BATCHES, FIXED, Workload(arrival_rate_rps=60.0)),
}

print(f"{'':44}{'L counted':>12}{'λ [rps]':>10}{'W [s]':>10}{'λW':>10}")
for name, service in services.items():
    records = records_of(*service, requests=50_000)
    end_s = records.finished_s.max()
    counted = Heads(records.arrived_s, records.finished_s).mean(0.0, end_s)
    rate_rps, response_s = len(records.arrived_s) / end_s, records.response_s.mean()
    # Refuses three numbers that contradict each other by more than a billionth.
    LittlesLaw(arrival_rate_rps=rate_rps, response_mean_s=response_s, in_system_mean=counted)
    product = LittlesLaw.solve(arrival_rate_rps=rate_rps, response_mean_s=response_s).in_system_mean
    print(f"{name:44}{counted:12.4f}{rate_rps:10.4f}{response_s:10.4f}{product:10.4f}")

# %% [markdown]
# The two agree to nine digits, in every row. There is nothing statistical about it, and so no interval:
# between two empty moments the law is book-keeping. Each request adds the time it stays to the area under
# the head count, and the area does not care in which order, by which server or after which wait.
#
# So the claim holds: **L = λW needs no distribution**. What it does need is that both sides look at the
# same requests over the same time. The rest of this page is about what happens when they do not.
#
# ## What breaks it, 1: the edges of the window, and the start
#
# A measurement begins in the middle of something. Who was inside before it began is counted as a head, but
# is not among its arrivals; who is still inside at the end has arrived, but stays on beyond it. Below, one
# server at load 0.8 is watched through windows of growing length. Bars hold the middle 90 % of 100 windows:
# they show how far a *single* window may be off, and are no confidence interval.

# %%
records = records_of(ONE_SERVER, SERVICE, Workload(arrival_rate_rps=8.0), requests=420_000)
heads = Heads(records.arrived_s, records.finished_s)
stayed_s = np.concatenate([[0.0], np.cumsum(records.response_s)])


def counted_over_product(window_s, windows=100, begin_s=100.0):
    """L over λW in each of some windows that follow each other."""
    edges_s = begin_s + window_s * np.arange(windows + 1)
    first = np.searchsorted(records.arrived_s, edges_s)
    arrived = np.diff(first)
    counted = np.array([heads.mean(a, b) for a, b in pairwise(edges_s)])
    some = arrived > 0
    rate_rps, response_s = arrived[some] / window_s, np.diff(stayed_s[first])[some] / arrived[some]
    products = [
        LittlesLaw.solve(arrival_rate_rps=x, response_mean_s=y).in_system_mean
        for x, y in zip(rate_rps, response_s, strict=True)
    ]
    return counted[some] / products


windows_s = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
spreads = []
for window_s in windows_s:
    low, middle, high = np.quantile(counted_over_product(window_s), [0.05, 0.5, 0.95])
    spreads.append(Interval(value=middle, low=low, high=high))
    print(f"window of {window_s:5g} s: L is {middle:.3f} ({low:.3f} to {high:.3f}) times λW")

assert spreads[0].low < 0.55
assert spreads[0].high > 2.0
assert spreads[-1].low > 0.99
assert spreads[-1].high < 1.01
assert all(abs(spread.value - 1.0) < 0.1 for spread in spreads[3:])

# %% [markdown]
# In a window of one second, which holds about eight requests, L can be half of λW or twice as much. Of
# windows of 500 s nine in ten agree within 1 %. What is wrong at the edges comes from those who are inside at
# two moments; what is right grows with the window.
#
# The start of a service is another matter. From an empty start the law holds as well as ever, but what it
# holds *for* is a system that is still filling up. Here one server at load 0.9 is started empty 400 times,
# and L is averaged from the start on.

# %%
steady = MMc(arrival_rate_rps=9.0, service_rate_rps=10.0, servers=1).in_system_mean


def interval_of(values):
    """95 % interval of the mean of independent runs."""
    return Estimate.of(values).interval(0.95)


horizons_s = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
starts = [
    records_of(
        ONE_SERVER, SERVICE, Workload(arrival_rate_rps=9.0), requests=3_600, seed=2, replication=number
    )
    for number in range(400)
]
filling = [
    interval_of([Heads(start.arrived_s, start.finished_s).mean(0.0, horizon_s) for start in starts])
    for horizon_s in horizons_s
]
for horizon_s, seen in zip(horizons_s, filling, strict=True):
    print(
        f"first {horizon_s:4g} s: L = {seen.value:.2f} ({seen.low:.2f} to {seen.high:.2f}), "
        f"steady {steady:.2f}"
    )

assert round(steady, 6) == 9.0
assert filling[2].high < 0.6 * steady
assert filling[-1].high < steady

# %%
panels = new_panels(
    ["L over λW in one window (bar: 90 % of windows), load 0.8", "L so far from an empty start, load 0.9"],
    x_title="length of the window [s]",
    y_title=("L over λW", "mean number in the system L [requests]"),
    title="What a short measurement makes of Little's law",
    x_log=True,
)
edges, start = panels.plots
lows, highs = [spread.low for spread in spreads], [spread.high for spread in spreads]
edges.axes.vlines(windows_s, lows, highs, color=PALETTE[0], linewidth=5.0)
edges.axes.set_ylim(0.0, 2.7)
edges.limit(1.0, "L = λW")
start.simulated(horizons_s, filling, number=1)
start.limit(steady, "steady state")
start.axes.set_ylim(0.0, 10.5)
panels

# %% [markdown]
# After ten seconds, a hundred service times, the average is not yet 60 % of the steady state's 9, and after
# five minutes it is still below it. A benchmark that starts with an empty queue and averages from its first
# request reports a better system than the one that will be run. That is why `capacity` cuts the beginning
# off every simulation, and why a load test should.
#
# ## What breaks it, 2: a queue without a steady state
#
# 12 requests per second at a server that manages 10. Theory refuses to answer:

# %%
try:
    MMc(arrival_rate_rps=12.0, service_rate_rps=10.0, servers=1)
except UnstableError as refusal:
    print(refusal)

# %% [markdown]
# A measurement does not refuse: it returns numbers. Below is what an observer notes at the end of a window:
# heads counted, requests answered per second, and their mean response time.


# %%
def overloaded(window_s, replication):
    """L counted, and λW with the answers of the window for λ and W."""
    records = records_of(
        ONE_SERVER, SERVICE, Workload(arrival_rate_rps=12.0), requests=20_000, seed=3, replication=replication
    )
    answered = records.finished_s <= window_s
    product = LittlesLaw.solve(
        arrival_rate_rps=answered.sum() / window_s, response_mean_s=records.response_s[answered].mean()
    ).in_system_mean
    return Heads(records.arrived_s, records.finished_s).mean(0.0, window_s), product


growing, ratios = {}, {}
for window_s in (125.0, 250.0, 500.0, 1000.0):
    pairs = np.array([overloaded(window_s, number) for number in range(40)])
    growing[window_s] = seen = interval_of(pairs[:, 0])
    ratios[window_s] = ratio = interval_of(pairs[:, 1] / pairs[:, 0])
    print(
        f"after {window_s:5g} s: L = {seen.value:5.1f} ({seen.low:5.1f} to {seen.high:5.1f}), "
        f"answered rps × mean response = {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) times that"
    )

assert growing[1000.0].low > 3.0 * growing[250.0].high
assert ratios[1000.0].high < 0.9
assert abs(ratios[1000.0].value - ratios[250.0].value) < 0.05

# %% [markdown]
# Two things are broken. L has no value: it is several times as large after 1000 s as after 250 s, so that
# it tells how long somebody looked, and nothing of the service. And the product is too small by more than a
# tenth *however long the window*, because the requests that still wait are the slow ones, and they are not
# among the answers. In a stable queue patience mends the edges; here nothing does. **A mean response time
# of an overloaded service is a number of the stopwatch.**
#
# ## What breaks it, 3: lost requests
#
# Two servers with four waiting places, and more requests than they can serve: who finds no place is turned
# away.

# %%
OFFERED_RPS = 24.0
lossy = MMcK(arrival_rate_rps=OFFERED_RPS, service_rate_rps=10.0, servers=2, capacity=6)
FULL = Plan(profile="law", replicas=2, batch_size_max=1, routing=Routing.SHARED_QUEUE, queue_limit=4)


def seen_with_losses(replication):
    """L counted, λ offered, λ accepted and W of the served."""
    workload = Workload(arrival_rate_rps=OFFERED_RPS)
    records = records_of(FULL, SERVICE, workload, requests=20_000, seed=4, replication=replication)
    served = ~records.is_lost
    end_s = records.finished_s[served].max()
    counted = Heads(records.arrived_s[served], records.finished_s[served]).mean(0.0, end_s)
    return counted, len(served) / end_s, served.sum() / end_s, records.response_s[served].mean()


counted, offered_rps, accepted_rps, response_s = np.array([seen_with_losses(n) for n in range(20)]).T
rows = {
    "L, counted": (interval_of(counted), lossy.in_system_mean),
    "λ offered × W": (interval_of(offered_rps * response_s), lossy.arrival_rate_rps * lossy.response_mean_s),
    "λ accepted × W": (interval_of(accepted_rps * response_s), lossy.throughput_rps * lossy.response_mean_s),
}
for name, (seen, theory) in rows.items():
    print(f"{name:16} simulated {seen.value:.3f} ({seen.low:.3f} to {seen.high:.3f})   theory {theory:.3f}")
print(f"lost: {lossy.loss_probability:.1%}")

assert np.allclose(counted, accepted_rps * response_s, rtol=1e-9, atol=0.0)
assert rows["λ offered × W"][0].low > 1.2 * rows["L, counted"][0].high
assert 0.2 < lossy.loss_probability < 0.3

# %% [markdown]
# With the *offered* rate the product is too large by more than a fifth; with the *accepted* rate the law
# holds to nine digits again. More than a fifth of the requests are turned away, and they have no response
# time. The λ of the law is the rate of those whose W was measured. A dashboard that shows the load
# balancer's request rate beside the server's latency breaks it.
#
# ## On measured data
#
# Load tests that somebody else ran and published: a model under a fixed number of concurrent requests, each
# of which is sent anew as soon as it is answered. So L is known beforehand: it is the concurrency. Each
# request carries 16 inferences, and throughput was published in inferences.
#
# Source: NVIDIA DeepLearningExamples (Apache-2.0), Temporal Fusion Transformer (traffic on A100 80 GB with
# TensorRT, and electricity on T4 with PyTorch), `PyTorch/Forecasting/TFT/triton/README.md` at commit
# 729963dd, lines 1588 and 1935.

# %%
INFERENCES_PER_REQUEST = 16
# Concurrency, inferences per second, mean latency [ms].
published = {
    "A100, TensorRT": [(8, 18816, 6.8), (40, 27971.5, 22.6), (72, 33680, 33.7), (104, 35536, 46.4),
                       (136, 37424, 57.1), (168, 35456, 73.8), (200, 37424, 81.6), (232, 40944, 87.0)],
    "T4, PyTorch": [(8, 3264, 38.5), (40, 3801.6, 163.4), (72, 3769.4, 288.8), (104, 3710.4, 417.4),
                    (136, 3716.8, 535.2), (168, 3206.4, 657.9), (200, 3579.2, 788.3), (232, 3371.2, 900.9)],
}  # fmt: skip

reports = {
    name: [
        LoadTestReport(
            users=users,
            think_time_s=0.0,
            throughput_rps=inferences / INFERENCES_PER_REQUEST,
            response_mean_s=latency_ms / 1e3,
        )
        for users, inferences, latency_ms in rows
    ]
    for name, rows in published.items()
}
in_flight = {
    name: [
        LittlesLaw.solve(arrival_rate_rps=x.throughput_rps, response_mean_s=x.response_mean_s).in_system_mean
        for x in tests
    ]
    for name, tests in reports.items()
}
outside_s = {
    name: [test.required_response_mean_s - test.response_mean_s for test in tests]
    for name, tests in reports.items()
}
for name, tests in reports.items():
    for test, product, missing_s in zip(tests, in_flight[name], outside_s[name], strict=True):
        verdict = "" if test.credible else f"   {test.reason}"
        print(
            f"{name:15} L = {test.users:3}   XW = {product:6.1f}   {product / test.users:.2f}   "
            f"N/X - R = {1e3 * missing_s:5.1f} ms{verdict}"
        )

shares = {
    name: [product / test.users for test, product in zip(reports[name], in_flight[name], strict=True)]
    for name in reports
}
assert max(max(column) for column in shares.values()) <= 1.0
assert min(min(column) for column in outside_s.values()) >= 0.0
for column in shares.values():
    assert max(column[-3:]) < min(column[:3])
assert all(test.credible for test in reports["A100, TensorRT"])
assert sum(not test.credible for test in reports["T4, PyTorch"]) >= 3
assert reports["T4, PyTorch"][0].credible

# %%
plot = new_plot(
    x_title="L: requests in flight, as the test was set",
    y_title="λW: throughput × mean latency",
    title="Little's law on sixteen published load tests",
)
plot.theory([0.0, 232.0], [0.0, 232.0], "L = λW", number=0)
for number, (name, tests) in enumerate(reports.items(), start=1):
    plot.measured([test.users for test in tests], in_flight[name], name, number=number)
plot

# %% [markdown]
# Every A100 test keeps the law to within the 10 % that `LoadTestReport` allows; the slower T4 keeps it at
# low concurrency, and at high concurrency misses it by more than that. The law cannot be wrong about all
# requests of a long test. So of a row's three numbers not all can be right as they are read here: the
# throughput, the latency, and a number in flight that was the concurrency all the time. Three causes are
# possible:
#
# 1. throughput and latency were not taken over the same requests;
# 2. the time was too short for responses that approach a second;
# 3. each slot of the load generator spent time *outside the measured latency*, between an answer and the next
#    request. Then throughput and latency are both right, and fewer requests were in flight than was set.
#
# The table does not tell which. But all sixteen products are at or below L, never above, and fall behind it as
# the concurrency rises, on both machines. That is the mark of the third: a time Z per loop that is not in W.
# The last column is what it would have to be, and the next section is about it.
#
# ## The interactive law: what a load generator can show
#
# Users who think between requests are counted in two places: in the system, and thinking. Little's law of
# the whole loop says N = X (R + Z): users are throughput times response and think time together. `Closed`
# knows more, the exact means of exponential servers, and the two asymptotes that no closed test can cross.
# Users who think 1 s on average, two servers of 10 rps each:

# %%
THINK_S, SERVERS = 1.0, 2


def closed(users):
    """Exact law of so many users."""
    return Closed(users=users, think_time_s=THINK_S, service_time_s=SERVICE.mean_s, servers=SERVERS)


def simulated_users(users):
    """20 independent runs of so many users."""
    plan = Plan(profile="law", replicas=SERVERS, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    length = Length(warm_up=4_000, measured=20_000, cool_down=1_000)
    tasks = [
        Task(
            plan=plan,
            workload=ClosedPopulation(users=users, think_time_s=THINK_S),
            service_times=DurationTimes(SERVICE),
            request_overhead_s=0.0,
            length=length,
            seed=Seed(value=5, replication=number),
        )
        for number in range(20)
    ]
    return Pool.of(map(replicate, tasks))


populations = [1, 5, 10, 15, 20, 25, 30, 40, 50]
pools = [simulated_users(users) for users in populations]
throughputs = [pool.ratio(lambda x: x.counted, lambda x: x.window_s).interval(0.95) for pool in pools]
responses = [pool.response_mean.interval(0.95) for pool in pools]
for users, x, r in zip(populations, throughputs, responses, strict=True):
    exact = closed(users)
    back = LoadTestReport(users=users, think_time_s=THINK_S, throughput_rps=x.value)
    print(
        f"{users:2} users: X = {x.value:6.3f} ({x.low:6.3f} to {x.high:6.3f}), "
        f"exact {exact.throughput_rps:6.3f};   "
        f"R = {r.value:.4f} ({r.low:.4f} to {r.high:.4f}), exact {exact.response_mean_s:.4f}, "
        f"from N, X and Z {back.required_response_mean_s:.3f}"
    )
saturation = closed(1).saturation_users
print(f"the asymptotes meet at {saturation:g} users")
assert round(saturation, 9) == 22.0

# %%
panels = new_panels(
    ["throughput X (dashed: asymptotes)", "mean response time R (dashed: asymptotes)"],
    x_title="users N",
    y_title=("throughput X [rps]", "mean response time R [s]"),
    title="A closed load test: think time 1 s, 2 servers of 10 rps",
)
users = list(range(1, 51))
throughput, response = panels.plots
throughput.theory(users, [closed(n).throughput_rps for n in users], "exact", number=0)
throughput.theory(users, [closed(n).throughput_max_rps for n in users], number=2, dash=1)
throughput.simulated(populations, throughputs, number=1)
response.theory(users, [closed(n).response_mean_s for n in users], "exact", number=0)
response.theory(users, [closed(n).response_min_s for n in users], number=2, dash=1)
response.simulated(populations, responses, number=1)
for plot in panels.plots:
    plot.limit(saturation, "asymptotes meet", axis="x")
panels

# %%
for fewer, more in ((20, 25), (25, 30), (30, 40), (40, 50)):
    before, after = closed(fewer), closed(more)
    print(
        f"from {fewer} to {more} users X grows by {after.throughput_rps / before.throughput_rps - 1.0:.1%} "
        f"and R by {after.response_mean_s - before.response_mean_s:.2f} s"
    )
assert closed(25).throughput_rps > 1.1 * closed(20).throughput_rps
assert closed(50).throughput_rps < 1.001 * closed(40).throughput_rps
assert round(closed(50).response_mean_s - closed(40).response_mean_s, 2) == 0.5

# %% [markdown]
# The knee of a closed test is where the asymptotes meet, at 22 users here. Around it throughput bends; well
# beyond it each further user adds nothing but waiting: from 40 to 50 users throughput stays the same, and
# the response grows by half a second, which is ten users more at 20 rps. No load makes this test unstable:
# 50 users can have no more than 50 requests in flight. That is also its weakness: **a closed test cannot
# overload the service**, and it slows down exactly when the service does.
#
# What this hides can be computed. Take the throughput that 30 users reach, and let as many requests arrive
# by themselves:

# %%
busy = closed(30)
open_queue = MMc(arrival_rate_rps=busy.throughput_rps, service_rate_rps=1.0 / SERVICE.mean_s, servers=SERVERS)
closed_p99_s, open_p99_s = busy.response_quantile_s(0.99), open_queue.response_quantile_s(0.99)
print(f"{busy.throughput_rps:.2f} rps, {busy.utilization:.1%} busy")
print(f"P99 of 30 users:                       {closed_p99_s:6.2f} s")
print(f"P99 of an open stream at the same rate: {open_p99_s:5.2f} s")
assert open_p99_s > 10.0 * closed_p99_s

# %% [markdown]
# The same throughput, the same servers, and more than ten times the P99: the open stream does not stop to
# think when the queue is long. Hold a closed test against `Closed`, and never take its P99 for that of open
# traffic.
#
# ## A report to check
#
# "100 users, 100 rps, P50 45 ms, P99 340 ms." Nothing is said of think times. Can it be true without any?

# %%
for think_time_s in (0.0, 0.3, 0.95):
    report = LoadTestReport(
        users=100,
        think_time_s=think_time_s,
        throughput_rps=100.0,
        response_quantiles_s={0.5: 0.045, 0.99: 0.34},
    )
    print(f"think {think_time_s:4g} s: R must be {report.required_response_mean_s:.2f} s; {report.reason}")
    assert report.credible == (think_time_s == 0.95)

# %% [markdown]
# 100 users at 100 rps take one second per loop. Without think time the mean response must be a second,
# which a P50 of 45 ms and a P99 of 340 ms cannot give, short of a tail beyond P99 that nobody would call a
# service. With 0.3 s of thought it is still beyond belief; with 0.95 s it fits. So the report is not wrong:
# it is incomplete, and what it leaves out decides.
#
# ## What to do
#
# * **Check every dashboard and every load test with L = λW before you use it.** It takes one line,
#   `LittlesLaw.solve(...)` or `LoadTestReport(...)`, and `capacity` needs nothing else than the numbers
#   themselves.
# * **Take λ, W and L at the same place, of the same requests, over the same time.** Count only the accepted
#   requests if only theirs are timed.
# * **Cut the warm-up off**, and measure for many times the time that a request stays.
# * **If L grows as long as you look, report no latency.** Report that the service is overloaded.
# * **Ask a load test for its think time**, and compare a closed test with a closed law. For the P99 of open
#   traffic, generate open traffic.
