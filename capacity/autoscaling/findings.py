"""Findings: results of simulated days of an autoscaled fleet, each with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import DomainError
from capacity.performance import Interval
from capacity.question.objective import Limit
from capacity.question.plan import rejects

COURSE_S = 60.0  # one step of the course


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The observed time in steps of `COURSE_S`: means over the runs, each of shape `(steps,)`.

    Attributes:
        arrived: requests of a step.
        late: requests that were lost or answered after the limit, of several after the one that binds.
        wanted: replicas that were asked for.
        ready: replicas that served.
    """

    arrived: tuple[float, ...]
    late: tuple[float, ...]
    wanted: tuple[float, ...]
    ready: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a fleet kept one limit.

    Attributes:
        found_s: the limited quantile of all requests, lost ones counted as infinitely late. [s]
        late_share: share of requests that were lost or answered after the limit.
    """

    limit: Limit
    found_s: Interval
    late_share: Interval

    @property
    def is_held(self) -> bool:
        """Whether the whole interval of the quantile is within the limit."""
        return self.found_s.high <= self.limit.allowed

    @property
    def is_missed(self) -> bool:
        """Whether the whole interval of the quantile is beyond the limit."""
        return self.found_s.low > self.limit.allowed

    @property
    def exit_code(self) -> int:
        """0 if the limit is held, 3 if it is missed, 4 if the runs do not decide."""
        if self.is_held:
            return 0
        return 3 if self.is_missed else 4

    @property
    def pressure(self) -> Interval:
        """The quantile over the limit: above 1 it is missed."""
        return self.found_s.scaled(1.0 / self.limit.allowed)

    @property
    def urgency(self) -> tuple[bool, bool, float, float]:
        """How near it comes to being missed, or how far it is: by its late requests over those that may be late."""
        late = self.late_share.value / (1.0 - (self.limit.quantile or 0.0))
        return self.is_missed, not self.is_held, late, self.pressure.high


def binding_of(kept: Sequence[Kept]) -> int:
    """Place of the limit that is missed by most or comes nearest to it."""
    return max(range(len(kept)), key=lambda place: kept[place].urgency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Results of independent runs of one fleet.

    Attributes:
        kept: how each limit was kept.
        lost_share: share of requests that were lost.
        replica_hours: hours of the replicas that were asked for, starting or serving.
        replicas_mean, replicas_most: mean and largest number of them; the latter over all runs.
        scalings: changes of that number in a run.
        attempts_mean: attempts at a request, answered or not; None if clients were not simulated.
        requests: number in all runs.
        runs: number of runs.
        confidence: confidence of the intervals.
    """

    fleet: ScaledFleet
    kept: tuple[Kept, ...]
    lost_share: float
    replica_hours: Interval
    replicas_mean: float
    replicas_most: int
    scalings: Interval
    requests: int
    runs: int
    confidence: float
    course: Course
    attempts_mean: Interval | None = None

    @property
    def binding(self) -> Kept:
        """The limit that is missed by most or comes nearest to it."""
        return self.kept[binding_of(self.kept)]

    @property
    def is_held(self) -> bool:
        """Whether all limits are held."""
        return all(one.is_held for one in self.kept)

    @property
    def is_missed(self) -> bool:
        """Whether any limit is missed."""
        return any(one.is_missed for one in self.kept)

    @property
    def exit_code(self) -> int:
        """0 if all limits are held, 3 if one is missed, 4 if the runs do not decide."""
        return self.binding.exit_code

    @property
    def pressure(self) -> Interval:
        """Largest of the quantiles over their limits, and of the ends of their intervals."""
        found = [one.pressure for one in self.kept]
        return Interval(
            value=max(one.value for one in found),
            low=max(one.low for one in found),
            high=max(one.high for one in found),
        )

    @property
    def cost_usd(self) -> Interval | None:
        """Price of the replica-hours; None if no price is known. [USD]"""
        price = self.fleet.replica_hourly_usd
        return None if price is None else self.replica_hours.scaled(price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The part of a day in which most of the late requests arrive.

    Attributes:
        begins_s, ends_s: time of day. [s since midnight]
        share: share of all late requests.
        late_share: share of the requests arriving then that are late.
        before_rps, peak_rps: mean rate of the day's curve before it, over ten minutes or the reaction time of the
            autoscaler if that is longer; and the highest rate within it. [requests/s]
        ready, wanted: replicas that served in the minute before, and the most that were asked for within it.
    """

    begins_s: float
    ends_s: float
    share: float
    late_share: float
    before_rps: float
    peak_rps: float
    ready: float
    wanted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledScreen:
    """An autoscaled fleet compared with a fixed one.

    Attributes:
        smallest: the smallest fixed fleet that holds the limit; None if none within `replicas_max` does.
        remedies: days of the same fleet with one setting changed, if these hold the limit and it does not: without
            the queue limit or the batch wait if that is the cause; with the highest lower target; with the lowest
            minimum.
        worst: None if hardly a request is late.
        is_searched: whether a fixed fleet and remedies were searched for; False if no batch is fast enough.
    """

    found: Days
    smallest: Days | None
    remedies: tuple[Days, ...]
    worst: Worst | None
    is_searched: bool


def setting_of(before: ScaledFleet, after: ScaledFleet) -> str:
    """The setting that differs, as the user types it.

    Raises:
        DomainError: the fleets differ in nothing that a remedy changes.
    """
    was, scaler = before.autoscaler, after.autoscaler
    if rejects(before.plan) and not rejects(after.plan):
        return "no --queue-limit"
    if after.plan.holds_s != before.plan.holds_s:
        return f"--batch-wait {after.plan.holds_s:g}s"
    if was is None or scaler is None or was == scaler:
        raise DomainError("two fleets with the same settings, or without an autoscaler, are no remedy")
    if scaler.target != was.target:
        return f"--autoscale {scaler.target}"
    return f"--replicas-min {scaler.replicas_min}"


class DayJudge(Protocol):
    """Simulation of a fleet."""

    def __call__(self, fleet: ScaledFleet) -> Days:
        """Results of independent runs, with the same users for every fleet."""


_WINDOW = 10  # steps of the course
_EVEN = 1e-9  # relative difference within which stretches are equal; the last one counts, as requests become late in it
_FEW = 1.0  # late requests in a run that need no reason


def worst_of(found: Days) -> Worst | None:
    """The ten minutes in which most of the late requests arrive; None if hardly a request is late."""
    course = found.course
    size = min(_WINDOW, len(course.late))
    sums = _moving(course.late, size)
    most = max(sums)
    if most < _FEW:
        return None
    first = max(place for place, late in enumerate(sums) if late >= (1.0 - _EVEN) * most)
    steps = slice(first, first + size)
    arrived = sum(course.arrived[steps])
    begins_s = found.fleet.begins_s + first * COURSE_S
    ends_s = min(begins_s + size * COURSE_S, found.fleet.ends_s)
    before_rps, peak_rps = _rise(found.fleet, begins_s, ends_s)
    return Worst(
        begins_s=begins_s,
        ends_s=ends_s,
        share=most / sum(course.late),
        late_share=most / arrived,
        before_rps=before_rps,
        peak_rps=peak_rps,
        ready=course.ready[max(0, first - 1)],
        wanted=max(course.wanted[steps]),
    )


def _rise(fleet: ScaledFleet, begins_s: float, ends_s: float) -> tuple[float, float]:
    """Mean rate before a time and highest rate within it, from the curve, which has no noise. [requests/s]"""
    reaction_s = 0.0 if fleet.autoscaler is None else fleet.autoscaler.reaction_s
    minutes = math.ceil(max(_WINDOW * COURSE_S, reaction_s) / COURSE_S)
    before = [fleet.curve.rate_rps(begins_s - minute * COURSE_S) for minute in range(1, minutes + 1)]
    within = range(math.ceil((ends_s - begins_s) / COURSE_S))
    highest = max(fleet.curve.rate_rps(begins_s + minute * COURSE_S) for minute in within)
    return sum(before) / len(before), highest


def _moving(values: Sequence[float], size: int) -> list[float]:
    return [sum(values[first : first + size]) for first in range(len(values) - size + 1)]
