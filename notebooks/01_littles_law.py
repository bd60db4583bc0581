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
# # How many requests are in flight, and can these three numbers be true together?
#
# A dashboard shows a rate, a mean response time and a number of requests in flight. A load test reports
# users, throughput and latency. Little's law ties them together: **L = λW**, the mean number in the system is
# the arrival rate times the mean time in the system. Two of the numbers give the third, and three numbers can
# be caught contradicting each other.
#
# Here the law is tested, then broken in three ways, and then used: on published load tests, and on a report
# that looks fine.

# %%
import numpy as np
import pandas as pd

import capacity as cap

# %% [markdown]
# 40 requests a second that stay 100 ms each: how many are there at a time?

# %%
law = cap.queues.LittlesLaw.solve(arrival_rate_rps=40.0, response_mean_s=0.1)
print(f"in flight: {law.in_system_mean:g}")
assert law.in_system_mean == 4.0

# %% [markdown]
# If the dashboard says 12 instead, one of its three numbers was measured in a different place, over a different
# time, or on different requests from the other two.
#
# ## Does it need a distribution?
#
# One server, first come, first served, under three kinds of traffic that have little in common. The number in
# flight is *counted* at 200,000 instants; λ and W come from the requests.


# %%
def served(gaps_s, services_s):
    """When requests arrive at one server, and when it has answered them."""
    arrived_s, work_s = np.cumsum(gaps_s, axis=-1), np.cumsum(services_s, axis=-1)
    return arrived_s, work_s + np.maximum.accumulate(arrived_s - work_s + services_s, axis=-1)


def heads(run, instants_s):
    """How many are in flight at some instants."""
    arrived_s, finished_s = run
    return np.searchsorted(arrived_s, instants_s) - np.searchsorted(finished_s, instants_s)


rng, REQUESTS = np.random.default_rng(1), 200_000
runs = {
    "Poisson arrivals, exponential service": served(
        rng.exponential(1 / 8, REQUESTS), rng.exponential(0.1, REQUESTS)
    ),
    "equal gaps, heavy-tailed service": served(
        np.full(REQUESTS, 1 / 8), 0.1 * rng.lognormal(-1.15, np.sqrt(2.3), REQUESTS)
    ),
    "irregular arrivals, constant service": served(rng.gamma(1 / 9, 9 / 8, REQUESTS), np.full(REQUESTS, 0.1)),
}
rows = {}
for name, (arrived_s, finished_s) in runs.items():
    end_s = finished_s[-1]
    counted = heads(runs[name], np.linspace(0.0, end_s, 200_000)).mean()
    rate_rps, response_s = REQUESTS / end_s, (finished_s - arrived_s).mean()
    rows[name] = {"L counted": counted, "λ [rps]": rate_rps, "W [s]": response_s, "λW": rate_rps * response_s}
table = pd.DataFrame(rows).T
assert np.allclose(table["L counted"], table["λW"], rtol=0.01)
table.round(3)

# %% [markdown]
# The two agree within 1 % in each row, and would agree to the last digit if every instant were counted: each
# request adds the time it stays to the area under the count, in whatever order and after whatever wait.
# **L = λW needs no distribution.** It does need both sides to be about the same requests over the same time.
#
# ## What breaks it, 1: a short window, and an empty start
#
# A request that is already inside when a measurement begins is counted, but did not arrive during it. On the left,
# one server at load 0.8 in 100 windows of each length; bars hold the middle 90 % of the windows. On the right,
# 400 servers that start empty, at load 0.9, and their average L from the start until then.

# %%
run = runs["Poisson arrivals, exponential service"]
stayed_s = np.concatenate([[0.0], np.cumsum(run[1] - run[0])])


def counted_over_product(window_s, windows=100):
    """L over λW in windows that follow each other: their middle, and where nine in ten lie."""
    edges_s = 100.0 + window_s * np.arange(windows + 1)
    counted = (
        heads(run, np.linspace(edges_s[0], edges_s[-1], 1000 * windows)).reshape(windows, -1).mean(axis=1)
    )
    product = np.diff(stayed_s[np.searchsorted(run[0], edges_s)]) / window_s
    low, middle, high = np.quantile(counted[product > 0] / product[product > 0], [0.05, 0.5, 0.95])
    return cap.Interval(value=middle, low=low, high=high)


def so_far(runs, until_s):
    """Mean number in flight of each run from its start to an instant."""
    arrived_s, finished_s = runs
    return np.clip(np.minimum(finished_s, until_s) - arrived_s, 0.0, None).sum(axis=1) / until_s


WINDOWS_S, HORIZONS_S = (1.0, 5.0, 20.0, 100.0, 200.0), (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
spreads = [counted_over_product(window_s) for window_s in WINDOWS_S]
steady = cap.queues.MM1(arrival_rate_rps=9.0, service_rate_rps=10.0).in_system_mean
empty = served(rng.exponential(1 / 9, (400, 3600)), rng.exponential(0.1, (400, 3600)))
filling = [so_far(empty, until_s).mean() for until_s in HORIZONS_S]

# %%
panels = cap.new_panels(
    ["L over λW in one window (bar: 90 % of windows)", "L so far from an empty start, load 0.9"],
    x_title="seconds measured",
    y_title=("L over λW", "mean number in flight L"),
    title="A short measurement sees another system",
    x_log=True,
)
edges, start = panels.plots
edges.measured(WINDOWS_S, [x.value for x in spreads], intervals=spreads)
edges.limit(1.0, "L = λW")
start.measured(HORIZONS_S, filling)
start.limit(steady, "steady state")
panels

# %%
print(f"window of 1 s: L is {spreads[0].low:.2f} to {spreads[0].high:.2f} times λW")
print(f"window of 200 s: L is {spreads[-1].low:.3f} to {spreads[-1].high:.3f} times λW")
print(f"steady state: L = {steady:.2f}; after 10 s {filling[2]:.2f}, after 300 s {filling[-1]:.2f}")
assert spreads[0].low < 0.6
assert spreads[0].high > 1.9
assert 0.97 < spreads[-1].low < spreads[-1].high < 1.03
assert filling[2] < 0.6 * steady
assert filling[-1] < steady

# %% [markdown]
# In a window of one second L can be little more than half of λW, or about twice as much; over 200 seconds nine
# windows in ten agree within 3 %. And a service that starts empty takes long to fill: after ten seconds, a
# hundred service times, L is not yet 60 % of the steady state. A benchmark that averages from its first request
# reports a better system than the one that will run in production. That is why `capacity` cuts off the beginning
# of every simulation.
#
# ## What breaks it, 2: more arrives than can be served
#
# 12 requests a second at a server that manages 10. Theory refuses to answer; a measurement does not:

# %%
try:
    cap.queues.MM1(arrival_rate_rps=12.0, service_rate_rps=10.0)
except cap.UnstableError as refusal:
    print(refusal)

flood = served(rng.exponential(1 / 12, (40, 13_000)), rng.exponential(0.1, (40, 13_000)))
rows = []
for until_s in (250.0, 500.0, 1000.0):
    answered = flood[1] <= until_s
    product = np.where(answered, flood[1] - flood[0], 0.0).sum(axis=1) / until_s
    found = so_far(flood, until_s)
    rows.append({"after [s]": until_s, "L": found.mean(), "answers × response / L": (product / found).mean()})
overload = pd.DataFrame(rows).set_index("after [s]")
assert overload["L"][1000.0] > 3.0 * overload["L"][250.0]
assert overload["answers × response / L"].max() < 0.9
overload.round(2)

# %% [markdown]
# L has no value: it grows for as long as you look. And answers per second times their mean response is too
# small by more than a tenth however long the window is, because the requests that still wait are the slow ones
# and are not among the answers. **A mean response time of an overloaded service tells you how long the
# measurement was.**
#
# ## What breaks it, 3: lost requests
#
# Two servers with room for four more requests, and more traffic than they can serve: a request that finds no room
# is turned away.

# %%
full = cap.queues.MMcK(arrival_rate_rps=24.0, service_rate_rps=10.0, servers=2, capacity=6)
seen = cap.simulate_law(full, requests=1_000_000, quantile=0.9).performance
L = {
    "counted (theory)": full.in_system_mean,
    "λ offered × W (simulated)": full.arrival_rate_rps * seen.response_mean_s,
    "λ accepted × W (simulated)": seen.throughput_rps * seen.response_mean_s,
}
print(f"lost: {seen.loss_probability:.1%}")
assert np.isclose(L["λ accepted × W (simulated)"], full.in_system_mean, rtol=0.01)
assert L["λ offered × W (simulated)"] > 1.2 * full.in_system_mean
pd.Series(L, name="L").to_frame().round(2)

# %% [markdown]
# With the offered rate the product is too large by more than a fifth. The λ of the law is the rate of the requests
# whose W was measured. A dashboard that shows the load balancer's request rate beside the server's latency
# breaks it.
#
# ## Sixteen published load tests
#
# A model under a fixed number of concurrent requests, each sent again as soon as it is answered: L is known
# beforehand. (NVIDIA DeepLearningExamples, Apache-2.0, Temporal Fusion Transformer,
# `PyTorch/Forecasting/TFT/triton/README.md` at commit 729963dd, lines 1588 and 1935; each request carries 16
# inferences, and throughput was published in inferences.)

# %%
CONCURRENCY = (8, 40, 72, 104, 136, 168, 200, 232)
PUBLISHED = {  # inferences per second, mean latency [ms]
    "A100, TensorRT": (
        (18816, 27971.5, 33680, 35536, 37424, 35456, 37424, 40944),
        (6.8, 22.6, 33.7, 46.4, 57.1, 73.8, 81.6, 87.0),
    ),
    "T4, PyTorch": (
        (3264, 3801.6, 3769.4, 3710.4, 3716.8, 3206.4, 3579.2, 3371.2),
        (38.5, 163.4, 288.8, 417.4, 535.2, 657.9, 788.3, 900.9),
    ),
}
tests = pd.DataFrame(
    [
        {"device": device, "L": users, "rps": inferences / 16, "mean [s]": latency_ms / 1e3}
        for device, (throughputs, latencies_ms) in PUBLISHED.items()
        for users, inferences, latency_ms in zip(CONCURRENCY, throughputs, latencies_ms, strict=True)
    ]
)
tests["λW"] = tests["rps"] * tests["mean [s]"]
tests["credible"] = [
    cap.queues.LoadTestReport(
        users=row[1], think_time_s=0.0, throughput_rps=row[2], response_mean_s=row[3]
    ).credible
    for row in tests.itertuples(index=False)
]
plot = cap.new_plot(
    x_title="L: requests in flight, as the test was set",
    y_title="λW: throughput × mean latency",
    title="Little's law on sixteen published load tests",
)
plot.reference([0.0, 232.0], [0.0, 232.0], "L = λW")
for number, (device, rows) in enumerate(tests.groupby("device")):
    plot.measured(rows["L"], rows["λW"], device, number=number)
plot

# %%
share = tests["λW"] / tests["L"]
assert share.max() <= 1.0
assert tests[tests["device"] == "A100, TensorRT"]["credible"].all()
assert list(tests[~tests["credible"]]["L"]) == [168, 200, 232]
tests.assign(share=share).round({"rps": 0, "λW": 1, "share": 2})

# %% [markdown]
# Every A100 test obeys the law within the 10 % that `LoadTestReport` allows; the slower T4 misses it at the three
# highest concurrencies. All sixteen products are at or below L. That is the sign of time spent
# *outside the measured latency*, between an answer and the next request of the same slot: fewer requests were in
# flight than the test was set to.
#
# ## What a load generator can show
#
# Users who think between requests are in one of two places: in the system, or thinking. Little's law for the whole
# loop is N = X (R + Z): the number of users is throughput times the sum of response and think time. Here users think
# 1 s on average, at two servers of 10 rps each:


# %%
def closed(users):
    """The exact law for this many users."""
    return cap.queues.Closed(users=users, think_time_s=1.0, service_time_s=0.1, servers=2)


POPULATIONS, USERS = (1, 10, 20, 30, 40, 50), range(1, 51)
seen = [cap.simulate_law(closed(n), requests=200_000, quantile=0.9).performance for n in POPULATIONS]
panels = cap.new_panels(
    ["throughput X", "mean response time R"],
    x_title="users N",
    y_title=("throughput X [rps]", "mean response time R [s]"),
    title="A closed load test: think time 1 s, 2 servers of 10 rps",
)
throughput, response = panels.plots
throughput.theory(USERS, [closed(n).throughput_rps for n in USERS], "exact")
throughput.reference(USERS, [closed(n).throughput_max_rps for n in USERS], "asymptotes")
throughput.simulated(POPULATIONS, [cap.Interval.exact(x.throughput_rps) for x in seen], number=1)
response.theory(USERS, [closed(n).response_mean_s for n in USERS], "exact")
response.reference(USERS, [closed(n).response_min_s for n in USERS], "asymptotes")
response.simulated(POPULATIONS, [x.intervals["response_mean_s"] for x in seen], number=1)
panels

# %%
for fewer, more in ((20, 25), (40, 50)):
    before, after = closed(fewer), closed(more)
    print(
        f"from {fewer} to {more} users X grows by {after.throughput_rps / before.throughput_rps - 1.0:.1%} "
        f"and R by {after.response_mean_s - before.response_mean_s:.2f} s"
    )
busy = closed(30)
stream = cap.queues.MMc(arrival_rate_rps=busy.throughput_rps, service_rate_rps=10.0, servers=2)
closed_s, open_s = busy.response_quantile_s(0.99), stream.response_quantile_s(0.99)
print(f"the asymptotes meet at {busy.saturation_users:g} users")
print(f"at {busy.throughput_rps:.2f} rps: P99 of 30 users {closed_s:.2f} s, of an open stream {open_s:.2f} s")
assert round(busy.saturation_users, 9) == 22.0
assert closed(25).throughput_rps > 1.1 * closed(20).throughput_rps
assert closed(50).throughput_rps < 1.001 * closed(40).throughput_rps
assert round(closed(50).response_mean_s - closed(40).response_mean_s, 2) == 0.5
assert open_s > 10.0 * closed_s

# %% [markdown]
# The knee of a closed test is where the asymptotes meet, at 22 users here. Beyond it, more users only add waiting:
# from 40 to 50 users throughput stays the same, and the response grows by half a second. **A closed
# test cannot overload the service**, since it slows down exactly when the service does. An open stream at the
# same rate does not slow down when the queue is long, and its P99 is more than ten times as high.
#
# ## A report to check
#
# "100 users, 100 rps, P50 45 ms, P99 340 ms." Think times are not mentioned. Can it be true without any?

# %%
reports = {
    think_s: cap.queues.LoadTestReport(
        users=100, think_time_s=think_s, throughput_rps=100.0, response_quantiles_s={0.5: 0.045, 0.99: 0.34}
    )
    for think_s in (0.0, 0.3, 0.95)
}
pd.options.display.max_colwidth = None
assert [report.credible for report in reports.values()] == [False, False, True]
pd.DataFrame(
    [
        {
            "think time [s]": z,
            "mean response required [s]": round(r.required_response_mean_s, 2),
            "verdict": r.reason,
        }
        for z, r in reports.items()
    ]
)

# %% [markdown]
# 100 users at 100 rps take one second per loop. Without think time the mean response must be a second, which a
# P50 of 45 ms and a P99 of 340 ms cannot give; with a think time of 0.95 s it fits. The report is not wrong but
# incomplete, and what it leaves out decides.
#
# ## What to do
#
# * **Check every dashboard and every load test with L = λW before you use it**: `LittlesLaw.solve(...)`,
#   `LoadTestReport(...)`, or `capacity littles-law`.
# * **Measure λ, W and L in the same place, on the same requests, over the same time**, and only on accepted requests.
# * **Cut off the warm-up**, and measure for many times as long as a request stays.
# * **If L grows as long as you look, report no latency**: the service is overloaded.
# * **Ask what a load test's think time was.** For the P99 of open traffic, generate open traffic.
