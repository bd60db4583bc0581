"""Autoscaled: simulation of days of an autoscaled fleet, request by request; a `DayJudge`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from capacity.autoscaling.findings import COURSE_S, Course, Days, Kept, binding_of
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import InconclusiveError
from capacity.question.objective import Limit, Measure
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
_GROWTH = 4  # times the runs of a fleet that a confirmation may take, in looks each twice as long as the last


class _Day(NamedTuple):
    """One run: responses, losses and cost, and the steps of the course.

    Attributes:
        durations: durations of served requests that are limited, without the overhead of a request.
        late: late requests by limit, with the lost ones, shape `(limits, steps)`.
    """

    durations: Mapping[Measure, Tally]
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
        if expected * (1.0 - fleet.quantile_max) < _BEYOND_MIN:
            raise InconclusiveError(
                f"{self.runs} runs have {expected:.0f} requests, too few for a {format_quantile(fleet.quantile_max)}; "
                "look at a longer part of the day, or at more --runs"
            )
        return _found(fleet, self._days(fleet, Stage.AUTOSCALE, range(self.runs)), self.confidence)

    def certify(self, fleet: ScaledFleet, attempt: int, few: int | None = None) -> Days:
        """Runs of a fleet under fresh users, up to four times as many while the limit is undecided, or
        up to the usual number if it begins with fewer.

        Each look of each attempt has a part of the allowed error, so that all together err no more often than one
        may.

        Args:
            attempt: number of this confirmation in a command, from 1; later ones are stricter.
            few: runs of the first look, two at least; None for all. Of two the interval is wide, and decides what is
                clear; of three it is several times narrower, and as many are run of an autoscaled fleet, whose
                replica-hours scatter, too.
        """
        most = _GROWTH * self.runs if few in (None, self.runs) else self.runs
        wanted = few or self.runs
        wanted = wanted if fleet.autoscaler is None else max(wanted, min(3, self.runs))
        first, days, look = (attempt - 1) * 2 * most, list[_Day](), 1
        while True:
            days += self._days(fleet, Stage.AUTOSCALE_CERTIFY, range(first + len(days), first + wanted))
            error = (1.0 - self.confidence) * share_of_error(attempt) * share_of_error(look)
            found = _found(fleet, days, 1.0 - error)
            if found.is_held or found.is_missed or wanted == most:
                return found
            look, wanted = look + 1, min(3 if wanted == 2 else 2 * wanted, most)

    def _days(self, fleet: ScaledFleet, stage: Stage, numbers: Iterable[int]) -> "list[_Day]":
        seeds = [Seed(value=self.seed, stage=stage, replication=number) for number in numbers]
        return list(self.mapper(partial(_run, self.service_times, fleet), seeds))


def _found(fleet: ScaledFleet, days: Sequence[_Day], confidence: float) -> Days:
    """Means of the runs, with their intervals."""
    hours, kept = [day.replica_hours for day in days], _kept(fleet, days, confidence)
    lost = [float(day.lost / day.arrived.sum()) for day in days]
    tries = [day.attempts_mean for day in days if day.attempts_mean is not None]
    return Days(
        fleet=fleet,
        kept=kept,
        lost_share=math.fsum(lost) / len(lost),
        replica_hours=mean_of_runs(hours, confidence),
        replicas_mean=3600.0 * math.fsum(hours) / len(days) / fleet.whole_s,
        replicas_most=max(day.replicas_most for day in days),
        scalings=mean_of_runs([float(day.scalings) for day in days], confidence),
        attempts_mean=mean_of_runs(tries, confidence) if tries else None,
        requests=sum(int(day.arrived.sum()) for day in days),
        runs=len(days),
        confidence=confidence,
        course=Course(
            arrived=_mean([day.arrived for day in days]),
            late=_mean([day.late[binding_of(kept)] for day in days]),
            wanted=_mean([day.wanted for day in days]),
            ready=_mean([day.ready for day in days]),
        ),
    )


def _kept(fleet: ScaledFleet, days: Sequence[_Day], confidence: float) -> tuple[Kept, ...]:
    """How each limit was kept."""
    overhead_s = _whole(fleet).day_overhead_s

    def kept(place: int, limit: Limit) -> Kept:
        quantile = limit.quantile or 0.0
        served = [(day.durations[limit.measure], day.lost) for day in days]
        late = [float(day.late[place].sum() / day.arrived.sum()) for day in days]
        return Kept(
            limit=limit,
            found_s=tallied_quantiles(served, [quantile], confidence, overhead_s)[quantile],
            late_share=mean_of_runs(late, confidence),
        )

    return tuple(kept(place, limit) for place, limit in enumerate(fleet.limits))


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
        durations=seen.durations,
        arrived=seen.arrived.astype(float),
        late=seen.late.astype(float),
        lost=seen.lost,
        wanted=day.wanted,
        ready=day.ready,
        replica_hours=day.replica_s / 3600.0,
        replicas_most=day.replicas_most,
        scalings=day.scalings,
        attempts_mean=day.attempts_mean,
    )


# The observed time, and what was counted.
_SUMS = np.dtype(
    [
        ("begins_s", np.float64),
        ("ends_s", np.float64),
        ("total_s", np.float64),
        ("zeros", np.int64),
        ("lost", np.int64),
        ("kept", np.int64),
    ]
)


class _Seen:
    """Counts of the requests of the observed time, by limited measure, added as they are served."""

    def __init__(self, fleet: ScaledFleet) -> None:
        overhead_s, self._limits = _whole(fleet).day_overhead_s, fleet.limits
        self._of: dict[Measure, _SeenOf] = {}
        for measure in dict.fromkeys(one.measure for one in fleet.limits):
            limits_s = [one.allowed - overhead_s for one in fleet.limits if one.measure is measure]
            self._of[measure] = _SeenOf(fleet, np.array(limits_s))

    def add(self, part: Served) -> None:
        """Count the next requests, which start when they have their first token."""
        for measure, seen in self._of.items():
            ends_s = part.started_s if measure is Measure.TTFT else part.finished_s
            seen.add(part.arrived_s, ends_s, part.size)

    @property
    def durations(self) -> dict[Measure, Tally]:
        """Durations of the served requests. [s]"""
        return {measure: seen.durations for measure, seen in self._of.items()}

    @property
    def arrived(self) -> Integers:
        """Requests by steps of the course, shape `(steps,)`."""
        return next(iter(self._of.values())).arrived

    @property
    def lost(self) -> int:
        """Requests without an answer."""
        return int(next(iter(self._of.values())).sums["lost"][0])

    @property
    def late(self) -> Integers:
        """Late requests by limit and step, shape `(limits, steps)`."""
        rows = {measure: iter(seen.late) for measure, seen in self._of.items()}
        return np.stack([next(rows[limit.measure]) for limit in self._limits])


class _SeenOf:
    """Counts of one duration.

    Attributes:
        arrived: requests by steps of the course, shape `(steps,)`.
        late: those that are later than a limit, or lost, shape `(limits, steps)`.
    """

    def __init__(self, fleet: ScaledFleet, limits_s: Floats) -> None:
        steps = math.ceil(fleet.lasts_s / COURSE_S)
        self.arrived = np.zeros(steps, dtype=np.int64)
        self.late = np.zeros((len(limits_s), steps), dtype=np.int64)
        self.sums = np.zeros(1, dtype=_SUMS)
        self.sums["begins_s"], self.sums["ends_s"] = fleet.warm_up_s, fleet.warm_up_s + fleet.lasts_s
        self._counts = np.array(fleet.stands_for or (1,) * steps, dtype=np.int64)
        self._limits_s, self._marks_s = limits_s, np.unique(np.maximum(limits_s, 0.0))
        self._counters = Counters(self._marks_s)
        self._first_s = np.empty(EXACT_MAX)  # more than these are counted in cells alone

    def add(self, arrived_s: Floats, ends_s: Floats, size: Integers) -> None:
        """Count the next requests."""
        _count(
            self.sums, self._counters.arrays, self._first_s, self.arrived, self.late, self._limits_s,
            self._counts, arrived_s, ends_s, size,
        )  # fmt: skip

    @property
    def durations(self) -> Tally:
        """Durations of the served requests. [s]"""
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
    limits_s: Floats,
    counts: Integers,
    arrived_s: Floats,
    ends_s: Floats,
    size: Integers,
) -> None:
    """Count requests one after the other, each for as many as its step stands for."""
    sums = totals[0]
    kept, total_s = sums.kept, sums.total_s
    for place in range(len(arrived_s)):
        came_s = arrived_s[place]
        if not sums.begins_s <= came_s < sums.ends_s:
            continue
        step = int((came_s - sums.begins_s) / COURSE_S)
        count = counts[step]
        arrived[step] += count
        if size[place] == 0:
            sums.lost += count
            late[:, step] += count
            continue
        duration_s = ends_s[place] - came_s
        for limit in range(len(limits_s)):
            late[limit, step] += count * (duration_s > limits_s[limit])
        for _ in range(count):
            if kept < len(first_s):
                first_s[kept] = duration_s
            kept += 1
            total_s += duration_s
            sums.zeros += duration_s == 0.0
            count_in(counters, 0, duration_s, ROUNDING * ends_s[place])
    sums.kept, sums.total_s = kept, total_s
