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
# Your model runs in single precision. You could round its weights to eight bits ("INT8 quantization"). How wrong do the
# weights become, how much faster is a batch, and does that save a replica or only look good in a benchmark?
#
# Quantization replaces each weight with a whole number from −127 to 127, its *code*; a *scale* says how much one step of
# the code is worth. One byte then replaces four. The error has a bound that needs no data: each weight is wrong
# by half a step at most.

# %%
import numpy as np
import pandas as pd

import capacity as cap

# %% [markdown]
# ## The error, layer by layer
#
# Three matrices drawn at random, in the shapes of a network of 30 inputs and two hidden layers of 4096. Each is rounded
# twice: with one scale for the whole matrix (*per tensor*), and with a scale for each output (*per channel*). The error
# is the Frobenius norm of the difference, beside the *bound* that no rounding can exceed.

# %%
SHAPES = {"first": (30, 4096), "hidden": (4096, 4096), "last": (4096, 1)}
SCALES = {"per tensor": None, "per channel": 1}  # the axis of the outputs
rng = np.random.default_rng(7)
rows = {}
for layer, shape in SHAPES.items():
    weights = rng.normal(scale=shape[0] ** -0.5, size=shape).astype(np.float32)
    for scales, axis in SCALES.items():
        found = cap.quantize(weights, axis=axis)
        assert found.rounding_bound_holds
        rows[layer, scales] = {
            "error": found.error,
            "error / bound": found.error / found.rounding_bound,
            "error / norm": found.error / np.linalg.norm(weights),
            "times less memory": found.memory_ratio,
        }
layers = pd.DataFrame(rows).T
per_tensor, per_channel = (layers["error"].xs(scales, level=1) for scales in SCALES)
assert layers["error / bound"].between(0.56, 0.59).all()
assert layers["error / norm"].max() < 0.02
assert (per_tensor / per_channel)["first"] > (per_tensor / per_channel)["hidden"] > 1.3
assert round(layers["times less memory"]["first", "per channel"], 2) == 3.53
layers.round(3)

# %% [markdown]
# The bound holds in each row, and the error is 0.56 to 0.59 of it and below 2 % of the norm of the weights. What scales per
# channel gain depends on the layer, and they take memory too: in the first layer only 30 weights share one, so the layer
# shrinks 3.53 times, not four.
#
# ## One weight too large
#
# A scale must reach the largest weight, so one outlier makes all steps of its scale longer. Here is a matrix in which one
# weight is a multiple of the largest other:

# %%
small, FACTORS = rng.normal(scale=1 / 16, size=(256, 256)), [1, 2, 4, 8, 16, 32]


def error_with_outlier(factor, axis):
    """Error as a share of the norm of the other weights."""
    matrix = small.copy()
    matrix[0, 0] = factor * np.abs(small).max()
    return cap.quantize(matrix, axis=axis).error / np.linalg.norm(small)


outliers = pd.DataFrame(
    {scales: [error_with_outlier(factor, axis) for factor in FACTORS] for scales, axis in SCALES.items()},
    index=FACTORS,
)
plot = cap.new_plot(
    x_title="outlier, in multiples of the largest other weight",
    y_title="error, share of the weights' norm",
    title="One outlier spoils all of a matrix that has one scale",
    x_log=True,
    y_log=True,
)
for number, scales in enumerate(outliers):
    plot.measured(FACTORS, outliers[scales], scales, number=number)
plot

# %%
assert outliers["per tensor"][32] > 20 * outliers["per tensor"][1]
assert outliers["per channel"][32] < 0.1 * outliers["per tensor"][32]
fitting = cap.quantize(small)
tight = cap.quantize(small, scale=float(fitting.scales[0]) / 4)
print(
    f"a scale four times too small: {tight.saturated / small.size:.0%} of the weights are cut off, ", end=""
)
print(f"error {tight.error:.2f} instead of {fitting.error:.2f}, bound of rounding {tight.rounding_bound:.2f}")
assert tight.saturated > 0.1 * small.size
assert not tight.rounding_bound_holds
assert tight.error > fitting.error
outliers.rename_axis("outlier").round(4)

# %% [markdown]
# With an outlier of 32 times, the error of one scale is more than 20 times as large as without; with a scale for each output
# it is less than a tenth of that. Nor can you simply choose a small scale: large weights then lie beyond the outermost
# code and are cut off, which is worse, and `rounding_bound_holds` says so.
#
# ## A trained network
#
# The weights of a trained network are not random. Here is what rounding did to its answers, on test rows that it was not
# trained on. Its runtime has two methods: *dynamic* finds the range of a layer's inputs in every batch, *static* found it
# once beforehand.

# %%
measured = cap.load_measured_quantization()
assert all(layer.error <= layer.error_bound * (1.0 + 1e-4) for layer in measured.layers)
for form in measured.forms:
    assert form.accuracy_loss_points.low < 0.5 < form.accuracy_loss_points.high
    assert form.newly_wrong + form.newly_right < 0.02 * form.test_rows
print("measured by", measured.source["command"], "on", measured.source["date"])
print(
    f"one of {measured.forms[0].test_rows} test rows is {100 / measured.forms[0].test_rows:.2f} points of accuracy"
)
pd.DataFrame(
    [
        {
            "method": form.name,
            "newly wrong": form.newly_wrong,
            "newly right": form.newly_right,
            "points lost": form.accuracy_loss_points.value,
            "low": form.accuracy_loss_points.low,
            "high": form.accuracy_loss_points.high,
            "file, times smaller": form.file_ratio,
        }
        for form in measured.forms
    ]
).round(2)

# %% [markdown]
# The bound holds for trained weights as well, and less than 2 % of the answers changed. Whether accuracy fell by less than
# half a point, as is commonly said, **so few rows cannot tell**: one row is more than that, and each interval includes
# half a point.
#
# ## Profile beside profile
#
# Both forms were served on one core of one machine, and batches of each size were timed in random order. Bars are the 95 %
# intervals from the scatter of the timings; they do not say what another machine would do.

# %%
before, after = cap.load_profile("serve-mlp-cpu-fp32"), cap.load_profile("serve-mlp-cpu-int8")
SIZES = list(before.batch_sizes)


def compared(one, other):
    """Throughput of both by size, times as fast by size, and times as fast without the work beside the network."""
    both = [[profile.throughput_rps(size) for size in SIZES] for profile in (one, other)]
    alone_s = [profile.service_mean_s(SIZES[-1]) - profile.work_s(SIZES[-1]) for profile in (one, other)]
    return [*both[0], *both[1], *(b / a for a, b in zip(*both, strict=True)), alone_s[0] / alone_s[1]]


found, n = cap.sampling_intervals([before, after], compared), len(SIZES)
throughputs, speedups, network = (found[:n], found[n : 2 * n]), found[2 * n : 3 * n], found[-1]
panels = cap.new_panels(
    ["full batches", "eight bits over single precision"],
    x_title="batch size",
    y_title=("throughput [rps]", "times as fast"),
    title="The same network on one core in single precision and in eight bits",
    x_log=True,
)
throughput, ratio = panels.plots
for number, name in enumerate(("single precision", "eight bits")):
    seen = throughputs[number]
    throughput.measured(SIZES, [x.value for x in seen], name, number=number, intervals=seen)
ratio.measured(SIZES, [x.value for x in speedups], number=2, intervals=speedups)
ratio.limit(2.0, "the usual claim")
panels

# %%
assert all(x.low > 1.0 for x in speedups)
assert max(x.low for x in speedups) > min(x.high for x in speedups)
assert network.low > speedups[-1].high
pd.DataFrame(
    [
        {"batch": size, "times as fast": x.value, "low": x.low, "high": x.high}
        for size, x in zip([*SIZES, f"{SIZES[-1]}, network alone"], [*speedups, network], strict=True)
    ]
).round(2)

# %% [markdown]
# Eight bits are faster at every batch size, but *how much* faster is not one number: it depends on the batch size, which in
# production is whatever the load makes it. And part of a request's work, such as reading and checking it, gets no faster,
# so the service gains less than the network alone.
#
# ## Replicas saved
#
# 3000 requests a second with P99 within 15 ms, batches up to 16: how many replicas does each form take? And for a small
# service of 1000 requests a second with P99 within 30 ms?

# %%
asked = {"batch_size_max": 16, "quantile": 0.99, "precision": 0.1}
large = cap.sweep([before, after], [1, 2, 3, 4], rate="3000rps", **asked).to_frame()
small_service = cap.sweep([before, after], 1, rate="1000rps", **asked).to_frame()
cells = pd.concat([large, small_service], ignore_index=True)
cells["within [ms]"] = cells["arrival_rate_rps"].map({3000.0: 15.0, 1000.0: 30.0})
cells["P99 [ms]"], cells["up to [ms]"] = (
    1e3 * cells["response_p99_s"].astype(float),
    1e3 * cells["response_p99_high_s"].astype(float),
)
cells["met"] = cells["up to [ms]"] <= cells["within [ms]"]
fewest = cells[cells["met"]].groupby(["arrival_rate_rps", "profile"])["replicas"].min().unstack()
assert list(fewest.loc[3000.0]) == [4, 2]
assert list(fewest.loc[1000.0]) == [1, 1]
cells[
    ["arrival_rate_rps", "profile", "replicas", "load", "P99 [ms]", "up to [ms]", "within [ms]", "met"]
].round(2)

# %%
assert before.hourly_usd == after.hourly_usd
print(f"at {before.hourly_usd:g} USD an hour for a replica, 3000 rps cost ", end="")
print(f"{4 * before.hourly_usd:.2f} and {2 * after.hourly_usd:.2f} USD an hour")
fewest

# %% [markdown]
# The large service takes two replicas in eight bits instead of four; the small one takes one either way. You cannot
# compute the saving from the speed-up: replicas are whole, random arrivals need slack, and a small fleet may have nothing
# to save.
#
# ## What to do
#
# 1. Round with a scale for each output. `rounding_bound_holds` false means that a scale is too small for its weights.
# 2. Measure accuracy on *your* test rows, and enough of them. No bound on weights says what happens to the answers.
# 3. Measure a profile of each form on the device that will serve it (`capacity profile`), and compare at the batch sizes
#    that your load makes.
# 4. Plan with each profile (`capacity plan --profile a.json --profile b.json`) and count whole replicas. If none is saved,
#    eight bits improve only latency and memory.
