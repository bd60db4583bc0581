"""Saved day: what a saved plan says of its day, hour by hour, and of its autoscaler over it."""

import math
from collections.abc import Mapping, Sequence
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
        limited_s: the limited quantiles of all requests; null if so many are lost that one is infinite. [s]
        replica_hours: replica-hours of the day. [h]
        cost_usd: price of the day; None if no price is known. [USD]
    """

    replicas_max: int
    limited_s: tuple[_Ends | None, ...]
    replica_hours: _Ends
    cost_usd: _Ends | None = None

    @property
    def limited(self) -> tuple[Interval, ...]:
        """The limited quantiles of all requests of the day, lost ones counted as infinitely late. [s]"""
        return tuple(Interval.exact(math.inf) if one is None else one.interval() for one in self.limited_s)


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


def judged_by(saved: Any) -> tuple[Limit, ...]:
    """The limits that the autoscaler of a saved plan was judged by."""
    limits: tuple[Limit, ...] = saved.question.objective.limits
    return limits


def read_day_costs(saved: Any) -> tuple[DayCost, DayCost | None] | None:
    """The autoscaled fleet of a saved plan over its day, and the smallest fixed one; None without an autoscaler.

    Raises:
        InputError: the plan was edited.
    """
    found = saved.answer.get("autoscaled")
    return (
        None
        if found is None
        else located(saved.name, lambda: _day_costs(found, [f"{one.name}_s" for one in judged_by(saved)]))
    )


def _day_costs(found: Any, limited: Sequence[str]) -> tuple[DayCost, DayCost | None]:
    where = "answer.autoscaled"
    autoscaled = _day_cost(found, limited, where)
    smallest = found.get("smallest_fleet")
    return autoscaled, None if smallest is None else _day_cost(smallest, limited, f"{where}.smallest_fleet")


def _day_cost(found: Any, limited: Sequence[str], where: str) -> DayCost:
    """The costs of a fleet, whose limited quantiles have the names of the plan's limits."""
    for name in limited:
        if not isinstance(found, Mapping) or name not in found:
            raise InputError(f"{where} has no {name}; make the plan again")
    limited_s = [found[name] for name in limited]
    return read_as(DayCost, {**found, "limited_s": limited_s}, where, ignore_extra=True)
