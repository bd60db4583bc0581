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
# A model server can answer several requests at once: it runs them through the model as one *batch*. That is
# cheaper per request, because much of the work is done once per batch. But everybody in a batch gets the
# answer only when the whole batch is done, so large batches are slow. Two settings decide the trade, and
# every serving system has them under some name: the **largest batch** `B` that the server may start, and the
# **batch wait**, how long a request may wait for company.
#
# This notebook looks at what was measured first, then at what theory says about a queue in front of such a
# server.

# %%
from capacity.performance import Performance
from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from capacity.question.objective import format_interval
from capacity.question.plan import BatchTimer, Plan
from capacity.question.stability import sustainable_rate_rps
from capacity.queues.batch.bulk import Bulk
from capacity.render.plot import new_panels, new_plot
from capacity.search.exact import predict
from capacity.traffic.workload import Workload
from simulations.simulate import Simulation

# %% [markdown]
# ## What was measured: does throughput grow by B?
#
# `capacity` comes with measured profiles: for each batch size, how long a batch takes. "Throughput" here is
# that of a server that always runs full batches of that size. If a batch took the same time whatever its
# size, throughput would grow by `B`.

# %%
NAMES = {
    "llama2-70b-h100-tp8-fp16": "Llama-2 70B on 8 GPUs",
    "serve-mlp-cpu-fp32": "MLP on a CPU core",
    "resnet50-t4-fp16": "ResNet-50 on a GPU",
    "bert-large-384-l40s-fp16": "BERT-large on a GPU",
}
profiles = [load_profile(name) for name in NAMES]

for profile in profiles:
    knee, one_rps = profile.knee_batch_size, profile.throughput_rps(1)
    gain = profile.throughput_rps(knee) / one_rps
    print(f"{profile.name:26} {one_rps:6.1f} rps one at a time, knee {knee:2}, there {gain:4.1f} times that")

# %%
measured = new_panels(
    ["throughput of full batches", "time of a batch"],
    x_title="batch size",
    y_title=("throughput, multiple of that at 1", "time of a batch [s]"),
    title="A batch of B takes longer than a batch of one: throughput grows by less than B",
    x_log=True,
    y_log=True,
)
throughput, duration = measured.plots
throughput.reference([1, 64], [1, 64], "times B")
for number, profile in enumerate(profiles):
    sizes = [size for size in profile.batch_sizes if size <= 64]
    gains = [profile.throughput_rps(size) / profile.throughput_rps(1) for size in sizes]
    label = NAMES[profile.name]
    throughput.measured(sizes, gains, label, number=number)
    duration.measured(sizes, [profile.service_mean_s(size) for size in sizes], label, number=number)
measured

# %% [markdown]
# The dashed line "times B" is what one would get for free. Every server leaves it, and some at once. The
# **knee** of a profile is the largest batch size up to which each doubling still gives at least 10 % more
# throughput.


# %%
def share_of_ideal_at(profile: ServiceProfile, size: int) -> float:
    return profile.throughput_rps(size) / (size * profile.throughput_rps(1))


share_of_ideal = {profile.name: share_of_ideal_at(profile, profile.knee_batch_size) for profile in profiles}
ends_at = {
    profile.name: max(size for size in profile.batch_sizes if share_of_ideal_at(profile, size) >= 0.9)
    for profile in profiles
}
for name, share in share_of_ideal.items():
    print(f"{name:26} within 10 % of times B up to {ends_at[name]}; at its knee {100 * share:.0f} % of it")

bert, llama = profiles[3], profiles[0]
bert_gain = bert.throughput_rps(8) / bert.throughput_rps(1)
bert_gain_at_128 = bert.throughput_rps(128) / bert.throughput_rps(1)
print(f"BERT-large: {bert_gain:.2f} times at 8, {bert_gain_at_128:.2f} times at 128")
assert (bert.knee_batch_size, llama.knee_batch_size, llama.batch_size_max) == (8, 64, 64)
assert bert_gain_at_128 < bert_gain < 2.2
assert max(share_of_ideal.values()) < 0.5
assert max(ends_at.values()) == 4

# %% [markdown]
# - "Times B" ends early: at 4 at the latest, within 10 %. **None** of these has even half of it at its knee.
# - The knee depends on model and device. BERT-large on an L40S has it at a batch of 8, and even 128 gives no
#   more: a usual reason is that the device computes without a pause already. Llama-2 70B still gains at 64,
#   the largest that was measured: a usual reason is that most of its time goes into reading weights from
#   memory, once per batch.
# - So "B = 32" is no rule. **Measure the profile, and read the knee from it.**
#
# ## In front of the server is a queue
#
# Throughput alone says nothing about how long requests take. The batch queue has an exact law, for random
# (Poisson) arrivals and a known time for each batch size. Take ResNet-50 on a T4, one server, and let it
# start whatever waits as soon as it is free, `B` at most (a *greedy* server, no batch wait).
#
# **Load** is the arrival rate over the largest rate that the server can sustain with full batches. At load 1
# the queue grows without end.

# %%
t4 = load_profile("resnet50-t4-fp16")
means = t4.of_means()
spread = max(t4.law(size).quantile_s(0.99) / t4.service_mean_s(size) for size in t4.batch_sizes)
print(f"P99 of a batch is at most {spread:.3f} times its mean, so that the mean will do")
assert spread < 1.07

LOADS = [0.02, *(step / 40 for step in range(1, 38)), 0.94, 0.95, 0.96, 0.97]
SIZES = [1, 4, 16, 32]


def plan(size: int, wait_s: float = 0.0, timer: BatchTimer = BatchTimer.OLDEST) -> Plan:
    return Plan(profile=means.name, replicas=1, batch_size_max=size, batch_wait_max_s=wait_s, timer=timer)


def rate_rps(one: Plan, load: float) -> float:
    return load * sustainable_rate_rps(means, one)


def exact(one: Plan, load: float) -> Performance:
    return predict(means, Workload(arrival_rate_rps=rate_rps(one, load)), one, (0.5, 0.99))


def curve_ms(answers: list[Performance], quantile: float) -> list[float]:
    return [1e3 * answer.response_quantiles_s[quantile].value for answer in answers]


# %%
greedy = {size: [exact(plan(size), load) for load in LOADS] for size in SIZES}
for size in SIZES:
    print(f"B = {size:2}   sustains {rate_rps(plan(size), 1.0):5.0f} rps")

# %%
by_load = new_panels(
    ["P50", "P99"],
    x_title="load",
    y_title="response time [ms]",
    title="ResNet-50 on a T4, batches up to B, exact",
    y_log=True,
)
for panel, quantile in zip(by_load.plots, (0.5, 0.99), strict=True):
    for number, size in enumerate(SIZES):
        panel.theory(LOADS, curve_ms(greedy[size], quantile), f"B = {size}", number=number)
by_load

# %%
half = {size: greedy[size][LOADS.index(0.5)] for size in SIZES}
for size, one in half.items():
    p50, p99 = (format_interval(one.response_quantiles_s[q]) for q in (0.5, 0.99))
    print(f"load 0.5   B = {size:2}   {rate_rps(plan(size), 0.5):4.0f} rps   P50 {p50:8} P99 {p99}")
assert min(SIZES, key=lambda size: half[size].response_quantiles_s[0.99].value) == 4

# %% [markdown]
# At the same load the small `B` looks good: at load 0.5, 4 has the lowest P99 of the four. But the same load
# is not the same work: a server with larger batches sustains more requests. Against the arrival rate, which
# is what you are given, the picture turns round.

# %%
by_rate = new_plot(
    x_title="arrival rate [rps]",
    y_title="P99 of the response [ms]",
    title="At the same arrival rate, a larger B is seldom slower",
    y_log=True,
)
for number, size in enumerate(SIZES):
    rates = [rate_rps(plan(size), load) for load in LOADS]
    by_rate.theory(rates, curve_ms(greedy[size], 0.99), f"B = {size}", number=number)
by_rate.limit(40.0, "40 ms")
by_rate.axes.set_xlim(0.0, 1250.0)
by_rate


# %%
def p99_ms(size: int, rate: float) -> float:
    answer = predict(means, Workload(arrival_rate_rps=rate), plan(size), (0.99,))
    return 1e3 * answer.response_quantiles_s[0.99].value


for rate in (100.0, 250.0, 600.0, 900.0):
    able = [size for size in SIZES if rate < rate_rps(plan(size), 1.0)]
    print(f"{rate:4.0f} rps   " + "   ".join(f"B = {size}: {p99_ms(size, rate):6.2f} ms" for size in able))

assert p99_ms(1, 100.0) > p99_ms(4, 100.0)
assert p99_ms(4, 250.0) < p99_ms(1, 250.0) / 2
assert p99_ms(16, 600.0) < 0.6 * p99_ms(4, 600.0)

# %% [markdown]
# - At 250 rps, batches up to 4 bring P99 to less than a half of what one at a time gives; at 600 rps, 16 has
#   less than 0.6 times the P99 of 4. Even at 100 rps, where one at a time is stable with ease, batching is
#   faster.
# - A greedy server does not wait for a batch to fill. At low load it serves batches of one or two whatever
#   `B` says, so that a large `B` costs next to nothing there.
# - Between 16 and 32 there is a price: at 900 rps 32 is slightly slower, since it may start a batch that
#   takes longer than the queue needed. Nearer to the wall of 16 it is faster again.

# %%
assert p99_ms(16, 900.0) < p99_ms(32, 900.0) < 1.05 * p99_ms(16, 900.0)
assert p99_ms(32, 1000.0) < p99_ms(16, 1000.0)
assert all(p99_ms(32, rate) < 1.01 * p99_ms(1, rate) for rate in (2.0, 5.0, 10.0, 20.0))

# %% [markdown]
# ## The trap: "99 % busy" is not "full"
#
# A greedy batching server starts whatever waits, so it is hardly ever idle: as traffic grows it makes larger
# batches instead of more of them. The share of time that it is busy, which is what a GPU monitor shows as
# utilization, rises far above the load.

# %%
busy = new_plot(
    x_title="load: arrival rate over the largest sustainable one",
    y_title="share of time busy",
    title="A greedy batching server is busier than its load",
)
busy.reference([0, 1], [0, 1], "busy = load")
for number, size in enumerate([4, 32]):
    shares = [0.0, *(answer.utilization or 0.0 for answer in greedy[size])]
    busy.theory([0.0, *LOADS], shares, f"B = {size}", number=number)
busy

# %%
v100 = load_profile("resnet50-v100-fp16")
queue = Bulk(
    arrival_rate_rps=0.57 * v100.throughput_rps(16),
    batch_times_s=tuple(v100.service_mean_s(size) for size in range(1, 17)),
)
print(f"ResNet-50 on a V100, B = 16: load {queue.load:.2f}, busy {100 * queue.utilization:.1f} % of the time")
print(f"mean batch {queue.batch_size_mean:.1f} of 16")
assert 0.99 < queue.utilization < 1.0
assert round(queue.load, 2) == 0.57

# %% [markdown]
# A V100 at 57 % of what it can do shows more than 99 % busy. Who scales out at "80 % busy" buys servers that
# nobody needs; who waits for "100 %" learns nothing. **Plan by load, not by the busy share**, and watch the
# mean batch size: it tells how full the server is.
#
# ## Should a batch wait to fill?
#
# With a batch wait of `T`, a free server starts when `B` requests are there or when `T` has passed. But since
# when does the timer count? Serving systems differ:
#
# - **oldest**: since the oldest waiting request arrived (Triton, TensorFlow Serving). A request that came
#   while the server was busy has used up its patience already.
# - **open**: since a free server first sees that somebody waits (TorchServe, Ray Serve). Everybody who came
#   during the last batch waits the whole timer again.

# %%
WAIT_S = 0.010
WAIT_LOADS = LOADS[:-2]
OLDEST, OPEN = plan(16, WAIT_S, BatchTimer.OLDEST), plan(16, WAIT_S, BatchTimer.OPEN)
SETTINGS = {"no wait": plan(16), "oldest": OLDEST, "open": OPEN}
# %% [markdown]
# First the timer of the oldest, for several waits:

# %%
WAITS_S = [0.0, 0.002, 0.005, 0.010]
by_wait = {wait_s: [exact(plan(16, wait_s), load) for load in WAIT_LOADS] for wait_s in WAITS_S}
waits = new_panels(
    ["P50", "P99"],
    x_title="load",
    y_title="response time [ms]",
    title="Batches up to 16 that wait for company: everybody waits longer, until the queue fills them anyway",
)
for panel, quantile in zip(waits.plots, (0.5, 0.99), strict=True):
    for number, wait_s in enumerate(WAITS_S):
        panel.theory(WAIT_LOADS, curve_ms(by_wait[wait_s], quantile), f"{1e3 * wait_s:.0f} ms", number=number)
waits

# %% [markdown]
# Now the two timers side by side, with a wait of 10 ms. Theory is a line below. The points are a simulation
# of the same server, request by request, with 95 % intervals: two roads to one answer.

# %%
waiting = {"no wait": by_wait[0.0], "oldest": by_wait[WAIT_S]}
waiting["open"] = [exact(OPEN, load) for load in WAIT_LOADS]
SIMULATED_LOADS = [0.1, 0.3, 0.5, 0.7, 0.9]
simulation = Simulation(seed=4, precision=0.02, quantiles=(0.5, 0.99))
simulated = {
    name: [simulation(means, Workload(arrival_rate_rps=rate_rps(one, load)), one) for load in SIMULATED_LOADS]
    for name, one in SETTINGS.items()
}

# %%
timers = new_panels(
    ["P50", "P99"],
    x_title="load",
    y_title="response time [ms]",
    title="Batches up to 16 that wait up to 10 ms: two timers, and none",
)
for panel, quantile in zip(timers.plots, (0.5, 0.99), strict=True):
    for number, name in enumerate(SETTINGS):
        intervals = [answer.response_quantiles_s[quantile].scaled(1e3) for answer in simulated[name]]
        panel.theory(WAIT_LOADS, curve_ms(waiting[name], quantile), name, number=number)
        panel.simulated(SIMULATED_LOADS, intervals, "", number=number)
timers

# %%
found = {name: exact(one, 0.5).response_quantiles_s[0.99].value for name, one in SETTINGS.items()}
for name, answers in simulated.items():
    p99 = format_interval(answers[SIMULATED_LOADS.index(0.5)].response_quantiles_s[0.99])
    print(f"load 0.5  {name:8} exact {1e3 * found[name]:5.1f} ms   simulated {p99}")
print(f"the open timer over no wait: {found['open'] / found['no wait']:.2f} times")
assert found["no wait"] < found["oldest"] < found["open"]
assert round(found["open"] / found["no wait"], 1) == 2.5
slower = [curve for wait_s, curve in by_wait.items() if wait_s > 0.0] + [waiting["open"]]
for curve in slower:
    for quantile in (0.5, 0.99):
        pairs = zip(curve_ms(waiting["no wait"], quantile), curve_ms(curve, quantile), strict=True)
        assert all(greedily <= waited for greedily, waited in pairs)
at_low_load = {name: exact(one, 0.02).response_quantiles_s[0.5].value for name, one in SETTINGS.items()}
assert abs(at_low_load["oldest"] - at_low_load["no wait"] - WAIT_S) < 1e-4

# %% [markdown]
# - On this server **no wait is best at every load shown**, beside waits of 2, 5 and 10 ms by the timer of the
#   oldest and of 10 ms by the open one. The queue fills batches by itself as soon as that is needed.
# - At the lowest load a lone request simply pays the whole timer: P50 is 10 ms higher.
# - The `open` timer is the dearer one: at load 0.5 its P99 is 2.5 times that of no wait, because the timer
#   starts anew after each batch, however long the requests have waited that are there already.
#
# And near the wall? What a server sustains is that of full batches, whatever it does with smaller ones, so
# the wall itself is the same for all. That says nothing of the way there:

# %%
NEAR = (0.9, 0.95, 0.98)
near = {load: {name: exact(one, load) for name, one in SETTINGS.items()} for load in NEAR}
dearer = {}
for load, answers in near.items():
    p99s_ms = {name: 1e3 * answer.response_quantiles_s[0.99].value for name, answer in answers.items()}
    dearer[load] = {name: x / p99s_ms["no wait"] - 1.0 for name, x in p99s_ms.items()}
    for name, answer in answers.items():
        print(
            f"load {load:g}  {name:8} mean batch {answer.batch_size_mean:4.1f} of 16, "
            f"P99 {p99s_ms[name]:6.1f} ms, {100 * dearer[load][name]:4.1f} % above no wait"
        )
for name in ("oldest", "open"):
    assert dearer[0.9][name] > dearer[0.95][name] > dearer[0.98][name] > 0.0
assert dearer[0.98]["open"] < 0.05

# %% [markdown]
# The nearer to the wall, the smaller is what a timer adds beside the queue in front of full batches: at load
# 0.98 even the open timer raises P99 by less than 5 %.
#
# ## When a wait does pay
#
# A wait makes larger batches and fewer starts. That frees the device for others, and it may lower P99 on a
# device whose *small batches have the heavier tail*. The profile `resnet50-mxnet-t4-fp16` is such a one. Its
# service times vary, so that there is no exact law, and the simulation answers. Is the tail the reason? The
# same fleet with each batch at its mean time tells, and for that there is a law.

# %%
mxnet = load_profile("resnet50-mxnet-t4-fp16")
tail = {size: mxnet.law(size).quantile_s(0.99) / mxnet.service_mean_s(size) for size in (1, 8, 32)}
print("P99 over mean of a batch:", {size: f"{ratio:.2f}" for size, ratio in tail.items()})
assert tail[32] < 1.2 < 1.9 < tail[1] < tail[8]

FLEET_RPS = Workload(arrival_rate_rps=5000.0)
fleets = {
    wait_s: Plan(profile=mxnet.name, replicas=5, batch_size_max=32, batch_wait_max_s=wait_s)
    for wait_s in (0.0, 0.020)
}
print(f"5 replicas at 5000 rps, load {5000.0 / sustainable_rate_rps(mxnet, fleets[0.0]):.2f}")
as_measured = {
    wait_s: simulation(mxnet, FLEET_RPS, one).response_quantiles_s for wait_s, one in fleets.items()
}
of_means = {
    wait_s: predict(mxnet.of_means(), FLEET_RPS, one, (0.5, 0.99)).response_quantiles_s
    for wait_s, one in fleets.items()
}
for times, by_wait_s in (("as measured", as_measured), ("all at their mean", of_means)):
    for wait_s, quantiles in by_wait_s.items():
        p50, p99 = (format_interval(quantiles[q]) for q in (0.5, 0.99))
        print(f"times {times:17} wait {1e3 * wait_s:2.0f} ms: P50 {p50}, P99 {p99}")

assert as_measured[0.020][0.99].high < as_measured[0.0][0.99].low
assert as_measured[0.020][0.50].low > as_measured[0.0][0.50].high
assert of_means[0.020][0.99].value > of_means[0.0][0.99].value

# %% [markdown]
# And what it frees, on the T4 above at load 0.5:

# %%
busy_share = {name: exact(one, 0.5).utilization or 0.0 for name, one in SETTINGS.items()}
for name, share in busy_share.items():
    print(f"{name:8} busy {100 * share:.0f} % of the time")
assert busy_share["oldest"] < 0.7 * busy_share["no wait"]

# %% [markdown]
# In the first case the wait lowers P99, intervals apart, and raises P50: a median is given for a tail. With
# each batch at its mean the same wait raises P99, so it is the tail of small batches that makes the wait pay
# here. On the T4 it costs latency and gives back 30 % of the busy time or more, which is worth something only
# if somebody else can use the device.
#
# ## What to do
#
# 1. **Measure** how long batches of each size take (`capacity profile`), and read the knee. Do not take a
#    batch size from a rule.
# 2. **Let the server be greedy** (batch wait 0) and allow a largest batch near the knee. At low traffic it
#    costs next to nothing; at high traffic it is what keeps the server stable.
# 3. **Add a batch wait only if a plan shows that it pays** (`capacity plan` searches it by default). Know
#    which timer your server has: `open` costs more than `oldest`.
# 4. **Plan by load** (arrival rate over what is sustainable). A busy share of 99 % is no alarm, and 80 % is
#    no comfort.
#
# How many servers to buy is the next notebook, `05_sizing_a_service`.
