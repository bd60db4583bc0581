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
# You have timed batches of your model, you expect 5000 requests a second, and you promised that 99 of 100
# answers come within 25 ms. This notebook goes from that file to a plan: how many replicas, what largest
# batch, how much room is left, and what goes wrong with one replica less.

# %%
import math
from pathlib import Path
from tempfile import TemporaryDirectory

from capacity.answer.sentences import explain, format_verdict
from capacity.performance import Interval
from capacity.profile.load import load_profile, read_profile
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import LatencyObjective, format_interval
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.question.stability import load, sustainable_rate_rps
from capacity.render.plot import new_plot
from capacity.search.planner import recommend
from capacity.traffic.workload import Workload
from capacity.units import format_duration, format_rate
from simulations.judge import SimulationJudge
from simulations.simulate import Simulation
from simulations.statistics.profile_error import sampling_intervals

RATE_RPS = 5000.0
LIMIT_S = 0.025


def in_ms(interval: Interval) -> Interval:
    return interval.scaled(1e3)


# %% [markdown]
# ## The file
#
# One line for each batch that was timed: its size and how long it took. The unit stands in the name of the
# column. Put your own file in place of this one.
#
# Here the lines are real timings of a small neural network on one CPU core, the raw samples of the bundled
# profile `serve-mlp-cpu-fp32`.

# %%
bundled = load_profile("serve-mlp-cpu-fp32")
lines = [f"{t.batch_size},{1e3 * sample_s:.4f}" for t in bundled.timings for sample_s in t.samples_s]
folder = TemporaryDirectory()
path = Path(folder.name) / "my-service.csv"
path.write_text("\n".join(["batch_size,latency_ms", *lines]) + "\n")

print("\n".join(path.read_text().splitlines()[:4]), "\n...", len(lines), "samples")
profile = read_profile(path)
folder.cleanup()
assert {len(timing.samples_s) for timing in profile.timings} == {600}

# %%
for size in profile.batch_sizes:
    law = profile.law(size)
    print(f"batch of {size:2}   mean {1e3 * law.mean_s:5.2f} ms   P99 {1e3 * law.quantile_s(0.99):5.2f} ms   "
          f"{profile.throughput_rps(size):5.0f} rps")  # fmt: skip
print("knee at a batch of", profile.knee_batch_size)

# %% [markdown]
# ## The guess
#
# The usual guess divides the rate by the throughput of one server.

# %%
best_rps = profile.throughput_rps(64)
print(f"{RATE_RPS:.0f} rps over {best_rps:.0f} rps is {RATE_RPS / best_rps:.2f} servers")
guess = math.ceil(RATE_RPS / best_rps)
assert guess == 2

# %% [markdown]
# So two servers? They can indeed do the work. Whether they do it *in time* is another question, since
# requests come by chance and form queues.
#
# ## The plan
#
# The planner asks theory first, which throws out what cannot keep up, and simulates the rest, request by
# request, until it knows on which side of the promise each lies. The winner is simulated once more with fresh
# random numbers.

# %%
question = Question(
    profiles=(profile,),
    workload=Workload(arrival_rate_rps=RATE_RPS),
    objective=LatencyObjective(limits={0.99: LIMIT_S}),
)
answer = recommend(question, SimulationJudge(seed=5))
for sentence in explain(answer, question):
    print(sentence)

# %%
assert answer.plan is not None
assert answer.performance is not None
p99 = answer.performance.response_quantiles_s[0.99]
print(f"load            {answer.performance.load:.2f}")
print(f"busy            {100 * answer.performance.utilization:.0f} % of the time")
print(f"mean batch      {answer.performance.batch_size_mean:.1f} of {answer.plan.batch_size_max}")
print(f"P99             {format_interval(p99)}, promised {format_duration(LIMIT_S)}")
assert (answer.verdict, answer.plan.replicas, answer.plan.batch_size_max) == (Verdict.MET, 3, 32)
assert p99.high < LIMIT_S

# %% [markdown]
# Three replicas, not two, with batches up to 32. How to read it:
#
# - **The numbers in brackets are a 95 % interval.** A plan is accepted only if the upper end keeps the
#   promise. The interval also holds the error of your own file: 600 samples for each batch size say something
#   about its P99, not everything.
# - **Load** is the rate over the largest rate that this plan can sustain. Busy is another thing, and nearly
#   always higher: see `04_batching`.
#
# What else was looked at, and why it was refused:

# %%
for candidate in answer.considered:
    one, found = candidate.plan, ""
    if candidate.performance is not None:
        found = format_interval(candidate.performance.response_quantiles_s[0.99])
    print(f"{one.replicas} x B = {one.batch_size_max:2}   {found:24} {format_verdict(candidate)}")

# %% [markdown]
# ## Replicas and batches: where the plan lies
#
# A judge of the same kind, over a grid: replicas upwards, largest batch across. It is asked for a P99 to 5 %,
# not to the 2 % of the plan above, so that thirty cells do not take long; and it certifies each cell, where
# the refused plans above were only searched, until it was clear that they would not do. So a P99 may differ
# from the one above, by as much as the intervals say. A cell holds P99; the outlined cells keep the promise,
# upper end of the interval included; a dash cannot keep up at all.

# %%
COUNTS, SIZES = range(1, 7), (4, 8, 16, 32, 64)
judge = SimulationJudge(seed=5, precision=0.05)


def judged(replicas: int, batch_size_max: int) -> Candidate | None:
    """None where the plan cannot keep up."""
    plan = Plan(profile=profile.name, replicas=replicas, batch_size_max=batch_size_max)
    if load(profile, RATE_RPS, plan) >= 1.0:
        return None
    return judge.certify(question.scenario(plan), attempt=1, requests_first=0)


def p99_of(one: Candidate) -> Interval:
    assert one.performance is not None
    return one.performance.response_quantiles_s[0.99]


cells = {(count, size): judged(count, size) for count in COUNTS for size in SIZES}

# %%
rows = [[cells[count, size] for size in SIZES] for count in COUNTS]
values_ms = [[math.nan if one is None else 1e3 * p99_of(one).value for one in row] for row in rows]
accepted = [[one is not None and one.verdict is Verdict.MET for one in row] for row in rows]
grid = new_plot(
    x_title="largest batch",
    y_title="replicas",
    title=f"P99 at {RATE_RPS:.0f} rps, and what keeps {format_duration(LIMIT_S)}",
)
grid.heat_map(
    SIZES, list(COUNTS), values_ms, accepted=accepted, unit="ms", outlined="kept", missing="cannot keep up"
)
grid

# %%
kept = [key for key, one in cells.items() if one is not None and one.verdict is Verdict.MET]
fewest = {size: min(n for n, b in kept if b == size) for size in SIZES if any(b == size for _, b in kept)}
print("fewest replicas by largest batch:", fewest)
for (count, size), one in cells.items():
    if one is not None and one.verdict is not Verdict.MET:
        print(f"{count} x B = {size}: {one.verdict}, P99 {format_interval(p99_of(one))}")
above = {(one.plan.replicas, one.plan.batch_size_max): one.performance for one in answer.considered}
for count, size in ((2, 64), (3, 32)):
    one, before = cells[count, size], above[count, size]
    assert one is not None
    assert before is not None
    first, second = before.response_quantiles_s[0.99], p99_of(one)
    print(f"{count} x B = {size}: P99 above {format_interval(first)}, in the grid {format_interval(second)}")
    assert max(first.low, second.low) <= min(first.high, second.high)
assert fewest == {8: 4, 16: 3, 32: 3, 64: 3}

# %% [markdown]
# Read a column upwards: more replicas help much at first and then hardly, since even a request that meets
# nobody takes its service time. Read a row: once the batch is large enough, more of it changes little,
# because the server seldom has so many waiting. A batch that is too small costs replicas: with 8 it takes 4.
#
# 6 replicas with batches up to 4 look fine and are not accepted: the interval reaches beyond 25 ms. Is that
# chance in the simulation, or chance in the file? A search takes the file for the truth, a certificate does
# not, and the file's own samples say how sure the load is:

# %%
SIX = Plan(profile=profile.name, replicas=6, batch_size_max=4)
narrow, believing = cells[6, 4], judge.search(question.scenario(SIX), attempt=1)
(at_load,) = sampling_intervals((profile,), lambda other: (load(other, RATE_RPS, SIX),))
assert narrow is not None
print(f"file taken for the truth   P99 {format_interval(p99_of(believing)):24} {believing.verdict}")
print(f"with the error of the file P99 {format_interval(p99_of(narrow)):24} {narrow.verdict}")
print(f"load {at_load.value:.3f} ({at_load.low:.3f} to {at_load.high:.3f})")

assert believing.verdict is Verdict.MET
assert p99_of(believing).high < LIMIT_S
assert narrow.verdict is Verdict.INCONCLUSIVE
assert p99_of(narrow).value < LIMIT_S < p99_of(narrow).high
assert round(at_load.value, 2) == 0.97
assert at_load.relative_half_width < 0.01
assert at_load.half_width > 0.15 * (1.0 - at_load.value)
assert p99_of(narrow).relative_half_width > 0.1

# %% [markdown]
# It is the file. 600 batches tell the load to better than 1 %, but at 0.97 that is more than a seventh of the
# capacity that is left over, and P99 goes with what is left over. Such a plan is left *inconclusive*, rather
# than taken on trust. What helps is to time more batches, since four times as many halve that error, or to
# allow a larger batch, which leaves more to spare: with 8, four replicas are enough.
#
# ## One replica fewer
#
# Two replicas can keep up, with batches up to 64, and miss the promise by far. All with batches up to 64:

# %%
two, three = cells[2, 64], cells[3, 64]
assert two is not None
assert three is not None
for count in COUNTS:
    if (one := cells[count, 64]) is not None:
        print(f"{count} replicas   P99 {format_interval(p99_of(one)):24} {one.verdict}")

assert two.verdict is Verdict.MISSED
assert p99_of(two).low > 1.5 * LIMIT_S
assert p99_of(two).low > 2.5 * p99_of(three).high
assert cells[2, 32] is None

# %%
fewer = new_plot(
    x_title="replicas", y_title="P99 of the response [ms]", title="The step from 3 replicas to 2 is a cliff"
)
stable = {count: one for count in COUNTS if (one := cells[count, 64]) is not None}
fewer.simulated(list(stable), [in_ms(p99_of(one)) for one in stable.values()], "B = 64", number=0)
fewer.limit(1e3 * LIMIT_S, "promised")
fewer.axes.set_xticks(list(stable))
fewer.axes.set_ylim(bottom=0.0)
fewer

# %% [markdown]
# So the loss of one server, for a deployment or by a fault, is not "a third slower": it breaks the promise.
# With the recommended batches up to 32 it is worse, and two replicas cannot keep up at all. If that may
# happen, plan for it: `capacity plan --spare 1` asks for a fleet that keeps its promise with one replica
# gone.
#
# ## Headroom
#
# How far may the rate rise before this plan breaks its promise?

# %%
plan = answer.plan
wall_rps = sustainable_rate_rps(profile, plan)
held_rps = answer.arrival_rate_max_rps
assert held_rps is not None
print(f"today {format_rate(RATE_RPS)}, holds up to {format_rate(held_rps)}, wall {format_rate(wall_rps)}")
assert 1.25 < held_rps / RATE_RPS < 1.3
assert held_rps < 0.95 * wall_rps

# %%
rates = [2000.0, 3000.0, 4000.0, 5000.0, 5500.0, 6000.0, 6200.0, 6400.0, 6600.0]
simulation = Simulation(seed=5, precision=0.03, quantiles=(0.5, 0.99))
at_rate = [simulation(profile, Workload(arrival_rate_rps=rate), plan) for rate in rates]
room = new_plot(
    x_title="arrival rate [rps]",
    y_title="response time [ms]",
    title="3 replicas with batches up to 32: how much room is left",
)
for number, (name, quantile) in enumerate({"P50": 0.5, "P99": 0.99}.items()):
    room.simulated(rates, [in_ms(one.response_quantiles_s[quantile]) for one in at_rate], name, number=number)
room.limit(1e3 * LIMIT_S, "promised")
room.limit(RATE_RPS, "today", axis="x")
room.limit(held_rps, "holds", axis="x")
room.limit(wall_rps, "wall", axis="x")
room

# %%
now, late = (at_rate[rates.index(rate)] for rate in (5000.0, 6600.0))
for quantile, name in {0.5: "P50", 0.99: "P99"}.items():
    before, after = (format_interval(one.response_quantiles_s[quantile]) for one in (now, late))
    print(f"from 5000 to 6600 rps {name} goes from {before} to {after}")
print(f"busy at 5000 rps {now.utilization:.3f}; load where the promise ends {held_rps / wall_rps:.2f}")

assert now.utilization is not None
assert now.utilization > 0.99
assert late.response_quantiles_s[0.5].low > 1.5 * now.response_quantiles_s[0.5].high
assert late.response_quantiles_s[0.5].high < 0.7 * LIMIT_S < LIMIT_S < late.response_quantiles_s[0.99].low
assert 0.85 < held_rps / wall_rps < 0.95

# %% [markdown]
# There is room for a quarter more traffic. The promise breaks well before the wall, where the fleet can no
# longer keep up at all, and replicas are busy nearly all of the time long before that. So neither the wall
# nor a busy share is the alarm; the load is. The median rises too, by more than half over the same stretch,
# and stays far below the limit: an alarm on the median would be silent.
#
# ## What the file left out
#
# An answer is as good as what was measured. The lines above say how long the *model* takes. The server that
# was measured has more to do on the same core: it reads, checks and answers each request, and its slow
# moments come in spells. `capacity profile` measures that too, and the bundled profile holds it. The same
# question, asked of that:

# %%
whole = Question(profiles=(bundled,), workload=question.workload, objective=question.objective)
whole_answer = recommend(whole, SimulationJudge(seed=5), with_headroom=False)
for sentence in explain(whole_answer, whole):
    print(sentence)

for size in (1, 32):
    print(f"batch of {size:2}: the model {1e3 * profile.service_mean_s(size):5.2f} ms, "
          f"the server {1e3 * bundled.service_mean_s(size):5.2f} ms")  # fmt: skip
assert whole_answer.plan is not None
assert whole_answer.plan.replicas == 4
assert load(bundled, RATE_RPS, plan) > 1.0
assert bundled.service_mean_s(32) > 1.4 * profile.service_mean_s(32)

# %% [markdown]
# Four replicas, not three: with the server's own work a batch of 32 takes over 1.4 times as long, and the
# plan from the CSV alone could not even keep up. Nothing was wrong with the planner; the file answered
# another question.
#
# ## What to do
#
# 1. **Time the whole server**, not the model alone: `capacity profile --url http://127.0.0.1:8000/predict
#    --body row.json -o mine.json`, with some hundred batches of each size. Raw samples are better than a
#    summary, because the interval then knows how good they are.
# 2. **Ask for a plan**: `capacity plan --profile mine.json --rate 5000rps --slo-p99 25ms`. Do not divide rate
#    by throughput.
# 3. **If it is inconclusive**, time more batches, or allow a larger one. Do not read the value without its
#    interval.
# 4. **Look at the headroom**, and set your alarm at the load it stands for, not at a busy share or the
#    median.
# 5. **Ask what one less does.** If a lost replica must not break the promise, add `--spare 1`.
# 6. **Check afterwards** with `capacity verify`: it drives the real server and holds prediction beside
#    measurement.
