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
# # What do conversations find in a cache, and what if it is lost?
#
# A turn of a chat or of an agent repeats all that came before. An engine that still has those tokens in its **prefix
# cache** computes only what is new. So what a fleet carries depends on the size of its caches, on how many replicas share
# the conversations, and on the router. And a fleet may have **two states**: one with warm caches, one without.

# %%
import ipywidgets as widgets
import pandas as pd

import capacity as cap

# %% [markdown]
# ## What do caches find?
#
# An agent: a prompt for all of 512 tokens, a first task of 1,500, five turns on average of which each brings 250 tokens
# and has an answer of 80, and a tool that takes two seconds. Three engines of Llama 3.1 8B at 6 turns a second.

# %%
SYSTEM, FIRST, USER, OUTPUT, TURNS = 512, 1500, 250, 80, 5


def agent(think_s):
    """The laws of the agent's sessions."""
    return (
        f"turns=geometric:mean={TURNS}; think=exponential:mean={think_s:g}s; system={SYSTEM}; "
        f"first=constant:{FIRST}; user=constant:{USER}; output=geometric:mean={OUTPUT}"
    )


MODEL = {"profile": "llama-3.1-8b-rtx-pro-6000-bf16"}
QUICK = {"precision": 0.2}
ROUTERS = ("random", "session", "prefix:llm-d")


def found(replicas, routing, **others):
    """What a fleet does at 6 turns a second."""
    asked = {**MODEL, "sessions": agent(2.0), "rate": "6rps", **QUICK, **others}
    return cap.simulate(**asked, replicas=replicas, routing=routing).performance


SIZES = (60_000, 80_000, 100_000, 150_000)
by_size = pd.DataFrame(
    {
        routing: [100 * found(3, routing, kv_tokens=tokens).hit_share.mean for tokens in SIZES]
        for routing in ROUTERS
    },
    index=pd.Index(SIZES, name="KV cache of a replica [tokens]"),
)
assert by_size["random"].is_monotonic_increasing
assert (by_size["session"] > by_size["random"]).all()
by_size.round(1)

# %% [markdown]
# ## More replicas find less
#
# Behind a router that looks at nothing, the next turn comes to a replica that has not seen the last one. With more
# replicas that is more often so. A router that keeps a session at its replica does not mind.

# %%
COUNTS = (3, 4, 6, 8)
by_count = pd.DataFrame(
    {routing: [100 * found(count, routing).hit_share.mean for count in COUNTS] for routing in ROUTERS},
    index=pd.Index(COUNTS, name="replicas"),
)
assert by_count["random"].is_monotonic_decreasing
plot = cap.new_plot(
    title="Prefix hits at 6 turns a second", x_title="replicas", y_title="tokens found in a cache [%]"
)
for number, routing in enumerate(ROUTERS):
    plot.theory(list(COUNTS), list(by_count[routing]), routing, number=number)
plot

# %% [markdown]
# ## Two states of one fleet
#
# Two engines, and sessions kept at their replica. While the caches hold all live sessions, they are **warm**. Those of n
# replicas hold nK tokens, and a session needs its context c for as long as it thinks (Z) and is answered (R), so by
# Little's law the rate of turns is below nK/(c(Z + R)). **Cold** is what the fleet serves from empty caches with a long
# queue, which is simulated.

# %%
REPLICAS, KV_TOKENS = 2, 100_000
most = {
    allowed: cap.max_rate(
        **MODEL,
        sessions=agent(1.0),
        kv_tokens=KV_TOKENS,
        replicas=REPLICAS,
        routing="session",
        slo_ttft_p99="2s",
        allow_bistable=allowed,
        **QUICK,
    )
    for allowed in (False, True)
}
CONTEXT = SYSTEM + FIRST + (TURNS - 1) * (USER + OUTPUT)  # of a turn, with TURNS - 1 before it on average
seen = found(REPLICAS, "session", kv_tokens=KV_TOKENS)
COLD_RPS = seen.cold_saturation_rps
RESPONSE_S = seen.response_mean_s
THINKS_S = (1, 2, 3, 4, 6, 8, 12, 16, 24)


def warm_rps(think_s):
    """Rate up to which the caches hold the contexts of all live sessions; the engines may be busy before that."""
    return REPLICAS * KV_TOKENS / (CONTEXT * (think_s + RESPONSE_S))


print(f"from empty caches and a backlog: {COLD_RPS:.1f} turns/s")
limits = {think_s: warm_rps(think_s) for think_s in THINKS_S}
pd.Series(limits, name="warm up to [turns/s]").rename_axis("think time [s]").round(1).to_frame()

# %% [markdown]
# Where the warm limit is above the cold one, the rates between them have two states: the fleet that is warm stays so, and
# the one that has lost its caches falls behind. `capacity` refuses such a fleet by default. Below is what the fleet
# carries by simulation within 2 s to the first token, with and without `allow_bistable`.

# %%
carried = {allowed: answer.arrival_rate_max_rps for allowed, answer in most.items()}
assert carried[False] <= COLD_RPS < carried[True]
pd.Series(carried, name="carried [turns/s]").rename_axis("bistable allowed").round(1).to_frame()

# %% [markdown]
# With it the fleet carries less than the formula's limit, which knows the mean number of live sessions alone; where the
# verdict on a rate stays open, that rate does not count as carried.
#
# ## Slide the think time
#
# Tools that answer in a second keep few contexts alive, and leave much room between the two states. Where people think
# for half a minute, the caches cannot hold them all, and there is one state. It is a screen by formula: the simulator
# proves.

# %%


def states(think_s: float):
    """Both limits against the think time, and the rates between them at one."""
    warm = warm_rps(think_s)
    two = warm > COLD_RPS
    title = f"think {think_s:g} s: " + (
        f"two states above {COLD_RPS:.1f} turns/s, at most up to {warm:.1f}"
        if two
        else "one state, by the formula"
    )
    drawn = cap.new_plot(title=title, x_title="think time [s]", y_title="turns a second")
    drawn.theory(list(THINKS_S), [warm_rps(one) for one in THINKS_S], "warm, by the formula")
    drawn.theory(list(THINKS_S), [COLD_RPS] * len(THINKS_S), "cold, simulated", number=1)
    drawn.limit(think_s, f"{think_s:g} s", axis="x")
    return drawn


think = widgets.SelectionSlider(options=list(THINKS_S), value=2, description="think [s]")
picture = widgets.Image(format="png")


def redraw(_=None):
    """The picture for where the slider is."""
    picture.value = states(think.value).png()


think.observe(redraw, names="value")
redraw()
widgets.VBox([think, picture])

# %% [markdown]
# ## What to do
#
# * **Route by session or by prefix.** Random routing loses more with each replica.
# * **Take the size of the KV cache from the engine's log**: it decides the hits.
# * **Plan below the cold rate**, as `capacity plan --sessions` does; `--allow-bistable` is for those who can stop arrivals.
