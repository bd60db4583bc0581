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
# # I timed my model. How many servers do I need, and how sure is that?
#
# You have timed batches of your model, you expect 5000 requests a second, and you promised that 99 of 100 answers come
# within 25 ms. This notebook goes from those timings to a plan: how many replicas, what largest batch, how much headroom,
# and what goes wrong with one replica fewer.

# %%
import pandas as pd

import capacity as cap

RATE_RPS, LIMIT_S = 5000.0, 0.025

# %% [markdown]
# ## The timings
#
# One line for each batch that was timed: its size and how long it took, with the unit in the name of the column. Use
# your own instead, `pd.read_csv("mine.csv")` or just the file's name. These are real timings of a small
# neural network on one CPU core.

# %%
server = cap.load_profile("serve-mlp-cpu-fp32")
mine = pd.DataFrame(
    [
        {"batch_size": timing.batch_size, "latency_ms": 1e3 * sample_s}
        for timing in server.timings
        for sample_s in timing.samples_s
    ]
)
profile = cap.load_profile(mine)
print(len(mine), "timings; knee at a batch of", profile.knee_batch_size)
assert (mine.groupby("batch_size").size() == 600).all()
pd.DataFrame(
    [
        {
            "batch": size,
            "mean [ms]": 1e3 * profile.service_mean_s(size),
            "P99 [ms]": 1e3 * profile.law(size).quantile_s(0.99),
            "throughput [rps]": profile.throughput_rps(size),
        }
        for size in profile.batch_sizes
    ]
).set_index("batch").round({"mean [ms]": 2, "P99 [ms]": 2, "throughput [rps]": 0})

# %%
servers = RATE_RPS / profile.throughput_rps(64)
print(f"{RATE_RPS:.0f} rps over {profile.throughput_rps(64):.0f} rps is {servers:.2f} servers")
assert 1.0 < servers < 2.0

# %% [markdown]
# So two servers? They can do the work. Whether they do it *in time* is another question, since random arrivals
# bunch up.
#
# ## The plan
#
# The planner first uses theory to rule out what cannot keep up, then simulates the rest until it knows whether each
# meets the objective. The winner is simulated once more with fresh random numbers. (Without `batch_wait` it
# would try batch waits too; `04_batching` says when one pays.)

# %%
answer = cap.plan(profile, rate_rps=RATE_RPS, slo_p99_s=LIMIT_S, batch_wait="0ms", seed=5)
answer

# %%
p99 = answer.performance.response_quantiles_s[0.99]
assert (answer.verdict, answer.plan.replicas, answer.plan.batch_size_max) == (cap.Verdict.MET, 3, 32)
assert p99.high < LIMIT_S
assert answer.performance.utilization > 0.99
assert 0.6 < answer.performance.load < 0.75

# %% [markdown]
# Three replicas, not two, with batches up to 32.
#
# - **The 95 % intervals are in brackets.** A plan is accepted only if the upper end is within the limit. The interval
#   also includes the error of your own timings: 600 of each batch size say something about its P99, not everything.
# - **Load** is the rate over the largest rate that this plan can sustain. Utilization is something else, and nearly
#   always higher: see `04_batching`.
#
# ## Replicas and batches: where the plan lies
#
# A sweep runs every combination, here with P99 to ± 5 %. A cell shows P99; outlined cells meet the objective with the
# upper end of their interval.

# %%
SIZES = [4, 8, 16, 32, 64]
QUICK = {"quantile": 0.99, "precision": 0.05, "seed": 5}
swept = cap.sweep(profile, range(1, 7), rate_rps=RATE_RPS, batch_size_max=SIZES, limit_s=LIMIT_S, **QUICK)
swept.plot()

# %%
p99_ms, high_ms = (
    1e3 * swept.to_frame().pivot(index="replicas", columns="batch_size_max", values=name).astype(float)
    for name in ("response_p99_s", "response_p99_high_s")
)
met = high_ms <= 1e3 * LIMIT_S
fewest = {int(size): int(met.index[met[size]].min()) for size in SIZES if met[size].any()}
open_cells = [
    (n, b) for n in p99_ms.index for b in SIZES if p99_ms.loc[n, b] < 1e3 * LIMIT_S < high_ms.loc[n, b]
]
print("fewest replicas by largest batch:", fewest)
print(
    "left open:",
    {f"{n} x {b}": f"{p99_ms.loc[n, b]:.1f} (up to {high_ms.loc[n, b]:.1f}) ms" for n, b in open_cells},
)
assert (fewest[8], fewest[16], fewest[32], fewest[64]) == (4, 3, 3, 3)
assert open_cells == [(6, 4)]

# %% [markdown]
# Up a column, more replicas help a lot at first and then hardly at all, since even a request that meets no other takes
# its service time. Along a row, once the batch is large enough, a larger one changes little. A batch that is too small
# costs replicas: with 8 it takes 4. And 6 replicas with batches up to 4 look fine but are not accepted: their load is so
# close to 1 that a small error in the timings makes a large one in P99. More timings would help, or a larger batch, which
# leaves more slack.
#
# ## One replica fewer

# %%
step = pd.DataFrame({"P99 [ms]": p99_ms[64], "up to [ms]": high_ms[64]}).dropna()
assert step["P99 [ms]"][2] > 2.5 * step["up to [ms]"][3]
assert step["P99 [ms]"][2] > 1.5 * 1e3 * LIMIT_S
assert pd.isna(p99_ms.loc[2, 32])
print(step.round(1))
answer.plot()

# %% [markdown]
# Two replicas keep up only with batches up to 64, and then P99 is more than 2.5 times that of three. Losing one
# server, in a deployment or by a fault, does not make the service "a third slower": it misses the objective by far. If
# that may happen, plan for it: `spare=1` asks for a fleet that meets its objective with one replica gone.
#
# ## Headroom
#
# How far may the rate rise before this plan misses its objective?

# %%
held_rps, wall_rps = answer.headroom.accepted_rps, answer.sustainable_rate_rps
rates = [2000.0, 3000.0, 4000.0, 5000.0, 5500.0, 6000.0, 6300.0, 6600.0]
at_rate = [
    cap.simulate(profile, 3, rate_rps=rate, batch_size_max=32, quantile=[0.5, 0.99], precision=0.04, seed=5)
    for rate in rates
]
plot = cap.new_plot(
    x_title="arrival rate [rps]",
    y_title="response time [ms]",
    title="3 replicas with batches up to 32: how much room is left",
)
for number, (name, quantile) in enumerate({"P50": 0.5, "P99": 0.99}.items()):
    found = [one.performance.response_quantiles_s[quantile].scaled(1e3) for one in at_rate]
    plot.simulated(rates, found, name, number=number)
plot.limit(1e3 * LIMIT_S, "objective")
for at_rps, name in ((RATE_RPS, "today"), (held_rps, "headroom"), (wall_rps, "wall")):
    plot.limit(at_rps, name, axis="x")
plot

# %%
now, late = (at_rate[rates.index(rate)].performance.response_quantiles_s for rate in (5000.0, 6600.0))
print(
    f"today {cap.format_rate(RATE_RPS)}, meets it up to {cap.format_rate(held_rps)}, wall {cap.format_rate(wall_rps)}"
)
for name, quantile in {"P50": 0.5, "P99": 0.99}.items():
    print(
        f"{name} from {cap.format_interval(now[quantile])} to {cap.format_interval(late[quantile])} at 6600 rps"
    )
assert 1.25 < held_rps / RATE_RPS < 1.3
assert 0.85 < held_rps / wall_rps < 0.95
assert late[0.5].high < 0.7 * LIMIT_S < LIMIT_S < late[0.99].low

# %% [markdown]
# There is room for a quarter more traffic. The objective is missed well before the wall, and replicas are busy nearly all
# of the time long before that. So set the alarm on the load, not on the wall or on utilization. The median stays far below
# the limit all the way: an alarm on the median would stay silent.
#
# ## What would a tighter limit cost?
#
# A list or a range of limits asks for the plan at each. The answer has a table, a picture and, as `points`, the plans.

# %%
frontier = cap.plan(profile, rate_rps=RATE_RPS, slo_p99="4ms,8ms:16ms:2ms,25ms", batch_wait="0ms", seed=5)
print(frontier)
frontier.plot()

# %%
fleets = frontier.to_frame().set_index("slo_p99_s")["replicas"]
assert fleets[0.025] == fleets[0.016] == answer.plan.replicas
assert fleets[0.008] > 2 * fleets[0.010] > 4 * fleets[0.016]
assert pd.isna(fleets[0.004])

# %% [markdown]
# From 25 ms down to 16 ms nothing changes. Below that each step costs replicas, the last one most: a request waits for
# the batch before its own, so a tight limit allows only small batches, and these are slow for their size. At 4 ms no fleet
# is enough, since a request alone takes longer.
#
# ## What the timings left out
#
# They say how long the *model* takes. The server that was measured has more to do on the same core: it reads, checks and
# answers each request, and its slow moments come in spells. `capacity profile` measures that too, and the bundled
# profile includes it. At the same rate that takes one more replica:

# %%
whole = cap.simulate(server, 4, rate_rps=RATE_RPS, batch_size_max=32, quantile=0.99, precision=0.05, seed=5)
for name, one in (("the model", profile), ("the server", server)):
    print(f"{name:10} a batch of 32 takes {1e3 * one.service_mean_s(32):.1f} ms")
print(
    f"{whole.plan.replicas} replicas, P99 {cap.format_interval(whole.performance.response_quantiles_s[0.99])}"
)
assert whole.plan.replicas == 4
assert 3 * server.throughput_rps(32) < RATE_RPS
assert server.service_mean_s(32) > 1.4 * profile.service_mean_s(32)

# %% [markdown]
# It takes four replicas, not three: with the server's own work a batch of 32 takes over 1.4 times as long, and the plan
# from the timings alone could not even keep up. Nothing was wrong with the planner; the timings answered a different
# question.
#
# ## What to do
#
# 1. **Time the whole server**, not the model alone: `capacity profile --url http://127.0.0.1:8000/predict --body row.json
#    -o mine.json`, with a thousand batches of each size if you can. Raw samples are better than a summary.
# 2. **Ask for a plan**: `capacity plan --profile mine.json --rate 5000rps --slo-p99 25ms`. Do not divide rate by throughput.
# 3. **If it is inconclusive**, time more batches, or allow a larger one.
# 4. **Set your alarm at the load where the headroom ends**, not at a utilization or the median.
# 5. **Ask what one replica fewer does.** If a lost replica must not break the objective, add `--spare 1`.
# 6. **Check afterwards** with `capacity verify`, which load-tests the real server and compares prediction with measurement.
