"""Replication: one independent run by either engine, reduced to a sample."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

import numpy as np

from capacity.errors import InconclusiveError
from capacity.profile.profile import Spells
from capacity.recovery.protection import Abandoned, Protection
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from capacity.traffic.workload import Demand, Workload, is_patient
from simulations.day import Day
from simulations.draws.arrivals import Purpose, RepeatedStream, Seed, Stream, draw
from simulations.draws.attempts import (
    AttemptDraws,
    BatchFleet,
    Fleet,
    Outcomes,
    backoff_draws,
    routing_draws,
    rows,
)
from simulations.draws.outages import inside
from simulations.draws.phases import PhaseStrata
from simulations.draws.records import Floats, Integers
from simulations.draws.service import ALONE, ServiceTimes
from simulations.draws.start import Start
from simulations.draws.watching import StormWatch, Watcher
from simulations.kernel import serve as kernel
from simulations.statistics.reduction import Reduction
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata
from simulations.workers import leave_if_abandoned

AnySample = TypeVar("AnySample", bound=Sample)

# Requests of a run whose numbers are kept for others, 32 bytes each at most.
_ALIKE_MAX = 1_000_000
# Above this many atoms each is so light that a cell describes it well enough.
_ATOMS_MAX = 4096


class Engine(StrEnum):
    """The engine of a run; for the same seed both give the same bytes."""

    KERNEL = "kernel"
    SIMPY = "simpy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Inputs of one replication, as a worker gets them.

    Attributes:
        limits_s: limits on response times, whose exceedance is counted. [s]
        wait_limits_s: limits on waits, whose exceedance is counted. [s]
        slowdowns: slowdowns of instances that share a device, as `cluster.run` takes them.
        spells: spells of service times, which all replicas share.
        strata: strata of the requests, for arrivals in bursts.
        start: what the fleet serves when the run begins; None for an empty fleet.
        waiting_max: number of attempts that may wait before a run whose clients retry is given up.
        marks_s: values of waits and of responses that tallies keep exact, as of `with_marks`; other service times have
            others. [s]
    """

    plan: BatchPlan
    workload: Demand
    service_times: ServiceTimes
    request_overhead_s: float
    length: Length
    seed: Seed
    limits_s: tuple[float, ...] = ()
    wait_limits_s: tuple[float, ...] = ()
    slowdowns: tuple[float, ...] = ALONE
    spells: Spells | None = None
    engine: Engine = Engine.KERNEL
    strata: PhaseStrata | None = None
    start: Start | None = None
    waiting_max: float = math.inf
    marks_s: tuple[Floats, ...] = ()

    def with_marks(self) -> "Task":
        """The task with the values that tallies keep exact: limits, the batch wait, and atoms of the service time."""
        if self.marks_s:
            return self
        atoms_s, wait_s = (
            self.service_times.table(self.plan.batch_size_max).atoms_s,
            self.plan.batch_wait_max_s,
        )
        if len(atoms_s) > _ATOMS_MAX:
            atoms_s = np.zeros(0)
        atoms_s = np.concatenate([atoms_s, wait_s + atoms_s]) + self.request_overhead_s
        waits_s, responses_s = [wait_s, *self.wait_limits_s], [*atoms_s, *self.limits_s]
        return replace(self, marks_s=(_distinct(np.array(waits_s)), _distinct(np.array(responses_s))))


def replicate(task: Task) -> Sample | Strata:
    """Run one replication; with arrivals in bursts, reduce each stratum by itself."""
    return _replicated(task, Stream(task.workload, task.length.requests, task.seed, task.spells, task.start))


def replicate_alike(tasks: Sequence[Task]) -> list[Sample | Strata]:
    """Run replications of the same requests under other service times, one after the other, which draw them once."""
    one = tasks[0]
    if one.length.requests > _ALIKE_MAX:
        return [replicate(task) for task in tasks]
    stream = RepeatedStream(one.workload, one.length.requests, one.seed, one.spells, one.start)
    samples = []
    for task in tasks:
        stream.rewind()
        samples.append(_replicated(task, stream))
    return samples


def _replicated(task: Task, stream: Stream) -> Sample | Strata:
    """The sample of the requests of a stream."""
    if not is_patient(task.workload):
        outcomes, counted = _attempted(task, stream), _counted(task.length, stream.requests)
        if task.strata is not None:
            return _attempts_by_strata(task, task.strata, outcomes, counted)
        return _of_attempts(task, outcomes, counted)
    if task.strata is not None:
        return _by_strata(task, task.strata, stream)
    reduction = _reduction(task, task.length, stream.requests)
    for served in _served(task, stream):
        reduction.add(*served)
    return reduction.sample()


def _by_strata(task: Task, strata: PhaseStrata, stream: Stream) -> Strata:
    """Samples of the strata of one run."""
    start, end = task.length.warm_up, stream.requests - task.length.cool_down
    middle, counted = (start + end) // 2, Length(warm_up=0, measured=end - start, cool_down=0)
    reduction = _reduction(task, counted, counted.measured, len(strata.rates_rps))
    phases = strata.clock(task.seed.generator(Purpose.PHASES))
    first, last_s = 0, 0.0
    for served in _served(task, stream):
        labels = strata.labels(phases, served.arrived_s)
        after, last_s = first + len(labels), float(served.arrived_s[-1])
        for low, high in ((start, middle), (middle, end)):
            if first <= middle < after and low == middle:
                reduction.halve()
            inside = slice(max(low - first, 0), max(high - first, 0))
            reduction.add(*served.within(inside), parts=labels[inside])
        first = after
    return Strata(weights=strata.weights, samples=reduction.parts(strata.rates_rps, last_s))


_ANY_NUMBER = 2**62  # of requests; more than any day has


def reduce_day(task: Task, parts: Iterator[kernel.Served], begins_s: float, ends_s: float) -> Sample:
    """Sample of the requests that arrive in a stretch of time, of those that are served one after the other."""
    reduction = _reduction(task, Length(warm_up=0, measured=_ANY_NUMBER, cool_down=0), _ANY_NUMBER)
    for served in parts:
        leave_if_abandoned()
        part = slice(*np.searchsorted(served.arrived_s, (begins_s, ends_s)))
        reduction.add(
            served.arrived_s[part], served.started_s[part], served.finished_s[part], served.size[part]
        )
    return reduction.stretch(ends_s - begins_s, ends_s)


def replicate_in_parts(task: Task, parts: int) -> list[Sample]:
    """Run one replication, and reduce consecutive parts of it, such as those of a path that happened once.

    Raises:
        InputError: all requests of a part are lost.
    """
    stream = Stream(task.workload, task.length.requests, task.seed, task.spells)
    if not is_patient(task.workload):
        counted, outcomes = _counted(task.length, stream.requests), _attempted(task, stream)
        count = counted.stop - counted.start
        edges = [counted.start + count * part // parts for part in range(parts + 1)]
        return [_of_attempts(task, outcomes, slice(a, b)) for a, b in pairwise(edges)]
    columns = [np.concatenate(column) for column in zip(*map(_copied, _served(task, stream)), strict=True)]
    start = task.length.warm_up
    end = stream.requests - task.length.cool_down
    arrived_s = columns[0]
    span_s = float(arrived_s[end - 1] - arrived_s[start])
    edges = [start + (end - start) * part // parts for part in range(parts + 1)]
    # A part lasts until the next begins, and the last one a mean gap longer than until its last arrival.
    edges_s = [
        *(float(arrived_s[edge]) for edge in edges[:-1]),
        arrived_s[end - 1] + span_s / (end - start - 1),
    ]
    samples = []
    for first, after, first_s, after_s in zip(edges, edges[1:], edges_s, edges_s[1:], strict=False):
        reduction = _reduction(task, Length(warm_up=0, measured=after - first, cool_down=0), after - first)
        reduction.add(*(column[first:after] for column in columns))
        samples.append(reduction.sample(window_s=after_s - first_s))
    return samples


def _served(task: Task, stream: Stream) -> Iterator[kernel.Served]:
    """Outcomes of the requests, in the order of arrival."""
    if task.engine is Engine.KERNEL:
        for served in kernel.serve(task.plan, task.service_times, stream, slowdowns=task.slowdowns):
            leave_if_abandoned()
            yield served
        return
    from simulations.reference.cluster import run

    draws = draw(task.workload, task.length.requests, task.seed, task.spells, task.start)
    records = run(task.plan, task.service_times, draws, task.slowdowns)
    yield kernel.Served(records.arrived_s, records.started_s, records.finished_s, records.batch_size)


def _counted(length: Length, requests: int) -> slice:
    """The requests of a run that count."""
    return slice(length.warm_up, requests - length.cool_down)


def attempted_day(task: Task, day: Day) -> Outcomes:
    """Outcomes of a day, all of whose requests are in memory."""
    assert isinstance(task.workload, Workload)  # noqa: S101  (users in a closed loop have no day)
    clients, seed, plan, stream = task.workload.clients, task.seed, task.plan, day.stream
    arrived_s = stream.all_arrived_s()
    count = len(arrived_s)
    draws = AttemptDraws(
        arrived_s=arrived_s,
        service=rows(stream.service(count), seed, Purpose.SERVICE, clients.attempts),
        routing=routing_draws(stream.routing(count), clients, plan.routing, seed),
        backoff=backoff_draws(count, clients, seed),
    )
    fleet = BatchFleet(plan=plan, service_times=task.service_times, slowdowns=task.slowdowns)
    patience = inside(clients, task.request_overhead_s)
    outcomes = attempted(fleet, draws, patience, Abandoned.SERVED, math.inf, task.engine, day=day)
    if not clients.is_patient:
        day.count_attempts(outcomes)
    return outcomes


def sample_of_day(task: Task, outcomes: Outcomes, day: Day) -> Sample:
    """Sample of the requests of the observed part of a day, of those in memory."""
    return _of_attempts(task, outcomes, part_of_day(outcomes.arrived_s, day))


def part_of_day(arrived_s: Floats, day: Day) -> slice:
    """The requests of the observed part of a day.

    Raises:
        InconclusiveError: there are fewer than two.
    """
    first, end = np.searchsorted(arrived_s, (day.begins_s, day.ends_s)).tolist()
    if end - first < 2:
        raise InconclusiveError("a day has fewer than two requests; look at a longer part of it by --between")
    return slice(first, end)


def _attempted(task: Task, stream: Stream) -> Outcomes:
    """Outcomes of a run whose clients give up, retry or hedge."""
    assert isinstance(task.workload, Workload)  # noqa: S101  (users in a closed loop are patient)
    clients, seed, plan = task.workload.clients, task.seed, task.plan
    draws = AttemptDraws(
        arrived_s=stream.arrived_s(stream.requests),
        service=rows(stream.service(stream.requests), seed, Purpose.SERVICE, clients.attempts),
        routing=routing_draws(stream.routing(stream.requests), clients, plan.routing, seed),
        backoff=backoff_draws(stream.requests, clients, seed),
    )
    fleet = BatchFleet(plan=plan, service_times=task.service_times, slowdowns=task.slowdowns)
    patience = inside(clients, task.request_overhead_s)
    return attempted(fleet, draws, patience, Abandoned.SERVED, task.waiting_max, task.engine)


def attempted(
    fleet: Fleet,
    draws: AttemptDraws,
    clients: Clients,
    abandoned: Abandoned,
    waiting_max: float,
    engine: Engine,
    *,
    day: Day | None = None,
) -> Outcomes:
    """Outcomes of all requests of a run; those without a reply when it is given up have failed.

    Args:
        abandoned: what becomes of attempts that no client waits for.
        waiting_max: attempts that may wait before the run is given up.
        day: the day on which an autoscaler sizes the fleet; such a run is never given up.
    """
    # Most runs have patient clients, and need neither.
    from simulations.kernel.recovery.run import run as run_kernel
    from simulations.reference.recovery.fleet import run as run_reference

    leave_if_abandoned()
    watcher: Watcher = StormWatch(waiting_max, float(draws.arrived_s[-1])) if day is None else day.watcher
    absent = () if day is None else day.absent
    serve = run_kernel if engine is Engine.KERNEL else run_reference
    return serve(fleet, draws, clients, Protection(abandoned=abandoned), absent, watcher=watcher)


def _of_attempts(task: Task, outcomes: Outcomes, part: slice) -> Sample:
    """Sample of a part of the requests, as their clients see them; of a run that was given up, all are late."""
    arrived_s = outcomes.arrived_s[part]
    count = len(arrived_s)
    reduction = _reduction(task, Length(warm_up=0, measured=count, cool_down=0), count)
    reduction.add(arrived_s, outcomes.started_s[part], outcomes.answered_s[part], outcomes.batch_size[part])
    window_s = float(arrived_s[-1] - arrived_s[0]) * count / (count - 1)
    sample = replace(
        reduction.sample(window_s, may_be_empty=True),
        busy_s=float(np.cumsum(outcomes.busy_s[part])[-1]),
        batches=float(np.cumsum(outcomes.batches[part])[-1]),
    )
    return with_attempts(sample, outcomes, part)


def _attempts_by_strata(task: Task, strata: PhaseStrata, outcomes: Outcomes, counted: slice) -> Strata:
    """Samples of the strata of one run, by the arrivals of its first tries."""
    labels = strata.labels(strata.clock(task.seed.generator(Purpose.PHASES)), outcomes.arrived_s)
    measured, middle = counted.stop - counted.start, (counted.start + counted.stop) // 2
    length = Length(warm_up=0, measured=measured, cool_down=0)
    reduction = _reduction(task, length, measured, len(strata.rates_rps))
    for half in (slice(counted.start, middle), slice(middle, counted.stop)):
        if half.start == middle:
            reduction.halve()
        reduction.add(
            outcomes.arrived_s[half],
            outcomes.started_s[half],
            outcomes.answered_s[half],
            outcomes.batch_size[half],
            labels[half],
        )
    samples = reduction.parts(strata.rates_rps, float(outcomes.arrived_s[-1]))
    labels[: counted.start] = labels[counted.stop :] = -1

    def of_attempts(label: int, sample: Sample) -> Sample:
        chosen = np.flatnonzero(labels == label)
        busy_s, batches = float(outcomes.busy_s[chosen].sum()), float(outcomes.batches[chosen].sum())
        return with_attempts(replace(sample, busy_s=busy_s, batches=batches), outcomes, chosen)

    found = tuple(of_attempts(label, sample) for label, sample in enumerate(samples))
    return Strata(weights=strata.weights, samples=found)


def with_attempts(sample: AnySample, outcomes: Outcomes, part: slice | Integers) -> AnySample:
    """The sample of a part of the requests, with how often their clients have tried."""
    attempts = np.maximum(outcomes.attempts[part], 1)
    return replace(
        sample,
        attempts=int(attempts.sum()),
        retried=int((attempts > 1).sum()),
        fallen=int(outcomes.stopped_s < math.inf),
    )


def _copied(served: kernel.Served) -> kernel.Served:
    return kernel.Served(
        served.arrived_s.copy(), served.started_s.copy(), served.finished_s.copy(), served.size.copy()
    )


def _reduction(task: Task, length: Length, requests: int, parts: int = 1) -> Reduction:
    waits_s, responses_s = task.with_marks().marks_s
    return Reduction(length, requests, task.request_overhead_s, waits_s, responses_s, parts)


def _distinct(values_s: Floats) -> Floats:
    """The distinct positive values in order; of two that differ by rounding alone the smaller."""
    distinct_s = np.unique(values_s[values_s > 0.0])
    apart = np.diff(distinct_s, prepend=-np.inf) > 1e-12 * distinct_s
    return distinct_s[apart]
