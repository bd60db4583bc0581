"""Saved day: what a saved plan says of its day, hour by hour, and of its autoscaler over it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.json_text import Line, read_as
from capacity.performance import Interval
from capacity.question.objective import Limit
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
        limited_s: the limited quantile of all requests; null if so many are lost that it is infinite. [s]
        replica_hours: replica-hours of the day. [h]
        cost_usd: price of the day; None if no price is known. [USD]
    """

    replicas_max: int
    limited_s: _Ends | None
    replica_hours: _Ends
    cost_usd: _Ends | None = None

    @property
    def limited(self) -> Interval:
        """The limited quantile of all requests of the day, lost ones counted as infinitely late. [s]"""
        return Interval.exact(math.inf) if self.limited_s is None else self.limited_s.interval()


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


def judged_by(saved: Any) -> Limit:
    """The one limit that the autoscaler of a saved plan was judged by.

    Raises:
        InputError: the plan was edited.
    """
    limits: tuple[Limit, ...] = saved.question.objective.limits
    if len(limits) != 1:
        raise InputError(
            f"{saved.name}: an autoscaler is judged by one limit, got {len(limits)}; make the plan again"
        )
    return limits[0]


def read_day_costs(saved: Any) -> tuple[DayCost, DayCost | None] | None:
    """The autoscaled fleet of a saved plan over its day, and the smallest fixed one; None without an autoscaler.

    Raises:
        InputError: the plan was edited.
    """
    found = saved.answer.get("autoscaled")
    return (
        None
        if found is None
        else located(saved.name, lambda: _day_costs(found, f"{judged_by(saved).name}_s"))
    )


def _day_costs(found: Any, limited: str) -> tuple[DayCost, DayCost | None]:
    where = "answer.autoscaled"
    autoscaled = _day_cost(found, limited, where)
    smallest = found.get("smallest_fleet")
    return autoscaled, None if smallest is None else _day_cost(smallest, limited, f"{where}.smallest_fleet")


def _day_cost(found: Any, limited: str, where: str) -> DayCost:
    """The costs of a fleet, whose limited quantile has the name of the plan's limit."""
    if not isinstance(found, Mapping) or limited not in found:
        raise InputError(f"{where} has no {limited}; make the plan again")
    return read_as(DayCost, {**found, "limited_s": found[limited]}, where, ignore_extra=True)
