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
# # What do eight-bit weights cost, and how many replicas do they save?
#
# **Question.** My model runs in single precision. I could round its weights to eight bits ("INT8
# quantization"). How wrong do the weights become, how much faster is a batch, and does that save a replica
# or only look good in a benchmark?
#
# Quantization replaces each weight by a whole number from −128 to 127, its *code*. A *scale* says how much
# one step of the code is worth, so that code × scale is near the weight. One byte then stands where four
# stood. The error has a bound that needs no data: rounding to the nearest step is wrong by half a step at
# most, in each weight.
#
# This notebook looks at the error layer by layer, then at what was measured of one network, once as a network
# and once as a service, and then asks the planner. The trained network itself is not here. The weights of the
# next cells are drawn at random, with a fixed seed, in its shapes: their errors and bounds are real, and
# answers they have none. What became of the answers of the trained one was measured and kept.

# %%
import numpy as np
from IPython.display import Markdown

from capacity.performance import Interval
from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from capacity.profile.quantization import Quantized, error_bound, load_measured_quantization, quantize
from capacity.question.candidate import Verdict
from capacity.question.objective import LatencyObjective
from capacity.question.question import Question
from capacity.render.plot import new_panels, new_plot
from capacity.search.planner import recommend
from capacity.search.recommendation import Recommendation
from capacity.traffic.workload import Workload
from simulations.judge import SimulationJudge
from simulations.statistics.profile_error import sampling_intervals

SEED = 7
PER_OUTPUT = 1  # axis of the outputs of a weight matrix (inputs, outputs)


def table(header: str, lines: list[str]) -> Markdown:
    """Lines of cells under a header, as people read them."""
    rule = "|---" * (header.count("|") - 1) + "|"
    return Markdown("\n".join([header, rule, *lines]))


def shown(interval: Interval, digits: int = 2) -> str:
    """Value and ends."""
    value, low, high = (f"{x:.{digits}f}" for x in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


# %% [markdown]
# ## The error, layer by layer
#
# Three matrices, as in the measured network of 30 inputs and two hidden layers of 4096. Each is rounded
# twice: with one scale for the whole matrix (*per tensor*), and with a scale for each output (*per
# channel*). The error is the Frobenius norm of the difference: the root of the sum of all squared errors.
# It stands beside the *bound*, which no rounding can exceed, and the *expected* error, that of errors
# spread evenly over a step. Memory counts codes and scales, the scales in single precision.

# %%
SHAPES = {"first": (30, 4096), "hidden": (4096, 4096), "last": (4096, 1)}
generator = np.random.default_rng(SEED)
weights = {
    layer: generator.normal(scale=shape[0] ** -0.5, size=shape).astype(np.float32)
    for layer, shape in SHAPES.items()
}
rounded = {
    (layer, kind): quantize(matrix, axis=axis)
    for layer, matrix in weights.items()
    for kind, axis in (("per tensor", None), ("per channel", PER_OUTPUT))
}


# %%
def layer_line(layer: str, kind: str, found: Quantized) -> str:
    """One matrix as a line of the table."""
    matrix, error = weights[layer], found.error
    numbers = (error, found.error_expected, found.rounding_bound, error / found.rounding_bound)
    cells = " | ".join(f"{x:.3g}" for x in (*numbers, error / np.linalg.norm(matrix), found.memory_ratio))
    return f"| {layer} {matrix.shape[0]} × {matrix.shape[1]} | {kind} | {cells} |"


for (layer, _), found in rounded.items():
    assert found.rounding_bound_holds
    assert found.saturated == 0
    assert 0.56 < found.error / found.rounding_bound < 0.59
    assert abs(found.error / found.error_expected - 1.0) < 0.03
    assert found.error < 0.02 * np.linalg.norm(weights[layer])

table(
    "| layer | scales | error | expected | bound | error / bound | error / norm | times less memory |",
    [layer_line(layer, kind, found) for (layer, kind), found in rounded.items()],
)

# %% [markdown]
# The bound holds in each row. The error is within 3 % of what is expected, which is from 0.56 to 0.59 of
# the bound, and below 2 % of the norm of the weights. So the bound is safe and not far off, and no data set
# is needed to have it.
#
# What scales per channel gain depends on the layer, and they take memory too. In the first layer only 30
# weights share a scale, and it shrinks 3.53 times and not four.

# %%
lower = {layer: rounded[layer, "per tensor"].error / rounded[layer, "per channel"].error for layer in SHAPES}
ratios = {key: found.memory_ratio for key, found in rounded.items()}
print("error per tensor over error per channel:", {layer: round(x, 2) for layer, x in lower.items()})
print("times less memory:", {f"{layer} {kind}": round(x, 2) for (layer, kind), x in ratios.items()})
assert lower["first"] > lower["hidden"] > 1.3
assert lower["last"] == 1.0  # it has one output, thus one scale either way
assert round(ratios["first", "per channel"], 2) == 3.53
assert min(x for key, x in ratios.items() if key != ("first", "per channel")) > 3.99

# %% [markdown]
# ## The trained network
#
# Its weights are no random numbers. Here is what rounding them did, and what became of its answers on test
# rows that it was not trained with. Its runtime has two methods to compute in eight bits: *dynamic* finds the
# range of a layer's inputs anew in every batch, *static* found it once beforehand.

# %%
measured = load_measured_quantization()
print("measured by", measured.source["command"], "on", measured.source["date"])
for layer in measured.layers:
    assert layer.error <= layer.error_bound * (1.0 + 1e-4)  # but for rounding in single precision
assert {layer.shape for layer in measured.layers} == set(SHAPES.values())

table(
    "| layer | scales | error / bound | error / norm | times less memory |",
    [
        f"| {x.shape[0]} × {x.shape[1]} | {x.granularity} | {x.error / x.error_bound:.3g} | "
        f"{x.error / x.norm:.3g} | {x.memory_ratio:.3g} |"
        for x in measured.layers
    ],
)

# %%
ROWS = measured.forms[0].test_rows
print(f"one of {ROWS} test rows is {100.0 / ROWS:.2f} points of accuracy")
assert 100.0 / ROWS > 0.5
for form in measured.forms:
    assert form.accuracy_loss_points.low < 0.5 < form.accuracy_loss_points.high
    assert form.newly_wrong + form.newly_right < 0.02 * ROWS

table(
    "| method | newly wrong | newly right | points of accuracy lost | file, times smaller |",
    [
        f"| {x.name} | {x.newly_wrong} | {x.newly_right} | {shown(x.accuracy_loss_points)} | {x.file_ratio:.2f} |"
        for x in measured.forms
    ],
)

# %% [markdown]
# The bound holds for trained weights as well. Of the answers less than 2 % changed. Whether accuracy fell by
# less than half a point, as is commonly said, **so few rows cannot tell**: one of them is more than that, and
# each interval lies on both sides of it. It takes more test rows to say.
#
# ## One weight too large
#
# A scale must reach the largest weight. One outlier in a matrix thus makes all steps longer, and every
# other weight pays. With a scale for each output only the outlier's own output does.

# %%
small = generator.normal(scale=1 / 16, size=(256, 256))
FACTORS = [1, 2, 4, 8, 16, 32]


def with_outlier(factor: float, axis: int | None) -> Quantized:
    """The matrix with one weight that is so many times the largest, rounded."""
    matrix = small.copy()
    matrix[0, 0] = factor * np.abs(small).max()
    return quantize(matrix, axis=axis)


norm = float(np.linalg.norm(small))
SCALES = {"one scale": None, "a scale for each output": PER_OUTPUT}
found = {kind: [with_outlier(factor, axis) for factor in FACTORS] for kind, axis in SCALES.items()}
outlier = {kind: [x.error / norm for x in many] for kind, many in found.items()}
plot = new_plot(
    x_title="outlier, in multiples of the largest other weight",
    y_title="error, share of the weights' norm",
    title="One outlier spoils all of a matrix that has one scale",
    x_log=True,
    y_log=True,
)
for number, (kind, errors) in enumerate(outlier.items()):
    plot.theory(FACTORS, [x.error_expected / norm for x in found[kind]], number=number)
    plot.measured(FACTORS, errors, kind, number=number)
assert outlier["one scale"][-1] > 20 * outlier["one scale"][0]
assert outlier["a scale for each output"][-1] < 0.1 * outlier["one scale"][-1]
plot

# %% [markdown]
# The squares are the errors as they are, the lines what is expected of the scales. With an outlier of 32
# times the largest other weight, the error of one scale is more than 20 times as large as without, and that
# of a scale for each output is less than a tenth of it.
#
# ## A scale that is too small
#
# Could one simply choose a small scale? Then large weights lie beyond the outermost code, are cut off, and
# the bound for rounding no longer holds. The package tells both apart.

# %%
fitting = quantize(small)
step = float(fitting.scales[0])
tight = quantize(small, scale=step / 4)
print(f"weights cut off: {tight.saturated} of {small.size}")
print(
    f"error {tight.error:.3g}, bound of rounding {tight.rounding_bound:.3g}, "
    f"with the cut {tight.error_bound:.3g}, of the scale that fits {fitting.error:.3g}"
)
assert tight.saturated > 0
assert not tight.rounding_bound_holds
assert tight.error <= tight.error_bound
assert tight.rounding_bound == error_bound(step / 4, small.size)
assert tight.error > fitting.error  # worse than the scale that fits
assert tight.saturated > 0.1 * small.size

# %% [markdown]
# Here a quarter of the scale that fits gives a larger error than that scale itself.
#
# ## Profile beside profile
#
# Both forms of the network were served on one core of one machine, and batches of each size were timed in
# random order. In brackets and as bars: the 95 % interval that resampling the timings gives (in blocks,
# since slow batches come in spells). It says how far the samples of this run may be off, not what another
# machine would do.

# %%
before, after = load_profile("serve-mlp-cpu-fp32"), load_profile("serve-mlp-cpu-int8")
PAIR = {"single precision": before, "eight bits": after}
SIZES = before.batch_sizes
assert after.batch_sizes == SIZES
assert "30-4096-4096" in before.model
assert after.model == before.model
assert after.device == before.device
assert all("random order" in profile.source["settings"] for profile in PAIR.values())


def throughputs_rps(one: ServiceProfile, other: ServiceProfile) -> list[float]:
    """Of full batches of each size, first of the one and then of the other."""
    return [profile.throughput_rps(size) for profile in (one, other) for size in SIZES]


def speed_ratios(one: ServiceProfile, other: ServiceProfile) -> list[float]:
    """Throughput of the other over that of the one, by size."""
    return [other.throughput_rps(size) / one.throughput_rps(size) for size in SIZES]


speedups = dict(zip(SIZES, sampling_intervals([before, after], speed_ratios, seed=SEED), strict=True))

# %%
panels = new_panels(
    ["full batches", "eight bits over single precision"],
    x_title="batch size",
    y_title=("throughput [requests/s]", "times as fast"),
    title="The same network on one core in single precision and in eight bits",
    x_log=True,
)
both = sampling_intervals([before, after], throughputs_rps, seed=SEED)
for number, name in enumerate(PAIR):
    own = both[number * len(SIZES) : (number + 1) * len(SIZES)]
    panels.plots[0].measured(SIZES, [x.value for x in own], name, number=number, intervals=own)
ratio = list(speedups.values())
panels.plots[1].measured(SIZES, [x.value for x in ratio], number=2, intervals=ratio)
panels.plots[1].limit(2.0, "the usual claim: 2 times")
for plot in panels.plots:
    plot.axes.set_ylim(bottom=0.0)
panels


# %%
def finding(size: int, found: Interval) -> str:
    """What was measured at a batch size, and what that says of "twice as fast"."""
    said = "holds" if found.low >= 2.0 else "does not hold" if found.high < 2.0 else "cannot be told"
    return f"| {size} | {shown(found)} | {said} |"


assert all(x.low > 1.0 for x in speedups.values())  # faster at every size
assert max(x.low for x in speedups.values()) > min(x.high for x in speedups.values())  # not by one factor
table("| batch size | times as fast | twice as fast |", [finding(size, x) for size, x in speedups.items()])

# %% [markdown]
# Eight bits are faster at every batch size that was measured, but *how much* faster is not one number: it
# depends on the batch size, which in service is whatever the load makes it. Part of a request's work, such
# as reading and checking it, is not done by the network and gains nothing from eight bits, so the gain of
# the service is smaller than that of the network alone (next cell).

# %%
for name, profile in PAIR.items():
    print(f"{name:17} work of a request beside the network {1e6 * profile.request_work_s:.0f} us, "
          f"all of a full batch of {SIZES[-1]} {1e3 * profile.service_mean_s(SIZES[-1]):.1f} ms")  # fmt: skip
    assert profile.request_work_s > 0.0


def network_ratio(one: ServiceProfile, other: ServiceProfile) -> list[float]:
    """Times of a full batch without the work beside it, the one over the other."""
    size = SIZES[-1]
    alone_s = [profile.service_mean_s(size) - profile.work_s(size) for profile in (one, other)]
    return [alone_s[0] / alone_s[1]]


(network,) = sampling_intervals([before, after], network_ratio, seed=SEED)
service = speedups[SIZES[-1]]
print(f"full batch: network alone {shown(network)} times as fast, service {shown(service)} times")
assert network.low > service.high

# %% [markdown]
# ## Replicas saved
#
# The planner takes the cheapest fleet whose P99 stays within the limit, judged by simulation; replicas come
# whole, and a queue needs room beside the load. Both forms are asked the same question.

# %%
QUESTIONS = [(1000.0, 0.030), (3000.0, 0.015), (8000.0, 0.030)]


def plan_for(profile: ServiceProfile, rate_rps: float, limit_s: float) -> Recommendation:
    """The cheapest fleet that keeps P99 within the limit."""
    question = Question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=rate_rps),
        objective=LatencyObjective(limits={0.99: limit_s}),
    )
    return recommend(question, SimulationJudge(seed=SEED, precision=0.05), with_headroom=False)


plans = {
    (rate_rps, limit_s): {name: plan_for(profile, rate_rps, limit_s) for name, profile in PAIR.items()}
    for rate_rps, limit_s in QUESTIONS
}


# %%
def answer(found: Recommendation) -> str:
    """Fleet and P99."""
    if found.verdict is not Verdict.MET:
        return found.verdict.value
    p99 = found.performance.response_quantiles_s[0.99]
    shown = " ".join(f"{1e3 * x:.1f}" for x in (p99.value, p99.low, p99.high)).split()
    return (
        f"{found.plan.replicas}, up to {found.plan.batch_size_max}: {shown[0]} ({shown[1]} to {shown[2]}) ms"
    )


def saved(pair: dict[str, Recommendation]) -> str:
    """Replicas fewer in eight bits; none where a plan is missing."""
    one, other = pair.values()
    if one.plan is None or other.plan is None:
        return "–"
    return str(one.plan.replicas - other.plan.replicas)


table(
    "| rate | P99 within | single precision: replicas, batch, P99 | eight bits | replicas saved |",
    [
        f"| {rate_rps:.0f} rps | {1e3 * limit_s:.0f} ms | "
        + " | ".join(answer(found) for found in pair.values())
        + f" | {saved(pair)} |"
        for (rate_rps, limit_s), pair in plans.items()
    ],
)

# %%
met = {q: pair for q, pair in plans.items() if all(x.verdict is Verdict.MET for x in pair.values())}
fewer = {
    q: pair["single precision"].plan.replicas - pair["eight bits"].plan.replicas for q, pair in met.items()
}
cost = {q: {name: found.hourly_usd for name, found in pair.items()} for q, pair in met.items()}
assert met
assert all(saved_here >= 0 for saved_here in fewer.values())
assert before.hourly_usd == after.hourly_usd
print("price of a replica:", before.source["price"])
Markdown(
    f"Of {len(QUESTIONS)} questions, {len(met)} have a plan in both forms, and "
    f"{sum(x > 0 for x in fewer.values())} of these take fewer replicas in eight bits. By the profiles' "
    f"`hourly_usd`, {before.hourly_usd:g} USD an hour for each replica: "
    + "; ".join(
        f"at {rate:.0f} rps {c['single precision']:.2f} and {c['eight bits']:.2f} USD an hour"
        for (rate, _), c in cost.items()
    )
    + "."
)

# %% [markdown]
# In no question that both forms can answer do eight bits take more replicas. How many they save is not the
# speed-up times anything: replicas are whole, a queue needs room to breathe, and a small fleet may have
# nothing to save. The price is a list price of such a core, as the profile's source says, and not what the
# machine cost that was measured.
#
# ## What to do
#
# 1. Round with a scale for each output. Look at error beside bound: `rounding_bound_holds` false means that
#    a scale is too small for its weights.
# 2. Measure accuracy on *your* test rows. No bound on weights says what becomes of answers. `python -m
#    serve_api.quantize` does it for the service in this repository.
# 3. Measure a profile of each form on the device that will serve it (`capacity profile`), and compare at
#    the batch sizes that your load makes, not at the best one.
# 4. Plan with each profile (`capacity plan --profile a.json --profile b.json`) and count whole replicas. If
#    none is saved, eight bits buy only latency and memory.
