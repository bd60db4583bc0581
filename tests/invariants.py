"""Invariants: what must hold of every run under every plan, each with a name, a statement and a check.

Each `check_...` raises AssertionError where the records of a run break the invariant.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from capacity.performance import Performance
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.records import Floats, Records
from simulations.replication import Task
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Sample
from simulations.statistics.tally import ROUNDING, Tally


@dataclass(frozen=True)
class Served:
    """One batch, read back from the records of its requests."""

    replica: int
    started_s: float
    finished_s: float
    requests: list[int]


def batches_of(records: Records) -> list[Served]:
    """The batches of a run by start, then by their oldest request."""
    members: dict[int, list[int]] = {}
    for request in np.flatnonzero(~records.is_lost).tolist():
        oldest = int(records.oldest[request])
        members.setdefault(oldest, []).append(request)
    batches = [
        Served(
            int(records.replica[oldest]),
            float(records.started_s[oldest]),
            float(records.finished_s[oldest]),
            requests,
        )
        for oldest, requests in members.items()
    ]
    return sorted(batches, key=lambda batch: (batch.started_s, batch.requests[0]))


def by_replica(records: Records) -> list[list[Served]]:
    """Batches of each replica that served any, by start."""
    groups: dict[int, list[Served]] = {}
    for batch in batches_of(records):
        groups.setdefault(batch.replica, []).append(batch)
    return list(groups.values())


def queues_of(records: Records, plan: BatchPlan) -> Iterator[tuple[list[int], list[Served], int]]:
    """Each queue: whom it took in, in order of arrival, its batches by start, how many replicas it feeds."""
    if plan.routing is Routing.SHARED_QUEUE:
        yield np.flatnonzero(~records.is_lost).tolist(), batches_of(records), plan.replicas
        return
    for batches in by_replica(records):
        requests = np.flatnonzero(records.replica == batches[0].replica).tolist()
        yield requests, batches, 1


def check_conservation(records: Records, draws: Draws | ClosedDraws, plan: BatchPlan) -> None:
    """Arrived = finished + lost: each is served exactly once or lost, and only a limit loses any."""
    count = len(draws.service)
    if isinstance(draws, Draws):
        assert np.array_equal(records.arrived_s, draws.arrived_s)
    lost = records.is_lost
    assert plan.queue_limit is not None or not lost.any()
    for column in (records.started_s, records.finished_s):
        assert column.shape == (count,)
        assert np.isfinite(column[~lost]).all()
        assert np.isnan(column[lost]).all()
    assert (records.oldest[lost] == -1).all()
    members = Counter(records.oldest[~lost].tolist())
    for oldest, size in members.items():
        assert size == records.batch_size[oldest], f"the batch of request {oldest} has {size} requests"


def check_causality(records: Records) -> None:
    """No request starts before it arrived, and each takes time: arrived <= started < finished."""
    served = ~records.is_lost
    assert (records.arrived_s <= records.started_s)[served].all()
    assert (records.started_s < records.finished_s)[served].all()


def check_clock(records: Records) -> None:
    """Instants of arrival do not fall, and the batches of one replica do not overlap in time."""
    assert (np.diff(records.arrived_s) >= 0.0).all()
    for batches in by_replica(records):
        for one, following in itertools.pairwise(batches):
            assert one.finished_s <= following.started_s, f"replica {one.replica} serves two batches at once"


def check_fifo(records: Records, plan: BatchPlan) -> None:
    """A queue is served in order of arrival: its batches by start are the queue cut into pieces."""
    for requests, batches, _ in queues_of(records, plan):
        assert [request for batch in batches for request in batch.requests] == requests


def check_work_conservation(records: Records, plan: BatchPlan) -> None:
    """No replica is idle while its queue has a batch due, and none starts before a batch is due.

    A batch is due when its queue holds `batch_size_max` requests or its timer has run for
    `batch_wait_max_s` (at once when greedy), and starts then or as soon as a replica is free.
    """
    for requests, batches, replicas in queues_of(records, plan):
        free_s = {batch.replica: 0.0 for batch in batches}
        served = 0
        for batch in batches:
            assert batch.started_s >= free_s[batch.replica]
            soonest_s = min(free_s.values()) if len(free_s) == replicas else 0.0
            assert batch.started_s == max(soonest_s, _due_s(records, plan, requests[served:], soonest_s))
            free_s[batch.replica] = batch.finished_s
            served += len(batch.requests)


def _due_s(records: Records, plan: BatchPlan, queued: list[int], free_s: float) -> float:
    timed_s = float(records.arrived_s[queued[0]])
    if plan.batching is Batching.TORCHSERVE:
        timed_s = max(timed_s, free_s)
    deadline_s = timed_s + plan.batch_wait_max_s
    if len(queued) < plan.batch_size_max:
        return deadline_s
    return min(deadline_s, float(records.arrived_s[queued[plan.batch_size_max - 1]]))


def check_batch_takes_all_that_waits(records: Records, plan: BatchPlan) -> None:
    """A batch that is not full leaves nobody behind who had arrived before it started."""
    for requests, batches, _ in queues_of(records, plan):
        served = 0
        for batch in batches:
            served += len(batch.requests)
            if len(batch.requests) < plan.batch_size_max and served < len(requests):
                assert records.arrived_s[requests[served]] >= batch.started_s


def check_batch_limits(records: Records, plan: BatchPlan) -> None:
    """A batch has 1 to `batch_size_max` requests, which share its replica, start and finish."""
    served = ~records.is_lost
    assert (records.batch_size[served] >= 1).all()
    assert (records.batch_size <= plan.batch_size_max).all()
    assert (records.replica[served] >= 0).all()
    assert (records.replica < plan.replicas).all()
    for column in (records.started_s, records.finished_s, records.batch_size, records.replica):
        assert np.array_equal(column[served], column[records.oldest[served]])


def check_queue_limit(records: Records, plan: BatchPlan) -> None:
    """Who waits when all replicas are busy is never more than the limit allows, at each of its queues.

    Someone waits in this sense from arrival to start, unless a replica was free to collect the batch;
    a batch that a free replica collects is no queue.
    """
    assert plan.queue_limit is not None
    for requests, batches, replicas in queues_of(records, plan):
        for request in requests:
            now_s = records.arrived_s[request]
            busy = sum(batch.started_s <= now_s < batch.finished_s for batch in batches)
            if busy == replicas:
                earlier = [r for r in requests if r <= request and records.started_s[r] > now_s]
                assert len(earlier) <= plan.queue_limit


def check_loss_only_when_full(records: Records, plan: BatchPlan) -> None:
    """Who is lost from a shared queue finds every replica busy and as many waiting as the limit allows."""
    assert plan.queue_limit is not None
    assert plan.routing is Routing.SHARED_QUEUE
    batches = batches_of(records)
    for request in np.flatnonzero(records.is_lost).tolist():
        now_s = records.arrived_s[request]
        assert sum(batch.started_s <= now_s < batch.finished_s for batch in batches) == plan.replicas
        waits = (records.arrived_s <= now_s) & (records.started_s > now_s)
        assert np.count_nonzero(waits) == plan.queue_limit


def check_population(records: Records, draws: ClosedDraws, spread_s: float) -> None:
    """Users ask once at the start, and then whenever they have been answered and thought; no one else does.

    So there are never more requests than users.
    """
    first_s = np.arange(draws.users) / draws.users * spread_s
    asked_s = np.sort(np.concatenate([first_s, records.finished_s + draws.think_s]))
    assert np.array_equal(records.arrived_s, asked_s[: len(records.arrived_s)])
    for number, arrived_s in enumerate(records.arrived_s.tolist()):
        assert np.count_nonzero(records.finished_s[: number + 1] > arrived_s) <= draws.users


def check_same_bytes(one: Records, other: Records) -> None:
    """The same plan, service times and seed give the same records to the last bit."""
    for name in ("arrived_s", "started_s", "finished_s", "batch_size", "replica", "oldest"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def check_window(sample: Sample, records: Records, task: Task) -> None:
    """What counts is all that arrives after the warm-up and before the cool-down and is not lost.

    It stands for as many gaps as there are requests.
    """
    start, end = _counted(records, task)
    waits_s = (records.started_s - records.arrived_s)[start:end]
    _check_values(sample.waits, waits_s[~np.isnan(waits_s)], records.arrived_s[end - 1])
    served_s = (records.finished_s - records.arrived_s)[start:end]
    served_s = served_s[~np.isnan(served_s)] + task.request_overhead_s
    _check_values(sample.responses, served_s, records.arrived_s[end - 1])
    gaps_s = records.arrived_s[end - 1] - records.arrived_s[start]
    assert sample.window_s == gaps_s * (end - start) / (end - start - 1)
    assert sample.lost == np.count_nonzero(records.is_lost[start:end])
    assert sample.batch_size_largest == records.batch_size.max()
    sizes = records.batch_size[start:end]
    assert abs(sample.batches - np.sum(1.0 / sizes[sizes > 0])) < 1e-9 * len(sizes)


def _check_values(tally: Tally, values_s: Floats, clock_s: float) -> None:
    """A tally holds these values, but that those within the clock's rounding of a mark are the mark."""
    found_s, expected_s = np.repeat(tally.values_s, tally.counts), np.sort(values_s)
    assert found_s.shape == expected_s.shape
    moved = found_s != expected_s
    assert (np.abs(found_s - expected_s) <= ROUNDING * clock_s).all()
    assert np.isin(found_s[moved], tally.marks_s).all()
    assert tally.total_s == float(np.cumsum(values_s)[-1])


def _counted(records: Records, task: Task) -> tuple[int, int]:
    """The first request that counts, and the first after those."""
    return task.length.warm_up, len(records.arrived_s) - task.length.cool_down


def _performance(sample: Sample, task: Task) -> Performance:
    pool = Pool.of([sample])
    return batch_performance(pool, load=None, replicas=task.plan.replicas, quantiles=(), confidence=0.95)


def _check_occupied(
    found: float, weights: Floats, spans_s: tuple[Floats, Floats], records: Records, task: Task
) -> None:
    """What is counted by requests is the time that they occupy in the window, but for its edges.

    Each request that an edge of the window cuts moves the one against the other by its span at most;
    and of n gaps that the requests stand for the window has n - 1.
    """
    start, end = _counted(records, task)
    first_s, last_s = float(records.arrived_s[start]), float(records.arrived_s[end - 1])
    from_s, to_s = (np.where(records.is_lost, 0.0, instants_s) for instants_s in spans_s)
    overlaps_s = np.clip(to_s, first_s, last_s) - np.clip(from_s, first_s, last_s)
    occupied = float(np.sum(weights * overlaps_s)) / (last_s - first_s)
    is_cut = [(records.arrived_s <= edge_s) & (to_s > edge_s) for edge_s in (first_s, last_s)]
    cut = sum(float(np.sum((weights * (to_s - from_s))[cut])) for cut in is_cut) / (last_s - first_s)
    assert abs(found - occupied) <= cut + found / (end - start) + 1e-9


def check_littles_law(sample: Sample, records: Records, task: Task) -> None:
    """L = λW: time spent in the window, and in the queue, is that of those who arrive in it but for its edges."""
    seen = _performance(sample, task)
    ones = np.ones(len(records.arrived_s))
    left_s = records.finished_s + task.request_overhead_s
    _check_occupied(seen.in_system_mean, ones, (records.arrived_s, left_s), records, task)
    _check_occupied(seen.queue_length_mean, ones, (records.arrived_s, records.started_s), records, task)
    start, end = _counted(records, task)
    response_s = np.nanmean((left_s - records.arrived_s)[start:end])
    assert abs(seen.in_system_mean - seen.throughput_rps * response_s) <= 1e-9 * seen.in_system_mean


def check_utilization(sample: Sample, records: Records, task: Task) -> None:
    """The busy share is the time that the batches take of the window, over all replicas, but for its edges."""
    weights = 1.0 / (np.maximum(records.batch_size, 1) * task.plan.replicas)
    found = _performance(sample, task).utilization
    _check_occupied(found, weights, (records.started_s, records.finished_s), records, task)
    assert 0.0 <= found <= 1.0
