"""Replication: one independent run, its beginning and its end cut off, reduced to what statistics need."""

from dataclasses import dataclass, field, replace

import numpy as np

from capacity.errors import InputError
from capacity.plan import Plan
from capacity.workload import ClosedPopulation, Demand
from simulations.arrivals import ClosedDraws, Draws, Seed, draw, draw_closed
from simulations.cluster import run
from simulations.records import Floats, Records
from simulations.service import ServiceTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How many requests a replication serves.

    Attributes:
        warm_up: first requests, at least so many not counted; the fleet starts empty.
        measured: requests counted.
        cool_down: last requests, not counted; none come after them to share a batch with.
    """

    warm_up: int
    measured: int
    cool_down: int

    @property
    def requests(self) -> int:
        """All that are simulated."""
        return self.warm_up + self.measured + self.cool_down


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that a worker needs for one replication."""

    plan: Plan
    workload: Demand
    service_times: ServiceTimes
    request_overhead_s: float
    length: Length
    seed: Seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What one replication saw after its warm-up; only requests that were served count.

    Attributes:
        wait_s, response_s: of the counted requests in order of arrival, shape `(counted,)`. [s]
        window_s: time from the first counted arrival to the last. [s]
        busy_share: share of the window that a replica was busy, averaged over replicas.
        finished: requests that finished within the window.
        batches: batches that the counted requests make up, a batch cut in two counted in part.
        queue_length_mean, in_system_mean: averages over the window, from occupied time.
        batch_size_largest: of all batches of the run.
        lost: requests that arrived within the window and found no place.
    """

    wait_s: Floats = field(repr=False)
    response_s: Floats = field(repr=False)
    window_s: float
    busy_share: float
    finished: float
    batches: float
    queue_length_mean: float
    in_system_mean: float
    batch_size_largest: int
    lost: float = 0.0

    def split(self, parts: int) -> list["Sample"]:
        """Consecutive parts of one path; averages over time stay those of the whole."""
        return [
            replace(
                self,
                wait_s=wait_s,
                response_s=response_s,
                window_s=self.window_s / parts,
                finished=self.finished / parts,
                batches=self.batches / parts,
                lost=self.lost / parts,
            )
            for wait_s, response_s in zip(
                np.array_split(self.wait_s, parts), np.array_split(self.response_s, parts), strict=True
            )
        ]


def replicate(task: Task) -> Sample:
    """Run one replication."""
    draws = _draws(task.workload, task.length.requests, task.seed)
    return reduce(task, run(task.plan, task.service_times, draws))


def _draws(workload: Demand, requests: int, seed: Seed) -> Draws | ClosedDraws:
    if isinstance(workload, ClosedPopulation):
        return draw_closed(workload, requests, seed)
    return draw(workload, requests, seed)


def reduce(task: Task, records: Records) -> Sample:
    """Cut off the beginning and the end of a run, and reduce the rest."""
    end = len(records.arrived_s) - task.length.cool_down
    start = min(task.length.warm_up, end // 2)
    window = (float(records.arrived_s[start]), float(records.arrived_s[end - 1]))
    if not window[0] < window[1]:
        raise InputError(f"all {end - start} counted requests arrive at one instant; a rate needs more")
    served = np.flatnonzero(~records.is_lost)
    counted = served[(served >= start) & (served < end)]
    if not len(counted):
        raise InputError(f"all {end - start} counted requests are lost; allow more of them to wait")
    response_s = records.response_s + task.request_overhead_s
    arrived_s, started_s = records.arrived_s[served], records.started_s[served]
    left_s = records.finished_s[served] + task.request_overhead_s
    batch_start = records.oldest == np.arange(len(records.oldest))
    busy = _occupied(records.started_s[batch_start], records.finished_s[batch_start], window)
    return Sample(
        wait_s=records.wait_s[counted],
        response_s=response_s[counted],
        window_s=window[1] - window[0],
        busy_share=busy / task.plan.replicas,
        finished=float(np.count_nonzero((left_s > window[0]) & (left_s <= window[1]))),
        batches=float(np.sum(1.0 / records.batch_size[counted])),
        queue_length_mean=_occupied(arrived_s, started_s, window),
        in_system_mean=_occupied(arrived_s, left_s, window),
        batch_size_largest=int(records.batch_size.max()),
        lost=float(end - start - len(counted)),
    )


def _occupied(from_s: Floats, to_s: Floats, window: tuple[float, float]) -> float:
    """How many of the spans `[from_s, to_s]` are open on average over the window."""
    overlap_s = np.clip(to_s, *window) - np.clip(from_s, *window)
    return float(overlap_s.sum()) / (window[1] - window[0])
