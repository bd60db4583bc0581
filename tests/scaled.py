"""Scaled: fleets of batches on a day, as tests of autoscalers have them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from capacity.autoscaling.findings import Days, Kept
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.performance import Interval
from capacity.profile.profile import ServiceProfile
from capacity.question.autoscaler import Autoscaler
from capacity.question.objective import Objective
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import sustainable_rate_rps
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import ArrivalProcess, PoissonArrivals, Workload


def scaled_fleet(
    profile: ServiceProfile,
    plan: BatchPlan,
    day: DailyCurve,
    scaler: Autoscaler | None = None,
    *,
    arrivals: ArrivalProcess | None = None,
    limit_s: float = 0.5,
    others_s: Mapping[float, float] | None = None,
) -> ScaledFleet:
    """A fleet on its day, with a limit on its P99, and on other quantiles."""
    workload = Workload(arrival_rate_rps=day.peak_rate_rps, arrivals=arrivals or PoissonArrivals(), day=day)
    scenario = Scenario(
        profile=profile,
        plan=plan,
        workload=workload,
        objective=Objective.of(response={0.99: limit_s, **(others_s or {})}),
        autoscaler=scaler,
    )
    return ScaledFleet(
        scenario=scenario,
        replica_rps=sustainable_rate_rps(profile, replace(plan, replicas=1)),
        floors_s={
            limit: profile.service_floor_s(limit.quantile, plan.batch_size_max)
            for limit in scenario.objective.limits
        },
    )


def kept(fleet: ScaledFleet, found_s: Interval, late_share: float = 0.0) -> tuple[Kept, ...]:
    """Each limit kept in the same way."""
    late = Interval.exact(late_share)
    return tuple(Kept(limit=limit, found_s=found_s, late_share=late) for limit in fleet.limits)


def with_limited(days: Days, found_s: Interval, **changes: Any) -> Days:
    """The days with another limited quantile."""
    return replace(days, kept=tuple(replace(one, found_s=found_s) for one in days.kept), **changes)


def changed(fleet: ScaledFleet, **changes: Any) -> ScaledFleet:
    """The fleet with other arguments of `scaled_fleet`, or another part of its day."""
    part = {name: changes.pop(name) for name in ("begins_s", "ends_s") if name in changes}
    usual: dict[str, Any] = {
        "profile": fleet.profile, "plan": fleet.plan, "day": fleet.curve, "scaler": fleet.autoscaler,
        "arrivals": fleet.arrivals, "limit_s": fleet.limits[-1].allowed,
    }  # fmt: skip
    given = usual | changes
    return scaled_fleet(**given | {"day": replace(given["day"], **part)})
