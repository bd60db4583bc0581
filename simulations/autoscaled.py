"""Autoscaled: simulation of days of an autoscaled fleet, request by request; a `DayJudge`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from capacity.autoscaling.findings import COURSE_S, Course, Days
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import InconclusiveError
from capacity.units import format_quantile
from simulations.case import Case
from simulations.compiled import compiled
from simulations.day import Day
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.records import Floats, Integers
from simulations.draws.service import ServiceTimes
from simulations.kernel.serve import Served
from simulations.kernel.state import Structs
from simulations.servers import case_of
from simulations.statistics.scatter import mean_of_runs, tallied_quantiles
from simulations.statistics.tally import EXACT_MAX, ROUNDING, Cells, Counters, Tally, count_in
from simulations.statistics.verdict import share_of_error
from simulations.workers import Mapper, leave_if_abandoned

RUNS = 5
_BEYOND_MIN = 100  # requests beyond the quantile, in all runs
_LOOKS = 3  # at a fleet that is confirmed, each with twice as many runs as the last


class _Day(NamedTuple):
    """One run: responses, losses and cost, and the steps of the course.

    Attributes:
        responses: response times of served requests, without the overhead of a request.
        late: late requests, with the lost ones.
    """

    responses: Tally
    arrived: Floats
    late: Floats
    lost: int
    wanted: Floats
    ready: Floats
    replica_hours: float
    replicas_most: int
    scalings: int
    attempts_mean: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySimulation:
    """Simulation of days: independent runs, whose scatter gives the intervals.

    Attributes:
        service_times: replaces those of the profile, for comparison with theory.
    """

    seed: int = 0
    runs: int = RUNS
    confidence: float = 0.95
    service_times: ServiceTimes | None = None
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, fleet: ScaledFleet) -> Days:
        """Runs of a fleet, with the same users for every fleet.

        Raises:
            InconclusiveError: there are too few requests behind the limited quantile.
        """
        expected = fleet.mean_rate_rps * fleet.lasts_s * self.runs
        if expected * (1.0 - fleet.quantile) < _BEYOND_MIN:
            raise InconclusiveError(
                f"{self.runs} runs have {expected:.0f} requests, too few for a {format_quantile(fleet.quantile)}; look "
                "at a longer part of the day, or at more --runs"
            )
        return _found(fleet, self._days(fleet, Stage.AUTOSCALE, range(self.runs)), self.confidence)

    def certify(self, fleet: ScaledFleet, attempt: int) -> Days:
        """Runs of a fleet under fresh users, twice and four times as many while the limit is undecided.

        Each look of each attempt has a part of the allowed error, so that all together err no more often than one
        may.

        Args:
            attempt: number of this confirmation in a command, from 1; later ones are stricter.
        """
        first, days = (attempt - 1) * self.runs * 2**_LOOKS, list[_Day]()
        for look in range(1, _LOOKS + 1):
            numbers = range(first + len(days), first + self.runs * 2 ** (look - 1))
            days += self._days(fleet, Stage.AUTOSCALE_CERTIFY, numbers)
            error = (1.0 - self.confidence) * share_of_error(attempt) * share_of_error(look)
            found = _found(fleet, days, 1.0 - error)
            if found.is_held or found.is_missed:
                break
        return found

    def _days(self, fleet: ScaledFleet, stage: Stage, numbers: Iterable[int]) -> "list[_Day]":
        seeds = [Seed(value=self.seed, stage=stage, replication=number) for number in numbers]
        return list(self.mapper(partial(_run, self.service_times, fleet), seeds))


def _found(fleet: ScaledFleet, days: Sequence[_Day], confidence: float) -> Days:
    """Means of the runs, with their intervals."""
    overhead_s, hours = _whole(fleet).day_overhead_s, [day.replica_hours for day in days]
    late = [float(day.late.sum() / day.arrived.sum()) for day in days]
    lost = [float(day.lost / day.arrived.sum()) for day in days]
    responses = [(day.responses, day.lost) for day in days]
    tries = [day.attempts_mean for day in days if day.attempts_mean is not None]
    return Days(
        fleet=fleet,
        limited_s=tallied_quantiles(responses, [fleet.quantile], confidence, overhead_s)[fleet.quantile],
        late_share=mean_of_runs(late, confidence),
        lost_share=math.fsum(lost) / len(lost),
        replica_hours=mean_of_runs(hours, confidence),
        replicas_mean=3600.0 * math.fsum(hours) / len(days) / fleet.lasts_s,
        replicas_most=max(day.replicas_most for day in days),
        scalings=mean_of_runs([float(day.scalings) for day in days], confidence),
        attempts_mean=mean_of_runs(tries, confidence) if tries else None,
        requests=sum(int(day.arrived.sum()) for day in days),
        runs=len(days),
        confidence=confidence,
        course=Course(
            arrived=_mean([day.arrived for day in days]),
            late=_mean([day.late for day in days]),
            wanted=_mean([day.wanted for day in days]),
            ready=_mean([day.ready for day in days]),
        ),
    )


def _whole(fleet: ScaledFleet) -> Case:
    """The case of the fleet with all its replicas all the time."""
    return case_of(replace(fleet.scenario, autoscaler=None), is_whole=True)


def _mean(rows: Sequence[Floats]) -> tuple[float, ...]:
    return tuple(np.mean(rows, axis=0).tolist())


def _run(service_times: ServiceTimes | None, fleet: ScaledFleet, seed: Seed) -> _Day:
    """The run of one seed."""
    day, seen = Day(fleet, seed), _Seen(fleet)
    for part in _whole(fleet).serve_day(day, service_times):
        leave_if_abandoned()
        seen.add(part)
    return _Day(
        responses=seen.responses,
        arrived=seen.arrived.astype(float),
        late=seen.late.astype(float),
        lost=int(seen.sums["lost"][0]),
        wanted=day.wanted,
        ready=day.ready,
        replica_hours=day.replica_s / 3600.0,
        replicas_most=day.replicas_most,
        scalings=day.scalings,
        attempts_mean=day.attempts_mean,
    )


# The observed time, the response time above which a request is late, and what was counted.
_SUMS = np.dtype(
    [
        ("begins_s", np.float64),
        ("ends_s", np.float64),
        ("late_s", np.float64),
        ("total_s", np.float64),
        ("zeros", np.int64),
        ("lost", np.int64),
        ("kept", np.int64),
    ]
)


class _Seen:
    """Counts of the requests of the observed time, added as they are served.

    Attributes:
        arrived, late: counts by steps of the course, shape `(steps,)`.
    """

    def __init__(self, fleet: ScaledFleet) -> None:
        steps = math.ceil(fleet.lasts_s / COURSE_S)
        self.arrived, self.late = np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.int64)
        self.sums = np.zeros(1, dtype=_SUMS)
        self.sums["begins_s"], self.sums["ends_s"] = fleet.warm_up_s, fleet.warm_up_s + fleet.lasts_s
        self.sums["late_s"] = fleet.limit_s - _whole(fleet).day_overhead_s
        self._marks_s = np.maximum(self.sums["late_s"], 0.0)
        self._counters = Counters(self._marks_s)
        self._first_s = np.empty(EXACT_MAX)  # responses; more than these are counted in cells alone

    def add(self, part: Served) -> None:
        """Count the next requests."""
        _count(self.sums, self._counters.arrays, self._first_s, self.arrived, self.late, *part)

    @property
    def responses(self) -> Tally:
        """Response times of the served requests. [s]"""
        sums = self.sums[0]
        if sums["kept"] > len(self._first_s):
            return self._counters.tally(float(sums["total_s"]), int(sums["zeros"]))
        return Tally.of(self._first_s[: sums["kept"]], self._marks_s, ROUNDING * float(sums["ends_s"]))


@compiled
def _count(
    totals: Structs,
    counters: Cells,
    first_s: Floats,
    arrived: Integers,
    late: Integers,
    arrived_s: Floats,
    started_s: Floats,
    finished_s: Floats,
    size: Integers,
) -> None:
    """Count requests one after the other."""
    sums = totals[0]
    kept, total_s = sums.kept, sums.total_s
    for place in range(len(arrived_s)):
        came_s = arrived_s[place]
        if not sums.begins_s <= came_s < sums.ends_s:
            continue
        step = int((came_s - sums.begins_s) / COURSE_S)
        arrived[step] += 1
        if size[place] == 0:
            sums.lost += 1
            late[step] += 1
            continue
        response_s = finished_s[place] - came_s
        late[step] += response_s > sums.late_s
        if kept < len(first_s):
            first_s[kept] = response_s
        kept += 1
        total_s += response_s
        sums.zeros += response_s == 0.0
        count_in(counters, 0, response_s, ROUNDING * finished_s[place])
    sums.kept, sums.total_s = kept, total_s
