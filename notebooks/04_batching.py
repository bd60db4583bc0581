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
# # How large a batch should a server allow, and should it wait to fill one?
#
# A model server can run several requests through the model at once, as one *batch*. That is cheaper per request, but
# every request in a batch gets its answer only when the whole batch is done. Two settings decide the trade-off, and
# every serving system has them under some name: the **largest batch** `B`, and the **batch wait**, how long a request
# may wait for others to join its batch.

# %%
import pandas as pd

import capacity as cap

# %% [markdown]
# ## What was measured: does throughput grow by B?
#
# `capacity` comes with measured profiles: for each batch size, how long a batch takes. The **knee** is the largest
# batch size up to which each doubling still gives at least 10 % more throughput.

# %%
NAMES = {
    "llama2-70b-h100-tp8-fp16": "Llama-2 70B on 8 GPUs",
    "serve-mlp-cpu-fp32": "MLP on a CPU core",
    "resnet50-t4-fp16": "ResNet-50 on a GPU",
    "bert-large-384-l40s-fp16": "BERT-large on a GPU",
}
profiles = [cap.load_profile(name) for name in NAMES]
panels = cap.new_panels(
    ["throughput of full batches", "time of a batch"],
    x_title="batch size",
    y_title=("throughput, multiple of that at 1", "time of a batch [s]"),
    title="A batch of B takes longer than a batch of one: throughput grows by less than B",
    x_log=True,
    y_log=True,
)
throughput, duration = panels.plots
throughput.reference([1, 64], [1, 64], "times B")
for number, profile in enumerate(profiles):
    sizes = [size for size in profile.batch_sizes if size <= 64]
    gains = [profile.throughput_rps(size) / profile.throughput_rps(1) for size in sizes]
    throughput.measured(sizes, gains, NAMES[profile.name], number=number)
    duration.measured(
        sizes, [profile.service_mean_s(size) for size in sizes], NAMES[profile.name], number=number
    )
panels


# %%
def share_of_ideal(profile, size):
    """Throughput over B times that of single requests."""
    return profile.throughput_rps(size) / (size * profile.throughput_rps(1))


knees = pd.DataFrame(
    [
        {
            "profile": profile.name,
            "rps one at a time": profile.throughput_rps(1),
            "knee": profile.knee_batch_size,
            "gain at the knee": profile.throughput_rps(profile.knee_batch_size) / profile.throughput_rps(1),
            "share of times B": share_of_ideal(profile, profile.knee_batch_size),
            "times B within 10 % up to": max(
                b for b in profile.batch_sizes if share_of_ideal(profile, b) >= 0.9
            ),
        }
        for profile in profiles
    ]
).set_index("profile")
bert = profiles[3]
assert knees["share of times B"].max() < 0.5
assert knees["times B within 10 % up to"].max() == 4
assert list(knees["knee"][["bert-large-384-l40s-fp16", "llama2-70b-h100-tp8-fp16"]]) == [8, 64]
assert bert.throughput_rps(128) < bert.throughput_rps(8)
knees.round(2)

# %% [markdown]
# "Times B" ends early: within 10 %, it holds up to 4 at most, and **none** of these has even half of it at its knee. The
# knee depends on model and device: BERT-large on an L40S has it at 8, and 128 gives no more; Llama-2 70B still gains at
# 64, the largest that was measured. So "B = 32" is no rule. **Measure the profile, and read the knee from it.**
#
# ## There is a queue in front of the server
#
# Throughput says nothing about how long requests take. Take ResNet-50 on a T4, one server that starts whatever waits
# as soon as it is free, `B` at most (a *greedy* server). The queue in front of it has an exact law. **Load** is the
# arrival rate over the largest rate that full batches sustain.

# %%
t4 = cap.load_profile("resnet50-t4-fp16").of_means()
LOADS = [0.02, *(step / 20 for step in range(1, 19)), 0.93, 0.96]
SIZES = [1, 4, 16, 32]


def exact(rate_rps, size, **wait):
    """One server, by its law."""
    return cap.predict(
        t4, 1, rate_rps=rate_rps, batch_size_max=size, quantile=[0.5, 0.99], **wait
    ).performance


def quantiles_ms(answers, quantile):
    """A quantile of each response. [ms]"""
    return [1e3 * answer.response_quantiles_s[quantile].value for answer in answers]


greedy = {size: [exact(load * t4.throughput_rps(size), size) for load in LOADS] for size in SIZES}

# %%
panels = cap.new_panels(
    ["against the load", "against the arrival rate"],
    x_title="load",
    y_title="P99 of the response [ms]",
    title="ResNet-50 on a T4, batches up to B: at the same arrival rate, a larger B is seldom slower",
    y_log=True,
)
by_load, by_rate = panels.plots
for number, size in enumerate(SIZES):
    by_load.theory(LOADS, quantiles_ms(greedy[size], 0.99), f"B = {size}", number=number)
    rates = [load * t4.throughput_rps(size) for load in LOADS]
    by_rate.theory(rates, quantiles_ms(greedy[size], 0.99), f"B = {size}", number=number)
by_rate.axes.set_xlabel("arrival rate [rps]")
panels


# %%
def p99_ms(rate_rps, size):
    """P99 at a rate; missing where it cannot be sustained."""
    if rate_rps >= t4.throughput_rps(size):
        return float("nan")
    return quantiles_ms([exact(rate_rps, size)], 0.99)[0]


p99s = pd.DataFrame(
    {f"B = {b}": {rate: p99_ms(rate, b) for rate in (10.0, 100.0, 250.0, 600.0, 900.0)} for b in SIZES}
)
half = {size: quantiles_ms([greedy[size][LOADS.index(0.5)]], 0.99)[0] for size in SIZES}
print("P99 at load 0.5 [ms]:", {f"B = {size}": round(x, 1) for size, x in half.items()})
assert min(half, key=half.get) == 4
assert p99s["B = 4"][250.0] < p99s["B = 1"][250.0] / 2
assert p99s["B = 16"][600.0] < 0.6 * p99s["B = 4"][600.0]
assert p99s["B = 4"][100.0] < p99s["B = 1"][100.0]
assert p99s["B = 32"][10.0] < 1.01 * p99s["B = 1"][10.0]
assert p99s["B = 16"][900.0] < p99s["B = 32"][900.0] < 1.05 * p99s["B = 16"][900.0]
p99s.rename_axis("P99 [ms] at rps").round(1)

# %% [markdown]
# At the same load a small `B` looks good: at load 0.5, 4 has the lowest P99. But the same load is not the same work.
# Against the arrival rate, which is what you are given, the picture is reversed: at 250 rps batches up to 4 bring P99
# to less than half of what one at a time gives, at 600 rps 16 has less than 0.6 times the P99 of 4, and even at 100 rps,
# where one at a time is easily stable, batching is faster. At 10 rps a large `B` costs less than 1 %, since a greedy
# server never waits for a batch to fill; at 900 rps 32 costs less than 5 % more than 16.
#
# ## The trap: "99 % busy" is not "full"
#
# A greedy batching server starts whatever waits, so it is hardly ever idle: as traffic grows it makes larger
# batches instead of more of them.

# %%
plot = cap.new_plot(
    x_title="load: arrival rate over the largest sustainable one",
    y_title="share of time busy",
    title="A greedy batching server is busier than its load",
)
plot.reference([0, 1], [0, 1], "busy = load")
for number, size in enumerate((4, 32)):
    plot.theory([0.0, *LOADS], [0.0, *(x.utilization for x in greedy[size])], f"B = {size}", number=number)
plot

# %%
v100 = cap.load_profile("resnet50-v100-fp16").of_means()
found = cap.predict(v100, 1, rate_rps=0.57 * v100.throughput_rps(16), batch_size_max=16).performance
print(
    f"ResNet-50 on a V100, B = 16: load {found.load:.2f}, busy {found.utilization:.1%} of the time, ", end=""
)
print(f"mean batch {found.batch_size_mean:.1f} of 16")
assert 0.99 < found.utilization < 1.0

# %% [markdown]
# A V100 at 57 % of what it can do shows more than 99 % busy. If you scale out at "80 % busy", you buy servers that you
# do not need. **Plan by load, not by utilization**, and watch the mean batch size: it tells how full the server is.
#
# ## Should a batch wait to fill?
#
# With a batch wait a free server starts when `B` requests are there or when the timer has run out. When does the timer
# start? Servers differ: **oldest**, when the oldest waiting request arrives (Triton, TensorFlow Serving), or **open**,
# when a free server first sees a waiting request (TorchServe, Ray Serve). Lines are exact; points are simulated.

# %%
FULL_RPS = t4.throughput_rps(16)
SETTINGS = {
    "no wait": {},
    "2 ms, oldest": {"batch_wait": "2ms"},
    "10 ms, oldest": {"batch_wait": "10ms"},
    "10 ms, open": {"batch_wait": "10ms", "timer": "open"},
}
WAIT_LOADS, SEEN_AT = [*LOADS[::2], 0.98], (0.3, 0.7)
waiting = {
    name: [exact(load * FULL_RPS, 16, **wait) for load in WAIT_LOADS] for name, wait in SETTINGS.items()
}
panels = cap.new_panels(
    ["P50", "P99"],
    x_title="load",
    y_title="response time [ms]",
    title="Batches up to 16 that wait to fill: every request waits longer, until the queue fills them anyway",
    y_log=True,
)
for number, (name, wait) in enumerate(SETTINGS.items()):
    seen = [
        cap.simulate(
            t4, 1, rate_rps=load * FULL_RPS, batch_size_max=16, **wait
        ).performance.response_quantiles_s
        for load in SEEN_AT
    ]
    for plot, quantile in zip(panels.plots, (0.5, 0.99), strict=True):
        plot.theory(WAIT_LOADS, quantiles_ms(waiting[name], quantile), name, number=number)
        plot.simulated(SEEN_AT, [found[quantile].scaled(1e3) for found in seen], number=number)
panels

# %%
at_wait = pd.DataFrame(
    {
        name: {
            "P50 at load 0.02 [ms]": quantiles_ms(answers, 0.5)[0],
            **{
                f"P99 at load {load:g} [ms]": quantiles_ms(
                    [exact(load * FULL_RPS, 16, **SETTINGS[name])], 0.99
                )[0]
                for load in (0.5, 0.9, 0.98)
            },
            "busy at load 0.5": exact(0.5 * FULL_RPS, 16, **SETTINGS[name]).utilization,
        }
        for name, answers in waiting.items()
    }
)
over = at_wait.div(at_wait["no wait"], axis=0)
for quantile in (0.5, 0.99):
    for name, answers in waiting.items():
        pairs = zip(quantiles_ms(waiting["no wait"], quantile), quantiles_ms(answers, quantile), strict=True)
        assert all(greedily <= waited * (1 + 1e-9) for greedily, waited in pairs), name
assert round(at_wait["10 ms, oldest"].iloc[0] - at_wait["no wait"].iloc[0], 1) == 10.0
assert 2.4 < over["10 ms, open"]["P99 at load 0.5 [ms]"] < 2.6
assert over["10 ms, open"]["P99 at load 0.98 [ms]"] < 1.05
assert over["10 ms, oldest"]["busy at load 0.5"] < 0.7
at_wait.round(2)

# %% [markdown]
# On this server **no wait is best at every load shown**: the queue fills batches by itself as soon as that is needed.
# At the lowest load a lone request waits for the whole timer. The `open` timer costs more: at load 0.5 its P99 is 2.5
# times that of no wait, because it starts again after each batch. Near the wall a timer hardly matters: at load 0.98
# even the open one adds less than 5 %.
#
# ## When a wait does pay
#
# It makes larger batches and fewer of them: at load 0.5 the server above is busy at least 30 % less of the time, which
# helps if something else can use the device. And it may lower P99 where *small batches have the heavier tail*, as
# those of `resnet50-mxnet-t4-fp16` do. Is the tail the reason? The same fleet with each batch at its mean time shows it.

# %%
mxnet = cap.load_profile("resnet50-mxnet-t4-fp16")
tail = {size: mxnet.law(size).quantile_s(0.99) / mxnet.service_mean_s(size) for size in (1, 8, 32)}
print("P99 over mean of a batch:", {size: round(ratio, 2) for size, ratio in tail.items()})
asked = {"rate": "5000rps", "batch_size_max": 32}
found = {
    (times, wait): ask(profile, 5, batch_wait=wait, **asked).performance.response_quantiles_s
    for times, ask, profile in (
        ("as measured", cap.simulate, mxnet),
        ("all at their mean", cap.predict, mxnet.of_means()),
    )
    for wait in ("0ms", "20ms")
}
assert tail[32] < 1.2 < 1.9 < tail[1]
assert found["as measured", "20ms"][0.99].high < found["as measured", "0ms"][0.99].low
assert found["as measured", "20ms"][0.5].low > found["as measured", "0ms"][0.5].high
assert found["all at their mean", "20ms"][0.99].value > found["all at their mean", "0ms"][0.99].value
pd.DataFrame(
    [
        {
            "batch times": times,
            "wait": wait,
            "P50": cap.format_interval(x[0.5]),
            "P99": cap.format_interval(x[0.99]),
        }
        for (times, wait), x in found.items()
    ]
)

# %% [markdown]
# As measured, the wait lowers P99, with intervals that do not overlap, and raises P50: it trades the median for the tail.
# With each batch at its mean the same wait raises P99, so it is the tail of small batches that makes the wait pay.
#
# ## What to do
#
# 1. **Measure** how long batches of each size take (`capacity profile`), and read the knee. No rule has your batch size.
# 2. **Let the server be greedy** (batch wait 0) and allow a largest batch near the knee. At low traffic it costs next to
#    nothing; at high traffic it is what keeps the server stable.
# 3. **Add a batch wait only if a plan shows that it pays** (`capacity plan` tries waits by default), and know which timer
#    your server has.
# 4. **Plan by load.** A utilization of 99 % is no reason for alarm, and 80 % none for comfort.
#
# How many servers to buy is the next notebook, `05_sizing_a_service`.
