"""Saved autoscaler: the autoscaler of a saved plan, and the day that it was chosen for."""

import math
from dataclasses import dataclass
from typing import Any

from capacity.answer.saved_plan import SavedPlan, saved_form
from capacity.errors import InputError
from capacity.files import located
from capacity.json_text import Line, read_as
from capacity.question.autoscaler import Autoscaler, read_target
from capacity.question.candidate import Verdict
from capacity.question.plan import Plan
from capacity.traffic.daily import DailyCurve

LEFT_OUT = "the autoscaler of the day was not judged again; run capacity autoscale --plan"  # of verbs of fixed fleets


@dataclass(frozen=True, slots=True, kw_only=True)
class _AutoscalerDocument:
    target: Line
    replicas_min: int
    replicas_max: int
    startup_s: float
    metric_lag_s: float
    tolerance: float
    stabilization_s: float

    def autoscaler(self) -> Autoscaler:
        return Autoscaler(
            target=read_target(self.target),
            replicas_min=self.replicas_min,
            replicas_max=self.replicas_max,
            startup_s=self.startup_s,
            metric_lag_s=self.metric_lag_s,
            tolerance=self.tolerance,
            stabilization_s=self.stabilization_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _DayDocument:
    name: Line
    times_s: tuple[float, ...]
    rates_rps: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAutoscaler:
    """The autoscaler of a saved plan.

    Attributes:
        plan: settings of each replica; its number of replicas is the most there may be.
        curve: rates of the day that it was chosen for.
        is_confirmed: whether it was found to hold the objective over that day.
    """

    autoscaler: Autoscaler
    plan: Plan
    curve: DailyCurve
    is_confirmed: bool


def read_autoscaler(saved: SavedPlan) -> SavedAutoscaler | None:
    """The autoscaler that a saved plan was made with; None if it was made without one.

    Raises:
        InputError: the plan was edited.
    """
    found = saved.answer.get("autoscaled")
    if found is None:
        return None
    return located(saved.name, lambda: _read(saved, found))


def _read(saved: SavedPlan, found: Any) -> SavedAutoscaler:
    if not isinstance(found, dict):
        raise InputError("answer.autoscaled must be an object")
    where = "answer.autoscaled"
    day = read_as(_DayDocument, found.get("day"), f"{where}.day")
    plan = saved_form(saved.question).any_plan(found.get("plan"), f"{where}.plan")
    scaler = read_as(_AutoscalerDocument, found.get("autoscaler"), f"{where}.autoscaler").autoscaler()
    if scaler.replicas_max != plan.replicas or not math.isfinite(scaler.reaction_s):
        raise InputError(f"{where}.autoscaler does not fit {where}.plan; make the plan again")
    return SavedAutoscaler(
        autoscaler=scaler,
        plan=plan,
        curve=DailyCurve(times_s=day.times_s, rates_rps=day.rates_rps, name=day.name),
        is_confirmed=read_as(Verdict, found.get("verdict"), f"{where}.verdict") is Verdict.MET,
    )
