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
# # Which of the usual claims about serving can you plan by?
#
# Talks and tutorials about serving models repeat a handful of numbers: plan for 80 %, batch by 32 to 128, eight bits are
# twice as fast. Each claim below is tested against an exact law of queues, a simulation, or a measurement (the
# profiles that come with the package). No verdict is typed in: each is computed by the test that the text above it states.
# That L = λW needs no distribution is tested in `01_littles_law`.
#
# The *load* is the arrival rate over the highest rate that can be served; the *response* of a request is its wait plus its
# service.

# %%
import pandas as pd

import capacity as cap

VERDICTS = []


def verdict(claim, cases):
    """What the cases say together; None is one that nothing here can tell."""
    by_answer = {
        said: "; ".join(name for name, holds in cases.items() if holds is answer)
        for said, answer in (("yes for", True), ("no for", False), ("undecided for", None))
    }
    holds = {bool(holds) for holds in cases.values()}
    word = "holds in part" if len(holds) > 1 else "holds" if holds == {True} else "does not hold"
    VERDICTS.append({"claim": claim, "verdict": word, **by_answer})
    return word


def inside(found, low, high):
    """Whether all of an interval lies between two limits; None where only a part does."""
    if low <= found.low and found.high <= high:
        return True
    return False if found.high < low or found.low > high else None


def mm(servers, load):
    """Exponential servers of mean service 1 s at one queue."""
    return cap.queues.MMc(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers)


# %% [markdown]
# ## "Latency doubles, so the queue doubles"
#
# A claim about Little's law at a fixed arrival rate. *Test:* for one exponential server, the number afterwards is twice
# that before, within 5 %, if the **response** doubles (loads 0.6 and 0.75 at the same rate) and if the **service** time
# does (loads 0.4 and 0.8).

# %%
grown = pd.DataFrame(
    {
        what: {
            "in the system": mm(1, late).in_system_mean / mm(1, early).in_system_mean,
            "waiting": mm(1, late).queue_length_mean / mm(1, early).queue_length_mean,
        }
        for what, (early, late) in {"response doubled": (0.6, 0.75), "service doubled": (0.4, 0.8)}.items()
    }
)
seen = [cap.simulate_law(mm(1, load), quantile=0.9).performance for load in (0.4, 0.8)]
simulated = seen[1].queue_length_mean / seen[0].queue_length_mean
print(f"waiting with service doubled, simulated: {simulated:.1f} times")
assert abs(simulated / grown["service doubled"]["waiting"] - 1.0) < 0.05
verdict(
    "latency doubles, queue doubles",
    {f"{who} ({what})": bool(1.9 < grown[what][who] < 2.1) for what in grown for who in grown.index},
)
grown.round(2)

# %% [markdown]
# ## "Manageable at 80 %, explodes at 95 %"
#
# *Test:* it is manageable if the mean response at 80 % is at most two service times; it explodes if the mean response more
# than doubles from 80 to 95 %.

# %%
QUEUES = {
    "1 server": lambda load: mm(1, load),
    "1 server, constant service": lambda load: cap.queues.MDc(
        arrival_rate_rps=load, service_time_s=1.0, servers=1
    ),
    "4 servers": lambda load: mm(4, load),
    "64 servers": lambda load: mm(64, load),
}
busy = pd.DataFrame(
    {
        name: {f"{load:.0%}": queue(load).response_mean_s for load in (0.8, 0.95)}
        for name, queue in QUEUES.items()
    }
).T
verdict(
    "manageable at 80 %, explodes at 95 %",
    {f"manageable with {name}": bool(row["80%"] <= 2.0) for name, row in busy.iterrows()}
    | {f"explodes with {name}": bool(row["95%"] > 2.0 * row["80%"]) for name, row in busy.iterrows()},
)
assert busy["80%"]["1 server"] > 4.99
assert busy["95%"]["64 servers"] < 1.2
busy.rename_axis("mean response [services]").round(2)

# %% [markdown]
# At 80 % one server already takes five service times, while 64 at 95 % take less than 1.2: a load means nothing as a target
# without the number of servers.
#
# ## "Faster servers stay stable at the same arrival rate"
#
# *Test:* 8 requests a second at servers that manage 10, 5 and 2 a second; theory refuses what has no steady state. The
# claim holds if the servers that are faster than the arrivals, and only those, have one.


# %%
def is_stable(service_rate_rps):
    """Whether there is a steady state."""
    try:
        cap.queues.MM1(arrival_rate_rps=8.0, service_rate_rps=service_rate_rps)
    except cap.UnstableError:
        return False
    return True


verdict(
    "faster servers stay stable at the same arrival rate",
    {f"servers of {rate:g} rps": is_stable(rate) == (rate > 8.0) for rate in (10.0, 5.0, 2.0)},
)

# %% [markdown]
# ## "Throughput grows by B"
#
# *Test:* for each bundled profile, the largest measured batch whose throughput is at least 90 % of B times that at 1, and
# whether this holds at the knee (beyond the knee a doubling gives less than 10 %).

# %%
profiles = [cap.load_profile(name) for name in cap.bundled_names()]


def share_of_b(profile, size):
    """Throughput over B times that of single requests."""
    return profile.throughput_rps(size) / (size * profile.throughput_rps(1))


batches = pd.DataFrame(
    [
        {
            "profile": profile.name,
            "B times up to": max(size for size in profile.batch_sizes if share_of_b(profile, size) >= 0.9),
            "knee": profile.knee_batch_size,
            "share of B at the knee": share_of_b(profile, profile.knee_batch_size),
        }
        for profile in profiles
        if profile.batch_size_min == 1
    ]
).set_index("profile")
some, at_knee = (
    int((batches["B times up to"] > 1).sum()),
    int((batches["share of B at the knee"] >= 0.9).sum()),
)
verdict(
    "throughput grows by B",
    {
        f"small batches, up to {batches['B times up to'].max()}, in {some} profiles": some > 0,
        f"any batch in {len(batches) - some} profiles": some == len(batches),
        f"the knee in {len(batches) - at_knee} of {len(batches)} profiles": at_knee == len(batches),
    },
)
assert at_knee < some < len(batches)
batches.round(2)

# %% [markdown]
# ## "B = 32 to 128 is optimal"
#
# *Test:* for throughput, the knee of each profile lies between 32 and 128. For a plan, ResNet-50 on a T4 at 3200 rps with
# P99 within 40 ms (mean batch times, exact law): some B from 32 to 128 needs fewer replicas than every smaller one.

# %%
t4 = cap.load_profile("resnet50-t4-fp16").of_means()


def fewest(size):
    """Fewest replicas with batches up to a size."""
    replicas = int(3200.0 / t4.throughput_rps(size)) + 1
    while True:
        answer = cap.predict(t4, replicas, rate="3200rps", batch_size_max=size, quantile=0.99)
        if answer.performance.response_quantiles_s[0.99].value <= 0.040:
            return replicas
        replicas += 1


needed = {size: fewest(size) for size in (1, 2, 4, 8, 16, 32, 64, 128)}
knees = [profile.knee_batch_size for profile in profiles]
within = sum(32 <= knee <= 128 for knee in knees)
print("fewest replicas by largest batch:", needed)
print(f"knee from 32 to 128 in {within} of {len(knees)} profiles, overall {min(knees)} to {max(knees)}")
verdict(
    "B = 32 to 128 is optimal",
    {
        f"the throughput of {within} profiles": within > 0,
        f"the throughput of {len(knees) - within} profiles": within == len(knees),
        "the plan within 40 ms": min(needed[b] for b in needed if b >= 32)
        < min(needed[b] for b in needed if b < 32),
    },
)
assert needed[8] == needed[128] == min(needed.values())

# %% [markdown]
# Once the batch is large enough, a larger one saves no replica and costs none, since a server that starts at once seldom
# has so many requests waiting.
#
# ## "Latency grows with (B − 1) × wait"
#
# A claim about a server that waits for its batch to fill. But the timer runs once for a batch, and under load batches fill
# before it ends. *Test:* ResNet-50 on a T4, batches up to 8, a timer as long as a batch of one takes: what it adds to the
# mean and to P99 is within 10 % of 7 waits.

# %%
WAIT_S, TIMER_LOADS = t4.service_mean_s(1), (0.05, 0.3, 0.6, 0.9)


def mean_and_p99_s(load, **wait):
    """By the exact law."""
    found = cap.predict(
        t4, 1, rate_rps=load * t4.throughput_rps(8), batch_size_max=8, quantile=0.99, **wait
    ).performance
    return found.response_mean_s, found.response_quantiles_s[0.99].value


added = {}
for load in TIMER_LOADS:
    greedy = mean_and_p99_s(load)
    for timer in ("oldest", "open"):
        timed = mean_and_p99_s(load, batch_wait_s=WAIT_S, timer=timer)
        for what, before, after in zip(("mean", "P99"), greedy, timed, strict=True):
            added[f"{what} by {timer}", load] = (after - before) / WAIT_S
added = pd.Series(added).unstack()
verdict(
    "latency grows with (B − 1) × wait",
    {name: bool((row.between(6.3, 7.7)).any()) for name, row in added.iterrows()},
)
assert added.loc["mean by oldest"].max() <= 1.0
assert added.to_numpy().max() < 3.5
added.rename_axis("added, in waits, by load", axis=1).round(2)

# %% [markdown]
# At none of these loads does the `oldest` timer add more than one wait to the mean, and no timer adds half of what is
# claimed to the mean or to P99.
#
# ## "INT8: 4x memory, 2x speed, < 0.5 % accuracy"
#
# *Test:* for one network, measured as a service: bytes of its weights to one decimal, times as fast by batch size, and
# points of accuracy lost on the test rows, with their intervals.

# %%
measured = cap.load_measured_quantization()
before, after = cap.load_profile("serve-mlp-cpu-fp32"), cap.load_profile("serve-mlp-cpu-int8")
SIZES = before.batch_sizes
speedups = cap.sampling_intervals(
    [before, after],
    lambda one, other: [other.throughput_rps(size) / one.throughput_rps(size) for size in SIZES],
)
memory = measured.memory_ratio("per channel")
print(f"weights {memory:.2f} times smaller; points of accuracy lost: ", end="")
print(
    {
        form.name: f"{form.accuracy_loss_points.low:.1f} to {form.accuracy_loss_points.high:.1f}"
        for form in measured.forms
    }
)
verdict(
    "INT8: 4x memory, 2x speed, < 0.5 % accuracy",
    {
        "memory": round(memory, 1) >= 4.0,
        **{f"speed at batch {size}": inside(x, 2.0, 99.0) for size, x in zip(SIZES, speedups, strict=True)},
        **{
            f"accuracy, {form.name}": inside(form.accuracy_loss_points, -99.0, 0.5) for form in measured.forms
        },
    },
)
pd.DataFrame(
    [
        {"batch": b, "times as fast": x.value, "low": x.low, "high": x.high}
        for b, x in zip(SIZES, speedups, strict=True)
    ]
).round(2)

# %% [markdown]
# ## "N replicas: throughput × N, P50 unchanged, P99 better"
#
# *Test:* throughput: N replicas sustain N times the rate, on a device each and as *two instances on one
# device* (FastPitch on an A100, see `06_scaling_out`). P50 and P99 of exponential servers at load 0.8, compared with one
# such server: P50 must be the same within 5 %, P99 at least 5 % lower.

# %%
FLEET = {"service_rate_rps": 1.0}
FLEETS = {
    "2 at random": cap.queues.RandomSplit(arrival_rate_rps=1.6, replicas=2, **FLEET),
    "2 by round-robin": cap.queues.RoundRobin(arrival_rate_rps=1.6, replicas=2, **FLEET),
    "2 by least-outstanding": cap.queues.ShortestQueue(arrival_rate_rps=1.6, **FLEET),
    "2 at one queue": mm(2, 0.8),
    "8 by round-robin": cap.queues.RoundRobin(arrival_rate_rps=6.4, replicas=8, **FLEET),
    "8 at one queue": mm(8, 0.8),
}
fleets = pd.DataFrame(
    {
        name: {"P50": law.response_quantile_s(0.5), "P99": law.response_quantile_s(0.99)}
        for name, law in {"1 server": mm(1, 0.8), **FLEETS}.items()
    }
).T
over_one = fleets / fleets.loc["1 server"]
together = cap.Contention(slowdowns=(1.0, 2 * 152.4 / 209.1), is_measured=True)
timings = (cap.BatchTiming(batch_size=1, mean_s=1.0),)
device = cap.ServiceProfile(name="instances", timings=timings, instances_per_device=2, contention=together)
apart = cap.predict(cap.ServiceProfile(name="alone", timings=timings), 2, rate="1rps")
two = cap.simulate(device, 2, rate="1rps", precision=0.1)
print(f"two instances on one device sustain {two.sustainable_rate_rps:.2f} times what one does")
verdict(
    "N replicas: throughput × N, P50 unchanged, P99 better",
    {
        "throughput of a device each": apart.sustainable_rate_rps == 2.0,
        "throughput of two on one device": two.sustainable_rate_rps >= 2.0,
        **{f"P50 of {name}": bool(0.95 <= over_one["P50"][name] <= 1.05) for name in FLEETS},
        **{f"P99 of {name}": bool(over_one["P99"][name] <= 0.95) for name in FLEETS},
    },
)
assert not ((over_one["P50"] >= 0.95) & (over_one["P99"] <= 0.95)).any()
fleets.rename_axis("[services]").round(2)

# %% [markdown]
# Under none of these routers do both hold at once: what improves P99 improves P50 too.
#
# ## "100 users, 100 rps, P50 45 ms, P99 340 ms"
#
# A load-test report. Users, throughput and think time fix the mean response. *Test:* whether the percentiles can belong
# to that mean.

# %%
reports = {
    z: cap.queues.LoadTestReport(
        users=100, think_time_s=z, throughput_rps=100.0, response_quantiles_s={0.5: 0.045, 0.99: 0.340}
    )
    for z in (0.0, 0.3, 0.95)
}
verdict(
    "100 users, 100 rps, P50 45 ms, P99 340 ms",
    {f"think time {z:g} s": x.credible for z, x in reports.items()},
)
pd.DataFrame(
    [
        {"think time [s]": z, "mean required [s]": round(x.required_response_mean_s, 2), "why": x.reason}
        for z, x in reports.items()
    ]
)

# %% [markdown]
# So the first thing to ask about such a report is the think time; without one it cannot be true.
#
# ## "P50 120 ms with P99 2 400 ms: what service mix does that?"
#
# P99 is twenty times P50. Behind one exponential server it is 6.6 times P50 at any load. *Test:* one server at half load, 3 %
# of the requests are long; a search over the exact law finds how long, and the mix must give both percentiles within 5 %.


# %%
def mixed(short_s, times, long=3):
    """A hundred requests, some of them longer by a factor."""
    samples_s = (short_s,) * (100 - long) + (short_s * times,) * long
    return cap.ServiceProfile(name="mix", timings=(cap.BatchTiming(batch_size=1, samples_s=samples_s),))


def p50_and_p99(profile):
    """At half load."""
    rate_rps = 0.5 * profile.throughput_rps(1)
    found = cap.predict(profile, 1, rate_rps=rate_rps, quantile=[0.5, 0.99]).performance.response_quantiles_s
    return found[0.5], found[0.99]


def p99_over_p50(times):
    """Of a mix, whatever its unit of time."""
    p50, p99 = p50_and_p99(mixed(1.0, times))
    return p99.value / p50.value


low, high = 2.0, 200.0
while high - low > 0.01:
    middle = (low + high) / 2.0
    low, high = (middle, high) if p99_over_p50(middle) < 20.0 else (low, middle)
short_s = 0.120 / p50_and_p99(mixed(1.0, high))[0].value
exponential = [
    mm(1, load).response_quantile_s(0.99) / mm(1, load).response_quantile_s(0.5) for load in (0.1, 0.5, 0.95)
]
p50, p99 = p50_and_p99(mixed(short_s, high))
print(f"one exponential server: {min(exponential):.2f} to {max(exponential):.2f} times")
print(f"3 % long: {cap.format_duration(short_s)} and {cap.format_duration(short_s * high)}", end=", ")
print(f"P50 {cap.format_interval(p50)}, P99 {cap.format_interval(p99)}")
verdict(
    "P50 120 ms with P99 2 400 ms",
    {
        "one exponential server": max(exponential) >= 20.0,
        "a mix with 3 % long requests": bool(
            abs(p50.value / 0.120 - 1) < 0.05 and abs(p99.value / 2.400 - 1) < 0.05
        ),
    },
)
assert round(min(exponential), 1) == round(max(exponential), 1) == 6.6

# %% [markdown]
# ## All claims in one table

# %%
table = pd.DataFrame(VERDICTS).set_index("claim")
pd.options.display.max_colwidth = None
assert list(table.index[table["verdict"] == "holds"]) == [
    "faster servers stay stable at the same arrival rate"
]
table

# %% [markdown]
# One of them holds as it stands, and most of the others hold in some cases.
#
# ## What to do
#
# * Do not plan by utilization. Ask what P99 your number of servers gives at your variability: `capacity queue mmc`,
#   or `02_utilization_curves`.
# * Take batch size, gain and knee from a profile of *your* model on *your* device (`capacity profile`), never from a rule.
# * Set a batch timer by what it adds to your P99 at your load, and know which timer your server has: `04_batching`.
# * Measure eight bits before you count on them: size, speed at your batch size, and accuracy, each separately:
#   `07_quantization`.
# * Choose the router before the number of replicas, and do not count instances of one device as replicas:
#   `06_scaling_out`.
# * Check a load test before you believe it (`capacity littles-law`), and where P99 is many times P50, look for a mix of short
#   and long requests before adding replicas.
