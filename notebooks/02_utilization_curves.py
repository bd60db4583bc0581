# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How busy may a server be?
#
# "Keep utilization below 70 %." Everybody has heard the rule, and everybody has seen the curve behind it:
# flat for a long time, then steep. Where does it turn, and is it there for *your* number of servers, *your*
# variability and *your* promise?
#
# This notebook draws the curve in all its forms, looks for the knee, and ends with sliders to set what is
# yours. Utilization ρ is the share of time that a server is busy; μ is what one busy server answers per
# second; c is the number of servers at one queue; cv, the coefficient of variation, is standard deviation
# over mean, 0 for a constant, 1 for an exponential time.

# %%
import math
import time
from bisect import bisect
from functools import cache

import ipywidgets as widgets
import numpy as np

from capacity.question.plan import Plan, Routing
from capacity.queues.curves import Axis, Quantity, curves, knee, utilization_grid
from capacity.queues.durations import Duration, Family
from capacity.queues.general.ggc import GGc
from capacity.queues.general.gimc import GIMc
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.markov.mmc import MMc
from capacity.render.plot import new_panels, new_plot
from capacity.traffic.workload import GammaArrivals, PoissonArrivals, Workload
from capacity.units import format_duration
from simulations.draws.arrivals import Seed
from simulations.replication import Task, replicate
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length
from simulations.validation.laws import DurationTimes

# %% [markdown]
# ## Three speeds, one queue
#
# One server that answers 10, 5 or 2 requests per second, exponential in everything (M/M/1). First against
# utilization:

# %%
RATES_RPS = (10.0, 5.0, 2.0)
QUANTITIES = (Quantity.QUEUE_LENGTH, Quantity.RESPONSE, Quantity.P99)


def drawn_against(axis, x_title):
    """Lq, W and P99 of three service rates, side by side."""
    panels = new_panels(
        [quantity.symbol for quantity in QUANTITIES],
        x_title=x_title,
        y_title=[quantity.axis_title for quantity in QUANTITIES],
        title="M/M/1 at μ = 10, 5 and 2 rps",
    )
    for plot, quantity in zip(panels.plots, QUANTITIES, strict=True):
        for number, line in enumerate(curves(quantity, axis, RATES_RPS)):
            name = ", ".join(f"{rate:g}" for rate in line.service_rates_rps)
            plot.theory(line.x, line.y, f"μ = {name}", number=number)
    return panels


drawn_against(Axis.UTILIZATION, "utilization ρ")

# %%
(queue_length,) = curves(Quantity.QUEUE_LENGTH, Axis.UTILIZATION, RATES_RPS)
assert queue_length.service_rates_rps == RATES_RPS
assert len(curves(Quantity.RESPONSE, Axis.UTILIZATION, RATES_RPS)) == 3

at_80 = [MMc(arrival_rate_rps=0.8 * rate, service_rate_rps=rate, servers=1) for rate in RATES_RPS]
for queue in at_80:
    print(
        f"μ = {queue.service_rate_rps:4g} rps at ρ = 0.8: Lq = {queue.queue_length_mean:.2f}, "
        f"W = {queue.response_mean_s:.2f} s = {queue.response_mean_s * queue.service_rate_rps:.2f} services, "
        f"P99 = {queue.response_quantile_s(0.99):.2f} s"
    )
assert {round(queue.queue_length_mean, 9) for queue in at_80} == {3.2}
assert {round(queue.response_mean_s * queue.service_rate_rps, 9) for queue in at_80} == {5.0}

# %% [markdown]
# **The three curves of Lq are one curve.** Lq is a number of requests: it has no unit of time, and so it
# cannot notice whether the film runs fast or slow. Play everything at double speed, arrivals and service,
# and the same requests wait in the same order; only the clock on the wall differs. W and P99 do have a
# unit, and shrink with the service time: at ρ = 0.8 W is 5 services for all three.
#
# Against the arrival rate, the same queues look like three different things:

# %%
drawn_against(Axis.ARRIVAL_RATE, "arrival rate λ [rps]")

# %% [markdown]
# Each curve now has its own wall, λ = μ. That is the view for capacity ("how many requests can I take?"),
# and the other one is the view for shape ("how close to the wall am I?"). A faster server helps twice: it
# moves the wall, and it shortens the service that all waits are multiples of.
#
# ## Is there a knee?
#
# Look for the point where the curve turns:

# %%
waits = {
    rho: MMc(arrival_rate_rps=rho, service_rate_rps=1.0, servers=1)
    for rho in (0.5, 0.7, 0.75, 0.8, 0.875, 0.9, 0.95)
}
for rho, queue in waits.items():
    print(f"ρ = {rho:5g}: W = {queue.response_mean_s:5.2f} services")
response = {rho: queue.response_mean_s for rho, queue in waits.items()}
assert math.isclose(response[0.75], 2.0 * response[0.5])
assert math.isclose(response[0.875], 2.0 * response[0.75])
assert math.isclose(response[0.9], 2.0 * response[0.8])
assert math.isclose(response[0.95], 2.0 * response[0.9])

# %% [markdown]
# From 50 to 75 % it doubles, from 75 to 87.5 % it doubles, from 80 to 90 % it doubles, and from 90 to 95 %
# again: each time the *idle* share is halved. That is the same everywhere on the curve. Nothing happens at
# 70 %, at 80 % or at 95 % that does not happen elsewhere; where the eye sees a knee depends on how tall the
# chart is drawn. **The curve has no knee of its own. A promise gives it one**: the knee is where P99
# crosses the objective.
#
# ## Many servers at one queue
#
# The same utilization, one to 64 servers at one queue (M/M/c, μ = 10 rps): lines are theory, points are
# simulated with their 95 % intervals.

# %%
SERVICE_S = 0.1
COUNTS = (1, 2, 4, 8, 16, 32, 64)


def service_law(cv):
    """Service of mean 100 ms with this coefficient of variation."""
    if cv == 0.0:
        return Duration(family=Family.DETERMINISTIC, mean_s=SERVICE_S)
    return Duration(family=Family.GAMMA, mean_s=SERVICE_S, scv=cv**2)


def simulated_p99(rho, servers=1, service_cv=1.0, arrivals=None):
    """P99 of the response with its 95 % interval, from 20 independent runs."""
    rate_rps = rho * servers / SERVICE_S
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=arrivals or PoissonArrivals())
    plan = Plan(profile="law", replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    tasks = [
        Task(
            plan=plan,
            workload=workload,
            service_times=DurationTimes(service_law(service_cv)),
            request_overhead_s=0.0,
            length=Length(warm_up=10_000, measured=40_000, cool_down=1_000),
            seed=Seed(value=1, replication=number),
        )
        for number in range(20)
    ]
    return Pool.of(map(replicate, tasks)).response_quantile(0.99).interval(0.95)


# %%
plot = new_plot(
    x_title="utilization ρ",
    y_title="P99 response time [s]",
    title="More servers at the same utilization",
)
for number, line in enumerate(curves(Quantity.P99, Axis.UTILIZATION, [1.0 / SERVICE_S], (1, 2, 4, 16, 64))):
    plot.theory(line.x, line.y, line.label, number=number)
SEEN_AT = (0.5, 0.7, 0.8, 0.9)
for number, servers in ((0, 1), (2, 4), (4, 64)):
    plot.simulated(SEEN_AT, [simulated_p99(rho, servers) for rho in SEEN_AT], number=number)
plot

# %%
print("P99 at ρ = 0.8, in seconds")
p99_s = {}
for servers in COUNTS:
    queue = MMc(arrival_rate_rps=0.8 * servers / SERVICE_S, service_rate_rps=1.0 / SERVICE_S, servers=servers)
    p99_s[servers] = queue.response_quantile_s(0.99)
    print(f"c = {servers:2}: {p99_s[servers]:.2f}   P(wait) = {queue.wait_probability:.2f}")
no_wait = MMc(arrival_rate_rps=1e-6, service_rate_rps=1.0 / SERVICE_S, servers=1).response_quantile_s(0.99)
print(f"service alone, without any wait: {no_wait:.2f}")
assert p99_s[1] > 4.0 * p99_s[8]
assert p99_s[64] < 1.01 * no_wait

# %% [markdown]
# 80 % busy is a disaster for one server and nothing at all for 64: with eight servers P99 is less than a
# quarter of what one server gives, and with 64 it is within 1 % of service alone. A request waits only if
# *all* servers are busy, and the more there are, the more rarely that happens, and the sooner one of them
# is free. A limit on utilization that does not mention c is either reckless for small services or wasteful
# for large ones.
#
# ## Variability of service and of arrivals
#
# One server again. To the left, service whose cv goes from 0 to 4 under Poisson arrivals (M/G/1, gamma
# service, exact). To the right, exponential service under arrivals whose gaps have such a cv (GI/M/1, gamma
# gaps, exact).

# %%
RHOS = utilization_grid(0.93, 14)


def with_service_cv(cv, rho):
    """P99 of M/G/1. [s]"""
    queue = MG1(arrival_rate_rps=rho / SERVICE_S, service=service_law(cv))
    return queue.response_quantile_s(0.99)


def with_arrival_cv(cv, rho):
    """P99 of GI/M/1. [s]"""
    family = Family.DETERMINISTIC if cv == 0.0 else Family.GAMMA
    gap = Duration(family=family, mean_s=SERVICE_S / rho, scv=cv**2)
    return GIMc(arrival=gap, service_rate_rps=1.0 / SERVICE_S, servers=1).response_quantile_s(0.99)


panels = new_panels(
    ["cv of service (arrivals: 1)", "cv of arrivals (service: 1)"],
    x_title="utilization ρ",
    y_title="P99 response time [s]",
    title="One server, μ = 10 rps: what variability does",
    y_log=True,
)
by_service, by_arrival = panels.plots
for number, cv in enumerate((0.0, 1.0, 2.0, 4.0)):
    by_service.theory(RHOS, [with_service_cv(cv, rho) for rho in RHOS], f"cv = {cv:g}", number=number)
    by_arrival.theory(RHOS, [with_arrival_cv(cv, rho) for rho in RHOS], f"cv = {cv:g}", number=number)
SEEN_AT = (0.3, 0.6, 0.8)
by_service.simulated(SEEN_AT, [simulated_p99(rho, service_cv=2.0) for rho in SEEN_AT], number=2)
arrivals = GammaArrivals(cv=2.0)
by_arrival.simulated(SEEN_AT, [simulated_p99(rho, arrivals=arrivals) for rho in SEEN_AT], number=2)
panels

# %%
for name, p99_of in (("service", with_service_cv), ("arrivals", with_arrival_cv)):
    found = {cv: p99_of(cv, 0.7) for cv in (0.0, 0.5, 1.0, 2.0, 4.0)}
    print(
        f"P99 at ρ = 0.7 by cv of {name}: " + ", ".join(f"{cv:g}: {p99:.2f} s" for cv, p99 in found.items())
    )
    assert found[4.0] > 5.0 * found[1.0]
assert with_service_cv(4.0, 0.1) > with_service_cv(1.0, 0.7)
seen = simulated_p99(0.6, service_cv=2.0)
print(
    f"simulated at ρ = 0.6, service cv 2: {seen.value:.3f} ({seen.low:.3f} to {seen.high:.3f}) s, "
    f"exact {with_service_cv(2.0, 0.6):.3f} s"
)

# %% [markdown]
# At the same 70 % utilization P99 with a cv of 4 is more than five times that with a cv of 1, on either
# side. Service that varies with a cv of 4 has at 10 % utilization a worse P99 than exponential service at
# 70 %: hardly anybody waits, but the slow services themselves are the tail. Making the slow requests
# faster, or serving them elsewhere, then does more than any server could.
#
# ## Where the knee is
#
# So put a promise on it: P99 within a second, ten mean services. For each c and each cv of *gamma* service: up
# to which utilization is it kept? (The chart ends at 98 %, which stands for 98 % or more.) A cv alone does not
# fix a P99: other laws with the same cv have other tails, as is seen below.
#
# The curve is taken from the exact law where there is one (M/G/1, M/D/c, M/M/c), and from Whitt's approximation
# of G/G/c elsewhere, which is itself up to 18 % off where it was checked. The promise is then looked up on the
# curve by `capacity.queues.curves`; what that errs by is printed below.

# %%
GRID = (0.02, *utilization_grid(0.98, 34))
CVS = (0.0, 0.5, 1.0, 1.5, 2.0, 4.0)


def queue_at(rho, servers, cv):
    """The best law for Poisson arrivals at this utilization, with mean services of 100 ms."""
    rate_rps = rho * servers / SERVICE_S
    if cv == 1.0:
        return MMc(arrival_rate_rps=rate_rps, service_rate_rps=1.0 / SERVICE_S, servers=servers)
    if cv == 0.0:
        return MDc(arrival_rate_rps=rate_rps, service_time_s=SERVICE_S, servers=servers)
    if servers == 1:
        return MG1(arrival_rate_rps=rate_rps, service=service_law(cv))
    gap = Duration(family=Family.EXPONENTIAL, mean_s=1.0 / rate_rps)
    return GGc(arrival=gap, service=service_law(cv), servers=servers)


@cache
def laws(servers, cv):
    """The law at each utilization of the grid."""
    return [queue_at(rho, servers, cv) for rho in GRID]


@cache
def p99_services(servers, cv):
    """P99 in mean services at each utilization of the grid: the same whatever the service rate."""
    return np.array([law.response_quantile_s(0.99) for law in laws(servers, cv)]) / SERVICE_S


knees = [[knee(GRID, p99_services(servers, cv), 10.0) for servers in COUNTS] for cv in CVS]
by_place = {(servers, cv): knees[i][j] for i, cv in enumerate(CVS) for j, servers in enumerate(COUNTS)}
found_s = {
    (servers, cv): queue_at(by_place[servers, cv], servers, cv).response_quantile_s(0.99)
    for servers, cv in ((1, 0.0), (1, 1.0), (2, 1.0), (2, 0.5), (4, 1.5), (8, 2.0))
}
farthest = max(abs(kept_s - 1.0) for kept_s in found_s.values())
print(
    f"at six knees of the chart P99 by the same law is at most {farthest:.1%} off the second that was promised"
)
assert farthest < 0.005

# %%
plot = new_plot(
    x_title="servers c at one queue",
    y_title="cv of gamma service",
    title="Gamma service: utilization that keeps P99 within ten mean services [%]",
)
percent = [[100.0 * x for x in row] for row in knees]
plot.heat_map(
    COUNTS,
    CVS,
    percent,
    accepted=[[x >= 70.0 for x in row] for row in percent],
    unit="%",
    outlined="70 % or more",
    missing="kept at no utilization",
)
plot

# %%
for servers, cv in ((1, 0.0), (1, 1.0), (1, 1.5), (8, 0.0), (8, 1.0), (8, 2.0), (64, 2.0)):
    print(f"c = {servers:2}, cv = {cv:g}: {by_place[servers, cv]:.0%}")
assert by_place[1, 1.5] < 0.3
assert 0.5 < by_place[1, 1.0] < 0.56
assert by_place[8, 1.0] > 0.9
assert math.isnan(by_place[1, 2.0])
assert all(math.isnan(by_place[servers, 4.0]) for servers in COUNTS)
alone = {
    family: MG1(
        arrival_rate_rps=1e-3, service=Duration(family=family, mean_s=SERVICE_S, scv=4.0)
    ).response_quantile_s(0.99)
    for family in (Family.LOGNORMAL, Family.GAMMA, Family.HYPEREXPONENTIAL)
}
for family, p99_s in alone.items():
    print(f"hardly any load, {family} service with a cv of 2: P99 {p99_s / SERVICE_S:.1f} mean services")
assert alone[Family.LOGNORMAL] < alone[Family.GAMMA] < 10.0 * SERVICE_S < alone[Family.HYPEREXPONENTIAL]

# %% [markdown]
# The same promise is kept up to less than 30 % or up to more than 90 %, and the textbook's single
# exponential server keeps it to little more than half. With gamma service of a cv of 4 no utilization keeps
# it, however many servers there are: the services alone are too long. The outline holds the places where
# "70 %" is good enough. Most of them have much room left, and those outside break their promise while the
# dashboard is green. **"70 %" is the answer to one question that somebody once had. Ask your own.**
#
# And ask it with your own law of service: at a cv of 2 a server with hardly any load keeps the promise if its
# service is gamma, and breaks it if it is hyper-exponential. A cv is a summary. A profile of measured times,
# as `capacity plan` takes it, is the law itself.
#
# ## How far the approximation can be trusted
#
# `performance()` says how far off the approximation was where it was held against exact queues; here it is
# held against simulation, at three such places and at the knee of 8 servers with a cv of 2, which is not one
# of them:

# %%
bounds, distances = [], []
for servers, cv, rho in ((4, 2.0, 0.8), (8, 0.5, 0.9), (16, 1.5, 0.8), (8, 2.0, by_place[8, 2.0])):
    queue = queue_at(rho, servers, cv)
    told, seen = queue.response_quantile_s(0.99), simulated_p99(rho, servers, cv)
    bounds.append(bound := queue.performance(quantiles=()).relative_error_max["response_quantiles_s"])
    checked = f"at most {bound:.0%} where checked" if math.isfinite(bound) else "not checked before"
    print(
        f"c = {servers:2}, cv = {cv:g}, ρ = {rho:.3g}: approximation {told:.3f} s, simulated {seen.value:.3f} "
        f"({seen.low:.3f} to {seen.high:.3f}) s; off by {told / seen.value - 1.0:+.1%}, {checked}"
    )
    distances.append(abs(told / seen.value - 1.0))
assert bounds == [0.18, 0.18, 0.18, math.inf]
assert max(distances) < 0.03

# %% [markdown]
# At all four it is within 3 %: a bound is the worst that was met anywhere, and the 67 % of the chart stand.
#
# ## Sliders
#
# Set your c, your cv of service, your μ and your objective for P99. The picture shows P99 against
# utilization, the objective as a dashed line, and the knee where they cross; the line of text says the same
# in numbers, with the largest arrival rate, and whether the law is exact. Service is gamma, as above. (On a web
# page without Python the sliders do not move; open the notebook in JupyterLab. The curves of all slider
# positions are computed once, which takes some seconds.)

# %%
OBJECTIVES_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
RATES = (1, 2, 5, 10, 20, 50, 100)


@cache
def errors(servers, cv):
    """How far P99 may be off at each utilization of the grid, as a share of it: 0 where the law is exact."""
    told = (law.performance(quantiles=()).relative_error_max for law in laws(servers, cv))
    return [known.get("response_quantiles_s", 0.0) for known in told]


for servers in COUNTS:
    for cv in CVS:
        p99_services(servers, cv)
        errors(servers, cv)


def trust(rho, servers, cv):
    """How good the law is between the two points of the grid around this place."""
    after = bisect(GRID, rho)
    error = max(errors(servers, cv)[after - 1 : after + 1])
    if error == 0.0:
        return "exact law"
    if math.isfinite(error):
        return f"approximation, within {error:.0%} where checked"
    return "approximation, not checked here"


def answer(servers, cv, rate_rps, objective_s):
    """The knee, and what to say of it."""
    found = knee(GRID, p99_services(servers, cv), objective_s * rate_rps)
    promise = f"P99 within {format_duration(objective_s)}"
    if math.isnan(found):
        least_s = p99_services(servers, cv)[0] / rate_rps
        return (
            found,
            f"{promise}: no knee, since P99 of an idle service is {format_duration(least_s)} already",
        )
    limit_rps = found * servers * rate_rps
    if found == GRID[-1]:
        return found, f"{promise}: knee beyond {found:.1%}, more than {limit_rps:.4g} rps"
    return found, f"{promise}: knee at {found:.1%}, {limit_rps:.4g} rps; {trust(found, servers, cv)}"


def picture(servers, cv, rate_rps, objective_s):
    """P99 against utilization with the objective and the knee."""
    found, _ = answer(servers, cv, rate_rps, objective_s)
    plot = new_plot(
        x_title="utilization ρ",
        y_title="P99 response time [s]",
        title=f"c = {servers}, gamma service with cv = {cv:g}, μ = {rate_rps:g} rps",
        width=6.0,
        height=3.4,
    )
    found_s = p99_services(servers, cv) / rate_rps
    plot.theory(GRID, found_s, "P99")
    plot.axes.set_ylim(0.0, 3.0 * max(objective_s, found_s[0]))
    plot.limit(objective_s, "objective")
    if not math.isnan(found):
        plot.limit(found, f"knee {found:.0%}", axis="x")
    return plot


for servers, cv, rate_rps, objective_s in (
    (1, 1.0, 10, 1.0),
    (8, 1.0, 10, 1.0),
    (8, 2.0, 10, 1.0),
    (8, 2.0, 5, 1.0),
):
    print(f"c = {servers}, cv = {cv:g}, μ = {rate_rps}: {answer(servers, cv, rate_rps, objective_s)[1]}")
picture(4, 1.0, 10, 1.0)

# %% tags=["sliders"]


def chosen(name, options, value):
    """One slider over some values."""
    return widgets.SelectionSlider(
        options=options,
        value=value,
        description=name,
        continuous_update=True,
        style={"description_width": "9em"},
    )


servers = chosen("servers c", [(str(c), c) for c in COUNTS], 4)
cv = chosen("cv of service", [(f"{x:g}", x) for x in CVS], 1.0)
rate_rps = chosen("μ [rps]", [(str(x), x) for x in RATES], 10)
objective_s = chosen("P99 objective", [(format_duration(x), x) for x in OBJECTIVES_S], 1.0)
text, image = widgets.HTML(), widgets.Image(format="png")


def redraw(_=None):
    """Text and picture for where the sliders are."""
    place = (servers.value, cv.value, rate_rps.value, objective_s.value)
    text.value = f'<b class="knee">{answer(*place)[1]}</b>'
    image.value = picture(*place).png()


for slider in (servers, cv, rate_rps, objective_s):
    slider.observe(redraw, names="value")
redraw()
widgets.VBox([servers, cv, rate_rps, objective_s, text, image])


# %%
LIMIT_S, ROUNDS = 0.2, 5
SLIDERS = {"c": servers, "cv": cv, "rate": rate_rps, "objective": objective_s}
STOPS = {"c": COUNTS, "cv": CVS, "rate": RATES, "objective": OBJECTIVES_S}
HOME = {"c": 4, "cv": 1.0, "rate": 10, "objective": 1.0}
CONSTANT = HOME | {"c": 64, "cv": 0.0}


def moved_s(place, name, value):
    """Processor time from the move of one slider until its picture is there, with the others in place. [s]"""
    for other, rest in place.items():
        SLIDERS[other].unobserve(redraw, names="value")
        SLIDERS[other].value = rest
    for slider in SLIDERS.values():
        slider.observe(redraw, names="value")
    begun_s = time.thread_time()  # not that of whatever else the machine does
    SLIDERS[name].value = value
    return time.thread_time() - begun_s


moves = [
    (place, name, value)
    for place in (HOME, CONSTANT)
    for name, values in STOPS.items()
    for value in values
    if value != place[name]
]
best_s = [math.inf] * len(moves)
for _ in range(ROUNDS):  # what was slow is moved once more later, since a machine may pause
    best_s = [
        best if best < LIMIT_S else min(best, moved_s(*move))
        for best, move in zip(best_s, moves, strict=True)
    ]
for name, rest in HOME.items():
    SLIDERS[name].value = rest
print(f"each of {len(moves)} moves is redrawn within 200 ms: {max(best_s) < LIMIT_S}")
assert max(best_s) < LIMIT_S

# %% [markdown]
# ## What to do
#
# * **Do not set a limit on utilization; set a promise, and let the promise set the limit.** The knee is
#   where P99 crosses the objective, and it moves with c, with cv and with the objective.
# * **Know your c and your cv.** Servers at one queue pool their idle moments; the cv of your service is in
#   your profile (`capacity profiles`, or `capacity profile` to measure it).
# * **With few servers, plan for room.** With many, do not pay for room that nobody waits for.
# * **If the cv is large, mend the tail first**: no utilization is low enough for a promise that service
#   alone breaks.
# * **Batching servers are another matter**: they are nearly always busy, and their utilization says little.
#   Plan those by load (`04_batching`), and let `capacity plan` find the fleet for a measured profile.
