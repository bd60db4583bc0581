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
# # Will it come back?
#
# A fleet loses a replica for a minute. The replica returns, traffic is as always, and the service stays down. Nothing is
# broken: clients whose requests timed out try again, the queue is full of attempts whose clients have gone, and what is
# served comes too late. This notebook shows when that happens, and what ends it.

# %%
import ipywidgets as widgets
import pandas as pd

import capacity as cap

# %% [markdown]
# ## A minute of trouble, and then?
#
# Four replicas that take 50 ms a request: 80 requests a second at most, and 66 arrive. Clients wait for two seconds, and
# try three times.

# %%
PROFILE = pd.DataFrame({"batch_size": [1], "mean_ms": [50.0]})
FLEET = {"profile": PROFILE, "rate": "66rps", "replicas": 4, "routing": "shared-queue"}
CLIENTS = {"timeout": "2s", "attempts": 3}
TROUBLE = {"trigger": "lose:1,60s", "horizon": "5min"}
answer = cap.stress(**FLEET, **CLIENTS, **TROUBLE)
print(answer)

# %% [markdown]
# Every line is a simulation. **One more replica, or one setting, and the same minute does no harm.**

# %%
answer.plot()

# %% [markdown]
# ## Why it stays down
#
# While the fleet is down every request makes three attempts: 198 a second come, and 80 are served. A queue that holds
# more than a timeout's worth of work (160 attempts) answers nobody in time, so nobody leaves it happy. A **retry budget**
# breaks the circle: with 0.1 tokens a first try, 1.1 × 66 = 72.6 attempts a second come, and the queue drains.

# %%
courses = {}
for name, settings in {
    "no budget": {},
    "budget of 0.1": {"retry_budget": 0.1},
    "one attempt": {"attempts": 1},
    "drop who is late": {"shed": "late:100ms"},
}.items():
    asked = {**FLEET, **CLIENTS, **TROUBLE, **settings}
    courses[name] = cap.stress(**asked, only_verdict=True, runs=10).course().set_index("second")["success"]
plot = cap.new_plot(
    title="One of four replicas is away for a minute",
    x_title="s after it left",
    y_title="success of first tries",
)
for number, (name, success) in enumerate(courses.items()):
    shown = success.loc[-20:200].rolling(5).mean().dropna()
    plot.theory(list(shown.index), list(shown), name, number=number)
plot.limit(60.0, "it is back", axis="x")
plot

# %%
late = {name: success.loc[140:200].mean() for name, success in courses.items()}
assert late["no budget"] < 0.01
assert min(late["one attempt"], late["drop who is late"]) > 0.99
pd.Series(late, name="success from 80 s to 140 s after it is back").round(3).to_frame()

# %% [markdown]
# ## How large may the budget be?
#
# The fluid law: a fleet at load ρ is held down by budgets of 1/ρ − 1 and more; here 0.21. The closer the budget comes to
# it, the longer the fleet takes to come back.

# %%
rows = []
for budget in (0.0, 0.05, 0.1, 0.15):
    asked = {**FLEET, **CLIENTS, "trigger": "spike:2x,30s", "horizon": "10min", "retry_budget": budget}
    seen = cap.stress(**asked, only_verdict=True, runs=10)
    rows.append({"budget": budget, "law": seen.screen.fluid.recovery_s, "recovery": seen.recovery_s})
table = pd.DataFrame(rows).set_index("budget")
plot = cap.new_plot(
    title="After a spike of 2x for 30 s",
    x_title="retry budget [retries a first try]",
    y_title="time to recover [s]",
)
plot.theory(list(table.index), list(table["law"]), "fluid law")
plot.simulated(list(table.index), list(table["recovery"]), "mean of 10 runs", number=1)
plot

# %% [markdown]
# The bucket starts full, with 100 tokens: they delay the recovery by some seconds more than the law says.
#
# ## How short must a spike be?
#
# Without a budget, a spike is survived if it ends before the queue holds a timeout's worth of work: after τ/(sρ − 1)
# seconds for s times the traffic. Near that it is chance.

# %%
short = [
    cap.stress(**FLEET, **CLIENTS, trigger=f"spike:2x,{length}s", horizon="1min", only_verdict=True)
    for length in (2, 3, 4, 5)
]
shares = pd.DataFrame(
    {"length [s]": (2, 3, 4, 5), "share of runs that recover": [one.recovered.value for one in short]}
)
assert shares["share of runs that recover"].is_monotonic_decreasing
shares.set_index("length [s]")

# %% [markdown]
# The law says 2/(2 × 0.825 − 1) = 3.08 s.
#
# ## Where is the edge?
#
# Move the sliders: load, attempts, budget and timeout. The picture shows how long a spike may last, by its height, before
# the fleet stays down; where the line ends, no spike can hold it down. It is the fluid law, so it is instant.

# %%
FACTORS = [1.0 + 0.05 * step for step in range(1, 81)]


def edge(load: float, attempts: int, budget: float, timeout: float):
    """The longest spike that is survived, by its height."""
    tries = min(attempts, 1.0 + budget) if budget > 0.0 else attempts
    title = f"{tries:g} attempts a request x load {load:g} = {tries * load:.2f}: "
    title += "can be held down" if tries * load >= 1.0 else "always comes back"
    drawn = cap.new_plot(
        title=title, x_title="times the usual traffic", y_title="survived for [s]", y_log=True
    )
    if tries * load >= 1.0:
        over = [factor for factor in FACTORS if factor * load > 1.0]
        drawn.theory(over, [timeout / (factor * load - 1.0) for factor in over], "fluid law")
    return drawn


sliders = {
    "load": widgets.FloatSlider(value=0.8, min=0.3, max=0.95, step=0.05, description="load"),
    "attempts": widgets.IntSlider(value=3, min=1, max=5, description="attempts"),
    "budget": widgets.FloatSlider(value=0.0, min=0.0, max=0.5, step=0.05, description="budget"),
    "timeout": widgets.FloatSlider(value=2.0, min=0.5, max=10.0, step=0.5, description="timeout [s]"),
}
picture = widgets.Image(format="png")


def redraw(_=None):
    """The edge for where the sliders are."""
    picture.value = edge(**{name: slider.value for name, slider in sliders.items()}).png()


for slider in sliders.values():
    slider.observe(redraw, names="value")
redraw()
widgets.VBox([*sliders.values(), picture])

# %% [markdown]
# ## Plan for it
#
# The cheapest fleet that keeps a P99 of 300 ms **and** is as before within a minute of losing one replica.

# %%
plan = cap.plan(
    PROFILE,
    rate="66rps",
    slo_p99="300ms",
    routing="shared-queue",
    recover_within="1min",
    trigger="lose:1,60s",
    **CLIENTS,
)
recovery = plan.recovery
assert recovery.chosen is not None
pd.Series(
    {
        "replicas": plan.plan.replicas,
        "with": recovery.setting,
        "succeed meanwhile": round(recovery.chosen.goodput_during.value, 3),
        "replicas without any setting": recovery.as_is.stress.plan.replicas,
    },
    name="plan",
).to_frame()

# %% [markdown]
# ## What to do
#
# * **Give clients a retry budget.** It costs nothing, and a fleet that is down drains by itself.
# * **Let the server drop who is late, with a margin.** Most are served even during the trouble.
# * **Or keep a replica more.** It is the only remedy that loses no request, and the dearest.
