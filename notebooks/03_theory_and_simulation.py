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
# # Theory, simulation, load test: when is a P99 a P99?
#
# A formula gives one P99, a simulation another, a load test a third. Which of them do you believe, and how many
# requests does it take before a simulated (or measured) P99 is worth printing?
#
# P99 is the response time that 99 of 100 requests stay within. *Load* is the arrival rate over the largest rate
# that the server can sustain: at load 0.9 it has a tenth of its capacity to spare. Seeds are fixed, so that you get
# the same numbers.

# %%
import numpy as np
import pandas as pd

import capacity as cap

# %% [markdown]
# ## Does the simulator obey the theory?
#
# A simulator is a program, and programs have bugs. So it is compared with queues whose law is known exactly: one
# exponential server (M/M/1), eight of them at one queue (M/M/8), and one that serves batches of up to 16, whose
# times were measured for ResNet-50 on a T4.

# %%
LOADS, FINE = (0.3, 0.5, 0.7, 0.9), np.linspace(0.1, 0.93, 28)
resnet = cap.load_profile("resnet50-t4-fp16").of_means()
BATCH_TIMES_S = tuple(resnet.service_mean_s(size) for size in range(1, 17))
LAWS = {
    "M/M/1": lambda load: cap.queues.MM1(arrival_rate_rps=load, service_rate_rps=1.0),
    "M/M/8": lambda load: cap.queues.MMc(arrival_rate_rps=8.0 * load, service_rate_rps=1.0, servers=8),
    "batches up to 16": lambda load: cap.queues.Bulk(
        arrival_rate_rps=load * resnet.throughput_rps(16), batch_times_s=BATCH_TIMES_S
    ),
}
ONE_SERVICE_S = {"M/M/1": 1.0, "M/M/8": 1.0, "batches up to 16": BATCH_TIMES_S[0]}

rows = []
for number, (name, law) in enumerate(LAWS.items()):
    for load in LOADS:
        answer = cap.simulate_law(law(load), requests=4_000_000, quantile=0.99, seed=number)
        p99 = answer.performance.response_quantiles_s[0.99].scaled(1 / ONE_SERVICE_S[name])
        exact = answer.theory.response_quantiles_s[0.99].value / ONE_SERVICE_S[name]
        rows.append(
            {"queue": name, "load": load, "exact": exact, "simulated": p99, "±": p99.relative_half_width}
        )
agreement = pd.DataFrame(rows)

# %%
plot = cap.new_plot(
    x_title="load",
    y_title="P99 response [services of one request]",
    title="Theory goes through the simulated points",
    y_log=True,
)
for number, (name, law) in enumerate(LAWS.items()):
    exact = [law(load).response_quantile_s(0.99) / ONE_SERVICE_S[name] for load in FINE]
    plot.theory(FINE, exact, name, number=number)
    plot.simulated(LOADS, list(agreement[agreement["queue"] == name]["simulated"]), number=number)
plot

# %%
seen = agreement.pop("simulated")
agreement["simulated"], agreement["low"], agreement["high"] = zip(
    *((x.value, x.low, x.high) for x in seen), strict=True
)
agreement["holds the exact value"] = agreement["exact"].between(agreement["low"], agreement["high"])
widths = agreement[agreement["queue"] == "M/M/1"].set_index("load")["±"]
print(f"{agreement['holds the exact value'].sum()} of {len(agreement)} intervals hold the exact P99")
assert agreement["holds the exact value"].sum() >= len(agreement) - 2
assert widths[0.9] > 5.0 * widths[0.3]
agreement.round(3)

# %% [markdown]
# The lines are exact, the points are simulated, and nothing was fitted. A 95 % interval is allowed to miss once in
# twenty times. Every point took the same four million requests; yet the interval of M/M/1 is more than five times as
# wide at load 0.9 as at 0.3. `capacity agreement` does this for every law of the package.
#
# ## How many requests does a P99 need?
#
# A busy queue has a memory: a request that comes just after a slow one waits behind the same others, so late responses
# come in bursts. The *design effect* is how many requests tell as much about the share beyond P99 as one
# independent response would. For M/M/1 it is known exactly. If responses were independent and exponential, fewer than
# fifty thousand would be enough to know P99 to ± 2 %:

# %%
# The error of a share p from n responses is sqrt(p (1 - p) / n), and P99 moves by error / p mean responses.
INDEPENDENT = (1.96 / (0.02 * np.log(100.0))) ** 2 * 0.99 / 0.01
needs = pd.DataFrame(
    [
        {"load": load, "design effect": LAWS["M/M/1"](load).design_effect(0.99)}
        for load in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
    ]
).set_index("load")
needs["requests for ± 2 %"] = INDEPENDENT * needs["design effect"]
needs["at 100 rps [h]"] = needs["requests for ± 2 %"] / 100.0 / 3600.0
print(f"independent responses: {INDEPENDENT:,.0f}")
assert 40_000 < INDEPENDENT < 50_000
assert needs["requests for ± 2 %"][0.3] < 250_000
assert needs["requests for ± 2 %"][0.9] > 10_000_000
assert needs["at 100 rps [h]"][0.9] > 24.0
needs.round({"design effect": 1, "requests for ± 2 %": -3, "at 100 rps [h]": 1})

# %% [markdown]
# In the queue it takes fewer than a quarter of a million at load 0.3, and more than ten **million** at load 0.9. A load
# test of a minute at 100 requests a second has six thousand. It cannot tell the P99 of a busy server to 2 %, however
# good the tool is; it would have to run for more than a day.
#
# ## Two things that a careless test gets wrong
#
# Take many short runs, the P99 of each, then the mean of these: it sounds harmless. So does counting from the first
# request on. Here are both for one server at load 0.9: 1,000,000 requests, cut into runs that each start empty.

# %%
LOAD, TOTAL, WARM_UP = 0.9, 1_000_000, 4_000
EXACT = LAWS["M/M/1"](LOAD).response_quantile_s(0.99)


def responses(load, runs, requests, seed=3):
    """Response times of exponential servers that start empty, shape `(runs, requests)`."""
    rng = np.random.default_rng(seed)
    gaps, services = rng.exponential(1 / load, (runs, requests)), rng.exponential(1.0, (runs, requests))
    arrived, work = np.cumsum(gaps, axis=1), np.cumsum(services, axis=1)
    return work + np.maximum.accumulate(arrived - work + services, axis=1) - arrived


rows = {}
for size in (300, 1_000, 3_000, 10_000):
    found = responses(LOAD, TOTAL // size, size)
    warm = responses(LOAD, TOTAL // size, size + WARM_UP)[:, WARM_UP:]
    rows[size] = {
        "mean of the runs' P99s, warm": np.quantile(warm, 0.99, axis=1).mean(),
        "pooled, from an empty start": np.quantile(found, 0.99),
        "pooled, warm": np.quantile(warm, 0.99),
    }
careless = pd.DataFrame(rows).T.rename_axis("requests a run")

# %%
plot = cap.new_plot(
    x_title="requests of one run",
    y_title="P99 response [services]",
    title=f"Short runs flatter (one server at load {LOAD})",
    x_log=True,
)
for number, name in enumerate(careless):
    plot.measured(careless.index, careless[name], name, number=number)
plot.limit(EXACT, "exact")
plot

# %%
print(f"exact: {EXACT:.1f}")
assert careless["mean of the runs' P99s, warm"][1_000] < 0.75 * EXACT
assert careless["pooled, from an empty start"][300] < 0.8 * EXACT
assert (abs(careless["pooled, warm"] / EXACT - 1.0) < 0.1).all()
careless.round(1)

# %% [markdown]
# With runs of a thousand requests the mean of the P99s is more than 25 % too low, and with runs of 300 an empty start
# makes it more than 20 % too low even where the responses are pooled. Most runs see no burst; the few that do hold nearly all late responses, and a mean over *runs* counts each burst once instead of by its many requests.
# And after an empty start the queue has not built up yet. **Cut the warm-up, pool the responses, then take the
# quantile.**
#
# ### The textbook interval
#
# For independent responses the interval of a quantile needs only the binomial law, and most tools print that. Repeat a
# load test of 100,000 requests at load 0.7 three hundred times: how often does its interval contain the exact P99?

# %%
EXPERIMENTS, SIZE = 300, 100_000
true_s = LAWS["M/M/1"](0.7).response_quantile_s(0.99)
reach = 1.96 * np.sqrt(0.99 * 0.01 / SIZE)
held = 0
for experiment in range(EXPERIMENTS // 10):
    found = responses(0.7, 10, SIZE, seed=experiment)
    low, high = np.quantile(found, [0.99 - reach, 0.99 + reach], axis=1)
    held += ((low <= true_s) & (true_s <= high)).sum()
print(f"{held} of {EXPERIMENTS} intervals that promise 95 % hold the exact P99: {held / EXPERIMENTS:.0%}")
assert held / EXPERIMENTS < 0.5

# %% [markdown]
# Fewer than half. `capacity` takes its intervals from how much whole groups of runs differ, which includes the bursts.
#
# ## Where there is no theory
#
# Exact laws have conditions. `cap.predict` answers where one holds, and otherwise refuses and says what to do:

# %%
try:
    cap.predict("bert-large-384-l40s-fp16", 2, rate="900rps", batch_size_max=8, routing="shared-queue")
except cap.DomainError as refusal:
    print(refusal)

# %%
answer = cap.simulate("bert-large-384-l40s-fp16", 2, rate="900rps", batch_size_max=8, routing="shared-queue")
p99 = answer.performance.response_quantiles_s[0.99]
print(f"load {answer.performance.load:.2f}: P99 {cap.format_interval(p99)}")
assert p99.relative_half_width <= 0.02

# %% [markdown]
# `cap.simulate` does for you what was done by hand above: it cuts the start, pools, takes its interval from sections,
# adds runs until the interval is as narrow as asked, and says "inconclusive" rather than print a number that it cannot
# support.
#
# ## What to do
#
# - **A law holds exactly?** Use it: it has no noise and takes no time (`cap.predict`, `capacity queue ...`).
# - **No law?** Simulate, with a simulator that was compared with laws, and look at the interval before the value.
# - **Never average P99s** – neither of runs nor of replicas nor of minutes on a dashboard.
# - **Cut the start**: ten relaxation times. The busier the queue, the longer these are.
# - **Count requests before you trust a load test.** If you cannot have that many, ask for a lower percentile, or
#   measure the *service*, which needs few, and let `capacity plan` compute the P99.
