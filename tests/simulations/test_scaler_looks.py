"""When an autoscaler looks at a run and what it does then, by sights that a test makes up."""

import math
from typing import Any

import numpy as np
import pytest

from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.recovery.faults import Action
from simulations.draws.watching import Sight
from simulations.scaler import Scaler


def scaler_of(
    metric: Metric = Metric.UTILIZATION, first: int = 2, until_s: float = 600.0, **fields: Any
) -> Scaler:
    level = 0.5 if metric is Metric.UTILIZATION else 2.0
    settings = Autoscaler(target=Target(metric=metric, level=level), replicas_max=10, **fields)
    return Scaler(settings, first, lambda now_s: int(min(now_s, until_s - 1.0)) + 1, until_s)


def sight_at(now_s: float, busy_s: float = 0.0, held: int = 0, replicas: int = 10, queues: int = 10) -> Sight:
    """Every replica has been busy for as long, and serves as many; nothing waits."""
    return Sight(
        now_s=now_s,
        waiting=np.zeros(queues, dtype=np.int64),
        serving=np.full(replicas, held, dtype=np.int64),
        busy_s=np.full(replicas, busy_s),
    )


def looks_of(scaler: Scaler, count: int, share: float = 0.0, held: int = 0) -> list[float]:
    """The instants of its next looks, at replicas that are busy for a share of the time."""
    seen = []
    for _ in range(count):
        seen.append(scaler.next_s)
        scaler.look(sight_at(scaler.next_s, busy_s=share * scaler.next_s, held=held))
    return seen


def test_utilization_is_looked_at_every_15_s_from_the_start() -> None:
    assert looks_of(scaler_of(), 5, share=0.5) == [0.0, 15.0, 30.0, 45.0, 60.0]


def test_concurrency_is_looked_at_three_times_a_sample() -> None:
    assert looks_of(scaler_of(Metric.CONCURRENCY), 7, held=2) == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]


def test_a_sample_is_taken_so_long_before_a_sync_that_it_is_known_by_it() -> None:
    """Known 10 s later: taken 5 s after a sync, for the next."""
    assert looks_of(scaler_of(metric_lag_s=10.0), 6, share=0.5) == [5.0, 15.0, 20.0, 30.0, 35.0, 45.0]


def test_nothing_is_looked_at_after_the_end() -> None:
    scaler = scaler_of(until_s=30.0)
    assert looks_of(scaler, 3, share=0.5) == [0.0, 15.0, 30.0]
    assert scaler.next_s == math.inf


def test_replicas_that_are_twice_as_busy_as_wanted_are_doubled_and_serve_once_they_have_started() -> None:
    """The shares of the second 15 s are known at 30 s; new replicas take 20 s."""
    scaler = scaler_of(startup_s=20.0)
    for now_s in (0.0, 15.0):
        assert list(scaler.look(sight_at(now_s, busy_s=now_s))) == []
    assert scaler.wanted == [(0.0, 2), (15.0, 4)]
    assert scaler.ready == [(0.0, 2)]
    assert scaler.next_s == 30.0
    scaler.look(sight_at(30.0, busy_s=30.0 * 0.5))
    assert scaler.next_s == 35.0
    joined = scaler.look(sight_at(35.0, busy_s=20.0))
    assert [(fault.instant_s, fault.replica, fault.action) for fault in joined] == [
        (35.0, 2, Action.JOIN), (35.0, 3, Action.JOIN)
    ]  # fmt: skip
    assert scaler.ready == [(0.0, 2), (35.0, 4)]


@pytest.mark.parametrize(("held", "wanted"), [(2, None), (4, 4), (3, 3), (9, 9)])
def test_requests_at_each_replica_are_held_at_their_target(held: int, wanted: int | None) -> None:
    """Two replicas, each holding `held` requests, where two are the target."""
    scaler = scaler_of(Metric.CONCURRENCY)
    looks_of(scaler, 4, held=held)
    expected = (
        [(0.0, 2)] if wanted is None else [(0.0, 2), (15.0, min(wanted, 6))]
    )  # by four at most in a sync
    assert scaler.wanted == expected


def test_a_shared_queue_is_split_evenly_among_those_that_serve() -> None:
    scaler = scaler_of(Metric.CONCURRENCY, first=4)
    sight = sight_at(0.0, held=1, replicas=10, queues=1)._replace(waiting=np.array([2]))
    assert scaler._held(sight).tolist() == [12.0 / 4.0] * 10
    own = sight_at(0.0, held=1)._replace(waiting=np.arange(10))
    assert scaler._held(own).tolist() == [1.0 + n for n in range(10)]


def test_the_youngest_leave_first_and_at_once() -> None:
    """Nearly idle for as long as a large recommendation is remembered: down to one."""
    scaler = scaler_of(first=3, stabilization_s=30.0)
    faults: list[Any] = []
    while not faults and scaler.next_s < 200.0:
        faults += scaler.look(sight_at(scaler.next_s, busy_s=0.1 * scaler.next_s))
    assert [(fault.replica, fault.action) for fault in faults] == [(1, Action.LEAVE), (2, Action.LEAVE)]
    left_s = faults[0].instant_s
    assert scaler.wanted[-1] == (left_s, 1)
    assert scaler.ready[-1] == (left_s, 1)
