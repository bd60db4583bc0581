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
# # How many engines does a language model need, and how should they be set?
#
# An engine such as vLLM works in **steps**. A step computes one more token for each running request, and some tokens of
# new prompts. So three times matter: the time to the first token (**TTFT**), the time per output token (**TPOT**), and
# the time between two tokens (**ITL**). Two settings share out the steps: how many requests run at once, and how many
# tokens a step computes. The **KV cache** limits both.

# %%
import ipywidgets as widgets
import pandas as pd

import capacity as cap

# %% [markdown]
# ## Where does TTFT explode?
#
# Llama 3.1 8B on one RTX PRO 6000, with the lengths of real conversations (Azure 2023): prompts of 1,155 tokens and
# answers of 207 on average. `sweep` simulates one engine at several rates; the load is the share of the rate at which it
# saturates.

# %%
MODEL = {
    "profile": "llama-3.1-8b-rtx-pro-6000-bf16",
    "lengths": "azure-conversation-2023",
    "kv_tokens": 400_000,
}
QUICK = {"precision": 0.2}
rates = [f"{rate_rps:g}rps" for rate_rps in (1, 3, 5, 7, 9, 10, 11, 11.5)]
curve = cap.sweep(**MODEL, replicas=1, rate=rates, **QUICK).to_frame()
most_rps = (curve["arrival_rate_rps"] / curve["load"]).iloc[-1]
print(f"one engine saturates at {cap.format_rate(most_rps)}")
curve[["arrival_rate_rps", "load", "ttft_p99_s", "itl_p99_s", "tpot_p99_s"]].round(3)

# %%
plot = cap.new_plot(
    title="One engine at rising rates", x_title="arrival rate [rps]", y_title="time [ms]", y_log=True
)
for number, (name, label) in enumerate(
    (("ttft_p99", "TTFT P99"), ("itl_p99", "ITL P99"), ("tpot_p99", "TPOT P99"))
):
    plot.theory(list(curve["arrival_rate_rps"]), list(1e3 * curve[f"{name}_s"]), label, number=number)
plot.limit(60.0, "60 ms")
plot

# %% [markdown]
# TPOT grows all the way, because every request that joins makes every step longer. TTFT grows slowly until the engine
# cannot start requests as they come; then it explodes. **An objective on TTFT alone says nothing until it is too late.**
#
# ## What does the size of a step do?
#
# A prompt is computed in parts that fit into a step. Large steps finish prompts sooner, but everyone who is waiting for
# a next token waits for the whole step.

# %%
RATE_RPS = 6.0


def settings(name, values, **others):
    """The same traffic under some values of one setting."""
    rows = {}
    for value in values:
        answer = cap.simulate(**{**MODEL, **others, name: value}, rate_rps=RATE_RPS, replicas=1, **QUICK)
        found = answer.performance
        rows[value] = {
            "load": found.load,
            "TTFT P99 [ms]": 1e3 * found.ttft_quantiles_s[0.99].value,
            "ITL P99 [ms]": 1e3 * found.itl_quantiles_s[0.99].value,
            "response P99 [s]": found.response_quantiles_s[0.99].value,
            "KV cache in use": found.kv_utilization,
            "preemptions per request": found.preemption_rate,
        }
    return pd.DataFrame(rows).T.rename_axis(name)


steps = settings("batched_tokens_max", [512, 1024, 2048])
assert steps["ITL P99 [ms]"].is_monotonic_increasing
steps.round(3)

# %% [markdown]
# **Smaller steps make tokens come more evenly; larger ones carry more load.** Choose the largest step whose ITL you can
# accept.
#
# ## How many requests at once?
#
# Too few sequences, and requests wait for one to be free while the engine could do more.

# %%
slots = settings("sequences_max", [48, 64, 128, 256])
assert slots["load"].is_monotonic_decreasing
slots.round(3)

# %% [markdown]
# Beyond what the traffic needs at once, more sequences change nothing at this rate. They only matter near saturation,
# where they also fill the cache.
#
# ## When is the KV cache the limit?
#
# With less room, requests are thrown out and computed again.

# %%
cache = settings("kv_tokens", [60_000, 100_000, 400_000])
assert cache["load"].is_monotonic_decreasing
cache.round(3)

# %% [markdown]
# The cache limits the load long before it is full on average: what counts is the fullest moment. **Take its size from
# the engine's log.**
#
# ## How many replicas for an objective?

# %%
RATES_RPS = (10.0, 30.0)
plans = [
    cap.plan(**MODEL, rate_rps=rate_rps, slo_ttft_p99="1s", slo_tpot_p99="50ms", precision=0.2)
    for rate_rps in RATES_RPS
]
fleet = pd.DataFrame(
    {
        "rate [rps]": RATES_RPS,
        "replicas": [answer.plan.replicas for answer in plans],
        "load": [answer.performance.load for answer in plans],
        "TTFT P99 [ms]": [1e3 * answer.performance.ttft_quantiles_s[0.99].value for answer in plans],
        "TPOT P99 [ms]": [1e3 * answer.performance.tpot_quantiles_s[0.99].value for answer in plans],
        "holds up to [rps]": [answer.headroom.accepted_rps for answer in plans],
    }
)
assert fleet["replicas"].is_monotonic_increasing
fleet.round(2)

# %% [markdown]
# ## Slide the rate
#
# The curve of one engine, read at a rate of your choice for a fleet of your choice.

# %%
COUNTS, TOTALS_RPS = range(1, 9), range(2, 61, 2)


def told(total_rps, replicas):
    """What each engine of a fleet sees, between the simulated rates."""
    each_rps = total_rps / replicas
    if each_rps > curve["arrival_rate_rps"].iloc[-1]:
        return f"{replicas} engines at {total_rps} rps: load {each_rps / most_rps:.2f}, too near saturation"
    below = curve[curve["arrival_rate_rps"] >= each_rps].iloc[0]
    return (
        f"{replicas} engines at {total_rps} rps: load {each_rps / most_rps:.2f}, "
        f"TTFT P99 at most {1e3 * below['ttft_p99_s']:.0f} ms, TPOT P99 at most {1e3 * below['tpot_p99_s']:.0f} ms"
    )


total = widgets.SelectionSlider(options=list(TOTALS_RPS), value=20, description="rate [rps]")
count = widgets.SelectionSlider(options=list(COUNTS), value=3, description="engines")
text = widgets.HTML()


def redraw(_=None):
    """The sentence for where the sliders are."""
    text.value = told(total.value, count.value)


for slider in (total, count):
    slider.observe(redraw, names="value")
redraw()
widgets.VBox([total, count, text])

# %% [markdown]
# ## What to do
#
# * **Give limits on TTFT and on TPOT or ITL.** Each alone hides what the other one tells.
# * **Use your own lengths, in pairs.** `--lengths` takes two columns of your log.
# * **Take the KV cache from the engine's log**, and leave room: preemptions do work twice.
# * **Choose the step by ITL, and the sequences by the load.** `capacity plan --explain` tries half and twice of both.
# * **Stay away from saturation**: above a load of 0.95 there is no P99 to rely on.
