"""Saved day: what a saved plan says of its day, hour by hour, and of its autoscaler over it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from capacity.files import located
from capacity.json_text import Line, read_as
from capacity.performance import Interval
from capacity.search.by_hour import HOURS, Schedule
from capacity.traffic.daily import DailyCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class _HourDocument:
    hour: int
    arrival_rate_rps: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScheduleDocument:
    hours: tuple[_HourDocument, ...]
    unkept_rates_rps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    value: float | None
    low: float | None = None
    high: float | None = None

    def interval(self) -> Interval:
        """The interval; null means infinite."""
        ends = (math.inf if end is None else end for end in (self.value, self.low, self.high))
        value, low, high = ends
        return Interval(value=value, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCost:
    """What a fleet costs and holds over a day, as a saved plan has it.

    Attributes:
        replica_hours: replica-hours of the day. [h]
        cost_usd: price of the day; None if no price is known. [USD]
    """

    replicas_max: int
    response_p99_s: _Ends | None
    replica_hours: _Ends
    cost_usd: _Ends | None = None

    @property
    def response_p99(self) -> Interval:
        """P99 of all requests of the day, lost ones counted as infinitely late. [s]"""
        return Interval.exact(math.inf) if self.response_p99_s is None else self.response_p99_s.interval()


def read_schedule(saved: Any) -> Schedule | None:
    """The hours of the day that a saved plan of any kind was made for; None if it was made for one rate.

    Raises:
        InputError: the plan was edited.
    """
    return located(saved.name, lambda: _schedule(saved))


def _schedule(saved: Any) -> Schedule | None:
    found = saved.answer.get("schedule")
    if found is None:
        return None
    day = read_as(_ScheduleDocument, found, "answer.schedule", ignore_extra=True)
    hours = sorted(day.hours, key=lambda one: one.hour)[:HOURS]
    plans = [replace(saved.plan, replicas=one.replicas) for one in hours]
    prices = [saved.question.hourly_usd(plan) for plan in plans]
    return Schedule(
        rates_rps=tuple(one.arrival_rate_rps for one in hours),
        replicas=tuple(one.replicas for one in hours),
        peak=saved.plan.replicas,
        hourly_usd=None if None in prices else tuple(price or 0.0 for price in prices),
        unkept_rps=day.unkept_rates_rps,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CurveDocument:
    name: Line
    times_s: tuple[float, ...]
    rates_rps: tuple[float, ...]


def read_curve(saved: Any) -> DailyCurve | None:
    """The rates of the day that a saved plan of any kind was made for; None if it was made for one rate.

    Raises:
        InputError: the plan was edited.
    """
    return located(saved.name, lambda: _curve(saved))


def _curve(saved: Any) -> DailyCurve | None:
    found = saved.answer.get("schedule")
    if not isinstance(found, Mapping) or found.get("day") is None:
        return None
    day = read_as(_CurveDocument, found["day"], "answer.schedule.day")
    return DailyCurve(times_s=day.times_s, rates_rps=day.rates_rps, name=day.name)


def read_day_costs(saved: Any) -> tuple[DayCost, DayCost | None] | None:
    """The autoscaled fleet of a saved plan over its day, and the smallest fixed one; None without an autoscaler.

    Raises:
        InputError: the plan was edited.
    """
    found = saved.answer.get("autoscaled")
    return None if found is None else located(saved.name, lambda: _day_costs(found))


def _day_costs(found: Mapping[str, Any]) -> tuple[DayCost, DayCost | None]:
    where = "answer.autoscaled"
    autoscaled = read_as(DayCost, found, where, ignore_extra=True)
    smallest = found.get("smallest_fleet")
    if smallest is None:
        return autoscaled, None
    return autoscaled, read_as(DayCost, smallest, f"{where}.smallest_fleet", ignore_extra=True)
