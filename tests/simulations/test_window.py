"""The short stretch of a run that a report shows: batches that cannot overlap, and queues that add up."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from capacity.performance import Window
from capacity.profile.load import load_profile
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Demand, PoissonArrivals, TraceArrivals, Workload
from simulations.draws.records import Records
from simulations.reference.window import (
    BATCHES_MAX,
    REPLICAS_MAX,
    _shortened,
    _window,
    readable_length_s,
    watch,
)

PROFILE = load_profile("resnet50-t4-fp16")
POISSON = Workload(arrival_rate_rps=3200.0, arrivals=PoissonArrivals())


def scenario(workload: Demand = POISSON, **changes: object) -> Scenario:
    plan = BatchPlan(profile=PROFILE.name, replicas=4, batch_size_max=16)
    return Scenario(profile=PROFILE, workload=workload, plan=replace(plan, **changes))


def seen(one: Scenario, throughput_rps: float = 3200.0, batch_size_mean: float = 5.7) -> Window:
    window = watch(one, throughput_rps, batch_size_mean, seed=1)
    assert window is not None
    return window


@pytest.mark.parametrize(
    "one",
    [
        scenario(),
        scenario(routing=Routing.SHARED_QUEUE),
        scenario(queue_limit=3),
        scenario(batch_wait_max_s=0.004),
        scenario(ClosedPopulation(users=60, think_time_s=0.01)),
        scenario(replicas=12),
    ],
    ids=["greedy", "shared", "limited", "waiting", "users", "many"],
)
def test_a_replica_serves_one_batch_at_a_time(one: Scenario) -> None:
    window = seen(one, batch_size_mean=1.1 if one.plan.replicas == 12 else 5.7)
    assert 20 < len(window.batches) < 2 * BATCHES_MAX
    lanes = Counter(batch.replica for batch in window.batches)
    assert set(lanes) == set(range(min(one.plan.replicas, REPLICAS_MAX)))
    for replica in lanes:
        mine = [batch for batch in window.batches if batch.replica == replica]
        assert all(before.finished_s <= after.started_s for before, after in pairwise(mine))
    for batch in window.batches:
        assert 1 <= batch.size <= one.plan.batch_size_max
        assert batch.started_s < window.length_s
        assert batch.finished_s > 0.0
    assert window.instants_s[0] == 0.0
    assert window.instants_s[-1] == pytest.approx(window.length_s)
    assert min(window.waiting) >= 0


def test_what_waits_is_what_came_and_has_not_begun() -> None:
    calm = Workload(arrival_rate_rps=800.0, arrivals=PoissonArrivals())
    window = seen(scenario(calm, replicas=1), throughput_rps=800.0)
    assert window.length_s == 1.0
    for (from_s, before), (to_s, after) in pairwise(zip(window.instants_s, window.waiting, strict=True)):
        begun = sum(batch.size for batch in window.batches if from_s < batch.started_s <= to_s)
        assert after >= before - begun
    begun = sum(batch.size for batch in window.batches if 0.0 < batch.started_s <= window.length_s)
    due = 800.0 * window.length_s
    assert begun == pytest.approx(due, abs=5.0 * np.sqrt(due))  # Poisson, at five standard deviations


def test_the_same_seed_shows_the_same() -> None:
    assert seen(scenario()) == seen(scenario())
    assert seen(scenario()) != watch(scenario(), 3200.0, 5.7, seed=2)


def test_the_window_is_as_long_as_can_be_read() -> None:
    assert seen(scenario()).length_s == 0.2
    assert readable_length_s(0.19) == pytest.approx(0.1)
    assert readable_length_s(1.0) == 1.0
    slow = scenario(Workload(arrival_rate_rps=4.0, arrivals=PoissonArrivals()))
    assert seen(slow, 4.0, 1.0).length_s == 10.0


def test_where_nothing_is_served_there_is_nothing_to_see() -> None:
    assert watch(scenario(), None, 1.0, seed=0) is None


def test_a_long_trace_is_cut_at_its_own_pace() -> None:
    instants_s = tuple(np.cumsum(np.random.default_rng(3).exponential(0.001, 5000)).tolist())
    whole = Workload(arrival_rate_rps=500.0, arrivals=TraceArrivals(instants_s=instants_s, name="t"))
    part = _shortened(whole, 1000)
    assert isinstance(part, Workload)
    assert isinstance(part.arrivals, TraceArrivals)
    assert len(part.arrivals.instants_s) == 1000
    ratio = part.arrivals.rate_rps / part.arrival_rate_rps
    assert ratio == pytest.approx(whole.arrivals.rate_rps / whole.arrival_rate_rps)
    assert _shortened(whole, 6000) is whole


def records_of(
    arrived_s: np.ndarray, took_s: float = 0.5, size: int = 1, replica: np.ndarray | None = None
) -> Records:
    """Requests served on arrival, each in its own batch."""
    count = len(arrived_s)
    return Records(
        arrived_s=arrived_s,
        started_s=arrived_s,
        finished_s=arrived_s + took_s,
        batch_size=np.full(count, size),
        replica=np.zeros(count, dtype=np.int64) if replica is None else replica,
        oldest=np.arange(count),
    )


@pytest.mark.parametrize(
    ("throughput_rps", "batch_size_mean", "replicas", "length_s", "requests"),
    [
        (400.0, 4.0, 4, 1.0, 1406),  # 100 batches a second, of which 160 last 1.6 s
        (400.0, 4.0, 16, 2.0, 2206),  # half of them are shown: 3.2 s
        (40_000.0, 10_000.0, 1, 0.5, 60_000),  # half of 60,000 requests come within 0.75 s
        (1.0, 1.0, 1, 10.0, 23),
    ],
)
def test_a_run_is_a_hundred_batches_and_twice_the_window(
    throughput_rps: float,
    batch_size_mean: float,
    replicas: int,
    length_s: float,
    requests: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred full batches take 1.5113 s; a request more than the throughput gives, and 60,000 at most."""
    asked: list[int] = []

    def run(one: Scenario, requests: int, seed: int) -> Records:
        asked.append(requests)
        return records_of(np.linspace(0.0, 100.0, 101))

    monkeypatch.setattr("simulations.reference.window._run", run)
    window = watch(scenario(replicas=replicas), throughput_rps, batch_size_mean, seed=1)
    assert (window.length_s, window.replicas, window.replicas_shown) == (length_s, replicas, min(8, replicas))
    assert asked == [requests]
    # It ends with 98 % of the arrivals, at 98 s.
    ends_s = [batch.started_s + (98.0 - length_s) for batch in window.batches]
    assert ends_s == pytest.approx(np.arange(math.floor(97.5 - length_s) + 1.0, 98.0))


def test_a_run_shorter_than_its_window_is_shown_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    instants_s = np.linspace(0.0, 0.5, 101)
    monkeypatch.setattr("simulations.reference.window._run", lambda *_: records_of(instants_s))
    window = watch(scenario(), 4.0, 1.0, seed=1)
    assert window.length_s == pytest.approx(0.49)
    monkeypatch.setattr("simulations.reference.window._run", lambda *_: records_of(np.zeros(9)))
    assert watch(scenario(), 4.0, 1.0, seed=1) is None


def test_a_window_has_the_batches_that_overlap_it_on_the_replicas_shown() -> None:
    """From 10 to 12 s, without the batch that ends at 10, the one that starts at 12, and a lost request."""
    arrived_s = np.array([9.0, 9.25, 11.0, 11.0, 11.5, 11.75, 12.0])
    records = replace(
        records_of(arrived_s, 1.0, replica=np.array([0, 1, 2, 1, 0, 0, 1])),
        batch_size=np.array([1, 1, 1, 2, 2, 0, 1]),
        oldest=np.array([0, 1, 2, 3, 3, -1, 6]),
        started_s=np.array([9.0, 9.25, 11.0, 11.5, 11.5, np.nan, 12.0]),
        finished_s=np.array([10.0, 10.25, 12.0, 12.5, 12.5, np.nan, 13.0]),
    )
    window = _window(records, 10.0, 2.0, 3, 2)
    assert [(one.replica, one.size, one.started_s, one.finished_s) for one in window.batches] == [
        (1, 1, -0.75, 0.25),
        (1, 2, 1.5, 2.5),
    ]
    assert len(window.instants_s) == len(window.waiting) == 241
    at = dict(zip(window.instants_s, window.waiting, strict=True))
    # Two arrive at 11: one is served at once, the other half a second later.
    assert (at[0.0], at[1.0], at[1.5], at[2.0]) == (0, 1, 0, 0)
